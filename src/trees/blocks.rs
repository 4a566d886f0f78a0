//! Whole trees for many rows at once, or one row through many trees at once, without a branch or a load that depends on
//! data.
//!
//! Leaves are numbered from left to right. A row stands at the first leaf of the smallest subtree it is known to be in,
//! at first at leaf 0. A node over the leaves from `low`, whose right half begins at `mid`, moves the rows that stand at
//! `low` and are beyond its rank to `mid`. Parents come before their children; then a row that stands at `low` when
//! a node has its turn is in that node's subtree, as two subtrees that do not hold each other begin at different leaves.
//! After the last node every row stands at its leaf.
//!
//! With bytes for ranks and leaves, a compare, a compare and a select of one vector are a step of 16, 32 or 64 rows.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::columns::{Columns, Place};
use super::instructions::{Instructions, Number, Sum};
use super::members::Members;
use super::planes::Planes;
use super::search::{MOST_RANKS, Ranker, TILE, Tile};
use super::walk::{Forest, Seen};

/// Leaves of the largest tree, as they are numbered by bytes.
pub(super) const MOST_LEAVES: usize = 256;
/// Tiles of the largest block: more share the reading of nodes, until where rows stand leaves the registers.
const MOST_TILES: usize = 8;
/// Rows of the largest block.
pub(super) const MOST_ROWS: usize = MOST_TILES * TILE;

/// Rows that go by steps before planes are made: their making takes what they spare 10,000 rows of one model and 200,000 of
/// another.
const PATIENCE: usize = 1 << 15;
/// Trees that say, before all others are made into planes, whether these take too much memory.
const SOME_TREES: usize = 16;

/// A node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Which column of bytes.
    pub(super) lane: u32,
    /// The bits of a byte that count: all, unless they are about sets.
    pub(super) mask: u8,
    /// The largest byte that stays.
    pub(super) rank: u8,
    pub(super) low: u8,
    pub(super) mid: u8,
}

/// The leaves of a tree for one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaves {
    pub(super) tree: usize,
    pub(super) output: usize,
    /// Where they are; with what follows them they are as many as [`padded`] says.
    pub(super) first: usize,
    pub(super) size: usize,
}

/// The leaves of all trees, as they are added.
#[derive(Debug)]
pub(super) enum Values {
    Doubles(Vec<f64>),
    /// Where each sum is rounded to float32, and all that is added is float32: then sums of float32 are the same.
    Singles(Vec<f32>),
}

/// All trees as steps.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) steps: Vec<Step>,
    /// Where the steps of each tree end.
    pub(super) ends: Vec<usize>,
    /// In the order of trees.
    pub(super) leaves: Vec<Leaves>,
    pub(super) values: Values,
    pub(super) outputs: usize,
    /// What lanes are: (column, which 255 of its ranks), in order.
    parts: Vec<(u16, u16)>,
    pub(super) features: usize,
    /// What of rows splits by sets of categories look at, if there are any.
    members: Option<Members>,
    /// The same trees for processors that go through them bit by bit, made when [`PATIENCE`] ends.
    planes: OnceLock<Option<Planes>>,
    /// Rows that went by steps before.
    stepped: AtomicUsize,
    singles: OnceLock<Ranker<f32>>,
    doubles: OnceLock<Ranker<f64>>,
}

