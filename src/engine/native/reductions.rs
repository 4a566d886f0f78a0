//! Rows reduced along their axes, never across rows.

use super::attributes::{int, only};
use super::planner::{Planned, Planner};
use super::program::{Block, Source, Step, Trouble};
use super::shape::{Axis, each, place};
use super::shaping::axes;
use crate::onnx::FullNode;
use crate::tensor::DType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Sum,
    Mean,
    Largest,
    Least,
    Product,
    SumOfSquares,
    L1,
    L2,
    LogSumExp,
}

#[derive(Debug)]
struct Reduce {
    how: How,
    /// To which element of the result each element of a row belongs.
    groups: Vec<u32>,
    each: usize,
    dtype: DType,
    from: Source,
    to: usize,
}

fn how(operator: &str) -> Option<How> {
    Some(match operator {
        "ReduceSum" => How::Sum,
        "ReduceMean" => How::Mean,
        "ReduceMax" => How::Largest,
        "ReduceMin" => How::Least,
        "ReduceProd" => How::Product,
        "ReduceSumSquare" => How::SumOfSquares,
        "ReduceL1" => How::L1,
        "ReduceL2" => How::L2,
        "ReduceLogSumExp" => How::LogSumExp,
        _ => return None,
    })
}

pub(super) fn knows(operator: &str) -> bool {
    how(operator).is_some()
}

pub(super) fn reduce<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axes", "keepdims", "noop_with_empty_axes"])?;
    let how = how(node.operator).ok_or("no meaning")?;
    let value = planner.value(node, 0)?;
    let is_known = match value.dtype {
        DType::Float32 | DType::Float64 => true,
        DType::Int64 | DType::Int32 => matches!(how, How::Sum | How::Product | How::Largest | How::Least),
        _ => false,
    };
    if !is_known {
        return Err("an input of a type that is not known".to_owned());
    }
    // ReduceSum was the first whose axes became an input.
    let since = if how == How::Sum { 13 } else { 18 };
    let axes = axes(planner, node, since)?;
    let rank = value.shape.len();
    let mut is_gone = vec![false; rank];
    for axis in &axes {
        is_gone[place(*axis, rank)?] = true;
    }
    let has_rows = value.shape.iter().zip(&is_gone).any(|(axis, gone)| *gone && *axis == Axis::Rows);
    if axes.is_empty() || has_rows {
        return Err("rows among its axes".to_owned());
    }
    let mut strides = vec![0; rank];
    let mut count = 1;
    for (at, axis) in value.shape.iter().enumerate().rev() {
        if let (Axis::Size(size), false) = (axis, is_gone[at]) {
            strides[at] = count;
            count *= size;
        }
    }
    let total = each(&value.shape)?;
    if total == 0 {
        return Err("nothing to reduce".to_owned());
    }
    let mut groups = vec![0; total];
    let mut inner = total;
    for (axis, stride) in value.shape.iter().zip(strides) {
        let Axis::Size(size) = axis else { continue };
        inner /= size;
        for (at, group) in groups.iter_mut().enumerate() {
            *group += u32::try_from(at / inner % size * stride).unwrap_or(u32::MAX);
        }
    }
    let keeps = int(node, "keepdims", 1)? != 0;
    let left = |(axis, gone): (&Axis, &bool)| match (gone, keeps) {
        (false, _) => Some(*axis),
        (true, true) => Some(Axis::Size(1)),
        (true, false) => None,
    };
    let shape: Vec<Axis> = value.shape.iter().zip(&is_gone).filter_map(left).collect();
    let (from, dtype) = (planner.source(&value), value.dtype);
    planner.emit(node, dtype, shape, |to| Reduce { how, groups, each: count, dtype, from, to })
}

impl How {
    /// The numbers of a group, of which there is one at least, as one.
    fn start(self) -> f64 {
        match self {
            Self::Product => 1.0,
            Self::Largest | Self::LogSumExp => f64::NEG_INFINITY,
            Self::Least => f64::INFINITY,
            _ => 0.0,
        }
    }

