//! Runs small networks of float32 without a runtime.

mod operators;
mod plan;
mod program;
mod share;
mod spare;
mod view;
mod weights;

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use super::{Engine, EngineFacts, View};
use crate::dense::Instructions;
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::{Leave, ModelFacts, Source};
use crate::pace::Pace;
use crate::signature::Signature;
use crate::stop::Stop;
use crate::tensor::{Buffer, DType, EngineTensor, InputTensor, OutputRequest, RawData, Shape, Value};
use crate::threads::Crew;
use crate::ways::goes_second;
use plan::{Input, Network, Planned};
use program::{Interrupted, Memory};
use spare::Spare;

/// Versions of ONNX's own operators whose meaning is known here.
const OPSETS: std::ops::RangeInclusive<u64> = 7..=25;
/// Versions of the file format, as ONNX Runtime 1.32 reads them.
const FORMATS: std::ops::RangeInclusive<u64> = 3..=13;
/// Bytes that a block of rows may take: they stay in the second cache.
const BLOCK_BYTES: usize = 1 << 17;
/// Rows of matrices that a block has where weights are larger than that, so that these are read less often.
const BLOCK_OF_LARGE: usize = 120;
/// Runs on one thread before help is tried, where it is not clear whether it makes them faster.
const TRIES_ALONE: u64 = 3;
/// Rows of a block, at most.
const MOST_ROWS: usize = 1020;

/// A network that is known wholly.
pub struct NetworkEngine {
    network: Network,
    instructions: Instructions,
    /// Rows that are computed at once.
    block: usize,
    /// Threads that share large products.
    threads: usize,
    /// What runs took on one thread, and with others' help, where it is not clear which is the faster.
    alone: Pace,
    helped: Pace,
    spare: Spare,
}

impl NetworkEngine {
    /// Whether a graph is a network at all: it multiplies matrices, and there is nothing of classical machine learning in it.
    pub fn is_network(facts: &ModelFacts) -> bool {
        let is_own = |node: &crate::onnx::Node| matches!(node.domain.as_str(), "" | "ai.onnx");
        let multiplies = |node: &crate::onnx::Node| matches!(node.operator.as_str(), "MatMul" | "Gemm");
        let nodes = &facts.graph.nodes;
        nodes.iter().all(is_own) && nodes.iter().any(multiplies)
    }

    /// Whether networks are faster here than with ONNX Runtime, as far as that was measured.
    pub fn is_fast() -> bool {
        Instructions::best().has_intrinsics()
    }

    /// What a graph has that [`Self::of_file`] does not know, as far as the scan of the file tells.
    pub fn unknown(facts: &ModelFacts) -> Option<String> {
        let unknown = |node: &&crate::onnx::Node| operators::find(&node.operator, &node.domain).is_none();
        if let Some(node) = facts.graph.nodes.iter().find(unknown) {
            return Some(format!("the operator {} is not known", node.operator));
        }
        if !OPSETS.contains(&opset_of(facts)) {
            return Some(format!("version {} of the operators is not known", opset_of(facts)));
        }
        if !FORMATS.contains(&facts.ir_version) {
            return Some(format!("version {} of the file format is not known", facts.ir_version));
        }
        let is_whole = facts.external.is_empty() && facts.graph.functions.is_empty();
        (!is_whole).then(|| "there are functions or files beside the model".to_owned())
    }

    /// An engine for an ONNX file, or what it has that is not known; `name` is what errors call the model.
    /// Its products may be shared among `threads`.
    pub fn of_file(path: &Path, facts: &ModelFacts, name: &str, threads: usize) -> Planned<Self> {
        let file = File::open(path).map_err(|_| "the file cannot be read")?;
        Self::new(&Source::File(file), facts, name, threads)
    }

    /// The same for bytes.
    pub fn of_bytes(bytes: &[u8], facts: &ModelFacts, name: &str, threads: usize) -> Planned<Self> {
        Self::new(&Source::Bytes(bytes), facts, name, threads)
    }

    fn new(source: &Source<'_>, facts: &ModelFacts, name: &str, threads: usize) -> Planned<Self> {
        let outline = source.outline(Leave::Tensors).ok_or("the file is not as expected")?;
        let (graph, stored) = outline.graph().ok_or("the file is not as expected")?;
        let network = plan::plan(&graph, &stored, source, opset_of(facts), name)?;
        let block = block_of(&network);
        let spare = Spare::new(&network.program, threads);
        Ok(Self {
            network,
            instructions: Instructions::best(),
            block,
            threads,
            alone: Pace::default(),
            helped: Pace::default(),
            spare,
        })
    }

