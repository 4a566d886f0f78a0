//! Ranks of sixteen numbers of a row by AVX-512.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _CMP_LE_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _mm_storeu_si128, _mm512_abs_pd, _mm512_abs_ps,
    _mm512_castsi256_si512, _mm512_cmp_pd_mask, _mm512_cmp_ps_mask, _mm512_cvtepi64_epi32, _mm512_cvtusepi32_epi8,
    _mm512_inserti32x8, _mm512_loadu_pd, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_add_epi32,
    _mm512_mask_add_epi64, _mm512_mask_mov_epi32, _mm512_max_epu32, _mm512_set1_epi32, _mm512_set1_epi64,
    _mm512_set1_pd, _mm512_set1_ps, _mm512_setzero_si512, _mm512_sub_epi32,
};

use crate::trees::abreast::Group;
use crate::trees::search::{Block, WIDTH};

/// The bytes of sixteen numbers: each is compared with those of `blocks` in its place.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn singles(group: &Group, blocks: &[Block<f32>], near_zero: f32, values: &[f32; WIDTH]) -> [u8; WIDTH] {
    // SAFETY: there are sixteen numbers, as in a block.
    let value = unsafe { _mm512_loadu_ps(values.as_ptr()) };
    let (mut ranks, one) = (_mm512_setzero_si512(), _mm512_set1_epi32(1));
    for block in blocks {
        // SAFETY: as above.
        let thresholds = unsafe { _mm512_loadu_ps(block.0.as_ptr()) };
        ranks = _mm512_mask_add_epi32(ranks, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(thresholds, value), ranks, one);
    }
    let is_zero = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(value), _mm512_set1_ps(near_zero));
    settle(group, ranks, is_zero, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value))
}

/// The same of float64.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn doubles(group: &Group, blocks: &[Block<f64>], near_zero: f64, values: &[f64; WIDTH]) -> [u8; WIDTH] {
    // SAFETY: there are sixteen numbers, as in a block.
    let (low, high) = unsafe { (_mm512_loadu_pd(values.as_ptr()), _mm512_loadu_pd(values[8..].as_ptr())) };
    let (mut ranks, one) = ((_mm512_setzero_si512(), _mm512_setzero_si512()), _mm512_set1_epi64(1));
    for block in blocks {
        // SAFETY: as above.
        let of = unsafe { (_mm512_loadu_pd(block.0.as_ptr()), _mm512_loadu_pd(block.0[8..].as_ptr())) };
        ranks.0 = _mm512_mask_add_epi64(ranks.0, _mm512_cmp_pd_mask::<_CMP_LT_OQ>(of.0, low), ranks.0, one);
        ranks.1 = _mm512_mask_add_epi64(ranks.1, _mm512_cmp_pd_mask::<_CMP_LT_OQ>(of.1, high), ranks.1, one);
    }
    let near_zero = _mm512_set1_pd(near_zero);
    let is_zero = [
        _mm512_cmp_pd_mask::<_CMP_LE_OQ>(_mm512_abs_pd(low), near_zero),
        _mm512_cmp_pd_mask::<_CMP_LE_OQ>(_mm512_abs_pd(high), near_zero),
    ];
    let is_missing = [_mm512_cmp_pd_mask::<_CMP_UNORD_Q>(low, low), _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(high, high)];
    let (lower, upper) = (_mm512_cvtepi64_epi32(ranks.0), _mm512_cvtepi64_epi32(ranks.1));
    let ranks = _mm512_inserti32x8::<1>(_mm512_castsi256_si512(lower), upper);
    settle(group, ranks, u16::from_le_bytes(is_zero), u16::from_le_bytes(is_missing))
}

/// Ranks as bytes, as they count under the rule of each.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn settle(group: &Group, ranks: __m512i, is_zero: u16, is_missing: u16) -> [u8; WIDTH] {
    // SAFETY: each has sixteen numbers.
    let [firsts, missing, zeros] = [&group.firsts, &group.missing, &group.zeros]
        .map(|numbers| unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) });
    let ranks = _mm512_mask_mov_epi32(_mm512_mask_mov_epi32(ranks, is_zero, zeros), is_missing, missing);
    let ranks = _mm512_sub_epi32(_mm512_max_epu32(ranks, firsts), firsts);
    let mut bytes = [0; WIDTH];
    // SAFETY: there are sixteen bytes. 255 is what is beyond all ranks, `MOST_RANKS`.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(ranks)) };
    bytes
}
