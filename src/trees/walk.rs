//! From the root to a leaf, node by node, with sixteen walks at once.
//!
//! A step waits for two loads, one after the other. Sixteen walks that do not depend on each other fill the time; more
//! were no faster, eight were a fifth slower. Of a forest beyond the second cache each walk asks for its next node, and 127
//! others have their step before it is looked at: without, no more loads were under way than of some fifty steps, as far as
//! a processor looks ahead. No branch depends on data, but for splits by sets whose bits are not made: a leaf is its own left
//! child, so that walks which have arrived wait there for the rest of their group. A row's trees first go as many steps as is
//! usual; those that have not arrived then are grouped anew.

mod collect;

use smallvec::SmallVec;

use super::columns::{MISSING_CATEGORY, Place, join_category};
use super::instructions::fetch;
use super::tree::Rule;

/// Walks at once.
pub(super) const WALKS: usize = 16;
/// The same of forests of which much is in the third cache or beyond it: more bytes of nodes than so many.
const FAR_WALKS: usize = 128;
/// Tests have both kinds among small ones.
const NEAR: usize = if cfg!(test) { 1 << 12 } else { 2 << 20 };
/// Eight bytes: the fewer, the more of a model is in the caches. While trees are collected, `column` and `rank` are the
/// halves of a threshold's number.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The left child; the right one follows it. A leaf has itself.
    child: u32,
    /// Of a leaf: one of the columns that are always 0, so that the walk stays, and the upper half of its number.
    column: u16,
    /// The largest rank that goes left. Of a set of categories: which one of its column. Of a leaf: the lower half of
    /// its number.
    rank: u16,
}

/// Steps beyond the mean depth of leaves before the first look at who has arrived: where trees were held to a depth, that is
/// everyone.
const MORE_STEPS: usize = 2;
/// Steps between two looks after it.
const STRIDE: usize = 3;
/// Ranks of a row that are kept where a column is known to be within them.
const FEW_COLUMNS: usize = 256;
/// Steps that a top of 256 exits does.
const TOP: usize = 8;

/// A row on its way through a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// The place for its leaf.
    pub(super) number: u32,
    /// Where the row's ranks begin.
    pub(super) row: u32,
    pub(super) at: u32,
}

impl Walk {
    /// What fills a group that is not full.
    const NONE: Self = Self { number: 0, row: 0, at: 0 };
}

#[derive(Debug)]
struct Tree {
    root: u32,
    /// Where the numbers of its leaves start, and how many each leaf has.
    first_leaf: usize,
    width: usize,
    /// The output of a leaf's first number.
    output: usize,
}

/// All trees.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    trees: Vec<Tree>,
    leaves: Vec<f64>,
    /// Of the nodes that are leaves, their numbers within their trees, if leaves of all trees share `leaves`.
    names: Vec<u32>,
    /// Sets of categories, a bit for each whole number.
    sets: Vec<Vec<u32>>,
    /// Which rules the columns of categories have, and which column is the first of them.
    rules_of_columns: Vec<Vec<Rule>>,
    first_of_categories: usize,
    most_leaves: usize,
    leaf_count: usize,
    /// The sum of all leaves' depths.
    depths: usize,
}

/// What a node holds that is no leaf.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// A leaf, by the number of what it adds.
    Leaf(u32),
    /// A split by ranks, and its left child; the right one follows.
    Split(Place, u32),
}

impl Forest {
    /// How many trees.
    pub(super) fn len(&self) -> usize {
        self.trees.len()
    }

