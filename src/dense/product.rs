//! Products of rows with packed weights: which tile comes when.

use std::ops::Range;

use super::instructions::Instructions;
use super::panels::{Panels, WIDE};
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
    /// `to = finish(bias + operand × weights)`, for the columns of some panels: row `i` of these goes to
    /// `to[i * to_stride..]`.
    ///
    /// # Panics
    /// If the operand's rows are shorter than the weights are deep, or `to` is too short.
    pub fn multiply(
        self,
        operand: Operand<'_>,
        weights: &Panels,
        panels: Range<usize>,
        finish: Finish,
        to: &mut [f32],
        to_stride: usize,
    ) {
        let relu = finish == Finish::Relu;
        let (depth, start) = (weights.depth(), panels.start * WIDE);
        if depth == 0 || panels.is_empty() {
            without_depth(operand.rows, weights, panels, relu, to, to_stride);
            return;
        }
        if operand.rows == 1 {
            let row = &operand.numbers[..depth];
            let wide = weights.wide_panels(panels.clone());
            let columns = wide.bias.len();
            if columns > 0 {
                self.row(row, wide.weights, wide.bias, relu, &mut to[..columns]);
            }
            if let Some(panel) = panels.last().map(|last| weights.panel(last)).filter(|panel| panel.columns < WIDE) {
                let to = &mut to[panel.first - start..];
                let bias = Some(panel.bias);
                let (width, columns) = (panel.width, panel.columns);
                let weights = panel.weights;
                self.tile(Tile {
                    rows: row,
                    stride: 0,
                    count: 1,
                    weights,
                    width,
                    bias,
                    relu,
                    to,
                    to_stride: 0,
                    columns,
                });
            }
            return;
        }
        // Panels one after the other, each passed by all rows: so sums are finished, and written, at once.
        let fit = (NEAR / depth / MOST_ROWS * MOST_ROWS).max(FEW_ROWS);
        for first in (0..operand.rows).step_by(fit) {
            let rows = fit.min(operand.rows - first);
            let step = if rows <= FEW_ROWS { depth } else { DEPTH };
            for panel in panels.clone().map(|number| weights.panel(number)) {
                for at in (0..depth).step_by(step) {
                    let steps = step.min(depth - at);
                    for row in (first..first + rows).step_by(MOST_ROWS) {
                        self.tile(Tile {
                            rows: &operand.numbers[row * operand.stride + at..],
                            stride: operand.stride,
                            count: MOST_ROWS.min(first + rows - row),
                            weights: &panel.weights[at * panel.width..][..steps * panel.width],
                            width: panel.width,
                            bias: (at == 0).then_some(panel.bias),
                            relu: relu && at + steps == depth,
                            to: &mut to[row * to_stride + panel.first - start..],
                            to_stride,
                            columns: panel.columns,
                        });
                    }
                }
            }
        }
    }
}

/// Sums of nothing: the bias alone.
fn without_depth(rows: usize, weights: &Panels, panels: Range<usize>, relu: bool, to: &mut [f32], to_stride: usize) {
    let start = panels.start * WIDE;
    for panel in panels.map(|number| weights.panel(number)) {
        for row in 0..rows {
            let to = &mut to[row * to_stride + panel.first - start..][..panel.columns];
            for (to, bias) in to.iter_mut().zip(panel.bias) {
                *to = if relu { super::tile::relu(*bias) } else { *bias };
            }
        }
    }
}
