//! Inference by the Open Inference Protocol, version 2, with its binary tensor extension.

use std::time::{Duration, Instant};

use super::answer::Answer;
use super::body::{Body, Form, read_with};
use super::{Cost, Terms, as_tensors, run};
use crate::batch::Watch;
use crate::classifier::Probabilities;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Inference<'a> {
    /// The JSON text.
    pub text: &'a [u8],
    /// Elements of tensors behind it.
    pub binary: &'a [u8],
    /// What the answer calls the model.
    pub name: &'a str,
    /// And its version.
    pub version: Option<&'a str>,
}

/// Answers a request: the bytes, and how many of them are JSON text where elements of tensors follow. The outputs are those
/// that it names, or all that the protocol has a form for.
pub fn infer(
    session: &Session,
    request: &Inference<'_>,
    terms: &Terms<'_>,
    watch: &mut Watch<'_>,
) -> Result<(Vec<u8>, Option<usize>, Cost)> {
    let (signature, started) = (session.signature(), Instant::now());
    let body = read_with(request.text, Some(request.binary), signature, terms.features, terms.most_rows)?;
    let Body { inputs, form, rows } = body;
    let mut cost = Cost { rows, read: started.elapsed(), run: Duration::ZERO };
    let Form::Protocol { outputs: wanted, .. } = &form else {
        let problem = "got no list of tensors for `inputs`";
        let fix = r#"send `{"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}`"#;
        return Err(Error::new(ErrorKind::Input, format!("JSON body for {}", signature.model()), problem, fix));
    };
    session.metrics().record_inputs(0, inputs.len() as u64);
    let wanted = match wanted {
        Some(wanted) => wanted.iter().map(|output| signature.output_index(&output.name)).collect::<Result<Vec<_>>>()?,
        None => inferable(session),
    };
    let started = Instant::now();
    let outputs = run(session, &inputs, &wanted, terms.deadline, watch)?;
    cost.run = started.elapsed();
    let name = Some((request.name, request.version));
    let answer = Answer { outputs: as_tensors(outputs, session), rows, is_named: true, signature, name };
    let (bytes, text) = answer.write(&form)?;
    Ok((bytes, text, cost))
}

/// The outputs that the protocol has a form for: tensors, and maps of probabilities, which become one.
pub fn inferable(session: &Session) -> Vec<usize> {
    let is_maps = |index| matches!(session.probabilities(), Some(Probabilities::Maps(maps)) if maps == index);
    let outputs = session.signature().outputs().iter().enumerate();
    outputs.filter(|(index, port)| port.dtype().is_some() || is_maps(*index)).map(|(index, _)| index).collect()
}
