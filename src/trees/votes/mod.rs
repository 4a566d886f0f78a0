//! Batches of forests whose leaves say no more than for which outputs their tree votes: votes are counted bit by bit.
//!
//! Trees that grow until each leaf has seen one class have few kinds of leaves, and add one and the same number to an output
//! or nothing. So the sum of an output depends only on how many trees voted for it: a table has the sums that come of adding
//! the number again and again, and they are those of all other ways, whatever was rounded. The kind of leaf that a row comes
//! to has a few bits; each node chooses them for 512 rows at once, from the leaves up. Then they are counted, bit by bit as
//! well.

mod collect;
mod sums;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Sums;
use super::blocks::{MOST_LEAVES, MOST_ROWS, Rows};
use super::columns::Columns;
use super::instructions::{Instructions, Number};
use super::planes::{Costs, Line, Threshold};
use super::search::{Ranker, TILE, Tile};
use super::walk::Forest;

/// Trees that are counted together.
pub(super) const TOGETHER: usize = 8;
/// Bits of their counts, without that which is carried.
pub(super) const LOW: usize = 3;
/// Bits of a kind of leaf, at most.
pub(super) const MOST_BITS: usize = 5;
/// Rows that are scored in batches before votes are counted: the making takes about what they spare so many.
const PATIENCE: usize = 1 << 14;
/// Tiles of a block.
const MOST_TILES: usize = MOST_ROWS / TILE;
/// Tenths of nanoseconds that a row of a tree takes at least otherwise: of large trees, and to add the leaf of small ones.
const DEEP: usize = 60;
const ADDED: usize = 2;
/// From so many rows on a block of bits is faster than other ways.
const FEWEST: usize = 48;

/// What a node chooses: all bits of one kind or of another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Node {
    /// The places of the bits: that by which it is chosen, the first of those who are beyond, of the others, and of where
    /// they go.
    pub(super) places: [u16; 4],
}

/// Trees that are counted together.
#[derive(Debug)]
struct Batch {
    /// Where its nodes end.
    end: usize,
    /// Where the bits of each tree's leaf are found.
    roots: [u16; TOGETHER],
}

/// Batches whose thresholds are found together.
#[derive(Debug)]
struct Group {
    /// Where its thresholds and its batches end.
    thresholds: usize,
    batches: usize,
}

/// All trees.
#[derive(Debug)]
pub(super) struct Votes {
    /// What lanes are: (column, which 255 of its ranks), in order.
    parts: Vec<(u16, u16)>,
    features: usize,
    groups: Vec<Group>,
    thresholds: Vec<Threshold>,
    batches: Vec<Batch>,
    nodes: Vec<Node>,
    /// How many bits a kind has.
    bits: usize,
    /// The place of the bits of the first kind.
    first_kind: usize,
    /// How many places for bits there are.
    places: usize,
    /// How many trees.
    trees: usize,
    sums: sums::Table,
    singles: OnceLock<Ranker<f32>>,
    doubles: OnceLock<Ranker<f64>>,
}

/// The nodes of some trees, one batch: all places are within those that there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ballot<'a> {
    nodes: &'a [Node],
    roots: &'a [u16; TOGETHER],
    bits: usize,
    places: usize,
    kinds: usize,
    /// Bits of a count.
    height: usize,
}

/// Votes of a forest, if its trees vote, made when it is worth it.
#[derive(Debug, Default)]
pub(super) struct Poll {
    made: OnceLock<Option<Votes>>,
    rows: AtomicUsize,
}

impl Poll {
    /// What scores so many rows at once, if it pays.
    pub(super) fn of(
        &self,
        rows: usize,
        forest: &Forest,
        columns: &Columns,
        features: usize,
        sums: &Sums,
    ) -> Option<&Votes> {
        let how = Instructions::best();
        if rows < FEWEST || !how.chooses() {
            return None;
        }
        if self.made.get().is_none() && self.rows.fetch_add(rows, Ordering::Relaxed) + rows < PATIENCE {
            return None;
        }
        let make = || {
            // With as few bits and thresholds as can be.
            let least = Costs { threshold: 0, tree: 0, ..how.costs(MOST_TILES) };
            let pays = forest.splits() * least.choice < others(forest, least, MOST_TILES);
            if pays { Votes::new(forest, columns, features, sums) } else { None }
        };
        let tiles = rows.div_ceil(TILE).next_power_of_two().min(MOST_TILES);
        self.made.get_or_init(make).as_ref().filter(|votes| votes.pay(forest, how.costs(tiles), tiles))
    }

    /// Whether votes are counted by now.
    pub(super) fn is_made(&self) -> bool {
        matches!(self.made.get(), Some(Some(_)))
    }
}

/// What the other ways take for a block of so many tiles, in tenths of nanoseconds, about.
fn others(forest: &Forest, costs: Costs, tiles: usize) -> usize {
    let a_row = if forest.most_leaves() > MOST_LEAVES { DEEP } else { ADDED };
    let steps = if forest.most_leaves() > MOST_LEAVES { 0 } else { forest.splits() * costs.step };
    steps + forest.len() * tiles * TILE * a_row
}

impl Votes {
    /// Whether so many tiles are sooner done than by other ways.
    fn pay(&self, forest: &Forest, costs: Costs, tiles: usize) -> bool {
        // Half of what planes take: a choice reads fewer places, and thresholds were estimated with all that comes with them.
        let ours = self.nodes.len() * self.bits * costs.choice / 2
            + self.thresholds.len() * costs.threshold / 2
            + self.trees * self.sums.kinds() * costs.choice;
        ours < others(forest, costs, tiles)
    }

