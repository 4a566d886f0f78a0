//! Trees that are collected, each checked when it comes, until they are an ensemble.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

use super::columns::Thresholds;
use super::contributions::{Collected, Contributions, Covers};
use super::linear::{Linear, LinearLeaf};
use super::link::Link;
use super::rows::WholeColumns;
use super::tree::{self, Split};
use super::votes::Poll;
use super::walk::Forest;
use super::words::Words;
use super::{Ensemble, Sums, ZERO};
use crate::error::{Error, ErrorKind, Result};

/// Collects trees.
#[derive(Debug)]
pub struct Builder {
    subject: String,
    features: usize,
    outputs: usize,
    link: Link,
    divisor: f64,
    is_near_zero_zero: bool,
    whole: WholeColumns,
    refuses_negative_categories: bool,
    sums: Sums,
    thresholds: Thresholds,
    forest: Forest,
    linear: Option<Linear>,
    /// Trees with covers, where scores are to be explained and not made.
    explained: Option<Collected>,
    leaf_numbers: Vec<Box<[u32]>>,
}

impl Builder {
    /// No trees; `subject` names the model in errors.
    pub fn new(subject: &str, features: usize, outputs: usize, link: Link) -> Self {
        let subject = subject.to_owned();
        let (thresholds, forest) = (Thresholds::default(), Forest::default());
        Self {
            subject,
            features,
            outputs,
            link,
            divisor: 1.0,
            is_near_zero_zero: false,
            whole: WholeColumns::default(),
            refuses_negative_categories: false,
            sums: Sums { start: vec![0.0; outputs], are_single: false, change: None },
            thresholds,
            forest,
            linear: None,
            explained: None,
            leaf_numbers: Vec::new(),
        }
    }

    /// Trees are to explain scores, and need covers: [`Self::cover`] follows each [`Self::push`].
    pub fn explain(&mut self) {
        self.explained = Some(Collected::default());
    }

    /// Whether covers are wanted.
    pub fn explains(&self) -> bool {
        self.explained.is_some()
    }

    /// About so many nodes come, leaves among them: lists that grow are copied, and leave what they took before.
    pub fn reserve(&mut self, nodes: usize) {
        if !self.explains() {
            self.forest.reserve(nodes, nodes / 2);
            self.thresholds.reserve(nodes / 2);
        }
    }

