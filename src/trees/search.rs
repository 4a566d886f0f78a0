//! Ranks of many numbers as bytes: what kernels for blocks compare.
//!
//! The thresholds of a feature are searched sixteen at a time: a vector says how many of sixteen a number is beyond, which
//! is the block of sixteen to look at next. Two such steps find a rank among 255 thresholds, without a branch. For numbers
//! of float32 thresholds are float32, rounded down: `value <= threshold` stays what it was.

use super::columns::Columns;

/// Thresholds that are compared at once.
pub(super) const WIDTH: usize = 16;
/// Rows of a tile.
pub(super) const TILE: usize = 64;
/// Thresholds of one lane: the last byte is what is beyond all of them.
pub(super) const MOST_RANKS: u16 = 255;

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
    const INFINITY: Self;
    /// The largest that is not above `value`.
    fn below(value: f64) -> Self;
}

impl Real for f32 {
    const INFINITY: Self = Self::INFINITY;

    #[allow(clippy::cast_possible_truncation, reason = "the error is mended")]
    fn below(value: f64) -> Self {
        let near = value as Self;
        if f64::from(near) > value { near.next_down() } else { near }
    }
}

impl Real for f64 {
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
    /// Where each level starts.
    pub(super) levels: Vec<usize>,
    pub(super) lanes: std::ops::Range<usize>,
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
    pub(super) kinds: Vec<Kind>,
    /// The largest number that is zero.
    pub(super) near_zero: T,
    /// Numbers of a row.
    pub(super) width: usize,
}

impl<T: Real> Ranker<T> {
    /// Lanes are parts of columns: (column, which 255 of its ranks), in order.
    pub(super) fn new(columns: &Columns, parts: &[(u16, u16)], width: usize) -> Self {
        let (mut features, mut blocks, mut kinds) = (Vec::new(), Vec::new(), Vec::with_capacity(parts.len()));
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
            features.push(Feature { at, levels: starts, lanes: start..kinds.len() });
        }
        Self { features, blocks, kinds, near_zero: T::below(columns.near_zero()), width }
    }
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
/// of a block a number is beyond.
macro_rules! ranking {
    ($tile:ident, $row:ident, $float:ty, $count:ident, $(#[$attribute:meta])*) => {
        /// The bytes of up to 64 rows: `lanes` has `tiles` for each lane, of which it is the one with this number.
        $(#[$attribute])*
        pub(in crate::trees) fn $tile(
            ranker: &$crate::trees::search::Ranker<$float>,
            rows: &[$float],
            lanes: &mut [$crate::trees::search::Tile],
            (number, tiles): (usize, usize),
        ) {
            use $crate::trees::search::TILE;
            let blocks = &ranker.blocks[..];
            let (mut values, mut ranks) = ([0.0; TILE], [0_u32; TILE]);
            let count = (rows.len() / ranker.width).min(TILE);
            for feature in &ranker.features {
                for (value, of_row) in values.iter_mut().zip(rows[feature.at..].iter().step_by(ranker.width)) {
                    *value = *of_row;
                }
                match *feature.levels {
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
