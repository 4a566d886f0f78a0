//! Which sets of categories the numbers of rows are in, so that blocks can go through splits by sets.
//!
//! All splits of a column by sets are known beforehand. Each category that one of the sets names has a bit for each of the
//! splits, in the order of trees: whether it goes right there. Bits of a category are side by side, so that a row that goes
//! through the trees reads them one after the other, from few lines of the caches. For a block of rows, 64 bits of each row
//! become eight lanes of bytes, of which a split looks at one bit (`kernels`).

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use super::columns::{Columns, MISSING_CATEGORY, Place};
use super::search::{Real, TILE, Tile};
use super::tree::Rule;
use super::walk::Forest;

/// Splits of a word.
const WORD: usize = u64::BITS as usize;
/// Lanes of a word.
const LANES: usize = 8;
/// Bytes that the bits may take beside twice those of the sets, which have a bit for each category up to their last.
const MORE_BYTES: usize = 1 << 22;

/// The bits of all columns of categories.
#[derive(Debug)]
pub(super) struct Members {
    columns: Vec<Column>,
    /// Of one column after the other, of one category after the other.
    bits: Vec<u64>,
    fills: Vec<Fill>,
    lanes: usize,
}

/// A column that is split by sets.
#[derive(Debug)]
struct Column {
    /// Its place in the row.
    at: usize,
    /// Where the bits begin of what is in no set, of missing numbers, and of each category.
    nowhere: u32,
    missing: u32,
    starts: Vec<u32>,
    /// Its first lane, and how many words have lanes at a time.
    first_lane: usize,
    held: usize,
}

/// A word that has to be in its lanes before a tree has its turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    pub(super) tree: usize,
    column: usize,
    word: usize,
}

/// Of each column of ranks, where a row's bits begin.
pub(super) type Starts = SmallVec<[u32; 64]>;

/// What a split by a set looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit {
    pub(super) lane: usize,
    pub(super) mask: u8,
}

impl Members {
    /// The bits of the splits whose `places` are about sets, and what each of them looks at; `ends` says where those of each
    /// tree end. Nothing if the bits take much more memory than the sets.
    pub(super) fn new(
        forest: &Forest,
        columns: &Columns,
        places: &[Place],
        ends: &[usize],
    ) -> Option<(Self, Vec<Option<Bit>>)> {
        let first = columns.first_of_categories();
        // Which split of which column.
        let number = |place: &Place| {
            let column = usize::from(place.column).checked_sub(first)? / 2;
            Some((column, usize::from(place.rank)))
        };
        // Of each column the trees that split by it, and which words their bits are in.
        let mut trees: Vec<Vec<(usize, Range<usize>)>> = vec![Vec::new(); columns.categories().len()];
        let mut start = 0;
        for (tree, end) in ends.iter().enumerate() {
            for (column, number) in places[start..*end].iter().filter_map(number) {
                let word = number / WORD;
                match trees[column].last_mut().filter(|(last, _)| *last == tree) {
                    Some((_, words)) => *words = words.start.min(word)..words.end.max(word + 1),
                    None => trees[column].push((tree, word..word + 1)),
                }
            }
            start = *end;
        }
        let (mut made, mut bits, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut fills, mut lanes) = (Vec::new(), 0);
        for (column, (rules, trees)) in forest.rules_of_columns().iter().zip(&trees).enumerate() {
            let held = trees.iter().map(|(_, words)| words.len()).max().unwrap_or(1);
            let at = columns.categories()[column];
            made.push(Column::new(at, rules, forest, (lanes, held), (&mut bits, &mut bytes))?);
            lanes += held * LANES;
            let mut holds = vec![usize::MAX; held];
            for (tree, words) in trees {
                for word in words.clone() {
                    if std::mem::replace(&mut holds[word % held], word) != word {
                        fills.push(Fill { tree: *tree, column, word });
                    }
                }
            }
        }
        fills.sort_by_key(|fill| fill.tree);
        let bit = |(column, number): (usize, usize)| {
            let Column { first_lane, held, .. } = made[column];
            let lane = first_lane + number / WORD % held * LANES + number % WORD / 8;
            Bit { lane, mask: 1 << (number % 8) }
        };
        let found = places.iter().map(|place| number(place).map(bit)).collect();
        Some((Self { columns: made, bits, fills, lanes }, found))
    }

    /// The bits of all columns.
    pub(super) fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// Where the bits of one row begin, at the first of each column's ranks.
    pub(super) fn starts<T: Real>(&self, columns: &Columns, row: &[T]) -> Starts {
        let mut starts = smallvec![0; columns.len()];
        let places = starts[columns.first_of_categories()..].iter_mut().step_by(2);
        for (start, column) in places.zip(&self.columns) {
            *start = column.start(columns.category(row[column.at].into()));
        }
        starts
    }

