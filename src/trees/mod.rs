//! Tree ensembles: tables that were checked when they were made, and how rows get their sums of leaves.
//!
//! A row's numbers become ranks (`columns`); then either each row walks through each tree (`walk`), or all nodes of
//! a tree look at a whole block of rows (`blocks`). Every way adds the same float64 leaves in the order of the trees:
//! answers are equal to the last bit, whatever rows are beside a row and whatever the processor knows.

mod abreast;
mod across;
mod blocks;
mod builder;
mod catboost;
mod categories;
mod coding;
mod columns;
mod contributions;
mod deep;
mod distinct;
mod document;
mod halving;
mod instructions;
mod kernels;
mod lightgbm;
mod linear;
mod lines;
mod link;
mod members;
mod model;
mod native;
mod planes;
mod ranking;
mod row_by_row;
mod rows;
mod search;
mod searches;
mod sets;
mod tree;
mod votes;
mod walk;
mod words;
mod xgboost;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use across::{Across, NARROW};
use blocks::{Blocks, MOST_LEAVES, MOST_ROWS};
use columns::Columns;
use deep::Deep;
use instructions::Instructions;
use linear::Linear;
use rows::WholeColumns;
use search::TILE;
use walk::{Forest, Seen, WALKS};
use words::Words;

pub use blocks::Rows;
pub use builder::Builder;
pub use catboost::{explain_catboost, read_catboost};
pub use categories::{Categories, Column};
pub use contributions::{Contributions, Covers};
pub use lightgbm::{explain_lightgbm, explain_lightgbm_dump, read_lightgbm, read_lightgbm_dump};
pub use linear::LinearLeaf;
pub use link::{Link, softmax};
pub use model::{Answer, Choice, Labels, Precision, TreeModel};
pub use native::{explain_native, read_native};
pub use tree::{Rule, Split};
pub use xgboost::{explain_xgboost, read_xgboost};

/// `LightGBM` takes numbers this close to zero for zero (`kZeroThreshold`, a float32 there).
const ZERO: f64 = 1e-35_f32 as f64;
/// From this many rows on a block is faster than trees at once, row by row.
const FEWEST: usize = 48;
/// The same of wide tables: ranks take most of the time, and less in a block.
const FEWEST_WIDE: usize = 24;
/// Rows that walk, if there are few at a time, before blocks are made: about what their making takes.
const PATIENCE: usize = 100;
/// The same for tops of large trees: nodes that are looked at for them in the time that they spare a row, about.
const NODES_A_ROW: usize = 1 << 11;
/// Picoseconds of a step of a small block and of one walk, measured with 500 trees of 31 and of 255 leaves.
const STEP_OF_BLOCK: usize = 2000;
const STEP_OF_WALK: usize = 1900;
/// The same of the bits of categories that become eight lanes.
const FILL_OF_BLOCK: usize = 60_000;
/// Steps of a walk beyond the mean depth of leaves, about: until all of its group have arrived.
const MORE_STEPS: usize = 2;

/// Trees whose sums are the model's outputs.
#[derive(Debug)]
pub struct Ensemble {
    features: usize,
    outputs: usize,
    link: Link,
    /// What sums are divided by.
    divisor: f64,
    /// Whether numbers near zero are taken for it.
    is_near_zero_zero: bool,
    whole: WholeColumns,
    sums: Sums,
    columns: Columns,
    forest: Forest,
    /// How rows that walk are ranked.
    words: Words,
    /// Leaves that are functions of the row: then rows walk, and nothing else is done.
    linear: Option<Linear>,
    /// For each tree, what the library that trained it calls its leaves, unless they are numbered as they are here.
    leaf_numbers: Vec<Box<[u32]>>,
    /// Made for the first batch, or after some rows: a process that scores few rows does not pay for them.
    blocks: OnceLock<Option<Batches>>,
    walked: AtomicUsize,
    /// The same for trees that are too large for blocks; and no more than their tops, for few rows.
    deep: OnceLock<Option<Deep>>,
    tops: OnceLock<Option<Deep>>,
    /// Where leaves are but votes.
    votes: votes::Poll,
}

/// How leaves are added.
#[derive(Debug)]
struct Sums {
    /// What each output begins with.
    start: Vec<f64>,
    /// Whether each sum is rounded to float32.
    are_single: bool,
    /// What is made of each sum in the end: times the first, plus its own of the second, unless there is nothing to do.
    change: Option<(f64, Vec<f64>)>,
}

/// How batches are scored by blocks.
#[derive(Debug)]
struct Batches {
    blocks: Blocks,
    how: Instructions,
    /// Made for the first few rows.
    across: OnceLock<Option<Across>>,
    /// From this many rows on a block is faster than rows one by one.
    fewest: usize,
}

impl Ensemble {
    /// Columns of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Numbers that a row gets.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many trees.
    pub fn trees(&self) -> usize {
        self.forest.len()
    }

