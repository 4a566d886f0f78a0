//! Values of the engine as plain Python: numbers, text, nested lists and dicts, as `ndarray.tolist` would give them.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::half;
use crate::tensor::{DType, EngineTensor, Value};

/// `value` as lists nested by its shape; a sequence is a list, a map a dict, an absent value `None`.
pub(super) fn to_lists<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Tensor(tensor) => tensor_lists(py, tensor),
        Value::Strings(shape, strings) => nested(py, shape, &mut strings.iter().collect::<Vec<_>>().into_iter()),
        Value::Sequence(values) => {
            let list = PyList::empty(py);
            for value in values {
                list.append(to_lists(py, value)?)?;
            }
            Ok(list.into_any())
        }
        Value::Map(pair) => {
            let dict = PyDict::new(py);
            for (key, value) in to_lists(py, &pair.0)?.try_iter()?.zip(to_lists(py, &pair.1)?.try_iter()?) {
                dict.set_item(key?, value?)?;
            }
            Ok(dict.into_any())
        }
        // Nobody asks for buffers here, so nothing is written into one.
        Value::Written | Value::Absent => Ok(py.None().into_bound(py)),
    }
}

fn tensor_lists<'py>(py: Python<'py>, tensor: &EngineTensor) -> PyResult<Bound<'py, PyAny>> {
    let (shape, bytes) = (&tensor.shape, tensor.storage.bytes());
    macro_rules! elements {
        ($type:ty) => {
            bytes.as_chunks().0.iter().map(|chunk| <$type>::from_ne_bytes(*chunk))
        };
    }
    match tensor.dtype {
        DType::Float16 => nested(py, shape, &mut elements!(u16).map(|bits| f64::from(half::value(bits)))),
        // Every float32 is a float64.
        DType::Float32 => nested(py, shape, &mut elements!(f32).map(f64::from)),
        DType::Float64 => nested(py, shape, &mut elements!(f64)),
        DType::Int8 => nested(py, shape, &mut elements!(i8)),
        DType::Int16 => nested(py, shape, &mut elements!(i16)),
        DType::Int32 => nested(py, shape, &mut elements!(i32)),
        DType::Int64 => nested(py, shape, &mut elements!(i64)),
        DType::Uint8 => nested(py, shape, &mut elements!(u8)),
        DType::Uint16 => nested(py, shape, &mut elements!(u16)),
        DType::Uint32 => nested(py, shape, &mut elements!(u32)),
        DType::Uint64 => nested(py, shape, &mut elements!(u64)),
        DType::Bool => nested(py, shape, &mut bytes.iter().map(|byte| *byte != 0)),
        // The engine gives text as `Value::Strings`.
        DType::String => Ok(py.None().into_bound(py)),
    }
}

/// The next elements as lists nested by `shape`.
fn nested<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    shape: &[i64],
    elements: &mut impl ExactSizeIterator<Item = T>,
) -> PyResult<Bound<'py, PyAny>> {
    let size = |size: i64| usize::try_from(size).unwrap_or(0);
    match shape {
        [] => elements.next().map_or_else(|| Ok(py.None().into_bound(py)), |element| element.into_bound_py_any(py)),
        [count] => Ok(PyList::new(py, elements.take(size(*count)))?.into_any()),
        [count, inner @ ..] => {
            let list = PyList::empty(py);
            for _ in 0..size(*count) {
                list.append(nested(py, inner, elements)?)?;
            }
            Ok(list.into_any())
        }
    }
}
