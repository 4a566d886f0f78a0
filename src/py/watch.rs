//! Runs the core while Python's signals and the caller's progress function are served.

use pyo3::prelude::*;

use crate::batch;
use crate::session::Session;
use crate::tensor::{InputTensor, OutputRequest, Value};

/// Runs without the interpreter; looks in on it now and then, for Ctrl-C and to call `progress` with the numbers of rows
/// done and in all. What either raises ends the run and is raised here.
pub(super) fn watched(
    py: Python<'_>,
    session: &Session,
    inputs: &[InputTensor],
    requests: &mut [OutputRequest],
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Value>> {
    let (total, progress) = (session.rows(inputs), progress.map(|progress| progress.clone().unbind()));
    let mut raised = None;
    let ran = py.detach(|| {
        batch::run(session, inputs, requests, &mut |done| {
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