    /// What becomes of the sums.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Whether it is a linear model in the form of trees: functions of the row, and no splits that choose among them.
    pub fn is_linear_model(&self) -> bool {
        self.linear.is_some() && self.forest.roots().all(|root| matches!(self.forest.see(root), Seen::Leaf(_)))
    }

    /// How rows are scored, in words.
    pub fn kernel(&self) -> String {
        let walks = format!("{WALKS} walks at once");
        if self.linear.is_some() {
            return format!("{walks}; then linear functions");
        }
        let votes = if self.votes.is_made() { ", votes counted bit by bit" } else { "" };
        if self.is_deep() {
            let how = Instructions::best();
            let tops = format!("{walks}; from {} rows on after tops of trees", deep::FEWEST);
            if !Deep::follows_chunks(how, self.columns.len()) {
                return format!("{tops} ({}){votes}", how.name());
            }
            return format!("{tops}, from {} on chunks of 63 nodes ({}){votes}", Deep::many(&self.forest), how.name());
        }
        let Some(batches) = self.batches() else { return walks };
        let bits = if votes.is_empty() && batches.blocks.has_planes() { ", bit by bit" } else { votes };
        let blocks =
            format!("from {} rows on blocks of {TILE} to {MOST_ROWS} ({}){bits}", batches.fewest, batches.how.name());
        match batches.across() {
            Some(_) => format!("{walks} for the first {PATIENCE} rows; then {TILE} trees at once; {blocks}"),
            None => format!("{walks}; {blocks}"),
        }
    }

    /// Scores the rows of `rows` into `scores`: what the link makes of [`Self::margins`].
    pub fn score(&self, rows: Rows<'_>, scores: &mut [f64]) {
        self.margins(rows, scores);
        for scores in scores.chunks_exact_mut(self.outputs) {
            self.link.apply(scores);
        }
    }

    /// Sums of leaves of the rows of `rows`, which has [`Self::features`] numbers for each, in `scores`, which has
    /// [`Self::outputs`] for each.
    ///
    /// Every row adds its leaves in the order of the trees, in float64: the same answer whatever rows are beside it.
    pub fn margins(&self, rows: Rows<'_>, scores: &mut [f64]) {
        if self.whole.is_empty() {
            return self.sums_of(rows, scores);
        }
        let mut rows = rows.to_doubles();
        self.whole.apply(&mut rows, self.features);
        self.sums_of(Rows::Doubles(&rows), scores);
    }

    /// The same of rows that are as trees are to see them.
    fn sums_of(&self, rows: Rows<'_>, scores: &mut [f64]) {
        for scores in scores.chunks_exact_mut(self.outputs) {
            scores.copy_from_slice(&self.sums.start);
        }
        let count = scores.len() / self.outputs;
        let mut done = 0;
        if let Some(linear) = &self.linear {
            let mut rows = rows.to_doubles();
            if self.is_near_zero_zero {
                to_zero(&mut rows);
            }
            let rows = rows.chunks_exact(self.features);
            rows.zip(scores.chunks_exact_mut(self.outputs))
                .for_each(|(row, scores)| self.add_linear(linear, row, scores));
            done = count;
        }
        while done < count {
            let left = count - done;
            let (rows, scores) = (rows.after(done * self.features), &mut scores[done * self.outputs..]);
            if let Some(votes) = self.votes.of(left, &self.forest, &self.columns, self.features, &self.sums) {
                done += votes.add(Instructions::best(), &self.columns, rows, scores);
                continue;
            }
            done += match self.batches_for(left) {
                Some(batches) if left >= batches.fewest => batches.blocks.add(batches.how, &self.columns, rows, scores),
                Some(batches) => match batches.across() {
                    Some(across) => across.add(batches.how, &batches.blocks, &self.columns, rows, scores),
                    None if batches.ranks_rows(&self.columns) => {
                        self.add_walk_by_lanes(batches.how, &batches.blocks, rows, &mut scores[..self.outputs])
                    }
                    None => self.add_walks(rows, batches.blocks.members(), scores),
                },
                None => match self.deep_for(left) {
                    Some(deep) => {
                        let sums = deep::Sums::new(&self.forest, scores, self.outputs, self.sums.are_single);
                        deep.add(&self.columns, rows, sums)
                    }
                    None => self.add_walks(rows, None, scores),
                },
            };
        }
        for score in scores.iter_mut() {
            *score /= self.divisor;
        }
        if let Some((scale, bias)) = &self.sums.change {
            for scores in scores.chunks_exact_mut(self.outputs) {
                scores.iter_mut().zip(bias).for_each(|(score, bias)| *score = *score * scale + bias);
            }
        }
    }

