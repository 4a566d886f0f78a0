//! From scores to classes and probabilities.

use std::collections::HashSet;

use smallvec::{SmallVec, smallvec};

use super::attributes::only;
use super::planner::{Known, Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::Axis;
use crate::onnx::{Classes, FullNode};
use crate::tensor::DType;

/// Classes and rows for which no memory is asked for.
const FEW: usize = 16;

/// The class of each row.
type Chosen = SmallVec<[usize; FEW]>;

/// How classes are chosen from scores, and what becomes of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decide {
    /// A score for each class; the first of the largest wins.
    Largest(Transform, usize),
    /// One score: beyond 0 it is the second class, whose probability is its sigmoid.
    Sigmoid,
    /// One score: the second class's probability.
    Probability,
    /// One score: beyond 0 it is the second class, and the first one's score is its opposite.
    Opposites,
    /// Two scores: where the second one is beyond 0 it is the second class.
    Second(Transform),
}

/// What becomes of a row of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    Identity,
    Logistic,
    Softmax,
}

/// Scores of classes become probabilities, and the class of the largest its label.
#[derive(Debug)]
pub(super) struct Choose {
    pub(super) decide: Decide,
    pub(super) labels: Classes,
    pub(super) from: usize,
    pub(super) label: usize,
    pub(super) to: usize,
}

/// Names the label and the scores that a classifier makes.
pub(super) fn add_classes<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    decide: Decide,
    from: usize,
    labels: Classes,
    count: usize,
) -> Planned<()> {
    let dtype = if let Classes::Ints(_) = labels { DType::Int64 } else { DType::String };
    let columns = vec![Axis::Rows, Axis::Size(count)];
    let (label, to) = (planner.slot(dtype, &[Axis::Rows])?, planner.slot(DType::Float32, &columns)?);
    planner.push(Choose { decide, labels, from, label, to });
    planner.name(node, 0, Known::Value(Value { slot: label, dtype, shape: vec![Axis::Rows] }))?;
    planner.name(node, 1, Known::Value(Value { slot: to, dtype: DType::Float32, shape: columns }))
}

pub(super) fn zip_map<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["classlabels_int64s", "classlabels_strings"])?;
    let (value, columns) = planner.matrix(node, 0)?;
    let (labels, count) = labels(node, "classlabels_int64s")?;
    if count != columns || value.dtype != DType::Float32 {
        return Err("another number of labels than columns of float32".to_owned());
    }
    // As in ONNX Runtime, whose maps are sorted by their keys.
    let (labels, order) = match labels {
        Classes::Ints(labels) => {
            let (labels, order) = sorted(labels);
            (Classes::Ints(labels), order)
        }
        Classes::Strings(labels) => {
            let (labels, order) = sorted(labels);
            (Classes::Strings(labels), order)
        }
    };
    planner.name(node, 0, Known::Maps(value.slot, labels, order))
}

pub(super) fn transform(node: &FullNode<'_>) -> Planned<Transform> {
    match node.text("post_transform", "NONE") {
        Some("NONE") => Ok(Transform::Identity),
        Some("LOGISTIC") => Ok(Transform::Logistic),
        Some("SOFTMAX") => Ok(Transform::Softmax),
        _ => Err("a post_transform that is not known".to_owned()),
    }
}

/// Class labels, two or more.
pub(super) fn labels(node: &FullNode<'_>, ints: &str) -> Planned<(Classes, usize)> {
    let labels = match (node.ints(ints), node.texts("classlabels_strings")) {
        (Some(numbers), Some([])) => (Classes::Ints(numbers.to_vec()), numbers.len()),
        (Some([]), Some(texts)) => {
            (Classes::Strings(texts.iter().map(|text| (*text).to_owned()).collect()), texts.len())
        }
        _ => return Err("labels of two kinds".to_owned()),
    };
    let mut seen = HashSet::new();
    let are_different = match &labels.0 {
        Classes::Ints(labels) => labels.iter().all(|label| seen.insert(label.to_string())),
        Classes::Strings(labels) => labels.iter().all(|label| seen.insert(label.clone())),
    };
    if labels.1 < 2 || !are_different {
        return Err("fewer than two different labels".to_owned());
    }
    Ok(labels)
}

/// Labels in their order, and where each was.
fn sorted<T: Ord>(labels: Vec<T>) -> (Vec<T>, Vec<usize>) {
    let mut labels: Vec<(T, usize)> = labels.into_iter().zip(0..).collect();
    labels.sort();
    labels.into_iter().unzip()
}

impl Step for Choose {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let mut chosen = SmallVec::new();
        block.make(self.to, |block, out| self.decide.run(block.get(self.from), &mut chosen, out));
        name(block, self.label, &chosen, &self.labels);
        Ok(())
    }
}

/// Makes the labels of the classes that were chosen.
pub(super) fn name<'a>(block: &mut Block<'a>, to: usize, chosen: &[usize], labels: &'a Classes) {
    match labels {
        Classes::Strings(labels) => block.make(to, |_, out: &mut Vec<&'a str>| {
            out.extend(chosen.iter().filter_map(|class| labels.get(*class).map(String::as_str)));
        }),
        Classes::Ints(labels) => block.make(to, |_, out: &mut Vec<i64>| {
            out.extend(chosen.iter().filter_map(|class| labels.get(*class)));
        }),
    }
}

impl Decide {
    /// The numbers of classes, and the columns of a row for each.
    #[allow(clippy::cast_possible_truncation, reason = "outputs are float32")]
    fn run(self, scores: &[f64], chosen: &mut Chosen, out: &mut Vec<f32>) {
        let mut of_two = |probability: fn(f64) -> f64, other: fn(f64) -> f64, bound: f64| {
            chosen.extend(scores.iter().map(|score| usize::from(*score > bound)));
            out.extend(scores.iter().flat_map(|score| [other(*score) as f32, probability(*score) as f32]));
        };
        match self {
            Self::Sigmoid => of_two(logistic, |score| logistic(-score), 0.0),
            Self::Probability => of_two(|score| score, |score| 1.0 - score, 0.5),
            Self::Opposites => of_two(|score| score, |score| -score, 0.0),
            Self::Second(transform) => {
                for scores in scores.as_chunks::<2>().0 {
                    chosen.push(usize::from(scores[1] > 0.0));
                    let mut row = *scores;
                    transform.apply(&mut row);
                    out.extend(row.map(|score| score as f32));
                }
            }
            Self::Largest(transform, classes) => {
                let mut row: SmallVec<[f64; FEW]> = smallvec![0.0; classes];
                for scores in scores.chunks_exact(classes) {
                    chosen.push(largest(scores));
                    row.copy_from_slice(scores);
                    transform.apply(&mut row);
                    out.extend(row.iter().map(|score| *score as f32));
                }
            }
        }
    }
}

/// The first of the largest.
pub(super) fn largest(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
}

fn logistic(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

impl Transform {
    fn apply(self, row: &mut [f64]) {
        match self {
            Self::Identity => {}
            Self::Logistic => row.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Softmax => crate::trees::softmax(row),
        }
    }
}
