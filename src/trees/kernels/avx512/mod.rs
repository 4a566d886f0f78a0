//! AVX-512: vectors of 64 bytes, sixteen float32 or eight float64.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "what loads and stores needs no alignment")]
#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over the vectors leads the compiler to keep them in memory"
)]

mod abreast;
pub(in crate::trees) mod leaves;
pub(in crate::trees) mod planes;
pub(in crate::trees) mod ranks;
pub(in crate::trees) mod votes;

use std::arch::x86_64::{
    __m512, __m512i, _mm_loadl_epi64, _mm_loadu_si128, _mm512_add_pd, _mm512_add_ps, _mm512_and_si512,
    _mm512_cmpgt_epu8_mask, _mm512_cvtepu8_epi32, _mm512_cvtepu8_epi64, _mm512_loadu_pd, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_cmpeq_epi8_mask, _mm512_mask_mov_epi8, _mm512_mask_mov_pd, _mm512_mask_mov_ps,
    _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_permutex2var_pd, _mm512_permutex2var_ps,
    _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_pd, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_storeu_si512, _mm512_test_epi32_mask,
    _mm512_test_epi64_mask,
};

use super::plain;
use crate::trees::across::{Slot, Uppers};
use crate::trees::blocks::Step;
use crate::trees::members::Word;
use crate::trees::search::{TILE, Tile};

/// Where the rows of a block stand after the steps of a tree. It is not inlined, as for AVX2.
#[inline(never)]
#[target_feature(enable = "avx512bw")]
pub(in crate::trees) fn descend<const TILES: usize, const MASKED: bool>(
    steps: &[Step],
    lanes: &[[Tile; TILES]],
    stands: &mut [Tile; TILES],
) {
    let mut all = [_mm512_setzero_si512(); TILES];
    for step in steps {
        let ranks = &lanes[step.lane as usize];
        let mask = _mm512_set1_epi8(step.mask.cast_signed());
        let most = _mm512_set1_epi8(step.rank.cast_signed());
        let low = _mm512_set1_epi8(step.low.cast_signed());
        let mid = _mm512_set1_epi8(step.mid.cast_signed());
        for number in 0..TILES {
            // SAFETY: a tile is a vector.
            let rank = unsafe { _mm512_loadu_si512(ranks[number].0.as_ptr().cast()) };
            let rank = if MASKED { _mm512_and_si512(rank, mask) } else { rank };
            let moves = _mm512_mask_cmpeq_epi8_mask(_mm512_cmpgt_epu8_mask(rank, most), all[number], low);
            all[number] = _mm512_mask_mov_epi8(all[number], moves, mid);
        }
    }
    for number in 0..TILES {
        // SAFETY: a tile is a vector, and is borrowed by nobody else.
        unsafe { _mm512_storeu_si512(stands[number].0.as_mut_ptr().cast(), all[number]) };
    }
}

/// Puts a word of each row of the first `tiles` into its lanes.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn take_bits<const TILES: usize>(word: Word<'_, TILES>, tiles: usize) {
    plain::take_bits(word, tiles);
}

/// Adds the leaves where rows stand to their sums: up to 64 leaves are looked up within registers.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn add_doubles(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    match leaves.len() {
        0..=16 => look_up_doubles::<2>(leaves, stands, sums),
        17..=32 => look_up_doubles::<4>(leaves, stands, sums),
        33..=64 => look_up_doubles::<8>(leaves, stands, sums),
        _ => plain::add(leaves, stands, sums),
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn look_up_doubles<const VECTORS: usize>(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    let mut table = [_mm512_set1_pd(0.0); VECTORS];
    for (vector, leaves) in table.iter_mut().zip(leaves.as_chunks::<8>().0) {
        // SAFETY: there are eight numbers.
        *vector = unsafe { _mm512_loadu_pd(leaves.as_ptr()) };
    }
    let (bit_16, bit_32) = (_mm512_set1_epi64(16), _mm512_set1_epi64(32));
    for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
        for (stands, sums) in stands.0.as_chunks::<8>().0.iter().zip(sums.as_chunks_mut::<8>().0) {
            // SAFETY: there are eight bytes.
            let at = _mm512_cvtepu8_epi64(unsafe { _mm_loadl_epi64(stands.as_ptr().cast()) });
            let mut found = _mm512_permutex2var_pd(table[0], at, table[1]);
            if VECTORS > 2 {
                let is_second = _mm512_test_epi64_mask(at, bit_16);
                let second = _mm512_permutex2var_pd(table[2 % VECTORS], at, table[3 % VECTORS]);
                found = _mm512_mask_mov_pd(found, is_second, second);
                if VECTORS > 4 {
                    let third = _mm512_permutex2var_pd(table[4 % VECTORS], at, table[5 % VECTORS]);
                    let fourth = _mm512_permutex2var_pd(table[6 % VECTORS], at, table[7 % VECTORS]);
                    let upper = _mm512_mask_mov_pd(third, is_second, fourth);
                    found = _mm512_mask_mov_pd(found, _mm512_test_epi64_mask(at, bit_32), upper);
                }
            }
            // SAFETY: there are eight numbers, borrowed by nobody else.
            unsafe { _mm512_storeu_pd(sums.as_mut_ptr(), _mm512_add_pd(_mm512_loadu_pd(sums.as_ptr()), found)) };
        }
    }
}

/// [`add_doubles`] for sums that are float32, up to 128 leaves.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn add_singles(leaves: &[f32], stands: &[Tile], sums: &mut [f32]) {
    match leaves.len() {
        0..=32 => look_up_singles::<2>(leaves, stands, sums),
        33..=64 => look_up_singles::<4>(leaves, stands, sums),
        65..=128 => look_up_singles::<8>(leaves, stands, sums),
        _ => plain::add(leaves, stands, sums),
    }
}

