//! The innermost loops of products: up to twelve rows times a panel of 16 or 32 columns, for each set of instructions.
//!
//! Sums stay in registers from the first step of the depth to the last: 24 vectors of AVX-512, or 12 of AVX2. Steps of one
//! sum wait for each other, so a tile needs eight or more of them to keep the units busy; a row alone takes several panels.
#![allow(unsafe_code)]
#![allow(
    clippy::needless_range_loop,
    reason = "with iterators over rows and vectors the compiler keeps sums in memory"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _MM_HINT_T0, _mm_prefetch, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::panels::{NARROW, WIDE};
use super::target::Target;

/// Floats of a panel that are asked for before they are read. Weights that the second cache does not hold come four times as
/// slowly otherwise: with 16 kB ahead 12 rows times 16 MB of them took 0.37 of the time, and 120 rows 0.85; with 4 kB, or into the
/// second cache only, 10 rows took half as long again, and weights that are near take no longer for it.
const AHEAD: usize = 4096;
/// Rows of the largest tile.
pub(super) const MOST_ROWS: usize = 12;
/// Panels that a row alone takes at once.
pub(super) const PANELS: usize = 4;

/// What a tile is computed from and where it goes.
#[derive(Debug)]
pub(super) struct Tile<'a> {
    /// Rows of the left matrix, the first numbers of which are multiplied: one every `stride`.
    pub(super) rows: &'a [f32],
    pub(super) stride: usize,
    /// At least 1, at most [`MOST_ROWS`].
    pub(super) count: usize,
    /// A part of a panel, `[depth, width]`.
    pub(super) weights: &'a [f32],
    /// [`WIDE`] or [`NARROW`].
    pub(super) width: usize,
    /// What sums start with, `[width]`; without, they go on from what is in `to`.
    pub(super) bias: Option<&'a [f32]>,
    /// Whether sums below 0 become 0, which ends the chain.
    pub(super) relu: bool,
    /// Where the sums go: `count` rows, of columns that are not padding.
    pub(super) to: Target<'a>,
}

impl Tile<'_> {
    fn depth(&self) -> usize {
        self.weights.len() / self.width
    }

    /// Ends the process's thread, as an index beyond a slice does, if what the loops read and write is not all there.
    fn check(&self) {
        let depth = self.depth();
        assert!(matches!(self.width, WIDE | NARROW) && (1..=MOST_ROWS).contains(&self.count));
        assert!(depth > 0 && (self.count - 1) * self.stride + depth <= self.rows.len());
        assert!((1..=self.width).contains(&self.to.columns()) && self.to.rows() == self.count);
        assert!(self.bias.is_none_or(|bias| bias.len() == self.width));
    }
}

/// Calls a function with the number of rows as a constant.
macro_rules! by_rows {
    ($count:expr, $function:ident, $vectors:literal, $($argument:expr),*) => {
        match $count {
            1 => $function::<1, $vectors>($($argument),*),
            2 => $function::<2, $vectors>($($argument),*),
            3 => $function::<3, $vectors>($($argument),*),
            4 => $function::<4, $vectors>($($argument),*),
            5 => $function::<5, $vectors>($($argument),*),
            6 => $function::<6, $vectors>($($argument),*),
            7 => $function::<7, $vectors>($($argument),*),
            8 => $function::<8, $vectors>($($argument),*),
            9 => $function::<9, $vectors>($($argument),*),
            10 => $function::<10, $vectors>($($argument),*),
            11 => $function::<11, $vectors>($($argument),*),
            _ => $function::<12, $vectors>($($argument),*),
        }
    };
}

/// Less than 0 becomes 0; NaN and -0 stay, as with the processor's own maximum.
#[inline(always)]
#[allow(clippy::inline_always, reason = "has to be inlined into what is compiled for a set of instructions")]
pub(super) fn relu(number: f32) -> f32 {
    if 0.0 > number { 0.0 } else { number }
}

