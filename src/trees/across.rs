//! A row through 64 trees at once: where blocks hold one node beside many rows, here one row is beside a node of each tree.
//!
//! The row's bytes are in registers, and a shuffle looks up what each of the 64 nodes compares; the steps are those of
//! blocks. A row alone costs what it costs in a block, whatever the trees' shape. That takes shuffles of bytes by bytes
//! across a register, which AVX2 has for 16 of them and AVX-512 VBMI for 128. With VBMI up to sixteen registers hold a row
//! of a wide table: nodes have more bits then, by which what several shuffles found is chosen.

use smallvec::SmallVec;

use super::blocks::{Blocks, Leaves, Rows, Step, Values};
use super::columns::Columns;
use super::instructions::{Instructions, Number, Sum};
use super::search::TILE;

/// Groups of trees that go side by side: a step waits for the one before, unless there are others. Five took longer than four
/// and a run of the last one, whose trees have fewer steps: most of the time is reading slots from the second cache.
/// Nor did it pay to add leaves of one run between the steps of the next.
pub(super) const SIDE_BY_SIDE: usize = 4;
/// Outputs whose numbers are added at once, at most.
const MOST_WHOLE: usize = 16;
/// Rows that are added side by side, for the same reason.
const TOGETHER: usize = 4;
/// Bytes of a row, at most.
pub(super) const MOST_LANES: usize = 1024;
/// Bytes of a row that nodes know by a byte.
pub(super) const NARROW: usize = 256;
/// A byte that no rank is beyond.
const STAYS: u8 = u8::MAX;
/// Groups of trees for which no memory is asked for.
const FEW_GROUPS: usize = 16;

/// A row's bytes.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
struct Row<const LANES: usize>([u8; LANES]);

/// A node of each of 64 trees.
#[repr(align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Their lower bits.
    pub(super) lanes: [u8; TILE],
    pub(super) ranks: [u8; TILE],
    pub(super) lows: [u8; TILE],
    pub(super) mids: [u8; TILE],
}

/// The other two bits of the lanes of a slot's nodes, one for each node.
pub(super) type Uppers = [u64; 2];

/// Groups side by side.
#[derive(Debug)]
struct Run {
    groups: usize,
    /// Where its slots end: the first of each group, the second of each group, and so on.
    end: usize,
}

/// All trees, in groups of 64 with about as many steps.
#[derive(Debug)]
pub(super) struct Across {
    runs: Vec<Run>,
    slots: Vec<Slot>,
    /// As many, if there are more than [`NARROW`] lanes.
    uppers: Vec<Uppers>,
    groups: usize,
    /// Where each tree is, and where its leaves are, in the order of trees and outputs.
    leaves: Vec<Placed>,
    /// Whether leaves are for the first output, the second, and so on to the last, over and over.
    takes_turns: bool,
    /// Where each leaf has a number for every output: those of one leaf after those of the other, [`width`] of each. Then
    /// `leaves` has the leaves of each tree once.
    whole: Option<Values>,
}

#[derive(Debug)]
struct Placed {
    place: u32,
    first: u32,
    output: u32,
}

