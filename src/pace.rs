//! What a model's runs have taken so far, by their number of rows, and which number of rows is the best to cut batches into.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Classes of 1, 2–3, 4–7, … rows.
const CLASSES: usize = 24;
/// The smallest class that pieces are tried in. A few rows that are scored again and again look up to twice as fast in tree
/// ensembles, because the branches are predicted; so this is judged by the pieces of real batches alone.
const SMALLEST: usize = 3;
/// Runs of a class before its pace is trusted: the first may have met a cold cache.
const SAMPLES: u64 = 3;
/// A smaller class has to be this part faster per row to be worth the more runs.
const WORTH_RUNS: u64 = 33;
/// Pieces that take more than this part longer for each row than the best are not what a batch should end with.
const NEAR_BEST: u64 = 4;
/// Classes in a row that are slower than the best before larger ones are given up.
const PATIENCE: usize = 3;
/// Later runs count for this part of what is known.
const WEIGHT: u64 = 8;

/// The usual run of every class: a moving average in which a run that was disturbed counts for little.
#[derive(Debug)]
pub struct Pace {
    /// Picoseconds per row; 0 for a class that was not seen.
    usual: [AtomicU64; CLASSES],
    runs: [AtomicU64; CLASSES],
}

impl Default for Pace {
    fn default() -> Self {
        Self { usual: [const { AtomicU64::new(0) }; CLASSES], runs: [const { AtomicU64::new(0) }; CLASSES] }
    }
}

fn class(rows: u64) -> usize {
    (rows.max(1).ilog2() as usize).min(CLASSES - 1)
}

/// Rows of the smallest run of a class.
fn rows_of(class: usize) -> u64 {
    1 << class
}