/// Plain Rust, of which the compiler makes vectors of NEON where `mul_add` is an instruction.
pub(super) fn plain(mut tile: Tile<'_>) {
    tile.check();
    for row in 0..tile.count {
        let from = &tile.rows[row * tile.stride..][..tile.depth()];
        let to = tile.to.row(row);
        let columns = to.len();
        let mut sums = [0.0; WIDE];
        match tile.bias {
            Some(bias) => sums[..tile.width].copy_from_slice(bias),
            None => sums[..columns].copy_from_slice(to),
        }
        for (value, line) in from.iter().zip(tile.weights.chunks_exact(tile.width)) {
            for (sum, weight) in sums.iter_mut().zip(line) {
                *sum = value.mul_add(*weight, *sum);
            }
        }
        if tile.relu {
            for sum in &mut sums {
                *sum = relu(*sum);
            }
        }
        to.copy_from_slice(&sums[..columns]);
    }
}

/// The same for a row alone and several wide panels.
pub(super) fn plain_row(row: &[f32], weights: &[f32], bias: &[f32], relu: bool, to: &mut [f32]) {
    for (number, panel) in weights.chunks_exact(row.len() * WIDE).enumerate() {
        let (bias, to) = (&bias[number * WIDE..][..WIDE], &mut to[number * WIDE..][..WIDE]);
        let bias = Some(bias);
        plain(Tile {
            rows: row,
            stride: 0,
            count: 1,
            weights: panel,
            width: WIDE,
            bias,
            relu,
            to: Target::new(to, 1, WIDE, WIDE),
        });
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) fn avx512(mut tile: Tile<'_>) {
    tile.check();
    if tile.width == WIDE {
        by_rows!(tile.count, avx512_tile, 2, &mut tile);
    } else {
        by_rows!(tile.count, avx512_tile, 1, &mut tile);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn avx512_tile<const ROWS: usize, const VECTORS: usize>(tile: &mut Tile<'_>) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    let (to, to_stride) = tile.to.raw();
    let masks: [u16; VECTORS] = std::array::from_fn(|vector| mask(tile.to.columns(), vector));
    for vector in 0..VECTORS {
        for row in 0..ROWS {
            // SAFETY: `check` has seen that the bias has `VECTORS` vectors, and that `to` has this row's columns; what is
            // behind them is masked out.
            sums[row][vector] = unsafe {
                if let Some(bias) = tile.bias {
                    _mm512_loadu_ps(bias.as_ptr().add(vector * 16))
                } else {
                    let to = to.add(row * to_stride).cast_const();
                    _mm512_maskz_loadu_ps(masks[vector], to.wrapping_add(vector * 16))
                }
            };
        }
    }
    let (mut rows, mut weights) = (tile.rows.as_ptr(), tile.weights.as_ptr());
    for _ in 0..tile.depth() {
        // SAFETY: `check` has seen that `rows` has `depth` numbers from each row's start on, and `weights` has `depth` times
        // `VECTORS` vectors; this is step number `depth` at most.
        unsafe {
            let mut line = [_mm512_setzero_ps(); VECTORS];
            for vector in 0..VECTORS {
                line[vector] = _mm512_loadu_ps(weights.add(vector * 16));
            }
            for row in 0..ROWS {
                let value = _mm512_set1_ps(*rows.add(row * tile.stride));
                for vector in 0..VECTORS {
                    sums[row][vector] = _mm512_fmadd_ps(value, line[vector], sums[row][vector]);
                }
            }
            // What is not there is not fetched, and no error.
            for vector in 0..VECTORS {
                _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(AHEAD + vector * 16).cast());
            }
            rows = rows.add(1);
            weights = weights.add(VECTORS * 16);
        }
    }
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            let sum = if tile.relu { avx512_relu(sums[row][vector]) } else { sums[row][vector] };
            // SAFETY: `check` has seen that `to` has this row's columns; what is behind them is masked out.
            unsafe {
                let to = to.add(row * to_stride);
                _mm512_mask_storeu_ps(to.wrapping_add(vector * 16), masks[vector], sum);
            }
        }
    }
}