    /// The leaf of each tree for the rows of `rows`, as the library that trained them numbers leaves: [`Self::trees`]
    /// numbers for each row. What is left of the rows has no meaning.
    pub fn leaves(&self, rows: &mut [f64], leaves: &mut [u32]) {
        self.whole.apply(rows, self.features);
        let (columns, trees) = (self.columns.len(), self.forest.len());
        let number = |tree: usize, at: u32| {
            let leaf = self.forest.name(at);
            self.leaf_numbers.get(tree).and_then(|numbers| numbers.get(leaf as usize)).copied().unwrap_or(leaf)
        };
        let mut ranks = vec![0; WALKS * columns];
        let blocks = rows.chunks(WALKS * self.features).zip(leaves.chunks_mut((WALKS * trees).max(1)));
        for (rows, leaves) in blocks {
            let count = leaves.len() / trees;
            self.rank(Rows::Doubles(rows), &mut ranks);
            if count < WALKS {
                for (ranks, leaves) in ranks.chunks_exact(columns).zip(leaves.chunks_exact_mut(trees)) {
                    self.forest.leaves_of_row(ranks, None, |tree, at, _| leaves[tree] = at);
                    leaves.iter_mut().enumerate().for_each(|(tree, at)| *at = number(tree, *at));
                }
                continue;
            }
            for tree in 0..trees {
                let found = self.forest.leaves_of_tree(tree, &ranks, columns);
                for (leaves, at) in leaves.chunks_exact_mut(trees).zip(found) {
                    leaves[tree] = number(tree, at);
                }
            }
        }
    }

    /// What scores so many rows, if it is worth its making: before, a few rows are scored sooner by walks.
    fn batches_for(&self, rows: usize) -> Option<&Batches> {
        if self.blocks.get().is_none() && rows < TILE {
            let walked = self.walked.fetch_add(rows, Ordering::Relaxed);
            if walked + rows <= PATIENCE {
                return None;
            }
        }
        self.batches()
    }

    /// What scores so many rows if trees are too large for blocks, and if it is worth its making.
    fn deep_for(&self, rows: usize) -> Option<&Deep> {
        if !self.is_deep() || rows < deep::FEWEST {
            return None;
        }
        let how = Instructions::best();
        let make = |has_chunks| move || Deep::new(how, &self.forest, &self.columns, self.features, has_chunks);
        let is_many = rows >= Deep::many(&self.forest);
        if is_many && Deep::follows_chunks(how, self.columns.len()) {
            return self.deep.get_or_init(make(true)).as_ref();
        }
        if self.tops.get().is_none() && !is_many {
            let walked = self.walked.fetch_add(rows, Ordering::Relaxed);
            if walked + rows <= self.forest.nodes() / NODES_A_ROW {
                return None;
            }
        }
        self.tops.get_or_init(make(false)).as_ref()
    }

    /// Whether trees are too large for blocks, and have nothing but thresholds.
    fn is_deep(&self) -> bool {
        self.forest.most_leaves() > MOST_LEAVES && !self.forest.has_sets() && self.linear.is_none()
    }

    /// How many rows are best scored at once, if there are more.
    pub fn most_rows(&self) -> usize {
        let columns = self.columns.len();
        let has_chunks = self.is_deep() && Deep::follows_chunks(Instructions::best(), columns);
        if has_chunks { Deep::most_rows(columns, self.outputs) } else { MOST_ROWS }
    }

    fn batches(&self) -> Option<&Batches> {
        let make = || {
            let blocks =
                Blocks::new(&self.forest, &self.columns, self.features, &self.sums.start, self.sums.are_single)?;
            let fewest = if blocks.lanes() > NARROW { FEWEST_WIDE } else { FEWEST };
            let mut batches = Batches { blocks, how: Instructions::best(), across: OnceLock::new(), fewest };
            if !batches.goes_across() {
                let walk = self.forest.len().max(1) * (self.forest.mean_depth() + MORE_STEPS) * STEP_OF_WALK;
                let fills = batches.blocks.members().map_or(0, |members| members.fills().len());
                let block = batches.blocks.steps.len() * STEP_OF_BLOCK + fills * FILL_OF_BLOCK;
                batches.fewest = block.div_ceil(walk).max(2);
            }
            Some(batches)
        };
        self.blocks.get_or_init(make).as_ref()
    }
}

impl Batches {
    /// Whether rows can go across trees.
    fn goes_across(&self) -> bool {
        self.blocks.lanes() <= self.how.most_lanes_across()
            && !self.blocks.ends.is_empty()
            && self.blocks.members().is_none()
    }

    /// Whether a row's bytes are the ranks that walks need, and vectors make them sooner.
    fn ranks_rows(&self, columns: &Columns) -> bool {
        self.how.most_lanes_across() > 0 && self.blocks.has_a_lane_for_each(columns)
    }

    fn across(&self) -> Option<&Across> {
        self.across.get_or_init(|| Across::new(&self.blocks, self.how)).as_ref()
    }
}

/// Numbers that are nearly zero become it.
fn to_zero(rows: &mut [f64]) {
    for value in rows.iter_mut().filter(|value| value.abs() <= ZERO) {
        *value = 0.0;
    }
}

/// Rounded to float32. A sum of two of them in float64, rounded, is their sum in float32: float64 has more than twice the
/// bits and two.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

#[cfg(test)]
mod tests;
