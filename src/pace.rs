//! What a model's runs have taken so far, by their number of rows, and which number of rows is the best to cut batches into.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Classes of 1, 2–3, 4–7, … rows.
const CLASSES: usize = 24;
/// A piece is large enough when what every run costs, whatever its rows, is at most this part of it.
const FIXED_PART: u64 = 25;
/// Runs of a class before its pace is trusted: the first may have met a cold cache.
const SAMPLES: u64 = 2;
/// A larger class has to be this part faster per row to be worth its memory.
const WORTH_MEMORY: u64 = 50;

/// The fastest run of every class seen, since noise only ever adds to a run.
#[derive(Debug)]
pub struct Pace {
    /// Picoseconds per row of the fastest run; 0 for a class that was not seen.
    fastest: [AtomicU64; CLASSES],
    runs: [AtomicU64; CLASSES],
}

impl Default for Pace {
    fn default() -> Self {
        Self { fastest: [const { AtomicU64::new(0) }; CLASSES], runs: [const { AtomicU64::new(0) }; CLASSES] }
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
        let known = self.fastest[class].load(Relaxed);
        if known == 0 || per_row < known {
            self.fastest[class].store(per_row, Relaxed);
        }
        self.runs[class].store(self.runs[class].load(Relaxed) + 1, Relaxed);
    }

    /// What a run of `rows` rows may take, at most, by the nearest smaller runs; by larger ones, if there are no smaller.
    pub fn estimate(&self, rows: u64) -> Option<Duration> {
        let at = class(rows);
        let smaller = (0..=at).rev().find_map(|class| self.seen(class));
        let per_row = smaller.or_else(|| (at + 1..CLASSES).find_map(|class| self.seen(class)))?;
        Some(Duration::from_nanos(per_row.saturating_mul(rows) / 1000))
    }

    fn seen(&self, class: usize) -> Option<u64> {
        Some(self.fastest[class].load(Relaxed)).filter(|per_row| *per_row > 0)
    }

    /// The smallest pieces of which the fixed cost of a run is a negligible part: what a single row takes is all fixed
    /// cost at worst.
    pub fn smallest_piece(&self) -> u64 {
        let Some(fixed) = self.seen(0) else { return rows_of(6) };
        let enough = |class: &usize| {
            self.seen(*class)
                .is_some_and(|per_row| per_row.saturating_mul(rows_of(*class)) >= fixed.saturating_mul(FIXED_PART))
        };
        // By the pace of the largest class that was seen, if no class was slow enough.
        let by_pace = || {
            let per_row = (0..CLASSES).rev().find_map(|class| self.seen(class)).unwrap_or(fixed).max(1);
            (fixed.saturating_mul(FIXED_PART) / per_row).next_power_of_two()
        };
        (0..CLASSES).find(enough).map_or_else(by_pace, rows_of).clamp(1, rows_of(CLASSES - 1))
    }

    /// How many rows the next piece should have, between the smallest sensible one and `most`: a class that is not known
    /// well yet, from the smallest up as long as larger ones do better, or else the fastest.
    pub fn next_piece(&self, most: u64) -> u64 {
        let (low, high) = (class(self.smallest_piece()), class(most.max(1)));
        let mut best: Option<(usize, u64)> = None;
        for class in low..=high {
            let Some(per_row) = self.seen(class).filter(|_| self.runs[class].load(Relaxed) >= SAMPLES) else {
                // Two classes in a row that were slower: what is larger only takes memory.
                let is_past = best.is_some_and(|(at, _)| class > at + 2);
                if is_past {
                    break;
                }
                return rows_of(class);
            };
            let is_better = best.is_none_or(|(_, known)| per_row.saturating_add(known / WORTH_MEMORY) < known);
            if is_better {
                best = Some((class, per_row));
            }
        }
        best.map_or(most, |(class, _)| rows_of(class)).min(most).max(1)
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
        assert_eq!((pace.estimate(1), pace.estimate(1 << 30)), (None, None));
        assert!(pace.smallest_piece() > 1);
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
    fn pieces_settle_on_what_is_fastest() {
        for (cached, expected) in [(1 << 20, 1024..=16384), (600, 512..=1024), (2000, 512..=2048)] {
            let pace = Pace::default();
            pace.record(1, nanos(1, cached));
            let (mut sizes, most) = (Vec::new(), 100_000);
            for _ in 0..60 {
                let rows = pace.next_piece(most);
                pace.record(rows, nanos(rows, cached));
                sizes.push(rows);
            }
            assert!(expected.contains(sizes.last().unwrap()), "{cached}: {sizes:?}");
            // No piece so small that the fixed cost matters, once a single row and one piece are known.
            assert!(
                sizes[3..].iter().all(|rows| nanos(*rows, cached).as_nanos() >= u128::from(FIXED) * 20),
                "{sizes:?}"
            );
            assert!(sizes.iter().all(|rows| *rows <= most));
        }
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
