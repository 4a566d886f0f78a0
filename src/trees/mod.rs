//! Tree ensembles: tables that were checked when they were made, and how a row walks through them.

mod lightgbm;

use crate::error::{Error, ErrorKind, Result};

pub use lightgbm::read_lightgbm;

/// `LightGBM` takes numbers this close to zero for zero (`kZeroThreshold`, a float32 there).
const ZERO: f64 = 1e-35_f32 as f64;
/// Marks a child that is a leaf.
const LEAF: u32 = 1 << 31;

/// How a node decides. Numbers go left if they are at most the threshold; the rest is about missing ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A missing number counts as 0.
    MissingIsZero,
    /// 0 and missing numbers go left.
    ZeroLeft,
    /// 0 and missing numbers go right.
    ZeroRight,
    /// Missing numbers go left.
    MissingLeft,
    /// Missing numbers go right.
    MissingRight,
    /// Whole numbers of this set go left, everything else goes right.
    Categories(u32),
}

/// What becomes of the sums of leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// Nothing.
    Identity,
    /// `1 / (1 + exp(-factor * x))` of each.
    Sigmoid(f64),
    /// `exp(x)` of each.
    Exp,
    /// `sign(x) * x²` of each.
    SignedSquare,
    /// `ln(1 + exp(x))` of each.
    SoftPlus,
    /// `exp(x)` over the sum of all.
    Softmax,
}

/// A node of one tree, as files have it: a child that is not negative is a node, any other the leaf `!child`.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    /// Column of the row.
    pub feature: u32,
    /// Threshold; of no meaning for categories.
    pub threshold: f64,
    /// How it decides.
    pub rule: Rule,
    /// Left and right.
    pub children: [i32; 2],
}

#[derive(Debug, Clone, Copy)]
struct Node {
    threshold: f64,
    children: [u32; 2],
    feature: u32,
    rule: Rule,
}

/// Trees whose sums are the model's outputs. Tree `i` adds to output `i % outputs`.
#[derive(Debug)]
pub struct Ensemble {
    subject: String,
    features: usize,
    outputs: usize,
    nodes: Vec<Node>,
    leaves: Vec<f64>,
    roots: Vec<u32>,
    /// Sets of categories, a bit for each whole number.
    categories: Vec<Vec<u32>>,
    /// What sums are divided by.
    divisor: f64,
    link: Link,
}

impl Ensemble {
    /// An ensemble without trees; `subject` names it in errors.
    pub fn new(subject: &str, features: usize, outputs: usize, link: Link) -> Self {
        Self {
            subject: subject.to_owned(),
            features,
            outputs,
            nodes: Vec::new(),
            leaves: Vec::new(),
            roots: Vec::new(),
            categories: Vec::new(),
            divisor: 1.0,
            link,
        }
    }

    /// Columns of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Numbers that a row gets.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// What becomes of the sums.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Trees.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Outputs are means over this many trees.
    pub fn average_over(&mut self, trees: u32) {
        self.divisor = f64::from(trees);
    }

    /// Adds a tree. Its first node is the root; without nodes it is its one leaf.
    pub fn push(&mut self, splits: &[Split], leaves: &[f64], categories: Vec<Vec<u32>>) -> Result<()> {
        let number = self.roots.len();
        let bad = |problem: String| {
            let problem = format!("tree {number} {problem}");
            Error::new(ErrorKind::Model, &self.subject, problem, "save the model again, and copy the file whole")
        };
        if leaves.len() != splits.len() + 1 {
            return Err(bad(format!(
                "has {} leaves and {} splits, expected one leaf more",
                leaves.len(),
                splits.len()
            )));
        }
        if let Some(leaf) = leaves.iter().position(|value| !value.is_finite()) {
            return Err(bad(format!("has the value {} in leaf {leaf}, expected a finite number", leaves[leaf])));
        }
        let (first_node, first_leaf) = (self.nodes.len(), self.leaves.len());
        let fits = |before: usize, more: usize| {
            let last = u32::try_from(before + more).ok().filter(|last| *last < LEAF);
            last.and(u32::try_from(before).ok())
                .ok_or_else(|| bad(format!("is beyond the {LEAF} nodes a model may have")))
        };
        let (root, leaf) = (fits(first_node, splits.len())?, fits(first_leaf, leaves.len())?);
        let first_set = fits(self.categories.len(), categories.len())?;
        // Each node and leaf has one parent, and the root has none: then every walk ends in a leaf.
        let (mut has_parent, mut is_held) = (vec![false; splits.len()], vec![false; leaves.len()]);
        let mut child = |of: usize, child: i32| {
            let (index, known, first, mark) = match usize::try_from(child) {
                Ok(index) => (index, &mut has_parent, first_node, 0),
                Err(_) => (usize::try_from(!child).unwrap_or(usize::MAX), &mut is_held, first_leaf, LEAF),
            };
            // Files number nodes in the order they were split, so that a parent comes before its children.
            let is_later = mark == LEAF || index > of;
            match known.get_mut(index) {
                Some(taken @ false) if is_later => *taken = true,
                _ => return Err(bad(format!("has the child {child} in node {of}, which is no free node or leaf"))),
            }
            u32::try_from(first + index).map(|index| index | mark).map_err(|_| bad("is too large".to_owned()))
        };
        let mut nodes = Vec::with_capacity(splits.len());
        for (index, split) in splits.iter().enumerate() {
            let children = [child(index, split.children[0])?, child(index, split.children[1])?];
            if split.feature as usize >= self.features {
                let (got, features) = (split.feature, self.features);
                return Err(bad(format!("splits by column {got} in node {index}, but the model has {features}")));
            }
            let rule = match split.rule {
                Rule::Categories(set) if set as usize >= categories.len() => {
                    return Err(bad(format!("names the set of categories {set} in node {index}, which is not there")));
                }
                Rule::Categories(set) => Rule::Categories(set.saturating_add(first_set)),
                rule => rule,
            };
            if split.threshold.is_nan() {
                return Err(bad(format!("has the threshold NaN in node {index}")));
            }
            nodes.push(Node { threshold: split.threshold, children, feature: split.feature, rule });
        }
        self.roots.push(if splits.is_empty() { leaf | LEAF } else { root });
        self.nodes.append(&mut nodes);
        self.leaves.extend_from_slice(leaves);
        self.categories.extend(categories);
        Ok(())
    }