    /// Puts the sums of rows into `scores`, of as many rows as are many enough; says how many.
    pub(super) fn add(&self, how: Instructions, columns: &Columns, rows: Rows<'_>, scores: &mut [f64]) -> usize {
        let count = scores.len() / self.sums.outputs();
        let (whole, rest) = (count - count % MOST_ROWS, count % MOST_ROWS);
        let count = if rest >= FEWEST || whole == 0 { count } else { whole };
        let scores = &mut scores[..count * self.sums.outputs()];
        match rows {
            Rows::Floats(rows) => {
                let ranker = self.singles.get_or_init(|| Ranker::new(columns, &self.parts, self.features, false));
                self.add_rows(how, ranker, &rows[..count * self.features], scores);
            }
            Rows::Doubles(rows) => {
                let ranker = self.doubles.get_or_init(|| Ranker::new(columns, &self.parts, self.features, false));
                self.add_rows(how, ranker, &rows[..count * self.features], scores);
            }
        }
        count
    }

    fn add_rows<T: Number>(&self, how: Instructions, ranker: &Ranker<T>, rows: &[T], scores: &mut [f64]) {
        let outputs = self.sums.outputs();
        let whole = scores.len() / outputs / MOST_ROWS * MOST_ROWS;
        let (rows, rest) = rows.split_at(whole * self.features);
        let (scores, scores_of_rest) = scores.split_at_mut(whole * outputs);
        if whole > 0 {
            self.add_tiles::<MOST_TILES, T>(how, ranker, rows, scores);
        }
        match (scores_of_rest.len() / outputs).div_ceil(TILE) {
            0 => {}
            1 => self.add_tiles::<1, T>(how, ranker, rest, scores_of_rest),
            2 => self.add_tiles::<2, T>(how, ranker, rest, scores_of_rest),
            3..=4 => self.add_tiles::<4, T>(how, ranker, rest, scores_of_rest),
            _ => self.add_tiles::<MOST_TILES, T>(how, ranker, rest, scores_of_rest),
        }
    }

    /// The same in blocks of so many tiles, of which the last may be less.
    fn add_tiles<const TILES: usize, T: Number>(
        &self,
        how: Instructions,
        ranker: &Ranker<T>,
        rows: &[T],
        scores: &mut [f64],
    ) {
        let kinds = self.sums.kinds();
        let height = LOW + self.trees.checked_ilog2().map_or(0, |bits| bits as usize + 1).saturating_sub(LOW);
        let mut lanes = vec![Tile([0; TILE]); self.parts.len() * TILES];
        let mut lines = self.lines::<TILES>();
        let mut counts = vec![Line([0; 8]); (kinds - 1) * height];
        let blocks = rows.chunks(TILES * TILE * self.features);
        for (rows, scores) in blocks.zip(scores.chunks_mut(TILES * TILE * self.sums.outputs())) {
            for (number, rows) in rows.chunks(TILE * self.features).enumerate() {
                T::rank_tile(how, ranker, rows, &mut lanes, (number, TILES), &mut []);
            }
            counts.fill(Line([0; 8]));
            let (mut thresholds, mut batches, mut nodes) = (0, 0, 0);
            for group in &self.groups {
                how.compare::<TILES>(&self.thresholds[thresholds..group.thresholds], lanes.as_chunks().0, &mut lines);
                for Batch { end, roots } in &self.batches[batches..group.batches] {
                    let nodes_of_batch = &self.nodes[nodes..*end];
                    let (bits, places) = (self.bits, self.places);
                    let ballot = Ballot { nodes: nodes_of_batch, roots, bits, places, kinds, height };
                    how.vote::<TILES>(ballot, &mut lines, &mut counts);
                    nodes = *end;
                }
                (thresholds, batches) = (group.thresholds, group.batches);
            }
            self.sums.put(&counts, self.trees, scores);
        }
    }

    /// Places for bits, with those of the kinds.
    fn lines<const TILES: usize>(&self) -> Vec<Line> {
        let mut lines = vec![Line([0; 8]); (self.places * TILES).div_ceil(8)];
        for (kind, bit) in (0..self.sums.kinds()).flat_map(|kind| (0..self.bits).map(move |bit| (kind, bit))) {
            let place = self.first_kind + kind * self.bits + bit;
            for word in place * TILES..(place + 1) * TILES {
                lines[word / 8].0[word % 8] = if kind >> bit & 1 == 1 { u64::MAX } else { 0 };
            }
        }
        lines
    }
}

impl<'a> Ballot<'a> {
    /// Those that need no other first.
    pub(super) fn nodes(&self) -> &'a [Node] {
        self.nodes
    }

    /// Where the bits of each tree's leaf are.
    pub(super) fn roots(&self) -> &'a [u16; TOGETHER] {
        self.roots
    }

    /// How many bits a kind has: the places of the others follow the first.
    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    /// How many places there are: all others are less.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// How many kinds there are; the first one is not counted.
    pub(super) fn kinds(&self) -> usize {
        self.kinds
    }

    /// How many bits of each count there are, [`LOW`] at least.
    pub(super) fn height(&self) -> usize {
        self.height
    }
}
