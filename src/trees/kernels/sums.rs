//! Leaves of several numbers, added to the sums of rows by AVX-512.
#![allow(unsafe_code)]
#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over the vectors leads the compiler to keep them in memory"
)]

use std::arch::x86_64::{
    _mm512_add_pd, _mm512_cvtpd_ps, _mm512_cvtps_pd, _mm512_mask_storeu_pd, _mm512_maskz_loadu_pd, _mm512_setzero_pd,
};

use crate::trees::deep::Found;

const EIGHT: usize = 8;
/// Numbers of the widest leaf, in two vectors.
pub(in crate::trees) const MOST: usize = 2 * EIGHT;

/// Adds the leaves that rows found in some trees, whose leaves have as many numbers as `width` says: the sums of a row are in
/// registers until it has those of all trees.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn add_found(
    trees: &[Found<'_>],
    (outputs, width): (usize, usize),
    are_single: bool,
    scores: &mut [f64],
) {
    match (width > EIGHT, are_single) {
        (false, false) => add::<1, false>(trees, outputs, width, scores),
        (false, true) => add::<1, true>(trees, outputs, width, scores),
        (true, false) => add::<2, false>(trees, outputs, width, scores),
        (true, true) => add::<2, true>(trees, outputs, width, scores),
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn add<const VECTORS: usize, const SINGLE: bool>(
    trees: &[Found<'_>],
    outputs: usize,
    width: usize,
    scores: &mut [f64],
) {
    assert!(width <= VECTORS * EIGHT && width > (VECTORS - 1) * EIGHT);
    let masks = [u8::MAX >> (EIGHT * VECTORS - width), u8::MAX >> (EIGHT * VECTORS - width)];
    let mask_of = |vector: usize| if vector + 1 < VECTORS { u8::MAX } else { masks[vector] };
    let Some(Found { output, .. }) = trees.first() else { return };
    for (row, scores) in scores.chunks_exact_mut(outputs).enumerate() {
        let scores = &mut scores[*output..][..width];
        let mut sums = [_mm512_setzero_pd(); VECTORS];
        for vector in 0..VECTORS {
            // SAFETY: the mask leaves what is within the `width` numbers.
            sums[vector] = unsafe { _mm512_maskz_loadu_pd(mask_of(vector), scores[vector * EIGHT..].as_ptr()) };
        }
        for tree in trees {
            let leaf = &tree.leaves[tree.of_rows[row] as usize * width..][..width];
            for vector in 0..VECTORS {
                // SAFETY: as above.
                let more = unsafe { _mm512_maskz_loadu_pd(mask_of(vector), leaf[vector * EIGHT..].as_ptr()) };
                sums[vector] = _mm512_add_pd(sums[vector], more);
                if SINGLE {
                    sums[vector] = _mm512_cvtps_pd(_mm512_cvtpd_ps(sums[vector]));
                }
            }
        }
        for vector in 0..VECTORS {
            // SAFETY: as above, and they are borrowed by nobody else.
            unsafe { _mm512_mask_storeu_pd(scores[vector * EIGHT..].as_mut_ptr(), mask_of(vector), sums[vector]) };
        }
    }
}
