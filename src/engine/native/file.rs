//! What is computed for a tree library's own file.

use std::sync::Arc;

use super::casts::Cast;
use super::program::{Block, Form, Kind, Output, Program, Step, Trouble};
use super::trees::Trees;
use super::views::{self, Explain};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::tensor::DType;
use crate::trees::{Answer, Choice, Column, Labels, Link, Precision, TreeModel};

/// What a link makes of sums, in their place or in another one; in float32 if the library does.
#[derive(Debug)]
struct Linked {
    link: Link,
    is_single: bool,
    columns: usize,
    from: usize,
    to: usize,
}

/// The label of each row's class.
#[derive(Debug)]
struct Chosen {
    choice: Choice,
    columns: usize,
    labels: Labels,
    from: usize,
    to: usize,
}

/// Columns of their own kinds become one matrix of float32.
#[derive(Debug)]
struct Gathered {
    /// One for each slot from the first on.
    columns: Vec<Column>,
    to: usize,
}

/// What is made of the caller's inputs: a matrix for the trees.
pub(super) struct Intake {
    pub(super) program: Program,
    pub(super) ports: Vec<Port>,
    /// The slot of the matrix.
    pub(super) matrix: usize,
}

impl Intake {
    /// One input `features`, or one for each column.
    pub(super) fn new(columns: Option<&[Column]>, features: usize, input: DType) -> Self {
        let mut plan = Plan { program: Program::default() };
        let Some(columns) = columns else {
            let matrix = plan.slot(input, features);
            return Self { program: plan.program, ports: vec![port("features", input, Some(features))], matrix };
        };
        let dtype = |column: &Column| column.categories.as_ref().map_or(input, |_| DType::String);
        let ports = columns.iter().map(|column| port(&column.name, dtype(column), None)).collect();
        for column in columns {
            plan.slot(dtype(column), 1);
        }
        let matrix = plan.slot(DType::Float32, features);
        plan.step(Gathered { columns: columns.to_vec(), to: matrix });
        Self { program: plan.program, ports, matrix }
    }
}

/// The program of a model and its signature: a matrix `features`, or its columns, and what the model answers.
pub(super) fn plan(model: TreeModel, name: &str, explain: Explain) -> (Program, Signature, views::Trees) {
    let TreeModel { trees, columns: kinds, input, output, answer, .. } = model;
    let (features, columns, link) = (trees.features(), trees.outputs(), trees.link());
    let (input, output, trees) = (dtype(input), dtype(output), Arc::new(trees));
    let Intake { program, ports: inputs, matrix } = Intake::new(kinds.as_deref(), features, input);
    let views = views::Trees { ensemble: Arc::clone(&trees), columns: kinds, input, margin: output, explain };
    let mut plan = Plan { program };
    let sums = plan.slot(DType::Float64, columns);
    plan.step(Trees { ensemble: trees, base: Vec::new(), from: matrix, to: sums });
    // Sums that nobody looks at are linked where they are.
    let keeps_sums = matches!(answer, Answer::Label { by_sums: true, .. });
    let linked = if keeps_sums { plan.slot(DType::Float64, columns) } else { sums };
    let is_single = output == DType::Float32;
    plan.step(Linked { link, is_single, columns, from: sums, to: linked });
    let are_classes = matches!(answer, Answer::Label { .. });
    let values = plan.values((link, are_classes), columns, output, linked);
    let answers = match answer {
        Answer::Values => vec![values],
        Answer::ClassNumber => {
            let class = plan.slot(DType::Int64, 1);
            let labels = Labels::Ints((0..).take(columns).collect());
            plan.step(Chosen { choice: Choice::Largest, columns, labels, from: linked, to: class });
            let slot = plan.in_dtype(class, output);
            vec![(port("prediction", output, None), Output { slot, form: Form::Tensor(Vec::new()) })]
        }
        Answer::Label { labels, choice, by_sums } => {
            let from = if by_sums { sums } else { values.1.slot };
            vec![plan.label(labels, choice, columns, from), values]
        }
    };
    let mut ports = Vec::with_capacity(answers.len());
    for (port, output) in answers {
        ports.push(port);
        plan.program.outputs.push(output);
    }
    (plan.program, Signature::new(name, inputs, ports), views)
}

/// A program that is being made.
struct Plan {
    program: Program,
}

type Made = (Port, Output);

impl Plan {
    fn slot(&mut self, dtype: DType, each: usize) -> usize {
        self.program.slots.push(Kind { dtype, each });
        self.program.slots.len() - 1
    }

