//! Ranks of many numbers as bytes: what kernels for blocks compare.
//!
//! For numbers of float32 thresholds are float32, rounded down: `value <= threshold` stays what it was. That holds for all
//! float64 that are float32 as well.
//!
//! A tile of such rows goes down a binary tree of up to 255 thresholds, whose levels are in registers: a shuffle looks up
//! the threshold that each row compares. Everything else is searched sixteen thresholds at a time: a vector says how many
//! of sixteen a number is beyond, which is the block of sixteen to look at next; two such steps find a rank among 255.

use super::columns::Columns;

/// Thresholds that are compared at once.
pub(super) const WIDTH: usize = 16;
/// Rows of a tile.
pub(super) const TILE: usize = 64;
/// Thresholds of one lane: the last byte is what is beyond all of them.
pub(super) const MOST_RANKS: u16 = 255;

/// Places of the largest binary tree of thresholds, and of the least, as vectors are loaded whole.
pub(super) const MOST_HEAP: usize = 256;
pub(super) const LEAST_HEAP: usize = 32;

/// One byte for each row of a tile.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile(pub(super) [u8; TILE]);

/// Some thresholds, in order.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<T>(pub(super) [T; WIDTH]);

/// Numbers of rows.
pub(super) trait Real: Copy + PartialOrd + Into<f64> {
    /// As float32; says whether all are float32, or missing.
    fn singles(values: &[Self; TILE], singles: &mut [f32; TILE]) -> bool;
    const INFINITY: Self;
    /// The largest that is not above `value`.
    fn below(value: f64) -> Self;
}

impl Real for f32 {
    #[inline]
    fn singles(values: &[Self; TILE], singles: &mut [f32; TILE]) -> bool {
        *singles = *values;
        true
    }

    const INFINITY: Self = Self::INFINITY;

    #[allow(clippy::cast_possible_truncation, reason = "the error is mended")]
    fn below(value: f64) -> Self {
        let near = value as Self;
        if f64::from(near) > value { near.next_down() } else { near }
    }
}

impl Real for f64 {
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "it is checked")]
    fn singles(values: &[Self; TILE], singles: &mut [f32; TILE]) -> bool {
        let mut are_single = true;
        for (single, value) in singles.iter_mut().zip(values) {
            *single = *value as f32;
            are_single &= (f64::from(*single).to_bits() == value.to_bits()) | value.is_nan();
        }
        are_single
    }

    const INFINITY: Self = Self::INFINITY;

    fn below(value: f64) -> Self {
        value
    }
}

/// A feature's blocks of thresholds, from one block down, and its lanes.
#[derive(Debug)]
pub(super) struct Feature {
    /// Its place in the row.
    pub(super) at: usize,
    /// Where each level of blocks starts.
    pub(super) levels: Vec<usize>,
    /// Where the thresholds are as a binary tree.
    pub(super) heap: std::ops::Range<usize>,
    /// Levels of the binary tree; none if there are too many thresholds.
    pub(super) depth: u32,
    pub(super) lanes: std::ops::Range<usize>,
    /// Its columns of ranks of 16 bits, if those are wanted as well.
    pub(super) words: std::ops::Range<usize>,
}

/// A range of ranks as bytes, under a rule for missing numbers and zeros.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The rank that is byte 0.
    pub(super) first: u32,
    pub(super) missing: u32,
    pub(super) zero: u32,
}

/// How rows become bytes.
#[derive(Debug)]
pub(super) struct Ranker<T> {
    pub(super) features: Vec<Feature>,
    /// The last block of each level ends with infinity: no number is beyond it, so that a search never leaves its level.
    pub(super) blocks: Vec<Block<T>>,
    /// Binary trees: the children of the threshold at 1 are at 2 and 3, and so on.
    pub(super) heaps: Vec<f32>,
    pub(super) kinds: Vec<Kind>,
    /// Of columns of 16 bits.
    pub(super) wide_kinds: Vec<Kind>,
    /// The largest number that is zero.
    pub(super) near_zero: T,
    /// Numbers of a row.
    pub(super) width: usize,
}

