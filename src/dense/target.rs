//! Where products go: some columns of the rows of a matrix, which threads may fill side by side.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

/// Rows of a matrix, or some columns of them, for one who writes: `row` is at `start + row * stride`.
///
/// Whoever has one may write all of its numbers and nothing else, and no two targets of the same memory have a number in
/// common: a slice of `&mut` cannot say this, as columns of one row lie between those of another.
#[derive(Debug)]
pub struct Target<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    lent: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is the only way to its numbers while it lives, as `&'a mut [f32]` is, which may go to another thread.
unsafe impl Send for Target<'_> {}

impl<'a> Target<'a> {
    /// Rows of `columns` numbers, one every `stride`.
    ///
    /// # Panics
    /// If they are not all there, or overlap.
    pub fn new(numbers: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows < 2 || columns <= stride, "rows overlap");
        let last = rows.checked_sub(1).map_or(Some(0), |last| last.checked_mul(stride)?.checked_add(columns));
        assert!(last.is_some_and(|last| last <= numbers.len()), "rows are not all there");
        Self { start: numbers.as_mut_ptr(), rows, columns, stride, lent: PhantomData }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The columns before `at`, and the others.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        assert!(at <= self.columns);
        let rest = Self { start: self.start.wrapping_add(at), columns: self.columns - at, ..self };
        (Self { columns: at, ..self }, rest)
    }

    /// The rows before `at`, and the others.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn split_rows(self, at: usize) -> (Self, Self) {
        assert!(at <= self.rows);
        let rest = Self { start: self.start.wrapping_add(at * self.stride), rows: self.rows - at, ..self };
        (Self { rows: at, ..self }, rest)
    }

    /// Some of it, for a while.
    pub(super) fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> Target<'_> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        let start = self.start.wrapping_add(rows.start * self.stride + columns.start);
        Target { start, rows: rows.len(), columns: columns.len(), stride: self.stride, lent: PhantomData }
    }

    /// The numbers of a row.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: there is such a row, whose columns were in the memory that `new` was given and are in no other target.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(row * self.stride), self.columns) }
    }

    /// Where the first row begins, and how far it is to the next one's: of each row, as many numbers as there are columns may be
    /// read and written. For loops that an assertion in them would keep from being unrolled.
    pub(super) fn raw(&mut self) -> (*mut f32, usize) {
        (self.start, self.stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_nothing_in_common() {
        let mut numbers = vec![0.0; 3 * 7];
        let whole = Target::new(&mut numbers, 3, 5, 7);
        let (left, right) = whole.split_columns(2);
        let (top, bottom) = right.split_rows(1);
        assert_eq!((top.rows(), top.columns(), bottom.rows(), bottom.columns()), (1, 3, 2, 3));
        std::thread::scope(|scope| {
            for (number, mut target) in [left, top, bottom].into_iter().enumerate() {
                scope.spawn(move || {
                    for row in 0..target.rows() {
                        target.row(row).fill(f32::from(u8::try_from(number).unwrap()) + 1.0);
                    }
                });
            }
        });
        let expected = [
            [1.0, 1.0, 2.0, 2.0, 2.0, 0.0, 0.0],
            [1.0, 1.0, 3.0, 3.0, 3.0, 0.0, 0.0],
            [1.0, 1.0, 3.0, 3.0, 3.0, 0.0, 0.0],
        ];
        assert_eq!(numbers, expected.concat());
        let mut whole = Target::new(&mut numbers, 3, 5, 7);
        whole.part(1..3, 4..5).row(1).fill(9.0);
        assert_eq!((numbers[18], numbers.iter().filter(|number| **number > 8.0).count()), (9.0, 1));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (length, rows, columns, stride) in [
            (20, 3, 7, 7),
            (21, 3, 7, 6),
            (0, 1, 1, 1),
            // What overflows.
            (20, 3, 7, 1 << (usize::BITS - 1)),
            (20, 2, 7, usize::MAX),
        ] {
            let made = std::panic::catch_unwind(|| Target::new(&mut vec![0.0; length], rows, columns, stride).rows());
            let reason = made.unwrap_err().downcast_ref::<&str>().copied();
            // Not that of an overflow, which only development builds have.
            assert!(
                matches!(reason, Some("rows overlap" | "rows are not all there")),
                "{length} {rows} {columns} {stride}: {reason:?}"
            );
        }
        assert_eq!(Target::new(&mut [], 0, 5, 5).rows(), 0);
        assert_eq!(Target::new(&mut [0.0; 5], 1, 5, 0).columns(), 5);
    }
}
