//! Ranks of many numbers as bytes: what kernels for blocks compare.
//!
//! For numbers of float32 thresholds are float32, rounded down: `value <= threshold` stays what it was. That holds for all
//! float64 that are float32 as well.
//!
//! A tile of such rows goes down a binary tree of up to 255 thresholds, whose levels are in registers: a shuffle looks up
//! the threshold that each row compares. Rows are turned to columns sixteen columns at a time: one by one, columns took
//! two thirds of the time of a batch of 784 columns. Everything else is searched sixteen thresholds at a time: a vector
//! says how many of sixteen a number is beyond, which is the block of sixteen to look at next; two such steps find a rank
//! among 255.

use super::abreast::Abreast;
use super::columns::Columns;
use super::searches::{self, Group};

/// Thresholds that are compared at once.
pub(super) const WIDTH: usize = 16;
/// Rows of a tile.
pub(super) const TILE: usize = 64;
/// Columns of a tile that are turned at once.
pub(super) const TURNED: usize = 16;
/// Columns of the narrowest row that is fetched before it is ranked, in another order.
pub(super) const FETCHED: usize = 64;
/// Thresholds of one lane: the last byte is what is beyond all of them.
pub(super) const MOST_RANKS: u16 = 255;

/// Places of the largest binary tree of thresholds, and of the least, as vectors are loaded whole.
pub(super) const MOST_HEAP: usize = 256;
pub(super) const LEAST_HEAP: usize = 32;

/// One byte for each row of a tile.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile(pub(super) [u8; TILE]);

/// One number for each row of a tile.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Singles(pub(super) [f32; TILE]);

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
#[derive(Debug, Clone)]
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
    /// How one row is ranked, by bytes and by 16 bits.
    pub(super) abreast: Abreast<T>,
    pub(super) searches: Vec<Group>,
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
        let (mut heaps, mut wide_kinds, mut all_thresholds) = (Vec::new(), Vec::new(), Vec::new());
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
            all_thresholds.push(thresholds);
        }
        // With words, rows that are ranked one by one walk, and look at those.
        let abreast = Abreast::new(if has_words { &[] } else { &features }, &kinds, &all_thresholds);
        let searches = searches::groups(if has_words { &features } else { &[] }, blocks.len());
        blocks.push(Block([T::INFINITY; WIDTH]));
        let near_zero = T::below(columns.near_zero());
        Self { features, blocks, heaps, kinds, wide_kinds, abreast, searches, near_zero, width }
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

    /// The same of a tile.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]
    pub(super) fn settle_tile(self, near_zero: f32, values: &Singles, ranks: &[u32; TILE], bytes: &mut Tile) {
        for ((byte, rank), value) in bytes.0.iter_mut().zip(ranks).zip(&values.0) {
            *byte = self.settle_byte(*rank, value.abs() <= near_zero, value.is_nan());
        }
    }
}
