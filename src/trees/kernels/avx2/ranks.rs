//! Ranks by AVX2: columns of rows, and how many thresholds their numbers are beyond.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, __m256i, _CMP_LT_OQ, _CMP_NEQ_OQ, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_blendv_ps,
    _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_pd, _mm256_cmp_ps,
    _mm256_cmpgt_epi32, _mm256_cmpgt_epi64, _mm256_cvtpd_ps, _mm256_cvtps_pd, _mm256_loadu_pd, _mm256_loadu_ps,
    _mm256_maskload_pd, _mm256_maskload_ps, _mm256_movemask_pd, _mm256_movemask_ps, _mm256_or_pd,
    _mm256_permute2f128_ps, _mm256_permutevar8x32_ps, _mm256_set_m128, _mm256_set1_epi32, _mm256_set1_epi64x,
    _mm256_set1_pd, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setr_epi64x, _mm256_setzero_pd, _mm256_setzero_ps,
    _mm256_slli_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi32, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
    _mm256_unpacklo_pd, _mm256_unpacklo_ps,
};

use super::abreast::{doubles as abreast_doubles, singles as abreast_singles};
use crate::trees::ranking::ranking;
use crate::trees::search::{Block, Kind, Singles, TILE, TURNED, Tile};

/// Rows that are turned at once, and as many columns.
const ROWS: usize = 8;
/// Bytes that are fetched at once.
const LINE: usize = 64;

/// How many of a block a number is beyond.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn count_singles(block: &Block<f32>, value: f32) -> u32 {
    let value = _mm256_set1_ps(value);
    // SAFETY: a block has sixteen numbers.
    let (low, high) = unsafe { (_mm256_loadu_ps(block.0.as_ptr()), _mm256_loadu_ps(block.0[8..].as_ptr())) };
    let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(low, value));
    let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(high, value));
    (low | high << 8).count_ones()
}

/// The same of float64.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn count_doubles(block: &Block<f64>, value: f64) -> u32 {
    let value = _mm256_set1_pd(value);
    let mut beyond = 0;
    for at in [0, 4, 8, 12] {
        // SAFETY: four numbers from `at` on are in the block.
        let thresholds = unsafe { _mm256_loadu_pd(block.0[at..].as_ptr()) };
        beyond |= _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(thresholds, value)) << at;
    }
    beyond.count_ones()
}

ranking!(
    rank_singles, (rank_single, word_single), f32, count_singles, (turn_singles, descend_thresholds, settle),
    (fetch_row, abreast_singles),
    #[target_feature(enable = "avx2,popcnt")]
);
ranking!(
    rank_doubles, (rank_double, word_double), f64, count_doubles, (turn_doubles, descend_thresholds, settle),
    (fetch_row, abreast_doubles),
    #[target_feature(enable = "avx2,popcnt")]
);

/// The ranks of a tile by a binary tree of so many levels.
#[target_feature(enable = "avx2")]
fn descend_thresholds(heap: &[f32], depth: u32, values: &Singles, ranks: &mut [u32; TILE]) {
    for first in [0, 32] {
        let (mut at, mut keys) = ([_mm256_set1_epi32(1); 4], [_mm256_setzero_ps(); 4]);
        for number in 0..4 {
            // SAFETY: four vectors of eight from there on are in the tile.
            keys[number] = unsafe { _mm256_loadu_ps(values.0[first + number * 8..].as_ptr()) };
        }
        // The first three levels are in one vector, the fourth as well; each one more takes twice as many.
        for _ in 0..depth.min(3) {
            at = step_down::<1>(&heap[..8], &keys, at);
        }
        if depth > 3 {
            at = step_down::<1>(&heap[8..16], &keys, at);
        }
        if depth > 4 {
            at = step_down::<2>(&heap[16..32], &keys, at);
        }
        if depth > 5 {
            at = step_down::<4>(&heap[32..64], &keys, at);
        }
        if depth > 6 {
            at = step_down::<8>(&heap[64..128], &keys, at);
        }
        if depth > 7 {
            at = step_down::<16>(&heap[128..256], &keys, at);
        }
        let start = _mm256_set1_epi32(1 << depth);
        for number in 0..4 {
            let to = ranks[first + number * 8..].as_mut_ptr().cast();
            // SAFETY: four vectors of eight from there on are in the tile, borrowed by nobody else.
            unsafe { _mm256_storeu_si256(to, _mm256_sub_epi32(at[number], start)) };
        }
    }
}

