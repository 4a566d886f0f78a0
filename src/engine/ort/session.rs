//! Makes a session of a model: options, signature, and the engine that runs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::ort::logging::LogLevel;
use ::ort::session::Session;
use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ::ort::value::{TensorElementType, ValueType};

use super::failure::creation_failed;
use super::library::Runtime;
use super::notices::Notices;
use super::run::Runner;
use crate::engine::{Engine, EngineFacts};
use crate::error::{Error, ErrorKind, Result};
use crate::fork;
use crate::onnx::ModelFacts;
use crate::options::{LoadOptions, Optimization};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::stop::Stop;
use crate::tensor::{DType, InputTensor, OutputRequest, Value};

/// A model loaded into ONNX Runtime.
pub struct OrtEngine {
    signature: Signature,
    runner: Runner,
    notices: Arc<Notices>,
    threads: usize,
    runtime: &'static Runtime,
    why: String,
}

/// What a session is made from.
#[derive(Debug, Clone, Copy)]
pub enum ModelSource<'a> {
    /// A file; the engine reads it, and its external data, itself.
    File(&'a Path),
    /// A whole model without external data.
    Bytes(&'a [u8]),
}

impl OrtEngine {
    /// Creates a session; `name` is what errors call the model.
    pub fn new(
        runtime: &'static Runtime,
        source: ModelSource<'_>,
        options: &LoadOptions,
        threads: usize,
        name: &str,
        facts: &ModelFacts,
    ) -> Result<Self> {
        let notices = Arc::new(Notices::default());
        let _whole = fork::keep_whole();
        let create = || create(runtime, source, options, threads, &notices);
        // The ort crate panics over value types it does not know, for example a sequence of sequences.
        let session = catch_unwind(AssertUnwindSafe(|| with_stack(stack_needed(source, facts), create)));
        let session = session
            .map_err(|_| {
                let problem = "an input or output has a type that the engine's binding does not know";
                Error::new(ErrorKind::Unsupported, name, problem, "export the model with tensors as inputs and outputs")
            })?
            .map_err(|error| creation_failed(name, error.code(), error.message()))?;
        let signature = signature_of(&session, name, facts);
        if signature.outputs().is_empty() {
            let problem = "has no outputs, so there is nothing to compute";
            return Err(Error::new(ErrorKind::Model, name, problem, "name the model's outputs when exporting it"));
        }
        let runner = Runner::new(&session, &signature)?;
        Ok(Self { signature, runner, notices, threads, runtime, why: String::new() })
    }

    /// Says why it was chosen.
    #[must_use]
    pub fn because(self, why: String) -> Self {
        Self { why, ..self }
    }
}

impl Engine for OrtEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], outputs: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        self.runner.run(&self.signature, inputs, outputs, stop)
    }

    fn take_notices(&self) -> Vec<String> {
        self.notices.take()
    }

    fn facts(&self) -> EngineFacts {
        EngineFacts {
            name: "onnxruntime",
            version: self.runtime.version.clone(),
            library: self.runtime.path.display().to_string(),
            threads: self.threads,
            why: self.why.clone(),
            kernel: String::new(),
        }
    }
}

/// How long a thread looks for the next operator's work before it sleeps: longer than the gaps between operators.
const SPIN_MICROS: &str = "100";

fn create(
    runtime: &Runtime,
    source: ModelSource<'_>,
    options: &LoadOptions,
    threads: usize,
    notices: &Arc<Notices>,
) -> ::ort::Result<Session> {
    let mut builder = configure(Session::builder(&runtime.environment)?, options, threads, notices)?;
    match source {
        ModelSource::File(path) => builder.commit_from_file(path),
        ModelSource::Bytes(bytes) => builder.commit_from_memory(bytes),
    }
}

fn configure(
    builder: SessionBuilder,
    options: &LoadOptions,
    threads: usize,
    notices: &Arc<Notices>,
) -> ::ort::Result<SessionBuilder> {
    let level = match options.optimization {
        Optimization::Off => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::All,
    };
    let notices = Arc::clone(notices);
    let logger = Arc::new(move |level, _: &str, _: &str, place: &str, message: &str| {
        notices.log(level, place, message);
    });
    // Spinning burns CPU that a quota charges for, so it ends with the run and after little in it; see
    // docs/decisions/0004-threads.md.
    // Without its arena the engine gives memory back after every run, and allocates no slower: docs/decisions/0012-memory.md.
    let cpu = ::ort::ep::CPU::default().with_arena_allocator(false).build();
    Ok(builder
        .with_execution_providers([cpu])?
        .with_memory_pattern(false)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(threads > 1)?
        .with_config_entry("session.force_spinning_stop", "1")?
        .with_config_entry("session.intra_op.spin_duration_us", SPIN_MICROS)?
        .with_inter_op_spinning(false)?
        .with_optimization_level(level)?
        .with_log_level(LogLevel::Warning)?
        .with_logger(logger)?)
}

