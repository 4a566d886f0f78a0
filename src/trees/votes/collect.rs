//! Trees as nodes that choose kinds of leaves.

use std::sync::OnceLock;

use super::super::Sums;
use super::super::coding::FOUND;
use super::super::columns::{Columns, Place};
use super::super::planes::{FIRST, Threshold};
use super::super::search::MOST_RANKS;
use super::super::walk::{Forest, Seen};
use super::sums::Kinds;
use super::{Batch, Group, MOST_BITS, Node, TOGETHER, Votes};

/// Thresholds whose bits are kept at a time: they are to stay in the second cache.
const MOST: usize = 4096;
/// Sums that a table may have in any case.
const FEW_SUMS: usize = 1 << 14;
/// Nodes that are put in order together: the more, the fewer wait for the one before, and the more of the first cache is
/// taken by what they find.
const IN_ORDER: usize = 64;
/// From [`FOUND`] on places are of kinds and, from here on, of what nodes find, both by their numbers until it is known how
/// many bits a kind has. First are the roots' of a batch.
const CHOSEN: u16 = FOUND + (1 << MOST_BITS);

/// Nodes of some trees, as they are met from the roots down.
#[derive(Default)]
struct Drafts {
    nodes: Vec<Draft>,
    /// Of each how many there are in its subtree, and how many are on the longest way down.
    sizes: Vec<u32>,
    heights: Vec<u32>,
    /// What is put in order together.
    below: Vec<u32>,
    above: Vec<u32>,
    ends: Vec<u32>,
    order: Vec<u32>,
    /// Places that are not needed any more.
    free: Vec<u16>,
    /// The place behind the last.
    most: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Draft {
    by: u16,
    /// Where the bits of those who are beyond, of the others, and its own are.
    places: [u16; 3],
    /// The draft that needs it, and whether as beyond or otherwise; a root has none.
    parent: (u32, u8),
}

/// No parent.
const NONE: u32 = u32::MAX;

/// Thresholds of the trees in turn.
#[derive(Default)]
struct Thresholds {
    /// Of each column, the lanes of its parts.
    lanes: Vec<Vec<u32>>,
    /// Where the bits of a threshold are, if it has some already.
    known: Vec<u16>,
    of_group: Vec<usize>,
    all: Vec<Threshold>,
    most: usize,
}

impl Votes {
    /// Nothing if leaves are more than votes, or trees know categories.
    pub(in super::super) fn new(forest: &Forest, columns: &Columns, features: usize, sums: &Sums) -> Option<Self> {
        if forest.has_sets() || forest.len() == 0 {
            return None;
        }
        let trees = usize::from(u16::try_from(forest.len()).ok()?);
        // Thousands of outputs for trees of a leaf or two: there would be more sums than nodes.
        if sums.start.len() * (trees + 1) > forest.nodes().max(FEW_SUMS) {
            return None;
        }
        let (mut thresholds, parts) = Thresholds::new(forest, columns.len())?;
        let (mut kinds, mut drafts) = (Kinds::new(sums.start.len()), Drafts::default());
        let (mut groups, mut batches) = (Vec::<Group>::new(), Vec::<Batch>::new());
        let (mut nodes, mut path, mut first_node) = (Vec::<Node>::with_capacity(forest.splits()), Vec::new(), 0);
        let roots: Vec<u32> = forest.roots().collect();
        for (first, roots) in (0..).step_by(TOGETHER).zip(roots.chunks(TOGETHER)) {
            let mut batch = Batch { end: 0, roots: [FOUND; TOGETHER] };
            if groups.is_empty() || thresholds.of_group.len() > MOST {
                thresholds.finish(&mut nodes[first_node..])?;
                first_node = nodes.len();
                groups.push(Group { thresholds: 0, batches: 0 });
            }
            drafts.free.clear();
            let mut next = CHOSEN + u16::try_from(TOGETHER).ok()?;
            for ((tree, root), of_batch) in (first..).zip(roots).zip(&mut batch.roots) {
                let own = CHOSEN + u16::try_from(tree % TOGETHER).ok()?;
                *of_batch = own;
                path.push((*root, (NONE, 0)));
                while let Some((node, parent)) = path.pop() {
                    match forest.see(node) {
                        Seen::Leaf(leaf) => {
                            let kind = kinds.number(forest.values(tree, leaf), forest.output(tree))?;
                            let place = FOUND + u16::try_from(kind).ok()?;
                            match drafts.nodes.get_mut(parent.0 as usize) {
                                Some(draft) => draft.places[usize::from(parent.1)] = place,
                                None => *of_batch = place,
                            }
                        }
                        Seen::Split(place, child) => {
                            let by = thresholds.place(place)?;
                            let number = u32::try_from(drafts.nodes.len()).ok()?;
                            // Only a root knows where its bits go.
                            drafts.nodes.push(Draft { by, places: [0, 0, own], parent });
                            path.push((child, (number, 1)));
                            path.push((child + 1, (number, 0)));
                        }
                    }
                }
                if drafts.nodes.len() >= IN_ORDER {
                    drafts.finish(&mut next, &mut nodes)?;
                }
            }
            drafts.finish(&mut next, &mut nodes)?;
            batch.end = nodes.len();
            batches.push(batch);
            let of_group = thresholds.all.len() + thresholds.of_group.len();
            *groups.last_mut()? = Group { thresholds: of_group, batches: batches.len() };
        }
        thresholds.finish(&mut nodes[first_node..])?;
        thresholds.all.shrink_to_fit();
        let bits = kinds.len().next_power_of_two().ilog2().max(1) as usize;
        let first_kind = FIRST + thresholds.most;
        let first_chosen = first_kind + kinds.len() * bits;
        let places = first_chosen + usize::from(drafts.most - CHOSEN) * bits;
        let settle = |place: &mut u16| {
            let settled = match usize::from(*place).checked_sub(usize::from(CHOSEN)) {
                Some(chosen) => first_chosen + chosen * bits,
                None => first_kind + usize::from(place.checked_sub(FOUND)?) * bits,
            };
            *place = u16::try_from(settled).ok()?;
            // What kernels rely on.
            (settled + bits <= places).then_some(())
        };
        for Node { places: [by, all @ ..] } in &mut nodes {
            (usize::from(*by) < places).then_some(())?;
            all.iter_mut().try_for_each(settle)?;
        }
        batches.iter_mut().flat_map(|batch| &mut batch.roots).try_for_each(settle)?;
        Some(Self {
            parts,
            features,
            groups,
            thresholds: thresholds.all,
            batches,
            nodes,
            bits,
            first_kind,
            places,
            trees,
            sums: kinds.finish(trees, sums)?,
            singles: OnceLock::new(),
            doubles: OnceLock::new(),
        })
    }
}

impl Thresholds {
    /// With what lanes are: columns and which 255 of their ranks, in order.
    fn new(forest: &Forest, columns: usize) -> Option<(Self, Vec<(u16, u16)>)> {
        let (mut lanes, mut path) = (vec![Vec::new(); columns], Vec::new());
        for root in forest.roots() {
            path.push(root);
            while let Some(at) = path.pop() {
                let Seen::Split(place, child) = forest.see(at) else { continue };
                let (lanes, part) = (lanes.get_mut(usize::from(place.column))?, usize::from(place.rank / MOST_RANKS));
                if lanes.len() <= part {
                    lanes.resize(part + 1, u32::MAX);
                }
                lanes[part] = 0;
                path.extend([child, child + 1]);
            }
        }
        let mut parts = Vec::new();
        for (column, lanes) in (0..).zip(&mut lanes) {
            for (part, lane) in (0..).zip(lanes).filter(|(_, lane)| **lane == 0) {
                *lane = u32::try_from(parts.len()).ok()?;
                parts.push((column, part));
            }
        }
        let known = vec![0; parts.len() * usize::from(MOST_RANKS)];
        Some((Self { lanes, known, ..Self::default() }, parts))
    }

