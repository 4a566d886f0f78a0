//! Where the leaves of rows are added, one tree after the other.

use crate::trees::single;
use crate::trees::walk::Forest;

/// Sums of rows, and the tree whose leaves are added to them.
pub(in crate::trees) struct Sums<'a> {
    forest: &'a Forest,
    scores: &'a mut [f64],
    outputs: usize,
    are_single: bool,
    /// The numbers of the tree's leaves, so many of each, for the outputs from this one on.
    leaves: &'a [f64],
    width: usize,
    output: usize,
}

impl<'a> Sums<'a> {
    /// `scores` has so many `outputs` for each row; sums are rounded to float32 if they `are_single`.
    pub(in crate::trees) fn new(forest: &'a Forest, scores: &'a mut [f64], outputs: usize, are_single: bool) -> Self {
        Self { forest, scores, outputs, are_single, leaves: &[], width: 1, output: 0 }
    }

    pub(super) fn forest(&self) -> &'a Forest {
        self.forest
    }

    /// Forgets all rows but the first; says how many there are.
    pub(super) fn keep(&mut self, most: usize) -> usize {
        let count = (self.scores.len() / self.outputs).min(most);
        self.scores = &mut std::mem::take(&mut self.scores)[..count * self.outputs];
        count
    }

    /// From here on leaves are those of this tree.
    pub(super) fn go_to(&mut self, tree: usize) {
        (self.leaves, self.width) = self.forest.leaves_of(tree);
        self.output = self.forest.output(tree);
    }

    /// Adds a leaf of the tree to the sums of a row.
    #[inline]
    pub(super) fn add(&mut self, row: u16, leaf: u32) {
        let (at, leaf) = (usize::from(row) * self.outputs + self.output, leaf as usize * self.width);
        if self.width == 1 {
            let score = &mut self.scores[at];
            *score += self.leaves[leaf];
            if self.are_single {
                *score = single(*score);
            }
            return;
        }
        let scores = &mut self.scores[at..at + self.width];
        for (score, value) in scores.iter_mut().zip(&self.leaves[leaf..leaf + self.width]) {
            *score += value;
            if self.are_single {
                *score = single(*score);
            }
        }
    }
}
