//! In which order the nodes of a tree lie: for a large one, a walk is to find its next steps in the cache line of this one.
//!
//! Siblings are side by side, so that a line has four pairs. A pair takes those with it that are above the most leaves, until the
//! line is full; a walk goes more than two steps in a line. From the root down, level by level, each step below the tops
//! was a line of its own. So small trees lie.

use super::tree::{Split, place};

/// Nodes of a cache line of 64 bytes.
pub(super) const LINE: usize = 8;
const PAIRS: usize = LINE / 2;

/// A split whose place is known, and that of its children not yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Open {
    pub(super) at: u32,
    pub(super) split: u32,
}

/// What may have its children in the line.
#[derive(Debug, Clone, Copy)]
struct Near {
    /// The leaves below it; a leaf has 1 and no children.
    below: u32,
    open: Open,
}

/// Which split is next to have its children placed, behind all that are placed.
#[derive(Debug)]
pub(super) struct Order {
    /// The leaves below each leaf and split, as [`place`] has them.
    below: Vec<u32>,
    leaves: usize,
    is_large: bool,
    /// Leaves among them change nothing but which of two splits above as many leaves is taken first.
    near: Vec<Near>,
    far: Queue,
    /// Pairs that fit into the line.
    room: usize,
}

/// Splits of a tree, each of which comes once; a leaf that comes is gone with what comes next. No branch asks which it is: it
/// would be taken wrongly half of the time, and there are as many as nodes.
#[derive(Debug)]
struct Queue {
    all: Vec<Open>,
    start: usize,
    end: usize,
}

impl Queue {
    fn push(&mut self, open: Open, is_split: bool) {
        self.all[self.end] = open;
        self.end += usize::from(is_split);
    }

    fn pop(&mut self) -> Option<Open> {
        let open = self.all[..self.end].get(self.start).copied();
        self.start += 1;
        open
    }
}

impl Order {
    pub(super) fn new(splits: &[Split], is_large: bool) -> Self {
        let leaves = splits.len() + 1;
        let mut below = vec![1; leaves + splits.len()];
        // Children come after their parents.
        for (at, split) in splits.iter().enumerate().rev() {
            below[leaves + at] = split.children.iter().map(|child| below[place(*child, leaves)]).sum();
        }
        let far = Queue { all: vec![Open::default(); leaves], start: 0, end: 0 };
        Self { below, leaves, is_large, near: Vec::with_capacity(PAIRS + 1), far, room: PAIRS }
    }

    /// The sum of all leaves' depths: each is below as many splits.
    pub(super) fn depths(&self) -> usize {
        self.below[self.leaves..].iter().map(|below| *below as usize).sum()
    }

    /// A node that was placed.
    #[inline]
    pub(super) fn open(&mut self, at: u32, child: i32) {
        let open = Open { at, split: child.cast_unsigned() };
        if self.is_large {
            self.near.push(Near { below: self.below[place(child, self.leaves)], open });
        } else {
            self.far.push(open, child >= 0);
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the lowest byte")]
    pub(super) fn next(&mut self) -> Option<Open> {
        if !self.is_large {
            return self.far.pop();
        }
        loop {
            // Of two that are above as many leaves the last one.
            let nearest = (0..).zip(&self.near).map(|(number, near)| u64::from(near.below) << 8 | number).max();
            match nearest.map(|nearest| (nearest >> 8, nearest as usize & 0xff)) {
                Some((2.., number)) if self.room > 0 => {
                    self.room -= 1;
                    return Some(self.near.swap_remove(number).open);
                }
                Some((2.., _)) => {
                    self.near.drain(..).for_each(|near| self.far.push(near.open, near.below > 1));
                    self.room = PAIRS;
                }
                // Leaves are where they are to be.
                _ => {
                    self.near.clear();
                    let open = self.far.pop()?;
                    self.near.push(Near { below: self.below[self.leaves + open.split as usize], open });
                }
            }
        }
    }
}
