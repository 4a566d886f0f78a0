//! What the native engine computes: steps from slot to slot, for a block of rows at a time.
//!
//! Every step looks at each row alone, so that blocks, pieces and threads change nothing.

use std::sync::Arc;

use crate::onnx::Classes;
use crate::tensor::DType;
use crate::trees::{Choice, Ensemble, Link};

/// A matrix of a block, row by row.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    /// Whole numbers, or numbers of classes.
    Ints(Vec<i64>),
}

/// How a step makes its slots.
#[derive(Debug)]
pub(super) enum Step {
    /// Sums of leaves, as float64.
    Trees { trees: Arc<Ensemble>, from: usize, to: usize },
    /// What a link makes of sums, in their place or in another one; in float32 if the library does.
    Link { link: Link, is_single: bool, columns: usize, from: usize, to: usize },
    /// The number of each row's class, or its label if that is a number.
    Choose { choice: Choice, columns: usize, labels: Option<Vec<i64>>, from: usize, to: usize },
    /// A matrix times coefficients, plus intercepts, as float64.
    Linear { coefficients: Vec<f64>, intercepts: Vec<f64>, from: usize, to: usize },
    /// Adds a number to each column.
    AddBase { base: Vec<f64>, slot: usize },
    /// Scores of classes become probabilities, and the class of the largest: its label if that is a number.
    Classes { from: usize, decide: Decide, labels: Option<Vec<i64>>, label: usize, to: usize },
    /// Numbers to float32.
    ToFloat { from: usize, to: usize },
    /// Numbers to float64.
    ToDouble { from: usize, to: usize },
    /// Sums of several matrices.
    Sum { from: Vec<usize>, to: usize },
    /// Each column with a number of its own.
    Combine { how: Combine, by: Vec<f32>, from: usize, to: usize },
    /// `(x - offset) * scale` for each column.
    Scale { offset: Vec<f32>, scale: Vec<f32>, from: usize, to: usize },
    /// Numbers in the place of missing ones, for each column.
    Impute { replaced: f32, by: Vec<f32>, from: usize, to: usize },
    /// Rows divided by their norm.
    Normalize { norm: Norm, columns: usize, from: usize, to: usize },
}

/// How classes are chosen from scores, and what becomes of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decide {
    /// A score for each class; the first of the largest wins.
    Largest(Transform, usize),
    /// One score: beyond 0 it is the second class, whose probability is its sigmoid.
    Sigmoid,
    /// One score: the second class's probability.
    Probability,
}

/// What becomes of a row of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    Identity,
    Logistic,
    Softmax,
}

/// Arithmetic of float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Norms of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norm {
    Max,
    L1,
    L2,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) dtype: DType,
    pub(super) columns: usize,
}

/// How an output is made of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `[rows]`.
    Vector,
    /// `[rows, columns]`.
    Matrix,
    /// `[rows]`, as texts by the number of a class.
    Texts(Vec<String>),
    /// A map for each row: its keys in their order, and which column each has.
    Maps(Classes, Vec<usize>),
}

/// An output.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) slot: usize,
    pub(super) form: Form,
}

/// A whole model. Slot 0 is the input.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) slots: Vec<Kind>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Output>,
}

impl Values {
    pub(super) fn to_doubles(&self) -> Vec<f64> {
        match self {
            Self::Floats(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::Doubles(values) => values.clone(),
            #[allow(clippy::cast_precision_loss, reason = "what a cast of ONNX does")]
            Self::Ints(values) => values.iter().map(|value| *value as f64).collect(),
        }
    }

    pub(super) fn to_floats(&self) -> Vec<f32> {
        match self {
            Self::Floats(values) => values.clone(),
            #[allow(clippy::cast_possible_truncation, reason = "what a cast of ONNX does")]
            Self::Doubles(values) => values.iter().map(|value| *value as f32).collect(),
            #[allow(clippy::cast_precision_loss, reason = "what a cast of ONNX does")]
            Self::Ints(values) => values.iter().map(|value| *value as f32).collect(),
        }
    }
}

impl Values {
    /// Bytes of one element.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Floats(_) => size_of::<f32>(),
            Self::Doubles(_) | Self::Ints(_) => size_of::<f64>(),
        }
    }

    /// Appends the elements' bytes.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Floats(values) => bytes.extend(values.iter().flat_map(|value| value.to_ne_bytes())),
            Self::Doubles(values) => bytes.extend(values.iter().flat_map(|value| value.to_ne_bytes())),
            Self::Ints(values) => bytes.extend(values.iter().flat_map(|value| value.to_ne_bytes())),
        }
    }
}

