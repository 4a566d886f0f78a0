//! Bits of rows by AVX-512: choices of 512 of them, and numbers of leaves made of eight.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "lines are aligned as the widest vector")]
#![allow(clippy::needless_range_loop, reason = "as in the module above")]

use std::arch::x86_64::{
    __m512i, _mm_load_si128, _mm_store_si128, _mm_ternarylogic_epi64, _mm256_load_si256, _mm256_store_si256,
    _mm256_ternarylogic_epi64, _mm512_cmpgt_epu8_mask, _mm512_gf2p8affine_epi64_epi8, _mm512_load_si512,
    _mm512_loadu_si512, _mm512_mask_mov_epi8, _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_permutexvar_epi8,
    _mm512_set1_epi8, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_store_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use crate::trees::coding::BITS;
use crate::trees::planes::{FIRST, Line, Threshold, Way};
use crate::trees::search::{TILE, Tile};

/// By a bit of A, that of B or else of C.
const CHOICE: i32 = 0xCA;
/// Byte `8 * j + 7 - k` is byte `8 * k + j` of what it is made of: squares of bits are turned with their lines from the last to
/// the first.
#[allow(clippy::cast_possible_truncation, reason = "all are less than 64")]
const TURN: [u8; TILE] = {
    let (mut turn, mut at) = ([0; TILE], 0);
    while at < TILE {
        turn[at] = (8 * (7 - at % 8) + at / 8) as u8;
        at += 1;
    }
    turn
};
/// Byte `j` of a square has bit `j`.
const DIAGONAL: u64 = 0x8040_2010_0804_0201;

/// Which rows are beyond each threshold.
#[inline(never)]
#[target_feature(enable = "avx512bw")]
pub(in crate::trees) fn compare<const TILES: usize>(
    thresholds: &[Threshold],
    lanes: &[[Tile; TILES]],
    lines: &mut [Line],
) {
    assert!((FIRST + thresholds.len()) * TILES <= lines.len() * 8, "as many places as there are");
    let words = lines.as_mut_ptr().cast::<u64>();
    for (place, threshold) in (FIRST..).zip(thresholds) {
        let (tiles, most) = (&lanes[threshold.lane()], _mm512_set1_epi8(threshold.rank().cast_signed()));
        for number in 0..TILES {
            // SAFETY: a tile is a vector, and the places were counted.
            unsafe {
                let ranks = _mm512_load_si512(tiles[number].0.as_ptr().cast());
                *words.add(place * TILES + number) = _mm512_cmpgt_epu8_mask(ranks, most);
            }
        }
    }
}

/// Where rows stand in a tree.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi,gfni")]
pub(in crate::trees) fn choose<const TILES: usize>(way: Way<'_>, lines: &mut [Line], stands: &mut [Tile; TILES]) {
    const { assert!(TILES == 1 || TILES == 2 || TILES == 4 || TILES == 8) };
    assert!(way.places() * TILES <= lines.len() * 8, "as many places as there are");
    let words = lines.as_mut_ptr().cast::<u64>();
    for choice in way.choices() {
        // SAFETY: a way's places are less than there are, and each is as far from a line's start as its vector is wide.
        unsafe {
            let [by, beyond, otherwise, found] = choice.places.map(|place| words.add(usize::from(place) * TILES));
            match TILES {
                8 => {
                    let [by, beyond, otherwise] =
                        [by, beyond, otherwise].map(|at| _mm512_load_si512(at.cast_const().cast()));
                    _mm512_store_si512(found.cast(), _mm512_ternarylogic_epi64::<CHOICE>(by, beyond, otherwise));
                }
                4 => {
                    let [by, beyond, otherwise] =
                        [by, beyond, otherwise].map(|at| _mm256_load_si256(at.cast_const().cast()));
                    _mm256_store_si256(found.cast(), _mm256_ternarylogic_epi64::<CHOICE>(by, beyond, otherwise));
                }
                2 => {
                    let [by, beyond, otherwise] =
                        [by, beyond, otherwise].map(|at| _mm_load_si128(at.cast_const().cast()));
                    _mm_store_si128(found.cast(), _mm_ternarylogic_epi64::<CHOICE>(by, beyond, otherwise));
                }
                _ => *found = (*by & *beyond) | (!*by & *otherwise),
            }
        }
    }
    let mut squares = [_mm512_setzero_si512(); TILES];
    // SAFETY: as above.
    let at = |bit: usize| unsafe { words.add(usize::from(way.planes()[bit]) * TILES) };
    if TILES == 8 {
        let mut planes = [_mm512_setzero_si512(); BITS];
        for bit in 0..BITS {
            // SAFETY: as above.
            planes[bit] = unsafe { _mm512_load_si512(at(bit).cast_const().cast()) };
        }
        squares.copy_from_slice(&turn(&planes)[..TILES]);
    } else {
        for number in 0..TILES {
            // SAFETY: as above.
            let of_tile: [u64; BITS] = std::array::from_fn(|bit| unsafe { *at(bit).add(number) });
            // SAFETY: eight words are a vector.
            squares[number] = unsafe { _mm512_loadu_si512(of_tile.as_ptr().cast()) };
        }
    }
    match way.leaves().len() {
        0..=64 => name::<1, TILES>(squares, way.leaves(), stands),
        65..=128 => name::<2, TILES>(squares, way.leaves(), stands),
        _ => name::<4, TILES>(squares, way.leaves(), stands),
    }
}

/// Eight lines of words as eight columns.
#[inline]
#[target_feature(enable = "avx512bw")]
fn turn(lines: &[__m512i; 8]) -> [__m512i; 8] {
    let (mut pairs, mut fours, mut all) = ([lines[0]; 8], [lines[0]; 8], [lines[0]; 8]);
    for at in 0..4 {
        pairs[at] = _mm512_unpacklo_epi64(lines[2 * at], lines[2 * at + 1]);
        pairs[4 + at] = _mm512_unpackhi_epi64(lines[2 * at], lines[2 * at + 1]);
    }
    // Of even columns, then of odd ones: halves of two pairs.
    for odd in [0, 4] {
        for half in 0..2 {
            let (low, high) = (pairs[odd + 2 * half], pairs[odd + 2 * half + 1]);
            fours[odd + half] = _mm512_shuffle_i64x2::<0x88>(low, high);
            fours[odd + 2 + half] = _mm512_shuffle_i64x2::<0xDD>(low, high);
        }
    }
    for odd in [0, 4] {
        for half in 0..2 {
            let (low, high) = (fours[odd + 2 * half], fours[odd + 2 * half + 1]);
            let first = odd / 4 + 2 * half;
            all[first] = _mm512_shuffle_i64x2::<0x88>(low, high);
            all[first + 4] = _mm512_shuffle_i64x2::<0xDD>(low, high);
        }
    }
    all
}

/// The leaves whose numbers have these bits: of each tile eight words, the lowest bits first.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi,gfni")]
fn name<const TABLES: usize, const TILES: usize>(squares: [__m512i; TILES], leaves: &[u8], stands: &mut [Tile; TILES]) {
    let mut tables = [_mm512_setzero_si512(); TABLES];
    for number in 0..TABLES {
        // SAFETY: there are 64 bytes from there on.
        tables[number] = unsafe { _mm512_loadu_si512(leaves[number * TILE..][..TILE].as_ptr().cast()) };
    }
    // SAFETY: it has 64 bytes.
    let turn = unsafe { _mm512_loadu_si512(TURN.as_ptr().cast()) };
    let diagonal = _mm512_set1_epi64(DIAGONAL.cast_signed());
    for number in 0..TILES {
        let square = _mm512_permutexvar_epi8(turn, squares[number]);
        let codes = _mm512_gf2p8affine_epi64_epi8::<0>(diagonal, square);
        let found = match TABLES {
            1 => _mm512_permutexvar_epi8(codes, tables[0]),
            2 => _mm512_permutex2var_epi8(tables[0], codes, tables[1 % TABLES]),
            _ => {
                let lower = _mm512_permutex2var_epi8(tables[0], codes, tables[1 % TABLES]);
                let upper = _mm512_permutex2var_epi8(tables[2 % TABLES], codes, tables[3 % TABLES]);
                _mm512_mask_mov_epi8(lower, _mm512_movepi8_mask(codes), upper)
            }
        };
        // SAFETY: a tile is a vector, and is borrowed by nobody else.
        unsafe { _mm512_storeu_si512(stands[number].0.as_mut_ptr().cast(), found) };
    }
}