    fn add(self, total: f64, value: f64) -> f64 {
        match self {
            Self::Sum | Self::Mean => total + value,
            Self::Product => total * value,
            Self::SumOfSquares | Self::L2 => total + value * value,
            Self::L1 => total + value.abs(),
            // A missing number stays one.
            Self::Largest | Self::LogSumExp => {
                if value > total || value.is_nan() {
                    value
                } else {
                    total
                }
            }
            Self::Least => {
                if value < total || value.is_nan() {
                    value
                } else {
                    total
                }
            }
        }
    }
}

impl Reduce {
    #[allow(clippy::cast_precision_loss, reason = "columns of a row")]
    fn reduce(&self, row: &[f64], totals: &mut Vec<f64>) {
        totals.clear();
        totals.resize(self.each, self.how.start());
        for (value, group) in row.iter().zip(&self.groups) {
            let total = &mut totals[*group as usize];
            *total = self.how.add(*total, *value);
        }
        match self.how {
            How::Mean => {
                let count = (self.groups.len() / self.each.max(1)) as f64;
                for total in totals.iter_mut() {
                    *total /= count;
                }
            }
            How::L2 => {
                for total in totals.iter_mut() {
                    *total = total.sqrt();
                }
            }
            How::LogSumExp => {
                let mut sums = vec![0.0; self.each];
                for (value, group) in row.iter().zip(&self.groups) {
                    let largest = totals[*group as usize];
                    // Infinities less themselves are no numbers.
                    sums[*group as usize] += if largest.is_infinite() { value.exp() } else { (value - largest).exp() };
                }
                for (total, sum) in totals.iter_mut().zip(sums) {
                    *total = if total.is_infinite() { sum.ln() } else { *total + sum.ln() };
                }
            }
            _ => {}
        }
    }
}

/// Makes each row of floats of a row, by `make`, in float64.
pub(super) fn by_rows(
    block: &mut Block<'_>,
    (from, to, is_single): (Source, usize, bool),
    mut make: impl FnMut(&[f64], &mut Vec<f64>),
) {
    let (mut numbers, mut made) = (std::mem::take(&mut block.scratch), Vec::new());
    block.numbers(from.slot, &mut numbers);
    #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
    if is_single {
        block.make(to, |block, out: &mut Vec<f32>| {
            for row in 0..block.rows {
                make(from.row(&numbers, row), &mut made);
                out.extend(made.iter().map(|value| *value as f32));
            }
        });
    } else {
        block.make(to, |block, out: &mut Vec<f64>| {
            for row in 0..block.rows {
                make(from.row(&numbers, row), &mut made);
                out.extend_from_slice(&made);
            }
        });
    }
    block.scratch = numbers;
}

impl Reduce {
    /// Whole numbers, which wrap round.
    fn reduce_ints(&self, block: &mut Block<'_>) {
        let start = match self.how {
            How::Product => 1,
            How::Largest => i64::MIN,
            How::Least => i64::MAX,
            _ => 0,
        };
        let add = match self.how {
            How::Product => i64::wrapping_mul,
            How::Largest => i64::max,
            How::Least => i64::min,
            _ => i64::wrapping_add,
        };
        #[allow(clippy::cast_possible_truncation, reason = "whole numbers wrap round")]
        let short = |value: i64| if self.dtype == DType::Int32 { i64::from(value as i32) } else { value };
        block.make(self.to, |block, out: &mut Vec<i64>| {
            let numbers = block.get::<i64>(self.from.slot);
            for row in 0..block.rows {
                let first = out.len();
                out.resize(first + self.each, start);
                for (value, group) in self.from.row(numbers, row).iter().zip(&self.groups) {
                    let total = &mut out[first + *group as usize];
                    *total = short(add(*total, *value));
                }
            }
        });
    }
}

impl Step for Reduce {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        match self.dtype {
            DType::Float32 | DType::Float64 => {
                let is_single = self.dtype == DType::Float32;
                by_rows(block, (self.from, self.to, is_single), |row, totals| self.reduce(row, totals));
            }
            _ => self.reduce_ints(block),
        }
        Ok(())
    }
}
