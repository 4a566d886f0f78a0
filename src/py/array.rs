//! NumPy arrays as tensors: borrowed where they can be read in place, made where an output's shape is known.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use numpy::npyffi::{PY_ARRAY_API, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

use super::error::allocation_failed;
use crate::error::{Error, ErrorKind};
use crate::signature::Signature;
use crate::tensor::{DType, Elements, InputTensor, OutputBuffer, RawData, Shape, Strings};

/// `array` as input `index`, or `None` if its dtype or layout has to be converted first.
///
/// The result points into `array`, which the caller keeps alive and which Python code must not change during the call.
pub(super) fn borrow(array: &Bound<'_, PyAny>, signature: &Signature, index: usize) -> PyResult<Option<InputTensor>> {
    // Subclasses may mean something else by their data (masks, matrices): they are converted first.
    let Ok(array) = array.cast_exact::<PyUntypedArray>() else { return Ok(None) };
    let wanted = signature.input_dtype(index)?;
    if !array.is_c_contiguous() || !array.is_aligned() || dtype_of(&array.dtype()) != Some(wanted) {
        return Ok(None);
    }
    let got: Shape = array.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
    let shape = signature.fit_shape(index, &got)?;
    // SAFETY: the pointer is that of a live array object.
    let data = unsafe { (*array.as_array_ptr()).fields.data.cast::<u8>() };
    let elements = if wanted == DType::String {
        Elements::Strings(texts(array, data, signature, index)?)
    } else {
        let Some(pointer) = NonNull::new(data) else { return Ok(None) };
        // SAFETY: the array is C-contiguous and aligned, so its elements are these bytes; the caller keeps it alive for the
        // run, and documents that it must not be written meanwhile.
        Elements::Raw(unsafe { RawData::new(pointer, array.len() * wanted.size()) })
    };
    Ok(Some(InputTensor { index, shape, elements }))
}

/// The strings of an object array. They are copied, because other threads may drop the objects during the run.
fn texts(array: &Bound<'_, PyUntypedArray>, data: *mut u8, signature: &Signature, index: usize) -> PyResult<Strings> {
    let (py, count) = (array.py(), array.len());
    let mut strings = Strings::with_capacity(count);
    for position in 0..count {
        // SAFETY: the array has dtype object and is C-contiguous and aligned, so this is one of its references; NumPy
        // allows null for None.
        #[allow(clippy::cast_ptr_alignment)]
        let object = unsafe {
            let object = *data.cast::<*mut pyo3::ffi::PyObject>().add(position);
            Bound::from_borrowed_ptr_or_opt(py, object)
        };
        let subject = || signature.input_subject(index);
        let invalid = |error: &dyn std::fmt::Display| {
            let fix = "replace lone surrogates and bytes that are not UTF-8 first";
            let problem = format!("the text at element {position} is not valid Unicode: {error}");
            PyErr::from(Error::new(ErrorKind::Input, subject(), problem, fix))
        };
        let text = match &object {
            Some(object) if object.is_instance_of::<PyString>() => {
                object.cast::<PyString>()?.to_str().map_err(|error| invalid(&error))?
            }
            Some(object) if object.is_instance_of::<PyBytes>() => {
                std::str::from_utf8(object.cast::<PyBytes>()?.as_bytes()).map_err(|error| invalid(&error))?
            }
            other => {
                let got = other.as_ref().map_or_else(|| "NoneType".to_owned(), |object| object.get_type().to_string());
                let problem = format!("got {got} at element {position}, expected str");
                let fix = "pass an array or list of strings only; fill missing values first";
                return Err(Error::new(ErrorKind::InputType, subject(), problem, fix).into());
            }
        };
        strings.push(text);
    }
    Ok(strings)
}

fn dtype_of(descr: &Bound<'_, PyArrayDescr>) -> Option<DType> {
    let dtype = match (descr.kind(), descr.itemsize()) {
        (b'f', 2) => DType::Float16,
        (b'f', 4) => DType::Float32,
        (b'f', 8) => DType::Float64,
        (b'i', 1) => DType::Int8,
        (b'i', 2) => DType::Int16,
        (b'i', 4) => DType::Int32,
        (b'i', 8) => DType::Int64,
        (b'u', 1) => DType::Uint8,
        (b'u', 2) => DType::Uint16,
        (b'u', 4) => DType::Uint32,
        (b'u', 8) => DType::Uint64,
        (b'b', 1) => DType::Bool,
        (b'O', _) => return Some(DType::String),
        _ => return None,
    };
    (descr.is_native_byteorder() != Some(false)).then_some(dtype)
}

/// The NumPy descriptor of a dtype; strings are objects.
fn descriptor(py: Python<'_>, dtype: DType) -> PyResult<Bound<'_, PyArrayDescr>> {
    static DESCRIPTORS: [PyOnceLock<Py<PyArrayDescr>>; DType::ALL.len()] =
        [const { PyOnceLock::new() }; DType::ALL.len()];
    let name = if dtype == DType::String { "object" } else { dtype.name() };
    let made = || PyArrayDescr::new(py, name).map(Bound::unbind);
    DESCRIPTORS[dtype as usize].get_or_try_init(py, made).map(|descr| descr.bind(py).clone())
}

/// A new array; plain elements are not initialised, objects are `None`.
pub(super) fn empty<'py>(py: Python<'py>, dtype: DType, shape: &[i64]) -> PyResult<Bound<'py, PyUntypedArray>> {
    let descr = descriptor(py, dtype)?;
    let mut dims: smallvec::SmallVec<[npy_intp; 6]> =
        shape.iter().map(|size| npy_intp::try_from(*size).unwrap_or(npy_intp::MAX)).collect();
    let rank = i32::try_from(dims.len()).unwrap_or(i32::MAX);
    // SAFETY: `dims` holds `rank` sizes; the function takes the reference to the descriptor that `into_dtype_ptr` gives up,
    // and returns a new reference or null with an exception set.
    let array = unsafe {
        let array = PY_ARRAY_API.PyArray_Empty(py, rank, dims.as_mut_ptr(), descr.into_dtype_ptr(), 0);
        Bound::from_owned_ptr_or_err(py, array)
    };
    let subject = || format!("output of shape {shape:?} and dtype {dtype}");
    let array = array.map_err(|error| allocation_failed(py, &error, subject))?;
    Ok(array.cast_into::<PyUntypedArray>()?)
}

/// A new array for an output, and the engine's view of its memory.
///
/// The buffer is valid while the array lives; nobody else may see the array until the run is over.
pub(super) fn output(
    py: Python<'_>,
    dtype: DType,
    shape: Shape,
) -> PyResult<(Bound<'_, PyUntypedArray>, OutputBuffer)> {
    let array = empty(py, dtype, &shape)?;
    // SAFETY: the array was just made, so its pointer is valid and nobody else has it.
    let data = unsafe { (*array.as_array_ptr()).fields.data.cast::<u8>() };
    let pointer = NonNull::new(data).unwrap_or(NonNull::dangling());
    // SAFETY: a fresh array is contiguous and aligned and owns exactly these bytes.
    let data = unsafe { RawData::new(pointer, array.len() * dtype.size()) };
    Ok((array, OutputBuffer { shape, data }))
}

/// A new array with these elements.
pub(super) fn copied<'py>(py: Python<'py>, dtype: DType, shape: &[i64], bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (array, buffer) = output(py, dtype, Shape::from_slice(shape))?;
    let count = buffer.data.bytes().min(bytes.len());
    // SAFETY: the new array holds at least `count` bytes and does not overlap the engine's memory.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.data.pointer().as_ptr(), count) };
    Ok(array.into_any())
}
