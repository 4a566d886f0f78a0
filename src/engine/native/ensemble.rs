//! Tree ensembles of `ai.onnx.ml`, as `TreeEnsembleRegressor` and `TreeEnsembleClassifier` have them: one list for each
//! property of all nodes, and one for each property of all weights of leaves.
//!
//! The lists are read side by side, and each tree is made as soon as its last node and weight were read: what is in memory is
//! one tree, beside what was made of those before it.

mod lists;
mod tree;

use std::collections::{HashMap, HashSet};

use super::planner::Planned;
use crate::onnx::{Data, FullNode, Source};
use crate::tensor::DType;
use crate::trees::{Builder, Ensemble, Link, Rule, Split};
pub(super) use lists::Column;
use lists::{Node, Nodes, Weights};
use tree::Tree;

/// Sums of leaves for each output.
pub(super) struct Sums {
    pub(super) trees: Ensemble,
    /// Added to the sums; empty or one for each output.
    pub(super) base: Vec<f64>,
    /// The outputs that leaves have weights for, in order.
    pub(super) outputs: Vec<usize>,
    /// Whether any row gets a weight for each of these.
    pub(super) is_complete: bool,
    /// Whether no weight is negative, and none is 0 either.
    pub(super) is_positive: bool,
    pub(super) is_beyond_zero: bool,
}

/// What the lists of the weights of leaves are called.
pub(super) struct Names {
    pub(super) trees: &'static str,
    pub(super) nodes: &'static str,
    pub(super) outputs: &'static str,
    pub(super) weights: &'static str,
}

/// More outputs than any model has; a number beyond it would only take memory.
pub(super) const MOST_OUTPUTS: usize = 1 << 16;
/// Numbers that a tree's leaves may take for each weight that the file has: leaves have one for each output in between.
const MOST_GAPS: usize = 64;

const NODES: [&str; 10] = [
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_values",
    "nodes_modes",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
    "nodes_hitrates",
    "base_values",
];

/// Lists that are tensors where numbers are float64.
const TENSORS: [&str; 3] = ["nodes_values_as_tensor", "nodes_hitrates_as_tensor", "base_values_as_tensor"];

/// A weight of a leaf, as (output, weight).
pub(super) type Weight = (usize, f64);

/// A weight with the numbers of its tree and its node.
#[derive(Debug, Clone, Copy)]
struct Weighed {
    tree: i64,
    node: i64,
    weight: Weight,
}

/// Reads the trees of a node of `file` for `outputs` outputs and rows of `features` numbers of `dtype`; `more` attributes are
/// known elsewhere.
///
/// One output of a classifier of two classes may stand for both: then `outputs` is 2, and what comes out has one.
pub(super) fn read<'a>(
    (node, file): (&'a FullNode<'_>, &'a Source<'a>),
    names: &Names,
    outputs: usize,
    (features, dtype): (usize, DType),
    more: &[&str],
) -> Planned<Sums> {
    if outputs > MOST_OUTPUTS {
        return Err(format!("{outputs} outputs"));
    }
    let as_tensor = format!("{}_as_tensor", names.weights);
    let of_leaves = [names.trees, names.nodes, names.outputs, names.weights, &as_tensor];
    if !node.has_only(&[&NODES[..], &TENSORS, &of_leaves, more].concat()) {
        return Err("an attribute that is not known".to_owned());
    }
    let used = used(Column::ints(node, file, names.outputs)?, outputs)?;
    let mut base = Column::numbers(node, file, "base_values", dtype)?;
    let open = || Ok::<_, String>((Nodes::new(node, file, dtype)?, Weights::new(node, file, names, dtype)?));
    let new = || Making::new(features, outputs, used.clone(), dtype);
    let (mut nodes, mut weights) = open()?;
    let mut making = new();
    // Lists that are in memory have few.
    if let Some(Data::Stored(list)) = node.get("nodes_values") {
        making.builder.reserve(list.floats());
    }
    let made = making.read(|node| nodes.next(node), || weights.next());
    let made = made.or_else(|problem| {
        // Writers have all trees in one order, and their weights in the same. Else the lists are sorted in memory.
        let (mut nodes, mut weights) = open()?;
        let (nodes, weights) = sorted(|node| nodes.next(node), || weights.next())?.ok_or(problem)?;
        let (mut nodes, mut weights) = (nodes.into_iter(), weights.into_iter());
        let next = |node: &mut Node| Ok(nodes.next().map(|next| *node = next).is_some());
        new().read(next, || Ok(weights.next()))
    })?;
    let base = std::iter::from_fn(|| base.number()).collect();
    made.finish(base)
}

