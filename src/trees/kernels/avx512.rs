//! AVX-512: vectors of 64 bytes, sixteen float32 or eight float64.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment, reason = "what loads and stores needs no alignment")]
#![allow(
    clippy::needless_range_loop,
    reason = "an iterator over the vectors leads the compiler to keep them in memory"
)]

use std::arch::x86_64::{
    __m512, __m512i, _mm_loadl_epi64, _mm_loadu_si128, _mm512_add_pd, _mm512_add_ps, _mm512_and_si512,
    _mm512_cmpgt_epu8_mask, _mm512_cvtepu8_epi32, _mm512_cvtepu8_epi64, _mm512_loadu_pd, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_cmpeq_epi8_mask, _mm512_mask_mov_epi8, _mm512_mask_mov_pd, _mm512_mask_mov_ps,
    _mm512_movepi8_mask, _mm512_permutex2var_epi8, _mm512_permutex2var_pd, _mm512_permutex2var_ps,
    _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_set1_pd, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_storeu_si512, _mm512_test_epi32_mask,
    _mm512_test_epi64_mask,
};

use super::plain;
use crate::trees::across::{Slot, Uppers};
use crate::trees::blocks::Step;
use crate::trees::members::Word;
use crate::trees::search::{TILE, Tile};

/// Where the rows of a block stand after the steps of a tree. It is not inlined, as for AVX2.
#[inline(never)]
#[target_feature(enable = "avx512bw")]
pub(in crate::trees) fn descend<const TILES: usize, const MASKED: bool>(
    steps: &[Step],
    lanes: &[[Tile; TILES]],
    stands: &mut [Tile; TILES],
) {
    let mut all = [_mm512_setzero_si512(); TILES];
    for step in steps {
        let ranks = &lanes[step.lane as usize];
        let mask = _mm512_set1_epi8(step.mask.cast_signed());
        let most = _mm512_set1_epi8(step.rank.cast_signed());
        let low = _mm512_set1_epi8(step.low.cast_signed());
        let mid = _mm512_set1_epi8(step.mid.cast_signed());
        for number in 0..TILES {
            // SAFETY: a tile is a vector.
            let rank = unsafe { _mm512_loadu_si512(ranks[number].0.as_ptr().cast()) };
            let rank = if MASKED { _mm512_and_si512(rank, mask) } else { rank };
            let moves = _mm512_mask_cmpeq_epi8_mask(_mm512_cmpgt_epu8_mask(rank, most), all[number], low);
            all[number] = _mm512_mask_mov_epi8(all[number], moves, mid);
        }
    }
    for number in 0..TILES {
        // SAFETY: a tile is a vector, and is borrowed by nobody else.
        unsafe { _mm512_storeu_si512(stands[number].0.as_mut_ptr().cast(), all[number]) };
    }
}

/// Puts a word of each row of the first `tiles` into its lanes.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn take_bits<const TILES: usize>(word: Word<'_, TILES>, tiles: usize) {
    plain::take_bits(word, tiles);
}

/// Adds the leaves where rows stand to their sums: up to 64 leaves are looked up within registers.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn add_doubles(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    match leaves.len() {
        0..=16 => look_up_doubles::<2>(leaves, stands, sums),
        17..=32 => look_up_doubles::<4>(leaves, stands, sums),
        33..=64 => look_up_doubles::<8>(leaves, stands, sums),
        _ => plain::add(leaves, stands, sums),
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn look_up_doubles<const VECTORS: usize>(leaves: &[f64], stands: &[Tile], sums: &mut [f64]) {
    let mut table = [_mm512_set1_pd(0.0); VECTORS];
    for (vector, leaves) in table.iter_mut().zip(leaves.as_chunks::<8>().0) {
        // SAFETY: there are eight numbers.
        *vector = unsafe { _mm512_loadu_pd(leaves.as_ptr()) };
    }
    let (bit_16, bit_32) = (_mm512_set1_epi64(16), _mm512_set1_epi64(32));
    for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
        for (stands, sums) in stands.0.as_chunks::<8>().0.iter().zip(sums.as_chunks_mut::<8>().0) {
            // SAFETY: there are eight bytes.
            let at = _mm512_cvtepu8_epi64(unsafe { _mm_loadl_epi64(stands.as_ptr().cast()) });
            let mut found = _mm512_permutex2var_pd(table[0], at, table[1]);
            if VECTORS > 2 {
                let is_second = _mm512_test_epi64_mask(at, bit_16);
                let second = _mm512_permutex2var_pd(table[2 % VECTORS], at, table[3 % VECTORS]);
                found = _mm512_mask_mov_pd(found, is_second, second);
                if VECTORS > 4 {
                    let third = _mm512_permutex2var_pd(table[4 % VECTORS], at, table[5 % VECTORS]);
                    let fourth = _mm512_permutex2var_pd(table[6 % VECTORS], at, table[7 % VECTORS]);
                    let upper = _mm512_mask_mov_pd(third, is_second, fourth);
                    found = _mm512_mask_mov_pd(found, _mm512_test_epi64_mask(at, bit_32), upper);
                }
            }
            // SAFETY: there are eight numbers, borrowed by nobody else.
            unsafe { _mm512_storeu_pd(sums.as_mut_ptr(), _mm512_add_pd(_mm512_loadu_pd(sums.as_ptr()), found)) };
        }
    }
}

