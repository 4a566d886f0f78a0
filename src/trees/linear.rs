//! Leaves that are not one number, but a linear function of the row.

use std::ops::Range;

use super::single;

/// A linear function: a constant, and columns with their coefficients.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinearLeaf {
    /// What it is where all columns are 0.
    pub constant: f64,
    /// Columns and their coefficients, in the order in which they are added.
    pub terms: Vec<(u32, f64)>,
}

/// The functions of all trees that have them.
#[derive(Debug, Default)]
pub(super) struct Linear {
    /// For each tree its leaves; none for a tree whose leaves are numbers.
    trees: Vec<Range<usize>>,
    /// For each leaf its constant and its terms.
    leaves: Vec<(f64, Range<usize>)>,
    terms: Vec<(u32, f64)>,
}

impl Linear {
    /// Adds what tree `number` has for each of its leaves.
    pub(super) fn push(&mut self, number: usize, leaves: &[LinearLeaf], features: usize) -> Result<(), String> {
        for (leaf, LinearLeaf { constant, terms }) in leaves.iter().enumerate() {
            if let Some((column, _)) = terms.iter().find(|(column, _)| *column as usize >= features) {
                return Err(format!("has column {column} in leaf {leaf}, but the model has {features}"));
            }
            if !constant.is_finite() || terms.iter().any(|(_, factor)| !factor.is_finite()) {
                return Err(format!("has a coefficient in leaf {leaf} that is no finite number"));
            }
        }
        let first = self.leaves.len();
        for LinearLeaf { constant, terms } in leaves {
            let start = self.terms.len();
            self.terms.extend_from_slice(terms);
            self.leaves.push((*constant, start..self.terms.len()));
        }
        self.trees.resize(number, 0..0);
        self.trees.push(first..self.leaves.len());
        Ok(())
    }

    fn terms(&self, tree: usize, leaf: u32) -> Option<(f64, &[(u32, f64)])> {
        let leaves = self.trees.get(tree).filter(|leaves| !leaves.is_empty())?;
        let (constant, terms) = &self.leaves[leaves.start + leaf as usize];
        Some((*constant, &self.terms[terms.clone()]))
    }

    /// The function's value, as `LightGBM` computes it; nothing if the leaf is a number, or if one of the columns is
    /// missing, where the leaf's number counts.
    pub(super) fn value(&self, tree: usize, leaf: u32, row: &[f64]) -> Option<f64> {
        let (mut value, terms) = self.terms(tree, leaf)?;
        for (column, factor) in terms {
            let number = row[*column as usize];
            if number.is_nan() {
                return None;
            }
            value += factor * number;
        }
        Some(value)
    }

    /// Adds the terms one by one in float32, as `XGBoost` does, which leaves those of missing numbers out.
    pub(super) fn add_single(&self, tree: usize, leaf: u32, row: &[f64], sum: f64) -> Option<f64> {
        let (_, terms) = self.terms(tree, leaf)?;
        let present = terms.iter().map(|(column, factor)| row[*column as usize] * factor);
        Some(present.filter(|product| !product.is_nan()).fold(sum, |sum, product| single(sum + single(product))))
    }
}
