//! Rows whose last axis is scaled by what it adds up to.

use super::attributes::{int, only};
use super::planner::{Known, Planned, Planner, Value};
use super::program::{Block, Source, Step, Trouble};
use super::reductions::by_rows;
use super::shape::{Axis, place};
use crate::onnx::FullNode;
use crate::tensor::DType;

/// Softmax of the last axis.
#[derive(Debug)]
struct Softmax {
    columns: usize,
    is_single: bool,
    from: usize,
    to: usize,
}

/// The last axis divided by its norm.
#[derive(Debug)]
struct Normalize {
    is_l1: bool,
    columns: usize,
    is_single: bool,
    from: usize,
    to: usize,
}

fn of_floats<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<Value> {
    let value = planner.value(node, 0)?;
    let is_real = matches!(value.dtype, DType::Float32 | DType::Float64);
    if is_real { Ok(value) } else { Err("an input that is not of floats".to_owned()) }
}

pub(super) fn normalize<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, if node.operator == "Softmax" { &["axis"] } else { &["axis", "p"] })?;
    let value = of_floats(planner, node)?;
    let rank = value.shape.len();
    // Before version 13 Softmax looked at all axes from one on.
    let default = if node.operator == "Softmax" && planner.version < 13 { 1 } else { -1 };
    let axis = place(int(node, "axis", default)?, rank)?;
    let (true, Some(Axis::Size(columns @ 1..))) = (axis + 1 == rank, value.shape.get(axis).copied()) else {
        return Err("another axis than the last".to_owned());
    };
    let (from, is_single) = (value.slot, value.dtype == DType::Float32);
    if node.operator == "Softmax" {
        return planner.emit(node, value.dtype, value.shape, |to| Softmax { columns, is_single, from, to });
    }
    let is_l1 = match int(node, "p", 2)? {
        1 => true,
        2 => false,
        _ => return Err("a norm that is not known".to_owned()),
    };
    let made = planner.add(value.dtype, value.shape, |to| Normalize { is_l1, columns, is_single, from, to })?;
    planner.name(node, 0, Known::Value(made))
}

impl Softmax {
    fn source(&self, block: &Block<'_>) -> Source {
        let each = block.slot(self.from).len() / block.rows.max(1);
        Source { slot: self.from, each, stride: each }
    }
}

impl Step for Softmax {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let source = self.source(block);
        by_rows(block, (source, self.to, self.is_single), |row, made| {
            made.clear();
            made.extend_from_slice(row);
            made.chunks_exact_mut(self.columns).for_each(crate::trees::softmax);
        });
        Ok(())
    }
}

impl Step for Normalize {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let each = block.slot(self.from).len() / block.rows.max(1);
        let source = Source { slot: self.from, each, stride: each };
        by_rows(block, (source, self.to, self.is_single), |row, made| {
            made.clear();
            made.extend_from_slice(row);
            for row in made.chunks_exact_mut(self.columns) {
                let norm = if self.is_l1 {
                    row.iter().map(|value| value.abs()).sum::<f64>()
                } else {
                    row.iter().map(|value| value * value).sum::<f64>().sqrt()
                };
                if norm != 0.0 {
                    for value in row {
                        *value /= norm;
                    }
                }
            }
        });
        Ok(())
    }
}
