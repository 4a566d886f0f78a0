//! Products of rows with weights, and of rows with rows.

use crate::dense::{Finish, Packing, Panels};
use crate::engine::network::plan::{Known, Planned, Planner, float, int, only, slot_of};
use crate::engine::network::program::Step;
use crate::engine::network::view::View;
use crate::engine::network::weights::Constant;
use crate::onnx::FullNode;

/// Panels are as wide as vectors: what has fewer columns is padded, which only little matrices can afford.
const NARROW: usize = 16;
const MOST_OF_NARROW: usize = 1 << 16;

pub(super) fn mat_mul<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let left = planner.rows(node, 0)?;
    match planner.value(node, 1)? {
        Known::Constant(weights) => {
            let panels = panels(planner, weights, Packing::ByDepth, 1.0)?;
            let product = multiply(planner, left, panels)?;
            planner.name(node, Known::Floats(product))
        }
        Known::Floats(right) => {
            let product = multiply_each(planner, left, right)?;
            planner.name(node, Known::Floats(product))
        }
        Known::Ints(_) => Err("has an input of whole numbers".to_owned()),
    }
}

pub(super) fn gemm<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["alpha", "beta", "transA", "transB"])?;
    let left = planner.rows(node, 0)?;
    if int(node, "transA", 0)? != 0 || left.dims.len() != 1 {
        return Err("has a first input that is no matrix of rows".to_owned());
    }
    let packing = if int(node, "transB", 0)? == 0 { Packing::ByDepth } else { Packing::ByColumn };
    let weights = planner.constant(node, 1)?;
    let mut panels = panels(planner, weights, packing, float(node, "alpha", 1.0)?)?;
    if let Some(bias) = planner.optional(node, 2)? {
        let Known::Constant(bias) = bias else { return Err("has a third input that is no constant".to_owned()) };
        let beta = float(node, "beta", 1.0)?;
        let numbers = planner.numbers(bias)?;
        let bias = per_column(bias, &numbers, panels.columns()).ok_or("has a third input of another shape")?;
        panels.set_bias(&bias.iter().map(|number| number * beta).collect::<Vec<_>>());
    }
    let product = multiply(planner, left, panels)?;
    planner.name(node, Known::Floats(product))
}

/// A number for each column, if a constant is the same for all rows.
fn per_column(constant: Constant<'_>, numbers: &[f32], columns: usize) -> Option<Vec<f32>> {
    let dims = constant.dims()?;
    let (last, leading) = dims.split_last().unwrap_or((&1, &[]));
    match *last {
        _ if dims.len() > 2 || leading.iter().any(|dim| *dim != 1) => None,
        1 => Some(vec![*numbers.first()?; columns]),
        last if last == columns => Some(numbers.to_vec()),
        _ => None,
    }
}

fn panels<'a>(planner: &mut Planner<'a>, weights: Constant<'a>, packing: Packing, alpha: f32) -> Planned<Panels> {
    let unknown = || format!("has the weights {}, which are no matrix of float32", weights.name());
    let dims = weights.dims().ok_or_else(unknown)?;
    let [lines, line] = dims[..] else { return Err(unknown()) };
    let columns = if packing == Packing::ByDepth { line } else { lines };
    if lines == 0 || line == 0 || (columns < NARROW && lines.max(line) > MOST_OF_NARROW) {
        return Err(format!("has weights of the shape [{lines}, {line}]"));
    }
    planner.reads(weights)?;
    weights.panels(planner.source, packing, alpha).ok_or_else(unknown)
}

/// The last axis of a value times weights.
fn multiply(planner: &mut Planner<'_>, from: View, panels: Panels) -> Planned<View> {
    let Some((_, leading)) = from.dims.split_last().filter(|(depth, _)| **depth == panels.depth()) else {
        return Err(format!("multiplies values of {:?} for each row with weights of {}", from.dims, panels.depth()));
    };
    let dims = [leading, &[panels.columns()]].concat();
    let from = if from.as_matrix().is_some() { from } else { planner.copied(&from)? };
    let (count, stride) = from.as_matrix().ok_or("has values in an order that is not known")?;
    let to = planner.floats(dims)?;
    planner.program.weights.push(panels);
    let (weights, slot) = (planner.program.weights.len() - 1, slot_of(&to)?);
    planner.program.steps.push(Step::Product { from, count, stride, weights, finish: Finish::Sum, to: slot });
    Ok(to)
}

/// Matrices of each row times other ones.
fn multiply_each(planner: &mut Planner<'_>, left: View, right: View) -> Planned<View> {
    let rank = left.dims.len();
    if rank != right.dims.len() || rank < 2 {
        return Err("has factors of other ranks than are known".to_owned());
    }
    let (lines, depth, columns) = (left.dims[rank - 2], left.dims[rank - 1], right.dims[rank - 1]);
    if depth != right.dims[rank - 2] || left.dims[..rank - 2] != right.dims[..rank - 2] {
        return Err("has factors of shapes that do not fit".to_owned());
    }
    // Its numbers lie one behind the other along the depth.
    let left = if depth == 1 || left.strides[rank - 1] == 1 { left } else { planner.copied(&left)? };
    let to = planner.floats([&left.dims[..rank - 2], &[lines, columns]].concat())?;
    let slot = slot_of(&to)?;
    planner.program.steps.push(Step::Products { left, right, to: slot });
    Ok(to)
}

impl<'a> Planner<'a> {
    /// The weights of the last step, if it is a product whose answer is `view` and nobody else needs it as it is.
    fn open_product(&mut self, view: &View) -> Option<(&mut Panels, &mut Finish)> {
        if !self.is_last_use(view) {
            return None;
        }
        let slot = slot_of(view).ok()?;
        match self.program.steps.last_mut() {
            Some(Step::Product { weights, finish, to, .. }) if *to == slot && *finish == Finish::Sum => {
                Some((&mut self.program.weights[*weights], finish))
            }
            _ => None,
        }
    }

    /// Lets the product that made `view` end with Relu; says whether it does.
    pub(super) fn ends_with_relu(&mut self, view: &View) -> bool {
        self.open_product(view).map(|(_, finish)| *finish = Finish::Relu).is_some()
    }

    /// Lets the product that made `view` begin with these numbers for its columns; says whether it does.
    pub(super) fn begins_with(&mut self, view: &View, constant: Constant<'a>) -> Planned<bool> {
        if self.open_product(view).is_none() {
            return Ok(false);
        }
        let numbers = self.numbers(constant)?;
        let is_vector = constant.dims().is_some_and(|dims| {
            dims.split_last().is_some_and(|(last, leading)| {
                Some(last) == view.dims.last()
                    && leading.len() <= view.dims.len()
                    && leading.iter().all(|dim| *dim == 1)
            })
        });
        match self.open_product(view) {
            // The product may have been reshaped since: its last axis need not be its columns any more.
            Some((panels, _)) if is_vector && !panels.has_bias() && numbers.len() == panels.columns() => {
                panels.set_bias(&numbers);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