/// The outputs that leaves have weights for, in order.
fn used(mut column: Column<'_>, outputs: usize) -> Planned<Vec<usize>> {
    let mut is_used = vec![false; outputs];
    while let Some(output) = column.int() {
        let output = usize::try_from(output).ok().and_then(|output| is_used.get_mut(output));
        *output.ok_or("a weight for a leaf or output that is not there")? = true;
    }
    Ok((0..outputs).filter(|output| is_used[*output]).collect())
}

/// All nodes and weights by their trees, in the order in which nodes first name those; nothing if they were in it.
fn sorted(
    mut nodes: impl FnMut(&mut Node) -> Planned<bool>,
    mut weights: impl FnMut() -> Planned<Option<Weighed>>,
) -> Planned<Option<(Vec<Node>, Vec<Weighed>)>> {
    let (mut all_nodes, mut all_weights, mut places) = (Vec::new(), Vec::new(), HashMap::new());
    let mut node = Node::default();
    while nodes(&mut node)? {
        let next = places.len();
        places.entry(node.tree).or_insert(next);
        all_nodes.push(node);
    }
    while let Some(weight) = weights()? {
        all_weights.push(weight);
    }
    let place = |tree: i64| places.get(&tree).copied().unwrap_or(usize::MAX);
    if all_nodes.is_sorted_by_key(|node| place(node.tree)) && all_weights.is_sorted_by_key(|weight| place(weight.tree))
    {
        return Ok(None);
    }
    all_nodes.sort_by_key(|node| place(node.tree));
    all_weights.sort_by_key(|weight| place(weight.tree));
    Ok(Some((all_nodes, all_weights)))
}

/// What becomes of the trees, one after the other.
struct Making {
    builder: Builder,
    is_single: bool,
    used: Vec<usize>,
    /// The first output: one stands for itself whatever its number is.
    shift: usize,
    /// Of each output, whether all leaves of some tree have a weight for it; and of the tree at hand, how many.
    complete: Vec<bool>,
    having: Vec<usize>,
    is_positive: bool,
    is_beyond_zero: bool,
}

impl Making {
    fn new(features: usize, outputs: usize, used: Vec<usize>, dtype: DType) -> Self {
        let (shift, width) = if let [only] = used[..] { (only, 1) } else { (0, outputs) };
        Self {
            builder: Builder::new("the model", features, width, Link::Identity),
            is_single: dtype == DType::Float32,
            used,
            shift,
            complete: vec![false; width],
            having: vec![0; width],
            is_positive: true,
            is_beyond_zero: true,
        }
    }

    /// Reads trees whose nodes, and whose weights, follow each other.
    fn read(
        mut self,
        mut nodes: impl FnMut(&mut Node) -> Planned<bool>,
        mut weights: impl FnMut() -> Planned<Option<Weighed>>,
    ) -> Planned<Self> {
        let (mut tree, mut known) = (Tree::default(), HashSet::new());
        let mut node = Node::default();
        let (mut has_node, mut weight) = (nodes(&mut node)?, weights()?);
        while has_node {
            let id = node.tree;
            if !known.insert(id) {
                return Err("two trees of one number".to_owned());
            }
            tree.clear();
            while has_node && node.tree == id {
                tree.push(node);
                has_node = nodes(&mut node)?;
            }
            tree.number()?;
            while let Some(own) = weight.take_if(|weight| weight.tree == id) {
                self.is_positive &= own.weight.1 >= 0.0;
                self.is_beyond_zero &= own.weight.1 > 0.0;
                tree.weigh(own)?;
                weight = weights()?;
            }
            tree.sort_weights()?;
            self.add(&tree)?;
        }
        match weight {
            None => Ok(self),
            Some(_) => Err("a weight for a leaf or output that is not there".to_owned()),
        }
    }

