//! Reads `LightGBM`'s models: its text (`text`) and its JSON (`dump`).
//!
//! The meaning of `decision_type` is that of `src/io/tree.cpp` and `include/LightGBM/tree.h` of `LightGBM` 4; links are those
//! of `ConvertOutput` in `src/objective`.

mod dump;
mod text;

use super::{Answer, Builder, Covers, LinearLeaf, Link, Precision, Rule, Split, TreeModel};
use crate::error::{Error, ErrorKind, Result};

pub use dump::{explain_lightgbm_dump, read_lightgbm_dump};
pub(super) use text::read as read_text;
pub use text::{explain_lightgbm, read_lightgbm};

/// More outputs than any model has; above it the number is taken for a broken file.
const MOST_OUTPUTS: usize = 1 << 16;

/// What a file says before its trees.
#[derive(Debug, Default)]
struct Head {
    /// An `int` there.
    last_feature: u32,
    trees_per_iteration: usize,
    objective: String,
    /// Whether answers are means over the trees, as those of a random forest.
    averages: bool,
    names: Option<Vec<String>>,
}

/// One tree.
#[derive(Debug, Default)]
struct Tree {
    splits: Vec<Split>,
    leaves: Vec<f64>,
    sets: Vec<Vec<u32>>,
    /// What leaves are in the place of numbers; empty, or one for each.
    functions: Vec<LinearLeaf>,
    /// Rows of the training that came to each split and leaf.
    covers: [Vec<f64>; 2],
}

impl Head {
    /// What collects the trees.
    fn builder(&self, explains: bool, subject: &str) -> Result<Builder> {
        let features = self.last_feature.min(i32::MAX.unsigned_abs()) as usize + 1;
        let outputs = self.trees_per_iteration;
        if !(1..=MOST_OUTPUTS).contains(&outputs) {
            return Err(bad(subject, &format!("has `num_tree_per_iteration={outputs}`, expected 1 to {MOST_OUTPUTS}")));
        }
        let link = link(&self.objective, subject)?;
        let mut builder = Builder::new(subject, features, outputs, link);
        builder.take_near_zero_for_zero();
        if explains {
            builder.explain();
        }
        Ok(builder)
    }

    /// The model, once all trees are there.
    fn model(self, mut trees: Builder, subject: &str) -> Result<TreeModel<Builder>> {
        let (outputs, count) = (self.trees_per_iteration, trees.len());
        if !count.is_multiple_of(outputs) {
            return Err(bad(subject, &format!("has {count} trees, expected a multiple of {outputs}")));
        }
        if self.averages && !trees.is_empty() {
            trees.average_over(u32::try_from(count / outputs).unwrap_or(u32::MAX));
        }
        let features = self.last_feature as usize + 1;
        Ok(TreeModel {
            trees,
            features: self.names.filter(|names| names.len() == features),
            columns: None,
            input: Precision::Double,
            output: Precision::Double,
            answer: Answer::Values,
        })
    }
}

impl Tree {
    /// Adds it to the others; each is for the next output.
    fn push(&self, outputs: usize, builder: &mut Builder) -> Result<()> {
        let Self { splits, leaves, sets, functions, covers: [of_splits, of_leaves] } = self;
        let output = builder.len() % outputs;
        if functions.iter().any(|function| !function.terms.is_empty()) {
            return builder.push_linear(output, splits, leaves, sets, functions);
        }
        // Functions of nothing, as those of the first tree, are numbers: not always those that the leaves have as well.
        let constants: Vec<f64> = functions.iter().map(|function| function.constant).collect();
        let leaves = if constants.is_empty() { leaves } else { &constants };
        builder.push(output..output + 1, splits, leaves, sets)?;
        if builder.explains() {
            builder.cover(Covers { splits: of_splits, leaves: of_leaves })?;
        }
        Ok(())
    }
}

fn bad(subject: &str, problem: &str) -> Error {
    let fix = "the file is truncated or corrupt; write it again with `Booster.save_model`";
    Error::new(ErrorKind::Model, subject, format!("not a valid LightGBM model: {problem}"), fix)
}

fn unsupported(subject: &str, what: &str) -> Error {
    let fix = "convert the model to ONNX, for example with onnxmltools";
    Error::new(ErrorKind::Unsupported, subject, format!("uses {what}, which is not read from LightGBM's files"), fix)
}

/// What a split does with missing numbers, by bits. Bit 0: categorical. Bit 1: missing goes left. Bits 2 and 3: what is
/// missing (nothing, zero, NaN). A split by categories has the number of its set.
fn rule(decision: u8, set: impl FnOnce() -> std::result::Result<u32, String>) -> std::result::Result<Rule, String> {
    let goes_left = decision & 2 != 0;
    Ok(match (decision & 1, decision >> 2) {
        (1, _) => Rule::Categories(set()?),
        (_, 0) => Rule::MissingIsZero,
        (_, 1) if goes_left => Rule::ZeroLeft,
        (_, 1) => Rule::ZeroRight,
        (_, 2) if goes_left => Rule::MissingLeft,
        (_, 2) => Rule::MissingRight,
        _ => return Err(format!("`decision_type` has {decision}")),
    })
}

fn link(objective: &str, subject: &str) -> Result<Link> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or("custom");
    let (mut factor, mut is_root) = (1.0_f64, false);
    for word in words {
        is_root |= word == "sqrt";
        if let Some(text) = word.strip_prefix("sigmoid:") {
            let finite = text.parse().ok().filter(|factor: &f64| factor.is_finite());
            factor = finite.ok_or_else(|| bad(subject, &format!("`objective` is {objective:?}")))?;
        }
    }
    Ok(match name {
        _ if is_root => Link::SignedSquare,
        "custom" | "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
        | "rank_xendcg" => Link::Identity,
        "poisson" | "gamma" | "tweedie" => Link::Exp,
        "binary" | "multiclassova" => Link::Sigmoid(factor),
        "cross_entropy" => Link::Sigmoid(1.0),
        "cross_entropy_lambda" => Link::SoftPlus,
        "multiclass" => Link::Softmax,
        other => return Err(unsupported(subject, &format!("the objective `{other}`"))),
    })
}
