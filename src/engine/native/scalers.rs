//! Numbers scaled, filled in, and divided by their norm, column by column or row by row.

use super::attributes::{float, int, only};
use super::planner::{Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use crate::onnx::FullNode;
use crate::tensor::DType;

/// `(x - offset) * scale` for each column.
#[derive(Debug)]
struct Scale {
    offsets: Vec<f32>,
    factors: Vec<f32>,
    is_single: bool,
    from: usize,
    to: usize,
}

/// Numbers in the place of missing ones, for each column.
#[derive(Debug)]
struct Impute {
    replaced: f32,
    by: Vec<f32>,
    from: usize,
    to: usize,
}

#[derive(Debug)]
struct ImputeInts {
    replaced: i64,
    by: Vec<i64>,
    from: usize,
    to: usize,
}

/// Rows divided by their norm.
#[derive(Debug)]
struct Normalize {
    norm: Norm,
    columns: usize,
    from: usize,
    to: usize,
}

/// 1 for what is beyond a threshold, 0 for all else.
#[derive(Debug)]
struct Binarize {
    threshold: f32,
    from: usize,
    to: usize,
}

/// Norms of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Norm {
    Max,
    L1,
    L2,
}

pub(super) fn scaler<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["offset", "scale"])?;
    let (mut value, columns) = planner.matrix(node, 0)?;
    if node.floats("offset").map(<[f32]>::len) != node.floats("scale").map(<[f32]>::len) {
        return Err("lists of different lengths".to_owned());
    }
    let lists = (per_column(node.floats("offset"), columns), per_column(node.floats("scale"), columns));
    let (Some(offsets), Some(factors)) = lists else { return Err("lists of other lengths".to_owned()) };
    if value.dtype != DType::Float64 {
        value = planner.cast(value, DType::Float32)?;
    }
    let Value { slot: from, dtype, shape } = value;
    let is_single = dtype == DType::Float32;
    planner.emit(node, DType::Float32, shape, |to| Scale { offsets, factors, is_single, from, to })
}

pub(super) fn imputer<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let floats = ["imputed_value_floats", "replaced_value_float"];
    let ints = ["imputed_value_int64s", "replaced_value_int64"];
    let (Value { slot: from, dtype, shape }, columns) = planner.matrix(node, 0)?;
    match dtype {
        DType::Float32 => {
            only(node, &floats)?;
            let replaced = float(node, floats[1], 0.0)?;
            let by = per_column(node.floats(floats[0]), columns).ok_or("a list of another length")?;
            planner.emit(node, dtype, shape, |to| Impute { replaced, by, from, to })
        }
        DType::Int64 => {
            only(node, &ints)?;
            let replaced = int(node, ints[1], 0)?;
            let by = per_column(node.ints(ints[0]), columns).ok_or("a list of another length")?;
            planner.emit(node, dtype, shape, |to| ImputeInts { replaced, by, from, to })
        }
        _ => Err("an input of a type that is not known".to_owned()),
    }
}

pub(super) fn normalizer<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["norm"])?;
    let (value, columns) = planner.floats(node)?;
    let norm = match node.text("norm", "MAX") {
        Some("L1") => Norm::L1,
        Some("L2") => Norm::L2,
        Some("MAX") => Norm::Max,
        _ => return Err("a norm that is not known".to_owned()),
    };
    planner.emit(node, DType::Float32, value.shape, |to| Normalize { norm, columns, from: value.slot, to })
}

pub(super) fn binarizer<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["threshold"])?;
    let value = planner.value(node, 0)?;
    if value.dtype != DType::Float32 {
        return Err("an input that is not of float32".to_owned());
    }
    let threshold = float(node, "threshold", 0.0)?;
    planner.emit(node, DType::Float32, value.shape, |to| Binarize { threshold, from: value.slot, to })
}

/// A number for each column; one alone is for all.
fn per_column<T: Copy>(list: Option<&[T]>, columns: usize) -> Option<Vec<T>> {
    match list? {
        [one] => Some(vec![*one; columns]),
        values => (values.len() == columns).then(|| values.to_vec()),
    }
}

impl Step for Scale {
    #[allow(clippy::cast_possible_truncation, reason = "the output is float32")]
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        block.make(self.to, |block, out: &mut Vec<f32>| {
            let by = || self.offsets.iter().zip(&self.factors);
            if self.is_single {
                for row in block.get::<f32>(self.from).chunks_exact(self.offsets.len()) {
                    out.extend(row.iter().zip(by()).map(|(value, (offset, scale))| (value - offset) * scale));
                }
            } else {
                for row in block.get::<f64>(self.from).chunks_exact(self.offsets.len()) {
                    let scaled = |(value, (offset, scale)): (&f64, (&f32, &f32))| {
                        ((value - f64::from(*offset)) * f64::from(*scale)) as f32
                    };
                    out.extend(row.iter().zip(by()).map(scaled));
                }
            }
        });
        Ok(())
    }
}

impl Step for Impute {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let replaced = self.replaced;
        #[allow(clippy::float_cmp, reason = "the number itself stands for what is missing")]
        let is_missing = |value: f32| if replaced.is_nan() { value.is_nan() } else { value == replaced };
        block.make(self.to, |block, out: &mut Vec<f32>| {
            for row in block.get::<f32>(self.from).chunks_exact(self.by.len()) {
                out.extend(row.iter().zip(&self.by).map(|(value, by)| if is_missing(*value) { *by } else { *value }));
            }
        });
        Ok(())
    }
}

impl Step for ImputeInts {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        block.make(self.to, |block, out: &mut Vec<i64>| {
            for row in block.get::<i64>(self.from).chunks_exact(self.by.len()) {
                let filled = |(value, by): (&i64, &i64)| if *value == self.replaced { *by } else { *value };
                out.extend(row.iter().zip(&self.by).map(filled));
            }
        });
        Ok(())
    }
}

impl Step for Normalize {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        block.make(self.to, |block, out: &mut Vec<f32>| {
            out.extend_from_slice(block.get(self.from));
            out.chunks_exact_mut(self.columns).for_each(|row| self.norm.divide(row));
        });
        Ok(())
    }
}

impl Step for Binarize {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        // As in ONNX Runtime, which does not take it for either.
        if block.get::<f32>(self.from).iter().any(|value| value.is_nan()) {
            let problem = "got NaN where the model makes 0 or 1 of a number".to_owned();
            return Err(Trouble { problem, fix: "fill in missing values before" });
        }
        super::elementwise::apply(block, self.from, self.to, |value: f32| f32::from(u8::from(value > self.threshold)));
        Ok(())
    }
}

impl Norm {
    /// In float32 and in the order of ONNX Runtime, which takes the root of the quotient of squares.
    fn divide(self, row: &mut [f32]) {
        let by = match self {
            Self::Max => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            Self::L1 => row.iter().map(|value| value.abs()).sum(),
            Self::L2 => row.iter().map(|value| value * value).sum(),
        };
        if by == 0.0 {
            return;
        }
        for value in row {
            *value = match (self, (*value * *value / by).sqrt()) {
                (Self::L2, root) if *value < 0.0 => -root,
                (Self::L2, root) => root,
                _ => *value / by,
            };
        }
    }
}