impl Program {
    /// All slots for `count` rows.
    pub(super) fn run(&self, input: Values, count: usize) -> Vec<Values> {
        let mut slots = vec![Values::Ints(Vec::new()); self.slots.len()];
        slots[0] = input;
        for step in &self.steps {
            step.run(&mut slots, count);
        }
        slots
    }
}

impl Step {
    fn run(&self, slots: &mut [Values], count: usize) {
        match self {
            Self::Trees { trees, from, to } => {
                let mut scores = vec![0.0; count * trees.outputs()];
                match &mut slots[*from] {
                    // Slot 0 of a file of trees is nobody else's: its near-zeros may become zeros in place.
                    Values::Doubles(rows) => trees.margins(rows, &mut scores),
                    rows => trees.margins(&mut rows.to_doubles(), &mut scores),
                }
                slots[*to] = Values::Doubles(scores);
            }
            Self::Link { link, is_single, columns, from, to } => {
                if from != to {
                    slots[*to] = Values::Doubles(slots[*from].to_doubles());
                }
                if let Values::Doubles(scores) = &mut slots[*to] {
                    let apply = if *is_single { Link::apply_single } else { Link::apply };
                    scores.chunks_exact_mut(*columns).for_each(|row| apply(*link, row));
                }
            }
            Self::Choose { choice, columns, labels, from, to } => {
                let mut classes = choose(*choice, *columns, &slots[*from].to_doubles());
                if let Some(labels) = labels {
                    relabel(&mut classes, labels);
                }
                slots[*to] = Values::Ints(classes);
            }
            Self::Linear { coefficients, intercepts, from, to } => {
                slots[*to] = Values::Doubles(linear(&slots[*from].to_doubles(), count, coefficients, intercepts));
            }
            Self::AddBase { base, slot } => {
                if let Values::Doubles(scores) = &mut slots[*slot] {
                    for row in scores.chunks_exact_mut(base.len()) {
                        row.iter_mut().zip(base).for_each(|(score, base)| *score += base);
                    }
                }
            }
            Self::Classes { from, decide, labels, label, to } => {
                let (mut classes, scores) = decide.run(&slots[*from].to_doubles());
                if let Some(labels) = labels {
                    relabel(&mut classes, labels);
                }
                slots[*label] = Values::Ints(classes);
                slots[*to] = Values::Floats(scores);
            }
            Self::ToFloat { from, to } => slots[*to] = Values::Floats(slots[*from].to_floats()),
            Self::ToDouble { from, to } => slots[*to] = Values::Doubles(slots[*from].to_doubles()),
            Self::Sum { from, to } => {
                let mut sums = slots[from[0]].to_doubles();
                for slot in &from[1..] {
                    sums.iter_mut().zip(slots[*slot].to_doubles()).for_each(|(sum, value)| *sum += value);
                }
                slots[*to] = Values::Doubles(sums);
            }
            Self::Combine { how, by, from, to } => {
                let mut values = slots[*from].to_floats();
                for row in values.chunks_exact_mut(by.len()) {
                    row.iter_mut().zip(by).for_each(|(value, by)| *value = how.of(*value, *by));
                }
                slots[*to] = Values::Floats(values);
            }
            Self::Scale { offset, scale, from, to } => {
                let mut values = slots[*from].to_floats();
                for row in values.chunks_exact_mut(offset.len()) {
                    for ((value, offset), scale) in row.iter_mut().zip(offset).zip(scale) {
                        *value = (*value - offset) * scale;
                    }
                }
                slots[*to] = Values::Floats(values);
            }
            Self::Impute { replaced, by, from, to } => {
                let mut values = slots[*from].to_floats();
                #[allow(clippy::float_cmp, reason = "the number itself stands for what is missing")]
                let is_missing = |value: f32| if replaced.is_nan() { value.is_nan() } else { value == *replaced };
                for row in values.chunks_exact_mut(by.len()) {
                    for (value, by) in row.iter_mut().zip(by).filter(|(value, _)| is_missing(**value)) {
                        *value = *by;
                    }
                }
                slots[*to] = Values::Floats(values);
            }
            Self::Normalize { norm, columns, from, to } => {
                let mut values = slots[*from].to_floats();
                values.chunks_exact_mut(*columns).for_each(|row| norm.divide(row));
                slots[*to] = Values::Floats(values);
            }
        }
    }
}