    /// The place of the bits of who is beyond.
    fn place(&mut self, place: Place) -> Option<u16> {
        let lane = *self.lanes.get(usize::from(place.column))?.get(usize::from(place.rank / MOST_RANKS))?;
        let at = lane as usize * usize::from(MOST_RANKS) + usize::from(place.rank % MOST_RANKS);
        let known = self.known.get_mut(at)?;
        if *known == 0 {
            *known = u16::try_from(FIRST + self.of_group.len()).ok().filter(|place| *place < FOUND)?;
            self.of_group.push(at);
        }
        Some(*known)
    }

    /// Ends a group of these nodes. Its thresholds are put in the order of lanes: with hundreds of lanes, each threshold had
    /// its own to load from the second cache.
    fn finish(&mut self, nodes: &mut [Node]) -> Option<()> {
        self.most = self.most.max(self.of_group.len());
        self.of_group.sort_unstable();
        let mut moved = vec![0; FIRST + self.of_group.len()];
        for (place, at) in (FIRST..).zip(self.of_group.drain(..)) {
            let (lane, rank) = (at / usize::from(MOST_RANKS), at % usize::from(MOST_RANKS));
            self.all.push(Threshold::new(lane, u8::try_from(rank).ok()?)?);
            moved[usize::from(std::mem::take(&mut self.known[at]))] = u16::try_from(place).ok()?;
        }
        for Node { places: [by, ..] } in nodes {
            *by = moved[usize::from(*by)];
        }
        Some(())
    }
}

impl Drafts {
    /// Appends those that came since the last call to `nodes`, children before their parents: subtrees of up to [`IN_ORDER`]
    /// nodes, or some of them together, then what is above them.
    fn finish(&mut self, next: &mut u16, nodes: &mut Vec<Node>) -> Option<()> {
        self.sizes.clear();
        self.sizes.resize(self.nodes.len(), 1);
        self.heights.clear();
        self.heights.resize(self.nodes.len(), 0);
        // Children come after their parents.
        for number in (0..self.nodes.len()).rev() {
            let (size, height, parent) =
                (self.sizes[number], self.heights[number], self.nodes[number].parent.0 as usize);
            if let (Some(size_of), Some(height_of)) = (self.sizes.get_mut(parent), self.heights.get_mut(parent)) {
                *size_of += size;
                *height_of = (*height_of).max(height + 1);
            }
        }
        let (mut below, mut above, mut number) = (std::mem::take(&mut self.below), std::mem::take(&mut self.above), 0);
        while let Some(size) = self.sizes.get(number) {
            let end = number + *size as usize;
            if *size as usize > IN_ORDER {
                above.push(u32::try_from(number).ok()?);
                number += 1;
                continue;
            }
            below.extend(u32::try_from(number).ok()?..u32::try_from(end).ok()?);
            number = end;
            if below.len() >= IN_ORDER {
                self.put(&mut below, next, nodes)?;
            }
        }
        self.put(&mut below, next, nodes)?;
        self.put(&mut above, next, nodes)?;
        (self.below, self.above) = (below, above);
        self.most = self.most.max(*next);
        self.nodes.clear();
        Some(())
    }

