//! Large trees for many rows: the top of a tree, of up to 256 exits, looks at whole blocks of rows, as in `blocks`. Then rows
//! are sorted by where they left it, and all rows of an exit go through the chunk of nodes behind it; or those of a block walk
//! from there on (`few`).
//!
//! A chunk's nodes are in registers, and what each of them compares of a row is looked up at once: 63 bits say who is
//! beyond, and are followed from the root for eight rows side by side. What is below a chunk is walked.

mod few;
mod layout;
mod sums;

use std::ops::Range;
use std::sync::OnceLock;

use super::blocks::{MOST_ROWS, Rows};
use super::columns::Columns;
use super::instructions::{Instructions, Number};
use super::search::{MOST_RANKS, Ranker, TILE, Tile};
use super::walk::{Forest, Walk};
pub(super) use layout::{CHUNK, EXIT};
use layout::{Chunk, Cut, Layout, MOST_EXITS};
use sums::TOGETHER;
pub(super) use sums::{Found, Sums};

/// From this many rows on tops are faster than walks from the roots.
pub(super) const FEWEST: usize = 16;
/// From one row for so many leaves of a tree on, within these bounds, chunks are faster. Fewer rows walk from the tops on.
const LEAVES_A_ROW: usize = 8;
/// Tests have chunks that end in walks among small ones.
const MANY: [usize; 2] = [128, if cfg!(test) { 512 } else { 1 << 12 }];
/// Rows that go through a tree before the next one has its turn: the more, the more of them share a chunk. Two bytes number
/// them.
const MOST: usize = 1 << 13;
/// Bytes of their ranks, sums and leaves, at most, unless there are fewer rows than in a block: they are to stay in the second
/// cache. Of 300 trees with ten classes, 5,000 rows at once took a tenth longer than 3,500.
const MOST_BYTES: usize = 1 << 20;
/// Tiles of a block.
const TILES: usize = MOST_ROWS / TILE;
/// Ranks of a row, as they are loaded in vectors of up to 32: with more there are no chunks.
const WIDTHS: [usize; 4] = [16, 32, 64, 128];

/// Nodes of a chunk as kernels take them; what follows its own is of others, to which no way leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nodes<'a> {
    pub(super) columns: &'a [u16; CHUNK],
    pub(super) ranks: &'a [u16; CHUNK],
    pub(super) lefts: &'a [u8; CHUNK],
    pub(super) rights: &'a [u8; CHUNK],
    pub(super) count: u8,
    pub(super) depth: u8,
}

/// Ranks of rows, one row after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranks<'a> {
    pub(super) all: &'a [u16],
    /// Ranks of a row.
    pub(super) width: usize,
}

/// All trees, and how rows get what they compare.
#[derive(Debug)]
pub(super) struct Deep {
    how: Instructions,
    layout: Layout,
    /// What lanes of the tops are: (column, which 255 of its ranks), in order.
    parts: Vec<(u16, u16)>,
    features: usize,
    /// Ranks of a row.
    width: usize,
    has_chunks: bool,
    singles: OnceLock<Ranker<f32>>,
    doubles: OnceLock<Ranker<f64>>,
}

/// Room for what is known of the rows in one tree.
struct Scratch {
    stands: Vec<Tile>,
    /// Rows by where they stand.
    order: Vec<u16>,
    codes: Vec<u8>,
    /// Rows that walk, and from where.
    walks: Vec<Walk>,
}

impl Deep {
    /// Nothing if trees know categories, or have too many nodes. Without `has_chunks` it takes little time and memory, and
    /// all rows walk from the tops on.
    pub(super) fn new(
        how: Instructions,
        forest: &Forest,
        columns: &Columns,
        features: usize,
        has_chunks: bool,
    ) -> Option<Self> {
        if forest.has_sets() {
            return None;
        }
        let padded = WIDTHS.into_iter().find(|width| has_chunks && *width >= columns.len());
        let has_chunks = how.follows_chunks() && padded.is_some();
        let (mut layout, places) = Layout::new(forest, has_chunks)?;
        let mut parts: Vec<(u16, u16)> = places.iter().map(|place| (place.column, place.rank / MOST_RANKS)).collect();
        parts.sort_unstable();
        parts.dedup();
        for (step, place) in layout.steps.iter_mut().zip(places) {
            let lane = parts.binary_search(&(place.column, place.rank / MOST_RANKS)).ok()?;
            step.lane = u32::try_from(lane).ok()?;
            step.rank = u8::try_from(place.rank % MOST_RANKS).ok()?;
        }
        let (width, singles, doubles) = (padded.unwrap_or(columns.len()), OnceLock::new(), OnceLock::new());
        Some(Self { how, layout, parts, features, width, has_chunks, singles, doubles })
    }

