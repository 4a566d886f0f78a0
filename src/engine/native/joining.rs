//! Operators that set rows of several values side by side.

use super::attributes::{int, only};
use super::planner::{Known, Planned, Planner, Value};
use super::program::{Block, Source, Step, Trouble};
use super::shape::{Axis, each, place};
use super::values::{Element, by_kind};
use crate::onnx::FullNode;
use crate::tensor::DType;

/// Rows of several values side by side.
#[derive(Debug)]
struct Join {
    dtype: DType,
    parts: Vec<Source>,
    /// How many runs of elements each part has in a row.
    outer: usize,
    to: usize,
}

pub(super) fn concat<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let values = (0..node.inputs.len()).map(|at| planner.value(node, at)).collect::<Planned<Vec<_>>>()?;
    let rank = values.first().map_or(0, |value| value.shape.len());
    let axis = place(int(node, "axis", 1)?, rank)?;
    join(planner, node, &values, axis)
}

/// The columns of matrices of any numbers side by side, as float32.
pub(super) fn feature_vectorizer<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["inputdimensions"])?;
    let widths = node.ints("inputdimensions").ok_or("no whole numbers in `inputdimensions`")?;
    let mut values = Vec::new();
    for at in 0..node.inputs.len() {
        let (value, columns) = planner.matrix(node, at)?;
        if widths.get(at).is_none_or(|width| usize::try_from(*width) != Ok(columns)) || value.dtype == DType::Bool {
            return Err("other columns than its inputs".to_owned());
        }
        values.push(planner.cast(value, DType::Float32)?);
    }
    if widths.len() != values.len() {
        return Err("other columns than its inputs".to_owned());
    }
    join(planner, node, &values, 1)
}

fn join<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, values: &[Value], axis: usize) -> Planned<()> {
    let first = values.first().ok_or("no inputs")?;
    let mut shape = first.shape.clone();
    let mut along = 0;
    for value in values {
        let Some(Axis::Size(size)) = value.shape.get(axis) else { return Err("rows below rows".to_owned()) };
        along += size;
        let mut others = value.shape.clone();
        others[axis] = first.shape[axis];
        if others != first.shape || value.dtype != first.dtype {
            return Err("inputs of different shapes or types".to_owned());
        }
    }
    shape[axis] = Axis::Size(along);
    if let [one] = values {
        return planner.name(node, 0, Known::Value(one.clone()));
    }
    let outer = each(&shape[..axis])?;
    let parts = values.iter().map(|value| planner.source(value)).collect();
    let dtype = first.dtype;
    planner.emit(node, dtype, shape, |to| Join { dtype, parts, outer, to })
}

fn run_join<'a, T: Element<'a>>(block: &mut Block<'a>, step: &Join) {
    block.make(step.to, |block, out: &mut Vec<T>| {
        out.reserve(block.rows * step.parts.iter().map(|part| part.each).sum::<usize>());
        for row in 0..block.rows {
            for outer in 0..step.outer {
                for part in &step.parts {
                    let inner = part.each / step.outer;
                    let row = part.row(block.get::<T>(part.slot), row);
                    out.extend_from_slice(row.get(outer * inner..(outer + 1) * inner).unwrap_or_default());
                }
            }
        }
    });
}

impl Step for Join {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_join(block, self));
        Ok(())
    }
}
