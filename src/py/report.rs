//! What a process has loaded and how it runs, as plain Python data.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::onnx::Classes;
use crate::options::Batch;
use crate::registry::Registry;
use crate::reload::absolute;
use crate::resources;
use crate::session::{Agreement, Origin, Session};

/// What is loaded, the most recently used first.
#[pyfunction]
pub(super) fn models(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let sessions = py.detach(|| Registry::global().sessions());
    let entries = sessions.iter().map(|(session, holders)| {
        let entry = PyDict::new(py);
        entry.set_item("source", source(session))?;
        entry.set_item("bytes", session.bytes())?;
        entry.set_item("age_seconds", session.age().as_secs_f64())?;
        entry.set_item("uses", session.uses())?;
        entry.set_item("holders", *holders)?;
        entry.set_item("calls", session.snapshot().calls)?;
        entry.set_item("threads", session.engine_facts().threads.max(session.row_threads()))?;
        entry.set_item("batch", session.options().batch.name())?;
        entry.set_item("optimization", session.options().optimization.name())?;
        Ok(entry)
    });
    PyList::new(py, entries.collect::<PyResult<Vec<_>>>()?)
}

/// Forgets sessions loaded from `path`; says whether there were any.
#[pyfunction]
pub(super) fn unload_path(py: Python<'_>, path: PathBuf) -> bool {
    py.detach(|| Registry::global().unload_path(&absolute(path))) > 0
}

/// Bounds the bytes of all sessions; `None` for no bound.
#[pyfunction]
pub(super) fn configure(py: Python<'_>, memory_budget: Option<u64>) {
    py.detach(|| Registry::global().set_budget(memory_budget));
}

pub(super) fn explain<'py>(py: Python<'py>, session: &Session, is_asked: bool) -> PyResult<Bound<'py, PyDict>> {
    let engine = session.engine_facts();
    let (facts, entry) = (session.facts(), PyDict::new(py));
    entry.set_item("source", source(session))?;
    entry.set_item("engine", engine.name)?;
    entry.set_item("engine_version", engine.version)?;
    entry.set_item("engine_library", engine.library)?;
    entry.set_item("why", engine.why)?;
    entry.set_item("kernel", engine.kernel)?;
    let threads = session.threads();
    entry.set_item("threads", engine.threads.max(threads.rows))?;
    let why = if is_asked { "asked for by the caller".to_owned() } else { resources::current()?.threads_why() };
    entry.set_item("threads_why", format!("{why}; {}", threads.why))?;
    entry.set_item("intra_op_threads", engine.threads)?;
    entry.set_item("row_threads", threads.rows)?;
    entry.set_item("batch", session.options().batch.name())?;
    entry.set_item("batch_why", batch_why(session))?;
    entry.set_item("spinning", engine.name == "onnxruntime" && threads.intra > 1)?;
    entry.set_item("optimization", session.options().optimization.name())?;
    entry.set_item("bytes", session.bytes())?;
    entry.set_item("load_ms", millis(session.load_time()))?;
    entry.set_item("probabilities", session.probabilities().map(|found| format!("{found:?}").to_lowercase()))?;
    entry.set_item("producer", format!("{} {}", facts.producer.0, facts.producer.1).trim())?;
    let opsets = PyDict::new(py);
    for (domain, version) in &facts.opsets {
        opsets.set_item(if domain.is_empty() { "ai.onnx" } else { domain }, version)?;
    }
    entry.set_item("opsets", opsets)?;
    entry.set_item("external_files", facts.external.len())?;
    Ok(entry)
}

/// How large batches are run, by the first output.
fn batch_why(session: &Session) -> String {
    match (session.options().batch, session.agreement(0), session.unproven_because(0)) {
        (Batch::Serial, ..) => "as one run: asked for by the caller".to_owned(),
        (_, Agreement::Differs, _) => "as one run: rows gave other answers apart than together".to_owned(),
        (Batch::Auto, _, Some(reason)) => format!("as one run: {reason}"),
        (_, Agreement::Agrees, _) => {
            format!(
                "in pieces of about {} rows, where that is faster: rows were the same apart and together",
                session.block().unwrap_or_else(|| session.piece_pace().best_piece())
            )
        }
        (Batch::Rows, Agreement::Unknown, _) => {
            "in pieces, asked for by the caller, if the first rows agree".to_owned()
        }
        (Batch::Auto, Agreement::Unknown, None) => {
            "in pieces: the model treats each row alone, if the first rows agree".to_owned()
        }
    }
}

pub(super) fn stats<'py>(py: Python<'py>, session: &Session) -> PyResult<Bound<'py, PyDict>> {
    let (now, entry) = (session.snapshot(), PyDict::new(py));
    entry.set_item("calls", now.calls)?;
    entry.set_item("rows", now.rows)?;
    entry.set_item("errors", now.errors)?;
    entry.set_item("cold", now.calls == 0)?;
    entry.set_item("zero_copy_inputs", now.zero_copy_inputs)?;
    entry.set_item("copied_inputs", now.copied_inputs)?;
    entry.set_item("load_ms", millis(session.load_time()))?;
    entry.set_item("first_run_us", micros(now.first_run))?;
    entry.set_item("p50_us", micros(now.p50))?;
    entry.set_item("p99_us", micros(now.p99))?;
    entry.set_item("busy_ms", millis(now.busy))?;
    Ok(entry)
}

pub(super) fn classes<'py>(py: Python<'py>, session: &Session) -> PyResult<Bound<'py, PyAny>> {
    match session.classes() {
        None => Ok(py.None().into_bound(py)),
        Some(Classes::Ints(labels)) => Ok(PyList::new(py, labels)?.into_any()),
        Some(Classes::Strings(labels)) => Ok(PyList::new(py, labels)?.into_any()),
    }
}

/// Passes what the engine logged on to Python's logger `glowplug`, which is imported only then.
pub(super) fn log_notices(py: Python<'_>, session: &Session) -> PyResult<()> {
    for notice in session.take_notices() {
        let logger = py.import("logging")?.call_method1("getLogger", ("glowplug",))?;
        logger.call_method1("warning", ("%s: %s", session.signature().model(), notice))?;
    }
    Ok(())
}

fn source(session: &Session) -> String {
    match session.origin() {
        Origin::File(file) => file.path().display().to_string(),
        Origin::Bytes(digest, _) => format!("bytes:{digest}"),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
