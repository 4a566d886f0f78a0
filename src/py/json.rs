//! JSON in, JSON out: only the two ends are Python objects.

use std::borrow::Cow;

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyString};

use crate::batch::Watch;
use crate::error::{Error, ErrorKind};
use crate::json::{self, Cost, Inference, Terms};
use crate::session::Session;

/// The answer to `body`: bytes, text, or a copy of anything else that holds bytes, which may change meanwhile.
pub(super) fn predict<'py>(
    session: &Session,
    body: &Bound<'py, PyAny>,
    terms: &Terms<'_>,
) -> PyResult<(Bound<'py, PyBytes>, Cost)> {
    let py = body.py();
    let text = text(body)?;
    let (text, cost) = interruptible(py, |watch| json::predict(session, &text, terms, watch))?;
    Ok((PyBytes::new(py, &text), cost))
}

/// The answer to a request of the Open Inference Protocol, and how many bytes of it are JSON where others follow;
/// `text_length` is the same of the body.
pub(super) fn infer<'py>(
    session: &Session,
    body: &Bound<'py, PyBytes>,
    text_length: Option<usize>,
    (name, version): (&str, Option<&str>),
    terms: &Terms<'_>,
) -> PyResult<(Bound<'py, PyBytes>, Option<usize>, Cost)> {
    let (py, bytes) = (body.py(), body.as_bytes());
    let Some((text, binary)) = bytes.split_at_checked(text_length.unwrap_or(bytes.len())) else {
        let problem = format!("has {} bytes, fewer than its JSON text was said to have", bytes.len());
        let fix = "make `Inference-Header-Content-Length` the length of the JSON text";
        return Err(Error::new(ErrorKind::Input, "inference request", problem, fix).into());
    };
    let request = Inference { text, binary, name, version };
    let (answer, length, cost) = interruptible(py, |watch| json::infer(session, &request, terms, watch))?;
    Ok((PyBytes::new(py, &answer), length, cost))
}

/// Works without the interpreter, which is asked now and then whether Ctrl-C was pressed.
fn interruptible<T: Send>(py: Python<'_>, work: impl FnOnce(&mut Watch<'_>) -> Result<T, Error> + Send) -> PyResult<T> {
    let mut raised = None;
    let done = py.detach(|| {
        work(&mut |_| {
            // The method itself is for one lifetime of the interpreter, not for any.
            #[allow(clippy::redundant_closure_for_method_calls)]
            let checked = Python::attach(|py| py.check_signals());
            raised = checked.err();
            raised.is_none()
        })
    });
    match raised {
        Some(error) => Err(error),
        None => Ok(done?),
    }
}

/// The answers to many bodies, in one run where that is the same: for each its bytes, or the exception that it would raise.
pub(super) fn predict_each<'py>(
    session: &Session,
    bodies: &Bound<'py, PyList>,
    terms: &Terms<'_>,
) -> PyResult<(Bound<'py, PyList>, Cost)> {
    let py = bodies.py();
    let bodies: Vec<_> = bodies.iter().collect();
    let texts = bodies.iter().map(|body| text(body)).collect::<PyResult<Vec<_>>>()?;
    let mut raised = None;
    let (answers, cost) = py.detach(|| {
        json::predict_each(session, &texts, terms, &mut |_| {
            #[allow(clippy::redundant_closure_for_method_calls)]
            let checked = Python::attach(|py| py.check_signals());
            raised = checked.err();
            raised.is_none()
        })
    });
    if let Some(error) = raised {
        return Err(error);
    }
    let list = PyList::empty(py);
    for answer in answers {
        match answer {
            Ok(text) => list.append(PyBytes::new(py, &text))?,
            Err(error) => list.append(PyErr::from(error).into_value(py))?,
        }
    }
    Ok((list, cost))
}

fn text<'a>(body: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    if let Ok(bytes) = body.cast::<PyBytes>() {
        return Ok(Cow::Borrowed(bytes.as_bytes()));
    }
    if let Ok(text) = body.cast::<PyString>() {
        let utf8 = text.to_str().map_err(|error| {
            if !error.is_instance_of::<PyUnicodeEncodeError>(body.py()) {
                return error;
            }
            let problem = format!("has no UTF-8 ({error})");
            Error::new(ErrorKind::Input, "JSON body", problem, "pass the bytes as they came").into()
        })?;
        return Ok(Cow::Borrowed(utf8.as_bytes()));
    }
    if let Ok(bytes) = body.cast::<PyByteArray>() {
        return Ok(Cow::Owned(bytes.to_vec()));
    }
    if let Ok(view) = body.cast::<PyMemoryView>() {
        return Ok(Cow::Owned(view.call_method0("tobytes")?.cast::<PyBytes>()?.as_bytes().to_vec()));
    }
    let problem = format!("got {}, expected bytes, str, bytearray or memoryview", body.get_type().name()?);
    let fix = "pass the request's body; for Python's own objects there are `predict` and `run`";
    Err(Error::new(ErrorKind::InputType, "JSON body", problem, fix).into())
}
