//! Values of the engine as Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::array::{copied, empty};
use super::error::EngineError;
use crate::onnx::Classes;
use crate::tensor::{DType, EngineTensor, Shape, Strings, Value};

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

/// One map per row, from class to probability, as a matrix with the columns in the order of `classes`.
pub(super) fn matrix_of_maps<'py>(
    py: Python<'py>,
    maps: Value,
    classes: Option<&Classes>,
) -> PyResult<Bound<'py, PyAny>> {
    let Value::Sequence(maps) = maps else { return Err(not_maps()) };
    let mut columns: Option<Vec<usize>> = None;
    let mut matrix: Vec<u8> = Vec::new();
    let rows = maps.len();
    for map in maps {
        let Value::Map(pair) = map else { return Err(not_maps()) };
        let (keys, Value::Tensor(values)) = *pair else { return Err(not_maps()) };
        // Every row has the same classes: the engine's ZipMap writes them from one list.
        let columns = match &columns {
            Some(columns) => columns,
            None => columns.insert(column_order(&keys, classes)?),
        };
        let bytes = values.storage.bytes();
        for column in columns {
            let start = column * DType::Float32.size();
            matrix.extend_from_slice(bytes.get(start..start + DType::Float32.size()).ok_or_else(not_maps)?);
        }
    }
    let width = columns.as_ref().map_or_else(|| classes.map_or(0, class_count), Vec::len);
    let shape = [i64::try_from(rows).unwrap_or(i64::MAX), i64::try_from(width).unwrap_or(i64::MAX)];
    copied(py, DType::Float32, &Shape::from_slice(&shape), &matrix)
}

/// For each class, where its value is in a map with these keys; the engine sorts them.
fn column_order(keys: &Value, classes: Option<&Classes>) -> PyResult<Vec<usize>> {
    let found: Option<Vec<usize>> = match (keys, classes) {
        (Value::Tensor(keys), Some(Classes::Ints(classes))) => {
            let keys: Vec<i64> = keys.storage.bytes().chunks_exact(8).filter_map(int_from_bytes).collect();
            classes.iter().map(|class| keys.iter().position(|key| key == class)).collect()
        }
        (Value::Strings(_, keys), Some(Classes::Strings(classes))) => {
            classes.iter().map(|class| keys.iter().position(|key| key == class)).collect()
        }
        (Value::Tensor(keys), _) => Some((0..keys.storage.bytes().len() / 8).collect()),
        (Value::Strings(_, keys), _) => Some((0..keys.len()).collect()),
        _ => None,
    };
    found.ok_or_else(not_maps)
}

fn int_from_bytes(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_ne_bytes)
}

fn class_count(classes: &Classes) -> usize {
    match classes {
        Classes::Ints(labels) => labels.len(),
        Classes::Strings(labels) => labels.len(),
    }
}

fn not_maps() -> PyErr {
    EngineError::new_err(
        "probabilities: got something else than one map per row from the engine\n  fix: use `run` to see the model's raw outputs",
    )
}
