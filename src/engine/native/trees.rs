//! Ensembles of trees, as steps and as operators.

use std::sync::Arc;

use super::attributes::{int, plain};
use super::classes::{Decide, Transform, add_classes, labels, transform};
use super::ensemble::{self, Names, Sums};
use super::planner::{Known, Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::Axis;
use super::tree_ensemble;
use super::values::Values;
use crate::onnx::{Classes, FullNode};
use crate::tensor::DType;
use crate::trees::{Ensemble, Rows};

/// Sums of leaves, as float64.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) ensemble: Arc<Ensemble>,
    /// Added to the sums; empty or one for each output.
    pub(super) base: Vec<f64>,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The operators of versions 1 to 4, which gave way to another one.
fn matrix<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<(Value, usize)> {
    if planner.ml_version > 4 {
        return Err("a version of ai.onnx.ml that it is not part of".to_owned());
    }
    let (value, columns) = planner.matrix(node, 0)?;
    match value.dtype {
        // ONNX Runtime compares whole numbers as float32.
        DType::Int64 | DType::Int32 | DType::Float32 => Ok((planner.cast(value, DType::Float32)?, columns)),
        DType::Float64 => Ok((value, columns)),
        _ => Err("an input of a type that is not known".to_owned()),
    }
}

fn add(planner: &mut Planner<'_>, sums: Sums, from: usize) -> Planned<Value> {
    let Sums { trees, base, .. } = sums;
    let shape = vec![Axis::Rows, Axis::Size(trees.outputs())];
    planner.add(DType::Float64, shape, |to| Trees { ensemble: Arc::new(trees), base, from, to })
}

pub(super) fn regressor<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let (value, features) = matrix(planner, node)?;
    let targets = usize::try_from(int(node, "n_targets", 1)?).map_err(|_| "no number of targets")?;
    plain(node, "post_transform", "NONE")?;
    plain(node, "aggregate_function", "SUM")?;
    let names =
        Names { trees: "target_treeids", nodes: "target_nodeids", outputs: "target_ids", weights: "target_weights" };
    let more = ["n_targets", "post_transform", "aggregate_function"];
    let sums = ensemble::read((node, planner.file), &names, targets, (features, value.dtype), &more)?;
    if sums.trees.outputs() != targets || !(sums.base.is_empty() || sums.base.len() == targets) {
        return Err("targets without weights".to_owned());
    }
    let sums = add(planner, sums, value.slot)?;
    let sums = planner.cast(sums, DType::Float32)?;
    planner.name(node, 0, Known::Value(sums))
}

pub(super) fn classifier<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let (value, features) = matrix(planner, node)?;
    let (labels, count) = labels(node, "classlabels_int64s")?;
    let names =
        Names { trees: "class_treeids", nodes: "class_nodeids", outputs: "class_ids", weights: "class_weights" };
    let more = ["classlabels_int64s", "classlabels_strings", "post_transform"];
    let sums = ensemble::read((node, planner.file), &names, count, (features, value.dtype), &more)?;
    let transform = transform(node)?;
    // Weights for the first class alone are those of the second one: what converters write for two classes.
    let is_one_score = count == 2 && sums.outputs == [0] && sums.base.len() < 2;
    let are_usual = matches!(&labels, Classes::Strings(_)) || labels == Classes::Ints(vec![0, 1]);
    let decide = match (sums.outputs.len(), sums.base.len()) {
        _ if is_one_score && sums.is_positive => Decide::Probability,
        _ if is_one_score && transform == Transform::Logistic => Decide::Sigmoid,
        _ if is_one_score && transform == Transform::Identity => Decide::Opposites,
        // With scores for both classes ONNX Runtime looks at the second one, and calls classes 0 and 1 whatever they are
        // called, unless they are texts. If all weights are positive, its answer is of no use.
        (2, 0) if count == 2 && sums.is_complete && !sums.is_positive && are_usual => Decide::Second(transform),
        // A class that no leaf of a row names is not chosen by ONNX Runtime, even if all others are below 0.
        (2.., 0) if count > 2 && (sums.is_beyond_zero || sums.is_complete && sums.outputs.len() == count) => {
            Decide::Largest(transform, count)
        }
        (_, base) if count > 2 && base == count && sums.outputs.len() > 1 => Decide::Largest(transform, count),
        _ => return Err("scores whose meaning is not clear".to_owned()),
    };
    let scores = add(planner, sums, value.slot)?;
    add_classes(planner, node, decide, scores.slot, labels, count)
}

/// The operator that took the place of the others with version 5.
pub(super) fn ensemble<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let (value, features) = planner.matrix(node, 0)?;
    if !matches!(value.dtype, DType::Float32 | DType::Float64) || planner.ml_version < 5 {
        return Err("an input of a type that is not known".to_owned());
    }
    let trees = tree_ensemble::read((node, planner.file), features, value.dtype)?;
    let shape = vec![Axis::Rows, Axis::Size(trees.outputs())];
    let (ensemble, base, from) = (Arc::new(trees), Vec::new(), value.slot);
    let sums = planner.add(DType::Float64, shape, |to| Trees { ensemble, base, from, to })?;
    let sums = planner.cast(sums, value.dtype)?;
    planner.name(node, 0, Known::Value(sums))
}

impl Step for Trees {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        block.make(self.to, |block, scores| {
            scores.resize(block.rows * self.ensemble.outputs(), 0.0);
            match block.slot(self.from) {
                Values::Floats(rows) => self.ensemble.margins(Rows::Floats(rows), scores),
                Values::Doubles(rows) => self.ensemble.margins(Rows::Doubles(rows), scores),
                _ => {
                    let mut rows = Vec::new();
                    block.numbers(self.from, &mut rows);
                    self.ensemble.margins(Rows::Doubles(&rows), scores);
                }
            }
            if !self.base.is_empty() {
                for row in scores.chunks_exact_mut(self.base.len()) {
                    row.iter_mut().zip(&self.base).for_each(|(score, base)| *score += base);
                }
            }
        });
        Ok(())
    }

    fn most_rows(&self) -> usize {
        self.ensemble.most_rows()
    }

    fn kernel(&self) -> Option<String> {
        Some(self.ensemble.kernel())
    }
}
