//! Ranks by AVX-512: columns of rows, and how many thresholds their numbers are beyond.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512i, _CMP_LE_OQ, _CMP_LT_OQ, _CMP_NEQ_OQ, _CMP_UNORD_Q, _mm_storeu_si128, _mm512_abs_ps,
    _mm512_add_epi32, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps256_ps512, _mm512_cmp_pd_mask,
    _mm512_cmp_ps_mask, _mm512_cvtpd_ps, _mm512_cvtps_pd, _mm512_cvtusepi32_epi8, _mm512_insertf32x8, _mm512_loadu_pd,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_add_epi32, _mm512_mask_mov_epi32, _mm512_maskz_loadu_pd,
    _mm512_maskz_loadu_ps, _mm512_max_epu32, _mm512_set1_epi32, _mm512_set1_pd, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_epi32, _mm512_unpackhi_pd,
    _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

use super::abreast::{doubles as abreast_doubles, singles as abreast_singles};
use super::pick;
use crate::trees::kernels::avx2::ranks::{fetch, fetch_row};
use crate::trees::ranking::ranking;
use crate::trees::search::{Block, Kind, Singles, TILE, TURNED, Tile};

/// Rows that are turned at once, as many as columns.
const ROWS: usize = 16;

/// How many of a block a number is beyond.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
fn count_singles(block: &Block<f32>, value: f32) -> u32 {
    // SAFETY: a block has sixteen numbers.
    let thresholds = unsafe { _mm512_loadu_ps(block.0.as_ptr()) };
    _mm512_cmp_ps_mask::<_CMP_LT_OQ>(thresholds, _mm512_set1_ps(value)).count_ones()
}

/// The same of float64.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
fn count_doubles(block: &Block<f64>, value: f64) -> u32 {
    let value = _mm512_set1_pd(value);
    // SAFETY: a block has sixteen numbers.
    let (low, high) = unsafe { (_mm512_loadu_pd(block.0.as_ptr()), _mm512_loadu_pd(block.0[8..].as_ptr())) };
    let low = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(low, value);
    let high = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(high, value);
    (u32::from(low) | u32::from(high) << 8).count_ones()
}

ranking!(
    rank_singles, (rank_single, word_single), f32, count_singles, (turn_singles, descend_thresholds, settle),
    (fetch_row, abreast_singles),
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
);
ranking!(
    rank_doubles, (rank_double, word_double), f64, count_doubles, (turn_doubles, descend_thresholds, settle),
    (fetch_row, abreast_doubles),
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
);

/// The ranks of a tile by a binary tree of so many levels.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn descend_thresholds(heap: &[f32], depth: u32, values: &Singles, ranks: &mut [u32; TILE]) {
    let (mut at, mut keys) = ([_mm512_set1_epi32(1); 4], [_mm512_set1_ps(0.0); 4]);
    for number in 0..4 {
        // SAFETY: four vectors of sixteen are a tile.
        keys[number] = unsafe { _mm512_loadu_ps(values.0[number * 16..].as_ptr()) };
    }
    // The first five levels are in two vectors, the sixth as well; each one more takes twice as many.
    for _ in 0..depth.min(5) {
        at = step_down::<2>(&heap[..32], &keys, at);
    }
    if depth > 5 {
        at = step_down::<2>(&heap[32..64], &keys, at);
    }
    if depth > 6 {
        at = step_down::<4>(&heap[64..128], &keys, at);
    }
    if depth > 7 {
        at = step_down::<8>(&heap[128..256], &keys, at);
    }
    let first = _mm512_set1_epi32(1 << depth);
    for number in 0..4 {
        let to = ranks[number * 16..].as_mut_ptr().cast();
        // SAFETY: four vectors of sixteen are a tile, borrowed by nobody else.
        unsafe { _mm512_storeu_si512(to, _mm512_sub_epi32(at[number], first)) };
    }
}

/// One level: `level` has its thresholds, as many vectors.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn step_down<const VECTORS: usize>(level: &[f32], keys: &[__m512; 4], mut at: [__m512i; 4]) -> [__m512i; 4] {
    let mut table = [_mm512_set1_ps(0.0); VECTORS];
    assert!(level.len() >= VECTORS * 16, "as many as are loaded");
    for number in 0..VECTORS {
        // SAFETY: there are that many vectors of sixteen.
        table[number] = unsafe { _mm512_loadu_ps(level.as_ptr().add(number * 16)) };
    }
    for number in 0..4 {
        let is_beyond = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(pick(&table, at[number]), keys[number]);
        let left = _mm512_add_epi32(at[number], at[number]);
        at[number] = _mm512_mask_add_epi32(left, is_beyond, left, _mm512_set1_epi32(1));
    }
    at
}

/// The columns of `rows` from `first` on as columns, of float32 as they are: none is left out.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn turn_singles(rows: &[f32], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
    let mask = u16::MAX >> (TURNED - (width - first).min(TURNED));
    for (group, rows) in rows.chunks(ROWS * width).enumerate() {
        let mut square = [_mm512_setzero_ps(); ROWS];
        for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
            let numbers = row[first..].as_ptr();
            fetch::<f32, TURNED>(numbers);
            // SAFETY: no more is loaded than is left of the row.
            *vector = unsafe { _mm512_maskz_loadu_ps(mask, numbers) };
        }
        put(&turn(&square), group, columns);
    }
    0
}

