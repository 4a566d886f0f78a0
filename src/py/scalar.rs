//! Numbers of Python, of NumPy and of anybody else's types as scalars of a row.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyComplex, PyFloat, PyInt};

use crate::rows::Scalar;

/// Types of NumPy that can be asked for a float, but would lose what they say.
const NOT_NUMBERS: [&str; 5] = ["complex64", "clongdouble", "datetime64", "timedelta64", "void"];

/// Whether `value` offers to be a number.
pub(super) fn is_number(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = value.py();
    Ok(value.hasattr(intern!(py, "__float__"))? || value.hasattr(intern!(py, "__index__"))?)
}

/// Python's own floats, and whole numbers that a float holds exactly.
#[inline]
pub(super) fn plain_float(value: &Bound<'_, PyAny>) -> Option<f64> {
    if let Ok(number) = value.cast_exact::<PyFloat>() {
        return Some(number.value());
    }
    let number = value.cast_exact::<PyInt>().ok()?.extract::<i64>().ok()?;
    // Below 2^53 by far, and no more than the usual counts and amounts need.
    i32::try_from(number).ok().map(f64::from)
}

/// A whole number, rounded beyond 64 bits.
pub(super) fn whole(value: &Bound<'_, PyInt>) -> PyResult<Scalar<'static>> {
    let py = value.py();
    let is_overflow = |error: &PyErr| error.is_instance_of::<PyOverflowError>(py);
    match value.extract::<i64>() {
        Ok(number) => return Ok(Scalar::Int(number)),
        Err(error) if !is_overflow(&error) => return Err(error),
        Err(_) => {}
    }
    if let Ok(number) = value.extract::<u64>() {
        return Ok(Scalar::Uint(number));
    }
    match value.extract::<f64>() {
        Ok(number) => Ok(Scalar::Float(number)),
        Err(error) if is_overflow(&error) => Ok(Scalar::Huge),
        Err(error) => Err(error),
    }
}

/// A number of any type, `None` if it has none to give; whole if it says that it is one (`__index__`).
pub(super) fn read(value: &Bound<'_, PyAny>) -> PyResult<Option<Scalar<'static>>> {
    let py = value.py();
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Some(Scalar::Float(number.value())));
    }
    if let Ok(number) = value.cast::<PyInt>() {
        return whole(number).map(Some);
    }
    let name = value.get_type().name()?;
    match name.to_str()? {
        // NumPy's bool is no int, and offers only `__float__`.
        "bool" | "bool_" => return Ok(Some(Scalar::Bool(value.is_truthy()?))),
        name if NOT_NUMBERS.contains(&name) || value.is_instance_of::<PyComplex>() => return Ok(None),
        _ => {}
    }
    let has_float = value.hasattr(intern!(py, "__float__"))?;
    if value.hasattr(intern!(py, "__index__"))? {
        match value.call_method0(intern!(py, "__index__")) {
            Ok(number) => return whole(number.cast::<PyInt>()?).map(Some),
            // An array has the method whatever its dtype.
            Err(error) if has_float && error.is_instance_of::<PyTypeError>(py) => {}
            Err(error) => return Err(error),
        }
    }
    value.extract::<f64>().map(|number| Some(Scalar::Float(number)))
}
