//! Constants of the graph, read from the model's file straight to where the kernels want them.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use super::plan::Planned;
use super::view::MOST_AXES;
use crate::dense::{Packing, Panels};
use crate::onnx::{Array, FullConstant, Source, Stored};

/// Bytes that are read at once: they stay in the second cache until they are packed.
const PART: usize = 128 * 1024;

/// A tensor of the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Constant<'a> {
    Small(&'a FullConstant<'a>),
    Stored(&'a Stored<'a>),
}

/// Calls `take` with whole lines of `line` floats of a range, and with the number of the first one.
fn read_lines(source: &Source<'_>, range: &Range<u64>, line: usize, take: impl FnMut(usize, &[f32])) -> Option<()> {
    match source {
        Source::Bytes(bytes) => {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            let bytes = bytes.get(range)?;
            lines_of(bytes, bytes.len(), line, take)
        }
        Source::File(file) => {
            let mut file = file;
            file.seek(SeekFrom::Start(range.start)).ok()?;
            let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
            lines_of(BufReader::with_capacity(0, file), length, line, take)
        }
    }
}

fn lines_of(mut reader: impl Read, length: usize, line: usize, mut take: impl FnMut(usize, &[f32])) -> Option<()> {
    let bytes_per_line =
        line.checked_mul(size_of::<f32>()).filter(|bytes| *bytes > 0 && length.is_multiple_of(*bytes))?;
    let at_once = (PART / bytes_per_line).max(1);
    let mut bytes = vec![0; (at_once * bytes_per_line).min(length)];
    let mut numbers = Vec::with_capacity(bytes.len() / size_of::<f32>());
    for first in (0..length / bytes_per_line).step_by(at_once) {
        let count = at_once.min(length / bytes_per_line - first);
        let bytes = &mut bytes[..count * bytes_per_line];
        reader.read_exact(bytes).ok()?;
        numbers.clear();
        numbers.extend(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        take(first, &numbers);
    }
    Some(())
}

impl<'a> Constant<'a> {
    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Small(constant) => constant.name,
            Self::Stored(stored) => stored.name,
        }
    }

    /// Its dimensions, whose product the reader has checked.
    pub(super) fn dims(self) -> Option<Vec<usize>> {
        let dims = match self {
            Self::Small(constant) => &constant.dims,
            Self::Stored(stored) => &stored.dims,
        };
        dims.iter().map(|dim| usize::try_from(*dim).ok()).collect()
    }

    /// How many numbers it has; an error if it has more axes than any value here, which each look at it would pass over.
    pub(super) fn count(self) -> Planned<usize> {
        let (Self::Small(FullConstant { dims, .. }) | Self::Stored(Stored { dims, .. })) = self;
        let dims: Option<Vec<usize>> = dims.iter().take(MOST_AXES + 1).map(|dim| usize::try_from(*dim).ok()).collect();
        let dims = dims.filter(|dims| dims.len() <= MOST_AXES);
        let count = dims.and_then(|dims| dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim)));
        count.ok_or_else(|| format!("has the constant {}, whose shape is not known", self.name()))
    }

    /// Whole numbers of type int64.
    pub(super) fn ints(self) -> Option<&'a [i64]> {
        match self {
            Self::Small(constant) => constant.ints(),
            Self::Stored(_) => None,
        }
    }

    /// Truth values.
    pub(super) fn bools(self) -> Option<&'a [bool]> {
        match self {
            Self::Small(FullConstant { array: Array::Bools(bools), .. }) => Some(bools),
            _ => None,
        }
    }

    /// All numbers, if they are float32.
    pub(super) fn floats(self, source: &Source<'_>) -> Option<Vec<f32>> {
        let Self::Stored(stored) = self else {
            let Self::Small(constant) = self else { return None };
            return constant.floats().map(<[f32]>::to_vec);
        };
        let count = usize::try_from((stored.range.end - stored.range.start) / 4).ok()?;
        let mut all = Vec::new();
        // The file has them, or memory for them would be taken on its word alone.
        all.try_reserve_exact(count).ok()?;
        let line = [1024, 256, 64, 16, 4].into_iter().find(|line| count.is_multiple_of(*line)).unwrap_or(1);
        read_lines(source, &stored.range, line, |_, numbers| all.extend(numbers))?;
        Some(all)
    }

    /// A float32 matrix as panels, each number times `alpha`.
    pub(super) fn panels(self, source: &Source<'_>, packing: Packing, alpha: f32) -> Option<Panels> {
        let [lines, line] = self.dims()?[..] else { return None };
        let (depth, columns) = if packing == Packing::ByDepth { (lines, line) } else { (line, lines) };
        let mut panels = Panels::zeroed(depth, columns)?;
        let mut put = |first: usize, numbers: &[f32]| {
            #[allow(clippy::float_cmp, reason = "the number itself means that there is nothing to do")]
            if alpha == 1.0 {
                panels.put(packing, first, numbers);
            } else {
                panels.put(packing, first, &numbers.iter().map(|number| number * alpha).collect::<Vec<_>>());
            }
        };
        match self {
            Self::Stored(stored) => read_lines(source, &stored.range, line, put)?,
            Self::Small(constant) => put(0, constant.floats()?),
        }
        Some(panels)
    }
}
