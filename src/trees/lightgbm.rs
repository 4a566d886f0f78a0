//! Reads `LightGBM`'s text format, as `Booster.save_model` writes it (versions 2 to 4).
//!
//! Keys and the meaning of `decision_type` are those of `src/io/tree.cpp` and `include/LightGBM/tree.h` of `LightGBM` 4;
//! links those of `ConvertOutput` in `src/objective`.

use std::collections::HashMap;
use std::io::BufRead;
use std::str::FromStr;

use super::{Answer, Builder, Contributions, Covers, Link, Precision, Rule, Split, TreeModel};
use crate::error::{Error, ErrorKind, Result};

/// More outputs than any model has; above it the number is taken for a broken file.
const MOST_OUTPUTS: usize = 1 << 16;
/// Keys before the first tree.
const HEAD: [&str; 5] = ["max_feature_idx", "num_tree_per_iteration", "objective", "average_output", "feature_names"];
/// Keys of a tree; about as many again are statistics of the training.
const TREE: [&str; 10] = [
    "is_linear",
    "num_leaves",
    "leaf_value",
    "split_feature",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "cat_boundaries",
    "cat_threshold",
];

/// What each split and leaf covered in the training: only explanations need it.
const COVERS: [&str; 2] = ["internal_count", "leaf_count"];

/// The lines of one block that are needed, as keys and values.
type Block = HashMap<&'static str, String>;

/// Reads a model line by line, so that of a large file no more than a tree is in memory.
pub fn read_lightgbm(source: impl BufRead, subject: &str) -> Result<TreeModel> {
    read(source, subject, false)?.finish()
}

/// Reads what explains a model's scores.
pub fn explain_lightgbm(source: impl BufRead, subject: &str) -> Result<Contributions> {
    read(source, subject, true)?.trees.finish_explained()
}

fn read(mut source: impl BufRead, subject: &str, explains: bool) -> Result<TreeModel<Builder>> {
    let mut line = Vec::new();
    let (head, mut goes_on) = block(&mut source, &mut line, &HEAD, subject)?;
    // An `int` there.
    let last = number::<u32>(&head, "max_feature_idx", subject)?.min(i32::MAX.unsigned_abs());
    let features = last as usize + 1;
    let outputs = number::<usize>(&head, "num_tree_per_iteration", subject)?;
    if !(1..=MOST_OUTPUTS).contains(&outputs) {
        return Err(bad(subject, &format!("has `num_tree_per_iteration={outputs}`, expected 1 to {MOST_OUTPUTS}")));
    }
    let link = link(head.get("objective").map_or("", String::as_str), subject)?;
    let mut ensemble = Builder::new(subject, features, outputs, link);
    ensemble.take_near_zero_for_zero();
    let keys = if explains { [&TREE[..], &COVERS].concat() } else { TREE.to_vec() };
    if explains {
        ensemble.explain();
    }
    while goes_on {
        let lines;
        (lines, goes_on) = block(&mut source, &mut line, &keys, subject)?;
        let (splits, leaves, categories) = tree(&lines, subject)?;
        let output = ensemble.len() % outputs;
        ensemble.push(output..output + 1, &splits, &leaves, &categories)?;
        if explains {
            let [of_splits, of_leaves] = [list(&lines, COVERS[0], subject)?, list(&lines, COVERS[1], subject)?];
            ensemble.cover(Covers { splits: &of_splits, leaves: &of_leaves })?;
        }
    }
    if !ensemble.len().is_multiple_of(outputs) {
        return Err(bad(subject, &format!("has {} trees, expected a multiple of {outputs}", ensemble.len())));
    }
    if head.contains_key("average_output") && !ensemble.is_empty() {
        ensemble.average_over(u32::try_from(ensemble.len() / outputs).unwrap_or(u32::MAX));
    }
    let names = head.get("feature_names").map(|names| names.split(' ').map(str::to_owned).collect::<Vec<_>>());
    Ok(TreeModel {
        trees: ensemble,
        features: names.filter(|names| names.len() == features),
        input: Precision::Double,
        output: Precision::Double,
        answer: Answer::Values,
    })
}