/// One level: `level` has its thresholds, as many vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn step_down<const VECTORS: usize>(level: &[f32], keys: &[__m256; 4], mut at: [__m256i; 4]) -> [__m256i; 4] {
    for number in 0..4 {
        let is_beyond = _mm256_cmp_ps::<_CMP_LT_OQ>(pick::<VECTORS>(level, at[number]), keys[number]);
        // True is -1.
        let left = _mm256_add_epi32(at[number], at[number]);
        at[number] = _mm256_sub_epi32(left, _mm256_castps_si256(is_beyond));
    }
    at
}

/// Of a table of up to 128 numbers those that `at` names, by its lower bits.
#[inline]
#[target_feature(enable = "avx2")]
fn pick<const VECTORS: usize>(table: &[f32], at: __m256i) -> __m256 {
    let mut found = [_mm256_setzero_ps(); VECTORS];
    assert!(table.len() >= VECTORS * 8, "as many as are loaded");
    for number in 0..VECTORS {
        // SAFETY: there are that many vectors of eight.
        let part = unsafe { _mm256_loadu_ps(table.as_ptr().add(number * 8)) };
        found[number] = _mm256_permutevar8x32_ps(part, at);
    }
    // The bits beyond the lower three, one after the other, as the sign that a blend goes by.
    if VECTORS >= 2 {
        let bit = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(at));
        for pair in 0..VECTORS / 2 {
            found[pair] = _mm256_blendv_ps(found[2 * pair], found[2 * pair + 1], bit);
        }
    }
    if VECTORS >= 4 {
        let bit = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(at));
        for pair in 0..VECTORS / 4 {
            found[pair] = _mm256_blendv_ps(found[2 * pair], found[2 * pair + 1], bit);
        }
    }
    if VECTORS >= 8 {
        let bit = _mm256_castsi256_ps(_mm256_slli_epi32::<26>(at));
        for pair in 0..VECTORS / 8 {
            found[pair] = _mm256_blendv_ps(found[2 * pair], found[2 * pair + 1], bit);
        }
    }
    if VECTORS >= 16 {
        found[0] = _mm256_blendv_ps(found[0], found[1], _mm256_castsi256_ps(_mm256_slli_epi32::<25>(at)));
    }
    found[0]
}

/// The columns of `rows` from `first` on as columns, of float32 as they are: none is left out.
#[target_feature(enable = "avx2")]
fn turn_singles(rows: &[f32], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
    for (half, columns) in columns.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
        let first = first + half * ROWS;
        let left = i32::try_from(width.saturating_sub(first).min(ROWS)).unwrap_or_default();
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        for (group, rows) in rows.chunks(ROWS * width).enumerate() {
            let mut square = [_mm256_setzero_ps(); ROWS];
            for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                let numbers = row.as_ptr().wrapping_add(first);
                fetch::<f32, ROWS>(numbers);
                // SAFETY: no more is loaded than is left of the row: nothing where the mask is 0.
                *vector = unsafe { _mm256_maskload_ps(numbers, mask) };
            }
            put(&turn(&square), group, columns);
        }
    }
    0
}

