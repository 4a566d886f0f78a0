//! The caller's inputs as values of a block of rows.

use super::program::{Block, Kind};
use super::values::Element;
use crate::tensor::{DType, Elements, InputTensor, RawData};

/// An input of all rows of a call.
pub(super) struct Input<'a> {
    slot: usize,
    kind: Kind,
    data: Data<'a>,
}

enum Data<'a> {
    Raw(RawData),
    Texts(Vec<&'a str>),
}

impl<'a> Input<'a> {
    /// `input` with `rows` rows of what its slot holds; nothing if it has other elements.
    pub(super) fn new(input: &'a InputTensor, kind: Kind, rows: usize) -> Option<Self> {
        let count = rows.checked_mul(kind.each)?;
        let data = match &input.elements {
            Elements::Strings(texts) if kind.dtype == DType::String && texts.len() == count => {
                Data::Texts(texts.iter().collect())
            }
            plain => Data::Raw(plain.raw().filter(|data| data.bytes() == count * kind.dtype.size())?),
        };
        Some(Self { slot: input.index, kind, data })
    }

    /// Puts the rows from `start` on into the block, as many as it has.
    pub(super) fn fill(&self, block: &mut Block<'a>, start: usize) -> Option<()> {
        let Kind { dtype, each } = self.kind;
        let (first, count) = (start * each, block.rows * each);
        let data = match &self.data {
            Data::Raw(data) => *data,
            Data::Texts(texts) => {
                let texts = texts.get(first..first + count)?;
                block.make(self.slot, |_, out: &mut Vec<&'a str>| out.extend_from_slice(texts));
                return Some(());
            }
        };
        let mut bytes = std::mem::take(&mut block.bytes);
        bytes.resize(count * dtype.size(), 0);
        let part = data.part(first * dtype.size(), bytes.len())?;
        part.copy_to(&mut bytes).then_some(())?;
        match dtype {
            DType::Float32 => read(block, self.slot, &bytes, f32::from_ne_bytes),
            DType::Float64 => read(block, self.slot, &bytes, f64::from_ne_bytes),
            DType::Int64 => read(block, self.slot, &bytes, i64::from_ne_bytes),
            DType::Int32 => read(block, self.slot, &bytes, |bytes| i64::from(i32::from_ne_bytes(bytes))),
            DType::Bool => read(block, self.slot, &bytes, |[byte]| byte != 0),
            _ => return None,
        }
        block.bytes = bytes;
        Some(())
    }
}

fn read<'a, T: Element<'a>, const N: usize>(block: &mut Block<'a>, slot: usize, bytes: &[u8], of: fn([u8; N]) -> T) {
    block.make(slot, |_, out| out.extend(bytes.as_chunks().0.iter().map(|bytes| of(*bytes))));
}