    fn step(&mut self, step: impl Step + 'static) {
        self.program.steps.push(Box::new(step));
    }

    /// The slot itself, or one with its numbers in another type.
    fn in_dtype(&mut self, from: usize, dtype: DType) -> usize {
        let Kind { dtype: own, each } = self.program.slots[from];
        if own == dtype {
            return from;
        }
        let to = self.slot(dtype, each);
        self.step(Cast { from, to, dtype });
        to
    }

    /// What a link made of sums, which are of classes or are not.
    fn values(&mut self, (link, are_classes): (Link, bool), columns: usize, dtype: DType, from: usize) -> Made {
        let slot = self.in_dtype(from, dtype);
        let (name, columns) = match (link, columns) {
            (Link::Sigmoid(_), 1) => ("probability", None),
            (Link::Sigmoid(_) | Link::Softmax | Link::ScaledSoftmax(_), columns) => ("probabilities", Some(columns)),
            // Means of the probabilities that leaves have.
            (Link::Identity, columns) if are_classes && columns > 1 => ("probabilities", Some(columns)),
            (Link::Isolation { .. }, _) => ("score", None),
            (_, 1) => ("prediction", None),
            (_, columns) => ("predictions", Some(columns)),
        };
        (port(name, dtype, columns), Output { slot, form: Form::Tensor(columns.into_iter().collect()) })
    }

    /// The label of the class that is chosen by the numbers of `from`.
    fn label(&mut self, labels: Labels, choice: Choice, columns: usize, from: usize) -> Made {
        let is_each = matches!(choice, Choice::EachBeyond(_));
        // Of several labels for a row, each is 0 or 1.
        let labels = if is_each { Labels::Ints(vec![0, 1]) } else { labels };
        let dtype = if let Labels::Ints(_) = labels { DType::Int64 } else { DType::String };
        let to = self.slot(dtype, if is_each { columns } else { 1 });
        self.step(Chosen { choice, columns, labels, from, to });
        let columns = Some(columns).filter(|_| is_each);
        (port("label", dtype, columns), Output { slot: to, form: Form::Tensor(columns.into_iter().collect()) })
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

/// The number of each row's class, or of each of its columns.
fn choose(choice: Choice, columns: usize, scores: &[f64]) -> Vec<usize> {
    match choice {
        Choice::Largest => scores.chunks_exact(columns).map(super::classes::largest).collect(),
        Choice::Beyond(bound) | Choice::EachBeyond(bound) => {
            scores.iter().map(|score| usize::from(*score > bound)).collect()
        }
        Choice::AtLeast(bound) => scores.iter().map(|score| usize::from(*score >= bound)).collect(),
    }
}

impl Step for Gathered {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let width = self.columns.len();
        block.make(self.to, |block, out: &mut Vec<f32>| {
            out.resize(block.rows * width, 0.0);
            for (at, column) in self.columns.iter().enumerate() {
                let cells = out.iter_mut().skip(at).step_by(width);
                match &column.categories {
                    Some(categories) => {
                        let texts: &[&str] = block.get(at);
                        cells.zip(texts).for_each(|(cell, text)| *cell = categories.of(text));
                    }
                    None => cells.zip(block.get::<f32>(at)).for_each(|(cell, number)| *cell = *number),
                }
            }
        });
        Ok(())
    }
}

impl Step for Linked {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let apply = if self.is_single { Link::apply_single } else { Link::apply };
        let link = |scores: &mut [f64]| scores.chunks_exact_mut(self.columns).for_each(|row| apply(self.link, row));
        if self.from == self.to {
            block.change(self.to, link);
        } else {
            block.make(self.to, |block, out: &mut Vec<f64>| {
                out.extend_from_slice(block.get(self.from));
                link(out);
            });
        }
        Ok(())
    }
}

impl Step for Chosen {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let mut scores = std::mem::take(&mut block.scratch);
        block.numbers(self.from, &mut scores);
        let classes = choose(self.choice, self.columns, &scores);
        block.scratch = scores;
        let count = match &self.labels {
            Labels::Ints(labels) => block.make(self.to, |_, out: &mut Vec<i64>| {
                out.extend(classes.iter().filter_map(|class| labels.get(*class)));
                out.len()
            }),
            Labels::Texts(labels) => block.make(self.to, |_, out: &mut Vec<&'a str>| {
                out.extend(classes.iter().filter_map(|class| labels.get(*class).map(String::as_str)));
                out.len()
            }),
        };
        let problem = "the model names fewer classes than it has".to_owned();
        (count == classes.len()).then_some(()).ok_or(Trouble { problem, fix: "save the model again" })
    }
}
