//! Whole trees for a block of rows at once: every node looks at every row, without a branch or a load that depends on
//! data.
//!
//! Leaves are numbered from left to right. A row stands at the first leaf of the smallest subtree it is known to be in,
//! at first at leaf 0. A node over the leaves from `low`, whose right half begins at `mid`, moves the rows that stand at
//! `low` and are beyond its rank to `mid`. Parents come before their children; then a row that stands at `low` when
//! a node has its turn is in that node's subtree, as two subtrees that do not hold each other begin at different leaves.
//! After the last node every row stands at its leaf.
//!
//! With bytes for ranks and leaves, a compare, a compare and a select of one vector are a step of 16, 32 or 64 rows.
#![allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]

use super::columns::Columns;
use super::single;
use super::walk::{Forest, Seen};

/// Leaves of the largest tree, as they are numbered by bytes.
const MOST_LEAVES: usize = 256;
/// Thresholds of one column of bytes: the last rank is what is beyond all of them.
const MOST_RANKS: u16 = 255;

/// One byte for each row of a block.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(super) struct Lane<const ROWS: usize>(pub(super) [u8; ROWS]);

/// A node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Which column of bytes.
    pub(super) lane: u32,
    /// The largest byte that stays.
    pub(super) rank: u8,
    pub(super) low: u8,
    pub(super) mid: u8,
}

/// A range of a column's ranks that is a column of bytes.
#[derive(Debug, Clone, Copy)]
struct Part {
    column: usize,
    /// The rank that is byte 0.
    first: u16,
}

#[derive(Debug)]
struct Tree {
    /// Its steps end here.
    end: usize,
    /// Its leaves' numbers, and the output they belong to.
    leaves: Vec<(usize, Leaves)>,
}

#[derive(Debug)]
enum Leaves {
    UpTo16(Box<[f64; 16]>),
    UpTo32(Box<[f64; 32]>),
    UpTo64(Box<[f64; 64]>),
    UpTo128(Box<[f64; 128]>),
    UpTo256(Box<[f64; MOST_LEAVES]>),
}

/// All trees as steps.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Whether each sum is rounded to float32.
    are_single: bool,
    trees: Vec<Tree>,
    steps: Vec<Step>,
    /// In the order of columns.
    parts: Vec<Part>,
}

impl Blocks {
    /// The trees of `forest`; nothing if one of them has more leaves than a byte can number or knows categories.
    pub(super) fn new(forest: &Forest, are_single: bool) -> Option<Self> {
        if forest.has_sets() {
            return None;
        }
        let (mut steps, mut trees, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (tree, root) in forest.roots().enumerate() {
            let mut leaves = Vec::new();
            let mut path = vec![(root, None)];
            // Depth first and left first: when a right child has its turn, all leaves left of it are numbered.
            while let Some((at, parent)) = path.pop() {
                if let Some(parent) = parent {
                    let step: &mut Step = &mut steps[parent];
                    step.mid = u8::try_from(leaves.len()).ok()?;
                }
                match forest.see(at) {
                    Seen::Leaf(leaf) => leaves.push(leaf),
                    Seen::Split(place, child) => {
                        let low = u8::try_from(leaves.len()).ok()?;
                        path.push((child + 1, Some(steps.len())));
                        path.push((child, None));
                        steps.push(Step { lane: 0, rank: 0, low, mid: 0 });
                        places.push(place);
                    }
                }
            }
            let width = forest.values(tree, 0).len();
            let of_output = |at: usize| {
                let values: Vec<f64> = leaves.iter().map(|leaf| forest.values(tree, *leaf)[at]).collect();
                Some((forest.output(tree) + at, Leaves::new(&values)?))
            };
            trees.push(Tree { end: steps.len(), leaves: (0..width).map(of_output).collect::<Option<_>>()? });
        }
        let mut parts: Vec<(u16, u16)> = places.iter().map(|place| (place.column, place.rank / MOST_RANKS)).collect();
        parts.sort_unstable();
        parts.dedup();
        for (step, place) in steps.iter_mut().zip(places) {
            let part = parts.binary_search(&(place.column, place.rank / MOST_RANKS)).ok()?;
            step.lane = u32::try_from(part).ok()?;
            step.rank = u8::try_from(place.rank % MOST_RANKS).ok()?;
        }
        let part = |(column, part): (u16, u16)| Part { column: usize::from(column), first: part * MOST_RANKS };
        Some(Self { are_single, trees, steps, parts: parts.into_iter().map(part).collect() })
    }

    /// Steps that a block takes.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Adds the leaves of up to `ROWS` rows to their sums, of which there are some for each output. `descend` says where
    /// rows stand after the steps of a tree.
    #[inline(always)]
    pub(super) fn add<const ROWS: usize>(
        &self,
        descend: impl Fn(&[Step], &[Lane<ROWS>]) -> Lane<ROWS>,
        columns: &Columns,
        rows: &[f64],
        features: usize,
        sums: &mut [[f64; ROWS]],
    ) {
        let mut lanes = vec![Lane([0; ROWS]); self.parts.len()];
        let mut next = 0;
        columns.rank_block::<ROWS>(rows, features, |column, ranks| {
            while let Some(part) = self.parts.get(next).filter(|part| part.column == column) {
                for (byte, rank) in lanes[next].0.iter_mut().zip(ranks) {
                    *byte = u8::try_from(rank.saturating_sub(part.first).min(MOST_RANKS)).unwrap_or(u8::MAX);
                }
                next += 1;
            }
        });
        // With few rows in a block, looking up leaves for all of it would take half of the time.
        let (mut start, count) = (0, rows.len() / features);
        for tree in &self.trees {
            let at = descend(&self.steps[start..tree.end], &lanes);
            for (output, leaves) in &tree.leaves {
                leaves.add(&at.0[..count], &mut sums[*output][..count], self.are_single);
            }
            start = tree.end;
        }
    }
}

impl Leaves {
    fn new(leaves: &[f64]) -> Option<Self> {
        Some(match leaves.len() {
            0..=16 => Self::UpTo16(padded(leaves)?),
            17..=32 => Self::UpTo32(padded(leaves)?),
            33..=64 => Self::UpTo64(padded(leaves)?),
            65..=128 => Self::UpTo128(padded(leaves)?),
            _ => Self::UpTo256(padded(leaves)?),
        })
    }

    #[inline(always)]
    fn add(&self, at: &[u8], sums: &mut [f64], are_single: bool) {
        match self {
            Self::UpTo16(leaves) => add(leaves, at, sums, are_single),
            Self::UpTo32(leaves) => add(leaves, at, sums, are_single),
            Self::UpTo64(leaves) => add(leaves, at, sums, are_single),
            Self::UpTo128(leaves) => add(leaves, at, sums, are_single),
            Self::UpTo256(leaves) => add(leaves, at, sums, are_single),
        }
    }
}

fn padded<const SIZE: usize>(leaves: &[f64]) -> Option<Box<[f64; SIZE]>> {
    let mut all = Box::new([0.0; SIZE]);
    all.get_mut(..leaves.len())?.copy_from_slice(leaves);
    Some(all)
}

#[inline(always)]
fn add<const SIZE: usize>(leaves: &[f64; SIZE], at: &[u8], sums: &mut [f64], are_single: bool) {
    if are_single {
        for (sum, at) in sums.iter_mut().zip(at) {
            *sum = single(*sum + leaves[*at as usize % SIZE]);
        }
        return;
    }
    for (sum, at) in sums.iter_mut().zip(at) {
        // No more than is there: the compiler need not check.
        *sum += leaves[*at as usize % SIZE];
    }
}
