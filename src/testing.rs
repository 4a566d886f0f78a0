//! An engine and a loader for the core's own tests: no library, every answer predictable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::engine::{Engine, EngineFacts};
use crate::error::{Error, ErrorKind, Result};
use crate::onnx::ModelFacts;
use crate::options::LoadOptions;
use crate::registry::Loader;
use crate::session::{Origin, Session, ThreadPlan};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::source::ModelFile;
use crate::stop::Stop;
use crate::tensor::{DType, EngineTensor, InputTensor, OutputRequest, Shape, Value};

/// An ONNX file of an empty graph, `padding` bytes longer than the smallest; `tag` makes contents differ.
pub(crate) fn model_bytes(padding: usize, tag: u8) -> Vec<u8> {
    let name = vec![tag; padding];
    let length = u8::try_from(padding).unwrap();
    // Field 7 (graph) is empty, field 6 (doc_string) holds the tag.
    [&[7 << 3 | 2, 0, 6 << 3 | 2, length][..], &name].concat()
}

const ONE_THREAD: ThreadPlan = ThreadPlan { intra: 1, rows: 1, why: "a test" };

pub(crate) fn port(name: &str, dims: &[Dim]) -> Port {
    Port { name: name.to_owned(), port_type: PortType::Tensor(DType::Float32, dims.to_vec()), required: true }
}

/// Answers each run with outputs of the shapes that `shape` makes of the first input's.
pub(crate) struct FakeEngine {
    pub(crate) signature: Signature,
    pub(crate) shape: fn(&[i64]) -> Shape,
    pub(crate) runs: Arc<AtomicUsize>,
    /// Whether buffers are written, as a real engine does.
    pub(crate) writes: bool,
}

impl Engine for FakeEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], outputs: &[OutputRequest], _: Option<&Stop>) -> Result<Vec<Value>> {
        self.runs.fetch_add(1, SeqCst);
        let shape = (self.shape)(&inputs[0].shape);
        let answer = |request: &OutputRequest| match &request.buffer {
            Some(buffer) if buffer.shape == shape => {
                if self.writes {
                    buffer.data.fill(0);
                }
                Ok(Value::Written)
            }
            Some(_) => Err(Error::new(ErrorKind::Engine, "fake", "shape verification failed", "none")),
            None => Ok(Value::Tensor(EngineTensor {
                dtype: DType::Float32,
                shape: shape.clone(),
                storage: Box::new(vec![0_u8; usize::try_from(shape.iter().product::<i64>()).unwrap() * 4]),
            })),
        };
        outputs.iter().map(answer).collect()
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn facts(&self) -> EngineFacts {
        EngineFacts {
            name: "fake",
            version: "0".into(),
            library: "none".into(),
            threads: 1,
            why: "a test".into(),
            kernel: String::new(),
        }
    }
}

/// A session over a fake engine with the input `x[N, 2]` and one output `y` of these dimensions.
pub(crate) fn session(output: &[Dim], shape: fn(&[i64]) -> Shape) -> (Session, Arc<AtomicUsize>) {
    fake_session(output, shape, true)
}

/// The same over an engine that leaves buffers as they are; its answers have three columns.
pub(crate) fn unwriting_session(output: &[Dim]) -> (Session, Arc<AtomicUsize>) {
    fake_session(output, |shape| Shape::from_slice(&[shape[0], 3]), false)
}

fn fake_session(output: &[Dim], shape: fn(&[i64]) -> Shape, writes: bool) -> (Session, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let inputs = vec![port("x", &[Dim::Symbol("N".into()), Dim::Fixed(2)])];
    let signature = Signature::new("fake", inputs, vec![port("y", output)]);
    let engine = Box::new(FakeEngine { signature, shape, runs: Arc::clone(&runs), writes });
    let origin = Origin::Bytes(crate::digest::Digest::of_bytes(b"fake"), 4);
    (Session::new(engine, LoadOptions::default(), ONE_THREAD, origin, ModelFacts::default(), Duration::ZERO), runs)
}

/// Counts what it loads; files that contain the byte `!` fail.
#[derive(Default)]
pub(crate) struct FakeLoader {
    pub(crate) loads: AtomicUsize,
    /// How long each load takes.
    pub(crate) takes: Duration,
}

impl FakeLoader {
    fn make(&self, content: &[u8], origin: Origin, options: LoadOptions) -> Result<Session> {
        self.loads.fetch_add(1, SeqCst);
        std::thread::sleep(self.takes);
        if content.contains(&b'!') {
            return Err(Error::new(ErrorKind::Model, "fake", "broken", "none"));
        }
        let signature = Signature::new("fake", vec![port("x", &[])], vec![port("y", &[])]);
        let engine = Box::new(FakeEngine { signature, shape: Shape::from_slice, runs: Arc::default(), writes: true });
        Ok(Session::new(engine, options, ONE_THREAD, origin, ModelFacts::default(), Duration::ZERO))
    }
}

impl Loader for FakeLoader {
    fn load_file(&self, file: ModelFile, options: &LoadOptions) -> Result<Session> {
        let content = std::fs::read(file.path()).unwrap();
        self.make(&content, Origin::File(Box::new(file)), *options)
    }

    fn load_bytes(&self, bytes: &[u8], origin: Origin, options: &LoadOptions) -> Result<Session> {
        self.make(bytes, origin, *options)
    }
}
