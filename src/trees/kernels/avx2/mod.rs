//! AVX2: vectors of 32 bytes, eight float32 or four float64.
//!
//! Where the rows of a block stand has to stay in registers from the first step of a tree to the last. That takes functions
//! that are not inlined: within the loop over trees the compiler kept it in memory, and a tree took 2.7 times as long.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "what loads and stores needs no alignment")]
#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over the vectors leads the compiler to keep them in memory"
)]

mod abreast;
pub(in crate::trees) mod planes;
pub(in crate::trees) mod ranks;
pub(in crate::trees) mod votes;

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_andnot_si256, _mm256_blendv_epi8, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_storeu_si256,
};

use super::plain;
use crate::trees::across::Slot;
use crate::trees::blocks::Step;
use crate::trees::members::Word;
use crate::trees::search::{TILE, Tile};

/// Where the rows of a block stand after the steps of a tree.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn descend<const TILES: usize, const MASKED: bool>(
    steps: &[Step],
    lanes: &[[Tile; TILES]],
    stands: &mut [Tile; TILES],
) {
    // Eight vectors at most, so that nothing else has to leave the registers.
    let mut half = 0;
    while half < TILES {
        if TILES - half >= 4 {
            part::<8, TILES, MASKED>(steps, lanes, stands, half);
        } else if TILES - half >= 2 {
            part::<4, TILES, MASKED>(steps, lanes, stands, half);
        } else {
            part::<2, TILES, MASKED>(steps, lanes, stands, half);
        }
        half += 4.min(TILES);
    }
}

/// [`descend`] for the rows of some vectors from a tile on.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn part<const VECTORS: usize, const TILES: usize, const MASKED: bool>(
    steps: &[Step],
    lanes: &[[Tile; TILES]],
    stands: &mut [Tile; TILES],
    first: usize,
) {
    assert!(first + VECTORS / 2 <= TILES, "as many vectors as there are");
    let mut all = [_mm256_setzero_si256(); VECTORS];
    for step in steps {
        let ranks = lanes[step.lane as usize][first..].as_ptr().cast::<__m256i>();
        let mask = _mm256_set1_epi8(step.mask.cast_signed());
        let most = _mm256_set1_epi8(step.rank.cast_signed());
        let low = _mm256_set1_epi8(step.low.cast_signed());
        let mid = _mm256_set1_epi8(step.mid.cast_signed());
        for number in 0..VECTORS {
            // SAFETY: from `first` on there are at least `VECTORS / 2` tiles, of two vectors each.
            let rank = unsafe { _mm256_loadu_si256(ranks.add(number)) };
            let rank = if MASKED { _mm256_and_si256(rank, mask) } else { rank };
            // There is no comparison of unsigned bytes, but a minimum.
            let stays = _mm256_cmpeq_epi8(_mm256_min_epu8(rank, most), rank);
            let moves = _mm256_andnot_si256(stays, _mm256_cmpeq_epi8(all[number], low));
            all[number] = _mm256_blendv_epi8(all[number], mid, moves);
        }
    }
    let stands = stands[first..].as_mut_ptr().cast::<__m256i>();
    for number in 0..VECTORS {
        // SAFETY: as above, and the tiles are borrowed by nobody else.
        unsafe { _mm256_storeu_si256(stands.add(number), all[number]) };
    }
}

/// Puts a word of each row of the first `tiles` into its lanes.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn take_bits<const TILES: usize>(word: Word<'_, TILES>, tiles: usize) {
    plain::take_bits(word, tiles);
}

/// Adds the leaves where rows stand to their sums.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn add_doubles(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    plain::add(leaves, stands, sums);
}

/// The same for sums that are float32.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn add_singles(leaves: &[f32], stands: &[Tile], sums: &mut [f32]) {
    plain::add(leaves, stands, sums);
}

/// Where a row stands in some groups of 64 trees, after `slots` of them side by side. `TABLES` of 16 bytes hold the row.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(in crate::trees) fn go_across<const TABLES: usize>(slots: &[Slot], row: &[u8], stands: &mut [[u8; TILE]]) {
    assert!(row.len() >= TABLES * 16, "as many bytes as are loaded");
    let mut tables = [_mm256_setzero_si256(); TABLES];
    for number in 0..TABLES {
        // SAFETY: sixteen bytes from there on are in the row.
        tables[number] = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(row[number * 16..].as_ptr().cast()) });
    }
    let groups = stands.len();
    for (group, stands) in stands.iter_mut().enumerate() {
        let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for slot in slots.iter().skip(group).step_by(groups) {
            low = step_across(&tables, slot, 0, low);
            high = step_across(&tables, slot, 32, high);
        }
        // SAFETY: there are two vectors of bytes, borrowed by nobody else.
        unsafe {
            _mm256_storeu_si256(stands.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(stands[32..].as_mut_ptr().cast(), high);
        }
    }
}

/// A step of the 32 trees from `first` on.
#[inline]
#[target_feature(enable = "avx2")]
fn step_across<const TABLES: usize>(tables: &[__m256i; TABLES], slot: &Slot, first: usize, at: __m256i) -> __m256i {
    // SAFETY: `first` is 0 or 32, so that each is a vector within its 64 bytes; slices check it.
    let (lanes, most, low, mid) = unsafe {
        (
            _mm256_loadu_si256(slot.lanes[first..first + 32].as_ptr().cast()),
            _mm256_loadu_si256(slot.ranks[first..first + 32].as_ptr().cast()),
            _mm256_loadu_si256(slot.lows[first..first + 32].as_ptr().cast()),
            _mm256_loadu_si256(slot.mids[first..first + 32].as_ptr().cast()),
        )
    };
    let rank = look_up(tables, lanes);
    let stays = _mm256_cmpeq_epi8(_mm256_min_epu8(rank, most), rank);
    let moves = _mm256_andnot_si256(stays, _mm256_cmpeq_epi8(at, low));
    _mm256_blendv_epi8(at, mid, moves)
}

/// The bytes that `lanes` name, up to 128.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up<const TABLES: usize>(tables: &[__m256i; TABLES], lanes: __m256i) -> __m256i {
    // A shuffle goes by the lower four bits; the others, one after the other, as the bit that a blend goes by.
    let mut found = [_mm256_setzero_si256(); TABLES];
    for number in 0..TABLES {
        found[number] = _mm256_shuffle_epi8(tables[number], lanes);
    }
    if TABLES >= 2 {
        let bit = _mm256_slli_epi16::<3>(lanes);
        for pair in 0..TABLES / 2 {
            found[pair] = _mm256_blendv_epi8(found[2 * pair], found[2 * pair + 1], bit);
        }
    }
    if TABLES >= 4 {
        let bit = _mm256_slli_epi16::<2>(lanes);
        for pair in 0..TABLES / 4 {
            found[pair] = _mm256_blendv_epi8(found[2 * pair], found[2 * pair + 1], bit);
        }
    }
    if TABLES >= 8 {
        found[0] = _mm256_blendv_epi8(found[0], found[1], _mm256_slli_epi16::<1>(lanes));
    }
    found[0]
}
