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

/// Ranks by AVX2: columns of rows, and how many thresholds their numbers are beyond.
pub(in crate::trees) mod ranks {
    use std::arch::x86_64::{
        __m256, __m256i, _CMP_LT_OQ, _CMP_NEQ_OQ, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi32, _mm256_blendv_ps,
        _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_pd, _mm256_cmp_ps,
        _mm256_cmpgt_epi32, _mm256_cmpgt_epi64, _mm256_cvtpd_ps, _mm256_cvtps_pd, _mm256_loadu_pd, _mm256_loadu_ps,
        _mm256_maskload_pd, _mm256_maskload_ps, _mm256_movemask_pd, _mm256_movemask_ps, _mm256_or_pd,
        _mm256_permute2f128_ps, _mm256_permutevar8x32_ps, _mm256_set_m128, _mm256_set1_epi32, _mm256_set1_epi64x,
        _mm256_set1_pd, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setr_epi64x, _mm256_setzero_pd, _mm256_setzero_ps,
        _mm256_slli_epi32, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi32, _mm256_unpackhi_pd,
        _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    };

    use super::abreast::{doubles as abreast_doubles, singles as abreast_singles};
    use crate::trees::ranking::ranking;
    use crate::trees::search::{Block, Kind, Singles, TILE, TURNED, Tile};

    /// Rows that are turned at once, and as many columns.
    const ROWS: usize = 8;
    /// Bytes that are fetched at once.
    const LINE: usize = 64;

