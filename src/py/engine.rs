//! Opens the engine's library for a Python process: where it may be, and under which lock.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::engine::ort::{LibrarySearch, Runtime};
use crate::loader::OrtLoader;

/// The loader of this process; opens the library the first time.
///
/// The interpreter stays attached while the library is opened, which keeps `os.environ` from changing meanwhile.
pub(super) fn loader(py: Python<'_>) -> PyResult<OrtLoader> {
    let runtime = match Runtime::get() {
        Some(runtime) => runtime,
        None => Runtime::open(&library_search(py)?)?,
    };
    Ok(OrtLoader { runtime })
}

fn library_search(py: Python<'_>) -> PyResult<LibrarySearch> {
    let file: Option<PathBuf> = py.import("glowplug")?.getattr("__file__")?.extract()?;
    let folders: Vec<Bound<'_, PyAny>> = py.import("sys")?.getattr("path")?.extract()?;
    Ok(LibrarySearch {
        explicit: std::env::var_os("GLOWPLUG_ORT_LIBRARY").filter(|path| !path.is_empty()).map(PathBuf::from),
        bundled: file.and_then(|file| file.parent().map(|folder| folder.join("_lib"))),
        // Entries of `sys.path` that are no text are not folders.
        package_folders: folders.iter().filter_map(|folder| folder.extract().ok()).collect(),
    })
}
