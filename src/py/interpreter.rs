//! One interpreter of a process may have the module: what it holds, such as the classes of errors, is that interpreter's.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Where `builtins` of the interpreter lies that has the module.
static OWNER: PyOnceLock<usize> = PyOnceLock::new();

/// Refuses another interpreter than the first. Python itself does so from 3.12 on, for those that have a lock of their own.
pub(super) fn claim(py: Python<'_>) -> PyResult<()> {
    let own = py.import("builtins")?.as_ptr() as usize;
    if *OWNER.get_or_init(py, || own) == own {
        return Ok(());
    }
    let problem = "glowplug: another interpreter of this process has it already\n  fix: import it in one interpreter, \
                   for example with `WSGIApplicationGroup %{GLOBAL}` for mod_wsgi, or start a process for each";
    Err(PyImportError::new_err(problem))
}