/// Of a table of up to 128 numbers those that `at` names, by its lower bits.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn pick<const VECTORS: usize>(table: &[__m512; VECTORS], at: __m512i) -> __m512 {
    let found = _mm512_permutex2var_ps(table[0], at, table[1]);
    if VECTORS == 2 {
        return found;
    }
    let is_second = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32));
    let second = _mm512_permutex2var_ps(table[2 % VECTORS], at, table[3 % VECTORS]);
    let lower = _mm512_mask_mov_ps(found, is_second, second);
    if VECTORS == 4 {
        return lower;
    }
    let third = _mm512_permutex2var_ps(table[4 % VECTORS], at, table[5 % VECTORS]);
    let fourth = _mm512_permutex2var_ps(table[6 % VECTORS], at, table[7 % VECTORS]);
    let upper = _mm512_mask_mov_ps(third, is_second, fourth);
    _mm512_mask_mov_ps(lower, _mm512_test_epi32_mask(at, _mm512_set1_epi32(64)), upper)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn look_up_singles<const VECTORS: usize>(leaves: &[f32], stands: &[Tile], sums: &mut [f32]) {
    let mut table = [_mm512_set1_ps(0.0); VECTORS];
    for (vector, leaves) in table.iter_mut().zip(leaves.as_chunks::<16>().0) {
        // SAFETY: there are sixteen numbers.
        *vector = unsafe { _mm512_loadu_ps(leaves.as_ptr()) };
    }
    for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
        for (stands, sums) in stands.0.as_chunks::<16>().0.iter().zip(sums.as_chunks_mut::<16>().0) {
            // SAFETY: there are sixteen bytes.
            let at = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(stands.as_ptr().cast()) });
            let found = pick(&table, at);
            // SAFETY: there are sixteen numbers, borrowed by nobody else.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), found)) };
        }
    }
}

/// Where a row of so many bytes stands in `GROUPS` groups of 64 trees, after `slots` of them side by side.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(in crate::trees) fn go_across<const GROUPS: usize>(
    slots: &[Slot],
    uppers: &[Uppers],
    lanes: usize,
    row: &[u8],
    stands: &mut [[u8; TILE]],
) {
    match lanes {
        0..=64 => across::<GROUPS, 1>(slots, uppers, row, stands),
        65..=128 => across::<GROUPS, 2>(slots, uppers, row, stands),
        129..=256 => across::<GROUPS, 4>(slots, uppers, row, stands),
        257..=512 => across::<GROUPS, 8>(slots, uppers, row, stands),
        _ => across::<GROUPS, 16>(slots, uppers, row, stands),
    }
}

/// [`go_across`] with `TABLES` of 64 bytes that hold the row.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn across<const GROUPS: usize, const TABLES: usize>(
    slots: &[Slot],
    uppers: &[Uppers],
    row: &[u8],
    stands: &mut [[u8; TILE]],
) {
    assert!(row.len() >= TABLES * TILE, "as many bytes as are loaded");
    let mut tables = [_mm512_setzero_si512(); TABLES];
    for number in 0..TABLES {
        // SAFETY: 64 bytes from there on are in the row.
        tables[number] = unsafe { _mm512_loadu_si512(row[number * TILE..].as_ptr().cast()) };
    }
    let mut all = [_mm512_setzero_si512(); GROUPS];
    for (number, slots) in slots.as_chunks::<GROUPS>().0.iter().enumerate() {
        for group in 0..GROUPS {
            let slot = &slots[group];
            // SAFETY: each is 64 bytes.
            let (lanes, most, low, mid) = unsafe {
                (
                    _mm512_loadu_si512(slot.lanes.as_ptr().cast()),
                    _mm512_loadu_si512(slot.ranks.as_ptr().cast()),
                    _mm512_loadu_si512(slot.lows.as_ptr().cast()),
                    _mm512_loadu_si512(slot.mids.as_ptr().cast()),
                )
            };
            let upper = if TABLES > 4 { uppers[number * GROUPS + group] } else { [0; 2] };
            let rank = look_up_lanes(&tables, lanes, upper);
            let moves = _mm512_mask_cmpeq_epi8_mask(_mm512_cmpgt_epu8_mask(rank, most), all[group], low);
            all[group] = _mm512_mask_mov_epi8(all[group], moves, mid);
        }
    }
    for (stands, all) in stands.iter_mut().zip(&all) {
        // SAFETY: there are 64 bytes, borrowed by nobody else.
        unsafe { _mm512_storeu_si512(stands.as_mut_ptr().cast(), *all) };
    }
}

/// The bytes that `lanes` name, whose two bits beyond the byte are in `upper`.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn look_up_lanes<const TABLES: usize>(tables: &[__m512i; TABLES], lanes: __m512i, upper: Uppers) -> __m512i {
    if TABLES == 1 {
        return _mm512_permutexvar_epi8(lanes, tables[0]);
    }
    // A shuffle goes by the lower seven bits; the others choose one after the other.
    let is_upper = _mm512_movepi8_mask(lanes);
    let in_two = |at: usize| _mm512_permutex2var_epi8(tables[at % TABLES], lanes, tables[(at + 1) % TABLES]);
    let in_four = |at: usize| _mm512_mask_mov_epi8(in_two(at), is_upper, in_two(at + 2));
    let in_eight = |at: usize| _mm512_mask_mov_epi8(in_four(at), upper[0], in_four(at + 4));
    match TABLES {
        2 => in_two(0),
        4 => in_four(0),
        8 => in_eight(0),
        _ => _mm512_mask_mov_epi8(in_eight(0), upper[1], in_eight(8)),
    }
}
