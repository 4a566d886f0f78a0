//! What is done with rows before any tree sees them.

/// Columns in which fractions and negative numbers are missing, since only whole numbers are categories there.
#[derive(Debug, Clone, Default)]
pub(super) struct WholeColumns(pub(super) Vec<usize>);

impl WholeColumns {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes rows of so many columns.
    pub(super) fn apply(&self, rows: &mut [f64], columns: usize) {
        if self.is_empty() {
            return;
        }
        for row in rows.chunks_exact_mut(columns) {
            for column in &self.0 {
                let value = &mut row[*column];
                if *value < 0.0 || value.fract() != 0.0 {
                    *value = f64::NAN;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_category_is_missing() {
        let cases: [(&[usize], [f64; 2], [f64; 2]); 5] = [
            (&[], [-1.0, 0.5], [-1.0, 0.5]),
            (&[1], [-1.0, 0.5], [-1.0, f64::NAN]),
            (&[0, 1], [7.0, -0.0], [7.0, -0.0]),
            (&[0, 1], [-1.0, f64::NEG_INFINITY], [f64::NAN; 2]),
            (&[0], [f64::INFINITY, 1.5], [f64::NAN, 1.5]),
        ];
        for (columns, mut row, expected) in cases {
            WholeColumns(columns.to_vec()).apply(&mut row, 2);
            assert_eq!(row.map(f64::is_nan), expected.map(f64::is_nan), "{row:?}");
            let numbers = |row: [f64; 2]| row.map(|value| if value.is_nan() { 0 } else { value.to_bits() });
            assert_eq!(numbers(row), numbers(expected));
        }
    }
}
