//! Which of two ways of doing the same is the faster: by what both took, each tried again now and then.

use std::time::Duration;

use crate::pace::Pace;

/// Runs of about the same number of rows before the second way is judged by what they take. Pieces try several sizes.
const TRIES: u64 = 8;
/// One call of so many goes the slower way, which may have become the faster one; after few calls, twice as many each time, as what
/// is known of the first ones may be that of another time: a thread that was just started can be long in getting a CPU of its own.
const TRIED_AGAIN: u64 = 100;
const TRIED_AGAIN_EARLY: u64 = 16;
/// Short runs are tried so many times in a row, up to this time, and as many times more seldom: a single one on several threads
/// wakes one that slept, and finds nothing of the model in its cache. 1,000 rows of a small perceptron took 62 to 100 µs in this
/// way and 59 in one run, so pieces were given up, which took 38 one after the other.
const IN_A_ROW: u64 = 16;
const TIME_IN_A_ROW: Duration = Duration::from_millis(1);

/// Whether to go the second way, which takes more threads, where runs of `rows` rows take `one_run` in the first one.
pub(crate) fn goes_second(first: &Pace, second: &Pace, rows: u64, one_run: Duration) -> bool {
    let in_a_row = in_a_row(one_run);
    let Some(other) = second.known(rows, TRIES.max(2 * in_a_row)) else { return true };
    let turn = (first.runs(rows) + second.runs(rows)) / in_a_row;
    let is_trial = turn.is_multiple_of(TRIED_AGAIN) || (turn >= TRIED_AGAIN_EARLY && turn.is_power_of_two());
    // Where both take the same, one run takes no threads.
    (other + other / 20 <= one_run) != is_trial
}

/// How many runs of this time are tried one after the other.
fn in_a_row(one_run: Duration) -> u64 {
    let count = TIME_IN_A_ROW.as_nanos() / one_run.as_nanos().max(1);
    // Steady, though the time is not.
    u64::try_from(count).unwrap_or(IN_A_ROW).clamp(1, IN_A_ROW).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_tried_in_a_row() {
        for (micros, expected) in [(0, 16), (30, 16), (70, 16), (250, 4), (330, 4), (600, 1), (1000, 1), (10_000, 1)] {
            assert_eq!(in_a_row(Duration::from_micros(micros)), expected, "{micros} µs");
        }
    }

    #[test]
    fn the_faster_way_is_gone_but_for_trials() {
        for (first, second, is_second) in [(100, 90, true), (100, 96, false), (100, 200, false), (2000, 1000, true)] {
            let (one, other) = (Pace::default(), Pace::default());
            let (mut ways, time) = (Vec::new(), Duration::from_micros);
            one.record(5, time(first));
            for _ in 0..2000 {
                let goes = goes_second(&one, &other, 5, one.known(5, 1).unwrap());
                let (pace, micros) = if goes { (&other, second) } else { (&one, first) };
                pace.record(5, time(micros));
                ways.push(goes);
            }
            let others = ways.iter().filter(|goes| **goes != is_second).count();
            assert!((8..200).contains(&others), "{first} {second}: {others}");
            assert!(ways[..8].iter().all(|goes| *goes), "it is tried first");
        }
    }

    #[test]
    fn what_has_become_faster_is_found_out() {
        let (one, other) = (Pace::default(), Pace::default());
        let time = Duration::from_micros;
        let mut last = false;
        for run in 0..4000_u64 {
            last = goes_second(&one, &other, 5, one.known(5, 1).unwrap_or(time(100)));
            // After a run of the first way the thread sleeps.
            let second = if run < 500 { 300 } else { 60 };
            let (pace, micros) = if last { (&other, second) } else { (&one, 100) };
            pace.record(5, time(micros));
        }
        assert!(last);
    }
}
