//! Elements behind the JSON text, by the binary tensor extension of the Open Inference Protocol: little-endian, without
//! padding, text as four bytes of length and then its bytes.

use crate::error::{Error, ErrorKind, Result};
use crate::half;
use crate::rows::{Column, Scalar};
use crate::signature::Signature;
use crate::tensor::{Buffer, DType, Elements, EngineTensor, Strings, Value, element_count};

/// Bytes of a text's length.
const LENGTH: usize = 4;

/// The elements of input `index` from bytes that are `got` and of the shape `sizes`.
pub(super) fn elements(
    bytes: &[u8],
    got: DType,
    sizes: &[i64],
    signature: &Signature,
    index: usize,
) -> Result<Elements> {
    let wrong = |problem: String| {
        let fix = "make `binary_data_size`, `shape` and `datatype` say what is sent";
        Error::new(ErrorKind::Input, signature.input_subject(index), problem, fix)
    };
    let count = element_count(sizes).unwrap_or(usize::MAX);
    if got == DType::String {
        return texts(bytes, count).map(Elements::Strings).map_err(wrong);
    }
    if count.checked_mul(got.size()) != Some(bytes.len()) {
        let each = got.size();
        return Err(wrong(format!("got {} bytes of {got}, expected {count} elements of {each}", bytes.len())));
    }
    if got == DType::Bool
        && let Some(odd) = bytes.iter().find(|byte| **byte > 1)
    {
        return Err(wrong(format!("got the byte {odd} for a bool, expected 0 or 1")));
    }
    // Big-endian machines convert like other dtypes do.
    if signature.input_dtype(index)? == got && cfg!(target_endian = "little") {
        let mut buffer = Buffer::zeroed(bytes.len());
        buffer.as_bytes_mut().copy_from_slice(bytes);
        return Ok(Elements::Owned(buffer));
    }
    converted(bytes, got, count, signature, index)
}

/// Elements of another dtype than the input's, by the rules for numbers in JSON.
#[allow(clippy::cast_lossless)]
fn converted(bytes: &[u8], got: DType, count: usize, signature: &Signature, index: usize) -> Result<Elements> {
    let mut column = Column::sized(signature, index, &[count], true)?;
    column.begin_list()?;
    macro_rules! each {
        ($type:ty, $scalar:expr) => {
            for chunk in bytes.as_chunks().0 {
                column.scalar($scalar(<$type>::from_le_bytes(*chunk)))?;
            }
        };
    }
    match got {
        DType::Float16 => each!(u16, |bits| Scalar::Float(half::value(bits).into())),
        DType::Float32 => each!(f32, |value: f32| Scalar::Float(value.into())),
        DType::Float64 => each!(f64, Scalar::Float),
        DType::Int8 => each!(i8, |value: i8| Scalar::Int(value.into())),
        DType::Int16 => each!(i16, |value: i16| Scalar::Int(value.into())),
        DType::Int32 => each!(i32, |value: i32| Scalar::Int(value.into())),
        DType::Int64 => each!(i64, Scalar::Int),
        DType::Uint8 => each!(u8, |value: u8| Scalar::Int(value.into())),
        DType::Uint16 => each!(u16, |value: u16| Scalar::Int(value.into())),
        DType::Uint32 => each!(u32, |value: u32| Scalar::Int(value.into())),
        DType::Uint64 => each!(u64, |value: u64| i64::try_from(value).map_or(Scalar::Uint(value), Scalar::Int)),
        DType::Bool => each!(u8, |value: u8| Scalar::Bool(value != 0)),
        DType::String => {}
    }
    column.end_list()?;
    Ok(column.finish()?.elements)
}

fn texts(bytes: &[u8], count: usize) -> Result<Strings, String> {
    // No more than the lengths have room for, whatever the shape says.
    let mut strings = Strings::with_capacity(count.min(bytes.len() / LENGTH));
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((text, after)) = after.split_at_checked(length) else {
            let left = after.len();
            return Err(format!("got {left} bytes for a text of {length} at element {}", strings.len()));
        };
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(format!("got bytes at element {} that are not UTF-8", strings.len()));
        };
        strings.push(text);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(format!("got {} bytes behind the last text", rest.len()));
    }
    if strings.len() != count {
        return Err(format!("got {} texts, expected {count} by the shape", strings.len()));
    }
    Ok(strings)
}

/// How many bytes [`write`] writes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Tensor(EngineTensor { storage, .. }) => storage.bytes().len(),
        Value::Strings(_, strings) => strings.iter().map(|text| LENGTH + text.len()).sum(),
        _ => 0,
    }
}

/// All elements of a tensor.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Tensor(tensor) if cfg!(target_endian = "little") => out.extend_from_slice(tensor.storage.bytes()),
        Value::Tensor(tensor) => {
            for element in tensor.storage.bytes().chunks(tensor.dtype.size().max(1)) {
                out.extend(element.iter().rev());
            }
        }
        Value::Strings(_, strings) => {
            for text in strings.iter() {
                // The extension has four bytes for it.
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        _ => {}
    }
}