    /// How many nodes, leaves among them.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The first node of each tree.
    pub(super) fn roots(&self) -> impl Iterator<Item = u32> + '_ {
        self.trees.iter().map(|tree| tree.root)
    }

    /// Whether a node looks a category up.
    pub(super) fn has_sets(&self) -> bool {
        !self.rules_of_columns.is_empty()
    }

    /// The rules of the splits by sets, by their columns.
    pub(super) fn rules_of_columns(&self) -> &[Vec<Rule>] {
        &self.rules_of_columns
    }

    /// The set that a rule is about.
    pub(super) fn set(&self, rule: Rule) -> &[u32] {
        rule.set().and_then(|set| self.sets.get(set as usize)).map_or(&[], Vec::as_slice)
    }

    /// What all sets take.
    pub(super) fn bytes_of_sets(&self) -> usize {
        self.sets.iter().map(|set| size_of_val(set.as_slice())).sum()
    }

    /// Leaves of the largest tree.
    pub(super) fn most_leaves(&self) -> usize {
        self.most_leaves
    }

    /// Nodes that are no leaves, of all trees.
    pub(super) fn splits(&self) -> usize {
        self.leaf_count - self.trees.len()
    }

    /// The mean depth of a leaf.
    pub(super) fn mean_depth(&self) -> usize {
        self.depths / self.leaf_count.max(1)
    }

    /// What is in a node.
    pub(super) fn see(&self, at: u32) -> Seen {
        let node = self.nodes[at as usize];
        if node.child == at {
            return Seen::Leaf(node.number());
        }
        Seen::Split(Place { column: node.column, rank: node.rank }, node.child)
    }

    /// The number of a leaf within its tree.
    pub(super) fn name(&self, at: u32) -> u32 {
        self.names.get(at as usize).copied().unwrap_or_else(|| self.number(at))
    }

    /// The number of what a leaf adds.
    pub(super) fn number(&self, at: u32) -> u32 {
        self.nodes[at as usize].number()
    }

    /// What a tree adds to a row at this leaf: numbers for one output after the other, from [`Self::output`] on.
    pub(super) fn values(&self, tree: usize, leaf: u32) -> &[f64] {
        let Tree { first_leaf, width, .. } = self.trees[tree];
        let start = first_leaf + leaf as usize * width;
        &self.leaves[start..start + width]
    }

    /// The numbers of a tree's leaves from the first on, and how many each leaf has.
    pub(super) fn leaves_of(&self, tree: usize) -> (&[f64], usize) {
        let Tree { first_leaf, width, .. } = self.trees[tree];
        (&self.leaves[first_leaf..], width)
    }

    /// The number of a leaf of a tree whose leaves have one each.
    pub(super) fn value(&self, tree: usize, leaf: u32) -> f64 {
        self.leaves[self.trees[tree].first_leaf + leaf as usize]
    }

    /// What the numbers of all leaves take.
    pub(super) fn bytes_of_leaves(&self) -> usize {
        size_of_val(self.leaves.as_slice())
    }

    /// The output to which a leaf's first number belongs.
    pub(super) fn output(&self, tree: usize) -> usize {
        self.trees[tree].output
    }

    /// The leaf of each tree for one row, in any order, and the number of what it adds. Of several calls for one tree the
    /// last one counts; before, the number is that of some leaf.
    ///
    /// The bits of the row's categories may be known; the first number of each column says where they begin.
    pub(super) fn leaves_of_row(
        &self,
        ranks: &[u16],
        bits: Option<(&[u32], &[u64])>,
        each: impl FnMut(usize, u32, u32),
    ) {
        match bits {
            Some((starts, bits)) => self.walk_trees(|at| self.step_by_bits(at, ranks, starts, bits), each),
            None if self.has_sets() => self.walk_trees(|at| self.step::<true>(at, ranks), each),
            None if ranks.len() <= FEW_COLUMNS => {
                // Then the compiler knows that a column is within.
                let mut few = [0; FEW_COLUMNS];
                few[..ranks.len()].copy_from_slice(ranks);
                let step = |at: u32| {
                    let node = self.nodes[at as usize];
                    node.child + u32::from(few[usize::from(node.column) % FEW_COLUMNS] > node.rank)
                };
                self.walk_trees(step, each);
            }
            None => self.walk_trees(|at| self.step::<false>(at, ranks), each),
        }
    }

    fn walk_trees(&self, step: impl Fn(u32) -> u32, each: impl FnMut(usize, u32, u32)) {
        let mut walks: SmallVec<[Walk; FAR_WALKS]> =
            (0..).zip(&self.trees).map(|(number, Tree { root: at, .. })| Walk { number, row: 0, at: *at }).collect();
        let count = walks.len();
        walks.resize(count.next_multiple_of(WALKS), Walk::NONE);
        self.walk_few(&mut walks, count, self.mean_depth() + MORE_STEPS, |at, _| step(at), each);
    }

    /// The numbers of what the leaves of walks add that are under way already, where there are no sets of categories.
    pub(super) fn walk_on(&self, walks: &mut Vec<Walk>, ranks: &[u16], leaves: &mut [u32]) {
        let step = |at: u32, row: u32| {
            let node = self.nodes[at as usize];
            node.child + u32::from(ranks[row as usize + usize::from(node.column)] > node.rank)
        };
        let steps = (self.mean_depth() + MORE_STEPS).saturating_sub(TOP).max(STRIDE);
        let count = walks.len();
        walks.resize(count.next_multiple_of(WALKS), Walk::NONE);
        self.walk_few(walks, count, steps, step, |number, _, leaf| leaves[number] = leaf);
    }

    /// The same for many walks through one tree: all go a few steps, and where they stand then is asked for, long before
    /// they go on. In groups that each walked to the end, twice as much time was waiting.
    pub(super) fn walk_down(&self, walks: &mut Vec<Walk>, ranks: &[u16], leaves: &mut [u32]) {
        let step = |at: u32, row: u32| {
            let node = self.nodes[at as usize];
            node.child + u32::from(ranks[row as usize + usize::from(node.column)] > node.rank)
        };
        let each = |number: usize, at: u32, leaf| {
            self.fetch(at);
            leaves[number] = leaf;
        };
        self.walk_all(walks, STRIDE, step, each);
    }

    /// Asks for a node.
    #[inline]
    pub(super) fn fetch(&self, at: u32) {
        if let Some(node) = self.nodes.get(at as usize) {
            fetch(node);
        }
    }

    /// Goes so many steps, and from then on [`STRIDE`] at a time with those that are under way still. Of several calls of
    /// `each` for one walk the last one counts.
    fn walk_all(
        &self,
        walks: &mut Vec<Walk>,
        mut steps: usize,
        step: impl Fn(u32, u32) -> u32,
        mut each: impl FnMut(usize, u32, u32),
    ) {
        // Walks that are not at a leaf yet; behind them what is left of those that were.
        let (mut count, none) = (walks.len(), Walk::NONE);
        walks.resize(count.next_multiple_of(WALKS), none);
        while count > 0 {
            let mut left = 0;
            for start in (0..count).step_by(WALKS) {
                let group: [Walk; WALKS] = *walks[start..].first_chunk().unwrap_or(&[none; WALKS]);
                let (mut ats, rows) = (group.map(|walk| walk.at), group.map(|walk| walk.row));
                for _ in 0..steps {
                    for (at, row) in ats.iter_mut().zip(rows) {
                        *at = step(*at, row);
                    }
                }
                for (walk, at) in group.into_iter().zip(ats).take(count - start) {
                    let node = self.nodes[at as usize];
                    let has_arrived = node.child == at;
                    // Without a branch, which would be taken wrongly half of the time.
                    each(walk.number as usize, at, std::hint::select_unpredictable(has_arrived, node.number(), 0));
                    walks[left] = Walk { at, ..walk };
                    left += usize::from(!has_arrived);
                }
            }
            (count, steps) = (left, STRIDE);
        }
    }

    /// The same of few walks, for which who has arrived is looked at after all have gone. Of walks by the thousand each group
    /// has its look while it is in the first cache: batches of some forests took up to a third longer like this.
    ///
    /// `walks` are so many, and others behind them to a multiple of [`WALKS`].
    fn walk_few(
        &self,
        walks: &mut [Walk],
        mut count: usize,
        mut steps: usize,
        step: impl Fn(u32, u32) -> u32,
        mut each: impl FnMut(usize, u32, u32),
    ) {
        // The first ones are not at a leaf yet; behind them is what is left of those that were.
        let is_far = size_of_val(self.nodes.as_slice()) > NEAR;
        while count > 0 {
            if is_far {
                for group in walks[..count].chunks_mut(FAR_WALKS) {
                    for _ in 0..steps {
                        for walk in &mut *group {
                            walk.at = step(walk.at, walk.row);
                            self.fetch(walk.at);
                        }
                    }
                }
            } else {
                for group in walks[..count.next_multiple_of(WALKS)].as_chunks_mut::<WALKS>().0 {
                    let (mut ats, rows) = (group.map(|walk| walk.at), group.map(|walk| walk.row));
                    for _ in 0..steps {
                        for (at, row) in ats.iter_mut().zip(rows) {
                            *at = step(*at, row);
                        }
                    }
                    group.iter_mut().zip(ats).for_each(|(walk, at)| walk.at = at);
                }
            }
            let mut left = 0;
            for number in 0..count {
                let walk = walks[number];
                let node = self.nodes[walk.at as usize];
                let has_arrived = node.child == walk.at;
                // Without a branch, which would be taken wrongly half of the time.
                each(walk.number as usize, walk.at, std::hint::select_unpredictable(has_arrived, node.number(), 0));
                walks[left] = walk;
                left += usize::from(!has_arrived);
            }
            (count, steps) = (left, STRIDE);
        }
    }

    /// The leaf of one tree for [`WALKS`] rows, whose ranks are `columns` each.
    pub(super) fn leaves_of_tree(&self, tree: usize, ranks: &[u16], columns: usize) -> [u32; WALKS] {
        if self.has_sets() {
            self.walk_rows::<true>(tree, ranks, columns)
        } else {
            self.walk_rows::<false>(tree, ranks, columns)
        }
    }

    fn walk_rows<const SETS: bool>(&self, tree: usize, ranks: &[u16], columns: usize) -> [u32; WALKS] {
        let mut at = [self.trees[tree].root; WALKS];
        loop {
            for _ in 0..STRIDE {
                for (at, row) in at.iter_mut().zip(ranks.chunks_exact(columns)) {
                    *at = self.step::<SETS>(*at, row);
                }
            }
            if at.iter().all(|at| self.nodes[*at as usize].child == *at) {
                return at;
            }
        }
    }

    #[inline]
    fn step<const SETS: bool>(&self, at: u32, ranks: &[u16]) -> u32 {
        let node = self.nodes[at as usize];
        let column = usize::from(node.column);
        if SETS && column >= self.first_of_categories {
            return node.child + u32::from(!self.is_in_set(column, node.rank, ranks));
        }
        node.child + u32::from(ranks[column] > node.rank)
    }

    /// Without a branch, which would be taken wrongly often, and would end what other walks do meanwhile.
    #[inline]
    fn step_by_bits(&self, at: u32, ranks: &[u16], starts: &[u32], bits: &[u64]) -> u32 {
        let node = self.nodes[at as usize];
        let (column, rank) = (usize::from(node.column), usize::from(node.rank));
        let is_set = column >= self.first_of_categories;
        let word = std::hint::select_unpredictable(is_set, rank / 64, 0);
        let word = bits.get(starts[column] as usize + word).copied().unwrap_or_default();
        let is_beyond = ranks[column] > node.rank;
        node.child + u32::from(std::hint::select_unpredictable(is_set, word >> (rank % 64) & 1 == 1, is_beyond))
    }

    fn is_in_set(&self, column: usize, rank: u16, ranks: &[u16]) -> bool {
        let category = join_category([ranks[column], ranks[column + 1]]);
        let rule = self.rules_of_columns[(column - self.first_of_categories) / 2][usize::from(rank)];
        let Some(set) = rule.set() else { return false };
        if category == MISSING_CATEGORY {
            return matches!(rule, Rule::CategoriesOrMissing(_));
        }
        // What is no category is beyond the bits of any set.
        let bits = self.sets[set as usize].get((category / 32) as usize);
        bits.is_some_and(|bits| bits >> (category % 32) & 1 == 1)
    }
}

impl Node {
    #[allow(clippy::cast_possible_truncation, reason = "halves")]
    fn new(child: u32, number: u32) -> Self {
        Self { child, column: (number >> 16) as u16, rank: number as u16 }
    }

    fn number(self) -> u32 {
        u32::from(self.column) << 16 | u32::from(self.rank)
    }
}
