//! Rows that are too few to share a chunk, or have no instructions for them: the tops of some trees first, and then the walks
//! of all rows through these trees, from where they left the tops.
//!
//! The walks of one tree would end with those few that are longest, which wait for memory one step after the other; those
//! of all trees are regrouped together.

use super::layout::Cut;
use super::{Deep, Sums};
use crate::trees::columns::Columns;
use crate::trees::instructions::Number;
use crate::trees::search::{Ranker, TILE, Tile};
use crate::trees::walk::Walk;

/// Walks that are under way together, at most, unless they are through fewer trees than [`FEWEST_TREES`]: they and the nodes
/// where they stand are to stay in the second cache.
const MOST_WALKS: usize = 1 << 10;
const FEWEST_TREES: usize = 4;

impl Deep {
    /// Adds the leaves of rows that fit into so many tiles.
    pub(super) fn add_few<const TILES: usize, T: Number>(
        &self,
        ranker: &Ranker<T>,
        columns: &Columns,
        rows: &[T],
        mut sums: Sums<'_>,
    ) {
        let count = rows.len() / self.features;
        let (lanes, ranks) = self.rank::<TILES, T>(ranker, columns, rows);
        let lanes = lanes.as_chunks().0;
        let mut stands = [Tile([0; TILE]); TILES];
        let most = (MOST_WALKS / count.max(1)).max(FEWEST_TREES);
        let (mut walks, mut leaves) = (Vec::new(), vec![0; count * most.min(self.layout.cuts.len())]);
        let (mut first_step, mut first_exit, mut tree) = (0, 0, 0);
        for cuts in self.layout.cuts.chunks(most) {
            let mut numbers = 0..;
            walks.clear();
            for Cut { steps, exits } in cuts {
                self.how.descend::<TILES, false>(&self.layout.steps[first_step..*steps], lanes, &mut stands);
                let behind = &self.layout.behind[first_exit..*exits];
                let stands = stands.iter().flat_map(|tile| tile.0).take(count);
                walks.extend(stands.zip((0..).step_by(self.width)).zip(numbers.by_ref()).map(
                    |((stand, row), number)| {
                        let at = behind[usize::from(stand)];
                        Walk { number, row, at }
                    },
                ));
                (first_step, first_exit) = (*steps, *exits);
            }
            sums.forest().walk_on(&mut walks, &ranks, &mut leaves);
            sums.add(self.how, tree, &leaves[..count * cuts.len()]);
            tree += cuts.len();
        }
    }
}