/// [`add_doubles`] for sums that are float32, up to 128 leaves.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(in crate::trees) fn add_singles(leaves: &[f32], stands: &[Tile], sums: &mut [f32]) {
    match leaves.len() {
        0..=32 => look_up_singles::<2>(leaves, stands, sums),
        33..=64 => look_up_singles::<4>(leaves, stands, sums),
        65..=128 => look_up_singles::<8>(leaves, stands, sums),
        _ => plain::add(leaves, stands, sums),
    }
}

/// Of a table of up to 128 numbers those that `at` names, by its lower bits.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
pub(super) fn pick<const VECTORS: usize>(table: &[__m512; VECTORS], at: __m512i) -> __m512 {
    let found = _mm512_permutex2var_ps(table[0], at, table[1]);
    if VECTORS == 2 {
        return found;
    }
    let is_second = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32));
    let second = _mm512_permutex2var_ps(table[2 % VECTORS], at, table[3 % VECTORS]);
    let lower = _mm512_mask_mov_ps(found, is_second, second);
    if VECTORS == 4 {
        return lower;
    }
    let third = _mm512_permutex2var_ps(table[4 % VECTORS], at, table[5 % VECTORS]);
    let fourth = _mm512_permutex2var_ps(table[6 % VECTORS], at, table[7 % VECTORS]);
    let upper = _mm512_mask_mov_ps(third, is_second, fourth);
    _mm512_mask_mov_ps(lower, _mm512_test_epi32_mask(at, _mm512_set1_epi32(64)), upper)
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn look_up_singles<const VECTORS: usize>(leaves: &[f32], stands: &[Tile], sums: &mut [f32]) {
    let mut table = [_mm512_set1_ps(0.0); VECTORS];
    for (vector, leaves) in table.iter_mut().zip(leaves.as_chunks::<16>().0) {
        // SAFETY: there are sixteen numbers.
        *vector = unsafe { _mm512_loadu_ps(leaves.as_ptr()) };
    }
    for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
        for (stands, sums) in stands.0.as_chunks::<16>().0.iter().zip(sums.as_chunks_mut::<16>().0) {
            // SAFETY: there are sixteen bytes.
            let at = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(stands.as_ptr().cast()) });
            let found = pick(&table, at);
            // SAFETY: there are sixteen numbers, borrowed by nobody else.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), found)) };
        }
    }
}

/// Where a row of so many bytes stands in `GROUPS` groups of 64 trees, after `slots` of them side by side.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(in crate::trees) fn go_across<const GROUPS: usize>(
    slots: &[Slot],
    uppers: &[Uppers],
    lanes: usize,
    row: &[u8],
    stands: &mut [[u8; TILE]],
) {
    match lanes {
        0..=64 => across::<GROUPS, 1>(slots, uppers, row, stands),
        65..=128 => across::<GROUPS, 2>(slots, uppers, row, stands),
        129..=256 => across::<GROUPS, 4>(slots, uppers, row, stands),
        257..=512 => across::<GROUPS, 8>(slots, uppers, row, stands),
        _ => across::<GROUPS, 16>(slots, uppers, row, stands),
    }
}

