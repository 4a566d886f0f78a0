//! The features of one row that walks, sixteen at a time: all are searched step by step, sixteen thresholds at a time.
//!
//! A search waits for the block of sixteen that the step before names, and others are under way meanwhile. For bytes it pays
//! little: there a row waits for the last of them, whatever there is beside.

use std::ops::Range;

use super::search::{Feature, WIDTH};

/// Features that are searched together; the first one fills what is left of the last group.
#[derive(Debug)]
pub(super) struct Group {
    /// Their places in the row.
    pub(super) places: [u32; WIDTH],
    /// For each step where the blocks of each begin, of which the step before names one.
    pub(super) levels: Vec<[u32; WIDTH]>,
    /// How many features there are.
    pub(super) count: usize,
    /// Columns of ranks of each.
    pub(super) words: [Range<usize>; WIDTH],
}

/// All features in groups. `nothing` is a block that no number is beyond, for those that have fewer steps than others.
pub(super) fn groups(features: &[Feature], nothing: usize) -> Vec<Group> {
    let group = |features: &[Feature]| {
        let feature = |at: usize| features.get(at).unwrap_or(&features[0]);
        // As many numbers and blocks as nodes, of which a model has at most 2³¹.
        let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let most = features.iter().map(|feature| feature.levels.len()).max().unwrap_or_default();
        let start = |step: usize, levels: &[usize]| {
            let level = step.checked_sub(most - levels.len());
            whole(level.map_or(nothing, |level| levels[level]))
        };
        Group {
            places: std::array::from_fn(|at| whole(feature(at).at)),
            levels: (0..most).map(|step| std::array::from_fn(|at| start(step, &feature(at).levels))).collect(),
            count: features.len(),
            words: std::array::from_fn(|at| feature(at).words.clone()),
        }
    };
    features.chunks(WIDTH).map(group).collect()
}
