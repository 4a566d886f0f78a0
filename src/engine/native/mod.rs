//! Runs tree ensembles and what stands round them without a runtime.

mod answers;
mod arithmetic;
mod attributes;
mod casts;
mod classes;
mod elementwise;
mod encoders;
mod ensemble;
mod file;
mod graph;
mod inputs;
mod joining;
mod linear;
mod logic;
mod normalization;
mod picking;
mod planner;
mod positions;
mod program;
mod reductions;
mod scalers;
mod shape;
mod shaping;
mod spare;
mod svm;
mod tree_ensemble;
mod trees;
mod values;
mod views;

use std::collections::HashSet;
use std::path::Path;

use smallvec::SmallVec;

use super::{Engine, EngineFacts, View};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::{Leave, ModelFacts, Source};
use crate::signature::Signature;
use crate::stop::Stop;
use crate::tensor::{InputTensor, OutputRequest, Value};
use crate::trees::TreeModel;
use answers::Answer;
use graph::Plans;
use inputs::Input;
use program::{Program, Trouble};
pub use views::Explain;
use views::Trees;

/// Versions of ONNX's own operators whose meaning is known; before them, arithmetic was another.
const VERSIONS: std::ops::RangeInclusive<u64> = 7..=25;
/// Versions of the operators for classical machine learning.
const ML_VERSIONS: std::ops::RangeInclusive<u64> = 1..=5;

/// A model whose rows are computed one by one.
pub struct NativeEngine {
    signature: Signature,
    program: Program,
    /// Which inputs anything is made of.
    used: Vec<bool>,
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
        let [version, ml_version] = versions(facts);
        let is_classical = nodes.iter().any(|node| node.domain == graph::ML);
        if !is_classical && !is_linear(facts) && !measures_distances(facts) {
            return Some("there is no operator of ai.onnx.ml".to_owned());
        }
        if is_classical && !ML_VERSIONS.contains(&ml_version) {
            return Some(format!("version {ml_version} of ai.onnx.ml is not known"));
        }
        if nodes.iter().any(|node| node.domain.is_empty()) && !VERSIONS.contains(&version) {
            return Some(format!("version {version} of ONNX's operators is not known"));
        }
        let is_whole = facts.external.is_empty() && facts.graph.functions.is_empty();
        (!is_whole).then(|| "there are functions or files beside the model".to_owned())
    }

    /// An engine for a tree library's own file; `name` is what errors call the model.
    pub fn of_file(model: TreeModel, name: &str, explain: Explain) -> Self {
        let (program, signature, trees) = file::plan(model, name, explain);
        let why = "a tree library's own file is run by glowplug itself";
        let used = vec![true; signature.inputs().len()];
        Self { signature, program, used, why, trees: Some(trees) }
    }

    /// An engine for the graph of an ONNX file, or what it has that is not known. `facts` are what the scan found.
    pub fn of_graph(source: &Source<'_>, facts: &ModelFacts, name: &str) -> std::result::Result<Self, String> {
        let outline = source.outline(Leave::Lists).ok_or("the file is not as expected")?;
        let (graph, _) = outline.graph().ok_or("the file is not as expected")?;
        let Plans { program, signature, used } = graph::plan(&graph, source, versions(facts), name)?;
        Ok(Self { signature, program, used, why: "glowplug itself knows every operator of the graph", trees: None })
    }

    fn wrong(&self) -> Error {
        wrong(&self.signature)
    }

    fn trouble(&self, Trouble { problem, fix }: Trouble) -> Error {
        Error::new(ErrorKind::Input, self.signature.model(), problem, fix)
    }

    /// How many rows the inputs have that anything is made of.
    fn rows(&self, inputs: &[InputTensor]) -> Result<usize> {
        let used = inputs.iter().filter(|input| self.used.get(input.index).is_none_or(|used| *used));
        count_rows(used, &self.signature)
    }

    /// Runs `rows` rows of `inputs`, block after block, into `answers`, which are of `requests`.
    fn score(
        &self,
        inputs: &[InputTensor],
        rows: usize,
        requests: &[OutputRequest],
        answers: &mut [Answer<'_>],
        stop: Option<&Stop>,
    ) -> Result<()> {
        let mut read = SmallVec::<[Input<'_>; 8]>::with_capacity(inputs.len());
        for input in inputs.iter().filter(|input| self.used.get(input.index).is_none_or(|used| *used)) {
            read.push(Input::new(input, self.program.slots[input.index], rows).ok_or_else(|| self.wrong())?);
        }
        // Of no rows a block has none, and a loop of no steps needs steps all the same.
        let most = if rows <= 1 { 1 } else { self.program.block_of(rows) };
        let mut block = self.program.block();
        for start in (0..rows).step_by(most) {
            if stop.is_some_and(Stop::is_stopped) {
                return Err(stopped(&self.signature));
            }
            block.rows = most.min(rows - start);
            for input in &read {
                input.fill(&mut block, start).ok_or_else(|| self.wrong())?;
            }
            self.program.run(&mut block).map_err(|trouble| self.trouble(trouble))?;
            for (answer, request) in answers.iter_mut().zip(requests) {
                let slot = self.program.outputs[request.index].slot;
                answer.take(block.slot(slot), start).ok_or_else(|| self.wrong())?;
            }
        }
        block.keep();
        Ok(())
    }
}

/// Whether a graph is a linear model without any operator for classical machine learning: it multiplies, and by vectors only.
fn is_linear(facts: &ModelFacts) -> bool {
    let vectors = facts.graph.constants.iter().filter(|constant| constant.dims.len() == 1);
    let vectors: HashSet<&str> = vectors.map(|constant| constant.name.as_str()).collect();
    let is_vector = |name: &String| vectors.contains(name.as_str());
    let mut products =
        facts.graph.nodes.iter().filter(|node| matches!(node.operator.as_str(), "MatMul" | "Gemm")).peekable();
    products.peek().is_some() && products.all(|node| node.inputs.get(1).is_some_and(is_vector))
}

/// Whether squares are added along rows, or chances: distances to the centres of `KMeans`, and mixtures, which have no operator
/// for classical machine learning either. Networks normalise by means of squares, and by `Softmax`.
fn measures_distances(facts: &ModelFacts) -> bool {
    facts.graph.nodes.iter().any(|node| matches!(node.operator.as_str(), "ReduceSumSquare" | "ReduceLogSumExp"))
}

/// The versions of ONNX's own operators and of those for classical machine learning; 0 if the file does not say, or twice.
fn versions(facts: &ModelFacts) -> [u64; 2] {
    ["", graph::ML].map(|domain| {
        let mut versions = facts.opsets.iter().filter(|(known, _)| known == domain).map(|(_, version)| *version);
        versions.next().filter(|_| versions.next().is_none()).unwrap_or(0)
    })
}

/// How many rows all of these inputs have.
fn count_rows<'a>(inputs: impl Iterator<Item = &'a InputTensor>, signature: &Signature) -> Result<usize> {
    let mut rows = None;
    for input in inputs {
        let own = input.shape.first().and_then(|rows| usize::try_from(*rows).ok()).ok_or_else(|| wrong(signature))?;
        if *rows.get_or_insert(own) != own {
            let problem = format!("got inputs of {} and of {own} rows", rows.unwrap_or_default());
            let fix = "pass as many rows for every input";
            return Err(Error::new(ErrorKind::Input, signature.model(), problem, fix));
        }
    }
    rows.ok_or_else(|| wrong(signature))
}

