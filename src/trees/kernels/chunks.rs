//! The ways of rows through the nodes of a chunk, by AVX-512 with VBMI.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "what loads and stores needs no alignment")]
#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over the vectors leads the compiler to keep them in memory"
)]

use std::arch::x86_64::{
    __m512i, _mm_storel_epi64, _mm256_loadu_si256, _mm512_cmpgt_epu16_mask, _mm512_cvtepi64_epi8, _mm512_loadu_si512,
    _mm512_mask_mov_epi16, _mm512_mask_set1_epi64, _mm512_mask_testn_epi8_mask, _mm512_mask2_permutex2var_epi8,
    _mm512_movepi16_mask, _mm512_permutex2var_epi16, _mm512_permutexvar_epi16, _mm512_set1_epi8, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi16, _mm512_slli_epi64, _mm512_srlv_epi64, _mm512_ternarylogic_epi64,
    _mm512_zextsi256_si512,
};

use crate::trees::deep::{CHUNK, EXIT, Nodes, Ranks};

/// Ranks of a vector, and rows whose ways are followed in one.
const LANES: usize = 32;
const EIGHT: usize = 8;
/// Rows that are compared before their bits are followed: a step waits for the one before, unless there are others.
const ROWS: usize = 4 * EIGHT;

/// By which exit each row leaves the chunk.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(in crate::trees) fn follow(nodes: Nodes<'_>, rows: &[u16], ranks: Ranks<'_>, codes: &mut [u8]) {
    match (ranks.width, usize::from(nodes.count) > LANES) {
        (16, false) => follow_in::<16, 1>(nodes, rows, ranks.all, codes),
        (16, true) => follow_in::<16, 2>(nodes, rows, ranks.all, codes),
        (32, false) => follow_in::<32, 1>(nodes, rows, ranks.all, codes),
        (32, true) => follow_in::<32, 2>(nodes, rows, ranks.all, codes),
        (64, false) => follow_in::<64, 1>(nodes, rows, ranks.all, codes),
        (64, true) => follow_in::<64, 2>(nodes, rows, ranks.all, codes),
        (_, false) => follow_in::<128, 1>(nodes, rows, ranks.all, codes),
        (_, true) => follow_in::<128, 2>(nodes, rows, ranks.all, codes),
    }
}

/// [`follow`] with `WIDTH` ranks of each row, and `HALVES` vectors of nodes.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn follow_in<const WIDTH: usize, const HALVES: usize>(nodes: Nodes<'_>, rows: &[u16], ranks: &[u16], codes: &mut [u8]) {
    let (mut columns, mut mosts) = ([_mm512_setzero_si512(); HALVES], [_mm512_setzero_si512(); HALVES]);
    for half in 0..HALVES {
        const { assert!(HALVES * LANES <= CHUNK) };
        // SAFETY: there are 32 numbers from there on.
        (columns[half], mosts[half]) = unsafe {
            (
                _mm512_loadu_si512(nodes.columns[half * LANES..].as_ptr().cast()),
                _mm512_loadu_si512(nodes.ranks[half * LANES..].as_ptr().cast()),
            )
        };
    }
    let ranks = ranks.as_chunks::<WIDTH>().0;
    for (rows, codes) in rows.chunks(ROWS).zip(codes.chunks_mut(ROWS)) {
        let mut bits = [0_u64; ROWS];
        for (bits, row) in bits.iter_mut().zip(rows) {
            let row = &ranks[usize::from(*row)];
            for half in 0..HALVES {
                *bits |= u64::from(beyond(row, columns[half], mosts[half])) << (half * LANES);
            }
        }
        let found = match rows.len() {
            0..=EIGHT => find_exits::<1>(nodes, &bits),
            9..=16 => find_exits::<2>(nodes, &bits),
            _ => find_exits::<4>(nodes, &bits),
        };
        for (code, exit) in codes.iter_mut().zip(found) {
            *code = exit & !EXIT;
        }
    }
}

/// Which of 32 nodes a row is beyond.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn beyond<const WIDTH: usize>(row: &[u16; WIDTH], columns: __m512i, mosts: __m512i) -> u32 {
    const { assert!(WIDTH == 16 || WIDTH == 32 || WIDTH == 64 || WIDTH == 128) };
    let mut vectors = [_mm512_setzero_si512(); 4];
    for number in 0..WIDTH / LANES {
        // SAFETY: there are 32 numbers from there on.
        vectors[number] = unsafe { _mm512_loadu_si512(row[number * LANES..].as_ptr().cast()) };
    }
    if WIDTH == 16 {
        // SAFETY: there are 16 numbers.
        vectors[0] = _mm512_zextsi256_si512(unsafe { _mm256_loadu_si256(row.as_ptr().cast()) });
    }
    let mut found = if WIDTH <= LANES {
        _mm512_permutexvar_epi16(columns, vectors[0])
    } else {
        _mm512_permutex2var_epi16(vectors[0], columns, vectors[1])
    };
    if WIDTH == 128 {
        let upper = _mm512_permutex2var_epi16(vectors[2], columns, vectors[3]);
        // The bit of 64 becomes the highest, which makes a mask.
        found = _mm512_mask_mov_epi16(found, _mm512_movepi16_mask(_mm512_slli_epi16::<9>(columns)), upper);
    }
    _mm512_cmpgt_epu16_mask(found, mosts)
}

/// The exits to which bits lead: of each row one for each node, whether it goes right there. To look who has arrived took
/// longer than steps that nobody needs.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn find_exits<const VECTORS: usize>(nodes: Nodes<'_>, bits: &[u64; ROWS]) -> [u8; ROWS] {
    const { assert!(VECTORS * EIGHT <= ROWS) };
    // SAFETY: each has 64 bytes.
    let (lefts, rights) =
        unsafe { (_mm512_loadu_si512(nodes.lefts.as_ptr().cast()), _mm512_loadu_si512(nodes.rights.as_ptr().cast())) };
    let (mut ats, mut ways) = ([_mm512_setzero_si512(); VECTORS], [_mm512_setzero_si512(); VECTORS]);
    for number in 0..VECTORS {
        // A load would wait for the stores of eight numbers.
        for lane in 0..EIGHT {
            ways[number] = _mm512_mask_set1_epi64(ways[number], 1 << lane, bits[number * EIGHT + lane].cast_signed());
        }
    }
    let (right, exit) = (_mm512_set1_epi64(64), _mm512_set1_epi8(EXIT.cast_signed()));
    for _ in 0..nodes.depth {
        for number in 0..VECTORS {
            let at = ats[number];
            // The lowest byte of each row, unless it is an exit.
            let goes_on = _mm512_mask_testn_epi8_mask(0x0101_0101_0101_0101, at, exit);
            // at | bit & 64: behind the 64 left children of the two tables are the right ones.
            let bit = _mm512_slli_epi64::<6>(_mm512_srlv_epi64(ways[number], at));
            let place = _mm512_ternarylogic_epi64::<0xF8>(at, bit, right);
            ats[number] = _mm512_mask2_permutex2var_epi8(lefts, place, goes_on, rights);
        }
    }
    let mut found = [0; ROWS];
    for number in 0..VECTORS {
        // SAFETY: there are eight bytes from there on, borrowed by nobody else.
        unsafe { _mm_storel_epi64(found[number * EIGHT..].as_mut_ptr().cast(), _mm512_cvtepi64_epi8(ats[number])) };
    }
    found
}
