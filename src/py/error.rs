//! Our errors as Python exceptions. The classes are defined in `glowplug.errors`.

use pyo3::exceptions::PyMemoryError;
use pyo3::import_exception;
use pyo3::intern;
use pyo3::prelude::*;

use crate::error::{Error, ErrorKind};

import_exception!(glowplug.errors, GlowplugError);
import_exception!(glowplug.errors, ModelNotFoundError);
import_exception!(glowplug.errors, ModelReadError);
import_exception!(glowplug.errors, ModelError);
import_exception!(glowplug.errors, UnsupportedModelError);
import_exception!(glowplug.errors, LibraryError);
import_exception!(glowplug.errors, InputError);
import_exception!(glowplug.errors, InputTypeError);
import_exception!(glowplug.errors, LimitError);
import_exception!(glowplug.errors, OptionError);
import_exception!(glowplug.errors, OptionTypeError);
import_exception!(glowplug.errors, EngineError);
import_exception!(glowplug.errors, DeadlineExceeded);
import_exception!(glowplug.errors, OutOfMemoryError);
import_exception!(glowplug.errors, ModelClosedError);
import_exception!(glowplug.errors, DependencyError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error.kind() {
            ErrorKind::ModelNotFound => ModelNotFoundError::new_err(message),
            ErrorKind::ModelRead => ModelReadError::new_err(message),
            ErrorKind::Model => ModelError::new_err(message),
            ErrorKind::Unsupported => UnsupportedModelError::new_err(message),
            ErrorKind::Library => LibraryError::new_err(message),
            ErrorKind::Input => placed(InputError::new_err(message), &error),
            ErrorKind::InputType => placed(InputTypeError::new_err(message), &error),
            ErrorKind::Limit => LimitError::new_err(message),
            ErrorKind::Deadline => DeadlineExceeded::new_err(message),
            ErrorKind::Option => OptionError::new_err(message),
            ErrorKind::Engine | ErrorKind::Stopped => EngineError::new_err(message),
            ErrorKind::OutOfMemory => OutOfMemoryError::new_err(message),
            ErrorKind::Closed => ModelClosedError::new_err(message),
        }
    }
}

/// The exception with the attributes `row` and `field`, where the error is about such.
fn placed(raised: PyErr, error: &Error) -> PyErr {
    if error.row().is_some() || error.field().is_some() {
        Python::attach(|py| {
            let value = raised.value(py);
            // An exception that takes no attributes is raised without.
            let _ = value.setattr(intern!(py, "row"), error.row());
            let _ = value.setattr(intern!(py, "field"), error.field());
        });
    }
    raised
}

/// NumPy's `error` when it could not make an array: there is no memory, or it does not have such shapes.
pub(super) fn allocation_failed(py: Python<'_>, error: &PyErr, subject: impl FnOnce() -> String) -> PyErr {
    let problem = error.value(py).to_string();
    let (kind, fix) = if error.is_instance_of::<PyMemoryError>(py) {
        (ErrorKind::OutOfMemory, "pass fewer rows per call, or give the process more memory")
    } else {
        (ErrorKind::Engine, "check that the inputs are those the model was made for; NumPy has no arrays of this shape")
    };
    Error::new(kind, subject(), problem, fix).into()
}

/// NumPy is needed for arrays. Without this check the binding to it would panic where it is missing.
pub(super) fn require_numpy(py: Python<'_>) -> PyResult<()> {
    use pyo3::sync::PyOnceLock;
    static FOUND: PyOnceLock<()> = PyOnceLock::new();
    let find = || match py.import("numpy") {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("numpy: cannot be imported: {error}\n  fix: install it with `pip install numpy`");
            Err(DependencyError::new_err(message))
        }
    };
    FOUND.get_or_try_init(py, find).copied()
}
