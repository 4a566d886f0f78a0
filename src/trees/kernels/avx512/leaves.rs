//! Leaves of trees that have many, by AVX-512 with VBMI: each byte of them is looked up for 64 rows at once.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "as in the module above")]

use std::arch::x86_64::{
    __m512i, _mm512_add_pd, _mm512_add_ps, _mm512_castsi512_pd, _mm512_castsi512_ps, _mm512_loadu_pd, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_mov_epi8, _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_permutexvar_epi8,
    _mm512_setzero_si512, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpackhi_epi32, _mm512_unpacklo_epi8, _mm512_unpacklo_epi16, _mm512_unpacklo_epi32,
};

use crate::trees::search::{TILE, Tile};

/// Bytes of a lane, within which numbers are made of bytes.
const LANE: usize = 16;

/// In which order 64 rows are looked up, so that numbers of `BYTES` bytes come out in their own.
#[allow(clippy::cast_possible_truncation, reason = "all are less than 64")]
const fn order<const BYTES: usize>() -> [u8; TILE] {
    let (mut order, mut at, in_lane) = ([0; TILE], 0, LANE / BYTES);
    while at < TILE {
        let (lane, place) = (at / LANE, at % LANE);
        order[at] = (place / in_lane * (TILE / BYTES) + lane * in_lane + place % in_lane) as u8;
        at += 1;
    }
    order
}

/// Where the first byte of each number of two vectors is, over and over.
#[allow(clippy::cast_possible_truncation, reason = "all are less than 128")]
const fn starts<const BYTES: usize>() -> [u8; TILE] {
    let (mut starts, mut at) = ([0; TILE], 0);
    while at < TILE {
        starts[at] = (at * BYTES % (2 * TILE)) as u8;
        at += 1;
    }
    starts
}

/// For each byte of a number, those of 64 of them in each of some vectors.
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn split<const BYTES: usize, const TABLES: usize, T>(leaves: &[T]) -> [[__m512i; TABLES]; BYTES] {
    assert!(leaves.len() >= TABLES * TILE && size_of::<T>() == BYTES, "as many as are loaded");
    let bytes = leaves.as_ptr().cast::<u8>();
    let mut tables = [[_mm512_setzero_si512(); TABLES]; BYTES];
    for byte in 0..BYTES {
        let starts = const { starts::<BYTES>() }.map(|start| start + byte.to_le_bytes()[0]);
        // SAFETY: it has 64 bytes.
        let places = unsafe { _mm512_loadu_si512(starts.as_ptr().cast()) };
        for table in 0..TABLES {
            for pair in 0..BYTES / 2 {
                // SAFETY: `BYTES` vectors of each table's leaves are there.
                let [low, high] = [0, 1].map(|half| unsafe {
                    _mm512_loadu_si512(bytes.add((table * BYTES + 2 * pair + half) * TILE).cast())
                });
                let mask = u64::MAX << (pair * 2 * TILE / BYTES);
                let found = _mm512_permutex2var_epi8(low, places, high);
                tables[byte][table] = _mm512_mask_mov_epi8(tables[byte][table], mask, found);
            }
        }
    }
    tables
}

/// For each byte of a number, that of the leaves where 64 rows stand, in the order of [`order`].
#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn look_up<const BYTES: usize, const TABLES: usize>(
    tables: &[[__m512i; TABLES]; BYTES],
    stands: &Tile,
) -> [__m512i; BYTES] {
    // SAFETY: each has 64 bytes.
    let (order, stands) = unsafe {
        (_mm512_loadu_si512(const { &order::<BYTES>() }.as_ptr().cast()), _mm512_loadu_si512(stands.0.as_ptr().cast()))
    };
    let at = _mm512_permutexvar_epi8(order, stands);
    let is_upper = _mm512_movepi8_mask(at);
    let mut found = [_mm512_setzero_si512(); BYTES];
    for byte in 0..BYTES {
        let tables = &tables[byte];
        found[byte] = _mm512_permutex2var_epi8(tables[0], at, tables[1 % TABLES]);
        if TABLES > 2 {
            let upper = _mm512_permutex2var_epi8(tables[2 % TABLES], at, tables[3 % TABLES]);
            found[byte] = _mm512_mask_mov_epi8(found[byte], is_upper, upper);
        }
    }
    found
}

/// Adds the leaves where rows stand to their sums: of 128 or 256 leaves.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512vbmi")]
pub(in crate::trees) fn add_doubles(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    if leaves.len() > 2 * TILE {
        add_doubles_of::<4>(leaves, stands, sums);
    } else {
        add_doubles_of::<2>(leaves, stands, sums);
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512vbmi")]
fn add_doubles_of<const TABLES: usize>(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    let tables = split::<8, TABLES, f64>(leaves);
    for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
        let bytes = look_up(&tables, stands);
        let mut fours = [bytes[0]; 8];
        for half in 0..2 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|at| bytes[4 * half + at]);
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (upper_low, upper_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            fours[4 * half] = _mm512_unpacklo_epi16(low, upper_low);
            fours[4 * half + 1] = _mm512_unpackhi_epi16(low, upper_low);
            fours[4 * half + 2] = _mm512_unpacklo_epi16(high, upper_high);
            fours[4 * half + 3] = _mm512_unpackhi_epi16(high, upper_high);
        }
        for at in 0..4 {
            let both =
                [_mm512_unpacklo_epi32(fours[at], fours[4 + at]), _mm512_unpackhi_epi32(fours[at], fours[4 + at])];
            for half in 0..2 {
                let sums = &mut sums[(2 * at + half) * 8..][..8];
                // SAFETY: there are eight numbers, borrowed by nobody else.
                unsafe {
                    let sum = _mm512_add_pd(_mm512_loadu_pd(sums.as_ptr()), _mm512_castsi512_pd(both[half]));
                    _mm512_storeu_pd(sums.as_mut_ptr(), sum);
                }
            }
        }
    }
}

/// [`add_doubles`] for sums that are float32, of 256 leaves: fewer are looked up within registers.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512vbmi")]
pub(in crate::trees) fn add_singles(leaves: &[f32], stands: &[Tile], sums: &mut [f32]) {
    let tables = split::<4, 4, f32>(leaves);
    for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
        let [a, b, c, d] = look_up(&tables, stands);
        let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
        let (upper_low, upper_high) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
        let all = [
            _mm512_unpacklo_epi16(low, upper_low),
            _mm512_unpackhi_epi16(low, upper_low),
            _mm512_unpacklo_epi16(high, upper_high),
            _mm512_unpackhi_epi16(high, upper_high),
        ];
        for at in 0..4 {
            let sums = &mut sums[at * 16..][..16];
            // SAFETY: there are sixteen numbers, borrowed by nobody else.
            unsafe {
                let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), _mm512_castsi512_ps(all[at]));
                _mm512_storeu_ps(sums.as_mut_ptr(), sum);
            }
        }
    }
}
