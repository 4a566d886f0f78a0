//! Trees of `CatBoost`: symmetric ones, all of whose nodes of one depth split alike, and others.

use std::collections::HashMap;

use super::Categories;
use crate::trees::document::{Value, natural, whole};
use crate::trees::sets::Sets;
use crate::trees::{Rule, Split};

/// Splits by a symmetric tree's number of leaves; `CatBoost` allows 16.
const DEEPEST: usize = 24;
/// Marks the number of a feature as that of one with categories.
pub(super) const OF_CATEGORIES: u32 = 1 << 31;

/// Why a tree is not read.
#[derive(Debug)]
pub(super) enum Problem {
    Broken(String),
    /// It has this, which is not known.
    Unknown(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Broken(problem)
    }
}

/// One tree, whose splits are by features as they are counted among those of their kind.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) splits: Vec<Split>,
    /// A number for each output of each leaf.
    pub(super) leaves: Vec<f64>,
    /// What came to each split and leaf in the training.
    pub(super) covers: [Vec<f64>; 2],
    pub(super) sets: Vec<Vec<u32>>,
}

/// All trees so far.
#[derive(Debug)]
pub(super) struct Forest {
    pub(super) trees: Vec<Tree>,
    /// Of each feature that has them.
    pub(super) categories: HashMap<u32, Categories>,
    sets: Sets,
}

/// What a node asks: no is left, yes is right.
#[derive(Debug, Clone, Copy)]
enum Question {
    IsBeyond(u32, f64),
    IsCategory(u32, u32),
}

impl Forest {
    /// No trees, of a file of so many bytes.
    pub(super) fn new(file: usize) -> Self {
        Self { trees: Vec::new(), categories: HashMap::new(), sets: Sets::new(file) }
    }

    /// Adds a tree.
    pub(super) fn push(&mut self, tree: &Value) -> Result<(), Problem> {
        let tree = if tree.get("leaf_values").is_some() { self.symmetric(tree)? } else { self.other(tree)? };
        self.trees.push(tree);
        Ok(())
    }

    /// The number of a leaf is made of the answers to all questions, the first one's being its lowest bit.
    fn symmetric(&mut self, value: &Value) -> Result<Tree, Problem> {
        let leaves = value.get("leaf_values").and_then(Value::numbers);
        let leaves = leaves.ok_or_else(|| "a tree has no numbers in `leaf_values`".to_owned())?.to_vec();
        let questions = match value.get("splits") {
            Some(Value::List(splits)) => {
                splits.iter().map(|split| self.question(split)).collect::<Result<Vec<_>, _>>()?
            }
            // A tree that is one leaf.
            None | Some(Value::Nothing | Value::Numbers(_)) => Vec::new(),
            Some(_) => return Err("a tree has `splits` that are no list".to_owned().into()),
        };
        let count = 1_usize << questions.len().min(DEEPEST);
        if questions.len() > DEEPEST || leaves.is_empty() || !leaves.len().is_multiple_of(count) {
            let (leaves, splits) = (leaves.len(), questions.len());
            return Err(format!("a tree has {leaves} `leaf_values` for {splits} splits").into());
        }
        let mut tree = Tree { leaves, ..Tree::default() };
        // What each node covered depends on which question comes first: for CatBoost it is the last one. Nodes of a level are
        // numbered by the answers so far, as leaves are, and follow those of the level above.
        for (level, question) in questions.iter().rev().enumerate() {
            let split = self.split(*question, &mut tree.sets)?;
            let next = (2_i32 << level) - 1;
            for node in 0..1_i32 << level {
                let child = |answer: i32| {
                    let child = 2 * node + answer;
                    if level + 1 == questions.len() { !child } else { next + child }
                };
                tree.splits.push(Split { children: split.children.map(child), ..split });
            }
        }
        tree.covers = symmetric_covers(value, questions.len());
        Ok(tree)
    }

