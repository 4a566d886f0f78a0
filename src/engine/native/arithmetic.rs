//! Arithmetic on numbers: float32 as float32, float64 as float64, and whole numbers where nothing can go wrong.

use super::attributes::{float, has, only};
use super::elementwise::{Side, apply, sides, sum, zip};
use super::planner::{Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::{broadcast, each};
use super::values::Constant;
use crate::onnx::FullNode;
use crate::tensor::DType;

#[derive(Debug)]
struct Unary {
    of: fn(f64) -> f64,
    is_single: bool,
    from: usize,
    to: usize,
}

#[derive(Debug)]
struct Binary {
    how: How,
    dtype: DType,
    sides: [Side; 2],
    each: usize,
    to: usize,
}

#[derive(Debug)]
struct Sum {
    is_single: bool,
    /// What sums are divided by.
    divisor: f64,
    sides: Vec<Side>,
    each: usize,
    to: usize,
}

#[derive(Debug)]
struct Clip {
    least: f64,
    most: f64,
    is_single: bool,
    from: usize,
    to: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Largest,
    Least,
}

/// Functions of one number. They are computed in float64, and rounded once where numbers are float32.
fn function(operator: &str) -> Option<fn(f64) -> f64> {
    Some(match operator {
        "Neg" => |value| -value,
        "Abs" => f64::abs,
        "Sqrt" => f64::sqrt,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Tanh" => f64::tanh,
        "Sigmoid" => |value| 1.0 / (1.0 + (-value).exp()),
        "Relu" => |value| if value < 0.0 { 0.0 } else { value },
        "Reciprocal" => |value| 1.0 / value,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Sign" => |value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                value * 0.0
            }
        },
        _ => return None,
    })
}

fn how(operator: &str) -> Option<How> {
    Some(match operator {
        "Add" => How::Add,
        "Sub" => How::Subtract,
        "Mul" => How::Multiply,
        "Div" => How::Divide,
        "Pow" => How::Power,
        "Max" => How::Largest,
        "Min" => How::Least,
        _ => return None,
    })
}

pub(super) fn is_unary(operator: &str) -> bool {
    function(operator).is_some()
}

pub(super) fn is_binary(operator: &str) -> bool {
    matches!(operator, "Add" | "Sub" | "Mul" | "Div" | "Pow")
}

fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::Float32 | DType::Float64)
}

pub(super) fn unary<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let value = planner.value(node, 0)?;
    let of = function(node.operator).filter(|_| is_real(value.dtype)).ok_or("an input that is not of floats")?;
    let is_single = value.dtype == DType::Float32;
    planner.emit(node, value.dtype, value.shape, |to| Unary { of, is_single, from: value.slot, to })
}

pub(super) fn binary<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let how = how(node.operator).filter(|_| node.inputs.len() == 2).ok_or("not two inputs")?;
    let (left, right) = (planner.value(node, 0)?, planner.value(node, 1)?);
    let made = pair(planner, how, &left, &right)?;
    planner.name(node, 0, super::planner::Known::Value(made))
}

/// The sum of two values.
pub(super) fn add_two(planner: &mut Planner<'_>, left: &Value, right: &Value) -> Planned<Value> {
    pair(planner, How::Add, left, right)
}

fn pair(planner: &mut Planner<'_>, how: How, left: &Value, right: &Value) -> Planned<Value> {
    let dtype = left.dtype;
    // Dividing whole numbers by zero ends the process of who does it.
    let is_whole = matches!(dtype, DType::Int64 | DType::Int32) && !matches!(how, How::Divide | How::Power);
    if right.dtype != dtype || !(is_real(dtype) || is_whole) {
        return Err("inputs of types that are not known".to_owned());
    }
    let shape = broadcast(&left.shape, &right.shape)?;
    let (each, sides) = sides(planner, [left, right], &shape)?;
    planner.add(dtype, shape, |to| Binary { how, dtype, sides, each, to })
}

/// Sum and Mean in float64, rounded once; Max and Min two by two.
pub(super) fn of_many<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let values = (0..node.inputs.len()).map(|at| planner.value(node, at)).collect::<Planned<Vec<_>>>()?;
    let first = values.first().ok_or("no inputs")?;
    if let Some(how) = how(node.operator) {
        let largest =
            values[1..].iter().try_fold(first.clone(), |largest, value| pair(planner, how, &largest, value))?;
        return planner.name(node, 0, super::planner::Known::Value(largest));
    }
    let dtype = first.dtype;
    if !is_real(dtype) || values.iter().any(|value| value.dtype != dtype) {
        return Err("inputs of types that are not known".to_owned());
    }
    let shape = values.iter().try_fold(Vec::new(), |shape, value| broadcast(&shape, &value.shape))?;
    let sides = values.iter().map(|value| Side::new(planner, value, &shape)).collect::<Planned<Vec<_>>>()?;
    #[allow(clippy::cast_precision_loss, reason = "a few inputs")]
    let divisor = if node.operator == "Mean" { sides.len() as f64 } else { 1.0 };
    let each = each(&shape)?;
    planner.emit(node, dtype, shape, |to| Sum { is_single: dtype == DType::Float32, divisor, sides, each, to })
}