/// The columns of `rows` from `first` on as columns of float32; says which of them float32 cannot hold.
#[target_feature(enable = "avx2")]
fn turn_doubles(rows: &[f64], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
    let mut all_others = 0;
    for (half, columns) in columns.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
        let first = first + half * ROWS;
        let left = _mm256_set1_epi64x(i64::try_from(width.saturating_sub(first).min(ROWS)).unwrap_or_default());
        let masks = (
            _mm256_cmpgt_epi64(left, _mm256_setr_epi64x(0, 1, 2, 3)),
            _mm256_cmpgt_epi64(left, _mm256_setr_epi64x(4, 5, 6, 7)),
        );
        let mut others = (_mm256_setzero_pd(), _mm256_setzero_pd());
        for (group, rows) in rows.chunks(ROWS * width).enumerate() {
            let mut square = [_mm256_setzero_ps(); ROWS];
            for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                let numbers = row.as_ptr().wrapping_add(first);
                fetch::<f64, ROWS>(numbers);
                // SAFETY: no more is loaded than is left of the row: nothing where the mask is 0.
                let halves = unsafe {
                    (_mm256_maskload_pd(numbers, masks.0), _mm256_maskload_pd(numbers.wrapping_add(4), masks.1))
                };
                let singles = (_mm256_cvtpd_ps(halves.0), _mm256_cvtpd_ps(halves.1));
                // Missing numbers are not ordered.
                let differ = (
                    _mm256_cmp_pd::<_CMP_NEQ_OQ>(_mm256_cvtps_pd(singles.0), halves.0),
                    _mm256_cmp_pd::<_CMP_NEQ_OQ>(_mm256_cvtps_pd(singles.1), halves.1),
                );
                others = (_mm256_or_pd(others.0, differ.0), _mm256_or_pd(others.1, differ.1));
                *vector = _mm256_set_m128(singles.1, singles.0);
            }
            put(&turn(&square), group, columns);
        }
        all_others |= (_mm256_movemask_pd(others.0) | _mm256_movemask_pd(others.1) << 4) << (half * ROWS);
    }
    u16::try_from(all_others).unwrap_or(u16::MAX)
}

/// Asks for the numbers behind these columns, which are turned next: within 64 rows the processor does not see what is next,
/// and 784 columns took twice as long. Rows begin anywhere within a line of the caches, hence the last number as well.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::trees::kernels) fn fetch<T, const COUNT: usize>(numbers: *const T) {
    for at in (0..COUNT).step_by(LINE / size_of::<T>()).chain([COUNT - 1]) {
        _mm_prefetch::<_MM_HINT_T0>(numbers.wrapping_add(TURNED + at).cast());
    }
}

/// Asks for a row.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::trees::kernels) fn fetch_row<T>(row: &[T]) {
    for numbers in row.chunks(LINE / size_of::<T>()) {
        _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().cast());
    }
}

/// Eight rows as eight columns.
#[inline]
#[target_feature(enable = "avx2")]
fn turn(rows: &[__m256; ROWS]) -> [__m256; ROWS] {
    // Of each four rows squares of four, two side by side.
    let mut squares = [_mm256_setzero_ps(); ROWS];
    for four in [0, 4] {
        let pairs = [(rows[four], rows[four + 1]), (rows[four + 2], rows[four + 3])];
        let low = pairs.map(|(a, b)| _mm256_castps_pd(_mm256_unpacklo_ps(a, b)));
        let high = pairs.map(|(a, b)| _mm256_castps_pd(_mm256_unpackhi_ps(a, b)));
        squares[four] = _mm256_castpd_ps(_mm256_unpacklo_pd(low[0], low[1]));
        squares[four + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low[0], low[1]));
        squares[four + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high[0], high[1]));
        squares[four + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high[0], high[1]));
    }
    let mut columns = [_mm256_setzero_ps(); ROWS];
    for at in 0..4 {
        columns[at] = _mm256_permute2f128_ps::<0x20>(squares[at], squares[4 + at]);
        columns[4 + at] = _mm256_permute2f128_ps::<0x31>(squares[at], squares[4 + at]);
    }
    columns
}

/// Stores the columns of a group of rows.
#[inline]
#[target_feature(enable = "avx2")]
fn put(vectors: &[__m256; ROWS], group: usize, columns: &mut [Singles; ROWS]) {
    for (column, vector) in columns.iter_mut().zip(vectors) {
        let to = column.0[group * ROWS..][..ROWS].as_mut_ptr();
        // SAFETY: there are eight numbers, borrowed by nobody else.
        unsafe { _mm256_storeu_ps(to, *vector) };
    }
}

/// Ranks as bytes, as they count under the rule.
#[inline]
#[target_feature(enable = "avx2")]
fn settle(kind: Kind, near_zero: f32, values: &Singles, ranks: &[u32; TILE], bytes: &mut Tile) {
    kind.settle_tile(near_zero, values, ranks, bytes);
}