    /// Appends these to `nodes`, first those that need no other of them, then those that need these, and so on: one that needs
    /// that before it waits for memory. What is not needed any more makes room for what comes next.
    fn put(&mut self, some: &mut Vec<u32>, next: &mut u16, nodes: &mut Vec<Node>) -> Option<()> {
        let Self { nodes: drafts, heights, free, ends, order, .. } = self;
        ends.clear();
        for number in some.iter() {
            let height = heights[*number as usize] as usize;
            ends.resize(ends.len().max(height + 1), 0);
            ends[height] += 1;
        }
        let mut sum = 0;
        for end in ends.iter_mut() {
            (*end, sum) = (sum, sum + *end);
        }
        order.clear();
        order.resize(some.len(), 0);
        for number in some.drain(..) {
            let place = &mut ends[heights[number as usize] as usize];
            order[*place as usize] = number;
            *place += 1;
        }
        for number in order.iter() {
            let Draft { by, places: [beyond, otherwise, to], parent } = drafts[*number as usize];
            free.extend([beyond, otherwise].into_iter().filter(|place| *place >= CHOSEN));
            let to = if parent.0 == NONE {
                to
            } else if let Some(place) = free.pop() {
                place
            } else {
                *next = next.checked_add(1)?;
                *next - 1
            };
            if let Some(parent_of) = drafts.get_mut(parent.0 as usize) {
                parent_of.places[usize::from(parent.1)] = to;
            }
            nodes.push(Node { places: [by, beyond, otherwise, to] });
        }
        Some(())
    }
}
