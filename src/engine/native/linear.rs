//! A matrix of rows times coefficients, in float64.

use super::arithmetic::add_two;
use super::attributes::{float, has, int, only, plain};
use super::classes::{Decide, add_classes, labels, transform};
use super::planner::{Known, Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::Axis;
use super::values::Constant;
use crate::onnx::FullNode;
use crate::tensor::DType;

#[derive(Debug)]
struct Linear {
    /// Those of one output after the other.
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
    columns: usize,
    from: usize,
    to: usize,
}

/// Coefficients and intercepts of a model of `ai.onnx.ml`.
fn add<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    outputs: usize,
    value: &Value,
    columns: usize,
) -> Planned<Value> {
    let double = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
    let coefficients = node.floats("coefficients").map(double).unwrap_or_default();
    let mut intercepts = node.floats("intercepts").map(double).unwrap_or_default();
    let fits = outputs > 0 && outputs.checked_mul(columns) == Some(coefficients.len());
    if fits && intercepts.is_empty() {
        intercepts = vec![0.0; outputs];
    }
    if !fits || intercepts.len() != outputs {
        return Err("coefficients that do not fit its input".to_owned());
    }
    let from = value.slot;
    let shape = vec![Axis::Rows, Axis::Size(outputs)];
    planner.add(DType::Float64, shape, |to| Linear { coefficients, intercepts, columns, from, to })
}

pub(super) fn regressor<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let (value, columns) = planner.matrix(node, 0)?;
    plain(node, "post_transform", "NONE")?;
    only(node, &["coefficients", "intercepts", "targets", "post_transform"])?;
    if value.dtype != DType::Float32 || node.inputs.len() != 1 {
        return Err("an input that is not of float32".to_owned());
    }
    let targets = usize::try_from(int(node, "targets", 1)?).unwrap_or(0);
    let sums = add(planner, node, targets, &value, columns)?;
    let sums = planner.cast(sums, DType::Float32)?;
    planner.name(node, 0, Known::Value(sums))
}

pub(super) fn classifier<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let (value, columns) = planner.floats(node)?;
    let known = ["coefficients", "intercepts", "multi_class", "classlabels_ints", "classlabels_strings"];
    only(node, &[&known[..], &["post_transform"]].concat())?;
    let (labels, count) = labels(node, "classlabels_ints")?;
    let transform = transform(node)?;
    let scores = add(planner, node, count, &value, columns)?;
    add_classes(planner, node, Decide::Largest(transform, count), scores.slot, labels, count)
}

/// Rows times a constant matrix.
pub(super) fn mat_mul<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let (value, columns) = planner.matrix(node, 0)?;
    let (constant, dims) = planner.constant(node, 1, MOST_WEIGHTS)?;
    let (outputs, shape) = match dims.as_slice() {
        [rows, outputs] if *rows == columns => (*outputs, vec![Axis::Rows, Axis::Size(*outputs)]),
        [rows] if *rows == columns => (1, vec![Axis::Rows]),
        _ => return Err("a constant of another shape".to_owned()),
    };
    let weights = weights(&constant, value.dtype, [columns, outputs], false)?;
    multiply(planner, node, &value, columns, weights, vec![0.0; outputs], shape)
}

