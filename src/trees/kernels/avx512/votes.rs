//! Votes by AVX-512: a choice is one instruction for 512 rows, and so is each of the two bits of a sum of three.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_and_si128, _mm_load_si128, _mm_loadl_epi64, _mm_set1_epi64x, _mm_store_si128,
    _mm_storel_epi64, _mm_ternarylogic_epi64, _mm_xor_si128, _mm256_and_si256, _mm256_load_si256, _mm256_set1_epi64x,
    _mm256_store_si256, _mm256_ternarylogic_epi64, _mm256_xor_si256, _mm512_and_si512, _mm512_load_si512,
    _mm512_set1_epi64, _mm512_store_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use crate::trees::kernels::votes::vote;
use crate::trees::planes::Line;
use crate::trees::votes::Ballot;

/// Chooses the kinds of leaves to which rows come in some trees, and counts them.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn vote<const TILES: usize>(ballot: Ballot<'_>, lines: &mut [Line], counts: &mut [Line]) {
    const { assert!(TILES == 1 || TILES == 2 || TILES == 4 || TILES == 8) };
    match TILES {
        8 => eight::vote(ballot, lines, counts),
        4 => four::vote(ballot, lines, counts),
        2 => two::vote(ballot, lines, counts),
        _ => one::vote(ballot, lines, counts),
    }
}

/// What a table of eight bits makes of three.
macro_rules! by_table {
    ($name:ident, $vector:ty, $ternary:ident, $table:literal) => {
        #[inline]
        #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
        fn $name(a: $vector, b: $vector, c: $vector) -> $vector {
            $ternary::<$table>(a, b, c)
        }
    };
}

// By a bit of A, that of B or else of C.
by_table!(choose_512, __m512i, _mm512_ternarylogic_epi64, 0xCA);
by_table!(choose_256, __m256i, _mm256_ternarylogic_epi64, 0xCA);
by_table!(choose_128, __m128i, _mm_ternarylogic_epi64, 0xCA);
// The lower bit of A + B + C.
by_table!(odd_512, __m512i, _mm512_ternarylogic_epi64, 0x96);
by_table!(odd_256, __m256i, _mm256_ternarylogic_epi64, 0x96);
by_table!(odd_128, __m128i, _mm_ternarylogic_epi64, 0x96);
// The upper bit.
by_table!(most_512, __m512i, _mm512_ternarylogic_epi64, 0xE8);
by_table!(most_256, __m256i, _mm256_ternarylogic_epi64, 0xE8);
by_table!(most_128, __m128i, _mm_ternarylogic_epi64, 0xE8);
// A, where B and C differ.
by_table!(differs_512, __m512i, _mm512_ternarylogic_epi64, 0x60);
by_table!(differs_256, __m256i, _mm256_ternarylogic_epi64, 0x60);
by_table!(differs_128, __m128i, _mm_ternarylogic_epi64, 0x60);

vote!(
    eight,
    "avx512bw,avx512dq,avx512vl",
    (8, 8),
    (_mm512_load_si512, _mm512_store_si512, _mm512_set1_epi64),
    (choose_512, odd_512, most_512, differs_512, _mm512_and_si512, _mm512_xor_si512)
);
vote!(
    four,
    "avx512bw,avx512dq,avx512vl",
    (4, 4),
    (_mm256_load_si256, _mm256_store_si256, _mm256_set1_epi64x),
    (choose_256, odd_256, most_256, differs_256, _mm256_and_si256, _mm256_xor_si256)
);
vote!(
    two,
    "avx512bw,avx512dq,avx512vl",
    (2, 2),
    (_mm_load_si128, _mm_store_si128, _mm_set1_epi64x),
    (choose_128, odd_128, most_128, differs_128, _mm_and_si128, _mm_xor_si128)
);
vote!(
    one,
    "avx512bw,avx512dq,avx512vl",
    (1, 1),
    (_mm_loadl_epi64, _mm_storel_epi64, _mm_set1_epi64x),
    (choose_128, odd_128, most_128, differs_128, _mm_and_si128, _mm_xor_si128)
);
