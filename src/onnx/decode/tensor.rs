//! A tensor that a file holds: an initializer, or an attribute.

use super::{Content, Field, add_floats, fields, text, varint};

/// A tensor.
#[derive(Debug, Default)]
pub struct FullConstant<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions, none negative.
    pub dims: Vec<i64>,
    /// Its elements in row-major order, as many as the dimensions say.
    pub array: Array<'a>,
}

/// Elements of the types that are known.
#[derive(Debug, Default, Clone, PartialEq)]
pub enum Array<'a> {
    /// float32.
    Floats(Vec<f32>),
    /// float64.
    Doubles(Vec<f64>),
    /// int64.
    Ints(Vec<i64>),
    /// int32.
    Int32s(Vec<i32>),
    /// uint8.
    Bytes(Vec<u8>),
    /// bool.
    Bools(Vec<bool>),
    /// Texts.
    Texts(Vec<&'a str>),
    /// Another type, or elements in another file.
    #[default]
    Other,
}

impl FullConstant<'_> {
    /// The elements, if they are float32.
    pub fn floats(&self) -> Option<&[f32]> {
        match &self.array {
            Array::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// The elements, if they are int64.
    pub fn ints(&self) -> Option<&[i64]> {
        match &self.array {
            Array::Ints(values) => Some(values),
            _ => None,
        }
    }
}

impl Array<'_> {
    /// How many elements; `None` if they are not known.
    fn len(&self) -> Option<usize> {
        match self {
            Self::Floats(values) => Some(values.len()),
            Self::Doubles(values) => Some(values.len()),
            Self::Ints(values) => Some(values.len()),
            Self::Int32s(values) => Some(values.len()),
            Self::Bytes(values) => Some(values.len()),
            Self::Bools(values) => Some(values.len()),
            Self::Texts(values) => Some(values.len()),
            Self::Other => None,
        }
    }
}

/// What the fields for elements of a tensor hold; a file uses one of them.
#[derive(Default)]
struct Parts<'a> {
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    doubles: Vec<f64>,
    /// Those of int32, bool and smaller ones, and of int64.
    ints: Vec<i64>,
    texts: Vec<&'a str>,
}

/// A `TensorProto` whose elements were left out.
pub(in crate::onnx) struct Hollow<'a> {
    pub(in crate::onnx) name: &'a str,
    pub(in crate::onnx) dims: Vec<i64>,
    /// How many elements it has.
    pub(in crate::onnx) count: usize,
    /// The number of their type.
    pub(in crate::onnx) element: u64,
}

/// Reads what there is of it.
pub(in crate::onnx) fn decode_without_elements(bytes: &[u8]) -> Option<Hollow<'_>> {
    let (mut name, mut dims, mut element) = ("", Vec::new(), 0);
    for field in fields(bytes) {
        let Field { number, content } = field?;
        match (number, content) {
            (1, content) => add_ints(content, &mut dims)?,
            (2, Content::Varint(number)) => element = number,
            (8, Content::Bytes(bytes)) => name = text(bytes)?,
            // Elements in a second field, or in another file.
            (3..=7 | 9..=11 | 13, _) => return None,
            (14, Content::Varint(location)) if location != 0 => return None,
            _ => {}
        }
    }
    let count = dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))?;
    Some(Hollow { name, dims, count, element })
}

/// Reads a `TensorProto`.
pub(in crate::onnx) fn decode(bytes: &[u8]) -> Option<FullConstant<'_>> {
    let (mut constant, mut parts, mut element, mut is_elsewhere) =
        (FullConstant::default(), Parts::default(), 0, false);
    for field in fields(bytes) {
        let Field { number, content } = field?;
        match (number, content) {
            (1, content) => add_ints(content, &mut constant.dims)?,
            (2, Content::Varint(number)) => element = number,
            (4, Content::Fixed32(bytes)) => parts.floats.push(f32::from_le_bytes(bytes)),
            (4, Content::Bytes(bytes)) => add_floats(bytes, &mut parts.floats)?,
            (5 | 7, content) => add_ints(content, &mut parts.ints)?,
            (6, Content::Bytes(bytes)) => parts.texts.push(text(bytes)?),
            (8, Content::Bytes(bytes)) => constant.name = text(bytes)?,
            (9, Content::Bytes(bytes)) => parts.raw = Some(bytes),
            (10, Content::Fixed64(bytes)) => parts.doubles.push(f64::from_le_bytes(bytes)),
            (10, Content::Bytes(bytes)) => add_raw(bytes, &mut parts.doubles, f64::from_le_bytes)?,
            // A part of a larger tensor, and elements in another file.
            (3 | 13, _) => is_elsewhere = true,
            (14, Content::Varint(location)) => is_elsewhere |= location != 0,
            _ => {}
        }
    }
    constant.array = if is_elsewhere { Array::Other } else { parts.array(element)? };
    let count = constant.dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(usize::try_from(*dim).ok()?))?;
    constant.array.len().is_none_or(|length| length == count).then_some(constant)
}

