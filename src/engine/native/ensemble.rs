//! Tree ensembles of `ai.onnx.ml`, as `TreeEnsembleRegressor` and `TreeEnsembleClassifier` have them: one list for each
//! property of all nodes, and one for each property of all weights of leaves.

use std::collections::HashMap;

use super::planner::Planned;
use crate::onnx::{Array, Data, FullNode};
use crate::tensor::DType;
use crate::trees::{Builder, Ensemble, Link, Rule, Split};

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
const TENSORS: [&str; 2] = ["nodes_values_as_tensor", "base_values_as_tensor"];

/// A weight of a leaf, as (output, weight).
pub(super) type Weight = (usize, f64);

/// Numbers of a node, float32 or float64.
#[derive(Clone, Copy)]
enum Numbers<'a> {
    Single(&'a [f32]),
    Double(&'a [f64]),
}

impl<'a> Numbers<'a> {
    /// The list `name`, or the tensor that stands for it where rows are of float64.
    fn of(node: &'a FullNode<'_>, name: &str, dtype: DType) -> Planned<Self> {
        let list = node.floats(name).ok_or_else(|| format!("no numbers in `{name}`"))?;
        match node.get(&format!("{name}_as_tensor")) {
            None => Ok(Self::Single(list)),
            Some(Data::Tensor(tensor)) if list.is_empty() && dtype == DType::Float64 => match &tensor.array {
                Array::Doubles(values) => Ok(Self::Double(values)),
                _ => Err(format!("no float64 in `{name}_as_tensor`")),
            },
            Some(_) => Err(format!("`{name}_as_tensor` for rows that are not of float64")),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
        }
    }

    /// The number at a place that is there.
    fn at(self, place: usize) -> f64 {
        match self {
            Self::Single(values) => f64::from(values[place]),
            Self::Double(values) => values[place],
        }
    }

    fn iter(self) -> impl Iterator<Item = f64> + 'a {
        (0..self.len()).map(move |place| self.at(place))
    }
}

/// Where nodes are by tree and number. Converters number them one after the other: then nothing is looked up.
struct Index<'a> {
    ids: &'a [(i64, i64)],
    /// Where each tree starts.
    trees: HashMap<i64, usize>,
    /// All nodes, if they are not numbered so.
    others: HashMap<(i64, i64), usize>,
}

impl<'a> Index<'a> {
    /// Nothing if two nodes have one number.
    fn new(ids: &'a [(i64, i64)]) -> Option<Self> {
        let mut trees = HashMap::new();
        let mut start = 0;
        let mut is_in_order = true;
        for tree in ids.chunk_by(|a, b| a.0 == b.0) {
            is_in_order &= trees.insert(tree[0].0, start).is_none() && (0..).zip(tree).all(|(at, (_, id))| at == *id);
            start += tree.len();
        }
        let others = if is_in_order { HashMap::new() } else { ids.iter().copied().zip(0..).collect() };
        (is_in_order || others.len() == ids.len()).then_some(Self { ids, trees, others })
    }

    fn get(&self, tree: i64, node: i64) -> Option<usize> {
        if !self.others.is_empty() {
            return self.others.get(&(tree, node)).copied();
        }
        let at = self.trees.get(&tree)? + usize::try_from(node).ok()?;
        self.ids.get(at).filter(|id| **id == (tree, node)).map(|_| at)
    }
}

/// The weights of all leaves.
struct Weights {
    /// Those of one node after the other.
    all: Vec<Weight>,
    /// Where those of each node end.
    ends: Vec<usize>,
}

impl Weights {
    fn of(&self, node: usize) -> &[Weight] {
        let start = node.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start..self.ends[node]]
    }
}

