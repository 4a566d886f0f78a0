//! What is computed for a tree library's own file.

use std::sync::Arc;

use super::program::{Form, Kind, Output, Program, Step};
use super::views::{Explain, Trees};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::tensor::DType;
use crate::trees::{Answer, Choice, Labels, Link, Precision, TreeModel};

/// The program of a model and its signature: a matrix `features`, and what the model answers.
pub(super) fn plan(model: TreeModel, name: &str, explain: Explain) -> (Program, Signature, Trees) {
    let TreeModel { trees, input, output, answer, .. } = model;
    let (features, columns, link) = (trees.features(), trees.outputs(), trees.link());
    let (input, output, trees) = (dtype(input), dtype(output), Arc::new(trees));
    let views = Trees { ensemble: Arc::clone(&trees), input, margin: output, explain };
    let mut plan = Plan { slots: vec![Kind { dtype: input, columns: features }], steps: Vec::new() };
    let sums = plan.slot(DType::Float64, columns);
    plan.steps.push(Step::Trees { trees: Arc::clone(&trees), from: 0, to: sums });
    // Sums that nobody looks at are linked where they are.
    let keeps_sums = matches!(answer, Answer::Label { by_sums: true, .. });
    let linked = if keeps_sums { plan.slot(DType::Float64, columns) } else { sums };
    let is_single = output == DType::Float32;
    plan.steps.push(Step::Link { link, is_single, columns, from: sums, to: linked });
    let values = plan.values(link, plan.slots[linked], output, linked);
    let answers = match answer {
        Answer::Values => vec![values],
        Answer::ClassNumber => {
            let class = plan.slot(DType::Int64, 1);
            plan.steps.push(Step::Choose { choice: Choice::Largest, columns, labels: None, from: linked, to: class });
            let slot = plan.in_dtype(class, output);
            vec![(port("prediction", output, None), Output { slot, form: Form::Vector })]
        }
        Answer::Label { labels, choice, by_sums } => {
            let from = if by_sums { sums } else { values.1.slot };
            vec![plan.label(labels, choice, columns, from), values]
        }
    };
    let (ports, outputs) = answers.into_iter().unzip();
    let input = port("features", input, Some(features));
    let Plan { slots, steps } = plan;
    (Program { slots, steps, outputs }, Signature::new(name, vec![input], ports), views)
}

/// A program that is being made.
struct Plan {
    slots: Vec<Kind>,
    steps: Vec<Step>,
}

type Made = (Port, Output);

impl Plan {
    fn slot(&mut self, dtype: DType, columns: usize) -> usize {
        self.slots.push(Kind { dtype, columns });
        self.slots.len() - 1
    }

    /// The slot itself, or one with its numbers as float32.
    fn in_dtype(&mut self, from: usize, dtype: DType) -> usize {
        let to = self.slot(dtype, self.slots[from].columns);
        self.steps.push(if dtype == DType::Float32 { Step::ToFloat { from, to } } else { Step::ToDouble { from, to } });
        to
    }

    /// What a link made of sums.
    fn values(&mut self, link: Link, kind: Kind, dtype: DType, from: usize) -> Made {
        let slot = if kind.dtype == dtype { from } else { self.in_dtype(from, dtype) };
        let (name, columns) = match (link, kind.columns) {
            (Link::Sigmoid(_), 1) => ("probability", None),
            (Link::Sigmoid(_) | Link::Softmax, columns) => ("probabilities", Some(columns)),
            (_, 1) => ("prediction", None),
            (_, columns) => ("predictions", Some(columns)),
        };
        let form = if columns.is_some() { Form::Matrix } else { Form::Vector };
        (port(name, dtype, columns), Output { slot, form })
    }

    /// The label of the class that is chosen by the numbers of `from`.
    fn label(&mut self, labels: Labels, choice: Choice, columns: usize, from: usize) -> Made {
        let is_each = matches!(choice, Choice::EachBeyond(_));
        let to = self.slot(DType::Int64, if is_each { columns } else { 1 });
        let (labels, dtype, form) = match labels {
            _ if is_each => (None, DType::Int64, Form::Matrix),
            Labels::Ints(labels) => (Some(labels), DType::Int64, Form::Vector),
            Labels::Texts(texts) => (None, DType::String, Form::Texts(texts)),
        };
        self.steps.push(Step::Choose { choice, columns, labels, from, to });
        (port("label", dtype, Some(columns).filter(|_| is_each)), Output { slot: to, form })
    }
}

fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::Single => DType::Float32,
        Precision::Double => DType::Float64,
    }
}

/// `[rows]`, or `[rows, columns]`.
fn port(name: &str, dtype: DType, columns: Option<usize>) -> Port {
    let columns = columns.map(|size| Dim::Fixed(i64::try_from(size).unwrap_or(i64::MAX)));
    let dims = std::iter::once(Dim::Symbol("rows".to_owned())).chain(columns).collect();
    Port { name: name.to_owned(), port_type: PortType::Tensor(dtype, dims), required: true }
}