/// The lines of `keys` up to the next tree, and whether there is one.
fn block(source: &mut impl BufRead, line: &mut Vec<u8>, keys: &[&'static str], subject: &str) -> Result<(Block, bool)> {
    let mut block = Block::new();
    loop {
        line.clear();
        let length = source.read_until(b'\n', line).map_err(|error| {
            let problem = format!("cannot be read: {error}");
            Error::new(ErrorKind::ModelRead, subject, problem, "check the file and its disk")
        })?;
        if length == 0 {
            return Err(bad(subject, "ends before the line `end of trees`"));
        }
        let text = line.trim_ascii_end();
        let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
        let (key, value) = (&text[..end], text.get(end + 1..).unwrap_or_default());
        match key {
            b"Tree" => return Ok((block, true)),
            // What follows are importances and parameters of the training.
            b"end of trees" => return Ok((block, false)),
            _ => {
                if let Some(known) = keys.iter().find(|known| known.as_bytes() == key) {
                    block.insert(known, String::from_utf8_lossy(value).into_owned());
                }
            }
        }
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

fn number<T: FromStr>(block: &Block, key: &str, subject: &str) -> Result<T> {
    let text = block.get(key).ok_or_else(|| bad(subject, &format!("`{key}` is missing")))?;
    text.parse().map_err(|_| bad(subject, &format!("`{key}` is {text:?}, expected a whole number")))
}

/// A list; one that is left out is empty.
fn list<T: FromStr>(block: &Block, key: &str, subject: &str) -> Result<Vec<T>> {
    let items = block.get(key).map_or("", String::as_str).split_ascii_whitespace();
    items
        .map(|item| item.parse().map_err(|_| bad(subject, &format!("`{key}` has {item:?}, expected a number"))))
        .collect()
}

type Tree = (Vec<Split>, Vec<f64>, Vec<Vec<u32>>);

fn tree(block: &Block, subject: &str) -> Result<Tree> {
    if block.get("is_linear").is_some_and(|value| value != "0") {
        return Err(unsupported(subject, "linear leaves (`linear_tree`)"));
    }
    let leaves: Vec<f64> = list(block, "leaf_value", subject)?;
    let declared: usize = number(block, "num_leaves", subject)?;
    if leaves.len() != declared {
        let problem = format!("`num_leaves` is {declared}, but `leaf_value` has {} numbers", leaves.len());
        return Err(bad(subject, &problem));
    }
    if declared <= 1 {
        return Ok((Vec::new(), leaves, Vec::new()));
    }
    let features: Vec<u32> = list(block, "split_feature", subject)?;
    let thresholds: Vec<f64> = list(block, "threshold", subject)?;
    let decisions: Vec<u8> = list(block, "decision_type", subject)?;
    let left: Vec<i32> = list(block, "left_child", subject)?;
    let right: Vec<i32> = list(block, "right_child", subject)?;
    let counts = [features.len(), thresholds.len(), decisions.len(), left.len(), right.len()];
    if counts.iter().any(|count| *count != declared - 1) {
        return Err(bad(subject, &format!("a tree of {declared} leaves has {counts:?} entries for its splits")));
    }
    let mut splits = Vec::with_capacity(features.len());
    for (index, feature) in features.into_iter().enumerate() {
        let children = [left[index], right[index]];
        let threshold = thresholds[index];
        splits.push(Split { feature, threshold, rule: rule(decisions[index], threshold, subject)?, children });
    }
    Ok((splits, leaves, categories(block, subject)?))
}

fn rule(decision: u8, threshold: f64, subject: &str) -> Result<Rule> {
    // Bit 0: categorical. Bit 1: missing goes left. Bits 2 and 3: what is missing (nothing, zero, NaN).
    let goes_left = decision & 2 != 0;
    Ok(match (decision & 1, decision >> 2) {
        (1, _) => Rule::Categories(set_number(threshold, subject)?),
        (_, 0) => Rule::MissingIsZero,
        (_, 1) if goes_left => Rule::ZeroLeft,
        (_, 1) => Rule::ZeroRight,
        (_, 2) if goes_left => Rule::MissingLeft,
        (_, 2) => Rule::MissingRight,
        _ => return Err(bad(subject, &format!("`decision_type` has {decision}"))),
    })
}

/// Where a split by categories would have its threshold, it has the number of its set.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared with what it was")]
fn set_number(threshold: f64, subject: &str) -> Result<u32> {
    let set = threshold as u32;
    let is_whole = f64::from(set).to_bits() == threshold.to_bits();
    is_whole.then_some(set).ok_or_else(|| bad(subject, &format!("`threshold` has {threshold} for a set of categories")))
}

/// Sets of categories as bits: set `i` is from `cat_boundaries[i]` to `cat_boundaries[i + 1]` of `cat_threshold`.
fn categories(block: &Block, subject: &str) -> Result<Vec<Vec<u32>>> {
    let bounds: Vec<usize> = list(block, "cat_boundaries", subject)?;
    let bits: Vec<u32> = list(block, "cat_threshold", subject)?;
    let set = |ends: &[usize]| {
        let set = bits.get(ends[0]..ends[1]).map(<[u32]>::to_vec);
        set.ok_or_else(|| bad(subject, "`cat_boundaries` does not fit `cat_threshold`"))
    };
    bounds.windows(2).map(set).collect()
}

fn link(objective: &str, subject: &str) -> Result<Link> {
    let mut words = objective.split_ascii_whitespace();
    let name = words.next().unwrap_or("custom");
    let (mut factor, mut is_root) = (1.0_f64, false);
    for word in words {
        is_root |= word == "sqrt";
        if let Some(text) = word.strip_prefix("sigmoid:") {
            factor = text.parse().map_err(|_| bad(subject, &format!("`objective` is {objective:?}")))?;
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
