//! JSON in, JSON out: a request that needs no Python object never makes one.

mod answer;
mod binary;
mod body;
mod each;
mod infer;
mod parameters;
mod protocol;
mod reader;
mod sink;
mod write;

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::batch::{self, Watch};
use crate::classifier::Probabilities;
use crate::contributions;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::probabilities;
use crate::session::{Session, View};
use crate::tensor::{InputTensor, OutputRequest, Value};
use answer::Answer;
pub use body::{Body, Form, read};
pub use each::predict_each;
pub use infer::{Inference, infer, inferable};
pub use parameters::Place;
pub use protocol::Wanted;

/// Which of a model's answers is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The first output.
    Predict,
    /// Probabilities of the classes.
    PredictProba,
    /// Every output by name.
    Run,
    /// Something else that trees can answer.
    View(View),
}

impl Method {
    /// By the name of the method that gives the same as arrays.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "predict" => Ok(Self::Predict),
            "predict_proba" => Ok(Self::PredictProba),
            "run" => Ok(Self::Run),
            _ => {
                if let Some(view) = View::ALL.into_iter().find(|view| view.name() == name) {
                    return Ok(Self::View(view));
                }
                let problem = format!(
                    "got {name:?}, expected \"predict\", \"predict_proba\", \"run\", \"margin\", \"leaf\" or \"contributions\""
                );
                let fix = "leave `method` out for the first output";
                Err(Error::new(ErrorKind::Option, "option `method`", problem, fix))
            }
        }
    }
}

/// What is asked of a model, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Names of the columns of the one required input.
    pub features: Option<&'a [String]>,
    /// What a prediction is.
    pub method: Method,
    /// When the run has to be over.
    pub deadline: Option<Deadline>,
    /// More rows are refused.
    pub most_rows: usize,
}

/// What an answer took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Rows that were scored.
    pub rows: usize,
    /// Reading the question.
    pub read: Duration,
    /// Running the model.
    pub run: Duration,
}

/// Scores the rows of a JSON body; `session` is the view that the method asks for. `watch` is asked now and then whether to go on.
pub fn predict(session: &Session, body: &[u8], terms: &Terms<'_>, watch: &mut Watch<'_>) -> Result<(Vec<u8>, Cost)> {
    let (signature, started) = (session.signature(), Instant::now());
    let Body { inputs, form, rows } = read(body, signature, terms.features, terms.most_rows)?;
    let mut cost = Cost { rows, read: started.elapsed(), run: Duration::ZERO };
    let run = |wanted: &[usize]| {
        let started = Instant::now();
        let ran = run(session, &inputs, wanted, terms.deadline, watch);
        cost.run = started.elapsed();
        ran
    };
    let (outputs, is_named) = outputs(session, &inputs, &form, terms, run)?;
    let (text, _) = Answer { outputs, rows, is_named, signature, name: None }.write(&form)?;
    Ok((text, cost))
}

/// The outputs that a body of this form asks for, and whether they are answered by name.
fn outputs(
    session: &Session,
    inputs: &[InputTensor],
    form: &Form,
    terms: &Terms<'_>,
    run: impl FnOnce(&[usize]) -> Result<Vec<(usize, Value)>>,
) -> Result<(Vec<(usize, Value)>, bool)> {
    let signature = session.signature();
    session.metrics().record_inputs(0, inputs.len() as u64);
    let asked = match form {
        Form::Protocol { outputs: Some(wanted), .. } => Some(wanted),
        _ => None,
    };
    if let Some(wanted) = asked {
        let wanted = wanted.iter().map(|output| signature.output_index(&output.name)).collect::<Result<Vec<_>>>()?;
        return Ok((as_tensors(run(&wanted)?, session), true));
    }
    let outputs = match terms.method {
        Method::Predict | Method::View(_) => run(if signature.outputs().is_empty() { &[] } else { &[0] })?,
        Method::Run => run(&(0..signature.outputs().len()).collect::<Vec<_>>())?,
        Method::PredictProba => {
            let source = probabilities::source(session)?;
            let outputs = run(&[source.output()])?;
            let matrices =
                outputs.into_iter().map(|(index, value)| Ok((index, probabilities::matrix(value, source, session)?)));
            matrices.collect::<Result<_>>()?
        }
    };
    let outputs = match (terms.method, form) {
        (_, Form::Protocol { .. }) => as_tensors(outputs, session),
        (Method::View(View::Contributions), _) => outputs
            .into_iter()
            .map(|(index, value)| (index, contributions::named(value, terms.features, signature.columns())))
            .collect(),
        _ => outputs,
    };
    Ok((outputs, terms.method == Method::Run))
}

/// Probabilities that are maps as a matrix, for an answer that knows only tensors.
fn as_tensors(outputs: Vec<(usize, Value)>, session: &Session) -> Vec<(usize, Value)> {
    let Some(source @ Probabilities::Maps(maps)) = session.probabilities() else { return outputs };
    let convert = |(index, value)| match value {
        Value::Sequence(_) if index == maps => {
            (index, probabilities::in_columns(value, source, session.classes()).unwrap_or(Value::Absent))
        }
        value => (index, value),
    };
    outputs.into_iter().map(convert).collect()
}

fn run(
    session: &Session,
    inputs: &[InputTensor],
    wanted: &[usize],
    deadline: Option<Deadline>,
    watch: &mut Watch<'_>,
) -> Result<Vec<(usize, Value)>> {
    if wanted.is_empty() {
        session.signature().check_complete(inputs)?;
        return Ok(Vec::new());
    }
    let mut requests: SmallVec<[OutputRequest; 4]> =
        wanted.iter().map(|index| OutputRequest { index: *index, buffer: None }).collect();
    Ok(wanted.iter().copied().zip(batch::run(session, inputs, &mut requests, deadline, watch)?).collect())
}

#[cfg(test)]
mod tests;
