//! Ranks of sixteen numbers of a row by AVX2. The compiler made a third more of it than searches of one number each take.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _CMP_LE_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _mm_packus_epi16, _mm_packus_epi32, _mm_storeu_si128,
    _mm256_and_si256, _mm256_andnot_pd, _mm256_andnot_ps, _mm256_blendv_epi8, _mm256_castpd_si256, _mm256_castps_si256,
    _mm256_castsi256_si128, _mm256_cmp_pd, _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_extracti128_si256,
    _mm256_loadu_pd, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_max_epu32, _mm256_min_epu32, _mm256_movemask_pd,
    _mm256_movemask_ps, _mm256_permute2x128_si256, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_pd,
    _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sub_epi32,
    _mm256_sub_epi64,
};

use crate::trees::abreast::Group;
use crate::trees::search::{Block, MOST_RANKS, WIDTH};

/// The bytes of sixteen numbers: each is compared with those of `blocks` in its place.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn singles(group: &Group, blocks: &[Block<f32>], near_zero: f32, values: &[f32; WIDTH]) -> [u8; WIDTH] {
    let (mut keys, mut ranks) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_si256(); 2]);
    for part in 0..2 {
        // SAFETY: eight of sixteen numbers.
        keys[part] = unsafe { _mm256_loadu_ps(values[part * 8..][..8].as_ptr()) };
    }
    for block in blocks {
        for part in 0..2 {
            // SAFETY: eight of sixteen numbers.
            let thresholds = unsafe { _mm256_loadu_ps(block.0[part * 8..][..8].as_ptr()) };
            // True is -1.
            let is_beyond = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(thresholds, keys[part]));
            ranks[part] = _mm256_sub_epi32(ranks[part], is_beyond);
        }
    }
    let (mut is_zero, mut is_missing) = ([0; 2], [0; 2]);
    for part in 0..2 {
        let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), keys[part]);
        is_zero[part] = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(size, _mm256_set1_ps(near_zero)));
        is_missing[part] = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(keys[part], keys[part]));
    }
    settle(group, ranks, is_zero, is_missing)
}

/// The same of float64.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn doubles(group: &Group, blocks: &[Block<f64>], near_zero: f64, values: &[f64; WIDTH]) -> [u8; WIDTH] {
    let (mut keys, mut wide) = ([_mm256_setzero_pd(); 4], [_mm256_setzero_si256(); 4]);
    for part in 0..4 {
        // SAFETY: four of sixteen numbers.
        keys[part] = unsafe { _mm256_loadu_pd(values[part * 4..][..4].as_ptr()) };
    }
    for block in blocks {
        for part in 0..4 {
            // SAFETY: four of sixteen numbers.
            let thresholds = unsafe { _mm256_loadu_pd(block.0[part * 4..][..4].as_ptr()) };
            // True is -1.
            let is_beyond = _mm256_castpd_si256(_mm256_cmp_pd::<_CMP_LT_OQ>(thresholds, keys[part]));
            wide[part] = _mm256_sub_epi64(wide[part], is_beyond);
        }
    }
    let (mut ranks, mut is_zero, mut is_missing) = ([_mm256_setzero_si256(); 2], [0; 2], [0; 2]);
    let lower_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    for part in 0..4 {
        let size = _mm256_andnot_pd(_mm256_set1_pd(-0.0), keys[part]);
        let zero = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LE_OQ>(size, _mm256_set1_pd(near_zero)));
        let missing = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_UNORD_Q>(keys[part], keys[part]));
        is_zero[part / 2] |= zero << (part % 2 * 4);
        is_missing[part / 2] |= missing << (part % 2 * 4);
        wide[part] = _mm256_permutevar8x32_epi32(wide[part], lower_halves);
    }
    for part in 0..2 {
        ranks[part] = _mm256_permute2x128_si256::<0x20>(wide[2 * part], wide[2 * part + 1]);
    }
    settle(group, ranks, is_zero, is_missing)
}

/// Ranks as bytes, as they count under the rule of each.
#[inline]
#[target_feature(enable = "avx2")]
fn settle(group: &Group, mut ranks: [__m256i; 2], is_zero: [i32; 2], is_missing: [i32; 2]) -> [u8; WIDTH] {
    let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    for part in 0..2 {
        // SAFETY: eight of sixteen numbers of each.
        let [first, missing, zero] = [&group.firsts, &group.missing, &group.zeros]
            .map(|numbers| unsafe { _mm256_loadu_si256(numbers[part * 8..][..8].as_ptr().cast()) });
        let [is_zero, is_missing] = [is_zero[part], is_missing[part]]
            .map(|mask| _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask), bits), bits));
        let rank = _mm256_blendv_epi8(_mm256_blendv_epi8(ranks[part], zero, is_zero), missing, is_missing);
        let rank = _mm256_sub_epi32(_mm256_max_epu32(rank, first), first);
        ranks[part] = _mm256_min_epu32(rank, _mm256_set1_epi32(i32::from(MOST_RANKS)));
    }
    let halves =
        ranks.map(|ranks| _mm_packus_epi32(_mm256_castsi256_si128(ranks), _mm256_extracti128_si256::<1>(ranks)));
    let mut bytes = [0; WIDTH];
    // SAFETY: there are sixteen bytes.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_packus_epi16(halves[0], halves[1])) };
    bytes
}
