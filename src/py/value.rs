//! Values of the engine as Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::array::{copied, empty};
use crate::tensor::{DType, EngineTensor, Strings, Value};

/// `value` as an array, list, dict or `None`; `written` is the array an output was written into.
pub(super) fn to_python<'py>(
    py: Python<'py>,
    value: Value,
    written: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Written => Ok(written.unwrap_or_else(|| py.None().into_bound(py))),
        Value::Tensor(EngineTensor { dtype, shape, storage }) => copied(py, dtype, &shape, storage.bytes()),
        Value::Strings(shape, strings) => string_array(py, &shape, &strings),
        Value::Sequence(values) => {
            let values = values.into_iter().map(|value| to_python(py, value, None));
            Ok(PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)?.into_any())
        }
        Value::Map(pair) => {
            let (keys, values) = (to_python(py, pair.0, None)?, to_python(py, pair.1, None)?);
            let pairs = keys.call_method0("tolist")?.try_iter()?.zip(values.call_method0("tolist")?.try_iter()?);
            let dict = PyDict::new(py);
            for (key, value) in pairs {
                dict.set_item(key?, value?)?;
            }
            Ok(dict.into_any())
        }
        Value::Absent => Ok(py.None().into_bound(py)),
    }
}

fn string_array<'py>(py: Python<'py>, shape: &[i64], strings: &Strings) -> PyResult<Bound<'py, PyAny>> {
    let array = empty(py, DType::String, shape)?.into_any();
    let texts: Vec<Bound<'py, PyString>> = strings.iter().map(|text| PyString::new(py, text)).collect();
    // `flat` of a rank-0 array takes its one element as well.
    array.getattr("flat")?.set_item(pyo3::types::PySlice::full(py), PyList::new(py, texts)?)?;
    Ok(array)
}
