//! Counters and a latency histogram of one session; recording takes no lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets per power of two: a reported percentile is at most 1/8 above the true one.
const STEPS: usize = 8;
/// Powers of two of nanoseconds covered: up to 2^40 ns, 18 minutes; longer runs fall into the last bucket.
const POWERS: usize = 40;

/// What a session counts while it works.
#[derive(Debug)]
pub struct Metrics {
    rows: AtomicU64,
    errors: AtomicU64,
    zero_copy_inputs: AtomicU64,
    copied_inputs: AtomicU64,
    first_run_nanos: AtomicU64,
    busy_nanos: AtomicU64,
    /// Its counts are those of all calls.
    histogram: [AtomicU64; STEPS * POWERS],
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Runs that gave an answer.
    pub calls: u64,
    /// Rows of those runs: the first dimension of the first input, 1 for a scalar.
    pub rows: u64,
    /// Runs that failed.
    pub errors: u64,
    /// Inputs read in place.
    pub zero_copy_inputs: u64,
    /// Inputs that had to be copied, because of dtype, layout or text.
    pub copied_inputs: u64,
    /// Time of the first run, the coldest one.
    pub first_run: Duration,
    /// Time spent in the engine, over all runs.
    pub busy: Duration,
    /// Median run time, at most 1/8 above the true one.
    pub p50: Duration,
    /// 99th percentile of run time, at most 1/8 above the true one.
    pub p99: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            rows: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            zero_copy_inputs: AtomicU64::new(0),
            copied_inputs: AtomicU64::new(0),
            first_run_nanos: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            histogram: [const { AtomicU64::new(0) }; STEPS * POWERS],
        }
    }
}

impl Metrics {
    /// Counts a run that took `elapsed` for `rows` rows.
    pub fn record_run(&self, rows: u64, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.rows.fetch_add(rows, Relaxed);
        self.busy_nanos.fetch_add(nanos, Relaxed);
        self.histogram[bucket(nanos)].fetch_add(1, Relaxed);
        if self.first_run_nanos.load(Relaxed) == 0 {
            // Of several first runs at once, one is as cold as the other.
            let _ = self.first_run_nanos.compare_exchange(0, nanos, Relaxed, Relaxed);
        }
    }

    /// Counts a run that failed.
    pub fn record_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// Counts inputs by how they were read.
    pub fn record_inputs(&self, zero_copy: u64, copied: u64) {
        for (counter, count) in [(&self.zero_copy_inputs, zero_copy), (&self.copied_inputs, copied)] {
            if count > 0 {
                counter.fetch_add(count, Relaxed);
            }
        }
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let counts: Vec<u64> = self.histogram.iter().map(|count| count.load(Relaxed)).collect();
        Snapshot {
            calls: counts.iter().sum(),
            rows: self.rows.load(Relaxed),
            errors: self.errors.load(Relaxed),
            zero_copy_inputs: self.zero_copy_inputs.load(Relaxed),
            copied_inputs: self.copied_inputs.load(Relaxed),
            first_run: Duration::from_nanos(self.first_run_nanos.load(Relaxed)),
            busy: Duration::from_nanos(self.busy_nanos.load(Relaxed)),
            p50: percentile(&counts, 50),
            p99: percentile(&counts, 99),
        }
    }
}

/// Bucket of a positive number: its highest bit and the three bits below.
fn bucket(nanos: u64) -> usize {
    let power = nanos.ilog2() as usize;
    // The shift leaves four bits, the highest of which is the power itself.
    let step = if power >= 3 { usize::try_from(nanos >> (power - 3)).unwrap_or(0) & (STEPS - 1) } else { 0 };
    (power * STEPS + step).min(STEPS * POWERS - 1)
}

/// Upper edge of a bucket.
fn upper_edge(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    if power >= 3 { (9 + step) << (power - 3) } else { 2 << power }
}

fn percentile(counts: &[u64], percent: u64) -> Duration {
    let total: u64 = counts.iter().sum();
    let rank = (total * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let position = counts.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    Duration::from_nanos(position.map_or(0, upper_edge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_numbers() {
        for nanos in (1..100_000).chain([1 << 35, (1 << 39) + 12345]) {
            let bucket = bucket(nanos);
            assert!(upper_edge(bucket) > nanos, "{nanos}");
            assert!(nanos < 8 || upper_edge(bucket) * 8 <= nanos * 9 + 8, "{nanos}");
        }
        assert_eq!(bucket(u64::MAX), STEPS * POWERS - 1);
    }

    #[test]
    fn snapshot_adds_up() {
        let metrics = Metrics::default();
        assert_eq!(metrics.snapshot(), Snapshot::default());
        for micros in 1..=100 {
            metrics.record_run(2, Duration::from_micros(micros));
        }
        metrics.record_error();
        metrics.record_inputs(3, 1);
        let got = metrics.snapshot();
        assert_eq!((got.calls, got.rows, got.errors), (100, 200, 1));
        assert_eq!((got.zero_copy_inputs, got.copied_inputs), (3, 1));
        assert_eq!((got.first_run, got.busy), (Duration::from_micros(1), Duration::from_micros(5050)));
        assert!((50_000..=57_000).contains(&got.p50.as_nanos()), "{:?}", got.p50);
        assert!((99_000..=113_000).contains(&got.p99.as_nanos()), "{:?}", got.p99);
    }
}