    fn wrong(&self) -> Error {
        Error::new(ErrorKind::Engine, self.signature().model(), "got memory of another size", "report this as a bug")
    }

    /// The rows that all inputs have, and where each input's elements are, in the order of the signature.
    fn inputs<'a>(&self, inputs: &'a [InputTensor]) -> Result<(usize, Vec<(&'a InputTensor, RawData)>)> {
        let mut found = Vec::with_capacity(inputs.len());
        for index in 0..self.network.inputs.len() {
            let input = inputs.iter().find(|input| input.index == index).ok_or_else(|| self.wrong())?;
            found.push((input, input.elements.raw().ok_or_else(|| self.wrong())?));
        }
        let rows = |input: &InputTensor| input.shape.first().copied().unwrap_or_default();
        let first = found.first().map_or(0, |(input, _)| rows(input));
        if let Some((other, _)) = found.iter().find(|(input, _)| rows(input) != first) {
            let ports = self.signature().inputs();
            let problem = format!("got {} rows, but `{}` has {first}", rows(other), ports[0].name);
            let subject = self.signature().input_subject(other.index);
            return Err(Error::new(ErrorKind::Input, subject, problem, "pass as many rows in every input"));
        }
        Ok((usize::try_from(first).map_err(|_| self.wrong())?, found))
    }

    fn run_on(
        &self,
        crew: &Crew,
        inputs: &[InputTensor],
        requests: &[OutputRequest],
        stop: Option<&Stop>,
    ) -> Result<Vec<Value>> {
        let (count, inputs) = self.inputs(inputs)?;
        let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
        for request in requests {
            let row = self.network.outputs[request.index].slot.size * size_of::<f32>();
            let bytes = row.checked_mul(count).ok_or_else(|| self.wrong())?;
            answers.push(match &request.buffer {
                Some(buffer) if buffer.data.bytes() == bytes => Answer::Caller(buffer.data),
                Some(_) => return Err(self.wrong()),
                None => Answer::Own(Buffer::zeroed(bytes)),
            });
        }
        let mut memory = self.spare.take(&self.network.program, self.block.min(count));
        for start in (0..count).step_by(self.block) {
            let rows = self.block.min(count - start);
            for ((_, data), input) in inputs.iter().zip(&self.network.inputs) {
                read(*data, *input, start, rows, &mut memory).ok_or_else(|| self.wrong())?;
            }
            let goes_on = || stop.is_none_or(|stop| !stop.is_stopped());
            let ran = self.network.program.run(self.instructions, crew, &mut memory, rows, goes_on);
            ran.map_err(|why| self.interrupted(why))?;
            for (answer, request) in answers.iter_mut().zip(requests) {
                let slot = self.network.outputs[request.index].slot;
                let numbers = &memory.floats[slot.memory][..slot.size * rows];
                let is_written = match answer {
                    Answer::Caller(data) => data.write(start * slot.size, numbers),
                    Answer::Own(buffer) => {
                        let bytes = &mut buffer.as_bytes_mut()[start * slot.size * size_of::<f32>()..];
                        let all = bytes.as_chunks_mut().0;
                        all.iter_mut().zip(numbers).for_each(|(to, from)| *to = from.to_ne_bytes());
                        true
                    }
                };
                is_written.then_some(()).ok_or_else(|| self.wrong())?;
            }
        }
        self.spare.keep(memory);
        let rows = i64::try_from(count).map_err(|_| self.wrong())?;
        let value = |(answer, request): (Answer, &OutputRequest)| match answer {
            Answer::Caller(_) => Value::Written,
            Answer::Own(buffer) => {
                let mut shape = Shape::from_slice(&[rows]);
                shape.extend(self.network.outputs[request.index].dims.iter().copied());
                Value::Tensor(EngineTensor { dtype: DType::Float32, shape, storage: Box::new(buffer) })
            }
        };
        Ok(answers.into_iter().zip(requests).map(value).collect())
    }

    /// Threads that one run may use: several, if a block of rows is enough work to share.
    fn run_threads(&self) -> usize {
        let is_large = self.network.program.work(self.block).all >= share::WORTH_WAKING;
        if is_large { self.threads } else { 1 }
    }

    /// How threads share products, in words.
    fn sharing(&self) -> String {
        match self.run_threads() {
            0 | 1 => String::new(),
            threads => format!(", large ones shared among {threads} threads"),
        }
    }

    fn interrupted(&self, why: Interrupted) -> Error {
        let model = self.signature().model();
        match why {
            Interrupted::Stopped => Error::new(ErrorKind::Stopped, model, "the run was stopped", "call again"),
            Interrupted::OutOfRange { id, entries } => {
                let problem = format!(
                    "got the index {id} for a table of {entries} entries, expected -{entries} to {}",
                    entries - 1
                );
                let fix = "check that the values of the inputs are those the model was made for";
                Error::new(ErrorKind::Engine, model, problem, fix)
            }
        }
    }
}

