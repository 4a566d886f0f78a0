//! Takes values that ONNX Runtime made apart: tensors, texts, sequences and maps.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use ::ort::sys::{ONNXTensorElementDataType as ElementType, ONNXType};

use super::elements::dtype_of;
use super::owned::{Owned, OwnedValue, check, default_allocator};
use crate::tensor::{DType, EngineTensor, RawData, Shape, Storage, Strings, Value, element_count};

/// Memory of a tensor that the engine allocated.
struct EngineMemory {
    data: NonNull<u8>,
    bytes: usize,
    _value: OwnedValue,
}

// SAFETY: the tensor is owned and nobody else knows it.
unsafe impl Send for EngineMemory {}

impl Storage for EngineMemory {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the engine's tensor holds that many initialised bytes and lives as long as `_value`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.bytes) }
    }
}

/// The value, copied where it lies in an input's memory, which the caller may free before the value: an output that is an
/// input as well is handed through.
pub(super) fn independent(value: Value, lent: &[RawData]) -> Value {
    match value {
        Value::Tensor(mut tensor) => {
            let place = tensor.storage.bytes().as_ptr_range();
            let overlaps = |data: &RawData| {
                let start = data.pointer().as_ptr().cast_const();
                start < place.end && place.start < start.wrapping_add(data.bytes())
            };
            if lent.iter().any(overlaps) {
                tensor.storage = Box::new(tensor.storage.bytes().to_vec());
            }
            Value::Tensor(tensor)
        }
        Value::Sequence(values) => Value::Sequence(values.into_iter().map(|value| independent(value, lent)).collect()),
        other => other,
    }
}

/// Takes a value of the engine apart.
pub(super) fn extract(value: OwnedValue) -> ::ort::Result<Value> {
    let api = ::ort::api();
    let mut has_value = 0;
    // SAFETY: value and out pointer are valid.
    check(unsafe { (api.HasValue)(value.as_ptr(), &raw mut has_value) })?;
    if has_value == 0 {
        return Ok(Value::Absent);
    }
    let mut kind = ONNXType::ONNX_TYPE_UNKNOWN;
    // SAFETY: as above.
    check(unsafe { (api.GetValueType)(value.as_ptr(), &raw mut kind) })?;
    match kind {
        ONNXType::ONNX_TYPE_TENSOR => extract_tensor(value),
        ONNXType::ONNX_TYPE_SEQUENCE => {
            let mut count = 0;
            // SAFETY: as above.
            check(unsafe { (api.GetValueCount)(value.as_ptr(), &raw mut count) })?;
            (0..count).map(|index| extract(child(&value, index)?)).collect::<::ort::Result<_>>().map(Value::Sequence)
        }
        ONNXType::ONNX_TYPE_MAP => {
            let (keys, values) = (extract(child(&value, 0)?)?, extract(child(&value, 1)?)?);
            Ok(Value::Map(Box::new((keys, values))))
        }
        other => Err(::ort::Error::new(format!("outputs of type {other:?} are not supported"))),
    }
}

fn child(value: &OwnedValue, index: usize) -> ::ort::Result<OwnedValue> {
    let api = ::ort::api();
    let index = i32::try_from(index).map_err(|_| ::ort::Error::new("a sequence of more than 2^31 values"))?;
    let mut child = ptr::null_mut();
    // SAFETY: `value` is a sequence or map that has this child; the child is a value of its own.
    check(unsafe { (api.GetValue)(value.as_ptr(), index, default_allocator()?, &raw mut child) })?;
    Owned::new(child, api.ReleaseValue)
}

fn extract_tensor(value: OwnedValue) -> ::ort::Result<Value> {
    let api = ::ort::api();
    let mut info = ptr::null_mut();
    // SAFETY: value is a tensor; the info is owned and released.
    check(unsafe { (api.GetTensorTypeAndShape)(value.as_ptr(), &raw mut info) })?;
    let info = Owned::new(info, api.ReleaseTensorTypeAndShapeInfo)?;
    let (mut element, mut rank) = (ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED, 0);
    // SAFETY: info and out pointers are valid.
    check(unsafe { (api.GetTensorElementType)(info.as_ptr(), &raw mut element) })?;
    // SAFETY: as above.
    check(unsafe { (api.GetDimensionsCount)(info.as_ptr(), &raw mut rank) })?;
    let mut shape = Shape::from_elem(0, rank);
    // SAFETY: `shape` has room for `rank` dimensions.
    check(unsafe { (api.GetDimensions)(info.as_ptr(), shape.as_mut_ptr(), rank) })?;
    let count = element_count(&shape).ok_or_else(|| ::ort::Error::new(format!("an output has the shape {shape:?}")))?;
    let dtype = dtype_of(element)
        .ok_or_else(|| ::ort::Error::new(format!("outputs of element type {element:?} have no NumPy equivalent")))?;
    if dtype == DType::String {
        return extract_strings(&value, count).map(|strings| Value::Strings(shape, strings));
    }
    let mut data = ptr::null_mut();
    // SAFETY: value is a tensor of plain elements.
    check(unsafe { (api.GetTensorMutableData)(value.as_ptr(), &raw mut data) })?;
    let bytes = count * dtype.size();
    let data = match NonNull::new(data.cast::<u8>()) {
        Some(data) => data,
        None if bytes == 0 => NonNull::dangling(),
        None => return Err(::ort::Error::new("an output has no data")),
    };
    let storage = Box::new(EngineMemory { data, bytes, _value: value });
    Ok(Value::Tensor(EngineTensor { dtype, shape, storage }))
}

fn extract_strings(value: &OwnedValue, count: usize) -> ::ort::Result<Strings> {
    let api = ::ort::api();
    let mut length = 0;
    // SAFETY: value is a string tensor.
    check(unsafe { (api.GetStringTensorDataLength)(value.as_ptr(), &raw mut length) })?;
    let (mut text, mut starts) = (vec![0_u8; length], vec![0_usize; count]);
    if count > 0 {
        // SAFETY: both buffers have the lengths the engine asked for.
        check(unsafe {
            (api.GetStringTensorContent)(
                value.as_ptr(),
                text.as_mut_ptr().cast::<c_void>(),
                length,
                starts.as_mut_ptr(),
                count,
            )
        })?;
    }
    let ends = starts.iter().skip(1).copied().chain([length]);
    let mut strings = Strings::with_capacity(count);
    for (start, end) in starts.iter().zip(ends) {
        strings.push(&String::from_utf8_lossy(text.get(*start..end).unwrap_or_default()));
    }
    Ok(strings)
}