    /// Nodes within nodes.
    fn other(&mut self, value: &Value) -> Result<Tree, Problem> {
        let mut tree = Tree::default();
        let mut open: Vec<(&Value, Option<(usize, usize)>)> = vec![(value, None)];
        let mut leaves = 0_usize;
        while let Some((node, parent)) = open.pop() {
            let index = if let Some(split) = node.get("split") {
                let question = self.question(split)?;
                let index = tree.splits.len();
                let [left, right] = ["left", "right"].map(|side| node.get(side));
                let (left, right) =
                    left.zip(right).ok_or_else(|| "a tree has a split without two children".to_owned())?;
                let split = self.split(question, &mut tree.sets)?;
                let [no, yes] = if split.children == [0, 1] { [0, 1] } else { [1, 0] };
                tree.splits.push(split);
                let children = [(right, Some((index, yes))), (left, Some((index, no)))];
                // A leaf beside a split is a part of the node above to CatBoost, and counted before all that is below.
                let is_leaf = |node: &Value| node.get("split").is_none();
                let leaf_last = is_leaf(right) && !is_leaf(left);
                open.extend(if leaf_last { [children[1], children[0]] } else { children });
                i32::try_from(index)
            } else {
                match node.get("value") {
                    Some(Value::Number(value)) => tree.leaves.push(*value),
                    Some(Value::Numbers(values)) => tree.leaves.extend(values),
                    _ => return Err("a tree has a node without `split` and `value`".to_owned().into()),
                }
                if let Some(Value::Number(weight)) = node.get("weight") {
                    tree.covers[1].push(*weight);
                }
                leaves += 1;
                i32::try_from(leaves).map(|count| -count)
            };
            if let Some((parent, side)) = parent {
                tree.splits[parent].children[side] = index.map_err(|_| "a tree has too many nodes".to_owned())?;
            }
        }
        tree.covers[0] = split_covers(&tree);
        Ok(tree)
    }

    fn question(&mut self, split: &Value) -> Result<Question, Problem> {
        let number = |name: &str| match split.get(name) {
            Some(Value::Number(number)) => Ok(*number),
            _ => Err(format!("a split has no `{name}`")),
        };
        let feature = |name: &str| {
            let value = number(name)?;
            let feature = natural(value).filter(|feature| *feature < OF_CATEGORIES);
            feature.ok_or_else(|| format!("a split has the `{name}` {value}"))
        };
        match split.text(&["split_type"]) {
            Some("FloatFeature") => Ok(Question::IsBeyond(feature("float_feature_index")?, number("border")?)),
            Some("OneHotFeature") => {
                let feature = feature("cat_feature_index")?;
                let hash = number("value")?;
                // The JSON has them as signed numbers.
                let hash = whole(hash).map(i32::cast_unsigned).or_else(|| natural(hash));
                let hash = hash.ok_or_else(|| "a split has a `value` that is no hash".to_owned())?;
                let category = self.categories.entry(feature).or_default().number(hash);
                Ok(Question::IsCategory(feature, category))
            }
            Some(other) => Err(Problem::Unknown(format!("splits of the type `{other}`"))),
            None => Err("a split has no `split_type`".to_owned().into()),
        }
    }

    /// A split whose children are which answers they are for: what is in a set goes left here.
    fn split(&mut self, question: Question, sets: &mut Vec<Vec<u32>>) -> Result<Split, String> {
        Ok(match question {
            Question::IsBeyond(feature, threshold) => {
                Split { feature, threshold, rule: Rule::MissingLeft, children: [0, 1] }
            }
            Question::IsCategory(feature, category) => {
                let set = u32::try_from(sets.len()).map_err(|_| "a tree has too many nodes")?;
                sets.push(self.sets.of(std::iter::once(Ok(category)))?);
                let feature = feature | OF_CATEGORIES;
                Split { feature, threshold: 0.0, rule: Rule::Categories(set), children: [1, 0] }
            }
        })
    }
}

/// What came to each node of a symmetric tree; nothing if the file does not say.
fn symmetric_covers(value: &Value, depth: usize) -> [Vec<f64>; 2] {
    let weights = value.get("leaf_weights").and_then(Value::numbers).unwrap_or_default();
    if weights.len() != 1 << depth {
        return [Vec::new(), Vec::new()];
    }
    let mut levels = vec![weights.to_vec()];
    for _ in 0..depth {
        let below = &levels[levels.len() - 1];
        levels.push(below.chunks_exact(2).map(|pair| pair[0] + pair[1]).collect());
    }
    let leaves = levels.remove(0);
    [levels.into_iter().rev().flatten().collect(), leaves]
}

/// What came to each split: to its children together, which come after it.
fn split_covers(tree: &Tree) -> Vec<f64> {
    let mut covers = vec![0.0; tree.splits.len()];
    let of_leaves = &tree.covers[1];
    for (index, split) in tree.splits.iter().enumerate().rev() {
        for child in split.children {
            let cover = match usize::try_from(child) {
                Ok(child) => covers.get(child),
                Err(_) => usize::try_from(!child).ok().and_then(|leaf| of_leaves.get(leaf)),
            };
            covers[index] += cover.copied().unwrap_or_default();
        }
    }
    covers
}