fn wrong(signature: &Signature) -> Error {
    Error::new(ErrorKind::Engine, signature.model(), "got memory of another size", "report this as a bug")
}

fn stopped(signature: &Signature) -> Error {
    Error::new(ErrorKind::Stopped, signature.model(), "the run was stopped", "call again")
}

impl Engine for NativeEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], requests: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        let rows = self.rows(inputs)?;
        // Not collected, which moves them twice: for one row that counts.
        let mut answers = SmallVec::<[Answer<'_>; 2]>::with_capacity(requests.len());
        for request in requests {
            let output = &self.program.outputs[request.index];
            let answer = Answer::new(output, self.program.slots[output.slot], request, rows);
            answers.push(answer.ok_or_else(|| self.wrong())?);
        }
        self.score(inputs, rows, requests, &mut answers, stop)?;
        Ok(answers.drain(..).map(Answer::finish).collect())
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_independent_rows(&self) -> bool {
        true
    }

    fn computes_alone(&self) -> bool {
        true
    }

    fn block(&self) -> Option<usize> {
        self.program.piece()
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
        let fix = "load the tree library's own file: what `Booster.save_model` wrote, or of an estimator of scikit-learn what \
                   `glowplug.convert.from_sklearn` made";
        Err(Error::new(ErrorKind::Unsupported, self.signature.model(), problem, fix))
    }

    fn facts(&self) -> EngineFacts {
        let kernels = self.program.steps.iter().filter_map(|step| step.kernel());
        EngineFacts::native(self.why, kernels.collect::<Vec<_>>().join("; "))
    }
}
