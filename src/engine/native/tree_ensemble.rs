//! `TreeEnsemble` of version 5: lists for nodes and for leaves, which name each other by their places.

use super::attributes::{int, only};
use super::ensemble::{MOST_OUTPUTS, Mode, Weight, add};
use super::planner::Planned;
use crate::onnx::{Array, Data, FullNode};
use crate::tensor::DType;
use crate::trees::{Builder, Ensemble, Link, Split};

const KNOWN: [&str; 16] = [
    "aggregate_function",
    "leaf_targetids",
    "leaf_weights",
    "membership_values",
    "n_targets",
    "nodes_falseleafs",
    "nodes_falsenodeids",
    "nodes_featureids",
    "nodes_hitrates",
    "nodes_missing_value_tracks_true",
    "nodes_modes",
    "nodes_splits",
    "nodes_trueleafs",
    "nodes_truenodeids",
    "post_transform",
    "tree_roots",
];
/// Numbers of `aggregate_function` and `post_transform`.
const SUM: i64 = 1;
const NONE: i64 = 0;

struct Nodes<'a> {
    features: &'a [i64],
    splits: Vec<f64>,
    is_single: bool,
    modes: &'a [u8],
    /// For true and for false: the number of a node or of a leaf.
    children: [&'a [i64]; 2],
    are_leaves: [&'a [i64]; 2],
    tracks: &'a [i64],
}

/// Reads the trees of `node` for rows of `features` numbers of `dtype`.
pub(super) fn read(node: &FullNode<'_>, features: usize, dtype: DType) -> Planned<Ensemble> {
    only(node, &KNOWN)?;
    if int(node, "aggregate_function", SUM)? != SUM || int(node, "post_transform", NONE)? != NONE {
        return Err("another aggregate_function than SUM, or a post_transform".to_owned());
    }
    let targets = usize::try_from(int(node, "n_targets", 0)?).unwrap_or(0);
    if !(1..=MOST_OUTPUTS).contains(&targets) {
        return Err(format!("{targets} outputs"));
    }
    let ints = |name: &str| node.ints(name).ok_or_else(|| format!("no whole numbers in `{name}`"));
    let modes = match node.get("nodes_modes") {
        Some(Data::Tensor(tensor)) => match &tensor.array {
            Array::Bytes(modes) => modes.as_slice(),
            _ => return Err("no uint8 in `nodes_modes`".to_owned()),
        },
        _ => return Err("no tensor in `nodes_modes`".to_owned()),
    };
    let nodes = Nodes {
        features: ints("nodes_featureids")?,
        splits: numbers(node, "nodes_splits", dtype)?,
        is_single: dtype == DType::Float32,
        modes,
        children: [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?],
        are_leaves: [ints("nodes_trueleafs")?, ints("nodes_falseleafs")?],
        tracks: ints("nodes_missing_value_tracks_true")?,
    };
    let count = modes.len();
    let lists = [nodes.children, nodes.are_leaves].concat();
    if nodes.features.len() != count
        || nodes.splits.len() != count
        || lists.iter().any(|list| list.len() != count)
        || !(nodes.tracks.is_empty() || nodes.tracks.len() == count)
    {
        return Err("lists of different lengths for its nodes".to_owned());
    }
    let outputs = ints("leaf_targetids")?;
    let values = numbers(node, "leaf_weights", dtype)?;
    if outputs.len() != values.len() {
        return Err("lists of different lengths for its leaves".to_owned());
    }
    let target = |output: &i64| usize::try_from(*output).ok().filter(|output| *output < targets);
    let leaves: Option<Vec<Weight>> =
        outputs.iter().map(target).zip(values).map(|(to, value)| Some((to?, value))).collect();
    let leaves = leaves.ok_or("a leaf for an output that is not there")?;
    let mut builder = Builder::new("the model", features, targets, Link::Identity);
    let mut seen = 0;
    for root in ints("tree_roots")? {
        let (splits, chosen) = nodes.tree(*root, &leaves)?;
        // A node that two trees share would make a short file large.
        seen += splits.len();
        if seen > count {
            return Err("nodes that are shared".to_owned());
        }
        add(&mut builder, 0, &splits, &chosen)?;
    }
    if builder.is_empty() {
        return Err("no trees".to_owned());
    }
    builder.finish().map_err(|error| error.to_string())
}

/// The numbers of a tensor of the type that rows are of.
fn numbers(node: &FullNode<'_>, name: &str, dtype: DType) -> Planned<Vec<f64>> {
    let Some(Data::Tensor(tensor)) = node.get(name) else { return Err(format!("no tensor in `{name}`")) };
    match (&tensor.array, dtype) {
        (Array::Floats(values), DType::Float32) => Ok(values.iter().map(|value| f64::from(*value)).collect()),
        (Array::Doubles(values), DType::Float64) => Ok(values.clone()),
        _ => Err(format!("no numbers of {dtype} in `{name}`")),
    }
}

impl Nodes<'_> {
    /// The nodes of a tree from its root down, so that parents come before their children, and its leaves.
    fn tree<'a>(&self, root: i64, leaves: &'a [Weight]) -> Planned<(Vec<Split>, Vec<&'a [Weight]>)> {
        let (mut splits, mut chosen): (Vec<Split>, Vec<&[Weight]>) = (Vec::new(), Vec::new());
        let mut open: Vec<(i64, bool, Option<(usize, usize)>)> = vec![(root, self.is_leaf(root)?, None)];
        while let Some((id, is_leaf, parent)) = open.pop() {
            let at = usize::try_from(id).map_err(|_| "a child below 0")?;
            let child = if is_leaf {
                chosen.push(leaves.get(at..=at).ok_or("a leaf that is not there")?);
                i32::try_from(chosen.len()).map(|count| -count)
            } else {
                let index = splits.len();
                if index == self.modes.len() {
                    return Err("nodes in a circle".to_owned());
                }
                let (split, swapped) = self.split(at)?;
                splits.push(split);
                for side in [1, 0] {
                    let (child, is_leaf) = (self.children[side][at], self.are_leaves[side][at] != 0);
                    open.push((child, is_leaf, Some((index, side ^ usize::from(swapped)))));
                }
                i32::try_from(index)
            };
            if let Some((parent, side)) = parent {
                splits[parent].children[side] = child.map_err(|_| "too many nodes")?;
            }
        }
        Ok((splits, chosen))
    }

    /// Whether a root stands for a leaf: a node both of whose children are one.
    ///
    /// ONNX Runtime takes the leaf of the root's number, the specification that of the children's.
    fn is_leaf(&self, root: i64) -> Planned<bool> {
        let at = usize::try_from(root).ok().filter(|at| *at < self.modes.len()).ok_or("a root that is not there")?;
        let [yes, no] = self.children.map(|children| children[at]);
        match yes == no && self.are_leaves.iter().all(|leaves| leaves[at] != 0) {
            true if yes != root => Err("a tree of one leaf whose meaning is not clear".to_owned()),
            is_leaf => Ok(is_leaf),
        }
    }

    fn split(&self, at: usize) -> Planned<(Split, bool)> {
        let mode = match self.modes.get(at).ok_or("a child that is not there")? {
            0 => Mode::AtMost,
            1 => Mode::Below,
            2 => Mode::AtLeast,
            3 => Mode::Beyond,
            other => return Err(format!("the mode {other}")),
        };
        let tracks_true = self.tracks.get(at).is_some_and(|tracks| *tracks != 0);
        mode.split(self.features[at], (self.splits[at], self.is_single), tracks_true)
    }
}
