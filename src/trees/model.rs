//! What a tree library's own file holds: trees, and what is made of their sums.

use super::categories::Column;
use super::{Builder, Ensemble};
use crate::error::Result;

/// Floats of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    Single,
    /// float64.
    Double,
}

/// Names of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Text.
    Texts(Vec<String>),
}

/// How the class of a row is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    /// The first of the largest.
    Largest,
    /// The second class where the one number is larger than this.
    Beyond(f64),
    /// The second class where the one number is at least this.
    AtLeast(f64),
    /// Of each column, 1 where it is larger than this, and else 0.
    EachBeyond(f64),
}

/// What a model answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What the link makes of the sums.
    Values,
    /// The number of the class with the largest sum, as a float.
    ClassNumber,
    /// The class's label, and then what the link makes of the sums.
    Label {
        /// Classes in the order of the columns.
        labels: Labels,
        /// How the class is chosen.
        choice: Choice,
        /// Whether it is chosen by the sums themselves, not by what the link makes of them.
        by_sums: bool,
    },
}

/// A model as its file has it.
#[derive(Debug)]
pub struct TreeModel<Trees = Ensemble> {
    /// Its trees, with links.
    pub trees: Trees,
    /// Names of its columns.
    pub features: Option<Vec<String>>,
    /// Its columns one by one, if not all of them are numbers.
    pub columns: Option<Vec<Column>>,
    /// What rows are in.
    pub input: Precision,
    /// What answers are in.
    pub output: Precision,
    /// What it answers.
    pub answer: Answer,
}

impl TreeModel<Builder> {
    /// The model with its trees as they score.
    pub(super) fn finish(self) -> Result<TreeModel> {
        let Self { trees, features, columns, input, output, answer } = self;
        Ok(TreeModel { trees: trees.finish()?, features, columns, input, output, answer })
    }
}
