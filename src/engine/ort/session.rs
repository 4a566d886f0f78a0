//! Makes a session of a model: options, signature, and the engine that runs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

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
use crate::options::{LoadOptions, Optimization};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::tensor::{DType, InputTensor, OutputRequest, Value};

/// Sessions are created one at a time: races between concurrent creations have been reported to ONNX Runtime, and
/// on the small machines this runs on two creations at once are not faster than one after the other.
static CREATION: Mutex<()> = Mutex::new(());

/// A model loaded into ONNX Runtime.
pub struct OrtEngine {
    signature: Signature,
    runner: Runner,
    notices: Arc<Notices>,
    threads: usize,
    runtime: &'static Runtime,
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
    pub fn new(runtime: &'static Runtime, source: ModelSource<'_>, options: &LoadOptions, name: &str) -> Result<Self> {
        let notices = Arc::new(Notices::default());
        let session = {
            let _one_at_a_time = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
            // The ort crate panics over value types it does not know, for example a sequence of sequences.
            catch_unwind(AssertUnwindSafe(|| create(runtime, source, options, &notices)))
        };
        let session = session
            .map_err(|_| {
                let problem = "an input or output has a type that the engine's binding does not know";
                Error::new(ErrorKind::Unsupported, name, problem, "export the model with tensors as inputs and outputs")
            })?
            .map_err(|error| creation_failed(name, error.code(), error.message()))?;
        let signature = signature_of(&session, name);
        let runner = Runner::new(&session, &signature)?;
        Ok(Self { signature, runner, notices, threads: options.threads, runtime })
    }
}

impl Engine for OrtEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], outputs: &[OutputRequest]) -> Result<Vec<Value>> {
        self.runner.run(&self.signature, inputs, outputs)
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
        }
    }
}

fn create(
    runtime: &Runtime,
    source: ModelSource<'_>,
    options: &LoadOptions,
    notices: &Arc<Notices>,
) -> ::ort::Result<Session> {
    let mut builder = configure(Session::builder(&runtime.environment)?, options, notices)?;
    match source {
        ModelSource::File(path) => builder.commit_from_file(path),
        ModelSource::Bytes(bytes) => builder.commit_from_memory(bytes),
    }
}

fn configure(builder: SessionBuilder, options: &LoadOptions, notices: &Arc<Notices>) -> ::ort::Result<SessionBuilder> {
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
    // Spinning threads burn CPU that a quota charges for; see docs/decisions/0004-threads.md.
    Ok(builder
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_optimization_level(level)?
        .with_log_level(LogLevel::Warning)?
        .with_logger(logger)?)
}

fn signature_of(session: &Session, name: &str) -> Signature {
    let port =
        |name: &str, value: &ValueType, required| Port { name: name.to_owned(), port_type: port_type(value), required };
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
