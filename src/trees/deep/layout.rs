//! How a large tree is cut: a top, which looks at whole blocks of rows, and chunks of up to 63 nodes below it.

use std::collections::{BinaryHeap, VecDeque};

use crate::trees::blocks::Step;
use crate::trees::columns::Place;
use crate::trees::instructions::fetch;
use crate::trees::walk::{Forest, Seen};

/// Exits of a top: bytes number them.
pub(super) const MOST_EXITS: usize = 256;
/// Exits of a chunk, one more than it has nodes at most, and how many numbers of its tables are loaded at once.
pub(in crate::trees) const CHUNK: usize = 64;
/// Leaves below an exit from which rows walk, at most, where a top has room: more steps of a top took as long as they spared.
const FEW_TO_WALK: usize = 16;
/// How many nodes ahead those of chunks are asked for.
const AHEAD: usize = 2 * CHUNK;
/// In a chunk's tables what is no node is an exit: this, and its number.
pub(in crate::trees) const EXIT: u8 = 128;
/// What an exit is, beside its number: no leaf.
const GOES_ON: u32 = 1 << 31;

/// What is behind an exit: a leaf by its number, or else by its own number a chunk or a node of the forest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit(u32);

/// A subtree, or what of it is nearest to its root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// The root, among the nodes of the forest.
    pub(super) at: u32,
    /// Where its nodes and exits begin.
    pub(super) first: u32,
    pub(super) first_exit: u32,
    /// How many nodes.
    pub(super) nodes: u8,
    /// Whether an exit leads to another node.
    pub(super) has_walks: bool,
    /// Nodes on the longest way to an exit.
    pub(super) depth: u8,
}

/// A tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Where its steps and exits end.
    pub(super) steps: usize,
    pub(super) exits: usize,
}

/// All trees.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) cuts: Vec<Cut>,
    pub(super) steps: Vec<Step>,
    /// Of tops: leaves and chunks.
    pub(super) exits: Vec<Exit>,
    /// The nodes of the forest behind these exits.
    pub(super) behind: Vec<u32>,
    pub(super) chunks: Vec<Chunk>,
    /// Of the nodes of chunks: what they compare, and where they lead. As many as are loaded at once follow the last ones.
    pub(super) columns: Vec<u16>,
    pub(super) ranks: Vec<u16>,
    pub(super) lefts: Vec<u8>,
    pub(super) rights: Vec<u8>,
    /// Of chunks: leaves, and nodes of the forest.
    pub(super) ends: Vec<Exit>,
}

/// One tree while it is cut.
struct Tree<'a> {
    forest: &'a Forest,
    root: u32,
    /// For each node the leaves below it, and whether it belongs to what was chosen last.
    leaves: Vec<u32>,
    is_near: Vec<bool>,
}

impl Exit {
    /// The number of a leaf or of what follows, and which of them it is.
    #[inline]
    pub(super) fn number(self) -> (u32, bool) {
        (self.0 & !GOES_ON, self.0 & GOES_ON != 0)
    }

    /// The number of a leaf, or else that of what follows.
    pub(super) fn leaf(self) -> Result<u32, u32> {
        if self.0 & GOES_ON == 0 { Ok(self.0) } else { Err(self.0 ^ GOES_ON) }
    }
}

impl Layout {
    /// The trees of `forest`, and what their steps compare; nothing if they are too many. Without `has_chunks` there are
    /// none: rows walk from [`Self::behind`].
    pub(super) fn new(forest: &Forest, has_chunks: bool) -> Option<(Self, Vec<Place>)> {
        let (mut made, mut places) = (Self::default(), Vec::new());
        let mut roots = forest.roots().peekable();
        while let Some(root) = roots.next() {
            let end = roots.peek().copied().or_else(|| u32::try_from(forest.nodes()).ok())?;
            made.push(&mut Tree::new(forest, root, end), has_chunks, &mut places)?;
        }
        let length = made.columns.len() + CHUNK;
        made.columns.resize(length, 0);
        made.ranks.resize(length, 0);
        made.lefts.resize(length, EXIT);
        made.rights.resize(length, EXIT);
        made.ends.resize(made.ends.len() + CHUNK, Exit(0));
        Some((made, places))
    }

    /// Asks for what lies behind the chunk after this one, as much as this one takes: few rows share a chunk of a tree with
    /// thousands of leaves, and waited for its tables longer than they took in it.
    pub(super) fn fetch_after(&self, chunk: Chunk) {
        fn fetch_all<T>(all: &[T], first: usize, count: usize) {
            for at in (first..first + count).step_by(64 / size_of::<T>()) {
                if let Some(what) = all.get(at) {
                    fetch(what);
                }
            }
        }
        let count = usize::from(chunk.nodes);
        let (first, first_exit) = (chunk.first as usize + AHEAD, chunk.first_exit as usize + AHEAD);
        fetch_all(&self.columns, first, count);
        fetch_all(&self.ranks, first, count);
        fetch_all(&self.lefts, first, count);
        fetch_all(&self.rights, first, count);
        fetch_all(&self.ends, first_exit, count);
    }

