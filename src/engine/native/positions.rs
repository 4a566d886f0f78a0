//! Where the largest or the least elements of rows are.

use super::attributes::{int, only};
use super::planner::{Planned, Planner};
use super::program::{Block, Source, Step, Trouble};
use super::shape::{Axis, each, place};
use super::values::Element;
use crate::onnx::FullNode;
use crate::tensor::DType;

/// Where the largest, or the least, of an axis is.
#[derive(Debug)]
struct Arg {
    is_least: bool,
    is_last: bool,
    /// Lengths of a row before, along and after the axis.
    lengths: [usize; 3],
    dtype: DType,
    from: Source,
    to: usize,
}

pub(super) fn arg<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis", "keepdims", "select_last_index"])?;
    let value = planner.value(node, 0)?;
    if matches!(value.dtype, DType::String | DType::Bool) {
        return Err("an input that is not of numbers".to_owned());
    }
    let axis = place(int(node, "axis", 0)?, value.shape.len())?;
    if value.shape[axis] == Axis::Rows {
        return Err("rows as its axis".to_owned());
    }
    let lengths = [each(&value.shape[..axis])?, each(&value.shape[axis..=axis])?, each(&value.shape[axis + 1..])?];
    if lengths[1] == 0 {
        return Err("nothing to choose from".to_owned());
    }
    let mut shape = value.shape.clone();
    if int(node, "keepdims", 1)? == 0 {
        shape.remove(axis);
    } else {
        shape[axis] = Axis::Size(1);
    }
    let (is_least, is_last) = (node.operator == "ArgMin", int(node, "select_last_index", 0)? != 0);
    let (from, dtype) = (planner.source(&value), value.dtype);
    planner.emit(node, DType::Int64, shape, |to| Arg { is_least, is_last, lengths, dtype, from, to })
}

impl Arg {
    fn choose<'a, T: Element<'a> + PartialOrd>(&self, block: &mut Block<'a>) {
        let [before, along, after] = self.lengths;
        let is_better = |value: T, best: T| {
            let is_beyond = if self.is_least { value < best } else { value > best };
            is_beyond || (self.is_last && value == best)
        };
        block.make(self.to, |block, out: &mut Vec<i64>| {
            let elements = block.get::<T>(self.from.slot);
            for row in 0..block.rows {
                let row = self.from.row(elements, row);
                for (outer, inner) in (0..before).flat_map(|outer| (0..after).map(move |inner| (outer, inner))) {
                    let value = |at: usize| row[(outer * along + at) * after + inner];
                    let best = (1..along).fold(0, |best, at| if is_better(value(at), value(best)) { at } else { best });
                    out.push(i64::try_from(best).unwrap_or(i64::MAX));
                }
            }
        });
    }
}

impl Step for Arg {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        match self.dtype {
            DType::Float32 => self.choose::<f32>(block),
            DType::Float64 => self.choose::<f64>(block),
            _ => self.choose::<i64>(block),
        }
        Ok(())
    }
}