pub(super) fn gemm<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["alpha", "beta", "transA", "transB"])?;
    let (value, columns) = planner.matrix(node, 0)?;
    let is_turned = int(node, "transB", 0)? != 0;
    let (constant, dims) = planner.constant(node, 1, MOST_WEIGHTS)?;
    let outputs = match (dims.as_slice(), is_turned) {
        ([rows, outputs], false) | ([outputs, rows], true) if *rows == columns => *outputs,
        _ => return Err("a constant of another shape".to_owned()),
    };
    if int(node, "transA", 0)? != 0 {
        return Err("rows that are columns".to_owned());
    }
    let [alpha, beta] = [float(node, "alpha", 1.0)?, float(node, "beta", 1.0)?].map(f64::from);
    // What ONNX Runtime makes of infinite numbers times 0 is up to its library of matrices.
    if !alpha.is_normal() || !beta.is_finite() {
        return Err("factors that are not known".to_owned());
    }
    let mut weights = weights(&constant, value.dtype, [columns, outputs], is_turned)?;
    for weight in &mut weights {
        *weight *= alpha;
    }
    let shape = vec![Axis::Rows, Axis::Size(outputs)];
    // What is multiplied by 0 is not looked at, even if it is no number.
    if beta == 0.0 || !has(node, 2) {
        return multiply(planner, node, &value, columns, weights, vec![0.0; outputs], shape);
    }
    if let Some(rows) = addend_of_rows(planner, node, outputs)? {
        if beta.to_bits() != 1_f64.to_bits() || weights.len() > MOST_WEIGHTS {
            return Err("a factor of rows".to_owned());
        }
        let (from, dtype) = (value.slot, value.dtype);
        let (coefficients, intercepts) = (weights, vec![0.0; outputs]);
        let product =
            planner.add(DType::Float64, shape, |to| Linear { coefficients, intercepts, columns, from, to })?;
        let rows = planner.cast(rows, DType::Float64)?;
        let sum = add_two(planner, &product, &rows)?;
        let sum = planner.cast(sum, dtype)?;
        return planner.name(node, 0, Known::Value(sum));
    }
    let (constant, dims) = planner.constant(node, 2, MOST_WEIGHTS)?;
    let is_row = matches!(dims.as_slice(), [] | [_] | [1, _]);
    let mut intercepts = match constant.to_doubles().filter(|_| is_row).as_deref() {
        Some([one]) => vec![*one; outputs],
        Some(values) if values.len() == outputs => values.to_vec(),
        _ => return Err("a constant of another shape".to_owned()),
    };
    for intercept in &mut intercepts {
        *intercept *= beta;
    }
    multiply(planner, node, &value, columns, weights, intercepts, shape)
}

/// What is added to a product, if it is of rows: a number for all outputs, or one for each.
fn addend_of_rows<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, outputs: usize) -> Planned<Option<Value>> {
    let addend = planner.value(node, 2)?;
    match addend.shape.as_slice() {
        [Axis::Rows, Axis::Size(columns)] if *columns == 1 || *columns == outputs => Ok(Some(addend)),
        shape if shape.contains(&Axis::Rows) => Err("an addend of another shape".to_owned()),
        _ => Ok(None),
    }
}

/// The numbers of a matrix, those of one column after the other.
fn weights(constant: &Constant, dtype: DType, [rows, columns]: [usize; 2], is_turned: bool) -> Planned<Vec<f64>> {
    let is_same =
        matches!((constant, dtype), (Constant::Floats(_), DType::Float32) | (Constant::Doubles(_), DType::Float64));
    let numbers = constant.to_doubles().filter(|_| is_same && columns > 0).ok_or("a constant of another type")?;
    if is_turned {
        return Ok(numbers);
    }
    Ok((0..columns)
        .flat_map(|column| (0..rows).map(move |row| (row, column)))
        .map(|(row, column)| numbers[row * columns + column])
        .collect())
}

/// Numbers of a matrix that rows are multiplied with, at most: what is larger is work for a library of matrices.
const MOST_WEIGHTS: usize = 1 << 13;

fn multiply<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    value: &Value,
    columns: usize,
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
    shape: Vec<Axis>,
) -> Planned<()> {
    if coefficients.len() > MOST_WEIGHTS {
        return Err("a large matrix".to_owned());
    }
    let Value { slot: from, dtype, .. } = *value;
    let made = planner.add(DType::Float64, shape, |to| Linear { coefficients, intercepts, columns, from, to })?;
    let made = planner.cast(made, dtype)?;
    planner.name(node, 0, Known::Value(made))
}

impl Step for Linear {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let mut rows = std::mem::take(&mut block.scratch);
        block.numbers(self.from, &mut rows);
        block.make(self.to, |_, scores| {
            for row in rows.chunks_exact(self.columns) {
                for (coefficients, intercept) in self.coefficients.chunks_exact(self.columns).zip(&self.intercepts) {
                    let products = row.iter().zip(coefficients).map(|(value, factor)| value * factor);
                    scores.push(products.sum::<f64>() + intercept);
                }
            }
        });
        block.scratch = rows;
        Ok(())
    }
}