    fn push(&mut self, tree: &mut Tree<'_>, has_chunks: bool, places: &mut Vec<Place>) -> Option<()> {
        // What fits into a top needs no chunk. Else a few steps more are cheaper than chunks that do not hold their subtrees.
        let few = match tree.below(tree.root) {
            ..=MOST_EXITS => 1,
            _ if has_chunks => CHUNK,
            _ => FEW_TO_WALK,
        };
        let near = tree.choose(tree.root, MOST_EXITS, few);
        let (mut path, mut roots, first) = (vec![(tree.root, None)], Vec::new(), self.exits.len());
        // Depth first and left first, as in blocks.
        while let Some((at, parent)) = path.pop() {
            let exit = self.exits.len() - first;
            if !tree.is_near(at) {
                self.behind.push(at);
            }
            if let Some(parent) = parent {
                let step: &mut Step = &mut self.steps[parent];
                step.mid = u8::try_from(exit).ok()?;
            }
            match tree.forest.see(at) {
                Seen::Split(place, child) if tree.is_near(at) => {
                    path.push((child + 1, Some(self.steps.len())));
                    path.push((child, None));
                    self.steps.push(Step { lane: 0, mask: u8::MAX, rank: 0, low: u8::try_from(exit).ok()?, mid: 0 });
                    places.push(place);
                }
                Seen::Split(..) => {
                    let chunk = u32::try_from(self.chunks.len() + roots.len()).ok()?;
                    self.exits.push(Exit(chunk | GOES_ON));
                    roots.push(at);
                }
                Seen::Leaf(leaf) => self.exits.push(Exit(leaf)),
            }
        }
        tree.forget(&near);
        for at in roots {
            if has_chunks {
                self.push_chunk(tree, at)?;
            }
        }
        self.cuts.push(Cut { steps: self.steps.len(), exits: self.exits.len() });
        Some(())
    }

    fn push_chunk(&mut self, tree: &mut Tree<'_>, at: u32) -> Option<()> {
        let near = tree.choose(at, CHUNK, 1);
        let (first, first_exit) = (self.columns.len(), self.ends.len());
        let (mut queue, mut next, mut depth) = (VecDeque::from([(at, 1)]), 1, 0);
        while let Some((at, level)) = queue.pop_front() {
            let Seen::Split(place, child) = tree.forest.see(at) else { return None };
            depth = level;
            self.columns.push(place.column);
            self.ranks.push(place.rank);
            for (child, to) in [(child, &mut self.lefts), (child + 1, &mut self.rights)] {
                if tree.is_near(child) {
                    queue.push_back((child, level + 1));
                    to.push(next);
                    next += 1;
                    continue;
                }
                to.push(EXIT + u8::try_from(self.ends.len() - first_exit).ok()?);
                self.ends.push(match tree.forest.see(child) {
                    Seen::Leaf(leaf) => Exit(leaf),
                    Seen::Split(..) => Exit(child | GOES_ON),
                });
            }
        }
        tree.forget(&near);
        let has_walks = self.ends[first_exit..].iter().any(|end| end.number().1);
        let (first, first_exit) = (u32::try_from(first).ok()?, u32::try_from(first_exit).ok()?);
        self.chunks.push(Chunk { at, first, first_exit, nodes: next, has_walks, depth });
        Some(())
    }
}

impl<'a> Tree<'a> {
    /// The tree whose nodes go from `root` to `end`.
    fn new(forest: &'a Forest, root: u32, end: u32) -> Self {
        let mut leaves = vec![1; (end - root) as usize];
        // Children come after their parents.
        for at in (root..end).rev() {
            if let Seen::Split(_, child) = forest.see(at) {
                let child = (child - root) as usize;
                leaves[(at - root) as usize] = leaves[child] + leaves[child + 1];
            }
        }
        let is_near = vec![false; leaves.len()];
        Self { forest, root, leaves, is_near }
    }

    /// Leaves below a node.
    fn below(&self, at: u32) -> usize {
        self.leaves[(at - self.root) as usize] as usize
    }

    fn is_near(&self, at: u32) -> bool {
        self.is_near[(at - self.root) as usize]
    }

    /// Chooses nodes from `at` on, those above the most leaves first, until there are as many exits, or none with more leaves
    /// than `few`.
    fn choose(&mut self, at: u32, exits: usize, few: usize) -> Vec<u32> {
        let mut near = Vec::new();
        let mut heap = BinaryHeap::from([(self.below(at), at)]);
        while near.len() + 1 < exits {
            let Some((_, at)) = heap.pop().filter(|(leaves, _)| *leaves > few) else { break };
            let Seen::Split(_, child) = self.forest.see(at) else { break };
            self.is_near[(at - self.root) as usize] = true;
            near.push(at);
            heap.extend([child, child + 1].map(|child| (self.below(child), child)));
        }
        near
    }

    fn forget(&mut self, near: &[u32]) {
        for at in near {
            self.is_near[(at - self.root) as usize] = false;
        }
    }
}
