//! Scoring rows of plain Python into plain Python: no array, no NumPy.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use smallvec::SmallVec;
use std::time::Instant;

use super::lists::to_lists;
use super::watch::watched;
use super::{report, rows};
use crate::contributions;
use crate::deadline::Deadline;
use crate::json::{Cost, Method, Terms};
use crate::probabilities;
use crate::session::{Session, View};
use crate::tensor::{InputTensor, OutputRequest, Value};

/// What a method answers to `rows`, by the view of the session that it asks for; an empty list for each output if there are none.
pub(super) fn score<'py>(
    session: &Session,
    rows: &Bound<'py, PyAny>,
    terms: &Terms<'_>,
) -> PyResult<(Bound<'py, PyAny>, Cost)> {
    let (py, method, started) = (rows.py(), terms.method, Instant::now());
    let outputs = session.signature().outputs();
    let source = if method == Method::PredictProba { Some(probabilities::source(session)?) } else { None };
    let wanted: SmallVec<[usize; 4]> = match (source, method) {
        (Some(source), _) => SmallVec::from_slice(&[source.output()]),
        (None, Method::Run) => (0..outputs.len()).collect(),
        (None, _) => SmallVec::from_slice(&[0]),
    };
    // They stay until the answers are read: an output that is an input as well lies in the input's memory.
    let inputs = rows::read(rows, session.signature(), terms)?;
    let mut cost = Cost { read: started.elapsed(), ..Cost::default() };
    let begun = Instant::now();
    let mut answers = match &inputs {
        Some(inputs) => run(py, session, inputs, &wanted, terms.deadline)?.into_iter().map(Some).collect(),
        None => wanted.iter().map(|_| None).collect::<Vec<_>>(),
    };
    if let Some(inputs) = &inputs {
        cost.rows = usize::try_from(session.rows(inputs)).unwrap_or(usize::MAX);
        cost.run = begun.elapsed();
    }
    if method == Method::Run {
        let dict = PyDict::new(py);
        for (index, answer) in wanted.iter().zip(answers) {
            dict.set_item(&outputs[*index].name, plain(py, answer)?)?;
        }
        return Ok((dict.into_any(), cost));
    }
    let answer = match (source, answers.pop().flatten()) {
        (_, Some(answer)) if method == Method::View(View::Contributions) => {
            plain(py, Some(contributions::named(answer, terms.features, session.signature().columns())))
        }
        (Some(source), Some(answer)) => plain(py, Some(probabilities::matrix(answer, source, session)?)),
        (_, answer) => plain(py, answer),
    };
    Ok((answer?, cost))
}

fn run(
    py: Python<'_>,
    session: &Session,
    inputs: &[InputTensor],
    wanted: &[usize],
    deadline: Option<Deadline>,
) -> PyResult<Vec<Value>> {
    session.metrics().record_inputs(0, inputs.len() as u64);
    // The engine's own memory is read into Python objects at once: an array for it would be made in vain.
    let mut requests: SmallVec<[OutputRequest; 4]> =
        wanted.iter().map(|index| OutputRequest { index: *index, buffer: None }).collect();
    let values = watched(py, session, inputs, &mut requests, deadline, None)?;
    report::log_notices(py, session)?;
    Ok(values)
}

fn plain(py: Python<'_>, answer: Option<Value>) -> PyResult<Bound<'_, PyAny>> {
    answer.map_or_else(|| Ok(PyList::empty(py).into_any()), |answer| to_lists(py, &answer))
}
