//! Batches go through trees bit by bit: a vector has one bit of each of up to 512 rows.
//!
//! Which rows are beyond a threshold is found once for all nodes that ask for it. The bits of the number of the leaf where a
//! row comes to are chosen by these from the leaves up (`coding`), all rows at once: a tree of 171 leaves takes 160
//! instructions for 512 rows, where steps of blocks take 4,000. Then bits become bytes.

use super::blocks::Step;
use super::coding::{BITS, Choice, FOUND, ONES, code};
use super::instructions::Instructions;
use super::search::{TILE, Tile};

/// The place of the first threshold's bits.
pub(super) const FIRST: usize = ONES as usize + 1;
/// Thresholds whose bits are kept at a time: they are to stay in the second cache.
const MOST: usize = 4096;
/// Bytes of planes for each node of the trees: with these, all that a model has made for rows alone and for batches is 32 bytes
/// for each. Trees of depth 8 take 4. Those of 255 leaves that grew leaf by leaf take 9, and go by steps.
const BYTES_OF_NODE: usize = 5;
/// Numbers of the smallest table of leaves, as vectors are loaded whole.
const LEAST: usize = 64;

/// Words of bits. A place has one for each tile of a block, side by side, and no place is in two lines.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Line(pub(super) [u64; 8]);

/// What a row is beyond, or not: a lane, and the largest byte of it that is not beyond, in the lowest bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Threshold(u32);

/// All trees.
#[derive(Debug)]
pub(super) struct Planes {
    /// Trees whose thresholds are found together.
    groups: Vec<Group>,
    thresholds: Vec<Threshold>,
    choices: Vec<Choice>,
    trees: Vec<Tree>,
    leaves: Vec<u8>,
    /// Those of them with more than [`LEAST`] leaves' numbers.
    wide_trees: usize,
    /// How many nodes there are.
    steps: usize,
    /// How many places for bits there are.
    places: usize,
}

#[derive(Debug)]
struct Group {
    first_tree: usize,
    /// Where its thresholds end.
    end: usize,
}

#[derive(Debug)]
struct Tree {
    /// Where its choices end.
    end: usize,
    planes: [u16; BITS],
    /// Where its leaves end.
    leaves: usize,
}

/// The choices of a tree: all places are within those that there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a> {
    choices: &'a [Choice],
    planes: &'a [u16; BITS],
    leaves: &'a [u8],
    places: usize,
}

/// What parts of ways through trees take, in tenths of nanoseconds, about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// A step of a block.
    pub(super) step: usize,
    pub(super) choice: usize,
    pub(super) threshold: usize,
    /// Bytes of bits, of trees with 64 numbers of leaves, and with more.
    pub(super) tree: usize,
    pub(super) wide_tree: usize,
}

/// A block of rows on its way through the trees.
pub(super) struct Run<'a> {
    planes: &'a Planes,
    groups: std::slice::Iter<'a, Group>,
    /// Of the next group.
    first_tree: usize,
    /// Where the thresholds of the group end, and the choices and leaves of the last tree.
    thresholds: usize,
    choices: usize,
    leaves: usize,
    lines: Vec<Line>,
}

impl Planes {
    /// The trees of these steps, which end at `ends`, and look at so many lanes. Nothing if they are no such trees.
    pub(super) fn new(steps: &[Step], ends: &[usize], lanes: usize) -> Option<Self> {
        // Where the bits of a threshold are, if it has some already.
        let mut places = vec![0_u16; lanes * usize::from(u8::MAX)];
        let place_of = |step: &Step| step.lane as usize * usize::from(u8::MAX) + usize::from(step.rank);
        let (mut groups, mut thresholds, mut start) = (Vec::<Group>::new(), Vec::new(), 0);
        let (mut choices, mut trees, mut leaves) = (Vec::new(), Vec::with_capacity(ends.len()), Vec::new());
        let (mut of_group, mut most_thresholds, mut most_found, mut by) = (Vec::new(), 0, 0, Vec::new());
        let mut wide_trees = 0;
        for (tree, end) in ends.iter().enumerate() {
            let steps = steps.get(start..*end)?;
            start = *end;
            if groups.is_empty() || of_group.len() + steps.len() > MOST {
                of_group.drain(..).for_each(|place: usize| places[place] = 0);
                groups.push(Group { first_tree: tree, end: 0 });
            }
            by.clear();
            for step in steps {
                let place = place_of(step);
                let known = places.get_mut(place)?;
                if *known == 0 {
                    *known = u16::try_from(FIRST + of_group.len()).ok()?;
                    of_group.push(place);
                    thresholds.push(Threshold::new(step.lane as usize, step.rank)?);
                }
                by.push(*known);
            }
            let coded = code(steps, &by)?;
            let most = coded.choices.iter().map(|choice| usize::from(choice.places[3] - FOUND) + 1).max();
            most_found = most_found.max(most.unwrap_or_default());
            most_thresholds = most_thresholds.max(of_group.len());
            wide_trees += usize::from(coded.leaves.len() > LEAST);
            choices.extend(coded.choices);
            leaves.extend(coded.leaves.iter().cycle().take(coded.leaves.len().max(LEAST)));
            trees.push(Tree { end: choices.len(), planes: coded.planes, leaves: leaves.len() });
            groups.last_mut()?.end = thresholds.len();
        }
        let found = FIRST + most_thresholds;
        let all = found + most_found;
        let settle = |place: &mut u16| {
            if *place >= FOUND {
                *place = u16::try_from(found + usize::from(*place - FOUND)).ok()?;
            }
            // What kernels rely on.
            (usize::from(*place) < all).then_some(())
        };
        choices.iter_mut().flat_map(|choice| &mut choice.places).try_for_each(settle)?;
        trees.iter_mut().flat_map(|tree| &mut tree.planes).try_for_each(settle)?;
        Some(Self { groups, thresholds, choices, trees, leaves, wide_trees, steps: start, places: all })
    }