/// Rows as their caller has them.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Of float32.
    Floats(&'a [f32]),
    /// Of float64.
    Doubles(&'a [f64]),
}

impl Blocks {
    /// The trees of `forest`; nothing if one of them has more leaves than a byte can number, or knows categories that take
    /// too much memory.
    pub(super) fn new(
        forest: &Forest,
        columns: &Columns,
        features: usize,
        start: &[f64],
        are_single: bool,
    ) -> Option<Self> {
        if forest.most_leaves() > MOST_LEAVES {
            return None;
        }
        let count = forest.splits();
        let (mut steps, mut places) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut ends, mut leaves, mut values) = (Vec::with_capacity(forest.len()), Vec::new(), Vec::new());
        let (mut numbers, mut path) = (Vec::new(), Vec::new());
        for (tree, root) in forest.roots().enumerate() {
            numbers.clear();
            path.push((root, None));
            // Depth first and left first: when a right child has its turn, all leaves left of it are numbered.
            while let Some((at, parent)) = path.pop() {
                if let Some(parent) = parent {
                    let step: &mut Step = &mut steps[parent];
                    step.mid = u8::try_from(numbers.len()).ok()?;
                }
                match forest.see(at) {
                    Seen::Leaf(leaf) => numbers.push(leaf),
                    Seen::Split(place, child) => {
                        let low = u8::try_from(numbers.len()).ok()?;
                        path.push((child + 1, Some(steps.len())));
                        path.push((child, None));
                        steps.push(Step { lane: 0, mask: u8::MAX, rank: 0, low, mid: 0 });
                        places.push(place);
                    }
                }
            }
            ends.push(steps.len());
            for at in 0..forest.values(tree, 0).len() {
                let (first, size) = (values.len(), padded(numbers.len()));
                leaves.push(Leaves { tree, output: forest.output(tree) + at, first, size });
                values.extend(numbers.iter().map(|leaf| forest.values(tree, *leaf)[at]));
            }
        }
        let end = leaves.iter().map(|leaves: &Leaves| leaves.first + leaves.size).max();
        values.resize(end.unwrap_or_default(), 0.0);
        let first_of_categories = columns.first_of_categories();
        let numbers = places.iter().filter(|place| usize::from(place.column) < first_of_categories);
        let mut parts: Vec<(u16, u16)> = numbers.map(|place| (place.column, place.rank / MOST_RANKS)).collect();
        parts.sort_unstable();
        parts.dedup();
        let mut members = None;
        if forest.has_sets() {
            let (made, bits) = Members::new(forest, columns, &places, &ends)?;
            for (step, bit) in steps.iter_mut().zip(bits) {
                let Some(bit) = bit else { continue };
                (step.lane, step.mask) = (u32::try_from(parts.len() + bit.lane).ok()?, bit.mask);
            }
            members = Some(made);
        }
        let numbers = |place: &Place| usize::from(place.column) < first_of_categories;
        for (step, place) in steps.iter_mut().zip(places).filter(|(_, place)| numbers(place)) {
            let lane = parts.binary_search(&(place.column, place.rank / MOST_RANKS)).ok()?;
            step.lane = u32::try_from(lane).ok()?;
            step.rank = u8::try_from(place.rank % MOST_RANKS).ok()?;
        }
        let values = if are_single { Values::singles(&values, start)? } else { Values::Doubles(values) };
        let outputs = start.len();
        let (planes, stepped) = (OnceLock::new(), AtomicUsize::new(0));
        let (singles, doubles) = (OnceLock::new(), OnceLock::new());
        Some(Self { steps, ends, leaves, values, outputs, parts, features, members, planes, stepped, singles, doubles })
    }

    /// Bytes of a row, without those that are made as trees need them.
    pub(super) fn lanes(&self) -> usize {
        self.parts.len()
    }

    /// Whether the bytes of a row are its ranks: of each column those of one lane, and no categories.
    pub(super) fn has_a_lane_for_each(&self, columns: &Columns) -> bool {
        self.parts.len() + columns.zeros() == columns.len() && self.parts.iter().all(|(_, part)| *part == 0)
    }

    /// The bytes of the first row.
    pub(super) fn rank_row(&self, how: Instructions, columns: &Columns, rows: Rows<'_>, bytes: &mut [u8]) {
        match rows {
            Rows::Floats(rows) => f32::rank_row(how, self.singles(columns), &rows[..self.features], bytes),
            Rows::Doubles(rows) => f64::rank_row(how, self.doubles(columns), &rows[..self.features], bytes),
        }
    }

    /// What of rows splits by sets of categories look at.
    pub(super) fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// How batches go through the first trees bit by bit, so many of them or all; nothing if they know categories.
    pub(super) fn new_planes(&self, trees: usize) -> Option<Planes> {
        let ends = &self.ends[..trees.min(self.ends.len())];
        if self.members.is_some() { None } else { Planes::new(&self.steps, ends, self.lanes()) }
    }

    /// The same where so many rows are sooner done that way, and it is worth its making.
    fn planes(&self, how: Instructions, rows: usize) -> Option<&Planes> {
        let tiles = rows.div_ceil(TILE).next_power_of_two().min(MOST_TILES);
        if !how.chooses() {
            return None;
        }
        let is_made = self.planes.get().is_some();
        if !is_made && self.stepped.fetch_add(rows.min(MOST_ROWS), Ordering::Relaxed) < PATIENCE {
            return None;
        }
        let make = || {
            self.new_planes(SOME_TREES).filter(Planes::fit)?;
            self.new_planes(usize::MAX).filter(|planes| planes.fit() && planes.pay(how, MOST_TILES))
        };
        self.planes.get_or_init(make).as_ref().filter(|planes| planes.pay(how, tiles))
    }

    /// Whether batches go through the trees bit by bit by now.
    pub(super) fn has_planes(&self) -> bool {
        matches!(self.planes.get(), Some(Some(_)))
    }

    /// How rows of float32 get their bytes.
    pub(super) fn singles(&self, columns: &Columns) -> &Ranker<f32> {
        self.singles.get_or_init(|| Ranker::new(columns, &self.parts, self.features, false))
    }

    /// How rows of float64 get their bytes.
    pub(super) fn doubles(&self, columns: &Columns) -> &Ranker<f64> {
        self.doubles.get_or_init(|| Ranker::new(columns, &self.parts, self.features, false))
    }

    /// Adds the leaves of rows to their sums in `scores`, as many rows as fit into a block; says how many.
    pub(super) fn add(&self, how: Instructions, columns: &Columns, rows: Rows<'_>, scores: &mut [f64]) -> usize {
        self.add_by(how, self.planes(how, scores.len() / self.outputs), columns, rows, scores)
    }

    /// The same by these planes, or else by steps.
    pub(super) fn add_by(
        &self,
        how: Instructions,
        planes: Option<&Planes>,
        columns: &Columns,
        rows: Rows<'_>,
        scores: &mut [f64],
    ) -> usize {
        let how = (how, planes);
        match (rows, &self.values) {
            (Rows::Floats(rows), Values::Doubles(values)) => self.add_rows(how, columns, rows, values, scores),
            (Rows::Doubles(rows), Values::Doubles(values)) => self.add_rows(how, columns, rows, values, scores),
            (Rows::Floats(rows), Values::Singles(values)) => self.add_rows(how, columns, rows, values, scores),
            (Rows::Doubles(rows), Values::Singles(values)) => self.add_rows(how, columns, rows, values, scores),
        }
    }

    fn add_rows<T: Number, S: Sum>(
        &self,
        how: (Instructions, Option<&Planes>),
        columns: &Columns,
        rows: &[T],
        values: &[S],
        scores: &mut [f64],
    ) -> usize {
        let count = (scores.len() / self.outputs).min(MOST_ROWS);
        let (rows, scores) = (&rows[..count * self.features], &mut scores[..count * self.outputs]);
        let ranker = T::ranker(self, columns);
        match count.div_ceil(TILE) {
            0..=1 => self.add_tiles::<1, T, S>(how, (ranker, columns), rows, values, scores),
            2 => self.add_tiles::<2, T, S>(how, (ranker, columns), rows, values, scores),
            3..=4 => self.add_tiles::<4, T, S>(how, (ranker, columns), rows, values, scores),
            _ => self.add_tiles::<MOST_TILES, T, S>(how, (ranker, columns), rows, values, scores),
        }
        count
    }

    fn add_tiles<const TILES: usize, T: Number, S: Sum>(
        &self,
        (how, planes): (Instructions, Option<&Planes>),
        (ranker, columns): (&Ranker<T>, &Columns),
        rows: &[T],
        values: &[S],
        scores: &mut [f64],
    ) {
        let all_lanes = self.lanes() + self.members.as_ref().map_or(0, Members::lanes);
        let mut lanes = vec![Tile([0; TILE]); all_lanes * TILES];
        let mut starts = vec![[0; TILE]; self.members.as_ref().map_or(0, Members::columns) * TILES];
        let used = rows.chunks(TILE * self.features.max(1));
        let tiles = used.len();
        for (number, rows) in used.enumerate() {
            T::rank_tile(how, ranker, rows, &mut lanes, (number, TILES), &mut []);
            if let Some(members) = &self.members {
                members.find(columns, (rows, self.features), &mut starts, (number, TILES));
            }
        }
        let height = TILES * TILE;
        let mut sums = vec![S::default(); self.outputs * height];
        for (output, sums) in sums.chunks_exact_mut(height).enumerate() {
            let scores = scores[output..].iter().step_by(self.outputs);
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum = S::of(*score));
        }
        let (lanes, mut stands) = (lanes.as_chunks_mut::<TILES>().0, [Tile([0; TILE]); TILES]);
        let mut leaves = self.leaves.iter().peekable();
        let mut fills = self.members.as_ref().map_or(&[][..], Members::fills).iter().peekable();
        let mut run = planes.map(Planes::start::<TILES>);
        let mut start = 0;
        for (tree, end) in self.ends.iter().enumerate() {
            match (&self.members, &mut run) {
                (_, Some(run)) => run.descend(how, tree, lanes, &mut stands),
                (None, None) => how.descend::<TILES, false>(&self.steps[start..*end], lanes, &mut stands),
                (Some(members), None) => {
                    while let Some(fill) = fills.next_if(|fill| fill.tree == tree) {
                        if let Some(word) = members.word(*fill, &starts, &mut lanes[self.parts.len()..]) {
                            how.take_bits(word, tiles);
                        }
                    }
                    how.descend::<TILES, true>(&self.steps[start..*end], lanes, &mut stands);
                }
            }
            start = *end;
            while let Some(leaves) = leaves.next_if(|leaves| leaves.tree == tree) {
                let sums = &mut sums[leaves.output * height..][..height];
                S::add(how, &values[leaves.first..][..leaves.size], &stands[..tiles], sums);
            }
        }
        for (output, sums) in sums.chunks_exact(height).enumerate() {
            let scores = scores[output..].iter_mut().step_by(self.outputs);
            scores.zip(sums).for_each(|(score, sum)| *score = (*sum).into());
        }
    }
}

impl Values {
    /// The values as float32; nothing if they are not, or if sums do not start with float32.
    #[allow(clippy::cast_possible_truncation, reason = "it is checked")]
    fn singles(values: &[f64], start: &[f64]) -> Option<Self> {
        let is_single = |value: &f64| f64::from(*value as f32).to_bits() == value.to_bits();
        let are_single = values.iter().chain(start).all(is_single);
        are_single.then(|| Self::Singles(values.iter().map(|value| *value as f32).collect()))
    }
}

impl Rows<'_> {
    /// What is left without the first `count` numbers.
    pub(super) fn after(self, count: usize) -> Self {
        match self {
            Self::Floats(rows) => Self::Floats(&rows[count..]),
            Self::Doubles(rows) => Self::Doubles(&rows[count..]),
        }
    }

    /// As float64.
    pub(super) fn to_doubles(self) -> Vec<f64> {
        match self {
            Self::Floats(rows) => rows.iter().map(|value| f64::from(*value)).collect(),
            Self::Doubles(rows) => rows.to_vec(),
        }
    }
}

/// As many numbers as `leaves` take: tables of few sizes are looked up in loops of their own.
fn padded(leaves: usize) -> usize {
    leaves.next_power_of_two().max(16)
}
