//! What the process may use, as plain Python data.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::resources::{self, Source};
use crate::threads;

/// CPUs, memory and threads, and where each limit was found; `refresh` looks again.
#[pyfunction]
pub(super) fn usable_resources(py: Python<'_>, refresh: bool) -> PyResult<Bound<'_, PyDict>> {
    let found = py.detach(|| if refresh { resources::refresh() } else { resources::current() })?;
    let entry = PyDict::new(py);
    entry.set_item("cpus", found.cpus)?;
    entry.set_item("memory", found.memory)?;
    entry.set_item("threads", found.threads())?;
    entry.set_item("threads_why", found.threads_why())?;
    entry.set_item("platform", found.platform)?;
    let sources = found.sources.iter().map(|source| source_entry(py, source)).collect::<PyResult<Vec<_>>>()?;
    entry.set_item("sources", PyList::new(py, sources)?)?;
    Ok(entry)
}

/// Ends threads that wait for work; they come back when there is some.
#[pyfunction]
pub(super) fn park(py: Python<'_>) {
    py.detach(threads::park);
}

fn source_entry<'py>(py: Python<'py>, source: &Source) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("name", source.name)?;
    entry.set_item("place", &source.place)?;
    entry.set_item("cpus", source.cpus)?;
    entry.set_item("memory", source.memory)?;
    Ok(entry)
}
