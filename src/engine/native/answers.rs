//! From values of blocks of rows to what a caller asked for.

use super::program::{Form, Kind, Output};
use super::values::Values;
use crate::onnx::Classes;
use crate::tensor::{DType, EngineTensor, OutputBuffer, OutputRequest, Shape, Strings, Value};

/// One requested output on its way.
pub(super) struct Answer<'a> {
    kind: Kind,
    shape: Shape,
    made: Made<'a>,
}

enum Made<'a> {
    Buffer(&'a OutputBuffer, Vec<u8>),
    Bytes(Vec<u8>),
    Texts(Strings),
    Maps(&'a Classes, &'a [usize], Vec<Value>),
}

impl<'a> Answer<'a> {
    /// The answer for `rows` rows of a slot that holds `kind`; nothing if the caller's buffer has another shape.
    pub(super) fn new(output: &'a Output, kind: Kind, request: &'a OutputRequest, rows: usize) -> Option<Self> {
        let size = |size: &usize| i64::try_from(*size).unwrap_or(i64::MAX);
        let mut shape = Shape::from_slice(&[size(&rows)]);
        let made = match (&output.form, &request.buffer) {
            (Form::Maps(classes, order), _) => Made::Maps(classes, order, Vec::with_capacity(rows)),
            (Form::Tensor(sizes), buffer) => {
                shape.extend(sizes.iter().map(size));
                match buffer {
                    _ if kind.dtype == DType::String => Made::Texts(Strings::with_capacity(rows * kind.each)),
                    Some(buffer) if buffer.shape == shape => Made::Buffer(buffer, Vec::new()),
                    Some(_) => return None,
                    None => Made::Bytes(Vec::with_capacity(rows * kind.each * kind.dtype.size())),
                }
            }
        };
        Some(Self { kind, shape, made })
    }

    /// Takes the block that starts at row `start`; nothing comes back if it is not as expected.
    pub(super) fn take(&mut self, values: &Values<'_>, start: usize) -> Option<()> {
        let Kind { dtype, each } = self.kind;
        match &mut self.made {
            Made::Buffer(buffer, bytes) => {
                // What is held as the caller wants it goes there at once.
                let at = start * each;
                match (values, dtype) {
                    (Values::Floats(values), DType::Float32) => return buffer.data.write(at, values).then_some(()),
                    (Values::Doubles(values), DType::Float64) => return buffer.data.write(at, values).then_some(()),
                    (Values::Ints(values), DType::Int64) => return buffer.data.write(at, values).then_some(()),
                    _ => {}
                }
                bytes.clear();
                values.write(dtype, bytes);
                let part = buffer.data.part(start * each * dtype.size(), bytes.len())?;
                part.copy_from(bytes).then_some(())
            }
            Made::Bytes(bytes) => {
                values.write(dtype, bytes);
                Some(())
            }
            Made::Texts(strings) => {
                let Values::Texts(texts) = values else { return None };
                texts.iter().for_each(|text| strings.push(text));
                Some(())
            }
            Made::Maps(classes, order, maps) => {
                let Values::Floats(values) = values else { return None };
                maps.extend(values.chunks_exact(each).map(|row| map(classes, order.iter().map(|at| row[*at]))));
                Some(())
            }
        }
    }

    pub(super) fn finish(self) -> Value {
        match self.made {
            Made::Buffer(..) => Value::Written,
            Made::Bytes(bytes) => tensor(self.kind.dtype, self.shape, bytes),
            Made::Texts(strings) => Value::Strings(self.shape, strings),
            Made::Maps(_, _, maps) => Value::Sequence(maps),
        }
    }
}

fn tensor(dtype: DType, shape: Shape, bytes: Vec<u8>) -> Value {
    Value::Tensor(EngineTensor { dtype, shape, storage: Box::new(bytes) })
}

/// From class to probability.
fn map(classes: &Classes, row: impl ExactSizeIterator<Item = f32>) -> Value {
    let count = i64::try_from(row.len()).unwrap_or(i64::MAX);
    let shape = || Shape::from_slice(&[count]);
    let keys = match classes {
        Classes::Ints(labels) => {
            tensor(DType::Int64, shape(), labels.iter().flat_map(|label| label.to_ne_bytes()).collect())
        }
        Classes::Strings(labels) => Value::Strings(shape(), labels.iter().map(String::as_str).collect()),
    };
    let values = tensor(DType::Float32, shape(), row.flat_map(f32::to_ne_bytes).collect());
    Value::Map(Box::new((keys, values)))
}
