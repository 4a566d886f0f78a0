//! Where the numbers of a value lie: views of the memory of a block of rows, or of a constant.

use std::ops::Range;

/// Numbers of a block of rows, row after row without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    /// Which memory they lie in, at its start.
    pub(super) memory: usize,
    /// Numbers of a row.
    pub(super) size: usize,
}

/// What a value's numbers lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// Memory of the block.
    Block(Slot),
    /// A constant, the same for each row.
    Constant(usize),
}

/// A tensor for each row: its element `(i, j, …)` is `offset + i * strides[0] + j * strides[1] + …` behind the row's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) place: Place,
    pub(super) offset: usize,
    pub(super) dims: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl View {
    /// All of a place, in row-major order.
    pub(super) fn whole(place: Place, dims: Vec<usize>) -> Self {
        let strides = strides_of(&dims);
        Self { place, offset: 0, dims, strides }
    }

    pub(super) fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// From one row's start to the next one's.
    pub(super) fn row_stride(&self) -> usize {
        match self.place {
            Place::Block(slot) => slot.size,
            Place::Constant(_) => 0,
        }
    }

    /// Whether its elements follow each other in row-major order.
    pub(super) fn is_dense(&self) -> bool {
        let mut next = 1;
        for (dim, stride) in self.dims.iter().zip(&self.strides).rev() {
            if *dim != 1 && *stride != next {
                return false;
            }
            next *= dim;
        }
        true
    }

    /// Whether it is dense and all there is of a row.
    pub(super) fn is_whole(&self) -> bool {
        self.offset == 0 && self.is_dense() && self.row_stride() == self.count()
    }

    /// The same numbers with other dimensions, if it is dense.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Self {
        let strides = strides_of(&dims);
        Self { place: self.place, offset: self.offset, dims, strides }
    }

    pub(super) fn turned(&self, order: &[usize]) -> Self {
        Self {
            place: self.place,
            offset: self.offset,
            dims: order.iter().map(|axis| self.dims[*axis]).collect(),
            strides: order.iter().map(|axis| self.strides[*axis]).collect(),
        }
    }

    /// A part of an axis.
    pub(super) fn part(&self, axis: usize, range: Range<usize>) -> Self {
        let mut part = self.clone();
        part.offset += range.start * self.strides[axis];
        part.dims[axis] = range.len();
        part
    }

    /// Without its first axes.
    pub(super) fn inner(&self, axes: usize) -> Self {
        let mut inner = self.clone();
        inner.dims.drain(..axes);
        inner.strides.drain(..axes);
        inner
    }

    /// With axes of 1 before it and repeated along axes of 1, so that it has these dimensions; nothing if it does not fit.
    pub(super) fn broadcast(&self, dims: &[usize]) -> Option<Self> {
        let more = dims.len().checked_sub(self.dims.len())?;
        let mut strides = vec![0; more];
        for ((have, want), stride) in self.dims.iter().zip(&dims[more..]).zip(&self.strides) {
            strides.push(if have == want { *stride } else { 0 });
            if have != want && *have != 1 {
                return None;
            }
        }
        Some(Self { place: self.place, offset: self.offset, dims: dims.to_vec(), strides })
    }

    /// The last axis as the rows of a matrix: how many for each row of the block, and from one's start to the next one's.
    /// Nothing if they do not follow each other at one distance from the first row of the block to the last.
    pub(super) fn as_matrix(&self) -> Option<(usize, usize)> {
        let (depth, leading) = self.dims.split_last()?;
        let strides = &self.strides[..leading.len()];
        if *depth != 1 && self.strides[leading.len()] != 1 {
            return None;
        }
        let mut step = None;
        let mut next = 0;
        for (dim, stride) in leading.iter().zip(strides).rev().filter(|(dim, _)| **dim != 1) {
            if step.is_some() && *stride != next {
                return None;
            }
            step = step.or(Some(*stride));
            next = stride * dim;
        }
        let count = leading.iter().product();
        match step {
            None => Some((1, self.row_stride())),
            Some(step) => (step * count == self.row_stride()).then_some((count, step)),
        }
    }
}

pub(super) fn strides_of(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// Several views of the same dimensions, walked together: innermost runs of `length` numbers, in which each view has its own
/// distance from number to number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk<const VIEWS: usize> {
    /// Outer axes: how long, and how far apart in each view. The first one is that of the rows, as long as the block; if
    /// there is none, the runs are along the rows.
    axes: Vec<(usize, [usize; VIEWS])>,
    offsets: [usize; VIEWS],
    pub(super) length: usize,
    pub(super) steps: [usize; VIEWS],
}

impl<const VIEWS: usize> Walk<VIEWS> {
    /// Axes that all views pass as if they were one are one.
    pub(super) fn new(views: [&View; VIEWS]) -> Self {
        let dims = &views[0].dims;
        let mut axes: Vec<(usize, [usize; VIEWS])> = Vec::new();
        for (axis, dim) in dims.iter().enumerate().filter(|(_, dim)| **dim != 1) {
            let strides = views.map(|view| view.strides[axis]);
            match axes.last_mut() {
                Some((length, before)) if (0..VIEWS).all(|at| before[at] == strides[at] * dim) => {
                    *length *= dim;
                    *before = strides;
                }
                _ => axes.push((*dim, strides)),
            }
        }
        axes.insert(0, (0, views.map(View::row_stride)));
        // Of single numbers, the rows are the innermost axis.
        let (length, steps) = axes.pop().unwrap_or((0, [0; VIEWS]));
        Self { axes, offsets: views.map(|view| view.offset), length, steps }
    }

    /// Calls `take` with where each run starts in each view, for `rows` rows.
    pub(super) fn run(&self, rows: usize, mut take: impl FnMut([usize; VIEWS], usize)) {
        if self.axes.is_empty() {
            take(self.offsets, rows);
            return;
        }
        if self.length == 0 || rows == 0 || self.axes[1..].iter().any(|(length, _)| *length == 0) {
            return;
        }
        // Rows that lie one behind the other are one run.
        if let [(_, strides)] = &self.axes[..]
            && (0..VIEWS).all(|at| strides[at] == self.length * self.steps[at] && self.steps[at] == 1)
        {
            take(self.offsets, self.length * rows);
            return;
        }
        let mut at = self.offsets;
        let mut counts = [0_usize; MOST_AXES];
        loop {
            take(at, self.length);
            let mut axis = self.axes.len();
            loop {
                let Some(next) = axis.checked_sub(1) else { return };
                axis = next;
                let (length, strides) = &self.axes[axis];
                let length = if axis == 0 { rows } else { *length };
                counts[axis] += 1;
                (0..VIEWS).for_each(|view| at[view] += strides[view]);
                if counts[axis] < length {
                    break;
                }
                (0..VIEWS).for_each(|view| at[view] -= strides[view] * length);
                counts[axis] = 0;
            }
        }
    }
}

/// More axes than values may have.
pub(super) const MOST_AXES: usize = 10;
