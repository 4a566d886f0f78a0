//! JSON in, JSON out: a request that needs no Python object never makes one.

mod answer;
mod body;
mod protocol;
mod reader;
mod write;

use smallvec::SmallVec;

use crate::batch::{self, Watch};
use crate::classifier::Probabilities;
use crate::error::{Error, ErrorKind, Result};
use crate::probabilities;
use crate::session::Session;
use crate::tensor::{InputTensor, OutputRequest, Value};
use answer::Answer;
pub use body::{Body, Form, read};

/// Which of a model's answers is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The first output.
    Predict,
    /// Probabilities of the classes.
    PredictProba,
    /// Every output by name.
    Run,
}

impl Method {
    /// By the name of the method that gives the same as arrays.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "predict" => Ok(Self::Predict),
            "predict_proba" => Ok(Self::PredictProba),
            "run" => Ok(Self::Run),
            _ => {
                let problem = format!("got {name:?}, expected \"predict\", \"predict_proba\" or \"run\"");
                let fix = "leave `method` out for the first output";
                Err(Error::new(ErrorKind::Option, "option `method`", problem, fix))
            }
        }
    }
}

/// Scores the rows of a JSON body; `features` names the columns of the one required input, `watch` is asked now and then
/// whether to go on.
pub fn predict(
    session: &Session,
    body: &[u8],
    features: Option<&[String]>,
    method: Method,
    watch: &mut Watch<'_>,
) -> Result<Vec<u8>> {
    let signature = session.signature();
    let Body { inputs, form, rows } = read(body, signature, features)?;
    session.metrics().record_inputs(0, inputs.len() as u64);
    let asked = match &form {
        Form::Protocol { outputs: Some(names), .. } => Some(names),
        _ => None,
    };
    if let Some(names) = asked {
        let wanted = names.iter().map(|name| signature.output_index(name)).collect::<Result<Vec<_>>>()?;
        let outputs = run(session, &inputs, &wanted, watch)?;
        return Answer { outputs: as_tensors(outputs, session), rows, is_named: true, signature }.write(&form);
    }
    let outputs = match method {
        Method::Predict => run(session, &inputs, if signature.outputs().is_empty() { &[] } else { &[0] }, watch)?,
        Method::Run => run(session, &inputs, &(0..signature.outputs().len()).collect::<Vec<_>>(), watch)?,
        Method::PredictProba => {
            let source = probabilities::source(session)?;
            let (Probabilities::Matrix(index) | Probabilities::Positive(index) | Probabilities::Maps(index)) = source;
            let outputs = run(session, &inputs, &[index], watch)?;
            let matrices =
                outputs.into_iter().map(|(index, value)| Ok((index, probabilities::matrix(value, source, session)?)));
            matrices.collect::<Result<_>>()?
        }
    };
    let outputs = if matches!(form, Form::Protocol { .. }) { as_tensors(outputs, session) } else { outputs };
    Answer { outputs, rows, is_named: method == Method::Run, signature }.write(&form)
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
    watch: &mut Watch<'_>,
) -> Result<Vec<(usize, Value)>> {
    if wanted.is_empty() {
        session.signature().check_complete(inputs)?;
        return Ok(Vec::new());
    }
    let mut requests: SmallVec<[OutputRequest; 4]> =
        wanted.iter().map(|index| OutputRequest { index: *index, buffer: None }).collect();
    Ok(wanted.iter().copied().zip(batch::run(session, inputs, &mut requests, watch)?).collect())
}

#[cfg(test)]
mod tests;