    /// Numbers that a row gets.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Trees so far.
    pub fn len(&self) -> usize {
        self.explained.as_ref().map_or(self.forest.len(), Collected::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Outputs are means over this many trees.
    pub fn average_over(&mut self, trees: u32) {
        self.divisor = f64::from(trees);
    }

    /// Numbers within 1e-35 of zero are zero, as in `LightGBM`, which leaves them out of dense rows before any tree
    /// sees them.
    pub fn take_near_zero_for_zero(&mut self) {
        self.is_near_zero_zero = true;
    }

    /// Fractions and negative numbers are missing in these columns.
    pub fn miss_fractions(&mut self, columns: Vec<usize>) {
        self.whole = WholeColumns(columns);
    }

    /// Numbers between -1 and 0 are no category; else their fraction is cut off.
    pub fn refuse_negative_categories(&mut self) {
        self.refuses_negative_categories = true;
    }

    /// Sums are multiplied by `scale` in the end, and get one number of `bias` for each output.
    pub fn scale_and_add(&mut self, scale: f64, bias: &[f64]) {
        #[allow(clippy::float_cmp, reason = "any other number changes something")]
        let changes = scale != 1.0 || bias.iter().any(|bias| *bias != 0.0);
        self.sums.change = changes.then(|| (scale, bias.to_vec()));
    }

    /// Sums begin with `start`, one number for each output.
    pub fn start_with(&mut self, start: &[f64]) {
        self.sums.start = start.to_vec();
    }

    /// Sums begin with `start`, one number for each output, and are rounded to float32 after each tree.
    pub fn add_as_float32(&mut self, start: &[f64]) {
        self.sums = Sums { start: start.to_vec(), are_single: true, change: None };
    }

    /// Adds a tree. Its first node is the root; without nodes it is its one leaf. Each leaf has a number for each of the
    /// `to` outputs. Sets of categories have a bit for each whole number.
    pub fn push(&mut self, to: Range<usize>, splits: &[Split], leaves: &[f64], categories: &[Vec<u32>]) -> Result<()> {
        let number = self.len();
        let outputs = self.outputs;
        let has_outputs = if to.end <= outputs && !to.is_empty() {
            Ok(())
        } else {
            Err(format!("adds to the outputs {to:?}, but the model has {outputs}"))
        };
        has_outputs
            .and_then(|()| tree::check(splits, leaves, to.len(), categories.len(), self.features))
            .and_then(|()| match &mut self.explained {
                Some(explained) => {
                    explained.push(&to, splits, leaves, categories);
                    Ok(())
                }
                None => self.forest.push(splits, leaves, categories, &to, &mut self.thresholds),
            })
            .map_err(|problem| self.bad_tree(number, &problem))
    }

    /// What the last tree covered in the training.
    pub fn cover(&mut self, covers: Covers<'_>) -> Result<()> {
        let number = self.len().saturating_sub(1);
        let covered = self.explained.as_mut().map_or(Ok(()), |explained| explained.cover(covers));
        covered.map_err(|problem| self.bad_tree(number, &problem))
    }

    /// What the library calls the leaves of the last tree; if of one tree, then of all.
    pub fn number_leaves(&mut self, numbers: Vec<u32>) {
        self.leaf_numbers.push(numbers.into());
    }

    fn bad_tree(&self, number: usize, problem: &str) -> Error {
        let fix = "save the model again, and copy the file whole";
        Error::new(ErrorKind::Model, &self.subject, format!("tree {number} {problem}"), fix)
    }

    /// What explains the scores of the trees.
    pub fn finish_explained(self) -> Result<Contributions> {
        let Self { subject, features, divisor, is_near_zero_zero, whole, sums, explained, .. } = self;
        let mut explained = explained.unwrap_or_default();
        if self.refuses_negative_categories {
            explained.refuse_negative_categories();
        }
        let made = explained.finish(features, &sums, divisor, (is_near_zero_zero, whole));
        let fix = "save the model again with the library that trained it";
        made.map_err(|problem| Error::new(ErrorKind::Model, subject, problem, fix))
    }

    /// Adds a tree for one output whose leaves are linear functions of the row; `leaves` are what counts where one of a
    /// function's columns is missing.
    ///
    /// In an ensemble of float32, functions are added term by term, without those of missing numbers and without constants.
    pub fn push_linear(
        &mut self,
        to: usize,
        splits: &[Split],
        leaves: &[f64],
        categories: &[Vec<u32>],
        functions: &[LinearLeaf],
    ) -> Result<()> {
        if self.explains() {
            let problem = "has no `contributions`: its leaves are linear functions of the row";
            let fix = "train trees whose leaves are numbers";
            return Err(Error::new(ErrorKind::Unsupported, &self.subject, problem, fix));
        }
        let number = self.len();
        self.push(to..to + 1, splits, leaves, categories)?;
        let fits = if functions.len() == leaves.len() {
            self.linear.get_or_insert_default().push(number, functions, self.features)
        } else {
            Err(format!("has {} leaves and {} linear functions", leaves.len(), functions.len()))
        };
        fits.map_err(|problem| self.bad_tree(number, &problem))
    }

    /// The ensemble.
    pub fn finish(self) -> Result<Ensemble> {
        let Self { subject, features, outputs, link, divisor, is_near_zero_zero, whole, sums, thresholds, .. } = self;
        let (mut forest, linear) = (self.forest, self.linear);
        let mut columns = forest.finish(thresholds, linear.is_none()).map_err(|problem| {
            Error::new(
                ErrorKind::Unsupported,
                subject,
                problem,
                "train with fewer features, or convert the model to ONNX",
            )
        })?;
        if self.refuses_negative_categories {
            columns.refuse_negative_categories();
        }
        if is_near_zero_zero {
            columns.take_for_zero(ZERO);
        }
        Ok(Ensemble {
            features,
            outputs,
            link,
            divisor,
            is_near_zero_zero,
            whole,
            sums,
            columns,
            forest,
            linear,
            leaf_numbers: self.leaf_numbers,
            blocks: OnceLock::new(),
            words: Words::default(),
            walked: AtomicUsize::new(0),
            deep: OnceLock::new(),
            tops: OnceLock::new(),
            votes: Poll::default(),
        })
    }
}