impl Across {
    /// Nothing if rows have too many bytes for the instructions, there are no trees, or they know categories.
    pub(super) fn new(blocks: &Blocks, how: Instructions) -> Option<Self> {
        if blocks.lanes() > how.most_lanes_across() || blocks.ends.is_empty() || blocks.members().is_some() {
            return None;
        }
        let mut start = 0;
        let mut trees: Vec<(usize, &[Step])> = Vec::with_capacity(blocks.ends.len());
        for (tree, end) in blocks.ends.iter().enumerate() {
            trees.push((tree, &blocks.steps[start..*end]));
            start = *end;
        }
        trees.sort_by_key(|(_, steps)| std::cmp::Reverse(steps.len()));
        let nothing = Slot { lanes: [0; TILE], ranks: [STAYS; TILE], lows: [0; TILE], mids: [0; TILE] };
        let (mut runs, mut slots, mut uppers) = (Vec::new(), Vec::new(), Vec::new());
        let mut places = vec![0_u32; trees.len()];
        for (run, trees) in trees.chunks(SIDE_BY_SIDE * TILE).enumerate() {
            let (groups, first) = (trees.len().div_ceil(TILE), slots.len());
            slots.resize(first + groups * trees[0].1.len(), nothing);
            for (at, (tree, steps)) in trees.iter().enumerate() {
                let (group, column) = (at / TILE, at % TILE);
                places[*tree] = u32::try_from(run * SIDE_BY_SIDE * TILE + at).ok()?;
                // Trees of one leaf have no steps, and a run of them alone no slots.
                let slots = slots.get_mut(first + group..).unwrap_or_default();
                for (slot, step) in slots.iter_mut().step_by(groups).zip(*steps) {
                    slot.lanes[column] = step.lane.to_le_bytes()[0];
                    (slot.ranks[column], slot.lows[column], slot.mids[column]) = (step.rank, step.low, step.mid);
                }
            }
            if blocks.lanes() > NARROW {
                uppers.resize(slots.len(), Uppers::default());
                for (at, (_, steps)) in trees.iter().enumerate() {
                    let uppers = uppers.get_mut(first + at / TILE..).unwrap_or_default();
                    for (upper, step) in uppers.iter_mut().step_by(groups).zip(*steps) {
                        let bit = |number: u32| u64::from(step.lane >> number & 1) << (at % TILE);
                        *upper = [upper[0] | bit(8), upper[1] | bit(9)];
                    }
                }
            }
            runs.push(Run { groups, end: slots.len() });
        }
        let placed = |leaves: &Leaves| {
            let (first, output) = (u32::try_from(leaves.first).ok()?, u32::try_from(leaves.output).ok()?);
            Some(Placed { place: places[leaves.tree], first, output })
        };
        let mut leaves = blocks.leaves.iter().map(placed).collect::<Option<Vec<_>>>()?;
        let whole = whole_leaves(blocks);
        let takes_turns = blocks.leaves.iter().enumerate().all(|(at, leaves)| leaves.output == at % blocks.outputs)
            && blocks.leaves.len().is_multiple_of(blocks.outputs);
        if whole.is_some() {
            // One for each tree. As many numbers of outputs as before come before it, together now.
            leaves = leaves.into_iter().step_by(blocks.outputs).collect();
            let outputs = u32::try_from(blocks.outputs).ok()?;
            for leaf in &mut leaves {
                leaf.first /= outputs;
            }
        }
        Some(Self { runs, slots, uppers, groups: trees.len().div_ceil(TILE), leaves, takes_turns, whole })
    }

    /// Adds the leaves of rows to their sums in `scores`; says how many rows.
    pub(super) fn add(
        &self,
        how: Instructions,
        blocks: &Blocks,
        columns: &Columns,
        rows: Rows<'_>,
        scores: &mut [f64],
    ) -> usize {
        match (rows, self.whole.as_ref().unwrap_or(&blocks.values)) {
            (Rows::Floats(rows), Values::Doubles(values)) => self.go(how, blocks, columns, rows, values, scores),
            (Rows::Doubles(rows), Values::Doubles(values)) => self.go(how, blocks, columns, rows, values, scores),
            (Rows::Floats(rows), Values::Singles(values)) => self.go(how, blocks, columns, rows, values, scores),
            (Rows::Doubles(rows), Values::Singles(values)) => self.go(how, blocks, columns, rows, values, scores),
        }
        scores.len() / blocks.outputs
    }

    fn go<T: Number, S: Sum>(
        &self,
        how: Instructions,
        blocks: &Blocks,
        columns: &Columns,
        rows: &[T],
        values: &[S],
        scores: &mut [f64],
    ) {
        if blocks.lanes() > NARROW {
            self.go_in::<MOST_LANES, T, S>(how, blocks, columns, rows, values, scores);
        } else {
            self.go_in::<NARROW, T, S>(how, blocks, columns, rows, values, scores);
        }
    }

