//! Plain Rust, of which the compiler makes vectors of SSE2 or NEON.

use crate::trees::abreast::Group;
use crate::trees::blocks::Step;
use crate::trees::deep::Found;
use crate::trees::members::Word;
use crate::trees::ranking::ranking;
use crate::trees::search::{Block, Kind, Real, Singles, TILE, TURNED, Tile, WIDTH};
use crate::trees::single;

/// How many of a block a number is beyond.
#[inline]
fn count<T: Copy + PartialOrd>(block: &Block<T>, value: T) -> u32 {
    block.0.iter().map(|threshold| u32::from(*threshold < value)).sum()
}

/// The bytes of sixteen numbers: each is compared with those of `blocks` in its place.
#[inline]
fn abreast<T: Real>(group: &Group, blocks: &[Block<T>], near_zero: T, values: &[T; WIDTH]) -> [u8; WIDTH] {
    let (near_zero, values): (f64, _) = (near_zero.into(), values.map(Into::<f64>::into));
    std::array::from_fn(|at| {
        let rank = blocks.iter().map(|block| u32::from(block.0[at].into() < values[at])).sum();
        group.kind(at).settle_byte(rank, values[at].abs() <= near_zero, values[at].is_nan())
    })
}

/// There are no shuffles, so that nothing is to be turned.
#[inline]
fn turn<T>(_rows: &[T], _width: usize, _first: usize, _columns: &mut [Singles; TURNED]) -> u16 {
    u16::MAX
}

/// Nor fetched.
#[inline]
fn fetch_row<T>(_row: &[T]) {}

/// No column was turned.
#[inline]
fn descend_thresholds(_heap: &[f32], _depth: u32, _values: &Singles, _ranks: &mut [u32; TILE]) {}

/// Nor ranked.
#[inline]
fn settle(_kind: Kind, _near_zero: f32, _values: &Singles, _ranks: &[u32; TILE], _bytes: &mut Tile) {}

ranking!(
    rank_singles, (rank_single, word_single), f32, count, (turn, descend_thresholds, settle), (fetch_row, abreast),
    #[inline(never)]
);
ranking!(
    rank_doubles, (rank_double, word_double), f64, count, (turn, descend_thresholds, settle), (fetch_row, abreast),
    #[inline(never)]
);

/// Adds the leaves that rows found in some trees.
#[inline(never)]
pub(in crate::trees) fn add_found(
    trees: &[Found<'_>],
    (outputs, width): (usize, usize),
    are_single: bool,
    scores: &mut [f64],
) {
    for (row, scores) in scores.chunks_exact_mut(outputs).enumerate() {
        for Found { leaves, of_rows, output } in trees {
            let leaf = of_rows[row] as usize;
            if width == 1 {
                let score = scores[*output] + leaves[leaf];
                scores[*output] = if are_single { single(score) } else { score };
                continue;
            }
            for (score, value) in scores[*output..][..width].iter_mut().zip(&leaves[leaf * width..][..width]) {
                *score += value;
                if are_single {
                    *score = single(*score);
                }
            }
        }
    }
}

/// Where the rows of a block stand after the steps of a tree.
#[inline(never)]
pub(in crate::trees) fn descend<const TILES: usize, const MASKED: bool>(
    steps: &[Step],
    lanes: &[[Tile; TILES]],
    stands: &mut [Tile; TILES],
) {
    *stands = [Tile([0; TILE]); TILES];
    for step in steps {
        let Step { lane, mask, rank: most, low, mid } = *step;
        for (stands, ranks) in stands.iter_mut().zip(&lanes[lane as usize]) {
            for (at, rank) in stands.0.iter_mut().zip(&ranks.0) {
                // Not `&&`, which would be a branch.
                let rank = if MASKED { *rank & mask } else { *rank };
                let moves = u8::from(rank > most) & u8::from(*at == low);
                *at = if moves != 0 { mid } else { *at };
            }
        }
    }
}

/// Puts a word of each row of the first `tiles` into its lanes, a byte of it in each.
#[inline(always)]
#[allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]
pub(in crate::trees) fn take_bits<const TILES: usize>(word: Word<'_, TILES>, tiles: usize) {
    let Word { bits, starts, lanes } = word;
    for (tile, starts) in starts.iter().enumerate().take(tiles) {
        // Eight words are eight rows of bytes, to be turned: eight such squares side by side.
        let mut squares = [[0_u64; 8]; 8];
        for (at, starts) in starts.as_chunks::<8>().0.iter().enumerate() {
            for (line, start) in squares.iter_mut().zip(starts) {
                line[at] = bits.get(*start as usize).copied().unwrap_or_default();
            }
        }
        swap::<4, 32>(&mut squares, 0x0000_0000_FFFF_FFFF);
        swap::<2, 16>(&mut squares, 0x0000_FFFF_0000_FFFF);
        swap::<1, 8>(&mut squares, 0x00FF_00FF_00FF_00FF);
        for (lane, line) in lanes.iter_mut().zip(&squares) {
            for (bytes, word) in lane[tile].0.as_chunks_mut::<8>().0.iter_mut().zip(line) {
                *bytes = word.to_le_bytes();
            }
        }
    }
}

/// Swaps the upper halves of some lines with the lower halves of those `APART` behind them; `lower` has the bits of these.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn swap<const APART: usize, const BITS: u32>(squares: &mut [[u64; 8]; 8], lower: u64) {
    for first in (0..8).filter(|first| first & APART == 0) {
        let (before, behind) = squares.split_at_mut(first + APART);
        for (upper, below) in before[first].iter_mut().zip(&mut behind[0]) {
            let differs = ((*upper >> BITS) ^ *below) & lower;
            *upper ^= differs << BITS;
            *below ^= differs;
        }
    }
}

/// Adds the leaves where rows stand to their sums. `leaves` are 16, 32, 64, 128 or 256.
#[inline(always)]
#[allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]
pub(in crate::trees) fn add<T: Copy + std::ops::AddAssign>(leaves: &[T], stands: &[Tile], sums: &mut [T]) {
    fn of<const SIZE: usize, T: Copy + std::ops::AddAssign>(leaves: &[T], stands: &[Tile], sums: &mut [T]) {
        let Some(leaves) = leaves.first_chunk::<SIZE>() else { return };
        for (stands, sums) in stands.iter().zip(sums.as_chunks_mut::<TILE>().0) {
            for (sum, at) in sums.iter_mut().zip(&stands.0) {
                // No more than is there: the compiler need not check.
                *sum += leaves[*at as usize % SIZE];
            }
        }
    }
    match leaves.len() {
        0..=16 => of::<16, T>(leaves, stands, sums),
        17..=32 => of::<32, T>(leaves, stands, sums),
        33..=64 => of::<64, T>(leaves, stands, sums),
        65..=128 => of::<128, T>(leaves, stands, sums),
        _ => of::<256, T>(leaves, stands, sums),
    }
}
