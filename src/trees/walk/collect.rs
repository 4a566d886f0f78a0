//! How trees become a forest: where their nodes lie, and what of their leaves is kept.

use std::ops::Range;

use super::{Forest, Node, Tree};
use crate::trees::blocks::MOST_LEAVES;
use crate::trees::columns::{Columns, Place, Thresholds};
use crate::trees::distinct::distinct;
use crate::trees::lines::{LINE, Open, Order};
use crate::trees::tree::Split;

/// Nodes that a model may have.
const MOST_NODES: u32 = 1 << 31;

impl Forest {
    /// Makes room for so many nodes, and leaves of one number.
    pub(in crate::trees) fn reserve(&mut self, nodes: usize, leaves: usize) {
        self.nodes.reserve_exact(nodes);
        self.leaves.reserve_exact(leaves);
    }

    /// Adds a tree that was checked.
    pub(in crate::trees) fn push(
        &mut self,
        splits: &[Split],
        leaves: &[f64],
        sets: &[Vec<u32>],
        outputs: &Range<usize>,
        thresholds: &mut Thresholds,
    ) -> Result<(), String> {
        let too_large = || format!("is beyond the {MOST_NODES} nodes a model may have");
        let next = |length: usize| u32::try_from(length).ok().filter(|next| *next < MOST_NODES).ok_or_else(too_large);
        next(self.nodes.len() + 2 * (leaves.len() + LINE))?;
        let first_set = next(self.sets.len())?;
        next(self.sets.len() + sets.len())?;
        let is_large = leaves.len() / outputs.len() > MOST_LEAVES;
        // Behind the root a line begins.
        while is_large && !(self.nodes.len() + 1).is_multiple_of(LINE) {
            self.nodes.push(Node::new(next(self.nodes.len())?, 0));
        }
        let root = next(self.nodes.len())?;
        self.nodes.push(Node::new(root, 0));
        // All at once: then several are looked up at a time in a table that is larger than the first cache.
        let number =
            |split: &Split| thresholds.number(split.feature, split.rule.renumbered(first_set), split.threshold);
        let numbers: Vec<u32> = splits.iter().map(number).collect();
        let mut order = Order::new(splits, is_large);
        self.depths += order.depths();
        if !splits.is_empty() {
            order.open(root, 0);
        }
        while let Some(Open { at, split }) = order.next() {
            let child = next(self.nodes.len())?;
            for (at, to) in (child..).zip(splits[split as usize].children) {
                // As if it were a leaf: what is a split is put right when its turn comes, without a branch here.
                self.nodes.push(Node::new(at, (!to).cast_unsigned()));
                order.open(at, to);
            }
            self.nodes[at as usize] = Node::new(child, numbers[split as usize]);
        }
        let first_leaf = self.leaves.len();
        self.trees.push(Tree { root, first_leaf, width: outputs.len(), output: outputs.start });
        self.leaves.extend_from_slice(leaves);
        self.sets.extend_from_slice(sets);
        self.most_leaves = self.most_leaves.max(splits.len() + 1);
        self.leaf_count += splits.len() + 1;
        Ok(())
    }

    /// Puts columns and ranks in the place of the thresholds' numbers. With `has_values` a leaf is nothing but its numbers.
    pub(in crate::trees) fn finish(&mut self, thresholds: Thresholds, has_values: bool) -> Result<Columns, String> {
        self.nodes.shrink_to_fit();
        let is_large = self.most_leaves > MOST_LEAVES;
        if is_large {
            self.align();
        }
        let merged = if is_large && has_values { self.distinct() } else { None };
        // The numbers of leaves have 16 bits of the rank, and which of these columns it is.
        let zeros = if merged.is_none() { (self.most_leaves >> 16) + 1 } else { 1 };
        let (columns, places, rules_of_columns) = thresholds.place(zeros)?;
        (self.rules_of_columns, self.first_of_categories) = (rules_of_columns, columns.first_of_categories());
        match merged {
            None => self.settle(&places, |_, _, _, number| number),
            Some((leaves, kinds)) => {
                self.names = vec![0; self.nodes.len()];
                self.settle(&places, |names, tree, at, number| {
                    names[at] = number;
                    kinds.get(tree.first_leaf / tree.width + number as usize).copied().unwrap_or_default()
                });
                self.trees.iter_mut().for_each(|tree| tree.first_leaf = 0);
                self.leaves = leaves;
            }
        }
        self.leaves.shrink_to_fit();
        Ok(columns)
    }

    /// Gives splits their places, and leaves the numbers that `leaf` has for them. What a node is not is asked for the number
    /// 0: a branch would be taken wrongly half of the time.
    fn settle(&mut self, places: &[Place], mut leaf: impl FnMut(&mut [u32], &Tree, usize, u32) -> u32) {
        let mut trees = self.trees.iter().peekable();
        while let Some(tree) = trees.next() {
            let end = trees.peek().map_or(self.nodes.len(), |tree| tree.root as usize);
            for at in tree.root as usize..end {
                let node = &mut self.nodes[at];
                let (is_leaf, number) = (node.child as usize == at, node.number());
                let [of_leaf, of_split] = std::hint::select_unpredictable(is_leaf, [number, 0], [0, number]);
                let place = places.get(of_split as usize).copied().unwrap_or_default();
                let leaf = Node::new(node.child, leaf(&mut self.names, tree, at, of_leaf));
                let split = Node { child: node.child, column: place.column, rank: place.rank };
                *node = std::hint::select_unpredictable(is_leaf, leaf, split);
            }
        }
    }

    /// Moves all nodes so that lines are those of the cache: allocators align as little as nodes need.
    #[allow(clippy::cast_possible_truncation, reason = "a few nodes")]
    fn align(&mut self) {
        self.nodes.reserve_exact(LINE);
        let line = LINE * size_of::<Node>();
        let shift = (line - self.nodes.as_ptr().addr() % line) % line / size_of::<Node>();
        if shift == 0 {
            return;
        }
        let count = self.nodes.len();
        self.nodes.extend((0..shift).map(|_| Node::new(0, 0)));
        self.nodes.copy_within(..count, shift);
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.child = if at < shift { at as u32 } else { node.child + shift as u32 };
        }
        self.trees.iter_mut().for_each(|tree| tree.root += shift as u32);
    }

    /// Leaves that are alike once, and of all leaves which they are, if there are many.
    fn distinct(&self) -> Option<(Vec<f64>, Vec<u32>)> {
        let width = self.trees[0].width;
        if self.trees.iter().any(|tree| tree.width != width) {
            return None;
        }
        distinct(&self.leaves, width)
    }
}