    /// Lanes that words take at a time.
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Words of all trees, in their order.
    pub(super) fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// Columns that [`Self::find`] looks at.
    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Where the bits of up to 64 rows begin: `starts` has some tiles for each column, of which the one with this number is
    /// written.
    pub(super) fn find<T: Real>(
        &self,
        columns: &Columns,
        (rows, width): (&[T], usize),
        starts: &mut [[u32; TILE]],
        (number, tiles): (usize, usize),
    ) {
        for (column, starts) in self.columns.iter().zip(starts.chunks_exact_mut(tiles)) {
            for (start, row) in starts[number].iter_mut().zip(rows.chunks_exact(width)) {
                *start = column.start(columns.category(row[column.at].into()));
            }
        }
    }

    /// Puts a word of each row into its lanes; `starts` is what [`Self::find`] found.
    pub(super) fn word<'a, const TILES: usize>(
        &'a self,
        fill: Fill,
        starts: &'a [[u32; TILE]],
        lanes: &'a mut [[Tile; TILES]],
    ) -> Option<Word<'a, TILES>> {
        let column = &self.columns[fill.column];
        let first = column.first_lane + fill.word % column.held * LANES;
        let lanes = lanes[first..].first_chunk_mut()?;
        Some(Word { bits: self.bits.get(fill.word..)?, starts: starts[fill.column * TILES..].first_chunk()?, lanes })
    }
}

/// A word of bits of the rows of a block, as kernels take it.
#[derive(Debug)]
pub(super) struct Word<'a, const TILES: usize> {
    /// From that word of the first category on.
    pub(super) bits: &'a [u64],
    /// Where each row's is.
    pub(super) starts: &'a [[u32; TILE]; TILES],
    pub(super) lanes: &'a mut [[Tile; TILES]; LANES],
}

impl Column {
    /// The bits of splits by `rules`. `bytes` are what all columns take.
    fn new(
        at: usize,
        rules: &[Rule],
        forest: &Forest,
        (first_lane, held): (usize, usize),
        (bits, bytes): (&mut Vec<u64>, &mut usize),
    ) -> Option<Self> {
        let mut known: Vec<u32> = Vec::new();
        for rule in rules {
            let set = forest.set(*rule);
            known.resize(known.len().max(set.len()), 0);
            known.iter_mut().zip(set).for_each(|(known, words)| *known |= words);
        }
        let width = rules.len().div_ceil(WORD);
        let count: usize = known.iter().map(|words| words.count_ones() as usize).sum();
        let words = (count + 2).checked_mul(width)?;
        *bytes += words.checked_mul(size_of::<u64>())? + known.len() * u32::BITS as usize * size_of::<u32>();
        if *bytes > forest.bytes_of_sets() * 2 + MORE_BYTES {
            return None;
        }
        let first = bits.len();
        let start = |number: usize| u32::try_from(first + number * width).ok();
        let (nowhere, missing) = (start(0)?, start(1)?);
        let mut starts = vec![nowhere; known.len() * u32::BITS as usize];
        for (number, category) in (2..).zip(members(&known)) {
            starts[category] = start(number)?;
        }
        bits.resize(first + words, u64::MAX);
        for (number, rule) in rules.iter().enumerate() {
            let (word, stays) = (number / WORD, !(1 << (number % WORD)));
            if matches!(rule, Rule::CategoriesOrMissing(_)) {
                bits[missing as usize + word] &= stays;
            }
            for category in members(forest.set(*rule)) {
                bits[starts[category] as usize + word] &= stays;
            }
        }
        Some(Self { at, nowhere, missing, starts, first_lane, held })
    }

    /// Where the bits of a category begin.
    fn start(&self, category: u32) -> u32 {
        match category {
            MISSING_CATEGORY => self.missing,
            category => self.starts.get(category as usize).copied().unwrap_or(self.nowhere),
        }
    }
}

/// The categories of a set.
fn members(set: &[u32]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(number, word)| {
        let mut left = *word;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(number * 32 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_bits_of_a_set() {
        for (set, expected) in
            [(&[][..], &[][..]), (&[0, 0], &[]), (&[1 << 31 | 1, 0, 6], &[0, 31, 65, 66]), (&[u32::MAX], &[])]
        {
            let found: Vec<usize> = members(set).collect();
            let all: Vec<usize> = (0..32).collect();
            assert_eq!(found, if set == [u32::MAX] { &all } else { expected });
        }
    }
}