    fn go_in<const LANES: usize, T: Number, S: Sum>(
        &self,
        how: Instructions,
        blocks: &Blocks,
        columns: &Columns,
        rows: &[T],
        values: &[S],
        scores: &mut [f64],
    ) {
        let (features, outputs) = (blocks.features, blocks.outputs);
        let rows = &rows[..scores.len() / outputs * features];
        let (mut rows, mut scores) =
            (rows.chunks_exact(TOGETHER * features), scores.chunks_exact_mut(TOGETHER * outputs));
        for (rows, scores) in rows.by_ref().zip(scores.by_ref()) {
            self.go_together::<TOGETHER, LANES, T, S>(how, blocks, columns, rows, values, scores);
        }
        let rows = rows.remainder().chunks_exact(features);
        for (row, scores) in rows.zip(scores.into_remainder().chunks_exact_mut(outputs)) {
            self.go_together::<1, LANES, T, S>(how, blocks, columns, row, values, scores);
        }
    }

    fn go_together<const ROWS: usize, const LANES: usize, T: Number, S: Sum>(
        &self,
        how: Instructions,
        blocks: &Blocks,
        columns: &Columns,
        rows: &[T],
        values: &[S],
        scores: &mut [f64],
    ) {
        let ranker = T::ranker(blocks, columns);
        let mut stands: SmallVec<[[u8; TILE]; FEW_GROUPS]> = SmallVec::new();
        stands.resize(self.groups * ROWS, [0; TILE]);
        let mut bytes = [Row([0; LANES]); ROWS];
        for (row, bytes) in rows.chunks_exact(blocks.features).zip(&mut bytes) {
            T::rank_row(how, ranker, row, &mut bytes.0);
        }
        let (mut start, mut first) = (0, 0);
        for Run { groups, end } in &self.runs {
            for (number, row) in bytes.iter().enumerate() {
                let stands = &mut stands[number * self.groups + first..][..*groups];
                let uppers = self.uppers.get(start..*end).unwrap_or_default();
                how.go_across((&self.slots[start..*end], uppers), blocks.lanes(), &row.0, stands);
            }
            (start, first) = (*end, first + groups);
        }
        self.add_rows::<ROWS, S>(stands.as_flattened(), values, blocks.outputs, scores);
    }

