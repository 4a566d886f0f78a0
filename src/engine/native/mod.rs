//! Runs tree ensembles and what stands round them without a runtime.

mod ensemble;
mod file;
mod graph;
mod program;
mod views;

use std::path::Path;

use super::{Engine, EngineFacts, View};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::{self, Classes, ModelFacts};
use crate::signature::Signature;
use crate::stop::Stop;
use crate::tensor::{Buffer, DType, EngineTensor, InputTensor, OutputBuffer, OutputRequest, Shape, Strings, Value};
use crate::trees::TreeModel;
use program::{Form, Kind, Output, Program, Step, Values};
pub use views::Explain;
use views::Trees;

/// Rows that are copied at once: as many as trees score at once, and fewer if they are long.
const BLOCK: usize = 256;
/// Bytes of such a copy, at most, unless one row is longer.
const BLOCK_BYTES: usize = 1 << 20;

/// A model of one matrix.
pub struct NativeEngine {
    signature: Signature,
    program: Program,
    why: &'static str,
    /// The trees of a library's own file.
    trees: Option<Trees>,
}

impl NativeEngine {
    /// What a graph has that [`Self::of_graph`] does not know, as far as the scan of the file tells.
    pub fn unknown(facts: &ModelFacts) -> Option<String> {
        let nodes = &facts.graph.nodes;
        if let Some(node) = nodes.iter().find(|node| !graph::knows(&node.operator, &node.domain)) {
            return Some(format!("the operator {} is not known", node.operator));
        }
        if !nodes.iter().any(|node| node.domain == graph::ML) {
            return Some("there is no operator of ai.onnx.ml".to_owned());
        }
        // In version 5 the operators for trees gave way to others; of what is newer, nothing is known.
        let version = facts.opsets.iter().find(|(domain, _)| domain == graph::ML).map_or(0, |(_, version)| *version);
        if !(1..=4).contains(&version) {
            return Some(format!("version {version} of ai.onnx.ml is not known"));
        }
        let is_whole = facts.external.is_empty() && facts.graph.functions.is_empty();
        (!is_whole).then(|| "there are functions or files beside the model".to_owned())
    }

    /// An engine for a tree library's own file; `name` is what errors call the model.
    pub fn of_file(model: TreeModel, name: &str, explain: Explain) -> Self {
        let (program, signature, trees) = file::plan(model, name, explain);
        let why = "a tree library's own file is run by glowplug itself";
        Self { signature, program, why, trees: Some(trees) }
    }

    /// An engine for the graph of an ONNX file, or what it has that is not known.
    pub fn of_graph(content: &[u8], name: &str) -> std::result::Result<Self, String> {
        let graph = onnx::decode(content).ok_or("the file is not as expected")?;
        let (program, signature) = graph::plan(&graph, name)?;
        Ok(Self { signature, program, why: "glowplug itself knows every operator of the graph", trees: None })
    }

    fn wrong(&self) -> Error {
        wrong(&self.signature)
    }

    /// Runs the rows of `input`, block after block; `take` gets the slots and the row they start with.
    fn score(
        &self,
        input: &InputTensor,
        stop: Option<&Stop>,
        mut take: impl FnMut(&[Values], usize) -> Option<()>,
    ) -> Result<()> {
        let Kind { dtype, columns } = self.program.slots[0];
        let row_bytes = columns * dtype.size();
        let count = input.shape.first().and_then(|rows| usize::try_from(*rows).ok()).ok_or_else(|| self.wrong())?;
        let data = input.elements.raw().ok_or_else(|| self.wrong())?;
        let most = (BLOCK_BYTES / row_bytes).clamp(1, BLOCK);
        let mut bytes = Buffer::zeroed(row_bytes * count.min(most));
        for start in (0..count).step_by(most) {
            if stop.is_some_and(Stop::is_stopped) {
                return Err(stopped(&self.signature));
            }
            let rows = most.min(count - start);
            bytes.truncate(row_bytes * rows);
            let part = data.part(start * row_bytes, row_bytes * rows).ok_or_else(|| self.wrong())?;
            if !part.copy_to(bytes.as_bytes_mut()) {
                return Err(self.wrong());
            }
            let slots = self.program.run(values(dtype, bytes.as_bytes()), rows);
            take(&slots, start).ok_or_else(|| self.wrong())?;
        }
        Ok(())
    }
}

fn wrong(signature: &Signature) -> Error {
    Error::new(ErrorKind::Engine, signature.model(), "got memory of another size", "report this as a bug")
}

fn stopped(signature: &Signature) -> Error {
    Error::new(ErrorKind::Stopped, signature.model(), "the run was stopped", "call again")
}

fn values(dtype: DType, bytes: &[u8]) -> Values {
    if dtype == DType::Float64 {
        return Values::Doubles(bytes.as_chunks().0.iter().map(|value| f64::from_ne_bytes(*value)).collect());
    }
    Values::Floats(bytes.as_chunks().0.iter().map(|value| f32::from_ne_bytes(*value)).collect())
}

