//! How trees become a forest: where their nodes lie, and what of their leaves is kept.

use std::ops::Range;

use super::{Forest, Node, Tree};
use crate::trees::blocks::MOST_LEAVES;
use crate::trees::columns::{Columns, Place, Thresholds};
use crate::trees::distinct::distinct;
use crate::trees::lines::{LINE, Open, Order};
use crate::trees::tree::{Child, Split};

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
        let child = if splits.is_empty() { Child::Leaf(0) } else { Child::Split(0) };
        let mut order = Order::new(splits, is_large);
        order.open(Open { at: root, child, level: 0 });
        while let Some(Open { at, child, level }) = order.next() {
            self.nodes[at as usize] = match child {
                Child::Leaf(leaf) => {
                    self.depths += level;
                    Node::new(at, next(leaf)?)
                }
                Child::Split(index) => {
                    let Split { feature, threshold, rule, children } = splits[index];
                    let child = next(self.nodes.len())?;
                    self.nodes.extend([Node::new(0, 0); 2]);
                    for (at, to) in (child..).zip(children) {
                        order.open(Open { at, child: Child::of(to), level: level + 1 });
                    }
                    Node::new(child, thresholds.number(feature, rule.renumbered(first_set), threshold))
                }
            };
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
        if self.most_leaves > MOST_LEAVES {
            self.align();
            if has_values {
                self.merge_leaves();
            }
        }
        // The numbers of leaves have 16 bits of the rank, and which of these columns it is.
        let zeros = if self.names.is_empty() { (self.most_leaves >> 16) + 1 } else { 1 };
        let (columns, places, rules_of_columns) = thresholds.place(zeros)?;
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if node.child as usize != at {
                Place { column: node.column, rank: node.rank } = places[node.number() as usize];
            }
        }
        (self.rules_of_columns, self.first_of_categories) = (rules_of_columns, columns.first_of_categories());
        self.leaves.shrink_to_fit();
        Ok(columns)
    }

    /// Moves all nodes so that lines are those of the cache: allocators align as little as nodes need.
    #[allow(clippy::cast_possible_truncation, reason = "a few nodes")]
    fn align(&mut self) {
        self.nodes.reserve_exact(LINE);
        let line = LINE * size_of::<Node>();
        let shift = (line - self.nodes.as_ptr().addr() % line) % line / size_of::<Node>();
        let count = self.nodes.len();
        self.nodes.extend((0..shift).map(|_| Node::new(0, 0)));
        self.nodes.copy_within(..count, shift);
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.child = if at < shift { at as u32 } else { node.child + shift as u32 };
        }
        self.trees.iter_mut().for_each(|tree| tree.root += shift as u32);
    }

    /// Keeps leaves that are alike once, if there are many.
    fn merge_leaves(&mut self) {
        let width = self.trees[0].width;
        if self.trees.iter().any(|tree| tree.width != width) {
            return;
        }
        let Some((leaves, kinds)) = distinct(&self.leaves, width) else { return };
        self.names = vec![0; self.nodes.len()];
        let mut trees = self.trees.iter().peekable();
        while let Some(Tree { root, first_leaf, .. }) = trees.next() {
            let end = trees.peek().map_or(self.nodes.len(), |tree| tree.root as usize);
            for at in *root as usize..end {
                let node = &mut self.nodes[at];
                if node.child as usize == at {
                    self.names[at] = node.number();
                    *node = Node::new(node.child, kinds[first_leaf / width + node.number() as usize]);
                }
            }
        }
        self.trees.iter_mut().for_each(|tree| tree.first_leaf = 0);
        self.leaves = leaves;
    }
}
