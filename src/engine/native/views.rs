//! What trees can answer beside scores: margins, leaves, and what each feature contributes.

use std::path::Path;
use std::sync::Arc;

use super::file::Intake;
use super::inputs::Input;
use super::{count_rows, stopped, wrong};
use crate::engine::{Engine, EngineFacts, View};
use crate::error::{Error, ErrorKind, Result};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::stop::Stop;
use crate::tensor::{DType, EngineTensor, InputTensor, OutputRequest, Shape, Value};
use crate::trees::{Column, Contributions, Ensemble, Rows};

/// Rows that are answered at once, and bytes of their answers, at most, unless one row has more.
const BLOCK: usize = 256;
const BLOCK_BYTES: usize = 1 << 20;

/// Reads what explains scores from a model's file; errors call the model as is said. Engines do not keep it: models that
/// are never asked do not pay for it.
pub type Explain = fn(&Path, &str) -> Result<Contributions>;

/// Trees that can be looked at in other ways.
pub(super) struct Trees {
    pub(super) ensemble: Arc<Ensemble>,
    /// What the columns of a row are, if they are inputs of their own.
    pub(super) columns: Option<Vec<Column>>,
    /// Of rows.
    pub(super) input: DType,
    /// Of margins.
    pub(super) margin: DType,
    pub(super) explain: Explain,
}

impl Trees {
    /// An engine for one of the ways.
    pub(super) fn view(&self, view: View, model: &str, file: Result<&Path>) -> Result<TreeView> {
        let rows = || Dim::Symbol("rows".to_owned());
        let fixed = |size: usize| Dim::Fixed(i64::try_from(size).unwrap_or(i64::MAX));
        let outputs = self.ensemble.outputs();
        let mut dims = vec![rows()];
        // One output has no axis.
        if outputs > 1 && view != View::Leaf {
            dims.push(fixed(outputs));
        }
        let (dtype, answer) = match view {
            View::Margin => (self.margin, Answer::Margin(Arc::clone(&self.ensemble))),
            View::Leaf if self.ensemble.is_linear_model() => {
                let problem = "has no `leaf`: it is a linear model, without trees";
                let fix = "train trees, or ask for `margin`";
                return Err(Error::new(ErrorKind::Unsupported, model, problem, fix));
            }
            View::Leaf => {
                dims.push(fixed(self.ensemble.trees()));
                (DType::Int32, Answer::Leaf(Arc::clone(&self.ensemble)))
            }
            View::Contributions => {
                dims.push(fixed(self.ensemble.features() + 1));
                (DType::Float64, Answer::Contributions(Box::new((self.explain)(file?, model)?)))
            }
        };
        let port = |name: &str, dtype, dims| Port {
            name: name.to_owned(),
            port_type: PortType::Tensor(dtype, dims),
            required: true,
        };
        let features = self.ensemble.features();
        let mut intake = Intake::new(self.columns.as_deref(), features, self.input);
        let inputs = std::mem::take(&mut intake.ports);
        let signature = Signature::new(model, inputs, vec![port(view.name(), dtype, dims)]);
        Ok(TreeView { signature, features, intake, output: dtype, answer })
    }
}

/// Trees looked at in one of the ways.
pub(super) struct TreeView {
    signature: Signature,
    features: usize,
    intake: Intake,
    output: DType,
    answer: Answer,
}

enum Answer {
    Margin(Arc<Ensemble>),
    Leaf(Arc<Ensemble>),
    Contributions(Box<Contributions>),
}

impl TreeView {
    /// Numbers of a row's answer.
    fn width(&self) -> usize {
        match &self.answer {
            Answer::Margin(trees) => trees.outputs(),
            Answer::Leaf(trees) => trees.trees(),
            Answer::Contributions(contributions) => contributions.outputs() * (self.features + 1),
        }
    }

    /// The bytes of the answers to some rows.
    #[allow(clippy::cast_possible_truncation, reason = "margins of float32 are rounded to it after each tree")]
    fn answer(&self, rows: &mut [f64], count: usize, stop: Option<&Stop>) -> Result<Vec<u8>> {
        let size = count * self.width();
        Ok(match &self.answer {
            Answer::Margin(trees) => {
                let mut margins = vec![0.0; size];
                trees.margins(Rows::Doubles(rows), &mut margins);
                if self.output == DType::Float32 {
                    margins.iter().flat_map(|margin| (*margin as f32).to_ne_bytes()).collect()
                } else {
                    margins.iter().flat_map(|margin| margin.to_ne_bytes()).collect()
                }
            }
            Answer::Leaf(trees) => {
                let mut leaves = vec![0; size];
                trees.leaves(rows, &mut leaves);
                leaves.iter().flat_map(|leaf| leaf.to_ne_bytes()).collect()
            }
            Answer::Contributions(contributions) => {
                let mut sums = vec![0.0; size];
                if !contributions.explain(rows, &mut sums, &mut || !stop.is_some_and(Stop::is_stopped)) {
                    return Err(stopped(&self.signature));
                }
                sums.iter().flat_map(|sum| sum.to_ne_bytes()).collect()
            }
        })
    }
}

impl Engine for TreeView {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: &[InputTensor], requests: &[OutputRequest], stop: Option<&Stop>) -> Result<Vec<Value>> {
        let wrong = || wrong(&self.signature);
        let [request] = requests else { return Err(wrong()) };
        let count = count_rows(inputs.iter(), &self.signature)?;
        let program = &self.intake.program;
        let inputs: Vec<Input<'_>> = inputs
            .iter()
            .map(|input| Input::new(input, program.slots[input.index], count).ok_or_else(wrong))
            .collect::<Result<_>>()?;
        let answer_bytes = self.width() * self.output.size();
        let most = (BLOCK_BYTES / program.row_bytes().max(answer_bytes).max(1)).clamp(1, BLOCK);
        let (mut block, mut all, mut matrix) = (program.block(), Vec::new(), Vec::new());
        for start in (0..count).step_by(most) {
            if stop.is_some_and(Stop::is_stopped) {
                return Err(stopped(&self.signature));
            }
            block.rows = most.min(count - start);
            for input in &inputs {
                input.fill(&mut block, start).ok_or_else(wrong)?;
            }
            program.run(&mut block).map_err(|_| wrong())?;
            block.numbers(self.intake.matrix, &mut matrix);
            let bytes = self.answer(&mut matrix, block.rows, stop)?;
            match &request.buffer {
                Some(buffer) => {
                    let part = buffer.data.part(start * answer_bytes, bytes.len()).ok_or_else(wrong)?;
                    part.copy_from(&bytes).then_some(()).ok_or_else(wrong)?;
                }
                None => all.extend(bytes),
            }
        }
        block.keep();
        if request.buffer.is_some() {
            return Ok(vec![Value::Written]);
        }
        let mut shape = Shape::from_slice(&[i64::try_from(count).unwrap_or(i64::MAX)]);
        let sizes = self.signature.outputs()[0].dims().unwrap_or_default();
        shape.extend(sizes.iter().filter_map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None }));
        Ok(vec![Value::Tensor(EngineTensor { dtype: self.output, shape, storage: Box::new(all) })])
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

    fn facts(&self) -> EngineFacts {
        EngineFacts::native("another answer of trees that glowplug itself runs", String::new())
    }
}
