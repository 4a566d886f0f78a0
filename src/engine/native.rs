//! Runs tree ensembles without a runtime.

use super::{Engine, EngineFacts};
use crate::error::{Error, ErrorKind, Result};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::stop::Stop;
use crate::tensor::{Buffer, DType, EngineTensor, InputTensor, OutputRequest, Shape, Value};
use crate::trees::{Ensemble, Link};

/// Rows that are copied at once: as many as the trees score at once, and fewer if they are long.
const BLOCK: usize = 256;
/// Bytes of such a copy, at most, unless one row is longer.
const BLOCK_BYTES: usize = 1 << 20;

/// A tree ensemble of one matrix of float64.
pub struct NativeEngine {
    signature: Signature,
    trees: Ensemble,
}

impl NativeEngine {
    /// An engine for `trees`; `name` is what errors call the model.
    pub fn new(trees: Ensemble, name: &str) -> Self {
        let fixed = |size: usize| Dim::Fixed(i64::try_from(size).unwrap_or(i64::MAX));
        let rows = || Dim::Symbol("rows".to_owned());
        let port = |name: &str, dims| Port {
            name: name.to_owned(),
            port_type: PortType::Tensor(DType::Float64, dims),
            required: true,
        };
        let output = match (trees.link(), trees.outputs()) {
            (Link::Sigmoid(_), 1) => port("probability", vec![rows()]),
            (Link::Sigmoid(_) | Link::Softmax, outputs) => port("probabilities", vec![rows(), fixed(outputs)]),
            (_, 1) => port("prediction", vec![rows()]),
            (_, outputs) => port("predictions", vec![rows(), fixed(outputs)]),
        };
        let input = port("features", vec![rows(), fixed(trees.features())]);
        Self { signature: Signature::new(name, vec![input], vec![output]), trees }
    }

    /// Scores all rows into `write`, which gets the bytes of one block after the other and where they belong.
    fn score(
        &self,
        input: &InputTensor,
        stop: Option<&Stop>,
        mut write: impl FnMut(usize, &[u8]) -> bool,
    ) -> Result<()> {
        let wrong = || {
            Error::new(ErrorKind::Engine, self.signature.model(), "got memory of another size", "report this as a bug")
        };
        let (columns, outputs) = (self.trees.features(), self.trees.outputs());
        let count = input.shape.first().and_then(|rows| usize::try_from(*rows).ok()).ok_or_else(wrong)?;
        let data = input.elements.raw().ok_or_else(wrong)?;
        let most = (BLOCK_BYTES / (columns * size_of::<f64>())).clamp(1, BLOCK);
        let mut bytes = Buffer::zeroed(columns * count.min(most) * size_of::<f64>());
        let (mut rows, mut scores, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        for start in (0..count).step_by(most) {
            if stop.is_some_and(Stop::is_stopped) {
                return Err(Error::new(
                    ErrorKind::Stopped,
                    self.signature.model(),
                    "the run was stopped",
                    "call again",
                ));
            }
            let block = most.min(count - start);
            bytes.truncate(columns * block * size_of::<f64>());
            let part = data.part(start * columns * size_of::<f64>(), bytes.as_bytes().len()).ok_or_else(wrong)?;
            if !part.copy_to(bytes.as_bytes_mut()) {
                return Err(wrong());
            }
            rows.clear();
            let values = bytes.as_bytes().as_chunks().0.iter();
            rows.extend(values.map(|value| f64::from_ne_bytes(*value)));
            scores.resize(block * outputs, 0.0);
            self.trees.score(&mut rows, &mut scores);
            answer.clear();
            answer.extend(scores.iter().flat_map(|score| score.to_ne_bytes()));
            if !write(start * outputs * size_of::<f64>(), &answer) {
                return Err(wrong());
            }
        }
        Ok(())
    }
}

impl Engine for NativeEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], outputs: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        let [input] = inputs else {
            return Err(Error::new(ErrorKind::Engine, self.signature.model(), "got no input", "report this as a bug"));
        };
        let answer = |request: &OutputRequest| {
            if let Some(buffer) = &request.buffer {
                let write =
                    |at, bytes: &[u8]| buffer.data.part(at, bytes.len()).is_some_and(|part| part.copy_from(bytes));
                return self.score(input, stop, write).map(|()| Value::Written);
            }
            let mut all = Vec::new();
            self.score(input, stop, |_, bytes| {
                all.extend_from_slice(bytes);
                true
            })?;
            let mut shape: Shape = input.shape.iter().take(1).copied().collect();
            if let Some([_, Dim::Fixed(columns)]) = self.signature.outputs()[0].dims() {
                shape.push(*columns);
            }
            Ok(Value::Tensor(EngineTensor { dtype: DType::Float64, shape, storage: Box::new(all) }))
        };
        outputs.iter().map(answer).collect()
    }

    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_independent_rows(&self) -> bool {
        true
    }

    fn facts(&self) -> EngineFacts {
        EngineFacts {
            name: "native",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            library: String::new(),
            threads: 1,
            why: "a tree library's own file is run by glowplug itself",
            kernel: self.trees.kernel(),
        }
    }
}