    /// Scores the rows of `rows`, which has [`Self::features`] numbers for each, into `scores`, which has
    /// [`Self::outputs`] for each.
    ///
    /// Every row adds its leaves in the order of the trees, in float64: the same answer whatever rows are beside it.
    /// Numbers near zero become 0 first, as `LightGBM` leaves them out of dense rows before any tree sees them.
    pub fn score(&self, rows: &mut [f64], scores: &mut [f64]) {
        for value in rows.iter_mut().filter(|value| value.abs() <= ZERO) {
            *value = 0.0;
        }
        scores.fill(0.0);
        for (tree, root) in self.roots.iter().enumerate() {
            let output = tree % self.outputs;
            for (row, scores) in rows.chunks_exact(self.features).zip(scores.chunks_exact_mut(self.outputs)) {
                scores[output] += self.leaf(*root, row);
            }
        }
        for scores in scores.chunks_exact_mut(self.outputs) {
            for score in scores.iter_mut() {
                *score /= self.divisor;
            }
            self.link.apply(scores);
        }
    }

    fn leaf(&self, root: u32, row: &[f64]) -> f64 {
        let mut at = root;
        while at & LEAF == 0 {
            let node = &self.nodes[at as usize];
            at = node.children[usize::from(!self.goes_left(node, row[node.feature as usize]))];
        }
        self.leaves[(at ^ LEAF) as usize]
    }

    fn goes_left(&self, node: &Node, value: f64) -> bool {
        match node.rule {
            Rule::MissingRight => value <= node.threshold,
            Rule::MissingLeft => value.is_nan() || value <= node.threshold,
            Rule::MissingIsZero => (if value.is_nan() { 0.0 } else { value }) <= node.threshold,
            Rule::ZeroLeft => value.is_nan() || value == 0.0 || value <= node.threshold,
            Rule::ZeroRight => value != 0.0 && value <= node.threshold,
            Rule::Categories(set) => self.is_in_set(set, value),
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    fn is_in_set(&self, set: u32, value: f64) -> bool {
        // NaN, negative numbers and those beyond 32 bits are in no set; fractions are cut off.
        if !(value > -1.0 && value < f64::from(i32::MAX) + 1.0) {
            return false;
        }
        let category = value as usize;
        self.categories[set as usize].get(category / 32).is_some_and(|bits| bits >> (category % 32) & 1 == 1)
    }
}

impl Link {
    fn apply(self, scores: &mut [f64]) {
        let each: fn(f64, f64) -> f64 = match self {
            Self::Identity => return,
            Self::Sigmoid(_) => |score, factor| 1.0 / (1.0 + (-factor * score).exp()),
            Self::Exp => |score, _| score.exp(),
            Self::SignedSquare => |score, _| score * score.abs(),
            Self::SoftPlus => |score, _| score.exp().ln_1p(),
            Self::Softmax => return softmax(scores),
        };
        let factor = if let Self::Sigmoid(factor) = self { factor } else { 1.0 };
        for score in scores {
            *score = each(*score, factor);
        }
    }
}

fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

#[cfg(test)]
mod tests;