/// Labels in the place of the numbers of classes.
fn relabel(classes: &mut [i64], labels: &[i64]) {
    for class in classes {
        *class = usize::try_from(*class).ok().and_then(|at| labels.get(at)).copied().unwrap_or(*class);
    }
}

/// The number of each row's class.
#[allow(clippy::cast_possible_wrap, reason = "few classes")]
fn choose(choice: Choice, columns: usize, scores: &[f64]) -> Vec<i64> {
    match choice {
        Choice::Largest => scores.chunks_exact(columns).map(|row| largest(row) as i64).collect(),
        Choice::Beyond(bound) | Choice::EachBeyond(bound) => {
            scores.iter().map(|score| i64::from(*score > bound)).collect()
        }
        Choice::AtLeast(bound) => scores.iter().map(|score| i64::from(*score >= bound)).collect(),
    }
}

/// The first of the largest.
fn largest(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best })
}

fn linear(rows: &[f64], count: usize, coefficients: &[f64], intercepts: &[f64]) -> Vec<f64> {
    let columns = coefficients.len() / intercepts.len();
    let mut scores = Vec::with_capacity(count * intercepts.len());
    for row in rows.chunks_exact(columns) {
        for (coefficients, intercept) in coefficients.chunks_exact(columns).zip(intercepts) {
            scores.push(row.iter().zip(coefficients).map(|(value, factor)| value * factor).sum::<f64>() + intercept);
        }
    }
    scores
}

impl Decide {
    /// The numbers of classes and the columns of a row for each.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "few classes; outputs are float32")]
    fn run(self, scores: &[f64]) -> (Vec<i64>, Vec<f32>) {
        let of_two = |probability: fn(f64) -> f64, other: fn(f64) -> f64, bound: f64| {
            let labels = scores.iter().map(|score| i64::from(*score > bound)).collect();
            (labels, scores.iter().flat_map(|score| [other(*score) as f32, probability(*score) as f32]).collect())
        };
        match self {
            Self::Sigmoid => of_two(logistic, |score| logistic(-score), 0.0),
            Self::Probability => of_two(|score| score, |score| 1.0 - score, 0.5),
            Self::Largest(transform, classes) => {
                let mut labels = Vec::with_capacity(scores.len() / classes);
                let mut all = Vec::with_capacity(scores.len());
                for row in scores.chunks_exact(classes) {
                    labels.push(largest(row) as i64);
                    let mut row = row.to_vec();
                    transform.apply(&mut row);
                    all.extend(row.into_iter().map(|score| score as f32));
                }
                (labels, all)
            }
        }
    }
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

impl Combine {
    fn of(self, value: f32, by: f32) -> f32 {
        match self {
            Self::Add => value + by,
            Self::Subtract => value - by,
            Self::Multiply => value * by,
            Self::Divide => value / by,
        }
    }
}

impl Norm {
    fn divide(self, row: &mut [f32]) {
        let by = match self {
            Self::Max => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            Self::L1 => row.iter().map(|value| value.abs()).sum(),
            Self::L2 => row.iter().map(|value| value * value).sum::<f32>().sqrt(),
        };
        if by != 0.0 {
            for value in row {
                *value /= by;
            }
        }
    }
}
