//! One tree with what its nodes covered in the training, as sweeps want it.

use super::columns::{Columns, MISSING};
use crate::trees::tree::{Child, Rule, Split as Decision};

/// No node, and no set of categories.
pub(super) const NONE: u32 = u32::MAX;
/// Different features on one path. Each two of them take a point of the quadrature.
const MOST_ON_PATH: usize = 1024;
/// The first mixes are for features that do not count and for those that come first on their path.
const FIRST_MIX: usize = 2;

/// How many rows of the training came to each split and leaf, or the sum of their weights.
#[derive(Debug, Clone, Copy)]
pub struct Covers<'a> {
    /// In the order of the splits.
    pub splits: &'a [f64],
    /// In the order of the leaves.
    pub leaves: &'a [f64],
}

/// A split; the first is the root, and children come after their parents.
#[derive(Debug)]
pub(super) struct Split {
    threshold: f64,
    /// Which settled column it looks at.
    column: u32,
    /// The set of categories that goes left.
    set: u32,
    /// Whether missing categories do.
    missing_left: bool,
    pub(super) feature: u32,
    /// Splits by their number; leaves follow them.
    pub(super) children: [u32; 2],
    pub(super) parent: u32,
    /// The nearest split above of the same feature.
    pub(super) before: u32,
    /// What it mixes, if its feature counts.
    pub(super) mix: u32,
    /// On which side of its parent it is, and of the split before: 0 is left.
    pub(super) side: u8,
    pub(super) side_before: u8,
}

impl Split {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]
    pub(super) fn goes_left(&self, row: &[f64], sets: &[Vec<u32>]) -> bool {
        let value = row[self.column as usize];
        if self.set == NONE {
            return value <= self.threshold;
        }
        #[allow(clippy::float_cmp, reason = "the number itself stands for what is missing")]
        let is_missing = value == MISSING;
        if is_missing { self.missing_left } else { is_in_set(value, &sets[self.set as usize]) }
    }
}

/// Whether a settled category, or NaN for none, is in a set.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "settled: a whole number below 2³¹, or NaN")]
fn is_in_set(value: f64, set: &[u32]) -> bool {
    let category = value as u32;
    !value.is_nan() && set.get((category / 32) as usize).is_some_and(|bits| bits >> (category % 32) & 1 == 1)
}

/// A tree.
#[derive(Debug)]
pub(in crate::trees) struct Table {
    pub(super) splits: Vec<Split>,
    /// Of splits, then of leaves: which part of its parent's cover each has.
    pub(super) shares: Vec<f64>,
    /// For each mix but the first two: which part of the cover is left by what came before of the same feature.
    pub(super) shares_before: Vec<f64>,
    pub(super) sets: Vec<Vec<u32>>,
    /// Different features on the longest path.
    pub(super) most_on_path: usize,
}

impl Table {
    /// A tree that was checked; its columns are added to `columns`.
    pub(super) fn new(
        decisions: &[Decision],
        sets: &[Vec<u32>],
        covers: Covers<'_>,
        columns: &mut Columns,
    ) -> Result<Self, String> {
        let count = decisions.len();
        let slot = |child: i32| match Child::of(child) {
            Child::Split(at) => at,
            Child::Leaf(at) => count + at,
        };
        let number = |slot: usize| u32::try_from(slot).map_err(|_| "has too many nodes".to_owned());
        check(count, covers)?;
        let cover = |slot: usize| if slot < count { covers.splits[slot] } else { covers.leaves[slot - count] };
        let mut table = Self {
            splits: Vec::with_capacity(count),
            shares: vec![1.0; 2 * count + 1],
            shares_before: Vec::new(),
            sets: sets.to_vec(),
            most_on_path: 0,
        };
        for decision in decisions {
            let children = decision.children.map(slot);
            table.splits.push(Split {
                threshold: decision.threshold,
                column: columns.number(decision.feature, decision.rule),
                set: decision.rule.set().unwrap_or(NONE),
                missing_left: matches!(decision.rule, Rule::CategoriesOrMissing(_)),
                feature: decision.feature,
                children: [number(children[0])?, number(children[1])?],
                parent: NONE,
                before: NONE,
                mix: 1,
                side: 0,
                side_before: 0,
            });
        }
        for (at, decision) in decisions.iter().enumerate() {
            for (side, child) in (0..).zip(decision.children.map(slot)) {
                // Where nobody came by, nobody can say where they would have gone.
                let has_rows = covers.splits[at] > 0.0;
                table.shares[child] = if has_rows { cover(child) / covers.splits[at] } else { 0.5 };
                if let Some(split) = table.splits.get_mut(child) {
                    (split.parent, split.side) = (number(at)?, side);
                }
            }
        }
        table.find_before()?;
        if table.most_on_path > MOST_ON_PATH {
            return Err(format!("splits by {} columns on one path, {MOST_ON_PATH} are the most", table.most_on_path));
        }
        Ok(table)
    }

