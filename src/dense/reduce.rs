//! What joins the numbers of a row: sums, means, softmax, normalisation. Sixteen partial results are joined in one order.
#![allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]

use super::maps::{exp, least, most};

const LANES: usize = 16;

/// How an axis is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The sum divided by the number of its parts.
    Mean,
    /// The largest; NaN if there is one.
    Max,
    /// The smallest; NaN if there is one.
    Min,
}

/// Joins what `of` makes of the numbers with an associative function, as vectors of any width do it alike.
#[inline(always)]
fn joined(numbers: &[f32], start: f32, of: impl Fn(f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (lines, rest) = numbers.as_chunks::<LANES>();
    for line in lines {
        for (lane, number) in lanes.iter_mut().zip(line) {
            *lane = join(*lane, of(*number));
        }
    }
    for (lane, number) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, of(*number));
    }
    // Halves are joined as vectors, which a loop over widths would not be.
    let lanes: [f32; 8] = std::array::from_fn(|at| join(lanes[at], lanes[at + 8]));
    let lanes: [f32; 4] = std::array::from_fn(|at| join(lanes[at], lanes[at + 4]));
    let lanes: [f32; 2] = std::array::from_fn(|at| join(lanes[at], lanes[at + 2]));
    join(lanes[0], lanes[1])
}

#[inline(always)]
fn sum(numbers: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    joined(numbers, 0.0, of, |a, b| a + b)
}

/// The larger of two, NaN if one of them is.
#[inline(always)]
fn most_or_nan(a: f32, b: f32) -> f32 {
    if a.is_nan() { a } else { most(a, b) }
}

#[inline(always)]
fn least_or_nan(a: f32, b: f32) -> f32 {
    if a.is_nan() { a } else { least(a, b) }
}

#[allow(clippy::cast_precision_loss, reason = "lengths of axes are far below 2^24")]
#[inline(always)]
fn count_of(count: usize) -> f32 {
    count as f32
}

#[inline(always)]
pub(super) fn softmax(numbers: &mut [f32], width: usize) {
    for row in numbers.chunks_exact_mut(width) {
        // A NaN need not be noticed here: it makes the sum NaN.
        let largest = joined(row, f32::NEG_INFINITY, |number| number, most);
        for number in row.iter_mut() {
            *number = exp(*number - largest);
        }
        let by = sum(row, |number| number);
        for number in row.iter_mut() {
            *number /= by;
        }
    }
}

#[inline(always)]
pub(super) fn normalize(from: &[f32], to: &mut [f32], scale: &[f32], bias: &[f32], epsilon: f32) {
    let width = scale.len();
    for (from, to) in from.chunks_exact(width).zip(to.chunks_exact_mut(width)) {
        let mean = sum(from, |number| number) / count_of(width);
        let variance = sum(from, |number| (number - mean) * (number - mean)) / count_of(width);
        let by = 1.0 / (variance + epsilon).sqrt();
        for (((to, from), scale), bias) in to.iter_mut().zip(from).zip(scale).zip(bias) {
            *to = ((from - mean) * by).mul_add(*scale, *bias);
        }
    }
}

#[inline(always)]
pub(super) fn reduce(how: Reduction, from: &[f32], to: &mut [f32], count: usize, inner: usize) {
    match how {
        Reduction::Sum => axis(from, to, (count, inner), 0.0, |a, b| a + b, |all| all),
        Reduction::Mean => axis(from, to, (count, inner), 0.0, |a, b| a + b, |all| all / count_of(count)),
        Reduction::Max => axis(from, to, (count, inner), f32::NEG_INFINITY, most_or_nan, |all| all),
        Reduction::Min => axis(from, to, (count, inner), f32::INFINITY, least_or_nan, |all| all),
    }
}

#[inline(always)]
fn axis(
    from: &[f32],
    to: &mut [f32],
    (count, inner): (usize, usize),
    start: f32,
    join: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32) -> f32,
) {
    if inner == 1 {
        for (from, to) in from.chunks_exact(count).zip(to) {
            *to = finish(joined(from, start, |number| number, &join));
        }
        return;
    }
    for (from, to) in from.chunks_exact(count * inner).zip(to.chunks_exact_mut(inner)) {
        to.fill(start);
        for line in from.chunks_exact(inner) {
            for (to, from) in to.iter_mut().zip(line) {
                *to = join(*to, *from);
            }
        }
        for to in to.iter_mut() {
            *to = finish(*to);
        }
    }
}
