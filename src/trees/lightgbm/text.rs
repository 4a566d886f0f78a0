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

/// Digits of the longest whole number.
const MOST_DIGITS: usize = 18;

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

/// A list of about `count` numbers; one that is left out is empty.
fn list<T: FromStr>(block: &Block, key: &str, count: usize, subject: &str) -> Result<Vec<T>> {
    let text = block.get(key).unwrap_or_default();
    let mut numbers = Vec::with_capacity(most(text, count));
    for item in text.split_ascii_whitespace() {
        numbers.push(item.parse().map_err(|_| unexpected(key, item, subject))?);
    }
    Ok(numbers)
}

/// The same of whole numbers. Cut into texts first, as above, they took twice the time: there are five for each split.
fn whole<T: TryFrom<i64>>(block: &Block, key: &str, count: usize, subject: &str) -> Result<Vec<T>> {
    let text = block.get(key).unwrap_or_default();
    let mut numbers = Vec::with_capacity(most(text, count));
    let mut rest = text.as_bytes().trim_ascii_start();
    while !rest.is_empty() {
        let (sign, digits) = rest.strip_prefix(b"-").map_or((1, rest), |digits| (-1, digits));
        let (mut number, mut length) = (0, 0);
        while let Some(digit @ b'0'..=b'9') = digits.get(length)
            && length < MOST_DIGITS
        {
            number = number * 10 + i64::from(digit - b'0');
            length += 1;
        }
        let is_whole = length > 0 && digits.get(length).is_none_or(u8::is_ascii_whitespace);
        let number = Some(sign * number).filter(|_| is_whole).and_then(|number| T::try_from(number).ok());
        numbers.push(number.ok_or_else(|| {
            let item = text[text.len() - rest.len()..].split_ascii_whitespace().next();
            unexpected(key, item.unwrap_or_default(), subject)
        })?);
        rest = digits[length..].trim_ascii_start();
    }
    Ok(numbers)
}

/// Room for `count` numbers, if there may be as many: a number and a space are two bytes at least.
fn most(text: &str, count: usize) -> usize {
    count.min(text.len() / 2 + 1)
}

fn unexpected(key: &str, item: &str, subject: &str) -> Error {
    bad(subject, &format!("`{key}` has {item:?}, expected a number"))
}

fn tree(block: &Block, subject: &str) -> Result<Tree> {
    let declared: usize = number(block, "num_leaves", subject)?;
    let leaves: Vec<f64> = list(block, "leaf_value", declared, subject)?;
    if leaves.len() != declared {
        let problem = format!("`num_leaves` is {declared}, but `leaf_value` has {} numbers", leaves.len());
        return Err(bad(subject, &problem));
    }
    let is_linear = block.get("is_linear").is_some_and(|value| value != "0");
    let functions = if is_linear { functions(block, declared, subject)? } else { Vec::new() };
    let covers = [list(block, COVERS[0], declared, subject)?, list(block, COVERS[1], declared, subject)?];
    let one = Tree { leaves, functions, covers, ..Tree::default() };
    if declared <= 1 {
        return Ok(one);
    }
    let features: Vec<u32> = whole(block, "split_feature", declared, subject)?;
    let thresholds: Vec<f64> = list(block, "threshold", declared, subject)?;
    let decisions: Vec<u8> = whole(block, "decision_type", declared, subject)?;
    let left: Vec<i32> = whole(block, "left_child", declared, subject)?;
    let right: Vec<i32> = whole(block, "right_child", declared, subject)?;
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
    let constants: Vec<f64> = list(block, "leaf_const", leaves, subject)?;
    let counts: Vec<usize> = list(block, "num_features", leaves, subject)?;
    let mut columns = whole::<u32>(block, "leaf_features", leaves, subject)?.into_iter();
    let mut factors = list::<f64>(block, "leaf_coeff", leaves, subject)?.into_iter();
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
    let bounds: Vec<usize> = list(block, "cat_boundaries", 0, subject)?;
    let bits: Vec<u32> = whole(block, "cat_threshold", 0, subject)?;
    let set = |ends: &[usize]| {
        let set = bits.get(ends[0]..ends[1]).map(<[u32]>::to_vec);
        set.ok_or_else(|| bad(subject, "`cat_boundaries` does not fit `cat_threshold`"))
    };
    bounds.windows(2).map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_to_what_is_none() {
        let long = "1234567890123456789";
        // (text, numbers or what is none)
        let cases: [(&str, Result<&[i32], &str>); 11] = [
            ("", Ok(&[])),
            (" ", Ok(&[])),
            ("7", Ok(&[7])),
            ("0 -1  25 -2147483648 2147483647 ", Ok(&[0, -1, 25, i32::MIN, i32::MAX])),
            ("1 2147483648 2", Err("2147483648")),
            ("1 2.5", Err("2.5")),
            ("1 1e3", Err("1e3")),
            ("-", Err("-")),
            ("1 - 2", Err("-")),
            ("x1", Err("x1")),
            (long, Err(long)),
        ];
        for (text, expected) in cases {
            let mut block = Block::default();
            block.push("left_child", text.as_bytes());
            match (whole::<i32>(&block, "left_child", 3, "model"), expected) {
                (Ok(numbers), Ok(expected)) => assert_eq!(numbers, expected, "{text:?}"),
                (Err(error), Err(item)) => {
                    assert!(error.to_string().contains(&format!("`left_child` has {item:?}, expected")), "{error}");
                }
                (got, _) => panic!("{text:?}: {got:?}"),
            }
        }
        assert!(whole::<u8>(&Block::default(), "decision_type", usize::MAX, "model").is_ok_and(|list| list.is_empty()));
    }
}
