//! One tree of `XGBoost`.

use std::collections::HashMap;

use crate::trees::document::{Value, whole};
use crate::trees::sets::Sets;
use crate::trees::{Rule, Split, single};

/// Categories that float32 can tell from each other; `XGBoost` takes no larger ones.
const MOST_CATEGORIES: f64 = 16_777_217.0;

/// Its nodes and leaves, from the root down.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) splits: Vec<Split>,
    /// `width` numbers for each leaf.
    pub(super) leaves: Vec<f64>,
    pub(super) width: usize,
    pub(super) sets: Vec<Vec<u32>>,
    /// Which of the file's nodes the splits are, and the leaves.
    pub(super) nodes: [Vec<u32>; 2],
    /// Of the file's nodes, if they were read.
    pub(super) covers: Vec<f64>,
}

/// Why a tree is not read.
#[derive(Debug)]
pub(super) enum Problem {
    Broken(String),
    /// Its leaves are among the weights of nodes, which are usually passed over.
    NeedsWeights,
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Broken(problem)
    }
}

/// The lists of a tree, one entry for each node.
struct Nodes<'a> {
    left: &'a [f64],
    right: &'a [f64],
    features: &'a [f64],
    /// Thresholds, and the numbers of leaves that have one.
    values: &'a [f64],
    default_left: &'a [f64],
    kinds: &'a [f64],
}

/// Where the categories of each node are among all.
struct Categories<'a> {
    all: &'a [f64],
    /// Which entry of the other lists a node has.
    nodes: HashMap<i32, usize>,
    segments: &'a [f64],
    sizes: &'a [f64],
}

/// Reads a tree; its sets of categories take from `words`.
pub(super) fn read(value: &Value, words: &mut Sets) -> Result<Tree, Problem> {
    let list = |name: &str| {
        let numbers = value.get(name).and_then(Value::numbers);
        numbers.ok_or_else(|| format!("a tree has no numbers in `{name}`"))
    };
    let optional = |name: &str| value.get(name).and_then(Value::numbers).unwrap_or_default();
    let nodes = Nodes {
        left: list("left_children")?,
        right: list("right_children")?,
        features: list("split_indices")?,
        values: list("split_conditions")?,
        default_left: list("default_left")?,
        kinds: optional("split_type"),
    };
    let count = nodes.left.len();
    if [nodes.right, nodes.features, nodes.values, nodes.default_left].iter().any(|list| list.len() != count) {
        return Err("a tree has lists of different lengths".to_owned().into());
    }
    let categories = Categories {
        all: optional("categories"),
        nodes: optional("categories_nodes").iter().filter_map(|node| whole(*node)).zip(0..).collect(),
        segments: optional("categories_segments"),
        sizes: optional("categories_sizes"),
    };
    let width = match value.text(&["tree_param", "size_leaf_vector"]) {
        None | Some("0") => 1,
        Some(size) => size.parse().map_err(|_| format!("a tree has leaves of {size:?} numbers"))?,
    };
    let vectors = if width > 1 { Some(Vectors::of(value, width)?) } else { None };
    let covers = optional(super::COVER).to_vec();
    let nodes_of = [Vec::new(), Vec::new()];
    let mut tree = Tree { splits: Vec::new(), leaves: Vec::new(), width, sets: Vec::new(), nodes: nodes_of, covers };
    let mut leaves = 0;
    let mut open: Vec<(usize, Option<(usize, usize)>)> = vec![(0, None)];
    while let Some((at, parent)) = open.pop() {
        if at >= count || tree.splits.len() + leaves >= count {
            return Err(format!("a tree has the node {at} in a circle, or has it not").into());
        }
        let child =
            |children: &[f64]| whole(children[at]).ok_or_else(|| format!("a tree has the child {}", children[at]));
        let lower = child(nodes.left)?;
        tree.nodes[usize::from(lower == -1)]
            .push(u32::try_from(at).map_err(|_| "a tree has too many nodes".to_owned())?);
        let index = if lower == -1 {
            match &vectors {
                None => tree.leaves.push(single(nodes.values[at])),
                Some(vectors) => tree.leaves.extend(vectors.leaf(at, nodes.right[at])?),
            }
            leaves += 1;
            i32::try_from(leaves).map(|count| -count)
        } else {
            let is_set = nodes.kinds.get(at).is_some_and(|kind| *kind != 0.0);
            let split = if is_set { set(&nodes, &categories, at, &mut tree.sets, words)? } else { number(&nodes, at)? };
            let index = tree.splits.len();
            tree.splits.push(split);
            // What is in a set goes right there, and left here.
            for (side, child) in [(1, child(nodes.right)?), (0, lower)] {
                let child = usize::try_from(child).map_err(|_| format!("a tree has the child {child}"))?;
                open.push((child, Some((index, side ^ usize::from(is_set)))));
            }
            i32::try_from(index)
        };
        if let Some((parent, side)) = parent {
            tree.splits[parent].children[side] = index.map_err(|_| "a tree has too many nodes".to_owned())?;
        }
    }
    Ok(tree)
}

