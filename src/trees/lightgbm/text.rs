//! `LightGBM`'s text format, as `Booster.save_model` writes it (versions 2 to 4). Keys are those of `src/io/tree.cpp`.

use std::io::BufRead;
use std::ops::Range;
use std::str::FromStr;

use super::{Head, Tree, bad, rule};
use crate::error::{Error, ErrorKind, Result};
use crate::trees::document::natural;
use crate::trees::{Builder, Contributions, LinearLeaf, Split, TreeModel};

/// Keys before the first tree.
const HEAD: [&str; 5] = ["max_feature_idx", "num_tree_per_iteration", "objective", "average_output", "feature_names"];
/// Keys of a tree; about as many again are statistics of the training.
const TREE: [&str; 14] = [
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
    "leaf_const",
    "num_features",
    "leaf_features",
    "leaf_coeff",
];

/// What each split and leaf covered in the training: only explanations need it.
const COVERS: [&str; 2] = ["internal_count", "leaf_count"];

/// The lines of one block that are needed.
///
/// Not a map of texts: for each tree, that took a quarter of what reading takes, which a cold process waits for.
#[derive(Debug, Default)]
struct Block {
    /// Values, one after the other.
    text: String,
    /// Keys and where their values are.
    lines: Vec<(&'static str, Range<usize>)>,
}

impl Block {
    fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn push(&mut self, key: &'static str, value: &[u8]) {
        let start = self.text.len();
        match std::str::from_utf8(value) {
            Ok(value) => self.text.push_str(value),
            Err(_) => self.text.push_str(&String::from_utf8_lossy(value)),
        }
        self.lines.push((key, start..self.text.len()));
    }

    /// The value of a key; of several the last one.
    fn get(&self, key: &str) -> Option<&str> {
        let (_, place) = self.lines.iter().rev().find(|(known, _)| *known == key)?;
        self.text.get(place.clone())
    }
}

/// Reads a model line by line, so that of a large file no more than a tree is in memory.
pub fn read_lightgbm(source: impl BufRead, subject: &str) -> Result<TreeModel> {
    read(source, subject, false)?.finish()
}

/// Reads what explains a model's scores.
pub fn explain_lightgbm(source: impl BufRead, subject: &str) -> Result<Contributions> {
    read(source, subject, true)?.trees.finish_explained()
}

/// Reads a model whose trees are still open to what is to be done with them.
pub(in crate::trees) fn read(mut source: impl BufRead, subject: &str, explains: bool) -> Result<TreeModel<Builder>> {
    let (mut line, mut lines) = (Vec::new(), Block::default());
    let mut goes_on = block(&mut source, &mut line, &HEAD, &mut lines, subject)?;
    let head = Head {
        last_feature: number(&lines, "max_feature_idx", subject)?,
        trees_per_iteration: number(&lines, "num_tree_per_iteration", subject)?,
        objective: lines.get("objective").unwrap_or_default().to_owned(),
        averages: lines.get("average_output").is_some(),
        names: lines.get("feature_names").map(|names| names.split(' ').map(str::to_owned).collect()),
    };
    let mut builder = head.builder(explains, subject)?;
    let keys = if explains { [&TREE[..], &COVERS].concat() } else { TREE.to_vec() };
    while goes_on {
        goes_on = block(&mut source, &mut line, &keys, &mut lines, subject)?;
        tree(&lines, subject)?.push(head.trees_per_iteration, &mut builder)?;
    }
    head.model(builder, subject)
}

/// Puts the lines of `keys` up to the next tree into `block`; says whether there is one.
fn block(
    source: &mut impl BufRead,
    line: &mut Vec<u8>,
    keys: &[&'static str],
    block: &mut Block,
    subject: &str,
) -> Result<bool> {
    block.clear();
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
            b"Tree" => return Ok(true),
            // What follows are importances and parameters of the training.
            b"end of trees" => return Ok(false),
            _ => {
                if let Some(known) = keys.iter().find(|known| known.as_bytes() == key) {
                    block.push(known, value);
                }
            }
        }
    }
}

fn number<T: FromStr>(block: &Block, key: &str, subject: &str) -> Result<T> {
    let text = block.get(key).ok_or_else(|| bad(subject, &format!("`{key}` is missing")))?;
    text.parse().map_err(|_| bad(subject, &format!("`{key}` is {text:?}, expected a whole number")))
}

/// A list; one that is left out is empty.
fn list<T: FromStr>(block: &Block, key: &str, subject: &str) -> Result<Vec<T>> {
    let text = block.get(key).unwrap_or_default();
    let spaces = text.bytes().filter(|byte| *byte == b' ').count();
    // A number and a space are two bytes at least.
    let mut numbers = Vec::with_capacity(spaces.min(text.len() / 2) + 1);
    for item in text.split_ascii_whitespace() {
        let number = item.parse().map_err(|_| bad(subject, &format!("`{key}` has {item:?}, expected a number")))?;
        numbers.push(number);
    }
    Ok(numbers)
}

fn tree(block: &Block, subject: &str) -> Result<Tree> {
    let leaves: Vec<f64> = list(block, "leaf_value", subject)?;
    let declared: usize = number(block, "num_leaves", subject)?;
    if leaves.len() != declared {
        let problem = format!("`num_leaves` is {declared}, but `leaf_value` has {} numbers", leaves.len());
        return Err(bad(subject, &problem));
    }
    let is_linear = block.get("is_linear").is_some_and(|value| value != "0");
    let functions = if is_linear { functions(block, declared, subject)? } else { Vec::new() };
    let covers = [list(block, COVERS[0], subject)?, list(block, COVERS[1], subject)?];
    let one = Tree { leaves, functions, covers, ..Tree::default() };
    if declared <= 1 {
        return Ok(one);
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
        let (children, threshold) = ([left[index], right[index]], thresholds[index]);
        let rule = rule(decisions[index], || set_number(threshold)).map_err(|problem| bad(subject, &problem))?;
        splits.push(Split { feature, threshold, rule, children });
    }
    Ok(Tree { splits, sets: categories(block, subject)?, ..one })
}

/// Leaves that are functions: the columns and coefficients of one leaf follow those of the other.
fn functions(block: &Block, leaves: usize, subject: &str) -> Result<Vec<LinearLeaf>> {
    let constants: Vec<f64> = list(block, "leaf_const", subject)?;
    let counts: Vec<usize> = list(block, "num_features", subject)?;
    let mut columns = list::<u32>(block, "leaf_features", subject)?.into_iter();
    let mut factors = list::<f64>(block, "leaf_coeff", subject)?.into_iter();
    if [constants.len(), counts.len()] != [leaves; 2]
        || columns.len() != factors.len()
        || counts.iter().try_fold(0_usize, |sum, count| sum.checked_add(*count)) != Some(columns.len())
    {
        let problem = format!(
            "a tree of {leaves} linear leaves has {} columns and {} coefficients for {} constants and {} counts",
            columns.len(),
            factors.len(),
            constants.len(),
            counts.len()
        );
        return Err(bad(subject, &problem));
    }
    let of_leaf = |(constant, count)| {
        let terms = columns.by_ref().zip(factors.by_ref()).take(count).collect();
        LinearLeaf { constant, terms }
    };
    Ok(constants.into_iter().zip(counts).map(of_leaf).collect())
}

/// Where a split by categories would have its threshold, it has the number of its set.
fn set_number(threshold: f64) -> std::result::Result<u32, String> {
    natural(threshold).ok_or_else(|| format!("`threshold` has {threshold} for a set of categories"))
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