    fn add(&mut self, tree: &Tree) -> Planned<()> {
        let (splits, leaves) = tree.read(self.is_single)?;
        let Self { builder, shift, complete, having, .. } = self;
        add(builder, *shift, &splits, &leaves)?;
        // A leaf has one weight for an output at most.
        for (output, _) in leaves.iter().copied().flatten() {
            having[output - *shift] += 1;
            complete[output - *shift] |= having[output - *shift] == leaves.len();
        }
        leaves.iter().copied().flatten().for_each(|(output, _)| having[output - *shift] = 0);
        Ok(())
    }

    fn finish(self, base: Vec<f64>) -> Planned<Sums> {
        let Self { builder, used, complete, is_positive, is_beyond_zero, .. } = self;
        Ok(Sums {
            trees: builder.finish().map_err(|error| error.to_string())?,
            base,
            outputs: used,
            is_complete: complete.into_iter().all(|known| known),
            is_positive,
            is_beyond_zero,
        })
    }
}

/// Adds a tree whose leaves have weights for outputs that count from `shift`.
pub(super) fn add(builder: &mut Builder, shift: usize, splits: &[Split], leaves: &[&[Weight]]) -> Planned<()> {
    let outputs_of_tree = || leaves.iter().flat_map(|weights| weights.iter().map(|(output, _)| output - shift));
    let (Some(first), Some(last)) = (outputs_of_tree().min(), outputs_of_tree().max()) else {
        return Err("a tree without weights".to_owned());
    };
    let count = leaves.len().saturating_mul(last + 1 - first);
    if count > MOST_GAPS.saturating_mul(outputs_of_tree().count()) {
        return Err("leaves with weights for few of many outputs".to_owned());
    }
    let mut values = Vec::with_capacity(count);
    for weights in leaves {
        let start = values.len();
        values.resize(start + last + 1 - first, 0.0);
        for (output, weight) in *weights {
            values[start + output - shift - first] = *weight;
        }
    }
    builder.push(first..last + 1, splits, &values, &[]).map_err(|error| error.to_string())
}

/// How a node compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    AtMost,
    Below,
    AtLeast,
    Beyond,
}

impl Mode {
    /// A node without children, and whether its true branch is the right one. The threshold is float32 if it says so.
    pub(super) fn split(
        self,
        feature: i64,
        (value, is_single): (f64, bool),
        tracks_true: bool,
    ) -> Planned<(Split, bool)> {
        let feature = u32::try_from(feature).map_err(|_| "a feature below 0")?;
        // Less than a threshold is at most the number before it, of the type that rows are of.
        #[allow(clippy::cast_possible_truncation, reason = "thresholds are float32 where rows are")]
        let before = || if is_single { f64::from((value as f32).next_down()) } else { value.next_down() };
        if value.is_nan() || value == f64::NEG_INFINITY {
            return Err(format!("the threshold {value}"));
        }
        let (threshold, swapped) = match self {
            Self::AtMost => (value, false),
            Self::Beyond => (value, true),
            Self::Below => (before(), false),
            Self::AtLeast => (before(), true),
        };
        // No comparison holds for a missing number: it goes to the false branch, unless it is told to.
        let rule = if tracks_true == swapped { Rule::MissingRight } else { Rule::MissingLeft };
        Ok((Split { feature, threshold, rule, children: [0, 0] }, swapped))
    }
}
