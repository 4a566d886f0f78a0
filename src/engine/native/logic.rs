//! Comparisons, and what is made of their answers.

use super::attributes::only;
use super::elementwise::{Side, apply, choose as choose_elements, sides, zip};
use super::planner::{Planned, Planner};
use super::program::{Block, Step, Trouble};
use super::shape::broadcast;
use super::values::{Element, by_kind};
use crate::onnx::FullNode;
use crate::tensor::DType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

#[derive(Debug)]
struct Compare {
    how: How,
    dtype: DType,
    sides: [Side; 2],
    each: usize,
    to: usize,
}

#[derive(Debug)]
struct Not {
    from: usize,
    to: usize,
}

#[derive(Debug)]
struct IsMissing {
    from: usize,
    to: usize,
    is_single: bool,
}

#[derive(Debug)]
struct Choose {
    dtype: DType,
    sides: [Side; 3],
    each: usize,
    to: usize,
}

fn how(operator: &str) -> Option<How> {
    Some(match operator {
        "Equal" => How::Equal,
        "Less" => How::Less,
        "LessOrEqual" => How::LessOrEqual,
        "Greater" => How::Greater,
        "GreaterOrEqual" => How::GreaterOrEqual,
        "And" => How::And,
        "Or" => How::Or,
        "Xor" => How::Xor,
        _ => return None,
    })
}

pub(super) fn compares(operator: &str) -> bool {
    matches!(operator, "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual")
}

pub(super) fn compare<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let is_known = |dtype: DType| match dtype {
        DType::Bool | DType::String => node.operator == "Equal",
        _ => true,
    };
    pair(planner, node, is_known)
}

pub(super) fn combine<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    pair(planner, node, |dtype| dtype == DType::Bool)
}

fn pair<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, is_known: impl Fn(DType) -> bool) -> Planned<()> {
    only(node, &[])?;
    let (left, right) = (planner.value(node, 0)?, planner.value(node, 1)?);
    let dtype = left.dtype;
    let how = how(node.operator).filter(|_| right.dtype == dtype && is_known(dtype));
    let how = how.ok_or("inputs of types that are not known")?;
    let shape = broadcast(&left.shape, &right.shape)?;
    let (each, sides) = sides(planner, [&left, &right], &shape)?;
    planner.emit(node, DType::Bool, shape, |to| Compare { how, dtype, sides, each, to })
}

pub(super) fn unary<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let value = planner.value(node, 0)?;
    let from = value.slot;
    match (node.operator, value.dtype) {
        ("Not", DType::Bool) => planner.emit(node, DType::Bool, value.shape, |to| Not { from, to }),
        ("IsNaN", DType::Float32 | DType::Float64) => {
            let is_single = value.dtype == DType::Float32;
            planner.emit(node, DType::Bool, value.shape, |to| IsMissing { from, to, is_single })
        }
        _ => Err("an input of a type that is not known".to_owned()),
    }
}

pub(super) fn choose<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let [which, yes, no] = [planner.value(node, 0)?, planner.value(node, 1)?, planner.value(node, 2)?];
    if which.dtype != DType::Bool || yes.dtype != no.dtype {
        return Err("inputs of types that are not known".to_owned());
    }
    let shape = broadcast(&which.shape, &broadcast(&yes.shape, &no.shape)?)?;
    let (each, sides) = sides(planner, [&which, &yes, &no], &shape)?;
    let dtype = yes.dtype;
    planner.emit(node, dtype, shape, |to| Choose { dtype, sides, each, to })
}

fn ordered<'a, T: Element<'a> + PartialOrd>(block: &mut Block<'a>, step: &Compare) {
    let f: fn(T, T) -> bool = match step.how {
        How::Less => |a, b| a < b,
        How::LessOrEqual => |a, b| a <= b,
        How::Greater => |a, b| a > b,
        How::GreaterOrEqual => |a, b| a >= b,
        How::Equal | How::And | How::Or | How::Xor => |a, b| a == b,
    };
    zip(block, [&step.sides[0], &step.sides[1]], (step.each, step.to), f);
}

impl Step for Compare {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let (sides, place) = ([&self.sides[0], &self.sides[1]], (self.each, self.to));
        match self.how {
            How::And => zip(block, sides, place, |a, b| a && b),
            How::Or => zip(block, sides, place, |a, b| a || b),
            How::Xor => zip(block, sides, place, |a: bool, b| a != b),
            _ => by_kind!(self.dtype, ordered(block, self)),
        }
        Ok(())
    }
}

impl Step for Not {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        apply(block, self.from, self.to, |value: bool| !value);
        Ok(())
    }
}

impl Step for IsMissing {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        if self.is_single {
            apply(block, self.from, self.to, f32::is_nan);
        } else {
            apply(block, self.from, self.to, f64::is_nan);
        }
        Ok(())
    }
}

impl Step for Choose {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, choose_elements(block, &self.sides, self.each, self.to));
        Ok(())
    }
}