impl<'a> Parts<'a> {
    /// The elements by the number of their type in `TensorProto.DataType`.
    fn array(mut self, element: u64) -> Option<Array<'a>> {
        let raw = self.raw.unwrap_or_default();
        Some(match element {
            1 => {
                add_floats(raw, &mut self.floats)?;
                Array::Floats(self.floats)
            }
            2 => {
                let mut values = self.ints.iter().map(|value| u8::try_from(*value).ok()).collect::<Option<Vec<_>>>()?;
                values.extend_from_slice(raw);
                Array::Bytes(values)
            }
            6 => {
                let mut values =
                    self.ints.iter().map(|value| i32::try_from(*value).ok()).collect::<Option<Vec<_>>>()?;
                add_raw(raw, &mut values, i32::from_le_bytes)?;
                Array::Int32s(values)
            }
            7 => {
                add_raw(raw, &mut self.ints, i64::from_le_bytes)?;
                Array::Ints(self.ints)
            }
            8 => Array::Texts(self.texts),
            9 => {
                let mut values: Vec<bool> = self.ints.iter().map(|value| *value != 0).collect();
                values.extend(raw.iter().map(|byte| *byte != 0));
                Array::Bools(values)
            }
            11 => {
                add_raw(raw, &mut self.doubles, f64::from_le_bytes)?;
                Array::Doubles(self.doubles)
            }
            _ => Array::Other,
        })
    }
}

/// Whole numbers, one or packed.
fn add_ints(content: Content<'_>, ints: &mut Vec<i64>) -> Option<()> {
    match content {
        Content::Varint(value) => ints.push(value.cast_signed()),
        Content::Bytes(mut bytes) => {
            while !bytes.is_empty() {
                ints.push(varint(&mut bytes)?.cast_signed());
            }
        }
        Content::Fixed32(_) | Content::Fixed64(_) => return None,
    }
    Some(())
}

fn add_raw<T, const N: usize>(bytes: &[u8], values: &mut Vec<T>, read: fn([u8; N]) -> T) -> Option<()> {
    let (chunks, rest) = bytes.as_chunks();
    values.extend(chunks.iter().map(|bytes| read(*bytes)));
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_from_each_field_and_counted() {
        let four = [1_u8, 2, 3, 4];
        let whole = |fields: &[&[u8]]| fields.concat();
        let text = |number: u8, text: &[u8]| [&[number << 3 | 2, u8::try_from(text.len()).unwrap()], text].concat();
        let dims = |size: u8| vec![1 << 3, size];
        let element = |number: u8| vec![2 << 3, number];
        let cases = [
            (whole(&[&dims(1), &element(1), &text(9, &1.5_f32.to_le_bytes())]), Some(Array::Floats(vec![1.5]))),
            (whole(&[&dims(1), &element(1), &text(4, &1.5_f32.to_le_bytes())]), Some(Array::Floats(vec![1.5]))),
            (whole(&[&dims(1), &element(11), &text(10, &0.1_f64.to_le_bytes())]), Some(Array::Doubles(vec![0.1]))),
            (whole(&[&dims(1), &element(11), &[10 << 3 | 1], &0.1_f64.to_le_bytes()]), Some(Array::Doubles(vec![0.1]))),
            (whole(&[&dims(4), &element(7), &text(7, &four)]), Some(Array::Ints(vec![1, 2, 3, 4]))),
            (whole(&[&dims(1), &element(6), &text(9, &(-3_i32).to_le_bytes())]), Some(Array::Int32s(vec![-3]))),
            (whole(&[&dims(2), &element(2), &text(9, &[7, 255])]), Some(Array::Bytes(vec![7, 255]))),
            (whole(&[&dims(4), &element(2), &text(5, &four)]), Some(Array::Bytes(four.to_vec()))),
            (whole(&[&dims(2), &element(9), &text(9, &[0, 1])]), Some(Array::Bools(vec![false, true]))),
            (whole(&[&dims(2), &element(8), &text(6, b"a"), &text(6, b"")]), Some(Array::Texts(vec!["a", ""]))),
            (whole(&[&dims(1), &element(8), &text(6, &[0xff])]), None),
            (whole(&[&dims(2), &element(7), &text(7, &four)]), None),
            (whole(&[&dims(1), &element(1), &text(9, &four[..3])]), None),
            (whole(&[&element(7), &text(7, &four[..1])]), Some(Array::Ints(vec![1]))),
            (whole(&[&dims(9), &element(10), &text(9, &four)]), Some(Array::Other)),
            (whole(&[&dims(9), &element(1), &[14 << 3, 1]]), Some(Array::Other)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(&bytes).map(|constant| constant.array), expected, "{bytes:?}");
        }
    }
}
