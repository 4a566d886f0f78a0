//! Elements that are written into their places, without telling each in its turn: numbers of a list, whole rows of floats, and
//! rows that come by name.

use super::super::cell::{self, Misfit, Scalar};
use super::Column;
use crate::error::Result;
use crate::tensor::DType;

/// Most elements that room is made for before they are there.
const MOST_SLOTS: usize = 1024;

impl Column<'_> {
    /// Room for the next elements of the innermost list, if they are float32: writing them and then saying how many, by
    /// [`Self::advance`], is what [`Self::scalar`] does, faster. `None` if the list has all its elements.
    #[inline]
    pub(crate) fn slots(&mut self) -> Option<&mut [[u8; 4]]> {
        let depth = self.counts.len();
        if self.dtype != DType::Float32 || depth != self.sizes.len() || !self.has_rank || depth == 0 {
            return None;
        }
        let left = self.sizes[depth - 1]?.checked_sub(self.counts[depth - 1])?.min(MOST_SLOTS);
        if left == 0 {
            return None;
        }
        self.make_room(left * 4);
        let (slots, _) = self.bytes.as_bytes_mut()[self.end..].as_chunks_mut();
        slots.get_mut(..left)
    }

    /// So many of the slots are written.
    #[inline]
    pub(crate) fn advance(&mut self, written: usize) {
        self.end += written * 4;
        if let Some(count) = self.counts.last_mut() {
            *count += written;
        }
    }

    /// A row of floats, if rows are that and every value fits; otherwise nothing changes.
    #[inline]
    pub(crate) fn float_row(&mut self, count: usize, values: impl Iterator<Item = Option<f64>>) -> bool {
        let is_row = matches!(self.sizes[..], [_, Some(size)] if size == count) && self.has_rank && count > 0;
        let size = match self.dtype {
            DType::Float32 | DType::Float64 if is_row && self.base == 1 && self.is_between() => self.dtype.size(),
            _ => return false,
        };
        self.make_room(count * size);
        let end = self.end + count * size;
        let room = &mut self.bytes.as_bytes_mut()[self.end..end];
        let is_filled = match self.dtype {
            DType::Float32 => fill(room, values, |value| cell::rounded(value).map(f32::to_ne_bytes)),
            _ => fill(room, values, |value| Some(value.to_ne_bytes())),
        };
        if is_filled {
            self.end = end;
            self.counts[0] += 1;
        }
        is_filled
    }

    /// Makes room for a row whose elements come in any order, each by [`Self::put`].
    pub(crate) fn begin_slots(&mut self) {
        let count = self.slot_count();
        self.slots.0 = self.end;
        if self.dtype == DType::String {
            self.slots.1.clear();
            self.slots.1.resize(count, String::new());
        } else {
            self.make_room(count * self.dtype.size());
            self.end += count * self.dtype.size();
        }
    }

    /// Element `slot` of the row.
    #[inline]
    pub(crate) fn put(&mut self, slot: usize, scalar: Scalar<'_>) -> Result<()> {
        let written = if self.dtype == DType::String {
            match scalar {
                Scalar::Text(text) => {
                    text.clone_into(&mut self.slots.1[slot]);
                    Ok(())
                }
                Scalar::Null => Err(Misfit::Null),
                _ => Err(Misfit::Kind),
            }
        } else {
            let size = self.dtype.size();
            let start = self.slots.0 + slot * size;
            cell::write(self.dtype, scalar, &mut self.bytes.as_bytes_mut()[start..start + size])
        };
        written.map_err(|misfit| {
            let name = self.names.get(slot).map_or("", String::as_str);
            let place = format!("row {}, feature `{name}` of {}", self.rows(), self.signature.model());
            self.misfit(misfit, scalar, &place).at(self.rows(), Some(name))
        })
    }

    /// The row is complete.
    pub(crate) fn end_slots(&mut self) {
        for text in &self.slots.1 {
            self.strings.push(text);
        }
        self.slots.1.clear();
        self.counts[0] += 1;
    }

    fn slot_count(&self) -> usize {
        self.names.len()
    }
}

/// Writes one value after the other; `false` if there are too few, or one cannot be written.
#[inline]
fn fill<const SIZE: usize>(
    room: &mut [u8],
    mut values: impl Iterator<Item = Option<f64>>,
    bytes: impl Fn(f64) -> Option<[u8; SIZE]>,
) -> bool {
    room.as_chunks_mut().0.iter_mut().all(|element| match values.next().flatten().and_then(&bytes) {
        Some(bytes) => {
            *element = bytes;
            true
        }
        None => false,
    })
}
