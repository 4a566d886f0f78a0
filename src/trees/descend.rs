//! Where the rows of a block stand after all steps of a tree, for each set of instructions.
//!
//! A step is a compare, a compare and a select of bytes. Where the rows stand has to stay in registers from the first step
//! to the last. That takes functions that are not inlined: within the loop over trees the compiler kept it in memory, and a
//! tree took 2.7 times as long, whether it was plain Rust, a generic type of vectors, or these intrinsics.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "what loads and stores needs no alignment")]
#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over the vectors leads the compiler to keep them in memory"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, __m512i, _mm256_andnot_si256, _mm256_blendv_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_storeu_si256, _mm512_cmpgt_epu8_mask, _mm512_loadu_si512,
    _mm512_mask_cmpeq_epi8_mask, _mm512_mask_mov_epi8, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::blocks::{Lane, Step};

/// Plain Rust, of which the compiler makes vectors of SSE2 or NEON.
#[inline(never)]
pub(super) fn plain<const ROWS: usize>(steps: &[Step], lanes: &[Lane<ROWS>]) -> Lane<ROWS> {
    let mut all = Lane([0; ROWS]);
    for step in steps {
        let Step { lane, rank: most, low, mid } = *step;
        for (at, rank) in all.0.iter_mut().zip(&lanes[lane as usize].0) {
            // Not `&&`, which would be a branch.
            let moves = u8::from(*rank > most) & u8::from(*at == low);
            *at = if moves != 0 { mid } else { *at };
        }
    }
    all
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(super) fn avx2<const ROWS: usize, const VECTORS: usize>(steps: &[Step], lanes: &[Lane<ROWS>]) -> Lane<ROWS> {
    const { assert!(ROWS == VECTORS * size_of::<__m256i>()) };
    let mut all = [_mm256_setzero_si256(); VECTORS];
    for step in steps {
        let ranks = lanes[step.lane as usize].0.as_ptr().cast::<__m256i>();
        let [most, low, mid] = [step.rank, step.low, step.mid].map(|byte| _mm256_set1_epi8(byte.cast_signed()));
        for number in 0..VECTORS {
            // SAFETY: `number` is below `VECTORS`, and the lane has `VECTORS` vectors of bytes.
            let rank = unsafe { _mm256_loadu_si256(ranks.add(number)) };
            // There is no comparison of unsigned bytes, but a minimum.
            let stays = _mm256_cmpeq_epi8(_mm256_min_epu8(rank, most), rank);
            let moves = _mm256_andnot_si256(stays, _mm256_cmpeq_epi8(all[number], low));
            all[number] = _mm256_blendv_epi8(all[number], mid, moves);
        }
    }
    let mut lane = Lane([0; ROWS]);
    for number in 0..VECTORS {
        // SAFETY: as above, and the lane is borrowed by nobody else.
        unsafe { _mm256_storeu_si256(lane.0.as_mut_ptr().cast::<__m256i>().add(number), all[number]) };
    }
    lane
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx512bw")]
pub(super) fn avx512<const ROWS: usize, const VECTORS: usize>(steps: &[Step], lanes: &[Lane<ROWS>]) -> Lane<ROWS> {
    const { assert!(ROWS == VECTORS * size_of::<__m512i>()) };
    let mut all = [_mm512_setzero_si512(); VECTORS];
    for step in steps {
        let ranks = lanes[step.lane as usize].0.as_ptr().cast::<__m512i>();
        let [most, low, mid] = [step.rank, step.low, step.mid].map(|byte| _mm512_set1_epi8(byte.cast_signed()));
        for number in 0..VECTORS {
            // SAFETY: `number` is below `VECTORS`, and the lane has `VECTORS` vectors of bytes.
            let rank = unsafe { _mm512_loadu_si512(ranks.add(number)) };
            let moves = _mm512_mask_cmpeq_epi8_mask(_mm512_cmpgt_epu8_mask(rank, most), all[number], low);
            all[number] = _mm512_mask_mov_epi8(all[number], moves, mid);
        }
    }
    let mut lane = Lane([0; ROWS]);
    for number in 0..VECTORS {
        // SAFETY: as above, and the lane is borrowed by nobody else.
        unsafe { _mm512_storeu_si512(lane.0.as_mut_ptr().cast::<__m512i>().add(number), all[number]) };
    }
    lane
}
