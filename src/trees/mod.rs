//! Tree ensembles: tables that were checked when they were made, and how rows get their sums of leaves.
//!
//! A row's numbers become ranks (`columns`); then either each row walks through each tree (`walk`), or all nodes of
//! a tree look at a whole block of rows (`blocks`). Every way adds the same float64 leaves in the order of the trees:
//! answers are equal to the last bit, whatever rows are beside a row and whatever the processor knows.

mod abreast;
mod across;
mod blocks;
mod catboost;
mod categories;
mod columns;
mod contributions;
mod deep;
mod distinct;
mod document;
mod instructions;
mod kernels;
mod lightgbm;
mod linear;
mod lines;
mod link;
mod members;
mod model;
mod native;
mod ranking;
mod rows;
mod search;
mod sets;
mod tree;
mod walk;
mod xgboost;

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use smallvec::{SmallVec, smallvec};

use crate::error::{Error, ErrorKind, Result};
use across::{Across, NARROW};
use blocks::{Blocks, MOST_LEAVES, MOST_ROWS};
use columns::{Columns, Thresholds};
use contributions::Collected;
use deep::Deep;
use instructions::Instructions;
use linear::Linear;
use members::Members;
use rows::WholeColumns;
use search::TILE;
use walk::{Forest, Seen, WALKS};

pub use blocks::Rows;
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

/// Collects trees.
#[derive(Debug)]
pub struct Builder {
    subject: String,
    features: usize,
    outputs: usize,
    link: Link,
    divisor: f64,
    is_near_zero_zero: bool,
    whole: WholeColumns,
    refuses_negative_categories: bool,
    sums: Sums,
    thresholds: Thresholds,
    forest: Forest,
    linear: Option<Linear>,
    /// Trees with covers, where scores are to be explained and not made.
    explained: Option<Collected>,
    leaf_numbers: Vec<Box<[u32]>>,
}

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

impl Builder {
    /// No trees; `subject` names the model in errors.
    pub fn new(subject: &str, features: usize, outputs: usize, link: Link) -> Self {
        let subject = subject.to_owned();
        let (thresholds, forest) = (Thresholds::default(), Forest::default());
        Self {
            subject,
            features,
            outputs,
            link,
            divisor: 1.0,
            is_near_zero_zero: false,
            whole: WholeColumns::default(),
            refuses_negative_categories: false,
            sums: Sums { start: vec![0.0; outputs], are_single: false, change: None },
            thresholds,
            forest,
            linear: None,
            explained: None,
            leaf_numbers: Vec::new(),
        }
    }

    /// Trees are to explain scores, and need covers: [`Self::cover`] follows each [`Self::push`].
    pub fn explain(&mut self) {
        self.explained = Some(Collected::default());
    }

    /// Whether covers are wanted.
    pub fn explains(&self) -> bool {
        self.explained.is_some()
    }

    /// About so many nodes come, leaves among them: lists that grow are copied, and leave what they took before.
    pub fn reserve(&mut self, nodes: usize) {
        if !self.explains() {
            self.forest.reserve(nodes, nodes / 2);
            self.thresholds.reserve(nodes / 2);
        }
    }