/// Reads the trees of `node` for `outputs` outputs and rows of `features` numbers of `dtype`; `more` attributes are known
/// elsewhere.
///
/// One output of a classifier of two classes may stand for both: then `outputs` is 2, and what comes out has one.
pub(super) fn read(
    node: &FullNode<'_>,
    names: &Names,
    outputs: usize,
    (features, dtype): (usize, DType),
    more: &[&str],
) -> Planned<Sums> {
    let unknown = str::to_owned;
    if outputs > MOST_OUTPUTS {
        return Err(format!("{outputs} outputs"));
    }
    let as_tensor = format!("{}_as_tensor", names.weights);
    let of_leaves = [names.trees, names.nodes, names.outputs, names.weights, &as_tensor];
    if !node.has_only(&[&NODES[..], &TENSORS, &of_leaves, more].concat()) {
        return Err(unknown("an attribute that is not known"));
    }
    let ints = |name: &str| node.ints(name).ok_or_else(|| format!("no whole numbers in `{name}`"));
    let ids: Vec<(i64, i64)> =
        ints("nodes_treeids")?.iter().copied().zip(ints("nodes_nodeids")?.iter().copied()).collect();
    let nodes = Nodes {
        features: ints("nodes_featureids")?,
        values: Numbers::of(node, "nodes_values", dtype)?,
        is_single: dtype == DType::Float32,
        modes: node.texts("nodes_modes").ok_or_else(|| unknown("no texts in `nodes_modes`"))?,
        children: [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?],
        tracks: ints("nodes_missing_value_tracks_true")?,
    };
    let counts = [nodes.features.len(), nodes.values.len(), nodes.modes.len(), ints("nodes_nodeids")?.len()];
    let of_children = nodes.children.map(<[i64]>::len);
    if counts.iter().chain(&of_children).any(|count| *count != ids.len())
        || !matches!(nodes.tracks.len(), count if count == 0 || count == ids.len())
    {
        return Err(unknown("lists of different lengths for its nodes"));
    }
    let index = Index::new(&ids).ok_or_else(|| unknown("two nodes of one number"))?;
    let weights = read_weights(node, names, outputs, dtype, &index)?;
    let mut used: Vec<usize> = weights.all.iter().map(|(output, _)| *output).collect();
    used.sort_unstable();
    used.dedup();
    let is_positive = weights.all.iter().all(|(_, weight)| *weight >= 0.0);
    let is_beyond_zero = weights.all.iter().all(|(_, weight)| *weight > 0.0);
    // One output stands for itself whatever its number is.
    let shift = if used.len() == 1 { used[0] } else { 0 };
    let width = if used.len() == 1 { 1 } else { outputs };
    let mut builder = Builder::new("the model", features, width, Link::Identity);
    let mut complete = vec![false; width];
    let mut having = vec![0; width];
    let mut seen = 0;
    for tree in ids.chunk_by(|a, b| a.0 == b.0) {
        let mut reader = Reader { nodes: &nodes, index: &index, weights: &weights, tree: tree[0].0, known: Vec::new() };
        let (splits, leaves) = reader.read(tree[0].1)?;
        seen += reader.known.len();
        add(&mut builder, shift, &splits, &leaves)?;
        // A leaf has one weight for an output at most.
        for (output, _) in leaves.iter().copied().flatten() {
            having[output - shift] += 1;
            complete[output - shift] |= having[output - shift] == leaves.len();
        }
        leaves.iter().copied().flatten().for_each(|(output, _)| having[output - shift] = 0);
    }
    if seen != ids.len() {
        return Err(unknown("nodes that no root leads to"));
    }
    let base = Numbers::of(node, "base_values", dtype)?.iter().collect();
    let trees = builder.finish().map_err(|error| error.to_string())?;
    Ok(Sums {
        trees,
        base,
        outputs: used,
        is_complete: complete.into_iter().all(|known| known),
        is_positive,
        is_beyond_zero,
    })
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

/// The weights of leaves.
fn read_weights(
    node: &FullNode<'_>,
    names: &Names,
    outputs: usize,
    dtype: DType,
    index: &Index<'_>,
) -> Planned<Weights> {
    let lists = (node.ints(names.trees), node.ints(names.nodes), node.ints(names.outputs));
    let (Some(trees), Some(nodes), Some(targets)) = lists else {
        return Err("weights of another kind".to_owned());
    };
    let values = Numbers::of(node, names.weights, dtype)?;
    if [nodes.len(), targets.len(), values.len()].iter().any(|count| *count != trees.len()) {
        return Err("lists of different lengths for its leaves".to_owned());
    }
    let mut weights: Vec<(usize, Weight)> = Vec::with_capacity(values.len());
    for (((tree, leaf), output), value) in trees.iter().zip(nodes).zip(targets).zip(values.iter()) {
        let at = index.get(*tree, *leaf);
        let output = usize::try_from(*output).ok().filter(|output| *output < outputs);
        let (Some(at), Some(output)) = (at, output) else {
            return Err("a weight for a leaf or output that is not there".to_owned());
        };
        weights.push((at, (output, value)));
    }
    weights.sort_by_key(|(at, (output, _))| (*at, *output));
    if weights.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1.0 == pair[1].1.0) {
        return Err("two weights for one output of a leaf".to_owned());
    }
    let mut ends = vec![0; index.ids.len()];
    for (at, _) in &weights {
        ends[*at] += 1;
    }
    let mut end = 0;
    for count in &mut ends {
        end += *count;
        *count = end;
    }
    Ok(Weights { all: weights.into_iter().map(|(_, weight)| weight).collect(), ends })
}