impl Pace {
    /// Notes a run. Two threads at once may lose one of the notes.
    pub fn record(&self, rows: u64, elapsed: Duration) {
        let class = class(rows);
        let per_row = (u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).saturating_mul(1000) / rows.max(1)).max(1);
        let (known, runs) = (self.usual[class].load(Relaxed), self.runs[class].load(Relaxed));
        let usual = match runs {
            0 => per_row,
            // The first run of a class is a cold one.
            1 | 2 => known.min(per_row),
            // So much faster that what is known was disturbed.
            _ if per_row < known - known / WEIGHT => per_row.midpoint(known),
            _ => {
                let counted = per_row.min(known.saturating_mul(2));
                (known / WEIGHT).saturating_mul(WEIGHT - 1).saturating_add(counted / WEIGHT).max(1)
            }
        };
        self.usual[class].store(usual, Relaxed);
        self.runs[class].store(runs + 1, Relaxed);
    }

    /// What a run of `rows` rows may take, at most, by the nearest smaller runs; by larger ones, if there are no smaller.
    pub fn estimate(&self, rows: u64) -> Option<Duration> {
        let at = class(rows);
        let smaller = (0..=at).rev().find_map(|class| self.seen(class));
        let per_row = smaller.or_else(|| (at + 1..CLASSES).find_map(|class| self.seen(class)))?;
        Some(Duration::from_nanos(per_row.saturating_mul(rows) / 1000))
    }

    /// What a run of `rows` rows usually takes, once its class was seen `runs` times.
    pub fn known(&self, rows: u64, runs: u64) -> Option<Duration> {
        let per_row = self.seen(class(rows)).filter(|_| self.runs(rows) >= runs)?;
        Some(Duration::from_nanos(per_row.saturating_mul(rows) / 1000))
    }

    /// How often a run of about so many rows was seen.
    pub fn runs(&self, rows: u64) -> u64 {
        self.runs[class(rows)].load(Relaxed)
    }

    fn seen(&self, class: usize) -> Option<u64> {
        Some(self.usual[class].load(Relaxed)).filter(|per_row| *per_row > 0)
    }

    fn trusted(&self, class: usize) -> Option<u64> {
        self.seen(class).filter(|_| self.runs[class].load(Relaxed) >= SAMPLES)
    }

    /// Whether runs of about `rows` rows take not much longer for each than the fastest; also if they were not tried yet.
    pub fn is_near_best(&self, rows: u64) -> bool {
        // Of a class the larger runs are the more usual: the smallest ones are like those of the class below.
        let Some(per_row) = self.trusted(class(rows - rows / 4)) else { return true };
        let best = (SMALLEST..CLASSES).filter_map(|class| self.trusted(class)).min();
        best.is_none_or(|best| per_row <= best.saturating_add(best / NEAR_BEST))
    }

    /// How many rows a run of about `time` has; `None` if nothing is known yet.
    pub fn rows_in(&self, time: Duration) -> Option<u64> {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let takes = |class: &usize| {
            self.seen(*class).is_some_and(|per_row| per_row.saturating_mul(rows_of(*class)) / 1000 >= nanos)
        };
        let largest = || (0..CLASSES).rev().find_map(|class| self.seen(class));
        match (0..CLASSES).find(takes) {
            Some(class) => Some(rows_of(class)),
            None => Some((nanos.saturating_mul(1000) / largest()?).max(1)),
        }
    }

    /// How many rows the next piece should have, at most `most`: a class that is not known well yet, from the smallest up as
    /// long as larger ones do not do worse, or else the fastest.
    pub fn next_piece(&self, most: u64) -> u64 {
        let mut best: Option<(usize, u64)> = None;
        for class in SMALLEST..=class(most) {
            let Some(per_row) = self.trusted(class) else {
                let is_past = best.is_some_and(|(at, _)| class > at + PATIENCE);
                if is_past {
                    break;
                }
                return rows_of(class).min(most);
            };
            let is_better = best.is_none_or(|(_, known)| per_row <= known.saturating_add(known / WORTH_RUNS));
            if is_better {
                best = Some((class, best.map_or(per_row, |(_, known)| per_row.min(known))));
            }
        }
        // Of the largest class, as many as there may be.
        let rows = best.map(|(class, _)| rows_of(class)).filter(|rows| *rows < rows_of(self::class(most)));
        rows.unwrap_or(most).max(1)
    }

    /// The number of rows that has been the fastest so far, for those who want to know.
    pub fn best_piece(&self) -> u64 {
        self.next_piece(rows_of(CLASSES - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: u64 = 2_000;

    /// A model of 2 µs a run and 100 ns a row, and 200 ns a row beyond what fits the cache.
    fn nanos(rows: u64, cached: u64) -> Duration {
        Duration::from_nanos(FIXED + rows.min(cached) * 100 + rows.saturating_sub(cached) * 200)
    }

    #[test]
    fn nothing_is_known_of_a_new_model() {
        let pace = Pace::default();
        assert_eq!(
            (pace.estimate(1), pace.estimate(1 << 30), pace.rows_in(Duration::from_secs(1))),
            (None, None, None)
        );
        assert_eq!((pace.next_piece(1), pace.next_piece(1000)), (1, 8));
        assert_eq!((pace.known(1, 0), pace.runs(1)), (None, 0));
    }

    #[test]
    fn rows_are_told_by_time() {
        let pace = Pace::default();
        pace.record(1, nanos(1, 1000));
        assert_eq!(pace.rows_in(Duration::from_micros(1)), Some(1));
        assert_eq!(pace.rows_in(Duration::from_micros(21)), Some(10));
        pace.record(64, nanos(64, 1000));
        assert_eq!(pace.rows_in(Duration::from_micros(8)), Some(64));
    }

    #[test]
    fn estimates_are_upper_bounds_from_smaller_runs() {
        let pace = Pace::default();
        pace.record(1, nanos(1, 1000));
        assert_eq!(pace.estimate(100), Some(Duration::from_nanos(100 * (FIXED + 100))));
        pace.record(128, nanos(128, 1000));
        let estimate = pace.estimate(1000).unwrap();
        assert!(estimate >= nanos(1000, 1000) && estimate < nanos(1000, 1000) * 5 / 4, "{estimate:?}");
        let pace = Pace::default();
        pace.record(4096, nanos(4096, 10_000));
        assert_eq!(pace.estimate(1), Some(Duration::from_nanos(100)), "from a larger run, if that is all there is");
    }

    #[test]
    fn what_was_disturbed_is_soon_forgotten_and_counts_for_little() {
        let (pace, usual) = (Pace::default(), Duration::from_micros(100));
        (0..8).for_each(|_| pace.record(64, 10 * usual));
        (0..4).for_each(|_| pace.record(64, usual));
        assert!(pace.known(64, 3).unwrap() < 2 * usual, "{pace:?}");
        (0..40).for_each(|_| pace.record(64, usual));
        pace.record(64, 100 * usual);
        assert!(pace.known(64, 3).unwrap() < usual * 5 / 4, "{pace:?}");
    }

    #[test]
    fn pieces_settle_on_what_is_fastest() {
        for (cached, expected) in [(1 << 20, 1024..=100_000), (600, 512..=1024), (2000, 512..=2048)] {
            let pace = Pace::default();
            let (mut sizes, most) = (Vec::new(), 100_000);
            for _ in 0..100 {
                let rows = pace.next_piece(most);
                pace.record(rows, nanos(rows, cached));
                sizes.push(rows);
            }
            assert!(expected.contains(sizes.last().unwrap()), "{cached}: {sizes:?}");
            assert!(sizes.iter().all(|rows| *rows <= most));
            assert!(pace.best_piece() >= *sizes.last().unwrap());
        }
    }

    #[test]
    fn small_pieces_may_be_too_slow() {
        let pace = Pace::default();
        assert!(pace.is_near_best(1) && pace.is_near_best(0), "nothing is known");
        for rows in [8, 60, 250, 1000] {
            (0..3).for_each(|_| pace.record(rows, nanos(rows, 10_000)));
        }
        let cases = [(12, false), (60, false), (250, true), (256, true), (1000, true), (2000, true), (30, true)];
        for (rows, expected) in cases {
            assert_eq!(pace.is_near_best(rows), expected, "{rows}");
        }
        // The smallest of a class whose runs were larger ones are judged like those of the class below.
        (0..9).for_each(|_| pace.record(250, nanos(1000, 0)));
        assert!(!pace.is_near_best(256) && pace.is_near_best(500));
    }

    #[test]
    fn pieces_stay_below_what_is_asked_for() {
        let pace = Pace::default();
        pace.record(1, nanos(1, 1000));
        pace.record(512, nanos(512, 1000));
        for most in [1, 7, 100, 513] {
            assert!(pace.next_piece(most) <= most);
        }
        pace.record(u64::MAX, Duration::MAX);
        assert!(pace.next_piece(u64::MAX) > 0);
    }
}
