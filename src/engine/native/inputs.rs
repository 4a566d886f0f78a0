//! The caller's inputs as values of a block of rows.

use super::program::{Block, Kind};
use super::values::Element;
use crate::tensor::{DType, Elements, InputTensor, Number, RawData, Strings};

/// An input of all rows of a call.
pub(super) struct Input<'a> {
    slot: usize,
    kind: Kind,
    data: Data<'a>,
}

enum Data<'a> {
    Raw(RawData),
    Texts(&'a Strings),
}

impl<'a> Input<'a> {
    /// `input` with `rows` rows of what its slot holds; nothing if it has other elements.
    pub(super) fn new(input: &'a InputTensor, kind: Kind, rows: usize) -> Option<Self> {
        let count = rows.checked_mul(kind.each)?;
        let data = match &input.elements {
            Elements::Strings(texts) if kind.dtype == DType::String && texts.len() == count => Data::Texts(texts),
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
                block.make(self.slot, |_, out: &mut Vec<&'a str>| out.extend(texts.range(first..first + count)));
                return Some(());
            }
        };
        match dtype {
            DType::Float32 => return copy::<f32>(block, self.slot, data, first, count),
            DType::Float64 => return copy::<f64>(block, self.slot, data, first, count),
            DType::Int64 => return copy::<i64>(block, self.slot, data, first, count),
            _ => {}
        }
        let mut bytes = std::mem::take(&mut block.bytes);
        bytes.resize(count * dtype.size(), 0);
        let part = data.part(first * dtype.size(), bytes.len())?;
        part.copy_to(&mut bytes).then_some(())?;
        match dtype {
            DType::Int32 => read(block, self.slot, &bytes, |bytes| i64::from(i32::from_ne_bytes(bytes))),
            DType::Bool => read(block, self.slot, &bytes, |[byte]| byte != 0),
            _ => return None,
        }
        block.bytes = bytes;
        Some(())
    }
}

/// Fills a slot with numbers that it holds as the caller does.
fn copy<'a, T: Element<'a> + Number>(
    block: &mut Block<'a>,
    slot: usize,
    data: RawData,
    first: usize,
    count: usize,
) -> Option<()> {
    block.make(slot, |_, out: &mut Vec<T>| data.append(first, count, out)).then_some(())
}

fn read<'a, T: Element<'a>, const N: usize>(block: &mut Block<'a>, slot: usize, bytes: &[u8], of: fn([u8; N]) -> T) {
    block.make(slot, |_, out| out.extend(bytes.as_chunks().0.iter().map(|bytes| of(*bytes))));
}
