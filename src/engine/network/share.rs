//! Products with weights on several threads: each takes some of the panels, or of the rows.
//!
//! Weights that a processor's second cache does not hold are shared by panels: each thread reads its part of them only. Of smaller
//! ones it is what threads make that would be far from the other one, so they are shared by rows, and each thread takes the same
//! rows of one product after the other.

use crate::dense::{Finish, Instructions, Operand, Panels, Target};
use crate::threads::Crew;

/// Weights that are shared by panels. By panels, one row of an encoder, whose 32 rows of matrices go through 24 products of 4 to
/// 17 µs, took 1.2 of the time of one thread; by rows it takes 0.7.
const LARGE: usize = 1 << 20;
/// Runs with fewer multiply-adds are not worth waking a thread: some 100 µs.
pub(super) const WORTH_WAKING: usize = 12_000_000;
/// To read a weight takes as long as so many multiply-adds.
const OF_READING: usize = 6;
/// Parts per thread, so that threads end at about the same time.
const PARTS: usize = 4;
/// Panels that a row alone is multiplied with at once.
const AT_ONCE: usize = 4;
/// Rows that a part has at least, where rows are shared.
const ROWS: usize = 24;
/// Rows and multiply-adds from which products with small weights are shared: some 3 µs, where meeting takes 1.
const LEAST_ROWS: usize = 16;
const WORTH_SHARING: usize = 400_000;
/// Parts per thread of these: more than two lost to the smaller tiles.
const PARTS_OF_ROWS: usize = 2;
const LEAST_PART: usize = 4;

/// Whether weights are shared by panels.
pub(super) fn are_large(weights: &Panels) -> bool {
    weights.bytes() >= LARGE
}

/// How many multiply-adds take as long as a product of so many rows; nothing if it is not to be shared.
pub(super) fn work(rows: usize, weights: &Panels) -> usize {
    if !are_large(weights) {
        let work = weights.depth().saturating_mul(weights.columns()).saturating_mul(rows);
        return if rows >= LEAST_ROWS && work >= WORTH_SHARING { work } else { 0 };
    }
    weights.depth().saturating_mul(weights.columns()).saturating_mul(rows.max(OF_READING))
}

/// `to = finish(bias + operand × weights)`, with the crew's help if it is large.
pub(super) fn multiply(
    set: Instructions,
    crew: &Crew,
    operand: Operand<'_>,
    weights: &Panels,
    finish: Finish,
    numbers: &mut [f32],
) {
    let (rows, columns, count) = (operand.rows, weights.columns(), weights.count());
    if crew.size() == 1 || work(rows, weights) == 0 {
        let to = Target::new(numbers, rows, columns, columns);
        return set.multiply(operand, weights, 0..count, finish, to);
    }
    let parts = crew.size() * PARTS;
    if !are_large(weights) {
        let size = rows.div_ceil(crew.size() * PARTS_OF_ROWS).max(LEAST_PART);
        let parts = numbers.chunks_mut(size * columns).enumerate();
        crew.share_from_ends(parts, |(part, to)| {
            let rows = to.len() / columns;
            let numbers = &operand.numbers[part * size * operand.stride..];
            let to = Target::new(to, rows, columns, columns);
            set.multiply(Operand { numbers, rows, ..operand }, weights, 0..count, finish, to);
        });
        return;
    }
    let to = Target::new(numbers, rows, columns, columns);
    if count < crew.size() && rows >= 2 * ROWS {
        let size = rows.div_ceil(parts).max(ROWS);
        let (mut first, mut left) = (0, Some(to));
        let parts = std::iter::from_fn(|| {
            let (part, rest) = left.take().filter(|left| left.rows() > 0).map(|left| {
                let at = size.min(left.rows());
                left.split_rows(at)
            })?;
            left = Some(rest);
            let numbers = &operand.numbers[first * operand.stride..];
            first += part.rows();
            Some((Operand { numbers, rows: part.rows(), ..operand }, part))
        });
        crew.share(parts, |(operand, to)| set.multiply(operand, weights, 0..count, finish, to));
        return;
    }
    let alignment = if rows == 1 { AT_ONCE } else { 1 };
    let size = count.div_ceil(parts).next_multiple_of(alignment);
    let (mut first, mut left) = (0, Some(to));
    let parts = std::iter::from_fn(|| {
        let panels = first..(first + size).min(count);
        let (part, rest) = left.take().filter(|_| !panels.is_empty()).map(|left| {
            let at = weights.columns_of(panels.clone());
            left.split_columns(at)
        })?;
        (first, left) = (panels.end, Some(rest));
        Some((panels, part))
    });
    crew.share(parts, |(panels, to)| set.multiply(operand, weights, panels, finish, to));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::Packing;

    fn weights(depth: usize, columns: usize) -> Panels {
        let mut panels = Panels::zeroed(depth, columns).unwrap();
        let number = |at: usize| f32::from(u16::try_from(at % 251).unwrap()) / 100.0 - 1.0;
        let numbers: Vec<f32> = (0..depth * columns).map(number).collect();
        panels.put(Packing::ByDepth, 0, &numbers);
        panels.set_bias(&numbers[..columns.min(numbers.len())]);
        panels
    }

    #[test]
    fn shared_products_are_the_same_bits() {
        let set = Instructions::best();
        // Many panels, one that is narrow and padded, fewer panels than threads; and weights that are not large.
        let (large, small) = ([(600, 500), (17, 16_500), (9000, 31), (20_000, 1)], [(128, 128), (97, 301), (9000, 1)]);
        for (depth, columns) in large.into_iter().chain(small) {
            let weights = weights(depth, columns);
            assert_eq!(work(1, &weights) > 0, large.contains(&(depth, columns)));
            for rows in [1, 2, 13, 48, 61] {
                assert!(rows < 48 || work(rows, &weights) > 0);
                let numbers: Vec<f32> =
                    (0..rows * depth).map(|at| f32::from(u8::try_from(at % 97).unwrap()) / 97.0).collect();
                let operand = Operand { numbers: &numbers, stride: depth, rows };
                let mut expected = vec![0.0; rows * columns];
                multiply(set, &Crew::alone(), operand, &weights, Finish::Relu, &mut expected);
                for threads in [2, 3] {
                    let mut got = vec![f32::NAN; rows * columns];
                    Crew::gather(threads, |crew| multiply(set, crew, operand, &weights, Finish::Relu, &mut got));
                    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
                    assert!(bits(&got) == bits(&expected), "{rows}×{depth}×{columns} on {threads}");
                }
            }
        }
    }
}