/// Which lanes of a row's vector are columns.
#[cfg(target_arch = "x86_64")]
fn mask(columns: usize, vector: usize) -> u16 {
    match columns.saturating_sub(vector * 16) {
        few @ 0..16 => (1 << few) - 1,
        _ => u16::MAX,
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn avx512_relu(sum: __m512) -> __m512 {
    // The second operand is the answer where one is NaN, or both are zeros.
    _mm512_max_ps(_mm512_setzero_ps(), sum)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) fn avx512_row(row: &[f32], weights: &[f32], bias: &[f32], relu: bool, to: &mut [f32]) {
    let size = row.len() * WIDE;
    let mut at = 0;
    for weights in weights.chunks(size * PANELS) {
        let count = weights.len() / size;
        let (bias, to) = (&bias[at..at + count * WIDE], &mut to[at..at + count * WIDE]);
        match count {
            1 => avx512_panels::<1>(row, weights, bias, relu, to),
            2 => avx512_panels::<2>(row, weights, bias, relu, to),
            3 => avx512_panels::<3>(row, weights, bias, relu, to),
            _ => avx512_panels::<PANELS>(row, weights, bias, relu, to),
        }
        at += count * WIDE;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn avx512_panels<const COUNT: usize>(row: &[f32], weights: &[f32], bias: &[f32], relu: bool, to: &mut [f32]) {
    let size = row.len() * WIDE;
    assert!(weights.len() == size * COUNT && bias.len() == COUNT * WIDE && to.len() == COUNT * WIDE);
    let mut sums = [[_mm512_setzero_ps(); 2]; COUNT];
    for panel in 0..COUNT {
        for vector in 0..2 {
            // SAFETY: the bias has two vectors for each panel.
            sums[panel][vector] = unsafe { _mm512_loadu_ps(bias.as_ptr().add(panel * WIDE + vector * 16)) };
        }
    }
    let mut line = weights.as_ptr();
    for value in row {
        let value = _mm512_set1_ps(*value);
        for panel in 0..COUNT {
            for vector in 0..2 {
                // SAFETY: there are `COUNT` panels of `size` numbers, two vectors for each value of the row.
                let weights = unsafe { _mm512_loadu_ps(line.add(panel * size + vector * 16)) };
                sums[panel][vector] = _mm512_fmadd_ps(value, weights, sums[panel][vector]);
            }
        }
        line = line.wrapping_add(WIDE);
    }
    for panel in 0..COUNT {
        for vector in 0..2 {
            let sum = if relu { avx512_relu(sums[panel][vector]) } else { sums[panel][vector] };
            // SAFETY: there are two vectors for each panel.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(panel * WIDE + vector * 16), sum) };
        }
    }
}

/// Rows of a tile with twelve sums in the sixteen registers of AVX2.
#[cfg(target_arch = "x86_64")]
const AVX2_ROWS: usize = 6;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2(mut tile: Tile<'_>) {
    tile.check();
    for first in (0..tile.count).step_by(AVX2_ROWS) {
        for half in (0..tile.to.columns()).step_by(NARROW) {
            let place = (first, half);
            match AVX2_ROWS.min(tile.count - first) {
                1 => avx2_tile::<1>(&mut tile, place),
                2 => avx2_tile::<2>(&mut tile, place),
                3 => avx2_tile::<3>(&mut tile, place),
                4 => avx2_tile::<4>(&mut tile, place),
                5 => avx2_tile::<5>(&mut tile, place),
                _ => avx2_tile::<AVX2_ROWS>(&mut tile, place),
            }
        }
    }
}

/// Rows from `first` on and 16 columns from `half` on of a tile that was checked.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn avx2_tile<const ROWS: usize>(tile: &mut Tile<'_>, (first, half): (usize, usize)) {
    assert!(first + ROWS <= tile.count && half + NARROW <= tile.width && half < tile.to.columns());
    let columns = NARROW.min(tile.to.columns() - half);
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for row in 0..ROWS {
        let mut start = [0.0; NARROW];
        if let Some(bias) = tile.bias {
            start.copy_from_slice(&bias[half..half + NARROW]);
        } else {
            start[..columns].copy_from_slice(&tile.to.row(first + row)[half..half + columns]);
        }
        sums[row] = avx2_vectors(&start);
    }
    let mut rows = tile.rows[first * tile.stride..].as_ptr();
    let mut weights = tile.weights[half..].as_ptr();
    for _ in 0..tile.depth() {
        // SAFETY: `check` has seen that `rows` has `depth` numbers from each row's start on, and `weights` has `depth` times
        // `width` numbers, 16 of which begin at `half` as was seen above; this is step number `depth` at most.
        unsafe {
            let line = [_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8))];
            for row in 0..ROWS {
                let value = _mm256_broadcast_ss(&*rows.add(row * tile.stride));
                for vector in 0..2 {
                    sums[row][vector] = _mm256_fmadd_ps(value, line[vector], sums[row][vector]);
                }
            }
            // What is not there is not fetched, and no error.
            _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(AHEAD).cast());
        }
        rows = rows.wrapping_add(1);
        weights = weights.wrapping_add(tile.width);
    }
    for row in 0..ROWS {
        let numbers = avx2_numbers(sums[row], tile.relu);
        tile.to.row(first + row)[half..half + columns].copy_from_slice(&numbers[..columns]);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn avx2_vectors(numbers: &[f32; NARROW]) -> [__m256; 2] {
    // SAFETY: two vectors of eight numbers are all of them.
    unsafe { [_mm256_loadu_ps(numbers.as_ptr()), _mm256_loadu_ps(numbers.as_ptr().add(8))] }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn avx2_numbers(sums: [__m256; 2], relu: bool) -> [f32; NARROW] {
    let mut numbers = [0.0; NARROW];
    for vector in 0..2 {
        // The second operand is the answer where one is NaN, or both are zeros.
        let sum = if relu { _mm256_max_ps(_mm256_setzero_ps(), sums[vector]) } else { sums[vector] };
        // SAFETY: two vectors of eight numbers are all of them.
        unsafe { _mm256_storeu_ps(numbers.as_mut_ptr().add(vector * 8), sum) };
    }
    numbers
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) fn avx2_row(row: &[f32], weights: &[f32], bias: &[f32], relu: bool, to: &mut [f32]) {
    let size = row.len() * WIDE;
    let mut at = 0;
    for weights in weights.chunks(size * 2) {
        let width = weights.len() / size * WIDE;
        let (bias, to) = (&bias[at..at + width], &mut to[at..at + width]);
        if width == WIDE {
            avx2_panels::<1>(row, weights, bias, relu, to);
        } else {
            avx2_panels::<2>(row, weights, bias, relu, to);
        }
        at += width;
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn avx2_panels<const COUNT: usize>(row: &[f32], weights: &[f32], bias: &[f32], relu: bool, to: &mut [f32]) {
    let size = row.len() * WIDE;
    assert!(weights.len() == size * COUNT && bias.len() == COUNT * WIDE && to.len() == COUNT * WIDE);
    let mut sums = [[_mm256_setzero_ps(); 4]; COUNT];
    for (sums, bias) in sums.iter_mut().zip(bias.as_chunks::<WIDE>().0) {
        let (halves, _) = bias.as_chunks();
        let ([a, b], [c, d]) = (avx2_vectors(&halves[0]), avx2_vectors(&halves[1]));
        *sums = [a, b, c, d];
    }
    let mut line = weights.as_ptr();
    for value in row {
        let value = _mm256_broadcast_ss(value);
        for panel in 0..COUNT {
            for vector in 0..4 {
                // SAFETY: there are `COUNT` panels of `size` numbers, four vectors for each value of the row.
                let weights = unsafe { _mm256_loadu_ps(line.add(panel * size + vector * 8)) };
                sums[panel][vector] = _mm256_fmadd_ps(value, weights, sums[panel][vector]);
            }
        }
        line = line.wrapping_add(WIDE);
    }
    for (sums, to) in sums.iter().zip(to.as_chunks_mut::<WIDE>().0) {
        let (halves, _) = to.as_chunks_mut();
        halves[0] = avx2_numbers([sums[0], sums[1]], relu);
        halves[1] = avx2_numbers([sums[2], sums[3]], relu);
    }
}