    /// Finds what came before on each split's path of the same feature.
    fn find_before(&mut self) -> Result<(), String> {
        /// What is done next: a split is come to, with the number of features above, or left.
        enum Visit {
            Enter(usize, usize),
            Leave(usize),
        }
        let features = self.splits.iter().map(|split| split.feature as usize + 1).max().unwrap_or(0);
        // For each feature the last split on the path and the side of it that the path takes.
        let mut last: Vec<(u32, u8)> = vec![(NONE, 0); features];
        // What is left of each split's feature, this split not counted.
        let mut lefts = vec![1.0; self.splits.len()];
        let mut visits = if self.splits.is_empty() { Vec::new() } else { vec![Visit::Enter(0, 0)] };
        while let Some(visit) = visits.pop() {
            let (at, above) = match visit {
                Visit::Enter(at, above) => (at, above),
                Visit::Leave(at) => {
                    let split = &self.splits[at];
                    last[split.feature as usize] = (split.before, split.side_before);
                    continue;
                }
            };
            // The path takes this side of the parent.
            if let Some(parent) = self.splits.get(self.splits[at].parent as usize) {
                last[parent.feature as usize].1 = self.splits[at].side;
            }
            let split = &self.splits[at];
            let (feature, children) = (split.feature as usize, split.children);
            let (before, side_before) = last[feature];
            let mut different = above + 1;
            if let Some(earlier) = self.splits.get(before as usize) {
                different = above;
                let child = earlier.children[usize::from(side_before)] as usize;
                lefts[at] = lefts[before as usize] * self.shares[child];
                let mix = u32::try_from(self.shares_before.len() + FIRST_MIX).map_err(|_| "has too many nodes")?;
                self.shares_before.push(lefts[at]);
                self.splits[at].mix = mix;
            }
            (self.splits[at].before, self.splits[at].side_before) = (before, side_before);
            self.most_on_path = self.most_on_path.max(different);
            last[feature] = (u32::try_from(at).map_err(|_| "has too many nodes")?, 0);
            visits.push(Visit::Leave(at));
            for child in children {
                if (child as usize) < self.splits.len() {
                    visits.push(Visit::Enter(child as usize, different));
                }
            }
        }
        Ok(())
    }

    /// What part of the training came to each leaf.
    pub(super) fn reach(&self) -> Vec<f64> {
        let mut reach = vec![1.0; self.shares.len()];
        for (at, split) in self.splits.iter().enumerate() {
            for child in split.children {
                reach[child as usize] = reach[at] * self.shares[child as usize];
            }
        }
        reach.split_off(self.splits.len())
    }
}

fn check(count: usize, covers: Covers<'_>) -> Result<(), String> {
    // A tree of one leaf needs none.
    if count == 0 {
        return Ok(());
    }
    if covers.splits.len() != count || covers.leaves.len() != count + 1 {
        let (splits, leaves) = (covers.splits.len(), covers.leaves.len());
        return Err(format!("has covers of {splits} splits and {leaves} leaves, expected {count} and {}", count + 1));
    }
    let all = covers.splits.iter().chain(covers.leaves);
    if let Some(wrong) = all.copied().find(|cover| !(cover.is_finite() && *cover >= 0.0)) {
        return Err(format!("has the cover {wrong}, expected a number of at least 0"));
    }
    if covers.splits[0] <= 0.0 {
        return Err("has no covers: its root says that no row of the training came by".to_owned());
    }
    Ok(())
}
