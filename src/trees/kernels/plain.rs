//! Plain Rust, of which the compiler makes vectors of SSE2 or NEON.

use crate::trees::blocks::Step;
use crate::trees::search::{Block, TILE, Tile, ranking};

/// How many of a block a number is beyond.
#[inline]
fn count<T: Copy + PartialOrd>(block: &Block<T>, value: T) -> u32 {
    block.0.iter().map(|threshold| u32::from(*threshold < value)).sum()
}

/// There are no shuffles.
#[inline]
fn descend_thresholds(_heap: &[f32], _depth: u32, _values: &[f32; TILE], _ranks: &mut [u32; TILE]) -> bool {
    false
}

ranking!(rank_singles, rank_single, f32, count, descend_thresholds, #[inline(never)]);
ranking!(rank_doubles, rank_double, f64, count, descend_thresholds, #[inline(never)]);

/// Where the rows of a block stand after the steps of a tree.
#[inline(never)]
pub(in crate::trees) fn descend<const TILES: usize>(
    steps: &[Step],
    lanes: &[[Tile; TILES]],
    stands: &mut [Tile; TILES],
) {
    *stands = [Tile([0; TILE]); TILES];
    for step in steps {
        let Step { lane, rank: most, low, mid } = *step;
        for (stands, ranks) in stands.iter_mut().zip(&lanes[lane as usize]) {
            for (at, rank) in stands.0.iter_mut().zip(&ranks.0) {
                // Not `&&`, which would be a branch.
                let moves = u8::from(*rank > most) & u8::from(*at == low);
                *at = if moves != 0 { mid } else { *at };
            }
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