    /// Numbers that a row gets.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Trees so far.
    pub fn len(&self) -> usize {
        self.explained.as_ref().map_or(self.forest.len(), Collected::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Outputs are means over this many trees.
    pub fn average_over(&mut self, trees: u32) {
        self.divisor = f64::from(trees);
    }

    /// Numbers within 1e-35 of zero are zero, as in `LightGBM`, which leaves them out of dense rows before any tree
    /// sees them.
    pub fn take_near_zero_for_zero(&mut self) {
        self.is_near_zero_zero = true;
    }

    /// Fractions and negative numbers are missing in these columns.
    pub fn miss_fractions(&mut self, columns: Vec<usize>) {
        self.whole = WholeColumns(columns);
    }

    /// Numbers between -1 and 0 are no category; else their fraction is cut off.
    pub fn refuse_negative_categories(&mut self) {
        self.refuses_negative_categories = true;
    }

    /// Sums are multiplied by `scale` in the end, and get one number of `bias` for each output.
    pub fn scale_and_add(&mut self, scale: f64, bias: &[f64]) {
        #[allow(clippy::float_cmp, reason = "any other number changes something")]
        let changes = scale != 1.0 || bias.iter().any(|bias| *bias != 0.0);
        self.sums.change = changes.then(|| (scale, bias.to_vec()));
    }

    /// Sums begin with `start`, one number for each output.
    pub fn start_with(&mut self, start: &[f64]) {
        self.sums.start = start.to_vec();
    }

    /// Sums begin with `start`, one number for each output, and are rounded to float32 after each tree.
    pub fn add_as_float32(&mut self, start: &[f64]) {
        self.sums = Sums { start: start.to_vec(), are_single: true, change: None };
    }

    /// Adds a tree. Its first node is the root; without nodes it is its one leaf. Each leaf has a number for each of the
    /// `to` outputs. Sets of categories have a bit for each whole number.
    pub fn push(&mut self, to: Range<usize>, splits: &[Split], leaves: &[f64], categories: &[Vec<u32>]) -> Result<()> {
        let number = self.len();
        let outputs = self.outputs;
        let has_outputs = if to.end <= outputs && !to.is_empty() {
            Ok(())
        } else {
            Err(format!("adds to the outputs {to:?}, but the model has {outputs}"))
        };
        has_outputs
            .and_then(|()| tree::check(splits, leaves, to.len(), categories.len(), self.features))
            .and_then(|()| match &mut self.explained {
                Some(explained) => {
                    explained.push(&to, splits, leaves, categories);
                    Ok(())
                }
                None => self.forest.push(splits, leaves, categories, &to, &mut self.thresholds),
            })
            .map_err(|problem| self.bad_tree(number, &problem))
    }

    /// What the last tree covered in the training.
    pub fn cover(&mut self, covers: Covers<'_>) -> Result<()> {
        let number = self.len().saturating_sub(1);
        let covered = self.explained.as_mut().map_or(Ok(()), |explained| explained.cover(covers));
        covered.map_err(|problem| self.bad_tree(number, &problem))
    }

    /// What the library calls the leaves of the last tree; if of one tree, then of all.
    pub fn number_leaves(&mut self, numbers: Vec<u32>) {
        self.leaf_numbers.push(numbers.into());
    }

    fn bad_tree(&self, number: usize, problem: &str) -> Error {
        let fix = "save the model again, and copy the file whole";
        Error::new(ErrorKind::Model, &self.subject, format!("tree {number} {problem}"), fix)
    }

    /// What explains the scores of the trees.
    pub fn finish_explained(self) -> Result<Contributions> {
        let Self { subject, features, divisor, is_near_zero_zero, whole, sums, explained, .. } = self;
        let mut explained = explained.unwrap_or_default();
        if self.refuses_negative_categories {
            explained.refuse_negative_categories();
        }
        let made = explained.finish(features, &sums, divisor, (is_near_zero_zero, whole));
        let fix = "save the model again with the library that trained it";
        made.map_err(|problem| Error::new(ErrorKind::Model, subject, problem, fix))
    }

    /// Adds a tree for one output whose leaves are linear functions of the row; `leaves` are what counts where one of a
    /// function's columns is missing.
    ///
    /// In an ensemble of float32, functions are added term by term, without those of missing numbers and without constants.
    pub fn push_linear(
        &mut self,
        to: usize,
        splits: &[Split],
        leaves: &[f64],
        categories: &[Vec<u32>],
        functions: &[LinearLeaf],
    ) -> Result<()> {
        if self.explains() {
            let problem = "has no `contributions`: its leaves are linear functions of the row";
            let fix = "train trees whose leaves are numbers";
            return Err(Error::new(ErrorKind::Unsupported, &self.subject, problem, fix));
        }
        let number = self.len();
        self.push(to..to + 1, splits, leaves, categories)?;
        let fits = if functions.len() == leaves.len() {
            self.linear.get_or_insert_default().push(number, functions, self.features)
        } else {
            Err(format!("has {} leaves and {} linear functions", leaves.len(), functions.len()))
        };
        fits.map_err(|problem| self.bad_tree(number, &problem))
    }

    /// The ensemble.
    pub fn finish(self) -> Result<Ensemble> {
        let Self { subject, features, outputs, link, divisor, is_near_zero_zero, whole, sums, thresholds, .. } = self;
        let (mut forest, linear) = (self.forest, self.linear);
        let mut columns = forest.finish(thresholds, linear.is_none()).map_err(|problem| {
            Error::new(
                ErrorKind::Unsupported,
                subject,
                problem,
                "train with fewer features, or convert the model to ONNX",
            )
        })?;
        if self.refuses_negative_categories {
            columns.refuse_negative_categories();
        }
        if is_near_zero_zero {
            columns.take_for_zero(ZERO);
        }
        Ok(Ensemble {
            features,
            outputs,
            link,
            divisor,
            is_near_zero_zero,
            whole,
            sums,
            columns,
            forest,
            linear,
            leaf_numbers: self.leaf_numbers,
            blocks: OnceLock::new(),
            walked: AtomicUsize::new(0),
            deep: OnceLock::new(),
            tops: OnceLock::new(),
        })
    }
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
        if self.is_deep() {
            let how = Instructions::best();
            let chunks = if how.follows_chunks() { "chunks of 63 nodes" } else { "walks of sorted rows" };
            let (fewest, many) = (deep::FEWEST, Deep::many(&self.forest));
            return format!(
                "{walks}; from {fewest} rows on after tops of trees, from {many} on {chunks} ({})",
                how.name()
            );
        }
        let Some(batches) = self.batches() else { return walks };
        let blocks =
            format!("from {} rows on blocks of {TILE} to {MOST_ROWS} ({})", batches.fewest, batches.how.name());
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
        if is_many && how.follows_chunks() {
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
        if self.is_deep() { Deep::most_rows(self.columns.len()) } else { MOST_ROWS }
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

    /// Adds the leaves of some rows; says how many. `members` are the bits of categories, if they are known.
    fn add_walks(&self, rows: Rows<'_>, members: Option<&Members>, scores: &mut [f64]) -> usize {
        if let Some(members) = members {
            self.add_walk_by_bits(rows, members, &mut scores[..self.outputs]);
            return 1;
        }
        let count = MOST_ROWS.min(scores.len() / self.outputs);
        let columns = self.columns.len();
        let mut ranks = vec![0; count * columns];
        self.rank(rows, &mut ranks);
        let together = count - count % WALKS;
        let (many, few) = ranks.split_at(together * columns);
        let (scores_of_many, scores_of_few) = scores.split_at_mut(together * self.outputs);
        if together > 0 {
            self.add_rows_together(many, scores_of_many);
        }
        for (ranks, scores) in few.chunks_exact(columns).zip(scores_of_few.chunks_exact_mut(self.outputs)) {
            self.add_row(ranks, None, scores);
        }
        count
    }

    /// Adds the leaves of the first row.
    fn add_walk_by_bits(&self, rows: Rows<'_>, members: &Members, scores: &mut [f64]) {
        let mut ranks: SmallVec<[u16; 64]> = smallvec![0; self.columns.len()];
        self.rank(rows, &mut ranks);
        let starts = match rows {
            Rows::Floats(rows) => members.starts(&self.columns, rows),
            Rows::Doubles(rows) => members.starts(&self.columns, rows),
        };
        self.add_row(&ranks, Some((&starts, members.bits())), scores);
    }

    /// Adds the leaves of the first row, whose bytes are its ranks; says that it is one row.
    fn add_walk_by_lanes(&self, how: Instructions, blocks: &Blocks, rows: Rows<'_>, scores: &mut [f64]) -> usize {
        let mut bytes: SmallVec<[u8; NARROW]> = smallvec![0; blocks.lanes()];
        blocks.rank_row(how, &self.columns, rows, &mut bytes);
        let zeros = std::iter::repeat_n(0, self.columns.zeros());
        let ranks: SmallVec<[u16; NARROW]> = zeros.chain(bytes.iter().copied().map(u16::from)).collect();
        self.add_row(&ranks, None, scores);
        1
    }

    /// The ranks of rows, as many as there are to be.
    fn rank(&self, rows: Rows<'_>, ranks: &mut [u16]) {
        let ranks = ranks.chunks_exact_mut(self.columns.len());
        match rows {
            Rows::Floats(rows) => {
                let rows = rows.chunks_exact(self.features);
                rows.zip(ranks).for_each(|(row, ranks)| self.columns.rank_row(row, ranks));
            }
            Rows::Doubles(rows) => {
                let rows = rows.chunks_exact(self.features);
                rows.zip(ranks).for_each(|(row, ranks)| self.columns.rank_row(row, ranks));
            }
        }
    }

    /// Adds the leaves of one row, of which some are functions of it.
    fn add_linear(&self, linear: &Linear, row: &[f64], scores: &mut [f64]) {
        let mut ranks = vec![0; self.columns.len()];
        self.columns.rank_row(row, &mut ranks);
        let mut leaves = vec![0; self.forest.len()];
        self.forest.leaves_of_row(&ranks, None, |tree, _, leaf| leaves[tree] = leaf);
        for (tree, leaf) in leaves.into_iter().enumerate() {
            let score = &mut scores[self.forest.output(tree)];
            let sum = if self.sums.are_single {
                linear.add_single(tree, leaf, row, *score)
            } else {
                linear.value(tree, leaf, row).map(|value| *score + value)
            };
            match sum {
                Some(sum) => *score = sum,
                None => self.add_leaf(tree, leaf, scores),
            }
        }
    }

    fn add_row(&self, ranks: &[u16], bits: Option<(&[u32], &[u64])>, scores: &mut [f64]) {
        if let [score] = scores {
            let mut values = vec![0.0; self.forest.len()];
            self.forest.leaves_of_row(ranks, bits, |tree, _, leaf| values[tree] = self.forest.value(tree, leaf));
            // In a register: through memory, each tree would wait for the one before.
            *score = if self.sums.are_single {
                values.iter().fold(*score, |sum, value| single(sum + value))
            } else {
                values.iter().fold(*score, |sum, value| sum + value)
            };
            return;
        }
        let mut leaves = vec![0; self.forest.len()];
        self.forest.leaves_of_row(ranks, bits, |tree, _, leaf| leaves[tree] = leaf);
        for (tree, leaf) in leaves.into_iter().enumerate() {
            self.add_leaf(tree, leaf, scores);
        }
    }

    fn add_leaf(&self, tree: usize, leaf: u32, scores: &mut [f64]) {
        let scores = &mut scores[self.forest.output(tree)..];
        for (score, value) in scores.iter_mut().zip(self.forest.values(tree, leaf)) {
            *score += value;
            if self.sums.are_single {
                *score = single(*score);
            }
        }
    }

    /// Adds the leaves of groups of [`WALKS`] rows, one tree after the other.
    fn add_rows_together(&self, ranks: &[u16], scores: &mut [f64]) {
        let columns = self.columns.len();
        for tree in 0..self.forest.len() {
            let scores = scores.chunks_exact_mut(WALKS * self.outputs);
            for (ranks, scores) in ranks.chunks_exact(WALKS * columns).zip(scores) {
                let leaves = self.forest.leaves_of_tree(tree, ranks, columns);
                for (scores, at) in scores.chunks_exact_mut(self.outputs).zip(leaves) {
                    self.add_leaf(tree, self.forest.number(at), scores);
                }
            }
        }
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