    /// How many of a block a number is beyond.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn count_singles(block: &Block<f32>, value: f32) -> u32 {
        let value = _mm256_set1_ps(value);
        // SAFETY: a block has sixteen numbers.
        let (low, high) = unsafe { (_mm256_loadu_ps(block.0.as_ptr()), _mm256_loadu_ps(block.0[8..].as_ptr())) };
        let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(low, value));
        let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(high, value));
        (low | high << 8).count_ones()
    }

    /// The same of float64.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn count_doubles(block: &Block<f64>, value: f64) -> u32 {
        let value = _mm256_set1_pd(value);
        let mut beyond = 0;
        for at in [0, 4, 8, 12] {
            // SAFETY: four numbers from `at` on are in the block.
            let thresholds = unsafe { _mm256_loadu_pd(block.0[at..].as_ptr()) };
            beyond |= _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(thresholds, value)) << at;
        }
        beyond.count_ones()
    }

    ranking!(
        rank_singles, rank_single, f32, count_singles, (turn_singles, descend_thresholds, settle),
        (fetch_row, abreast_singles),
        #[target_feature(enable = "avx2,popcnt")]
    );
    ranking!(
        rank_doubles, rank_double, f64, count_doubles, (turn_doubles, descend_thresholds, settle),
        (fetch_row, abreast_doubles),
        #[target_feature(enable = "avx2,popcnt")]
    );

    /// The ranks of a tile by a binary tree of so many levels.
    #[target_feature(enable = "avx2")]
    fn descend_thresholds(heap: &[f32], depth: u32, values: &Singles, ranks: &mut [u32; TILE]) {
        for first in [0, 32] {
            let (mut at, mut keys) = ([_mm256_set1_epi32(1); 4], [_mm256_setzero_ps(); 4]);
            for number in 0..4 {
                // SAFETY: four vectors of eight from there on are in the tile.
                keys[number] = unsafe { _mm256_loadu_ps(values.0[first + number * 8..].as_ptr()) };
            }
            // The first three levels are in one vector, the fourth as well; each one more takes twice as many.
            for _ in 0..depth.min(3) {
                at = step_down::<1>(&heap[..8], &keys, at);
            }
            if depth > 3 {
                at = step_down::<1>(&heap[8..16], &keys, at);
            }
            if depth > 4 {
                at = step_down::<2>(&heap[16..32], &keys, at);
            }
            if depth > 5 {
                at = step_down::<4>(&heap[32..64], &keys, at);
            }
            if depth > 6 {
                at = step_down::<8>(&heap[64..128], &keys, at);
            }
            if depth > 7 {
                at = step_down::<16>(&heap[128..256], &keys, at);
            }
            let start = _mm256_set1_epi32(1 << depth);
            for number in 0..4 {
                let to = ranks[first + number * 8..].as_mut_ptr().cast();
                // SAFETY: four vectors of eight from there on are in the tile, borrowed by nobody else.
                unsafe { _mm256_storeu_si256(to, _mm256_sub_epi32(at[number], start)) };
            }
        }
    }

    /// One level: `level` has its thresholds, as many vectors.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn step_down<const VECTORS: usize>(level: &[f32], keys: &[__m256; 4], mut at: [__m256i; 4]) -> [__m256i; 4] {
        for number in 0..4 {
            let is_beyond = _mm256_cmp_ps::<_CMP_LT_OQ>(pick::<VECTORS>(level, at[number]), keys[number]);
            // True is -1.
            let left = _mm256_add_epi32(at[number], at[number]);
            at[number] = _mm256_sub_epi32(left, _mm256_castps_si256(is_beyond));
        }
        at
    }

    /// Of a table of up to 128 numbers those that `at` names, by its lower bits.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pick<const VECTORS: usize>(table: &[f32], at: __m256i) -> __m256 {
        let mut found = [_mm256_setzero_ps(); VECTORS];
        assert!(table.len() >= VECTORS * 8, "as many as are loaded");
        for number in 0..VECTORS {
            // SAFETY: there are that many vectors of eight.
            let part = unsafe { _mm256_loadu_ps(table.as_ptr().add(number * 8)) };
            found[number] = _mm256_permutevar8x32_ps(part, at);
        }
        // The bits beyond the lower three, one after the other, as the sign that a blend goes by.
        if VECTORS >= 2 {
            let bit = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(at));
            for pair in 0..VECTORS / 2 {
                found[pair] = _mm256_blendv_ps(found[2 * pair], found[2 * pair + 1], bit);
            }
        }
        if VECTORS >= 4 {
            let bit = _mm256_castsi256_ps(_mm256_slli_epi32::<27>(at));
            for pair in 0..VECTORS / 4 {
                found[pair] = _mm256_blendv_ps(found[2 * pair], found[2 * pair + 1], bit);
            }
        }
        if VECTORS >= 8 {
            let bit = _mm256_castsi256_ps(_mm256_slli_epi32::<26>(at));
            for pair in 0..VECTORS / 8 {
                found[pair] = _mm256_blendv_ps(found[2 * pair], found[2 * pair + 1], bit);
            }
        }
        if VECTORS >= 16 {
            found[0] = _mm256_blendv_ps(found[0], found[1], _mm256_castsi256_ps(_mm256_slli_epi32::<25>(at)));
        }
        found[0]
    }

    /// The columns of `rows` from `first` on as columns, of float32 as they are: none is left out.
    #[target_feature(enable = "avx2")]
    fn turn_singles(rows: &[f32], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
        for (half, columns) in columns.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let first = first + half * ROWS;
            let left = i32::try_from(width.saturating_sub(first).min(ROWS)).unwrap_or_default();
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            for (group, rows) in rows.chunks(ROWS * width).enumerate() {
                let mut square = [_mm256_setzero_ps(); ROWS];
                for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                    let numbers = row.as_ptr().wrapping_add(first);
                    fetch::<f32, ROWS>(numbers);
                    // SAFETY: no more is loaded than is left of the row: nothing where the mask is 0.
                    *vector = unsafe { _mm256_maskload_ps(numbers, mask) };
                }
                put(&turn(&square), group, columns);
            }
        }
        0
    }

    /// The columns of `rows` from `first` on as columns of float32; says which of them float32 cannot hold.
    #[target_feature(enable = "avx2")]
    fn turn_doubles(rows: &[f64], width: usize, first: usize, columns: &mut [Singles; TURNED]) -> u16 {
        let mut all_others = 0;
        for (half, columns) in columns.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            let first = first + half * ROWS;
            let left = _mm256_set1_epi64x(i64::try_from(width.saturating_sub(first).min(ROWS)).unwrap_or_default());
            let masks = (
                _mm256_cmpgt_epi64(left, _mm256_setr_epi64x(0, 1, 2, 3)),
                _mm256_cmpgt_epi64(left, _mm256_setr_epi64x(4, 5, 6, 7)),
            );
            let mut others = (_mm256_setzero_pd(), _mm256_setzero_pd());
            for (group, rows) in rows.chunks(ROWS * width).enumerate() {
                let mut square = [_mm256_setzero_ps(); ROWS];
                for (vector, row) in square.iter_mut().zip(rows.chunks_exact(width)) {
                    let numbers = row.as_ptr().wrapping_add(first);
                    fetch::<f64, ROWS>(numbers);
                    // SAFETY: no more is loaded than is left of the row: nothing where the mask is 0.
                    let halves = unsafe {
                        (_mm256_maskload_pd(numbers, masks.0), _mm256_maskload_pd(numbers.wrapping_add(4), masks.1))
                    };
                    let singles = (_mm256_cvtpd_ps(halves.0), _mm256_cvtpd_ps(halves.1));
                    // Missing numbers are not ordered.
                    let differ = (
                        _mm256_cmp_pd::<_CMP_NEQ_OQ>(_mm256_cvtps_pd(singles.0), halves.0),
                        _mm256_cmp_pd::<_CMP_NEQ_OQ>(_mm256_cvtps_pd(singles.1), halves.1),
                    );
                    others = (_mm256_or_pd(others.0, differ.0), _mm256_or_pd(others.1, differ.1));
                    *vector = _mm256_set_m128(singles.1, singles.0);
                }
                put(&turn(&square), group, columns);
            }
            all_others |= (_mm256_movemask_pd(others.0) | _mm256_movemask_pd(others.1) << 4) << (half * ROWS);
        }
        u16::try_from(all_others).unwrap_or(u16::MAX)
    }

    /// Asks for the numbers behind these columns, which are turned next: within 64 rows the processor does not see what is next,
    /// and 784 columns took twice as long. Rows begin anywhere within a line of the caches, hence the last number as well.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::trees::kernels) fn fetch<T, const COUNT: usize>(numbers: *const T) {
        for at in (0..COUNT).step_by(LINE / size_of::<T>()).chain([COUNT - 1]) {
            _mm_prefetch::<_MM_HINT_T0>(numbers.wrapping_add(TURNED + at).cast());
        }
    }

    /// Asks for a row.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in crate::trees::kernels) fn fetch_row<T>(row: &[T]) {
        for numbers in row.chunks(LINE / size_of::<T>()) {
            _mm_prefetch::<_MM_HINT_T0>(numbers.as_ptr().cast());
        }
    }

    /// Eight rows as eight columns.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn turn(rows: &[__m256; ROWS]) -> [__m256; ROWS] {
        // Of each four rows squares of four, two side by side.
        let mut squares = [_mm256_setzero_ps(); ROWS];
        for four in [0, 4] {
            let pairs = [(rows[four], rows[four + 1]), (rows[four + 2], rows[four + 3])];
            let low = pairs.map(|(a, b)| _mm256_castps_pd(_mm256_unpacklo_ps(a, b)));
            let high = pairs.map(|(a, b)| _mm256_castps_pd(_mm256_unpackhi_ps(a, b)));
            squares[four] = _mm256_castpd_ps(_mm256_unpacklo_pd(low[0], low[1]));
            squares[four + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low[0], low[1]));
            squares[four + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high[0], high[1]));
            squares[four + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high[0], high[1]));
        }
        let mut columns = [_mm256_setzero_ps(); ROWS];
        for at in 0..4 {
            columns[at] = _mm256_permute2f128_ps::<0x20>(squares[at], squares[4 + at]);
            columns[4 + at] = _mm256_permute2f128_ps::<0x31>(squares[at], squares[4 + at]);
        }
        columns
    }

    /// Stores the columns of a group of rows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn put(vectors: &[__m256; ROWS], group: usize, columns: &mut [Singles; ROWS]) {
        for (column, vector) in columns.iter_mut().zip(vectors) {
            let to = column.0[group * ROWS..][..ROWS].as_mut_ptr();
            // SAFETY: there are eight numbers, borrowed by nobody else.
            unsafe { _mm256_storeu_ps(to, *vector) };
        }
    }

    /// Ranks as bytes, as they count under the rule.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn settle(kind: Kind, near_zero: f32, values: &Singles, ranks: &[u32; TILE], bytes: &mut Tile) {
        kind.settle_tile(near_zero, values, ranks, bytes);
    }
}