    /// From how many rows on they share chunks.
    pub(super) fn many(forest: &Forest) -> usize {
        let leaves = forest.splits() / forest.len().max(1);
        (leaves / LEAVES_A_ROW).clamp(MANY[0], MANY[1])
    }

    /// Whether rows with so many columns of ranks can go through chunks.
    pub(super) fn follows_chunks(how: Instructions, columns: usize) -> bool {
        how.follows_chunks() && WIDTHS.iter().any(|width| *width >= columns)
    }

    /// How many rows with so many columns of ranks go through a tree's chunks before the next one.
    pub(super) fn most_rows(columns: usize, outputs: usize) -> usize {
        let ranks = size_of::<u16>() * WIDTHS.into_iter().find(|width| *width >= columns).unwrap_or(columns);
        let bytes = ranks + size_of::<f64>() * outputs + size_of::<u32>() * TOGETHER;
        (MOST_BYTES / bytes).clamp(MOST_ROWS, MOST)
    }

    /// Adds the leaves of rows to their sums, as many as go through a tree at once; says how many.
    pub(super) fn add(&self, columns: &Columns, rows: Rows<'_>, mut sums: Sums<'_>) -> usize {
        let is_many = self.has_chunks && sums.count() >= Self::many(sums.forest());
        let most = if is_many { Self::most_rows(columns.len(), sums.outputs()) } else { MOST_ROWS };
        let count = sums.keep(most);
        match rows {
            Rows::Floats(rows) => {
                let ranker = self.singles.get_or_init(|| Ranker::new(columns, &self.parts, self.features, true));
                self.add_rows(ranker, columns, &rows[..count * self.features], sums);
            }
            Rows::Doubles(rows) => {
                let ranker = self.doubles.get_or_init(|| Ranker::new(columns, &self.parts, self.features, true));
                self.add_rows(ranker, columns, &rows[..count * self.features], sums);
            }
        }
        count
    }

    fn add_rows<T: Number>(&self, ranker: &Ranker<T>, columns: &Columns, rows: &[T], sums: Sums<'_>) {
        let count = rows.len() / self.features;
        if self.has_chunks && count >= Self::many(sums.forest()) {
            return self.add_many(ranker, columns, rows, sums);
        }
        match count.div_ceil(TILE) {
            0..=1 => self.add_few::<1, T>(ranker, columns, rows, sums),
            2 => self.add_few::<2, T>(ranker, columns, rows, sums),
            3..=4 => self.add_few::<4, T>(ranker, columns, rows, sums),
            _ => self.add_few::<TILES, T>(ranker, columns, rows, sums),
        }
    }

    fn add_many<T: Number>(&self, ranker: &Ranker<T>, columns: &Columns, rows: &[T], mut sums: Sums<'_>) {
        let count = rows.len() / self.features;
        let (lanes, all) = self.rank::<TILES, T>(ranker, columns, rows);
        let ranks = Ranks { all: &all, width: self.width };
        let mut scratch = Scratch {
            stands: vec![Tile([0; TILE]); count.div_ceil(MOST_ROWS) * TILES],
            order: vec![0; count],
            codes: vec![0; count],
            walks: Vec::new(),
        };
        let (forest, together) = (sums.forest(), sums.together());
        let mut found = vec![0; count * together.min(self.layout.cuts.len())];
        let (mut first_step, mut first_exit, mut tree) = (0, 0, 0);
        for cuts in self.layout.cuts.chunks(together) {
            for (Cut { steps, exits }, found) in cuts.iter().zip(found.chunks_exact_mut(count)) {
                // Without any lane there are no tops, and all rows stand at a tree's one exit.
                let lanes = lanes.chunks_exact((self.parts.len() * TILES).max(1));
                for (stands, lanes) in scratch.stands.as_chunks_mut().0.iter_mut().zip(lanes) {
                    let steps = &self.layout.steps[first_step..*steps];
                    self.how.descend::<TILES, false>(steps, lanes.as_chunks().0, stands);
                }
                self.leave(forest, first_exit..*exits, ranks, &mut scratch, found);
                forest.walk_down(&mut scratch.walks, &all, found);
                (first_step, first_exit) = (*steps, *exits);
            }
            sums.add(self.how, tree, &found[..count * cuts.len()]);
            tree += cuts.len();
        }
    }

