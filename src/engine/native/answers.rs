//! From values of blocks of rows to what a caller asked for.

use super::program::{Form, Kind, Output};
use super::values::Values;
use crate::onnx::Classes;
use crate::tensor::{DType, EngineTensor, OutputBuffer, OutputRequest, Shape, Strings, Value};

/// One requested output on its way.
pub(super) struct Answer<'a> {
    kind: Kind,
    rows: usize,
    made: Made<'a>,
}

/// What there is of an answer; tensors with the sizes that follow the rows.
enum Made<'a> {
    Buffer(&'a OutputBuffer, Vec<u8>),
    Bytes(&'a [usize], Vec<u8>),
    Texts(&'a [usize], Strings),
    Maps(&'a Classes, &'a [usize], Vec<Value>),
}

impl<'a> Answer<'a> {
    /// The answer for `rows` rows of a slot that holds `kind`; nothing if the caller's buffer has another shape.
    pub(super) fn new(output: &'a Output, kind: Kind, request: &'a OutputRequest, rows: usize) -> Option<Self> {
        let made = match (&output.form, &request.buffer) {
            (Form::Maps(classes, order), _) => Made::Maps(classes, order, Vec::with_capacity(rows)),
            (Form::Tensor(sizes), _) if kind.dtype == DType::String => {
                Made::Texts(sizes, Strings::with_capacity(rows * kind.each))
            }
            (Form::Tensor(sizes), Some(buffer)) if dims(rows, sizes).eq(buffer.shape.iter().copied()) => {
                Made::Buffer(buffer, Vec::new())
            }
            (Form::Tensor(_), Some(_)) => return None,
            (Form::Tensor(sizes), None) => Made::Bytes(sizes, Vec::with_capacity(rows * kind.each * kind.dtype.size())),
        };
        Some(Self { kind, rows, made })
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
            Made::Bytes(_, bytes) => {
                values.write(dtype, bytes);
                Some(())
            }
            Made::Texts(_, strings) => {
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
            Made::Bytes(sizes, bytes) => tensor(self.kind.dtype, dims(self.rows, sizes).collect(), bytes),
            Made::Texts(sizes, strings) => Value::Strings(dims(self.rows, sizes).collect(), strings),
            Made::Maps(_, _, maps) => Value::Sequence(maps),
        }
    }
}

/// The dimensions of a tensor of rows of these sizes.
fn dims(rows: usize, sizes: &[usize]) -> impl Iterator<Item = i64> {
    std::iter::once(rows).chain(sizes.iter().copied()).map(|size| i64::try_from(size).unwrap_or(i64::MAX))
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