/// [`go_across`] with `TABLES` of 64 bytes that hold the row.
#[inline(never)]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn across<const GROUPS: usize, const TABLES: usize>(
    slots: &[Slot],
    uppers: &[Uppers],
    row: &[u8],
    stands: &mut [[u8; TILE]],
) {
    assert!(row.len() >= TABLES * TILE, "as many bytes as are loaded");
    let mut tables = [_mm512_setzero_si512(); TABLES];
    for number in 0..TABLES {
        // SAFETY: 64 bytes from there on are in the row.
        tables[number] = unsafe { _mm512_loadu_si512(row[number * TILE..].as_ptr().cast()) };
    }
    let mut all = [_mm512_setzero_si512(); GROUPS];
    for (number, slots) in slots.as_chunks::<GROUPS>().0.iter().enumerate() {
        for group in 0..GROUPS {
            let slot = &slots[group];
            // SAFETY: each is 64 bytes.
            let (lanes, most, low, mid) = unsafe {
                (
                    _mm512_loadu_si512(slot.lanes.as_ptr().cast()),
                    _mm512_loadu_si512(slot.ranks.as_ptr().cast()),
                    _mm512_loadu_si512(slot.lows.as_ptr().cast()),
                    _mm512_loadu_si512(slot.mids.as_ptr().cast()),
                )
            };
            let upper = if TABLES > 4 { uppers[number * GROUPS + group] } else { [0; 2] };
            let rank = look_up_lanes(&tables, lanes, upper);
            let moves = _mm512_mask_cmpeq_epi8_mask(_mm512_cmpgt_epu8_mask(rank, most), all[group], low);
            all[group] = _mm512_mask_mov_epi8(all[group], moves, mid);
        }
    }
    for (stands, all) in stands.iter_mut().zip(&all) {
        // SAFETY: there are 64 bytes, borrowed by nobody else.
        unsafe { _mm512_storeu_si512(stands.as_mut_ptr().cast(), *all) };
    }
}

/// The bytes that `lanes` name, whose two bits beyond the byte are in `upper`.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn look_up_lanes<const TABLES: usize>(tables: &[__m512i; TABLES], lanes: __m512i, upper: Uppers) -> __m512i {
    if TABLES == 1 {
        return _mm512_permutexvar_epi8(lanes, tables[0]);
    }
    // A shuffle goes by the lower seven bits; the others choose one after the other.
    let is_upper = _mm512_movepi8_mask(lanes);
    let in_two = |at: usize| _mm512_permutex2var_epi8(tables[at % TABLES], lanes, tables[(at + 1) % TABLES]);
    let in_four = |at: usize| _mm512_mask_mov_epi8(in_two(at), is_upper, in_two(at + 2));
    let in_eight = |at: usize| _mm512_mask_mov_epi8(in_four(at), upper[0], in_four(at + 4));
    match TABLES {
        2 => in_two(0),
        4 => in_four(0),
        8 => in_eight(0),
        _ => _mm512_mask_mov_epi8(in_eight(0), upper[1], in_eight(8)),
    }
}

/// Ranks by AVX-512: columns of rows, and how many thresholds their numbers are beyond.
pub(in crate::trees) mod ranks {
    use std::arch::x86_64::{
        __m512, __m512i, _CMP_LE_OQ, _CMP_LT_OQ, _CMP_NEQ_OQ, _CMP_UNORD_Q, _mm_storeu_si128, _mm512_abs_ps,
        _mm512_add_epi32, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps256_ps512, _mm512_cmp_pd_mask,
        _mm512_cmp_ps_mask, _mm512_cvtpd_ps, _mm512_cvtps_pd, _mm512_cvtusepi32_epi8, _mm512_insertf32x8,
        _mm512_loadu_pd, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_add_epi32, _mm512_mask_mov_epi32,
        _mm512_maskz_loadu_pd, _mm512_maskz_loadu_ps, _mm512_max_epu32, _mm512_set1_epi32, _mm512_set1_pd,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_storeu_si512,
        _mm512_sub_epi32, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };

    use super::abreast::{doubles as abreast_doubles, singles as abreast_singles};
    use super::pick;
    use crate::trees::kernels::avx2::ranks::{fetch, fetch_row};
    use crate::trees::ranking::ranking;
    use crate::trees::search::{Block, Kind, Singles, TILE, TURNED, Tile};

    /// Rows that are turned at once, as many as columns.
    const ROWS: usize = 16;

    /// How many of a block a number is beyond.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
    fn count_singles(block: &Block<f32>, value: f32) -> u32 {
        // SAFETY: a block has sixteen numbers.
        let thresholds = unsafe { _mm512_loadu_ps(block.0.as_ptr()) };
        _mm512_cmp_ps_mask::<_CMP_LT_OQ>(thresholds, _mm512_set1_ps(value)).count_ones()
    }

