//! Where the leaves of rows are added, one tree after the other.

use crate::trees::instructions::Instructions;
use crate::trees::walk::Forest;

/// Trees whose leaves are added together: the sums of a row are loaded once for all of them.
pub(super) const TOGETHER: usize = 8;
/// Bytes of their leaves, at most: those of more trees would not be in the second cache.
const MOST_LEAVES: usize = 1 << 19;

/// Sums of rows.
pub(in crate::trees) struct Sums<'a> {
    forest: &'a Forest,
    scores: &'a mut [f64],
    outputs: usize,
    are_single: bool,
}

/// What a tree adds to rows.
#[derive(Debug, Clone, Copy)]
pub(in crate::trees) struct Found<'a> {
    /// The numbers of its leaves, as many of each as all trees that are added together have.
    pub(in crate::trees) leaves: &'a [f64],
    /// Which of them each row found.
    pub(in crate::trees) of_rows: &'a [u32],
    /// The output of a leaf's first number.
    pub(in crate::trees) output: usize,
}

impl<'a> Sums<'a> {
    /// `scores` has so many `outputs` for each row; sums are rounded to float32 if they `are_single`.
    pub(in crate::trees) fn new(forest: &'a Forest, scores: &'a mut [f64], outputs: usize, are_single: bool) -> Self {
        Self { forest, scores, outputs, are_single }
    }

    pub(super) fn forest(&self) -> &'a Forest {
        self.forest
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        self.scores.len() / self.outputs
    }

    /// Forgets all rows but the first; says how many there are.
    pub(super) fn keep(&mut self, most: usize) -> usize {
        let count = self.count().min(most);
        self.scores = &mut std::mem::take(&mut self.scores)[..count * self.outputs];
        count
    }

    /// How many trees are best added together.
    pub(super) fn together(&self) -> usize {
        if self.forest.bytes_of_leaves() * TOGETHER / self.forest.len().max(1) > MOST_LEAVES { 1 } else { TOGETHER }
    }

    /// Adds the leaves of trees from this one on, of each those that all rows found, to the sums of the rows: row after row,
    /// since sums of many rows and outputs are in no first cache.
    pub(super) fn add(&mut self, how: Instructions, first: usize, found: &[u32]) {
        let count = self.count();
        let none = Found { leaves: &[], of_rows: &[], output: 0 };
        let (mut trees, mut known, mut width_of) = ([none; TOGETHER], 0, 0);
        for (tree, of_rows) in (first..).zip(found.chunks_exact(count)) {
            let (leaves, width) = self.forest.leaves_of(tree);
            let output = self.forest.output(tree);
            let fits = width == width_of && (width == 1 || trees[0].output == output);
            if known == TOGETHER || known > 0 && !fits {
                how.add_found(&trees[..known], (self.outputs, width_of), self.are_single, self.scores);
                known = 0;
            }
            (trees[known], width_of) = (Found { leaves, of_rows, output }, width);
            known += 1;
        }
        how.add_found(&trees[..known], (self.outputs, width_of), self.are_single, self.scores);
    }
}
