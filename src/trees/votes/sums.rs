//! Sums by how many trees voted for an output.

use super::super::planes::Line;
use super::super::search::TILE;
use super::super::{Sums, single};
use super::MOST_BITS;

/// The sums of all outputs.
#[derive(Debug)]
pub(super) struct Table {
    outputs: usize,
    /// For each output, its sum after no vote, after one, and so on.
    sums: Vec<f64>,
    /// Of each kind of leaf, for which outputs it votes.
    kinds: Vec<Vec<usize>>,
}

/// Collects kinds of leaves.
#[derive(Debug)]
pub(super) struct Kinds {
    /// What a vote for each output adds, if there was one.
    values: Vec<Option<f64>>,
    /// For which outputs each kind votes.
    known: Vec<Vec<usize>>,
    /// Of each output, the kind that votes for it alone.
    alone: Vec<Option<usize>>,
    votes: Vec<usize>,
}

impl Kinds {
    pub(super) fn new(outputs: usize) -> Self {
        Self { values: vec![None; outputs], known: Vec::new(), alone: vec![None; outputs], votes: Vec::new() }
    }

    /// The number of a leaf's kind, whose first number is for the output `first`; nothing if it is no vote.
    pub(super) fn number(&mut self, leaf: &[f64], first: usize) -> Option<usize> {
        self.votes.clear();
        for (output, value) in (first..).zip(leaf).filter(|(_, value)| value.to_bits() != 0) {
            let known = self.values.get_mut(output)?.get_or_insert(*value);
            // 0 is no vote, but what -0 makes of a sum is not what 0 does.
            if known.to_bits() != value.to_bits() || *value == 0.0 {
                return None;
            }
            self.votes.push(output);
        }
        let alone = if let [output] = self.votes[..] { self.alone[output] } else { None };
        if let Some(number) = alone.or_else(|| self.known.iter().position(|votes| *votes == self.votes)) {
            return Some(number);
        }
        if let [output] = self.votes[..] {
            self.alone[output] = Some(self.known.len());
        }
        self.known.push(self.votes.clone());
        (self.known.len() <= 1 << MOST_BITS).then_some(self.known.len() - 1)
    }

    /// How many there are, one at least.
    pub(super) fn len(&self) -> usize {
        self.known.len().max(1)
    }

    /// The sums after up to so many votes; nothing if a tree that adds 0 would change what they start with.
    pub(super) fn finish(mut self, trees: usize, sums: &Sums) -> Option<Table> {
        let rounded = |sum: f64| if sums.are_single { single(sum) } else { sum };
        if sums.start.iter().any(|start| rounded(start + 0.0).to_bits() != start.to_bits()) {
            return None;
        }
        let mut all = Vec::with_capacity(self.values.len() * (trees + 1));
        for (start, value) in sums.start.iter().zip(&self.values) {
            let mut sum = *start;
            all.push(sum);
            for _ in 0..trees {
                sum = rounded(sum + value.unwrap_or_default());
                all.push(sum);
            }
        }
        if self.known.is_empty() {
            self.known.push(Vec::new());
        }
        Some(Table { outputs: self.values.len(), sums: all, kinds: self.known })
    }
}

impl Table {
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many kinds of leaves there are.
    pub(super) fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Puts the sums of rows into `scores`, by how many of so many trees came to each kind of leaf but the first: of each
    /// kind some lines of bits, the lowest first.
    #[allow(clippy::cast_possible_truncation, reason = "there are no more trees")]
    pub(super) fn put(&self, counts: &[Line], trees: usize, scores: &mut [f64]) {
        let height = counts.len() / (self.kinds.len() - 1).max(1);
        let mut votes = vec![[0_u16; TILE]; self.outputs];
        for (tile, scores) in scores.chunks_mut(TILE * self.outputs).enumerate() {
            votes.fill([0; TILE]);
            let mut first = [trees as u16; TILE];
            for (kind, planes) in self.kinds[1..].iter().zip(counts.chunks_exact(height.max(1))) {
                let found = spread(planes, tile);
                first.iter_mut().zip(&found).for_each(|(first, found)| *first -= found);
                for output in kind {
                    votes[*output].iter_mut().zip(&found).for_each(|(votes, found)| *votes += found);
                }
            }
            for output in &self.kinds[0] {
                votes[*output].iter_mut().zip(&first).for_each(|(votes, found)| *votes += found);
            }
            for ((output, votes), sums) in votes.iter().enumerate().zip(self.sums.chunks_exact(trees + 1)) {
                for (score, votes) in scores[output..].iter_mut().step_by(self.outputs).zip(votes) {
                    *score = sums[usize::from(*votes)];
                }
            }
        }
    }
}

/// Bits of 64 rows as numbers.
fn spread(planes: &[Line], tile: usize) -> [u16; TILE] {
    let mut all = [0; TILE];
    for (part, planes) in planes.chunks(8).enumerate() {
        // Byte `j` of each plane, side by side, are a square of bits to be turned.
        let mut words = [0_u64; 8];
        words.iter_mut().zip(planes).for_each(|(word, plane)| *word = plane.0[tile]);
        let bytes = words.map(u64::to_le_bytes);
        for at in 0..8 {
            let square = turn(u64::from_le_bytes(std::array::from_fn(|plane| bytes[plane][at])));
            for (number, byte) in all[8 * at..][..8].iter_mut().zip(square.to_le_bytes()) {
                *number |= u16::from(byte) << (8 * part);
            }
        }
    }
    all
}

/// A square of eight times eight bits, turned over its diagonal.
fn turn(square: u64) -> u64 {
    [(7, 0x00AA_00AA_00AA_00AA), (14, 0x0000_CCCC_0000_CCCC), (28, 0x0000_0000_F0F0_F0F0)].into_iter().fold(
        square,
        |square, (apart, mask)| {
            let differ = (square ^ (square >> apart)) & mask;
            square ^ differ ^ (differ << apart)
        },
    )
}
