//! Weights in the order in which products read them.

use std::ops::Range;

/// Columns of a panel. The last one may be narrower.
pub(super) const WIDE: usize = 32;
/// Columns of a narrow panel, where so few are left.
pub(super) const NARROW: usize = 16;
/// Floats of a cache line, where panels begin.
const LINE: usize = 16;

/// A matrix `[depth, columns]`, cut into panels of 32 columns: each has the numbers of one depth after the other.
#[derive(Debug, Default)]
pub struct Panels {
    depth: usize,
    columns: usize,
    data: Vec<f32>,
    /// Where the panels begin in `data`, which has room to begin at a cache line.
    start: usize,
    /// A number for each column, zeros up to the end of the last panel.
    bias: Vec<f32>,
    has_bias: bool,
}

/// One panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel<'a> {
    /// `[depth, width]`.
    pub(super) weights: &'a [f32],
    /// [`WIDE`] or [`NARROW`].
    pub(super) width: usize,
    /// The first of its columns.
    pub(super) first: usize,
    /// Columns that are not padding.
    pub(super) columns: usize,
    /// `[width]`.
    pub(super) bias: &'a [f32],
}

/// How the numbers of a matrix lie where they are packed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `[depth, columns]`, as `MatMul` has its second input.
    ByDepth,
    /// `[columns, depth]`, as `Gemm` with `transB` has it.
    ByColumn,
}

impl Panels {
    /// A matrix of zeros; nothing if it is larger than memory can be.
    pub fn zeroed(depth: usize, columns: usize) -> Option<Self> {
        let padded = columns.checked_next_multiple_of(NARROW)?;
        let mut panels = Self { depth, columns, bias: vec![0.0; padded], ..Self::default() };
        panels.data = vec![0.0; padded.checked_mul(depth)?.checked_add(LINE)?];
        panels.start = panels.data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Some(panels)
    }

    /// Rows of the matrix.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes of its panels.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }

    /// Whether something is added to the columns.
    pub fn has_bias(&self) -> bool {
        self.has_bias
    }

    /// Sets what is added to each column; the rest stays 0.
    pub fn set_bias(&mut self, bias: &[f32]) {
        self.has_bias = true;
        self.bias.iter_mut().zip(&bias[..bias.len().min(self.columns)]).for_each(|(to, from)| *to = *from);
    }

    /// Puts whole lines of the matrix as it lies elsewhere, from line `first` on.
    pub fn put(&mut self, packing: Packing, first: usize, numbers: &[f32]) {
        let (depth, columns, start) = (self.depth, self.columns, self.start);
        let (line, lines) = match packing {
            Packing::ByDepth => (columns, depth),
            Packing::ByColumn => (depth, columns),
        };
        if line == 0 || first >= lines {
            return;
        }
        let data = &mut self.data[start..];
        match packing {
            Packing::ByDepth => {
                for at in (0..columns).step_by(WIDE) {
                    let (width, count) = (width_at(at, columns), WIDE.min(columns - at));
                    let panel = &mut data[at * depth + first * width..];
                    for (to, from) in panel.chunks_exact_mut(width).zip(numbers.chunks_exact(line)) {
                        to[..count].copy_from_slice(&from[at..at + count]);
                    }
                }
            }
            Packing::ByColumn => {
                for (column, from) in (first..columns).zip(numbers.chunks_exact(line)) {
                    let at = column / WIDE * WIDE;
                    let width = width_at(at, columns);
                    let panel = &mut data[at * depth + column - at..];
                    from.iter().zip(panel.iter_mut().step_by(width)).for_each(|(from, to)| *to = *from);
                }
            }
        }
    }

    /// Makes it a matrix `[depth, columns]`, without a bias, whose numbers lie elsewhere: from one depth to the next `down`
    /// apart, and `across` from one column to the next. Used again and again, it allocates only while it grows.
    ///
    /// # Panics
    /// If the numbers are too few.
    pub fn fill(&mut self, depth: usize, columns: usize, numbers: &[f32], (down, across): (usize, usize)) {
        let padded = columns.next_multiple_of(NARROW);
        (self.depth, self.columns, self.has_bias) = (depth, columns, false);
        if self.data.len() < padded * depth + LINE {
            self.data = vec![0.0; padded * depth + LINE];
            self.start = self.data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        }
        // Nobody but this function fills what has been filled before.
        self.bias.resize(padded, 0.0);
        if depth == 0 {
            return;
        }
        let start = self.start;
        for first in (0..columns).step_by(WIDE) {
            let (width, count) = (width_at(first, columns), WIDE.min(columns - first));
            let panel = &mut self.data[start + first * depth..][..width * depth];
            if across == 1 {
                for (at, line) in panel.chunks_exact_mut(width).enumerate() {
                    line[..count].copy_from_slice(&numbers[at * down + first..][..count]);
                }
                continue;
            }
            for column in 0..count {
                let from = &numbers[(first + column) * across..][..=(depth - 1) * down];
                let to = panel[column..].iter_mut().step_by(width);
                if down == 1 {
                    to.zip(from).for_each(|(to, from)| *to = *from);
                } else {
                    to.zip(from.iter().step_by(down)).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// Those of a range of panels that have [`WIDE`] columns without padding, as if they were one.
    pub(super) fn wide_panels(&self, panels: Range<usize>) -> Panel<'_> {
        let (first, end) =
            (panels.start * WIDE, (panels.end * WIDE).min(self.columns / WIDE * WIDE).max(panels.start * WIDE));
        Panel {
            weights: &self.data[self.start + first * self.depth..][..(end - first) * self.depth],
            width: WIDE,
            first,
            columns: end - first,
            bias: &self.bias[first..end],
        }
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(WIDE)
    }

    /// How many columns a range of panels has.
    pub fn columns_of(&self, panels: Range<usize>) -> usize {
        let column = |panel: usize| (panel * WIDE).min(self.columns);
        column(panels.end) - column(panels.start)
    }

    pub(super) fn panel(&self, number: usize) -> Panel<'_> {
        let first = number * WIDE;
        let width = width_at(first, self.columns);
        Panel {
            weights: &self.data[self.start + first * self.depth..][..width * self.depth],
            width,
            first,
            columns: width.min(self.columns - first),
            bias: &self.bias[first..first + width],
        }
    }
}

fn width_at(first: usize, columns: usize) -> usize {
    if columns - first <= NARROW { NARROW } else { WIDE }
}