    /// The bytes of rows in lanes, block after block, and their ranks, row after row.
    fn rank<const TILES: usize, T: Number>(
        &self,
        ranker: &Ranker<T>,
        columns: &Columns,
        rows: &[T],
    ) -> (Vec<Tile>, Vec<u16>) {
        let count = rows.len() / self.features;
        let of_block = self.parts.len() * TILES;
        let mut lanes = vec![Tile([0; TILE]); of_block * count.div_ceil(TILES * TILE)];
        let mut all = vec![0; count * self.width];
        let zeros = columns.zeros();
        let mut found = vec![[0; TILE]; columns.len() - zeros];
        let tiles = rows.chunks(TILE * self.features).zip(all.chunks_mut(TILE * self.width));
        for (number, (rows, ranks)) in tiles.enumerate() {
            let lanes = &mut lanes[number / TILES * of_block..][..of_block];
            T::rank_tile(self.how, ranker, rows, lanes, (number % TILES, TILES), &mut found);
            for (column, found) in (zeros..).zip(&found) {
                for (ranks, rank) in ranks.chunks_exact_mut(self.width).zip(found) {
                    ranks[column] = *rank;
                }
            }
        }
        (lanes, all)
    }

    /// The leaves of the rows that come to one from these exits of a tree's top, where they stand; the others are to walk.
    #[allow(clippy::cast_possible_truncation, reason = "columns are numbered by 16 bits")]
    fn leave(&self, forest: &Forest, exits: Range<usize>, ranks: Ranks<'_>, scratch: &mut Scratch, found: &mut [u32]) {
        let Scratch { stands, order, codes, walks } = scratch;
        let ends = sort(stands, order);
        let width = self.width as u32;
        let walk = |row: u16, at| Walk { number: row.into(), row: u32::from(row) * width, at };
        // One more, where what is no walk is put last.
        walks.resize(order.len() + 1, walk(0, 0));
        let (mut start, mut count) = (0, 0);
        for (exit, end) in self.layout.exits[exits].iter().zip(ends) {
            let rows = &order[start..end as usize];
            start = end as usize;
            let chunk = match exit.leaf() {
                Ok(leaf) => {
                    for row in rows {
                        found[usize::from(*row)] = leaf;
                    }
                    continue;
                }
                Err(chunk) => self.layout.chunks[chunk as usize],
            };
            self.layout.fetch_after(chunk);
            let Some(nodes) = self.nodes(chunk).filter(|_| !rows.is_empty()) else { continue };
            let codes = &mut codes[..rows.len()];
            self.how.follow(nodes, rows, ranks, codes);
            let ends = &self.layout.ends[chunk.first_exit as usize..][..CHUNK];
            if !chunk.has_walks {
                for (row, code) in rows.iter().zip(codes) {
                    found[usize::from(*row)] = ends[usize::from(*code) % CHUNK].number().0;
                }
                continue;
            }
            for (row, code) in rows.iter().zip(codes) {
                // Without a branch on what it is, which would be taken wrongly half of the time; walks write again.
                let (number, goes_on) = ends[usize::from(*code) % CHUNK].number();
                found[usize::from(*row)] = number;
                walks[count] = walk(*row, number);
                forest.fetch(std::hint::select_unpredictable(goes_on, number, chunk.at));
                count += usize::from(goes_on);
            }
        }
        walks.truncate(count);
    }

    fn nodes(&self, chunk: Chunk) -> Option<Nodes<'_>> {
        let Chunk { first, nodes: count, depth, .. } = chunk;
        let (first, layout) = (first as usize, &self.layout);
        Some(Nodes {
            columns: layout.columns.get(first..)?.first_chunk()?,
            ranks: layout.ranks.get(first..)?.first_chunk()?,
            lefts: layout.lefts.get(first..)?.first_chunk()?,
            rights: layout.rights.get(first..)?.first_chunk()?,
            count,
            depth,
        })
    }
}

/// Puts the numbers of rows into the order of where they stand; says where those of each stand end.
#[allow(clippy::cast_possible_truncation, reason = "there are no more rows than that")]
fn sort(stands: &[Tile], order: &mut [u16]) -> [u32; MOST_EXITS] {
    let count = order.len();
    // Four counts of each, as neighbours often stand at the same exit, and would wait for each other.
    let mut counts = [[0_u32; MOST_EXITS]; 4];
    for (first, tile) in (0..count).step_by(TILE).zip(stands) {
        for (row, stand) in (first..count).zip(&tile.0) {
            counts[row % 4][usize::from(*stand)] += 1;
        }
    }
    let (mut places, mut sum) = ([0; MOST_EXITS], 0);
    for (stand, place) in places.iter_mut().enumerate() {
        *place = sum;
        sum += counts.iter().map(|counts| counts[stand]).sum::<u32>();
    }
    for (first, tile) in (0..count).step_by(TILE).zip(stands) {
        for (row, stand) in (first..count).zip(&tile.0) {
            let place = &mut places[usize::from(*stand)];
            order[*place as usize] = row as u16;
            *place += 1;
        }
    }
    places
}
