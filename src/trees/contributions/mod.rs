//! Why a row got its score: how much each feature moved it away from what is expected, as `TreeSHAP` defines it where a
//! feature that is not known takes each branch with the branch's share of the training (path-dependent).

mod columns;
mod quadrature;
mod shapley;
mod table;

use std::ops::Range;

use super::instructions::Instructions;
use super::rows::WholeColumns;
use super::tree::Split;
use super::{Sums, to_zero};
use columns::Columns;
use quadrature::gauss_legendre;
pub use table::Covers;

pub(super) use shapley::{Points, Scratch, add};
pub(super) use table::Table;

/// Points of one sweep for trees with short paths, and for others, which may take several.
pub(super) const FEW: usize = 4;
pub(super) const MANY: usize = 8;

/// Collects trees with their covers.
#[derive(Debug, Default)]
pub(super) struct Collected {
    columns: Columns,
    trees: Vec<Tree>,
    /// A tree whose covers are still to come.
    open: Option<(Range<usize>, Vec<Split>, Vec<f64>, Vec<Vec<u32>>)>,
}

#[derive(Debug)]
struct Tree {
    table: Table,
    /// The numbers of all leaves for the first of its outputs, then for the next.
    leaves: Vec<f64>,
    /// What a row gets of which nothing is known, for each of its outputs.
    expected: Vec<f64>,
    output: usize,
}

/// Trees with covers.
#[derive(Debug)]
pub struct Contributions {
    features: usize,
    outputs: usize,
    divisor: f64,
    is_near_zero_zero: bool,
    whole: WholeColumns,
    /// What sums begin with, and what is expected of the trees.
    expected: Vec<f64>,
    /// What is made of each sum in the end.
    change: Option<(f64, Vec<f64>)>,
    columns: Columns,
    trees: Vec<Tree>,
    few: Points<FEW>,
    /// By the number of sweeps.
    many: Vec<Vec<Points<MANY>>>,
}

impl Collected {
    pub(super) fn len(&self) -> usize {
        self.trees.len() + usize::from(self.open.is_some())
    }

    /// Numbers between -1 and 0 are no category.
    pub(super) fn refuse_negative_categories(&mut self) {
        self.columns.refuse_negative_categories();
    }

    /// A tree that was checked.
    pub(super) fn push(&mut self, to: &Range<usize>, splits: &[Split], leaves: &[f64], categories: &[Vec<u32>]) {
        self.open = Some((to.clone(), splits.to_vec(), leaves.to_vec(), categories.to_vec()));
    }

    /// The covers of the last tree.
    pub(super) fn cover(&mut self, covers: Covers<'_>) -> Result<(), String> {
        let Some((to, splits, leaves, categories)) = self.open.take() else {
            return Err("has covers twice".to_owned());
        };
        let table = Table::new(&splits, &categories, covers, &mut self.columns)?;
        let (width, reach) = (to.len(), table.reach());
        let of_output = |at: usize| leaves.iter().skip(at).step_by(width).copied();
        let expected = (0..width).map(|at| of_output(at).zip(&reach).map(|(leaf, reach)| leaf * reach).sum()).collect();
        let leaves = (0..width).flat_map(of_output).collect();
        self.trees.push(Tree { table, leaves, expected, output: to.start });
        Ok(())
    }

    pub(super) fn finish(
        self,
        features: usize,
        sums: &Sums,
        divisor: f64,
        (is_near_zero_zero, whole): (bool, WholeColumns),
    ) -> Result<Contributions, String> {
        if self.open.is_some() {
            return Err("has no covers".to_owned());
        }
        let mut expected = sums.start.clone();
        for tree in &self.trees {
            for (at, part) in tree.expected.iter().enumerate() {
                expected[tree.output + at] += part;
            }
        }
        let sweeps = self.trees.iter().map(Tree::sweeps).max().unwrap_or(0);
        let mut many = vec![Vec::new(); sweeps + 1];
        for tree in &self.trees {
            let sweeps = tree.sweeps();
            if many[sweeps].is_empty() {
                many[sweeps] = points(sweeps);
            }
        }
        Ok(Contributions {
            features,
            outputs: sums.start.len(),
            divisor,
            is_near_zero_zero,
            whole,
            expected,
            change: sums.change.clone(),
            columns: self.columns,
            trees: self.trees,
            few: points::<FEW>(1).remove(0),
            many,
        })
    }
}

/// Points of so many sweeps.
fn points<const LANES: usize>(sweeps: usize) -> Vec<Points<LANES>> {
    let (points, weights) = gauss_legendre(sweeps * LANES);
    let sweeps = points.as_chunks().0.iter().zip(weights.as_chunks().0);
    sweeps
        .map(|(known, weight)| Points { known: *known, unknown: known.map(|known| 1.0 - known), weight: *weight })
        .collect()
}

impl Tree {
    /// Sweeps with many points; none if one with few is enough. A point is enough for two features on a path.
    fn sweeps(&self) -> usize {
        let most = self.table.most_on_path;
        if most <= 2 * FEW { 0 } else { most.div_ceil(2 * MANY) }
    }
}

impl Contributions {
    /// Columns of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Numbers that a row gets explained.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Explains the rows of `rows`, which has [`Self::features`] numbers for each. Of each row, `sums` gets for each output
    /// the contributions of the features and then what is expected: together, they are the row's margin.
    ///
    /// Says no, and leaves `sums` half done, if `goes_on` did between two trees. What is left of the rows has no meaning.
    pub fn explain(&self, rows: &mut [f64], sums: &mut [f64], goes_on: &mut dyn FnMut() -> bool) -> bool {
        if self.is_near_zero_zero {
            to_zero(rows);
        }
        self.whole.apply(rows, self.features);
        let (columns, width) = (self.columns.len(), self.features + 1);
        let mut settled = Vec::with_capacity(rows.len() / self.features * columns);
        for row in rows.chunks_exact(self.features) {
            self.columns.settle(row, &mut settled);
        }
        sums.fill(0.0);
        let (mut few, mut many, how) = (Scratch::default(), Scratch::default(), Instructions::best());
        let stride = self.outputs * width;
        for tree in self.trees.iter().filter(|tree| !tree.table.splits.is_empty()) {
            if !goes_on() {
                return false;
            }
            let count = tree.table.splits.len() + 1;
            for (at, leaves) in tree.leaves.chunks_exact(count).enumerate() {
                let settled = (&settled[..], columns);
                let first = (tree.output + at) * width;
                if tree.sweeps() == 0 {
                    how.explain_few(&tree.table, leaves, &self.few, &mut few, settled, (sums, stride, first));
                }
                for points in &self.many[tree.sweeps()] {
                    how.explain_many(&tree.table, leaves, points, &mut many, settled, (sums, stride, first));
                }
            }
        }
        for sums in sums.chunks_exact_mut(stride) {
            for (sums, expected) in sums.chunks_exact_mut(width).zip(&self.expected) {
                sums[self.features] = *expected;
                for sum in sums {
                    *sum /= self.divisor;
                }
            }
            let Some((scale, bias)) = &self.change else { continue };
            for (sums, bias) in sums.chunks_exact_mut(width).zip(bias) {
                for sum in sums.iter_mut() {
                    *sum *= scale;
                }
                sums[self.features] += bias;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
