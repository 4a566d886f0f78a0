//! Values of the engine as JSON text. NaN and infinity, which JSON has no word for, become `null`.

use std::io::Write;

use crate::half;
use crate::tensor::{DType, EngineTensor, Value};

/// A value with all its axes; a map is an object, an absent value `null`.
pub(super) fn value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Tensor(tensor) => nested(&tensor.shape, tensor.dtype, tensor.storage.bytes(), out),
        Value::Strings(shape, strings) => nested_texts(shape, &mut strings.iter(), out),
        Value::Sequence(values) => {
            out.push(b'[');
            separated(values.iter(), out, self::value);
            out.push(b']');
        }
        Value::Map(pair) => map(&pair.0, &pair.1, out),
        Value::Written | Value::Absent => out.extend_from_slice(b"null"),
    }
}

/// The value of one row; `None`, and nothing written, if the value does not have this many rows.
pub(super) fn row(value: &Value, row: usize, rows: usize, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Tensor(EngineTensor { dtype, shape, storage }) => {
            let bytes = storage.bytes();
            let size = bytes.len().checked_div(rows_of(shape, rows)?)?;
            nested(&shape[1..], *dtype, bytes.get(row * size..(row + 1) * size)?, out);
        }
        Value::Strings(shape, strings) => {
            let size = strings.len().checked_div(rows_of(shape, rows)?)?;
            nested_texts(&shape[1..], &mut strings.part(row * size..(row + 1) * size).iter(), out);
        }
        Value::Sequence(values) if values.len() == rows => self::value(values.get(row)?, out),
        _ => return None,
    }
    Some(())
}

fn rows_of(shape: &[i64], rows: usize) -> Option<usize> {
    usize::try_from(*shape.first()?).ok().filter(|found| *found == rows)
}

/// All elements in one list.
pub(super) fn flat(value: &Value, out: &mut Vec<u8>) {
    out.push(b'[');
    match value {
        Value::Tensor(tensor) => elements(tensor.dtype, tensor.storage.bytes(), out),
        Value::Strings(_, strings) => separated(strings.iter(), out, text),
        _ => {}
    }
    out.push(b']');
}

/// Text in quotes.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        if escape.is_empty() {
            format(format_args!("\\u{byte:04x}"), out);
        }
        out.extend_from_slice(escape);
        plain = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

/// A whole number.
pub(super) fn number(number: i64, out: &mut Vec<u8>) {
    format(format_args!("{number}"), out);
}

fn format(arguments: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(arguments);
}

/// `each` for all, with commas between.
pub(super) fn separated<T>(all: impl IntoIterator<Item = T>, out: &mut Vec<u8>, mut each: impl FnMut(T, &mut Vec<u8>)) {
    for (position, one) in all.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        each(one, out);
    }
}

fn nested(shape: &[i64], dtype: DType, bytes: &[u8], out: &mut Vec<u8>) {
    let Some((size, inner)) = shape.split_first() else {
        elements(dtype, bytes, out);
        return;
    };
    out.push(b'[');
    if inner.is_empty() {
        elements(dtype, bytes, out);
    } else if let Some(each) = usize::try_from(*size).ok().and_then(|size| bytes.len().checked_div(size)) {
        separated(0..usize::try_from(*size).unwrap_or(0), out, |at, out| {
            nested(inner, dtype, bytes.get(at * each..(at + 1) * each).unwrap_or_default(), out);
        });
    }
    out.push(b']');
}

fn nested_texts<'a>(shape: &[i64], texts: &mut impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    match shape {
        [] => text(texts.next().unwrap_or_default(), out),
        [size, inner @ ..] => {
            out.push(b'[');
            separated(0..*size, out, |_, out| nested_texts(inner, texts, out));
            out.push(b']');
        }
    }
}

fn elements(dtype: DType, bytes: &[u8], out: &mut Vec<u8>) {
    macro_rules! all {
        ($type:ty, $each:expr) => {
            separated(bytes.as_chunks().0, out, |chunk, out| $each(<$type>::from_ne_bytes(*chunk), out))
        };
    }
    match dtype {
        DType::Float32 => all!(f32, float),
        DType::Float64 => all!(f64, float),
        DType::Float16 => all!(u16, |bits, out: &mut Vec<u8>| float(half::value(bits), out)),
        DType::Int64 => all!(i64, number),
        DType::Int8 => all!(i8, |value: i8, out: &mut Vec<u8>| number(value.into(), out)),
        DType::Int16 => all!(i16, |value: i16, out: &mut Vec<u8>| number(value.into(), out)),
        DType::Int32 => all!(i32, |value: i32, out: &mut Vec<u8>| number(value.into(), out)),
        DType::Uint8 => all!(u8, |value: u8, out: &mut Vec<u8>| number(value.into(), out)),
        DType::Uint16 => all!(u16, |value: u16, out: &mut Vec<u8>| number(value.into(), out)),
        DType::Uint32 => all!(u32, |value: u32, out: &mut Vec<u8>| number(value.into(), out)),
        DType::Uint64 => all!(u64, |value: u64, out: &mut Vec<u8>| format(format_args!("{value}"), out)),
        DType::Bool => separated(bytes, out, |byte, out| {
            out.extend_from_slice(if *byte == 0 { b"false" } else { b"true" });
        }),
        // The engine gives text as `Value::Strings`.
        DType::String => {}
    }
}

/// The shortest digits that come back as the same number of the same precision.
#[inline]
fn float<F: zmij::Float + Into<f64> + Copy>(value: F, out: &mut Vec<u8>) {
    if value.into().is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Keys are text in JSON, whatever they are.
fn map(keys: &Value, values: &Value, out: &mut Vec<u8>) {
    let keys: Vec<String> = match keys {
        Value::Strings(_, keys) => keys.iter().map(str::to_owned).collect(),
        Value::Tensor(keys) => {
            let mut listed = Vec::new();
            elements(keys.dtype, keys.storage.bytes(), &mut listed);
            let listed = String::from_utf8_lossy(&listed);
            listed.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    out.push(b'{');
    separated(keys.iter().enumerate(), out, |(position, key), out| {
        text(key, out);
        out.push(b':');
        if row(values, position, keys.len(), out).is_none() {
            out.extend_from_slice(b"null");
        }
    });
    out.push(b'}');
}