struct Nodes<'a> {
    features: &'a [i64],
    values: Numbers<'a>,
    /// Whether rows are of float32.
    is_single: bool,
    modes: &'a [&'a str],
    /// For true and for false.
    children: [&'a [i64]; 2],
    tracks: &'a [i64],
}

/// Reads one tree from its root down, so that parents come before their children.
struct Reader<'a> {
    nodes: &'a Nodes<'a>,
    index: &'a Index<'a>,
    weights: &'a Weights,
    tree: i64,
    known: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, root: i64) -> Result<(Vec<Split>, Vec<&'a [Weight]>), String> {
        let (mut splits, mut leaves): (Vec<Split>, Vec<&[Weight]>) = (Vec::new(), Vec::new());
        let mut open: Vec<(i64, Option<(usize, usize)>)> = vec![(root, None)];
        while let Some((id, parent)) = open.pop() {
            let at = self.index.get(self.tree, id).ok_or("a child that is not there")?;
            self.known.push(at);
            if self.known.len() > self.index.ids.len() {
                return Err("nodes in a circle".to_owned());
            }
            let child = if self.nodes.modes[at] == "LEAF" {
                leaves.push(
                    Some(self.weights.of(at)).filter(|weights| !weights.is_empty()).ok_or("a leaf without a weight")?,
                );
                i32::try_from(leaves.len()).map(|count| -count)
            } else {
                if !self.weights.of(at).is_empty() {
                    return Err("a weight in a node that is no leaf".to_owned());
                }
                let index = splits.len();
                let (split, swapped) = self.split(at)?;
                splits.push(split);
                for side in [1, 0] {
                    let child = self.nodes.children[side][at];
                    open.push((child, Some((index, side ^ usize::from(swapped)))));
                }
                i32::try_from(index)
            };
            if let Some((parent, side)) = parent {
                splits[parent].children[side] = child.map_err(|_| "too many nodes")?;
            }
        }
        Ok((splits, leaves))
    }

    fn split(&self, at: usize) -> Result<(Split, bool), String> {
        let nodes = self.nodes;
        let mode = match nodes.modes[at] {
            "BRANCH_LEQ" => Mode::AtMost,
            "BRANCH_LT" => Mode::Below,
            "BRANCH_GTE" => Mode::AtLeast,
            "BRANCH_GT" => Mode::Beyond,
            other => return Err(format!("the mode {other}")),
        };
        let tracks_true = nodes.tracks.get(at).is_some_and(|tracks| *tracks != 0);
        mode.split(nodes.features[at], (nodes.values.at(at), nodes.is_single), tracks_true)
    }
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
