//! Operators that only say how elements are arranged, or make constants.

use super::attributes::{has, int, only};
use super::planner::{Known, MOST_AXES, Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::{self, Axis, each, place, rows_at};
use super::values::{Element, by_kind};
use crate::onnx::{Data, FullNode};
use crate::tensor::DType;

/// The same element everywhere.
#[derive(Debug)]
struct Fill {
    dtype: DType,
    from: usize,
    each: usize,
    to: usize,
}

pub(super) fn identity<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let known = planner.known(node, 0)?;
    planner.name(node, 0, known)
}

/// A value with the same elements in another shape.
fn arrange<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, value: &Value, shape: Vec<Axis>) -> Planned<()> {
    planner.name(node, 0, Known::Value(Value { shape, ..value.clone() }))
}

pub(super) fn reshape<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["allowzero"])?;
    let (value, target) = (planner.value(node, 0)?, planner.ints(node, 1, MOST_AXES)?);
    if int(node, "allowzero", 0)? != 0 && target.contains(&0) {
        return Err("a dimension of 0".to_owned());
    }
    let shape = shape::reshape(&value.shape, &target)?;
    arrange(planner, node, &value, shape)
}

pub(super) fn flatten<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let value = planner.of_rows(node, 0)?;
    let axis = int(node, "axis", 1)?;
    // Negative axes count differently in different versions; rows stay in front only after one of these.
    let (Some(0), Ok(axis @ 1..)) = (rows_at(&value.shape), usize::try_from(axis)) else {
        return Err("rows that do not stay in front".to_owned());
    };
    let (before, after) = value.shape.split_at_checked(axis).ok_or("an axis beyond its input")?;
    if each(before)? != 1 {
        return Err("rows that do not stay alone".to_owned());
    }
    let after = each(after)?;
    arrange(planner, node, &value, vec![Axis::Rows, Axis::Size(after)])
}

/// The axes of Squeeze, Unsqueeze and the like: an attribute before version 13, an input since.
pub(super) fn axes<'a>(planner: &Planner<'a>, node: &FullNode<'a>, since: u64) -> Planned<Vec<i64>> {
    if planner.version < since {
        return node.ints("axes").map(<[i64]>::to_vec).ok_or_else(|| "no whole numbers in `axes`".to_owned());
    }
    if has(node, 1) { planner.ints(node, 1, MOST_AXES) } else { Ok(Vec::new()) }
}

pub(super) fn squeeze<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axes"])?;
    let value = planner.value(node, 0)?;
    let mut gone = vec![false; value.shape.len()];
    for axis in axes(planner, node, 13)? {
        gone[place(axis, value.shape.len())?] = true;
    }
    let is_one = value.shape.iter().zip(&gone).all(|(axis, gone)| !gone || *axis == Axis::Size(1));
    // Without axes it depends on the number of rows which of them are gone.
    if !is_one || !gone.contains(&true) {
        return Err("axes that are not of size 1".to_owned());
    }
    let shape = value.shape.iter().zip(gone).filter(|(_, gone)| !gone).map(|(axis, _)| *axis).collect();
    arrange(planner, node, &value, shape)
}

pub(super) fn unsqueeze<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axes"])?;
    let value = planner.value(node, 0)?;
    let axes = axes(planner, node, 13)?;
    let rank = value.shape.len() + axes.len();
    let mut is_new = vec![false; rank];
    for axis in &axes {
        is_new[place(*axis, rank)?] = true;
    }
    if is_new.iter().filter(|is_new| **is_new).count() != axes.len() {
        return Err("one axis twice".to_owned());
    }
    let mut old = value.shape.iter();
    let next = |is_new: bool| if is_new { Some(Axis::Size(1)) } else { old.next().copied() };
    let shape = is_new.into_iter().filter_map(next).collect();
    arrange(planner, node, &value, shape)
}

pub(super) fn shape<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let value = planner.value(node, 0)?;
    planner.name(node, 0, Known::Shape(value.shape))
}

pub(super) fn constant<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let [("value", Data::Tensor(constant))] = node.attributes.as_slice() else {
        return Err("another value than a tensor".to_owned());
    };
    let value = planner.keep(constant)?;
    planner.name(node, 0, Known::Value(value))
}

pub(super) fn constant_of_shape<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["value"])?;
    let shape = match planner.known(node, 0)? {
        Known::Shape(shape) => shape,
        Known::Value(_) => {
            let sizes = planner.ints(node, 0, MOST_AXES)?.into_iter().map(|size| usize::try_from(size).map(Axis::Size));
            sizes.collect::<Result<_, _>>().map_err(|_| "a negative size")?
        }
        Known::Maps(..) => return Err("an input that is no shape".to_owned()),
    };
    let Some(Data::Tensor(constant)) = node.get("value") else { return Err("no tensor in `value`".to_owned()) };
    let value = planner.keep(constant)?;
    let each = each(&shape)?;
    if planner.source(&value).each != 1 {
        return Err("another value than one".to_owned());
    }
    let dtype = value.dtype;
    planner.emit(node, dtype, shape, |to| Fill { dtype, from: value.slot, each, to })
}

fn run_fill<'a, T: Element<'a>>(block: &mut Block<'a>, step: &Fill) {
    block.make(step.to, |block, out: &mut Vec<T>| {
        if let Some(element) = block.get::<T>(step.from).first() {
            out.resize(block.rows * step.each, *element);
        }
    });
}

impl Step for Fill {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_fill(block, self));
        Ok(())
    }
}
