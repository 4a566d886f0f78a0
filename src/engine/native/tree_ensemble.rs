//! `TreeEnsemble` of version 5: lists for nodes and for leaves, which name each other by their places.
//!
//! Any node may name any other, so all have to be there before the first tree is made; they take a third of what the lists
//! take one by one, which are read side by side as those of the older operators are.

use super::attributes::{int, only};
use super::ensemble::{Column, MOST_OUTPUTS, Mode, Weight, add};
use super::planner::Planned;
use crate::onnx::{FullNode, Source};
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

/// A node in as few bytes as it fits into.
struct Node {
    value: f64,
    feature: u32,
    /// For true and for false: the number of a node or of a leaf.
    children: [u32; 2],
    are_leaves: [bool; 2],
    mode: Mode,
    tracks_true: bool,
}

/// All of them.
struct Nodes {
    all: Vec<Node>,
    is_single: bool,
}

/// Reads the trees of a node of `file` for rows of `features` numbers of `dtype`.
pub(super) fn read((node, file): (&FullNode<'_>, &Source<'_>), features: usize, dtype: DType) -> Planned<Ensemble> {
    only(node, &KNOWN)?;
    if int(node, "aggregate_function", SUM)? != SUM || int(node, "post_transform", NONE)? != NONE {
        return Err("another aggregate_function than SUM, or a post_transform".to_owned());
    }
    let targets = usize::try_from(int(node, "n_targets", 0)?).unwrap_or(0);
    if !(1..=MOST_OUTPUTS).contains(&targets) {
        return Err(format!("{targets} outputs"));
    }
    let nodes = Nodes { all: nodes(node, file, dtype)?, is_single: dtype == DType::Float32 };
    let leaves = leaves(node, file, targets, dtype)?;
    let mut builder = Builder::new("the model", features, targets, Link::Identity);
    builder.reserve(nodes.all.len() + leaves.len());
    let mut seen = 0;
    for root in node.ints("tree_roots").ok_or("no whole numbers in `tree_roots`")? {
        let (splits, chosen) = nodes.tree(*root, &leaves)?;
        // A node that two trees share would make a short file large.
        seen += splits.len();
        if seen > nodes.all.len() {
            return Err("nodes that are shared".to_owned());
        }
        add(&mut builder, 0, &splits, &chosen)?;
    }
    if builder.is_empty() {
        return Err("no trees".to_owned());
    }
    builder.finish().map_err(|error| error.to_string())
}

fn nodes(node: &FullNode<'_>, file: &Source<'_>, dtype: DType) -> Planned<Vec<Node>> {
    let ints = |name| Column::ints(node, file, name);
    let mut modes = Column::bytes(node, file, "nodes_modes")?;
    let mut values = Column::elements(node, file, "nodes_splits", dtype)?;
    let mut features = ints("nodes_featureids")?;
    let mut children = [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?];
    let mut are_leaves = [ints("nodes_trueleafs")?, ints("nodes_falseleafs")?];
    let tracks = "nodes_missing_value_tracks_true";
    let mut tracks = node.get(tracks).map(|_| ints(tracks)).transpose()?;
    let mut all = Vec::new();
    let lengths = || "lists of different lengths for its nodes".to_owned();
    let next = |list: &mut Column<'_>| list.int().ok_or_else(lengths);
    let natural = |number: i64| u32::try_from(number).map_err(|_| format!("the feature or child {number}"));
    while let Some(mode) = modes.int() {
        let mode = match mode {
            0 => Mode::AtMost,
            1 => Mode::Below,
            2 => Mode::AtLeast,
            3 => Mode::Beyond,
            other => return Err(format!("the mode {other}")),
        };
        let [yes, no] = &mut children;
        let [yes_is_leaf, no_is_leaf] = &mut are_leaves;
        all.push(Node {
            value: values.number().ok_or_else(lengths)?,
            feature: natural(next(&mut features)?)?,
            children: [natural(next(yes)?)?, natural(next(no)?)?],
            are_leaves: [next(yes_is_leaf)? != 0, next(no_is_leaf)? != 0],
            mode,
            tracks_true: tracks.as_mut().map_or(Ok(0), next)? != 0,
        });
    }
    let mut have_ended = values.number().is_none() && values.has_ended() && modes.has_ended();
    let ints = std::iter::once(&mut features).chain(&mut children).chain(&mut are_leaves).chain(&mut tracks);
    ints.for_each(|list| have_ended &= list.int().is_none() && list.has_ended());
    have_ended.then_some(all).ok_or_else(lengths)
}

fn leaves(node: &FullNode<'_>, file: &Source<'_>, targets: usize, dtype: DType) -> Planned<Vec<Weight>> {
    let mut outputs = Column::ints(node, file, "leaf_targetids")?;
    let mut values = Column::elements(node, file, "leaf_weights", dtype)?;
    let mut leaves = Vec::new();
    while let Some(output) = outputs.int() {
        let output = usize::try_from(output).ok().filter(|output| *output < targets);
        let value = values.number().ok_or("lists of different lengths for its leaves")?;
        leaves.push((output.ok_or("a leaf for an output that is not there")?, value));
    }
    let have_ended = values.number().is_none() && values.has_ended() && outputs.has_ended();
    have_ended.then_some(leaves).ok_or_else(|| "lists of different lengths for its leaves".to_owned())
}

impl Nodes {
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
                if index == self.all.len() {
                    return Err("nodes in a circle".to_owned());
                }
                let node = self.all.get(at).ok_or("a child that is not there")?;
                let threshold = (node.value, self.is_single);
                let (split, swapped) = node.mode.split(i64::from(node.feature), threshold, node.tracks_true)?;
                splits.push(split);
                for side in [1, 0] {
                    let (child, is_leaf) = (i64::from(node.children[side]), node.are_leaves[side]);
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
        let node = usize::try_from(root).ok().and_then(|at| self.all.get(at)).ok_or("a root that is not there")?;
        let [yes, no] = node.children;
        match yes == no && node.are_leaves == [true; 2] {
            true if i64::from(yes) != root => Err("a tree of one leaf whose meaning is not clear".to_owned()),
            is_leaf => Ok(is_leaf),
        }
    }
}
