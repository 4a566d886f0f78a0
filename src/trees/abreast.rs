//! Sixteen features at once, for one row: all their thresholds are compared, and those counted that the numbers are beyond.
//!
//! Tables of many features have few thresholds for each. A search takes two steps for 5 of them as for 50, of which each waits
//! for the one before and says of one number only.

use std::ops::Range;

use super::search::{Block, Feature, Kind, Real, WIDTH};

/// Thresholds of a feature, at most: of more, a search is faster.
pub(super) const MOST: usize = 64;

/// Features with about as many thresholds, each with one lane.
#[derive(Debug)]
pub(super) struct Group {
    /// Their places in the row.
    pub(super) places: [u32; WIDTH],
    pub(super) lanes: [u32; WIDTH],
    /// What ranks mean for each, as [`Kind`] has it.
    pub(super) firsts: [u32; WIDTH],
    pub(super) missing: [u32; WIDTH],
    pub(super) zeros: [u32; WIDTH],
    /// Blocks with the first threshold of each, the second of each, and so on.
    pub(super) thresholds: Range<usize>,
}

impl Group {
    /// What ranks mean for one of them.
    pub(super) fn kind(&self, at: usize) -> Kind {
        Kind { first: self.firsts[at], missing: self.missing[at], zero: self.zeros[at] }
    }
}

/// How one row is ranked.
#[derive(Debug)]
pub(super) struct Abreast<T> {
    pub(super) groups: Vec<Group>,
    /// Where a feature has no more thresholds, there is infinity.
    pub(super) blocks: Vec<Block<T>>,
    /// The other features, which are searched one by one.
    pub(super) alone: Vec<Feature>,
}

impl<T: Real> Abreast<T> {
    /// `thresholds` are those of each feature.
    pub(super) fn new(features: &[Feature], kinds: &[Kind], thresholds: &[&[f64]]) -> Self {
        let (mut groups, mut blocks) = (Vec::new(), Vec::new());
        let is_small = |number: &usize| features[*number].lanes.len() == 1 && thresholds[*number].len() <= MOST;
        let (mut small, mut alone): (Vec<usize>, Vec<usize>) = (0..features.len()).partition(is_small);
        if small.len() < WIDTH {
            alone = (0..features.len()).collect();
            small.clear();
        }
        let alone = alone.into_iter().map(|number| features[number].clone()).collect();
        small.sort_by_key(|number| thresholds[*number].len());
        for numbers in small.chunks(WIDTH) {
            // The first one fills what is left of the last group: it is ranked again.
            let number = |at: usize| numbers.get(at).copied().unwrap_or(numbers[0]);
            let lane = |at: usize| features[number(at)].lanes.start;
            let start = blocks.len();
            let most = numbers.iter().map(|number| thresholds[*number].len()).max().unwrap_or_default();
            blocks.extend((0..most).map(|rank| {
                let threshold = |at: usize| thresholds[number(at)].get(rank);
                Block(std::array::from_fn(|at| threshold(at).map_or(T::INFINITY, |threshold| T::below(*threshold))))
            }));
            groups.push(Group {
                places: std::array::from_fn(|at| u32::try_from(features[number(at)].at).unwrap_or(u32::MAX)),
                // Fewer than nodes, of which a model has at most 2³¹.
                lanes: std::array::from_fn(|at| u32::try_from(lane(at)).unwrap_or(u32::MAX)),
                firsts: std::array::from_fn(|at| kinds[lane(at)].first),
                missing: std::array::from_fn(|at| kinds[lane(at)].missing),
                zeros: std::array::from_fn(|at| kinds[lane(at)].zero),
                thresholds: start..blocks.len(),
            });
        }
        Self { groups, blocks, alone }
    }
}
