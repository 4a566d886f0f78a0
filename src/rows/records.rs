//! Rows of a model whose inputs each take one value of a row, as tables of numbers and categories do.

use super::cell::{self, Scalar};
use super::names::{Named, Names};
use crate::signature::Signature;
use crate::tensor::{Buffer, DType, Elements, InputTensor, Shape, Strings};

/// Builds the inputs from rows that name every input once and have a value for each that fits.
///
/// What is otherwise it does not take and does not explain: then all rows are to be told to a
/// [`RowsBuilder`](super::RowsBuilder), which takes more than this and finds fault and place. After a `false` it is of no
/// more use.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    signature: &'a Signature,
    names: Names<'a>,
    inputs: Vec<InputTensor>,
    rows: usize,
    /// How many values the row has by now.
    values: usize,
    /// The input whose value comes next, inside an object.
    next: Option<usize>,
}

impl<'a> Records<'a> {
    /// Nothing if the model takes rows of another kind.
    pub(crate) fn new(signature: &'a Signature) -> Option<Self> {
        if !signature.is_record() {
            return None;
        }
        let mut inputs = Vec::with_capacity(signature.inputs().len());
        for (index, port) in signature.inputs().iter().enumerate() {
            let elements = match port.dtype()? {
                DType::String => Elements::Strings(Strings::default()),
                _ => Elements::Owned(Buffer::default()),
            };
            let shape = Shape::from_slice(if port.dims()?.len() == 1 { &[1] } else { &[1, 1] });
            inputs.push(InputTensor { index, shape, elements });
        }
        let names = Names::new(Named::Inputs(signature.inputs()), signature.input_order());
        Some(Self { signature, names, inputs, rows: 0, values: 0, next: None })
    }

    /// How many rows are complete.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The name of the value that comes next.
    #[inline]
    pub(crate) fn key(&mut self, name: &str) -> bool {
        self.next = self.names.find(name);
        self.next.is_some()
    }

    /// The value of the last key.
    #[inline]
    pub(crate) fn scalar(&mut self, scalar: Scalar<'_>) -> bool {
        let Some(index) = self.next.take() else { return false };
        self.values += 1;
        let place = self.rows;
        let Some(InputTensor { elements, .. }) = self.inputs.get_mut(index) else { return false };
        match (elements, scalar) {
            (Elements::Strings(texts), Scalar::Text(text)) if texts.len() == place => {
                texts.push(text);
                true
            }
            (Elements::Owned(buffer), scalar) => {
                let Some(dtype) = self.signature.inputs()[index].dtype() else { return false };
                buffer.as_bytes().len() == place * dtype.size()
                    && cell::write(dtype, scalar, buffer.grow(dtype.size())).is_ok()
            }
            _ => false,
        }
    }

    /// Ends the row.
    #[inline]
    pub(crate) fn end_row(&mut self) -> bool {
        // As many values as inputs, none of them twice, are all.
        let is_complete = self.next.is_none() && std::mem::take(&mut self.values) == self.inputs.len();
        self.rows += 1;
        self.names.restart();
        is_complete
    }

    /// The inputs with all rows.
    pub(crate) fn finish(mut self) -> Vec<InputTensor> {
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        for input in &mut self.inputs {
            input.shape[0] = rows;
        }
        self.inputs
    }
}
