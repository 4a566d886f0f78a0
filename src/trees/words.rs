//! The ranks of rows that walk, by the searches of whatever instructions there are, once some rows came.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::columns::Columns;
use super::instructions::{Instructions, Number};
use super::search::Ranker;

/// Thresholds that are put in order for searches in the time that these spare a row of them all, about.
const THRESHOLDS_A_ROW: usize = 1 << 7;

/// Made after some rows. Before, rows are ranked by binary searches, for which nothing has to be made.
#[derive(Debug, Default)]
pub(super) struct Words {
    ranked: AtomicUsize,
    singles: OnceLock<Ranker<f32>>,
    doubles: OnceLock<Ranker<f64>>,
}

impl Words {
    /// The ranks of rows of float32, of as many numbers as [`Columns::len`] each.
    pub(super) fn rank_singles(&self, columns: &Columns, rows: &[f32], features: usize, ranks: &mut [u16]) {
        self.rank(&self.singles, columns, rows, features, ranks);
    }

    /// The same of rows of float64.
    pub(super) fn rank_doubles(&self, columns: &Columns, rows: &[f64], features: usize, ranks: &mut [u16]) {
        self.rank(&self.doubles, columns, rows, features, ranks);
    }

    fn rank<T: Number>(
        &self,
        made: &OnceLock<Ranker<T>>,
        columns: &Columns,
        rows: &[T],
        features: usize,
        ranks: &mut [u16],
    ) {
        let how = Instructions::best();
        let ranker = made.get().or_else(|| {
            let count = ranks.len() / columns.len();
            let ranked = self.ranked.fetch_add(count, Ordering::Relaxed);
            let is_worth_it = how.searches_rows() && ranked > columns.thresholds() / THRESHOLDS_A_ROW;
            is_worth_it.then(|| made.get_or_init(|| Ranker::new(columns, &[], features, true)))
        });
        for (row, ranks) in rows.chunks_exact(features).zip(ranks.chunks_exact_mut(columns.len())) {
            match ranker {
                Some(ranker) => rank_row(how, ranker, columns, row, ranks),
                None => columns.rank_row(row, ranks),
            }
        }
    }
}

/// What [`Columns::rank_row`] does.
pub(super) fn rank_row<T: Number>(
    how: Instructions,
    ranker: &Ranker<T>,
    columns: &Columns,
    row: &[T],
    ranks: &mut [u16],
) {
    let (words, categories) = ranks.split_at_mut(columns.first_of_categories());
    let (zeros, words) = words.split_at_mut(columns.zeros());
    zeros.fill(0);
    T::rank_words(how, ranker, row, words);
    columns.take_categories(row, categories);
}

#[cfg(test)]
mod tests {
    use super::super::columns::Thresholds;
    use super::super::tree::Rule;
    use super::*;

    /// Features of so many thresholds, with both rules for missing numbers where there are some.
    fn columns(counts: &[u16]) -> Columns {
        let mut thresholds = Thresholds::default();
        for (feature, count) in (0..).zip(counts) {
            for number in 0..*count {
                let rule = if number % 5 == 1 { Rule::MissingLeft } else { Rule::MissingIsZero };
                thresholds.number(feature, rule, f64::from(number) / 2.0 - 100.0);
            }
        }
        thresholds.place(2).unwrap().0
    }

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "halves of small whole numbers")]
    fn every_search_finds_what_binary_searches_find() {
        let counts = [1, 15, 16, 17, 255, 256, 257, 1, 3000, 4095, 4096, 5000, 2, 40, 600, 700, 800, 3, 9];
        let columns = columns(&counts);
        let (features, odd) = (counts.len(), [f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, -100.0, -99.75]);
        let singles = Ranker::<f32>::new(&columns, &[], features, true);
        let doubles = Ranker::<f64>::new(&columns, &[], features, true);
        for number in 0..3000_u32 {
            let value = |at: u32| match (number * 7 + at * 131) % 211 {
                small if small < 7 => odd[small as usize],
                _ => f64::from((number * 37 + at * 911) % 5300) / 2.0 - 101.0,
            };
            let row: Vec<f64> = (0..).take(features).map(value).collect();
            let row_of_singles: Vec<f32> = row.iter().map(|value| *value as f32).collect();
            let (mut expected, mut found) = (vec![7; columns.len()], vec![7; columns.len()]);
            columns.rank_row(&row, &mut expected);
            for how in Instructions::available() {
                rank_row(how, &doubles, &columns, &row, &mut found);
                assert_eq!(found, expected, "{row:?} by {}", how.name());
                rank_row(how, &singles, &columns, &row_of_singles, &mut found);
                assert_eq!(found, expected, "{row:?} of float32 by {}", how.name());
            }
        }
    }

    #[test]
    fn searches_are_made_after_some_rows() {
        let columns = columns(&[3000]);
        let (words, how) = (Words::default(), Instructions::best());
        let mut ranks = vec![0; columns.len()];
        for _ in 0..=3000 / THRESHOLDS_A_ROW {
            words.rank_doubles(&columns, &[1.0], 1, &mut ranks);
            assert!(words.doubles.get().is_none());
        }
        words.rank_doubles(&columns, &[1.0], 1, &mut ranks);
        assert_eq!(words.doubles.get().is_some(), how.searches_rows());
    }
}