/// The columns of `rows` from `first` on as columns of float32; says which of them float32 cannot hold.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn turn_doubles(rows: &[f64], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
    let [low, high] = (u16::MAX >> (TURNED - (width - first).min(TURNED))).to_le_bytes();
    let mut others = [0, 0];
    for (group, rows) in rows.chunks(ROWS * width).enumerate() {
        let mut square = [_mm512_setzero_ps(); ROWS];
        for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
            let numbers = row[first..].as_ptr();
            fetch::<f64, TURNED>(numbers);
            // SAFETY: no more is loaded than is left of the row: nothing where the mask is 0.
            let halves = unsafe {
                (_mm512_maskz_loadu_pd(low, numbers), _mm512_maskz_loadu_pd(high, numbers.wrapping_add(TURNED / 2)))
            };
            let singles = (_mm512_cvtpd_ps(halves.0), _mm512_cvtpd_ps(halves.1));
            // Missing numbers are not ordered.
            others[0] |= _mm512_cmp_pd_mask::<_CMP_NEQ_OQ>(_mm512_cvtps_pd(singles.0), halves.0);
            others[1] |= _mm512_cmp_pd_mask::<_CMP_NEQ_OQ>(_mm512_cvtps_pd(singles.1), halves.1);
            *vector = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(singles.0), singles.1);
        }
        put(&turn(&square), group, columns);
    }
    u16::from_le_bytes(others)
}

/// Sixteen rows as sixteen columns.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn turn(rows: &[__m512; ROWS]) -> [__m512; TURNED] {
    // Of each four rows squares of four, four side by side.
    let mut squares = [_mm512_setzero_ps(); ROWS];
    for four in [0, 4, 8, 12] {
        let pairs = [(0, 1), (2, 3)].map(|(a, b)| (rows[four + a], rows[four + b]));
        let low = pairs.map(|(a, b)| _mm512_castps_pd(_mm512_unpacklo_ps(a, b)));
        let high = pairs.map(|(a, b)| _mm512_castps_pd(_mm512_unpackhi_ps(a, b)));
        squares[four] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
        squares[four + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
        squares[four + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
        squares[four + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
    }
    // The squares as if they were single numbers.
    let mut columns = [_mm512_setzero_ps(); TURNED];
    for at in 0..4 {
        let [a, b, c, d] = [squares[at], squares[4 + at], squares[8 + at], squares[12 + at]];
        let even = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
        let odd = (_mm512_shuffle_f32x4::<0xDD>(a, b), _mm512_shuffle_f32x4::<0xDD>(c, d));
        columns[at] = _mm512_shuffle_f32x4::<0x88>(even.0, even.1);
        columns[4 + at] = _mm512_shuffle_f32x4::<0x88>(odd.0, odd.1);
        columns[8 + at] = _mm512_shuffle_f32x4::<0xDD>(even.0, even.1);
        columns[12 + at] = _mm512_shuffle_f32x4::<0xDD>(odd.0, odd.1);
    }
    columns
}

/// Stores the columns of a group of rows.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn put(vectors: &[__m512; TURNED], group: usize, columns: &mut [Singles; TURNED]) {
    for (column, vector) in columns.iter_mut().zip(vectors) {
        let to = column.0[group * ROWS..][..ROWS].as_mut_ptr();
        // SAFETY: there are sixteen numbers, borrowed by nobody else.
        unsafe { _mm512_storeu_ps(to, *vector) };
    }
}

/// Ranks as bytes, as they count under the rule.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn settle(kind: Kind, near_zero: f32, values: &Singles, ranks: &[u32; TILE], bytes: &mut Tile) {
    let [first, missing, zero] =
        [kind.first, kind.missing, kind.zero].map(|rank| _mm512_set1_epi32(rank.cast_signed()));
    let near_zero = _mm512_set1_ps(near_zero);
    for at in [0, 16, 32, 48] {
        // SAFETY: four vectors of sixteen are a tile.
        let (value, rank) =
            unsafe { (_mm512_loadu_ps(values.0[at..].as_ptr()), _mm512_loadu_si512(ranks[at..].as_ptr().cast())) };
        let is_zero = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(value), near_zero);
        let rank = _mm512_mask_mov_epi32(rank, is_zero, zero);
        let rank = _mm512_mask_mov_epi32(rank, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value), missing);
        let rank = _mm512_sub_epi32(_mm512_max_epu32(rank, first), first);
        // The byte 255 is what is beyond all ranks, `MOST_RANKS`.
        let rank = _mm512_cvtusepi32_epi8(rank);
        // SAFETY: there are sixteen bytes, borrowed by nobody else.
        unsafe { _mm_storeu_si128(bytes.0[at..].as_mut_ptr().cast(), rank) };
    }
}