    /// Whether they take no more memory than they may.
    pub(super) fn fit(&self) -> bool {
        let taken = size_of_val(&self.choices[..]) + self.leaves.len() + size_of_val(&self.trees[..]);
        taken <= BYTES_OF_NODE * (2 * self.steps + self.trees.len())
    }

    /// Whether so many tiles are sooner done than by steps of blocks.
    pub(super) fn pay(&self, how: Instructions, tiles: usize) -> bool {
        let Costs { step, choice, threshold, tree, wide_tree } = how.costs(tiles);
        let ours = self.choices.len() * choice
            + self.thresholds.len() * threshold
            + (self.trees.len() - self.wide_trees) * tree
            + self.wide_trees * wide_tree;
        ours < self.steps * step
    }

    /// The start of a block's way.
    pub(super) fn start<const TILES: usize>(&self) -> Run<'_> {
        let mut lines = vec![Line([0; 8]); (self.places * TILES).div_ceil(8)];
        // Nothing is ever put into these places, nor into those before, which are zeros.
        for word in (0..TILES).map(|tile| usize::from(ONES) * TILES + tile) {
            lines[word / 8].0[word % 8] = u64::MAX;
        }
        let groups = self.groups.iter();
        Run { planes: self, groups, first_tree: 0, thresholds: 0, choices: 0, leaves: 0, lines }
    }
}

impl Threshold {
    /// Nothing if there are too many lanes.
    pub(super) fn new(lane: usize, rank: u8) -> Option<Self> {
        let lane = u32::try_from(lane).ok().filter(|lane| *lane <= u32::MAX >> u8::BITS)?;
        Some(Self(lane << u8::BITS | u32::from(rank)))
    }

    #[inline]
    pub(super) fn lane(self) -> usize {
        (self.0 >> u8::BITS) as usize
    }

    #[inline]
    pub(super) fn rank(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

impl Run<'_> {
    /// Where rows stand in a tree: of one tree after the other.
    pub(super) fn descend<const TILES: usize>(
        &mut self,
        how: Instructions,
        tree: usize,
        lanes: &[[Tile; TILES]],
        stands: &mut [Tile; TILES],
    ) {
        let planes = self.planes;
        if tree == self.first_tree
            && let Some(group) = self.groups.next()
        {
            how.compare(&planes.thresholds[self.thresholds..group.end], lanes, &mut self.lines);
            self.thresholds = group.end;
            self.first_tree = self.groups.as_slice().first().map_or(usize::MAX, |group| group.first_tree);
        }
        let Tree { end, planes: of_tree, leaves } = &planes.trees[tree];
        let way = Way {
            choices: &planes.choices[self.choices..*end],
            planes: of_tree,
            leaves: &planes.leaves[self.leaves..*leaves],
            places: planes.places,
        };
        how.choose(way, &mut self.lines, stands);
        (self.choices, self.leaves) = (*end, *leaves);
    }
}

impl<'a> Way<'a> {
    /// What is chosen, one after the other.
    pub(super) fn choices(&self) -> &'a [Choice] {
        self.choices
    }

    /// Where the bits of the leaf's number are, the lowest first.
    pub(super) fn planes(&self) -> &'a [u16; BITS] {
        self.planes
    }

    /// Leaves by these numbers: 64, 128 or 256.
    pub(super) fn leaves(&self) -> &'a [u8] {
        self.leaves
    }

    /// How many places there are: all others are less.
    pub(super) fn places(&self) -> usize {
        self.places
    }
}

const _: () = assert!(TILE == u64::BITS as usize, "a tile has a bit in a word for each row");
const _: () = assert!(FIRST + MOST < FOUND as usize, "places of thresholds are not those of what is found");