/// Ranks of sixteen numbers of a row by AVX2. The compiler made a third more of it than searches of one number each take.
mod abreast {
    use std::arch::x86_64::{
        __m256i, _CMP_LE_OQ, _CMP_LT_OQ, _CMP_UNORD_Q, _mm_packus_epi16, _mm_packus_epi32, _mm_storeu_si128,
        _mm256_and_si256, _mm256_andnot_pd, _mm256_andnot_ps, _mm256_blendv_epi8, _mm256_castpd_si256,
        _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cmp_pd, _mm256_cmp_ps, _mm256_cmpeq_epi32,
        _mm256_extracti128_si256, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_max_epu32,
        _mm256_min_epu32, _mm256_movemask_pd, _mm256_movemask_ps, _mm256_permute2x128_si256,
        _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_set1_pd, _mm256_set1_ps, _mm256_setr_epi32,
        _mm256_setzero_pd, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sub_epi32, _mm256_sub_epi64,
    };

    use crate::trees::abreast::Group;
    use crate::trees::search::{Block, MOST_RANKS, WIDTH};

    /// The bytes of sixteen numbers: each is compared with those of `blocks` in its place.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn singles(group: &Group, blocks: &[Block<f32>], near_zero: f32, values: &[f32; WIDTH]) -> [u8; WIDTH] {
        let (mut keys, mut ranks) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_si256(); 2]);
        for part in 0..2 {
            // SAFETY: eight of sixteen numbers.
            keys[part] = unsafe { _mm256_loadu_ps(values[part * 8..][..8].as_ptr()) };
        }
        for block in blocks {
            for part in 0..2 {
                // SAFETY: eight of sixteen numbers.
                let thresholds = unsafe { _mm256_loadu_ps(block.0[part * 8..][..8].as_ptr()) };
                // True is -1.
                let is_beyond = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(thresholds, keys[part]));
                ranks[part] = _mm256_sub_epi32(ranks[part], is_beyond);
            }
        }
        let (mut is_zero, mut is_missing) = ([0; 2], [0; 2]);
        for part in 0..2 {
            let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), keys[part]);
            is_zero[part] = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(size, _mm256_set1_ps(near_zero)));
            is_missing[part] = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(keys[part], keys[part]));
        }
        settle(group, ranks, is_zero, is_missing)
    }

    /// The same of float64.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn doubles(group: &Group, blocks: &[Block<f64>], near_zero: f64, values: &[f64; WIDTH]) -> [u8; WIDTH] {
        let (mut keys, mut wide) = ([_mm256_setzero_pd(); 4], [_mm256_setzero_si256(); 4]);
        for part in 0..4 {
            // SAFETY: four of sixteen numbers.
            keys[part] = unsafe { _mm256_loadu_pd(values[part * 4..][..4].as_ptr()) };
        }
        for block in blocks {
            for part in 0..4 {
                // SAFETY: four of sixteen numbers.
                let thresholds = unsafe { _mm256_loadu_pd(block.0[part * 4..][..4].as_ptr()) };
                // True is -1.
                let is_beyond = _mm256_castpd_si256(_mm256_cmp_pd::<_CMP_LT_OQ>(thresholds, keys[part]));
                wide[part] = _mm256_sub_epi64(wide[part], is_beyond);
            }
        }
        let (mut ranks, mut is_zero, mut is_missing) = ([_mm256_setzero_si256(); 2], [0; 2], [0; 2]);
        let lower_halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
        for part in 0..4 {
            let size = _mm256_andnot_pd(_mm256_set1_pd(-0.0), keys[part]);
            let zero = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_LE_OQ>(size, _mm256_set1_pd(near_zero)));
            let missing = _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_UNORD_Q>(keys[part], keys[part]));
            is_zero[part / 2] |= zero << (part % 2 * 4);
            is_missing[part / 2] |= missing << (part % 2 * 4);
            wide[part] = _mm256_permutevar8x32_epi32(wide[part], lower_halves);
        }
        for part in 0..2 {
            ranks[part] = _mm256_permute2x128_si256::<0x20>(wide[2 * part], wide[2 * part + 1]);
        }
        settle(group, ranks, is_zero, is_missing)
    }

    /// Ranks as bytes, as they count under the rule of each.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn settle(group: &Group, mut ranks: [__m256i; 2], is_zero: [i32; 2], is_missing: [i32; 2]) -> [u8; WIDTH] {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        for part in 0..2 {
            // SAFETY: eight of sixteen numbers of each.
            let [first, missing, zero] = [&group.firsts, &group.missing, &group.zeros]
                .map(|numbers| unsafe { _mm256_loadu_si256(numbers[part * 8..][..8].as_ptr().cast()) });
            let [is_zero, is_missing] = [is_zero[part], is_missing[part]]
                .map(|mask| _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask), bits), bits));
            let rank = _mm256_blendv_epi8(_mm256_blendv_epi8(ranks[part], zero, is_zero), missing, is_missing);
            let rank = _mm256_sub_epi32(_mm256_max_epu32(rank, first), first);
            ranks[part] = _mm256_min_epu32(rank, _mm256_set1_epi32(i32::from(MOST_RANKS)));
        }
        let halves =
            ranks.map(|ranks| _mm_packus_epi32(_mm256_castsi256_si128(ranks), _mm256_extracti128_si256::<1>(ranks)));
        let mut bytes = [0; WIDTH];
        // SAFETY: there are sixteen bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm_packus_epi16(halves[0], halves[1])) };
        bytes
    }
}
