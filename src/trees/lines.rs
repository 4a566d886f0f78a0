//! In which order the nodes of a large tree lie: a walk is to find its next steps in the cache line of this one.
//!
//! Siblings are side by side, so that a line has four pairs. A pair takes those with it that are above the most leaves, until the
//! line is full; a walk goes more than two steps in a line. From the root down, level by level, each step below the tops
//! was a line of its own.

use std::collections::VecDeque;

use super::tree::{Child, Split};

/// Nodes of a cache line of 64 bytes.
pub(super) const LINE: usize = 8;
const PAIRS: usize = LINE / 2;

/// A node whose place is known, and that of its children not yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) at: u32,
    pub(super) child: Child,
    pub(super) level: usize,
}

/// Which node is next to have its children placed, behind all that are placed.
#[derive(Debug)]
pub(super) struct Order {
    /// For each split the leaves below it; none of a small tree, whose nodes lie level by level.
    below: Vec<u32>,
    /// What may have its children in the line.
    near: Vec<Open>,
    far: VecDeque<Open>,
    /// Pairs that fit into the line.
    room: usize,
}

impl Order {
    pub(super) fn new(splits: &[Split], is_large: bool) -> Self {
        let mut below = vec![0; if is_large { splits.len() } else { 0 }];
        // Children come after their parents.
        for at in (0..below.len()).rev() {
            below[at] = splits[at].children.iter().map(|child| leaves(&below, Child::of(*child))).sum();
        }
        Self { below, near: Vec::new(), far: VecDeque::new(), room: PAIRS }
    }

    /// A node that was placed.
    pub(super) fn open(&mut self, node: Open) {
        if self.below.is_empty() {
            self.far.push_back(node);
        } else {
            self.near.push(node);
        }
    }

    pub(super) fn next(&mut self) -> Option<Open> {
        loop {
            let nearest = (0..self.near.len()).max_by_key(|number| leaves(&self.below, self.near[*number].child));
            let Some(number) = nearest else {
                let node = self.far.pop_front()?;
                if self.below.is_empty() {
                    return Some(node);
                }
                self.near.push(node);
                continue;
            };
            if let Child::Split(_) = self.near[number].child {
                if self.room == 0 {
                    self.far.extend(self.near.drain(..));
                    self.room = PAIRS;
                    continue;
                }
                self.room -= 1;
            }
            return Some(self.near.swap_remove(number));
        }
    }
}

/// Leaves below a child, or itself.
fn leaves(below: &[u32], child: Child) -> u32 {
    match child {
        Child::Leaf(_) => 1,
        Child::Split(at) => below[at],
    }
}