pub(super) fn clip<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["min", "max"])?;
    let value = planner.value(node, 0)?;
    // Bounds that are left out are the finite numbers farthest from zero.
    let farthest = if value.dtype == DType::Float32 { f64::from(f32::MAX) } else { f64::MAX };
    let bound = |planner: &Planner<'a>, at: usize, name: &str, default: f64| {
        if planner.version < 11 {
            return Ok(if node.get(name).is_some() { f64::from(float(node, name, 0.0)?) } else { default });
        }
        if !has(node, at) {
            return Ok(default);
        }
        match planner.constant(node, at, 1)?.0 {
            Constant::Floats(values) if values.len() == 1 && value.dtype == DType::Float32 => Ok(f64::from(values[0])),
            Constant::Doubles(values) if values.len() == 1 && value.dtype == DType::Float64 => Ok(values[0]),
            _ => Err("bounds that are not known".to_owned()),
        }
    };
    let (least, most) = (bound(planner, 1, "min", -farthest)?, bound(planner, 2, "max", farthest)?);
    // Where the bounds are the wrong way round, or are no numbers, ONNX says nothing.
    if !is_real(value.dtype) || least.partial_cmp(&most).is_none_or(std::cmp::Ordering::is_gt) {
        return Err("inputs or bounds that are not known".to_owned());
    }
    let is_single = value.dtype == DType::Float32;
    planner.emit(node, value.dtype, value.shape, |to| Clip { least, most, is_single, from: value.slot, to })
}

impl Step for Unary {
    #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        if self.is_single {
            apply(block, self.from, self.to, |value: f32| (self.of)(f64::from(value)) as f32);
        } else {
            apply(block, self.from, self.to, |value: f64| (self.of)(value));
        }
        Ok(())
    }
}

macro_rules! real {
    ($how:expr, $type:ty) => {
        match $how {
            How::Add => |a: $type, b: $type| a + b,
            How::Subtract => |a: $type, b: $type| a - b,
            How::Multiply => |a: $type, b: $type| a * b,
            How::Divide => |a: $type, b: $type| a / b,
            How::Power => |a: $type, b: $type| a.powf(b),
            // A missing number stays one.
            How::Largest => |a: $type, b: $type| if a.is_nan() || a > b { a } else { b },
            How::Least => |a: $type, b: $type| if a.is_nan() || a < b { a } else { b },
        }
    };
}

impl Step for Binary {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let (sides, place) = ([&self.sides[0], &self.sides[1]], (self.each, self.to));
        match self.dtype {
            DType::Float32 => {
                let f: fn(f32, f32) -> f32 = real!(self.how, f32);
                zip(block, sides, place, f);
            }
            DType::Float64 => {
                let f: fn(f64, f64) -> f64 = real!(self.how, f64);
                zip(block, sides, place, f);
            }
            _ => {
                let f: fn(i64, i64) -> i64 = match self.how {
                    How::Subtract => i64::wrapping_sub,
                    How::Multiply => i64::wrapping_mul,
                    How::Largest => i64::max,
                    How::Least => i64::min,
                    How::Add | How::Divide | How::Power => i64::wrapping_add,
                };
                #[allow(clippy::cast_possible_truncation, reason = "whole numbers wrap round")]
                let short = |value: i64| if self.dtype == DType::Int32 { i64::from(value as i32) } else { value };
                zip(block, sides, place, |a, b| short(f(a, b)));
            }
        }
        Ok(())
    }
}

impl Step for Sum {
    #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let place = (self.each, self.to);
        if self.is_single {
            sum::<f32>(block, &self.sides, place, |total| (total / self.divisor) as f32);
        } else {
            sum::<f64>(block, &self.sides, place, |total| total / self.divisor);
        }
        Ok(())
    }
}

impl Step for Clip {
    #[allow(clippy::cast_possible_truncation, reason = "the bounds are float32 where the numbers are")]
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        // A missing number stays one.
        let clip = |value: f64| {
            if value < self.least {
                self.least
            } else if value > self.most {
                self.most
            } else {
                value
            }
        };
        if self.is_single {
            apply(block, self.from, self.to, |value: f32| clip(f64::from(value)) as f32);
        } else {
            apply(block, self.from, self.to, clip);
        }
        Ok(())
    }
}