fn opset_of(facts: &ModelFacts) -> u64 {
    let is_own = |domain: &str| matches!(domain, "" | "ai.onnx");
    facts.opsets.iter().find(|(domain, _)| is_own(domain)).map_or(0, |(_, version)| *version)
}

fn block_of(network: &Network) -> usize {
    let program = &network.program;
    let fitting = BLOCK_BYTES / program.bytes_per_row().max(1);
    let least = if program.weight_bytes() > BLOCK_BYTES { BLOCK_OF_LARGE / program.most_matrix_rows() } else { 1 };
    fitting.clamp(least.max(1), MOST_ROWS)
}

/// Reads rows of an input into a block.
fn read(data: RawData, input: Input, start: usize, rows: usize, memory: &mut Memory) -> Option<()> {
    let (start, count) = (start * input.slot.size, rows * input.slot.size);
    let is_read = match input.dtype {
        DType::Float32 => data.read(start, &mut memory.floats[input.slot.memory][..count]),
        DType::Int64 => data.read(start, &mut memory.ints[input.slot.memory][..count]),
        _ => {
            let mut narrow = vec![0_i32; count];
            let is_read = data.read(start, &mut narrow);
            let wide = &mut memory.ints[input.slot.memory];
            wide.iter_mut().zip(narrow).for_each(|(to, from)| *to = i64::from(from));
            is_read
        }
    };
    is_read.then_some(())
}

/// Where an output goes.
enum Answer {
    Caller(RawData),
    Own(Buffer),
}

impl Engine for NetworkEngine {
    fn signature(&self) -> &Signature {
        &self.network.signature
    }

    fn run(&self, inputs: &[InputTensor], requests: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        let rows = inputs.first().and_then(|input| input.shape.first()).map_or(0, |rows| rows.unsigned_abs());
        let work = self.network.program.work(usize::try_from(rows).unwrap_or(0));
        if self.threads < 2 || work.all < share::WORTH_WAKING {
            return self.run_on(&Crew::alone(), inputs, requests, stop);
        }
        if work.of_large >= share::WORTH_WAKING {
            return Crew::gather(self.threads, |crew| self.run_on(crew, inputs, requests, stop));
        }
        let one_run = self.alone.known(rows, TRIES_ALONE);
        let is_helped = one_run.is_some_and(|one_run| goes_second(&self.alone, &self.helped, rows, one_run));
        Crew::gather(if is_helped { self.threads } else { 1 }, |crew| {
            let begun = Instant::now();
            let values = self.run_on(crew, inputs, requests, stop)?;
            // Where others are busy, there is no help for who is to have it.
            if is_helped == (crew.size() > 1) {
                let pace = if is_helped { &self.helped } else { &self.alone };
                pace.record(rows, begun.elapsed());
            }
            Ok(values)
        })
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_independent_rows(&self) -> bool {
        true
    }

    fn block(&self) -> Option<usize> {
        Some(self.block)
    }

    fn view(&self, view: View, _file: Result<&Path>) -> Result<Box<dyn Engine>> {
        let problem = format!("has no `{}`: it is a network, and gives the outputs of the graph only", view.name());
        let fix = "load the tree library's own file: what `Booster.save_model` wrote";
        Err(Error::new(ErrorKind::Unsupported, self.signature().model(), problem, fix))
    }

    fn facts(&self) -> EngineFacts {
        let kernel =
            format!("products with {}, {} rows at once{}", self.instructions.name(), self.block, self.sharing());
        let facts = EngineFacts::native("glowplug itself knows every operator of the graph", kernel);
        EngineFacts { threads: self.run_threads(), ..facts }
    }
}