    /// The same of float64.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
    fn count_doubles(block: &Block<f64>, value: f64) -> u32 {
        let value = _mm512_set1_pd(value);
        // SAFETY: a block has sixteen numbers.
        let (low, high) = unsafe { (_mm512_loadu_pd(block.0.as_ptr()), _mm512_loadu_pd(block.0[8..].as_ptr())) };
        let low = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(low, value);
        let high = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(high, value);
        (u32::from(low) | u32::from(high) << 8).count_ones()
    }

    ranking!(
        rank_singles, rank_single, f32, count_singles, (turn_singles, descend_thresholds, settle),
        (fetch_row, abreast_singles),
        #[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
    );
    ranking!(
        rank_doubles, rank_double, f64, count_doubles, (turn_doubles, descend_thresholds, settle),
        (fetch_row, abreast_doubles),
        #[target_feature(enable = "avx512bw,avx512dq,avx512vl,popcnt")]
    );

    /// The ranks of a tile by a binary tree of so many levels.
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn descend_thresholds(heap: &[f32], depth: u32, values: &Singles, ranks: &mut [u32; TILE]) {
        let (mut at, mut keys) = ([_mm512_set1_epi32(1); 4], [_mm512_set1_ps(0.0); 4]);
        for number in 0..4 {
            // SAFETY: four vectors of sixteen are a tile.
            keys[number] = unsafe { _mm512_loadu_ps(values.0[number * 16..].as_ptr()) };
        }
        // The first five levels are in two vectors, the sixth as well; each one more takes twice as many.
        for _ in 0..depth.min(5) {
            at = step_down::<2>(&heap[..32], &keys, at);
        }
        if depth > 5 {
            at = step_down::<2>(&heap[32..64], &keys, at);
        }
        if depth > 6 {
            at = step_down::<4>(&heap[64..128], &keys, at);
        }
        if depth > 7 {
            at = step_down::<8>(&heap[128..256], &keys, at);
        }
        let first = _mm512_set1_epi32(1 << depth);
        for number in 0..4 {
            let to = ranks[number * 16..].as_mut_ptr().cast();
            // SAFETY: four vectors of sixteen are a tile, borrowed by nobody else.
            unsafe { _mm512_storeu_si512(to, _mm512_sub_epi32(at[number], first)) };
        }
    }