fn feature(nodes: &Nodes<'_>, at: usize) -> Result<u32, String> {
    let feature = whole(nodes.features[at]).and_then(|feature| u32::try_from(feature).ok());
    feature.ok_or_else(|| format!("a tree splits by column {}", nodes.features[at]))
}

/// A split by a threshold.
fn number(nodes: &Nodes<'_>, at: usize) -> Result<Split, String> {
    // Less than a float32 is at most the one before it.
    #[allow(clippy::cast_possible_truncation, reason = "the file's numbers are of float32")]
    let threshold = f64::from((nodes.values[at] as f32).next_down());
    let rule = if nodes.default_left[at] == 0.0 { Rule::MissingRight } else { Rule::MissingLeft };
    Ok(Split { feature: feature(nodes, at)?, threshold, rule, children: [0, 0] })
}

/// A split by a set of categories.
fn set(
    nodes: &Nodes<'_>,
    categories: &Categories<'_>,
    at: usize,
    sets: &mut Vec<Vec<u32>>,
    words: &mut Sets,
) -> Result<Split, String> {
    let unfit = || format!("a tree has no set of categories for its node {at}");
    let entry = i32::try_from(at).ok().and_then(|at| categories.nodes.get(&at));
    let number = |list: &[f64]| {
        let number = whole(*list.get(*entry?)?)?;
        usize::try_from(number).ok()
    };
    let (start, size) = number(categories.segments).zip(number(categories.sizes)).ok_or_else(unfit)?;
    let members = start.checked_add(size).and_then(|end| categories.all.get(start..end)).ok_or_else(unfit)?;
    let members = members.iter().map(|category| {
        let member = whole(*category).filter(|_| (0.0..MOST_CATEGORIES).contains(category));
        member.map(i32::unsigned_abs).ok_or_else(|| format!("a tree has the category {category}"))
    });
    let bits = words.of(members)?;
    let set = u32::try_from(sets.len()).map_err(|_| "a tree has too many nodes")?;
    sets.push(bits);
    // Everything else goes left there, and right here.
    let rule = if nodes.default_left[at] == 0.0 { Rule::CategoriesOrMissing(set) } else { Rule::Categories(set) };
    Ok(Split { feature: feature(nodes, at)?, threshold: 0.0, rule, children: [0, 0] })
}

/// Leaves of several numbers.
struct Vectors<'a> {
    numbers: &'a [f64],
    width: usize,
    /// Whether each node has them, and not each leaf: so it was up to version 3.0.
    are_of_nodes: bool,
}

impl<'a> Vectors<'a> {
    fn of(tree: &'a Value, width: usize) -> Result<Self, Problem> {
        let numbers = |name: &str| tree.get(name).and_then(Value::numbers);
        if let Some(numbers) = numbers("leaf_weights") {
            return Ok(Self { numbers, width, are_of_nodes: false });
        }
        let numbers = numbers("base_weights").ok_or(Problem::NeedsWeights)?;
        Ok(Self { numbers, width, are_of_nodes: true })
    }

    fn leaf(&self, node: usize, number: f64) -> Result<impl Iterator<Item = f64> + use<'a>, String> {
        let number = if self.are_of_nodes { Some(node) } else { whole(number).and_then(|at| usize::try_from(at).ok()) };
        let leaf = number.and_then(|number| {
            let start = number.checked_mul(self.width)?;
            self.numbers.get(start..start.checked_add(self.width)?)
        });
        Ok(leaf
            .ok_or_else(|| format!("a tree has no leaf of several numbers for its node {node}"))?
            .iter()
            .map(|value| single(*value)))
    }
}
