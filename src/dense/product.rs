//! Products of rows with packed weights: which tile comes when.

use std::ops::Range;

use super::instructions::Instructions;
use super::panels::{Panels, WIDE};
use super::target::Target;
use super::tile::{MOST_ROWS, Tile};

/// Steps of the depth whose part of a panel stays in the second cache while rows pass it.
const DEPTH: usize = 1024;
/// Floats of rows that stay in the second cache while panels pass them.
const NEAR: usize = 1 << 18;
/// Below so many rows a panel is read once or twice, and its whole depth is taken at once.
const FEW_ROWS: usize = 2 * MOST_ROWS;

/// Rows of numbers: row `i` is `numbers[i * stride..][..depth]`.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    /// All rows, and what may lie between them.
    pub numbers: &'a [f32],
    /// From one row's start to the next one's.
    pub stride: usize,
    /// How many there are.
    pub rows: usize,
}

/// What a product ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Finish {
    /// The sum itself.
    #[default]
    Sum,
    /// 0 where the sum is below 0.
    Relu,
}

impl Instructions {
    /// `to = finish(bias + operand × weights)`, for the columns of some panels: those of `to`, which has as many rows as the
    /// operand.
    ///
    /// # Panics
    /// If the operand's rows are shorter than the weights are deep, or `to` has another size.
    pub fn multiply(
        self,
        operand: Operand<'_>,
        weights: &Panels,
        panels: Range<usize>,
        finish: Finish,
        mut to: Target<'_>,
    ) {
        let relu = finish == Finish::Relu;
        let (depth, start) = (weights.depth(), panels.start * WIDE);
        assert!(to.rows() == operand.rows && to.columns() == weights.columns_of(panels.clone()));
        if depth == 0 || panels.is_empty() {
            without_depth(weights, panels, relu, to);
            return;
        }
        if operand.rows == 1 {
            let row = &operand.numbers[..depth];
            let wide = weights.wide_panels(panels.clone());
            let columns = wide.bias.len();
            if columns > 0 {
                self.row(row, wide.weights, wide.bias, relu, &mut to.row(0)[..columns]);
            }
            if let Some(panel) = panels.last().map(|last| weights.panel(last)).filter(|panel| panel.columns < WIDE) {
                let first = panel.first - start;
                self.tile(Tile {
                    rows: row,
                    stride: 0,
                    count: 1,
                    weights: panel.weights,
                    width: panel.width,
                    bias: Some(panel.bias),
                    relu,
                    to: to.part(0..1, first..first + panel.columns),
                });
            }
            return;
        }
        // Panels one after the other, each passed by all rows: so sums are finished, and written, at once.
        let fit = (NEAR / depth / MOST_ROWS * MOST_ROWS).max(FEW_ROWS);
        for first in (0..operand.rows).step_by(fit) {
            let rows = fit.min(operand.rows - first);
            let step = if rows <= FEW_ROWS { depth } else { DEPTH };
            // Tiles of about the same height: one of a row or two takes as long as one of four.
            let height = rows.div_ceil(rows.div_ceil(MOST_ROWS));
            for panel in panels.clone().map(|number| weights.panel(number)) {
                let columns = panel.first - start..panel.first - start + panel.columns;
                for at in (0..depth).step_by(step) {
                    let steps = step.min(depth - at);
                    for row in (first..first + rows).step_by(height) {
                        let count = height.min(first + rows - row);
                        self.tile(Tile {
                            rows: &operand.numbers[row * operand.stride + at..],
                            stride: operand.stride,
                            count,
                            weights: &panel.weights[at * panel.width..][..steps * panel.width],
                            width: panel.width,
                            bias: (at == 0).then_some(panel.bias),
                            relu: relu && at + steps == depth,
                            to: to.part(row..row + count, columns.clone()),
                        });
                    }
                }
            }
        }
    }
}

/// Sums of nothing: the bias alone.
fn without_depth(weights: &Panels, panels: Range<usize>, relu: bool, mut to: Target<'_>) {
    let start = panels.start * WIDE;
    for panel in panels.map(|number| weights.panel(number)) {
        for row in 0..to.rows() {
            let to = &mut to.row(row)[panel.first - start..][..panel.columns];
            for (to, bias) in to.iter_mut().zip(panel.bias) {
                *to = if relu { super::tile::relu(*bias) } else { *bias };
            }
        }
    }
}