impl<T: Real> Ranker<T> {
    /// Lanes are parts of columns: (column, which 255 of its ranks), in order.
    ///
    /// With `has_words` each column has its ranks of 16 bits as well.
    pub(super) fn new(columns: &Columns, parts: &[(u16, u16)], width: usize, has_words: bool) -> Self {
        let (mut features, mut blocks, mut kinds) = (Vec::new(), Vec::new(), Vec::with_capacity(parts.len()));
        let (mut heaps, mut wide_kinds) = (Vec::new(), Vec::new());
        for (at, thresholds, numbers) in columns.features() {
            let start = kinds.len();
            let part_of_feature = |part: &&(u16, u16)| numbers.contains(&usize::from(part.0));
            kinds.extend(parts[start..].iter().take_while(part_of_feature).map(|(column, part)| {
                let kind = columns.kind(usize::from(*column));
                Kind { first: kind.first + u32::from(*part) * u32::from(MOST_RANKS), ..kind }
            }));
            let mut level: Vec<T> = thresholds.iter().map(|threshold| T::below(*threshold)).collect();
            let mut levels = Vec::new();
            loop {
                level.resize((level.len() / WIDTH + 1) * WIDTH, T::INFINITY);
                levels.push(level);
                let Some(below) = levels.last().filter(|level| level.len() > WIDTH) else { break };
                level = below.iter().skip(WIDTH - 1).step_by(WIDTH).copied().collect();
            }
            let mut starts = Vec::with_capacity(levels.len());
            for level in levels.iter().rev() {
                starts.push(blocks.len());
                blocks.extend(level.as_chunks().0.iter().copied().map(Block));
            }
            let (first, depth) = (heaps.len(), push_heap(thresholds, &mut heaps));
            let words = wide_kinds.len()..wide_kinds.len() + if has_words { numbers.len() } else { 0 };
            wide_kinds.extend(numbers.take(words.len()).map(|column| columns.kind(column)));
            let lanes = start..kinds.len();
            features.push(Feature { at, levels: starts, heap: first..heaps.len(), depth, lanes, words });
        }
        Self { features, blocks, heaps, kinds, wide_kinds, near_zero: T::below(columns.near_zero()), width }
    }
}

/// Appends the thresholds as a binary tree, of so many levels; nothing if they are too many.
fn push_heap(thresholds: &[f64], heaps: &mut Vec<f32>) -> u32 {
    if thresholds.len() >= MOST_HEAP {
        return 0;
    }
    let (start, depth) = (heaps.len(), (thresholds.len() + 1).next_power_of_two().ilog2());
    heaps.resize(start + LEAST_HEAP.max(1 << depth), f32::INFINITY);
    for level in 0..depth {
        // Of each level, the first threshold and the way from one to the next.
        let (first, way) = ((1_usize << (depth - level - 1)) - 1, 1_usize << (depth - level));
        let thresholds = thresholds.iter().skip(first).step_by(way);
        for (place, threshold) in heaps[start + (1 << level)..].iter_mut().zip(thresholds) {
            *place = f32::below(*threshold);
        }
    }
    depth
}

impl Kind {
    /// A rank as it counts under the rule.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the most that fits, or less")]
    pub(super) fn settle(self, rank: u32, is_zero: bool, is_missing: bool) -> u16 {
        let rank = if is_zero { self.zero } else { rank };
        let rank = if is_missing { self.missing } else { rank };
        rank.saturating_sub(self.first).min(u32::from(u16::MAX)) as u16
    }

    /// The same as a byte.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the most that fits, or less")]
    pub(super) fn settle_byte(self, rank: u32, is_zero: bool, is_missing: bool) -> u8 {
        let rank = if is_zero { self.zero } else { rank };
        let rank = if is_missing { self.missing } else { rank };
        rank.saturating_sub(self.first).min(u32::from(MOST_RANKS)) as u8
    }
}