/// One requested output on its way.
enum Answer<'a> {
    Buffer(&'a OutputBuffer),
    Bytes(Vec<u8>),
    Texts(&'a [String], Strings),
    Maps(&'a Classes, &'a [usize], Vec<Value>),
}

impl<'a> Answer<'a> {
    fn new(output: &'a Output, request: &'a OutputRequest) -> Self {
        match (&output.form, &request.buffer) {
            (Form::Texts(texts), _) => Self::Texts(texts, Strings::with_capacity(0)),
            (Form::Maps(classes, order), _) => Self::Maps(classes, order, Vec::new()),
            (_, Some(buffer)) => Self::Buffer(buffer),
            (_, None) => Self::Bytes(Vec::new()),
        }
    }

    /// Takes the block that starts at row `start`.
    fn take(&mut self, values: &Values, columns: usize, start: usize) -> Option<()> {
        match self {
            Self::Buffer(buffer) => {
                let mut bytes = Vec::new();
                values.write(&mut bytes);
                let at = start * columns * values.size();
                buffer.data.part(at, bytes.len())?.copy_from(&bytes).then_some(())?;
            }
            Self::Bytes(bytes) => values.write(bytes),
            Self::Texts(texts, strings) => {
                let Values::Ints(classes) = values else { return None };
                for class in classes {
                    strings.push(texts.get(usize::try_from(*class).ok()?)?);
                }
            }
            Self::Maps(classes, order, maps) => {
                let Values::Floats(values) = values else { return None };
                maps.extend(values.chunks_exact(columns).map(|row| map(classes, order.iter().map(|at| row[*at]))));
            }
        }
        Some(())
    }

    fn finish(self, kind: Kind, form: &Form, rows: i64) -> Value {
        match self {
            Self::Buffer(_) => Value::Written,
            Self::Texts(_, strings) => Value::Strings(Shape::from_slice(&[rows]), strings),
            Self::Maps(_, _, maps) => Value::Sequence(maps),
            Self::Bytes(bytes) => {
                let mut shape = Shape::from_slice(&[rows]);
                if *form == Form::Matrix {
                    shape.push(i64::try_from(kind.columns).unwrap_or(i64::MAX));
                }
                tensor(kind.dtype, shape, bytes)
            }
        }
    }
}

fn tensor(dtype: DType, shape: Shape, bytes: Vec<u8>) -> Value {
    Value::Tensor(EngineTensor { dtype, shape, storage: Box::new(bytes) })
}

/// From class to probability.
fn map(classes: &Classes, row: impl ExactSizeIterator<Item = f32>) -> Value {
    let count = i64::try_from(row.len()).unwrap_or(i64::MAX);
    let shape = || Shape::from_slice(&[count]);
    let keys = match classes {
        Classes::Ints(labels) => {
            tensor(DType::Int64, shape(), labels.iter().flat_map(|label| label.to_ne_bytes()).collect())
        }
        Classes::Strings(labels) => Value::Strings(shape(), labels.iter().map(String::as_str).collect()),
    };
    let values = tensor(DType::Float32, shape(), row.flat_map(f32::to_ne_bytes).collect());
    Value::Map(Box::new((keys, values)))
}

impl Engine for NativeEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], requests: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        let [input] = inputs else {
            return Err(Error::new(ErrorKind::Engine, self.signature.model(), "got no input", "report this as a bug"));
        };
        let outputs: Vec<&Output> = requests.iter().map(|request| &self.program.outputs[request.index]).collect();
        let mut answers: Vec<Answer<'_>> =
            outputs.iter().zip(requests).map(|(output, request)| Answer::new(output, request)).collect();
        self.score(input, stop, |slots, start| {
            for (answer, output) in answers.iter_mut().zip(&outputs) {
                answer.take(&slots[output.slot], self.program.slots[output.slot].columns, start)?;
            }
            Some(())
        })?;
        let rows = input.shape.first().copied().unwrap_or_default();
        let answers = answers.into_iter().zip(&outputs);
        Ok(answers.map(|(answer, output)| answer.finish(self.program.slots[output.slot], &output.form, rows)).collect())
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_independent_rows(&self) -> bool {
        true
    }

    fn view(&self, view: View, file: Result<&Path>) -> Result<Box<dyn Engine>> {
        if let Some(trees) = &self.trees {
            return Ok(Box::new(trees.view(view, self.signature.model(), file)?));
        }
        let problem = match view {
            View::Margin => "has no `margin` that is clear",
            View::Leaf => "has no `leaf` that is clear: a graph need not number leaves as the library did",
            View::Contributions => {
                "has no `contributions`: an ONNX file does not say how many rows of the training came to each node"
            }
        };
        let fix = "load the tree library's own file: what `Booster.save_model` wrote";
        Err(Error::new(ErrorKind::Unsupported, self.signature.model(), problem, fix))
    }

    fn facts(&self) -> EngineFacts {
        let kernels = self.program.steps.iter().filter_map(|step| match step {
            Step::Trees { trees, .. } => Some(trees.kernel()),
            _ => None,
        });
        EngineFacts {
            name: "native",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            library: String::new(),
            threads: 1,
            why: self.why.to_owned(),
            kernel: kernels.collect::<Vec<_>>().join("; "),
        }
    }
}
