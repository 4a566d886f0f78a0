//! Votes by AVX2, 256 rows at a time.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_load_si128, _mm_loadl_epi64, _mm_or_si128, _mm_set1_epi64x, _mm_store_si128,
    _mm_storel_epi64, _mm_xor_si128, _mm256_and_si256, _mm256_load_si256, _mm256_or_si256, _mm256_set1_epi64x,
    _mm256_store_si256, _mm256_xor_si256,
};

use crate::trees::kernels::votes::vote;
use crate::trees::planes::Line;
use crate::trees::votes::Ballot;

/// Chooses the kinds of leaves to which rows come in some trees, and counts them.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn vote<const TILES: usize>(ballot: Ballot<'_>, lines: &mut [Line], counts: &mut [Line]) {
    const { assert!(TILES == 1 || TILES == 2 || TILES == 4 || TILES == 8) };
    match TILES {
        8 => eight::vote(ballot, lines, counts),
        4 => four::vote(ballot, lines, counts),
        2 => two::vote(ballot, lines, counts),
        _ => one::vote(ballot, lines, counts),
    }
}

/// What is made of three bits, for a kind of vectors.
macro_rules! of_three {
    ($vector:ty, $and:ident, $or:ident, $xor:ident, $choose:ident, $odd:ident, $most:ident, $differs:ident) => {
        /// By a bit of A, that of B or else of C.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $choose(a: $vector, b: $vector, c: $vector) -> $vector {
            $xor($and($xor(b, c), a), c)
        }

        /// The lower bit of A + B + C.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $odd(a: $vector, b: $vector, c: $vector) -> $vector {
            $xor($xor(a, b), c)
        }

        /// The upper bit.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $most(a: $vector, b: $vector, c: $vector) -> $vector {
            $or($and(a, b), $and($xor(a, b), c))
        }

        /// A, where B and C differ.
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $differs(a: $vector, b: $vector, c: $vector) -> $vector {
            $and(a, $xor(b, c))
        }
    };
}

of_three!(__m256i, _mm256_and_si256, _mm256_or_si256, _mm256_xor_si256, choose_256, odd_256, most_256, differs_256);
of_three!(__m128i, _mm_and_si128, _mm_or_si128, _mm_xor_si128, choose_128, odd_128, most_128, differs_128);

vote!(
    eight,
    "avx2",
    (8, 4),
    (_mm256_load_si256, _mm256_store_si256, _mm256_set1_epi64x),
    (choose_256, odd_256, most_256, differs_256, _mm256_and_si256, _mm256_xor_si256)
);
vote!(
    four,
    "avx2",
    (4, 4),
    (_mm256_load_si256, _mm256_store_si256, _mm256_set1_epi64x),
    (choose_256, odd_256, most_256, differs_256, _mm256_and_si256, _mm256_xor_si256)
);
vote!(
    two,
    "avx2",
    (2, 2),
    (_mm_load_si128, _mm_store_si128, _mm_set1_epi64x),
    (choose_128, odd_128, most_128, differs_128, _mm_and_si128, _mm_xor_si128)
);
vote!(
    one,
    "avx2",
    (1, 1),
    (_mm_loadl_epi64, _mm_storel_epi64, _mm_set1_epi64x),
    (choose_128, odd_128, most_128, differs_128, _mm_and_si128, _mm_xor_si128)
);