    /// One level: `level` has its thresholds, as many vectors.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn step_down<const VECTORS: usize>(level: &[f32], keys: &[__m512; 4], mut at: [__m512i; 4]) -> [__m512i; 4] {
        let mut table = [_mm512_set1_ps(0.0); VECTORS];
        assert!(level.len() >= VECTORS * 16, "as many as are loaded");
        for number in 0..VECTORS {
            // SAFETY: there are that many vectors of sixteen.
            table[number] = unsafe { _mm512_loadu_ps(level.as_ptr().add(number * 16)) };
        }
        for number in 0..4 {
            let is_beyond = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(pick(&table, at[number]), keys[number]);
            let left = _mm512_add_epi32(at[number], at[number]);
            at[number] = _mm512_mask_add_epi32(left, is_beyond, left, _mm512_set1_epi32(1));
        }
        at
    }

    /// The columns of `rows` from `first` on as columns, of float32 as they are: none is left out.
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn turn_singles(rows: &[f32], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
        let mask = u16::MAX >> (TURNED - (width - first).min(TURNED));
        for (group, rows) in rows.chunks(ROWS * width).enumerate() {
            let mut square = [_mm512_setzero_ps(); ROWS];
            for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                let numbers = row[first..].as_ptr();
                fetch::<f32, TURNED>(numbers);
                // SAFETY: no more is loaded than is left of the row.
                *vector = unsafe { _mm512_maskz_loadu_ps(mask, numbers) };
            }
            put(&turn(&square), group, columns);
        }
        0
    }

    /// The columns of `rows` from `first` on as columns of float32; says which of them float32 cannot hold.
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn turn_doubles(rows: &[f64], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
        let [low, high] = (u16::MAX >> (TURNED - (width - first).min(TURNED))).to_le_bytes();
        let mut others = [0, 0];
        for (group, rows) in rows.chunks(ROWS * width).enumerate() {
            let mut square = [_mm512_setzero_ps(); ROWS];
            for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                let numbers = row[first..].as_ptr();
                fetch::<f64, TURNED>(numbers);
                // SAFETY: no more is loaded than is left of the row: nothing where the mask is 0.
                let halves = unsafe {
                    (_mm512_maskz_loadu_pd(low, numbers), _mm512_maskz_loadu_pd(high, numbers.wrapping_add(TURNED / 2)))
                };
                let singles = (_mm512_cvtpd_ps(halves.0), _mm512_cvtpd_ps(halves.1));
                // Missing numbers are not ordered.
                others[0] |= _mm512_cmp_pd_mask::<_CMP_NEQ_OQ>(_mm512_cvtps_pd(singles.0), halves.0);
                others[1] |= _mm512_cmp_pd_mask::<_CMP_NEQ_OQ>(_mm512_cvtps_pd(singles.1), halves.1);
                *vector = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(singles.0), singles.1);
            }
            put(&turn(&square), group, columns);
        }
        u16::from_le_bytes(others)
    }

    /// Sixteen rows as sixteen columns.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn turn(rows: &[__m512; ROWS]) -> [__m512; TURNED] {
        // Of each four rows squares of four, four side by side.
        let mut squares = [_mm512_setzero_ps(); ROWS];
        for four in [0, 4, 8, 12] {
            let pairs = [(0, 1), (2, 3)].map(|(a, b)| (rows[four + a], rows[four + b]));
            let low = pairs.map(|(a, b)| _mm512_castps_pd(_mm512_unpacklo_ps(a, b)));
            let high = pairs.map(|(a, b)| _mm512_castps_pd(_mm512_unpackhi_ps(a, b)));
            squares[four] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
            squares[four + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
            squares[four + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
            squares[four + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
        }
        // The squares as if they were single numbers.
        let mut columns = [_mm512_setzero_ps(); TURNED];
        for at in 0..4 {
            let [a, b, c, d] = [squares[at], squares[4 + at], squares[8 + at], squares[12 + at]];
            let even = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
            let odd = (_mm512_shuffle_f32x4::<0xDD>(a, b), _mm512_shuffle_f32x4::<0xDD>(c, d));
            columns[at] = _mm512_shuffle_f32x4::<0x88>(even.0, even.1);
            columns[4 + at] = _mm512_shuffle_f32x4::<0x88>(odd.0, odd.1);
            columns[8 + at] = _mm512_shuffle_f32x4::<0xDD>(even.0, even.1);
            columns[12 + at] = _mm512_shuffle_f32x4::<0xDD>(odd.0, odd.1);
        }
        columns
    }

    /// Stores the columns of a group of rows.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn put(vectors: &[__m512; TURNED], group: usize, columns: &mut [Singles; TURNED]) {
        for (column, vector) in columns.iter_mut().zip(vectors) {
            let to = column.0[group * ROWS..][..ROWS].as_mut_ptr();
            // SAFETY: there are sixteen numbers, borrowed by nobody else.
            unsafe { _mm512_storeu_ps(to, *vector) };
        }
    }

    /// Ranks as bytes, as they count under the rule.
    #[inline]
    #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
    fn settle(kind: Kind, near_zero: f32, values: &Singles, ranks: &[u32; TILE], bytes: &mut Tile) {
        let [first, missing, zero] =
            [kind.first, kind.missing, kind.zero].map(|rank| _mm512_set1_epi32(rank.cast_signed()));
        let near_zero = _mm512_set1_ps(near_zero);
        for at in [0, 16, 32, 48] {
            // SAFETY: four vectors of sixteen are a tile.
            let (value, rank) =
                unsafe { (_mm512_loadu_ps(values.0[at..].as_ptr()), _mm512_loadu_si512(ranks[at..].as_ptr().cast())) };
            let is_zero = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(_mm512_abs_ps(value), near_zero);
            let rank = _mm512_mask_mov_epi32(rank, is_zero, zero);
            let rank = _mm512_mask_mov_epi32(rank, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value), missing);
            let rank = _mm512_sub_epi32(_mm512_max_epu32(rank, first), first);
            // The byte 255 is what is beyond all ranks, `MOST_RANKS`.
            let rank = _mm512_cvtusepi32_epi8(rank);
            // SAFETY: there are sixteen bytes, borrowed by nobody else.
            unsafe { _mm_storeu_si128(bytes.0[at..].as_mut_ptr().cast(), rank) };
        }
    }
}

/// Ranks of sixteen numbers of a row by AVX-512.
mod abreast {
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
}
