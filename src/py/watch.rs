//! Runs the core while Python's signals and the caller's progress function are served.

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use super::error::OptionTypeError;
use crate::batch;
use crate::deadline::Deadline;
use crate::session::Session;
use crate::tensor::{InputTensor, OutputRequest, Value};

/// When a call with this `timeout` has to be over.
pub(super) fn deadline(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Deadline>> {
    let Some(timeout) = timeout else { return Ok(None) };
    if let Ok(seconds) = timeout.cast::<PyFloat>() {
        return Ok(Deadline::after(seconds.value())?);
    }
    if timeout.is_exact_instance_of::<PyInt>() {
        // A whole number beyond float64 is no bound.
        return Ok(Deadline::after(timeout.extract().unwrap_or(f64::INFINITY))?);
    }
    let name = timeout.get_type().name()?;
    let message = format!(
        "option `timeout`: got {name}, expected a number of seconds or None\n  fix: pass for example `timeout=0.5`"
    );
    Err(OptionTypeError::new_err(message))
}

/// Runs without the interpreter, unless the run is too short for that; looks in on it now and then, for Ctrl-C and to call `progress` with the numbers of rows
/// done and in all. What either raises ends the run and is raised here.
pub(super) fn watched(
    py: Python<'_>,
    session: &Session,
    inputs: &[InputTensor],
    requests: &mut [OutputRequest],
    deadline: Option<Deadline>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Value>> {
    if progress.is_none() && batch::is_brief(session, inputs) {
        return Ok(batch::run(session, inputs, requests, deadline, &mut |_| true)?);
    }
    let (total, progress) = (session.rows(inputs), progress.map(|progress| progress.clone().unbind()));
    let mut raised = None;
    let ran = py.detach(|| {
        batch::run(session, inputs, requests, deadline, &mut |done| {
            let served = Python::attach(|py| {
                py.check_signals()?;
                progress.as_ref().map(|progress| progress.call1(py, (done, total))).transpose()
            });
            raised = served.err();
            raised.is_none()
        })
    });
    if let Some(error) = raised {
        return Err(error);
    }
    let values = ran?;
    if let Some(progress) = progress {
        progress.call1(py, (total, total))?;
    }
    Ok(values)
}
