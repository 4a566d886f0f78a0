//! Rows that walk through the trees, one after the other or a group of them through one tree.

use smallvec::{SmallVec, smallvec};

use super::across::NARROW;
use super::blocks::{Blocks, MOST_ROWS, Rows};
use super::instructions::Instructions;
use super::linear::Linear;
use super::members::Members;
use super::walk::WALKS;
use super::{Ensemble, single};

/// Trees, and ranks of a row, for which no memory is asked for.
const FEW: usize = 128;

impl Ensemble {
    /// Adds the leaves of some rows; says how many. `members` are the bits of categories, if they are known.
    pub(super) fn add_walks(&self, rows: Rows<'_>, members: Option<&Members>, scores: &mut [f64]) -> usize {
        if let Some(members) = members {
            self.add_walk_by_bits(rows, members, &mut scores[..self.outputs]);
            return 1;
        }
        let count = MOST_ROWS.min(scores.len() / self.outputs);
        let columns = self.columns.len();
        let mut ranks: SmallVec<[u16; FEW]> = smallvec![0; count * columns];
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
    pub(super) fn add_walk_by_lanes(
        &self,
        how: Instructions,
        blocks: &Blocks,
        rows: Rows<'_>,
        scores: &mut [f64],
    ) -> usize {
        let mut bytes: SmallVec<[u8; NARROW]> = smallvec![0; blocks.lanes()];
        blocks.rank_row(how, &self.columns, rows, &mut bytes);
        let zeros = std::iter::repeat_n(0, self.columns.zeros());
        let ranks: SmallVec<[u16; NARROW]> = zeros.chain(bytes.iter().copied().map(u16::from)).collect();
        self.add_row(&ranks, None, scores);
        1
    }

    /// The ranks of rows, as many as there are to be.
    pub(super) fn rank(&self, rows: Rows<'_>, ranks: &mut [u16]) {
        match rows {
            Rows::Floats(rows) => self.words.rank_singles(&self.columns, rows, self.features, ranks),
            Rows::Doubles(rows) => self.words.rank_doubles(&self.columns, rows, self.features, ranks),
        }
    }

    /// Adds the leaves of one row, of which some are functions of it.
    pub(super) fn add_linear(&self, linear: &Linear, row: &[f64], scores: &mut [f64]) {
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
            let mut values: SmallVec<[f64; FEW]> = smallvec![0.0; self.forest.len()];
            self.forest.leaves_of_row(ranks, bits, |tree, _, leaf| values[tree] = self.forest.value(tree, leaf));
            // In a register: through memory, each tree would wait for the one before.
            *score = if self.sums.are_single {
                values.iter().fold(*score, |sum, value| single(sum + value))
            } else {
                values.iter().fold(*score, |sum, value| sum + value)
            };
            return;
        }
        let mut leaves: SmallVec<[u32; FEW]> = smallvec![0; self.forest.len()];
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