/// Stack for loading a model, where it may need more than threads have: ONNX Runtime 1.32 walks down the trees of an
/// ensemble by recursion, one frame of some 200 bytes a level, and a level takes at least 40 bytes of the file.
fn stack_needed(source: ModelSource<'_>, facts: &ModelFacts) -> Option<usize> {
    const USUALLY_ENOUGH: u64 = 1 << 20;
    const PER_BYTE: u64 = 32;
    const MOST: u64 = 4 << 30;
    let bytes = match source {
        ModelSource::File(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        ModelSource::Bytes(bytes) => bytes.len() as u64,
    };
    let has_trees = facts.graph.nodes.iter().any(|node| node.operator.starts_with("TreeEnsemble"));
    let needed = usize::try_from((bytes * PER_BYTE).min(MOST)).ok()?;
    (has_trees && bytes > USUALLY_ENOUGH).then_some(needed)
}

/// Calls `work` on a thread with that much stack, of which only what is used takes memory; here, if none can be had.
fn with_stack<T: Send>(stack: Option<usize>, work: impl Fn() -> T + Sync) -> T {
    let Some(stack) = stack else { return work() };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("glowplug-load".to_owned()).stack_size(stack);
        match thread.spawn_scoped(scope, &work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => work(),
        }
    })
}

fn signature_of(session: &Session, name: &str, facts: &ModelFacts) -> Signature {
    let port = |name: &str, value: &ValueType, required| {
        let port_type = match port_type(value) {
            // The C API gives unknown ranks as rank 0; the file tells them apart, unless it is not in ONNX format.
            PortType::Tensor(dtype, dims)
                if dims.is_empty() && (facts.opsets.is_empty() || facts.open_ranks.iter().any(|open| open == name)) =>
            {
                PortType::AnyRank(dtype)
            }
            known => known,
        };
        Port { name: name.to_owned(), port_type, required }
    };
    let mut inputs: Vec<Port> = session.inputs().iter().map(|input| port(input.name(), input.dtype(), true)).collect();
    inputs.extend(session.overridable_initializers().iter().map(|input| port(input.name(), input.dtype(), false)));
    let outputs = session.outputs().iter().map(|output| port(output.name(), output.dtype(), true)).collect();
    Signature::new(name, inputs, outputs)
}

fn port_type(value: &ValueType) -> PortType {
    match value {
        ValueType::Tensor { ty, shape, dimension_symbols } => match dtype(*ty) {
            Some(dtype) => {
                let symbol = |axis: usize| dimension_symbols.get(axis).filter(|symbol| !symbol.is_empty());
                let dims = shape.iter().enumerate().map(|(axis, size)| match (*size, symbol(axis)) {
                    (0.., _) => Dim::Fixed(*size),
                    (_, Some(symbol)) => Dim::Symbol(symbol.clone()),
                    (_, None) => Dim::Unknown,
                });
                PortType::Tensor(dtype, dims.collect())
            }
            None => PortType::Other(format!("tensor({ty:?})").to_lowercase()),
        },
        other => PortType::Other(in_words(other)),
    }
}

fn in_words(value: &ValueType) -> String {
    let element = |ty: TensorElementType| {
        dtype(ty).map_or_else(|| format!("{ty:?}").to_lowercase(), |dtype| dtype.name().to_owned())
    };
    match value {
        ValueType::Tensor { ty, .. } => format!("tensor({})", element(*ty)),
        ValueType::Sequence(inner) => format!("sequence({})", in_words(inner)),
        ValueType::Map { key, value } => format!("map({}, {})", element(*key), element(*value)),
        ValueType::Optional(inner) => format!("optional({})", in_words(inner)),
    }
}

fn dtype(element: TensorElementType) -> Option<DType> {
    Some(match element {
        TensorElementType::Float16 => DType::Float16,
        TensorElementType::Float32 => DType::Float32,
        TensorElementType::Float64 => DType::Float64,
        TensorElementType::Int8 => DType::Int8,
        TensorElementType::Int16 => DType::Int16,
        TensorElementType::Int32 => DType::Int32,
        TensorElementType::Int64 => DType::Int64,
        TensorElementType::Uint8 => DType::Uint8,
        TensorElementType::Uint16 => DType::Uint16,
        TensorElementType::Uint32 => DType::Uint32,
        TensorElementType::Uint64 => DType::Uint64,
        TensorElementType::Bool => DType::Bool,
        TensorElementType::String => DType::String,
        _ => return None,
    })
}
