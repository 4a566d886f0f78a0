//! Bits of rows by AVX2: choices of 256 of them, and numbers of leaves made of eight.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "lines are aligned as the widest vector")]
#![allow(clippy::needless_range_loop, reason = "as in the module above")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_load_si128, _mm_loadu_si128, _mm_set_epi64x, _mm_setr_epi8, _mm_shuffle_epi8,
    _mm_store_si128, _mm_unpackhi_epi16, _mm_unpackhi_epi32, _mm_unpacklo_epi16, _mm_unpacklo_epi32, _mm_xor_si128,
    _mm256_and_si256, _mm256_blendv_epi8, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8, _mm256_load_si256,
    _mm256_min_epu8, _mm256_movemask_epi8, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_store_si256, _mm256_storeu_si256,
    _mm256_xor_si256,
};

use super::look_up;
use crate::trees::coding::BITS;
use crate::trees::planes::{FIRST, Line, Threshold, Way};
use crate::trees::search::Tile;

/// Which rows are beyond each threshold.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn compare<const TILES: usize>(
    thresholds: &[Threshold],
    lanes: &[[Tile; TILES]],
    lines: &mut [Line],
) {
    assert!((FIRST + thresholds.len()) * TILES <= lines.len() * 8, "as many places as there are");
    let words = lines.as_mut_ptr().cast::<u64>();
    for (place, threshold) in (FIRST..).zip(thresholds) {
        let (tiles, most) = (&lanes[threshold.lane()], _mm256_set1_epi8(threshold.rank().cast_signed()));
        for number in 0..TILES {
            let mut stay = [0; 2];
            for half in 0..2 {
                // SAFETY: a tile is two vectors.
                let ranks = unsafe { _mm256_load_si256(tiles[number].0[half * 32..].as_ptr().cast()) };
                // There is no comparison of unsigned bytes, but a minimum.
                let stays = _mm256_cmpeq_epi8(_mm256_min_epu8(ranks, most), ranks);
                stay[half] = u64::from(_mm256_movemask_epi8(stays).cast_unsigned());
            }
            // SAFETY: the places were counted.
            unsafe { *words.add(place * TILES + number) = !(stay[0] | stay[1] << 32) };
        }
    }
}

/// Where rows stand in a tree.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn choose<const TILES: usize>(way: Way<'_>, lines: &mut [Line], stands: &mut [Tile; TILES]) {
    const { assert!(TILES == 1 || TILES == 2 || TILES == 4 || TILES == 8) };
    assert!(way.places() * TILES <= lines.len() * 8, "as many places as there are");
    let words = lines.as_mut_ptr().cast::<u64>();
    for choice in way.choices() {
        // SAFETY: a way's places are less than there are, and each is as far from a line's start as its vectors are wide.
        unsafe {
            let [by, beyond, otherwise, found] = choice.places.map(|place| words.add(usize::from(place) * TILES));
            match TILES {
                4 | 8 => {
                    for part in (0..TILES).step_by(4) {
                        let [by, beyond, otherwise] = [by, beyond, otherwise]
                            .map(|at| _mm256_load_si256(at.add(part).cast_const().cast::<__m256i>()));
                        let differ = _mm256_and_si256(_mm256_xor_si256(beyond, otherwise), by);
                        _mm256_store_si256(found.add(part).cast(), _mm256_xor_si256(differ, otherwise));
                    }
                }
                2 => {
                    let [by, beyond, otherwise] =
                        [by, beyond, otherwise].map(|at| _mm_load_si128(at.cast_const().cast::<__m128i>()));
                    let differ = _mm_and_si128(_mm_xor_si128(beyond, otherwise), by);
                    _mm_store_si128(found.cast(), _mm_xor_si128(differ, otherwise));
                }
                _ => *found = (*by & *beyond) | (!*by & *otherwise),
            }
        }
    }
    for number in 0..TILES {
        // SAFETY: as above.
        let of_tile: [u64; BITS] =
            std::array::from_fn(|bit| unsafe { *words.add(usize::from(way.planes()[bit]) * TILES + number) });
        let codes = turn(of_tile);
        for half in 0..2 {
            let found = match way.leaves().len() {
                0..=64 => look_up(&tables::<4>(way.leaves()), codes[half]),
                65..=128 => look_up(&tables::<8>(way.leaves()), codes[half]),
                _ => {
                    let lower = _mm256_and_si256(codes[half], _mm256_set1_epi8(i8::MAX));
                    let [low, high] = [0, 128].map(|first| look_up(&tables::<8>(&way.leaves()[first..]), lower));
                    _mm256_blendv_epi8(low, high, codes[half])
                }
            };
            // SAFETY: a tile is two vectors, and is borrowed by nobody else.
            unsafe { _mm256_storeu_si256(stands[number].0[half * 32..].as_mut_ptr().cast(), found) };
        }
    }
}

/// Sixteen leaves in each table, twice.
#[inline]
#[target_feature(enable = "avx2")]
fn tables<const TABLES: usize>(leaves: &[u8]) -> [__m256i; TABLES] {
    let mut tables = [_mm256_setzero_si256(); TABLES];
    for number in 0..TABLES {
        // SAFETY: there are sixteen bytes from there on.
        let table = unsafe { _mm_loadu_si128(leaves[number * 16..][..16].as_ptr().cast()) };
        tables[number] = _mm256_broadcastsi128_si256(table);
    }
    tables
}

/// Of 64 rows the bytes that have these bits, the lowest first.
#[inline]
#[target_feature(enable = "avx2")]
fn turn(planes: [u64; BITS]) -> [__m256i; 2] {
    // Eight bytes of each plane, as eight words of eight planes.
    let order = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    let mut pairs = [_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15); BITS / 2];
    for at in 0..BITS / 2 {
        let both = _mm_set_epi64x(planes[2 * at + 1].cast_signed(), planes[2 * at].cast_signed());
        pairs[at] = _mm_shuffle_epi8(both, order);
    }
    let lows = [_mm_unpacklo_epi16(pairs[0], pairs[1]), _mm_unpacklo_epi16(pairs[2], pairs[3])];
    let highs = [_mm_unpackhi_epi16(pairs[0], pairs[1]), _mm_unpackhi_epi16(pairs[2], pairs[3])];
    [lows, highs].map(|[first, second]| {
        let squares = _mm256_set_m128i(_mm_unpackhi_epi32(first, second), _mm_unpacklo_epi32(first, second));
        let squares = swap::<7>(squares, 0x00AA_00AA_00AA_00AA);
        let squares = swap::<14>(squares, 0x0000_CCCC_0000_CCCC);
        swap::<28>(squares, 0x0000_0000_F0F0_F0F0)
    })
}

/// Swaps some bits, `mask`, with those `APART` above them.
#[inline]
#[target_feature(enable = "avx2")]
fn swap<const APART: i32>(squares: __m256i, mask: i64) -> __m256i {
    let differ = _mm256_xor_si256(squares, _mm256_srli_epi64::<APART>(squares));
    let differ = _mm256_and_si256(differ, _mm256_set1_epi64x(mask));
    _mm256_xor_si256(squares, _mm256_xor_si256(differ, _mm256_slli_epi64::<APART>(differ)))
}
