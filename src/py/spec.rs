//! Inputs and outputs of a model as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::signature::{Dim, Port};

/// One input or output of a model.
#[pyclass(frozen, eq, hash, module = "glowplug._core")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TensorSpec {
    pub(super) port: Port,
}

#[pymethods]
impl TensorSpec {
    #[getter]
    fn name(&self) -> &str {
        &self.port.name
    }

    #[getter]
    fn dtype(&self) -> &str {
        self.port.dtype_name()
    }

    #[getter]
    fn required(&self) -> bool {
        self.port.required
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let Some(dims) = self.port.dims() else { return Ok(PyTuple::empty(py)) };
        let dims = dims.iter().map(|dim| match dim {
            Dim::Fixed(size) => size.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
            Dim::Symbol(name) => name.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
            Dim::Unknown => Ok(py.None().into_bound(py)),
        });
        PyTuple::new(py, dims.collect::<PyResult<Vec<_>>>()?)
    }

    #[getter]
    fn is_tensor(&self) -> bool {
        self.port.dtype().is_some()
    }

    fn __repr__(&self) -> String {
        let optional = if self.port.required { "" } else { ", required=False" };
        format!("TensorSpec({:?}, {}{}{optional})", self.port.name, self.port.dtype_name(), self.port.shape_text())
    }
}
