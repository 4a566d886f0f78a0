//! Opens the engine's library for a Python process: where it may be, and under which lock.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::engine::ort::{LibrarySearch, Runtime};
use crate::error::{Error, ErrorKind, Result};
use crate::loader::EngineLoader;

/// The loader of this process.
pub(super) const LOADER: EngineLoader = EngineLoader { runtime };

/// ONNX Runtime's library; opened for the first model that needs it.
///
/// The interpreter is attached while the library is opened, which keeps `os.environ` from changing meanwhile. Callers are
/// detached, so that no thread holds the interpreter while it waits for a load.
fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = Runtime::get() {
        return Ok(runtime);
    }
    Python::attach(|py| {
        let search = library_search(py).map_err(|error| {
            let fix = "import glowplug from its installed package";
            Error::new(ErrorKind::Library, "the ONNX Runtime library", error.to_string(), fix)
        })?;
        Runtime::open(&search)
    })
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
