//! Outputs by name, as callers ask for them.

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind};
use crate::signature::Signature;

/// The outputs that a caller wants, in that order, and what they are called.
pub(super) struct Wanted<'py> {
    pub(super) indices: SmallVec<[usize; 4]>,
    pub(super) names: SmallVec<[Bound<'py, PyString>; 4]>,
}

impl<'py> Wanted<'py> {
    /// All of them, the one of a name, or those of any iterable of names.
    pub(super) fn new(py: Python<'py>, outputs: Option<&Bound<'py, PyAny>>, signature: &Signature) -> PyResult<Self> {
        let mut wanted = Self { indices: SmallVec::new(), names: SmallVec::new() };
        let Some(outputs) = outputs else {
            wanted.indices.extend(0..signature.outputs().len());
            wanted.names.extend(signature.outputs().iter().map(|port| PyString::new(py, &port.name)));
            return Ok(wanted);
        };
        if outputs.is_instance_of::<PyString>() {
            wanted.push(outputs, signature)?;
        } else if let Ok(names) = outputs.cast_exact::<PyList>() {
            // Without an iterator of Python's.
            names.iter().try_for_each(|name| wanted.push(&name, signature))?;
        } else {
            outputs.try_iter()?.try_for_each(|name| wanted.push(&name?, signature))?;
        }
        Ok(wanted)
    }

    fn push(&mut self, name: &Bound<'py, PyAny>, signature: &Signature) -> PyResult<()> {
        let Ok(text) = name.cast::<PyString>() else {
            let problem = format!("got {}, expected a name", name.repr()?);
            let fix = "pass names from `[output.name for output in model.outputs]`";
            return Err(Error::new(ErrorKind::InputType, "outputs", problem, fix).into());
        };
        self.indices.push(signature.output_index(&text.to_string_lossy())?);
        // The caller's own text has its hash already; of a subclass it may be another one.
        let name = text
            .cast_exact::<PyString>()
            .map_or_else(|_| PyString::new(name.py(), &text.to_string_lossy()), Clone::clone);
        self.names.push(name);
        Ok(())
    }
}