/// Functions that rank a tile of rows, and one row, for a set of instructions and a type of numbers: `$count` says how many
/// of a block a number is beyond; `$descend` ranks by a binary tree of so many levels, and says if it could.
macro_rules! ranking {
    ($tile:ident, $row:ident, $float:ty, $count:ident, $descend:ident, $(#[$attribute:meta])*) => {
        /// The bytes of up to 64 rows: `lanes` has `tiles` for each lane, of which it is the one with this number. `words` has
        /// 64 ranks for each column of them.
        $(#[$attribute])*
        pub(in crate::trees) fn $tile(
            ranker: &$crate::trees::search::Ranker<$float>,
            rows: &[$float],
            lanes: &mut [$crate::trees::search::Tile],
            (number, tiles): (usize, usize),
            words: &mut [[u16; $crate::trees::search::TILE]],
        ) {
            use $crate::trees::search::{Real, TILE};
            let blocks = &ranker.blocks[..];
            let (mut values, mut ranks, mut singles) = ([0.0; TILE], [0_u32; TILE], [0.0; TILE]);
            let count = (rows.len() / ranker.width).min(TILE);
            for feature in &ranker.features {
                let mut place = feature.at;
                for value in &mut values[..count] {
                    *value = rows[place];
                    place += ranker.width;
                }
                let heap = &ranker.heaps[feature.heap.clone()];
                let is_ranked = feature.depth > 0
                    && <$float>::singles(&values, &mut singles)
                    && $descend(heap, feature.depth, &singles, &mut ranks);
                match *feature.levels {
                    _ if is_ranked => {}
                    [all] => {
                        for (rank, value) in ranks.iter_mut().zip(&values[..count]) {
                            *rank = $count(&blocks[all], *value);
                        }
                    }
                    [top, all] => {
                        for (rank, value) in ranks.iter_mut().zip(&values[..count]) {
                            let block = $count(&blocks[top], *value);
                            *rank = block * 16 + $count(&blocks[all + block as usize], *value);
                        }
                    }
                    ref levels => {
                        for (rank, value) in ranks.iter_mut().zip(&values[..count]) {
                            *rank = 0;
                            for level in levels {
                                *rank = *rank * 16 + $count(&blocks[level + *rank as usize], *value);
                            }
                        }
                    }
                }
                for lane in feature.lanes.clone() {
                    let (kind, bytes) = (ranker.kinds[lane], &mut lanes[lane * tiles + number].0);
                    for ((byte, rank), value) in bytes.iter_mut().zip(&ranks).zip(&values) {
                        *byte = kind.settle_byte(*rank, value.abs() <= ranker.near_zero, value.is_nan());
                    }
                }
                for column in feature.words.clone() {
                    let (kind, words) = (ranker.wide_kinds[column], &mut words[column]);
                    for ((word, rank), value) in words.iter_mut().zip(&ranks).zip(&values) {
                        *word = kind.settle(*rank, value.abs() <= ranker.near_zero, value.is_nan());
                    }
                }
            }
        }

        /// The bytes of one row, one for each lane.
        $(#[$attribute])*
        pub(in crate::trees) fn $row(
            ranker: &$crate::trees::search::Ranker<$float>,
            row: &[$float],
            bytes: &mut [u8],
        ) {
            for feature in &ranker.features {
                let value = row[feature.at];
                let mut rank = 0;
                for level in &feature.levels {
                    rank = rank * 16 + $count(&ranker.blocks[level + rank as usize], value);
                }
                let (is_zero, is_missing) = (value.abs() <= ranker.near_zero, value.is_nan());
                let lanes = feature.lanes.clone();
                for (byte, kind) in bytes[lanes.clone()].iter_mut().zip(&ranker.kinds[lanes]) {
                    *byte = kind.settle_byte(rank, is_zero, is_missing);
                }
            }
        }
    };
}
pub(super) use ranking;
