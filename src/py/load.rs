//! Loads models: what the caller asked for as options, and warnings of what loading found.

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::engine::LOADER;
use super::model::ModelHandle;
use crate::error::{Error, ErrorKind};
use crate::options::LoadOptions;
use crate::reload::SharedModel;
use crate::resources;

/// Loads the model at `path`; `reload` is the number of seconds between looks at the file, `None` for never.
#[pyfunction]
pub(super) fn load_path(
    py: Python<'_>,
    path: PathBuf,
    threads: Option<i64>,
    engine: &str,
    batch: &str,
    optimization: &str,
    reload: Option<f64>,
) -> PyResult<ModelHandle> {
    let options = LoadOptions::new(threads.map_or_else(usable_threads, Ok)?, engine, batch, optimization)?;
    let reload = reload.map(seconds).transpose()?;
    let (model, stale) = py.detach(|| SharedModel::from_path(path, options, reload, &LOADER))?;
    warn_stale(py, stale)?;
    ModelHandle::announced(py, model, threads)
}

/// Loads a model from bytes.
#[pyfunction]
pub(super) fn load_bytes(
    py: Python<'_>,
    model: &Bound<'_, PyBytes>,
    threads: Option<i64>,
    engine: &str,
    batch: &str,
    optimization: &str,
) -> PyResult<ModelHandle> {
    let options = LoadOptions::new(threads.map_or_else(usable_threads, Ok)?, engine, batch, optimization)?;
    // Bytes objects never change, so they may be read without the interpreter.
    let bytes = model.as_bytes();
    let model = py.detach(|| SharedModel::from_bytes(bytes, options, &LOADER))?;
    ModelHandle::announced(py, model, threads)
}

/// Threads of a call where the caller leaves the choice to us.
fn usable_threads() -> Result<i64, Error> {
    Ok(i64::try_from(resources::current()?.threads()).unwrap_or(1))
}

fn seconds(seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        let problem = format!("got {seconds}, expected True, False or a number of seconds of at least 0");
        Error::new(ErrorKind::Option, "option `reload`", problem, "pass for example `reload=10.0`")
    })
}

/// Warns that a changed file could not be loaded.
pub(super) fn warn_stale(py: Python<'_>, stale: Option<Error>) -> PyResult<()> {
    let Some(error) = stale else { return Ok(()) };
    let text = format!("the model's file changed but cannot be loaded, so the previous model stays in use: {error}");
    let text = CString::new(text.replace('\0', "\\0"))?;
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 2)
}