    fn add_rows<const ROWS: usize, S: Sum>(&self, stands: &[u8], values: &[S], outputs: usize, scores: &mut [f64]) {
        let height = self.groups * TILE;
        if let (1, Some(scores)) = (outputs, scores.first_chunk_mut::<ROWS>()) {
            // In registers: through memory, each tree would wait for the one before.
            let mut sums = scores.map(S::of);
            for Placed { place, first, .. } in &self.leaves {
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum += values[*first as usize + usize::from(stands[row * height + *place as usize])];
                }
            }
            *scores = sums.map(Into::into);
            return;
        }
        for (stands, scores) in stands.chunks_exact(height).zip(scores.chunks_exact_mut(outputs)) {
            self.add_to_outputs(stands, values, scores);
        }
    }

    /// Apart, so that what adds to one sum stays small.
    #[inline(never)]
    fn add_to_outputs<S: Sum>(&self, stands: &[u8], values: &[S], scores: &mut [f64]) {
        let outputs = scores.len();
        if self.whole.is_some() {
            return match width(outputs) {
                2 => self.add_whole::<2, S>(stands, values, scores),
                4 => self.add_whole::<4, S>(stands, values, scores),
                8 => self.add_whole::<8, S>(stands, values, scores),
                _ => self.add_whole::<MOST_WHOLE, S>(stands, values, scores),
            };
        }
        match outputs {
            2 if self.takes_turns => self.add_in_turn::<2, S>(stands, values, scores),
            3 if self.takes_turns => self.add_in_turn::<3, S>(stands, values, scores),
            4 if self.takes_turns => self.add_in_turn::<4, S>(stands, values, scores),
            5 if self.takes_turns => self.add_in_turn::<5, S>(stands, values, scores),
            _ => self.add_anywhere(stands, values, scores),
        }
    }

    /// Adds the leaves of a row to a few sums, in registers: the fewer they are, the longer each waits for memory.
    fn add_in_turn<const OUTPUTS: usize, S: Sum>(&self, stands: &[u8], values: &[S], scores: &mut [f64]) {
        let Some(scores) = scores.first_chunk_mut::<OUTPUTS>() else { return };
        let mut sums = scores.map(S::of);
        for leaves in self.leaves.as_chunks::<OUTPUTS>().0 {
            for (sum, Placed { place, first, .. }) in sums.iter_mut().zip(leaves) {
                *sum += values[*first as usize + usize::from(stands[*place as usize])];
            }
        }
        *scores = sums.map(Into::into);
    }

    /// Adds all numbers of a leaf at once: looked up one by one, three took twice as long.
    fn add_whole<const WIDTH: usize, S: Sum>(&self, stands: &[u8], values: &[S], scores: &mut [f64]) {
        let mut sums: [S; WIDTH] = std::array::from_fn(|at| S::of(scores.get(at).copied().unwrap_or_default()));
        let leaves = values.as_chunks::<WIDTH>().0;
        for Placed { place, first, .. } in &self.leaves {
            let leaf = &leaves[*first as usize + usize::from(stands[*place as usize])];
            sums.iter_mut().zip(leaf).for_each(|(sum, value)| *sum += *value);
        }
        scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = sum.into());
    }

    fn add_anywhere<S: Sum>(&self, stands: &[u8], values: &[S], scores: &mut [f64]) {
        for Placed { place, first, output } in &self.leaves {
            let mut sum = S::of(scores[*output as usize]);
            sum += values[*first as usize + usize::from(stands[*place as usize])];
            scores[*output as usize] = sum.into();
        }
    }
}

/// Numbers of a leaf that are added at once.
fn width(outputs: usize) -> usize {
    outputs.next_power_of_two()
}

/// The leaves with their numbers together, if each has one for every output, of which there are some.
fn whole_leaves(blocks: &Blocks) -> Option<Values> {
    let outputs = blocks.outputs;
    let trees = blocks.leaves.chunks(outputs);
    if !(2..=MOST_WHOLE).contains(&outputs) || trees.len() != blocks.ends.len() {
        return None;
    }
    let mut places = Vec::new();
    let mut start = 0;
    for ((tree, leaves), end) in trees.enumerate().zip(&blocks.ends) {
        let (count, first) = (end - start + 1, leaves[0].first);
        start = *end;
        let of_tree = |(output, leaves): (usize, &Leaves)| {
            leaves.tree == tree && leaves.output == output && leaves.first == first + output * count
        };
        if leaves.len() != outputs || first != places.len() * outputs || !leaves.iter().enumerate().all(of_tree) {
            return None;
        }
        places.extend((0..count).map(|leaf| (first + leaf, count)));
    }
    Some(match &blocks.values {
        Values::Doubles(values) => Values::Doubles(together(values, &places, outputs)),
        Values::Singles(values) => Values::Singles(together(values, &places, outputs)),
    })
}

/// For each leaf its numbers, of which `places` says where the first is and how far from one to the next; then zeros.
fn together<S: Sum>(values: &[S], places: &[(usize, usize)], outputs: usize) -> Vec<S> {
    let number = |first: usize, way: usize, output: usize| {
        if output < outputs { values[first + output * way] } else { S::default() }
    };
    places.iter().flat_map(|(first, way)| (0..width(outputs)).map(move |at| number(*first, *way, at))).collect()
}
