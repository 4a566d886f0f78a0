//! The lists of a file.

use super::Read;
use super::head::Shape;
use crate::trees::{Rule, Split};

/// Bytes that are taken from the front.
struct List<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> List<'a> {
    /// The next list, from a multiple of 8 bytes on.
    fn of(rest: &mut &'a [u8], count: usize, size: usize) -> Read<Self> {
        let length = count.checked_mul(size).and_then(|length| length.checked_next_multiple_of(8));
        let taken = length.and_then(|length| rest.split_at_checked(length));
        let (bytes, after) =
            taken.ok_or_else(|| format!("has {} bytes where {count} times {size} are expected", rest.len()))?;
        *rest = after;
        Ok(Self { bytes: &bytes[..count * size], size })
    }

    /// The next so many.
    fn take(&mut self, count: usize) -> Option<Self> {
        let (bytes, rest) = self.bytes.split_at_checked(count.checked_mul(self.size)?)?;
        self.bytes = rest;
        Some(Self { bytes, size: self.size })
    }

    /// Whole numbers of 1, 2 or 4 bytes.
    fn wholes(self) -> Vec<u32> {
        match self.size {
            4 => self.bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
            2 => self.bytes.as_chunks().0.iter().map(|bytes| u32::from(u16::from_le_bytes(*bytes))).collect(),
            _ => self.bytes.iter().map(|byte| u32::from(*byte)).collect(),
        }
    }

    /// Floats of 4 or 8 bytes.
    fn floats(self) -> Vec<f64> {
        match self.size {
            8 => self.bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            _ => self.bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        }
    }

    /// The next whole number.
    fn whole(&mut self) -> Option<u32> {
        self.take(1)?.wholes().pop()
    }
}

/// The lists, in each of which all trees follow each other.
pub(super) struct Lists<'a> {
    /// Nodes of each tree.
    counts: List<'a>,
    /// What each node is.
    kinds: List<'a>,
    features: List<'a>,
    thresholds: List<'a>,
    leaves: List<'a>,
    covers: Option<List<'a>>,
    numbers: Option<List<'a>>,
    /// Words of each set.
    sizes: List<'a>,
    words: List<'a>,
}

/// A node that is none of the other kinds.
const LEAF: u8 = 0;

/// One tree.
pub(super) struct Tree {
    pub(super) splits: Vec<Split>,
    pub(super) leaves: Vec<f64>,
    pub(super) sets: Vec<Vec<u32>>,
    pub(super) covers: [Vec<f64>; 2],
    pub(super) numbers: Vec<u32>,
}

impl<'a> Lists<'a> {
    pub(super) fn of(mut rest: &'a [u8], shape: &Shape) -> Read<Self> {
        let rest = &mut rest;
        let leaves = shape.nodes - shape.splits;
        let lists = Self {
            counts: List::of(rest, shape.trees, 4)?,
            kinds: List::of(rest, shape.nodes, 1)?,
            features: List::of(rest, shape.splits, shape.feature_bytes)?,
            thresholds: List::of(rest, shape.splits, shape.threshold_bytes)?,
            leaves: List::of(rest, leaves.saturating_mul(shape.width), shape.leaf_bytes)?,
            covers: shape.covers.map(|size| List::of(rest, shape.nodes, size)).transpose()?,
            numbers: shape.has_leaf_numbers.then(|| List::of(rest, leaves, 4)).transpose()?,
            sizes: List::of(rest, shape.sets, 4)?,
            words: List::of(rest, shape.words, 4)?,
        };
        if rest.is_empty() { Ok(lists) } else { Err(format!("has {} bytes behind its lists", rest.len())) }
    }

    /// The next tree.
    pub(super) fn tree(&mut self, shape: &Shape) -> Read<Tree> {
        let cut = || "is beyond the lists".to_owned();
        let count = self.counts.whole().ok_or_else(cut)?;
        let kinds = self.kinds.take(count as usize).ok_or_else(cut)?.bytes;
        let splits = kinds.iter().filter(|kind| **kind != LEAF).count();
        let leaves = kinds.len() - splits;
        let of_leaves = self.leaves.take(leaves * shape.width).ok_or_else(cut)?;
        let covers = match &mut self.covers {
            Some(covers) => covers.take(kinds.len()).ok_or_else(cut)?.floats(),
            None => Vec::new(),
        };
        let [mut of_splits, mut covers_of_leaves] = [Vec::new(), Vec::new()];
        for (kind, cover) in kinds.iter().zip(covers) {
            if *kind == LEAF { &mut covers_of_leaves } else { &mut of_splits }.push(cover);
        }
        let features = self.features.take(splits).ok_or_else(cut)?.wholes();
        let thresholds = self.thresholds.take(splits).ok_or_else(cut)?.floats();
        let mut tree = Tree {
            splits: Vec::with_capacity(splits),
            leaves: of_leaves.floats(),
            sets: Vec::new(),
            covers: [of_splits, covers_of_leaves],
            numbers: match &mut self.numbers {
                Some(numbers) => numbers.take(leaves).ok_or_else(cut)?.wholes(),
                None => places(kinds, leaves, |kind| kind == LEAF),
            },
        };
        let places = places(kinds, splits, |kind| kind != LEAF);
        for ((at, feature), threshold) in places.into_iter().zip(features).zip(thresholds) {
            let rule = self.rule(kinds[at as usize], &mut tree.sets)?;
            tree.splits.push(Split { feature, threshold, rule, children: [0, 0] });
        }
        join(kinds, &mut tree.splits, leaves)?;
        Ok(tree)
    }

    /// The rule of a split; a set is taken from the words.
    fn rule(&mut self, kind: u8, sets: &mut Vec<Vec<u32>>) -> Read<Rule> {
        Ok(match kind {
            1 => Rule::MissingLeft,
            2 => Rule::MissingRight,
            3 => Rule::MissingIsZero,
            4 => Rule::ZeroLeft,
            5 => Rule::ZeroRight,
            6 | 7 => {
                let size = self.sizes.whole().ok_or("is beyond the sets of categories")?;
                let words = self
                    .words
                    .take(size as usize)
                    .ok_or_else(|| format!("has a set of {size} words, which are not there"))?;
                sets.push(words.wholes());
                let set = u32::try_from(sets.len() - 1).map_err(|_| "has too many nodes")?;
                if kind == 6 { Rule::Categories(set) } else { Rule::CategoriesOrMissing(set) }
            }
            other => return Err(format!("has a node of the kind {other}, which is not known")),
        })
    }
}

/// Where the nodes of some kinds are, of which there are `count`. A branch would be taken wrongly half of the time.
fn places(kinds: &[u8], count: usize, is_one: impl Fn(u8) -> bool) -> Vec<u32> {
    let (mut places, mut found) = (vec![0; count + 1], 0);
    for (at, kind) in (0..).zip(kinds) {
        places[found] = at;
        found += usize::from(is_one(*kind));
    }
    places.truncate(count);
    places
}

/// Gives splits their children: behind a node comes what is on its left, and behind that what is on its right. From the last
/// node on, what waits for a parent is a stack. (Without a branch it took longer: each load had to wait for the store before.)
fn join(kinds: &[u8], splits: &mut [Split], leaves: usize) -> Read<()> {
    let count = kinds.len();
    let number = |count| i32::try_from(count).map_err(|_| "has too many nodes");
    let (mut leaf, mut split) = (number(leaves)?, number(splits.len())?);
    let mut waiting: Vec<i32> = Vec::with_capacity(leaves);
    for kind in kinds.iter().rev() {
        if *kind == LEAF {
            waiting.push(-leaf);
            leaf -= 1;
            continue;
        }
        let (Some(left), Some(right)) = (waiting.pop(), waiting.pop()) else {
            return Err(format!("has {count} nodes, and is not complete"));
        };
        split -= 1;
        splits[split.unsigned_abs() as usize].children = [left, right];
        waiting.push(split);
    }
    match waiting.len() {
        1 => Ok(()),
        0 => Err("has no nodes, and is not complete".to_owned()),
        _ => Err(format!("has {count} nodes, but is complete with fewer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_one_whole_tree_or_refused() {
        // (kinds of nodes, children of its splits or what is wrong)
        let cases: [(&[u8], Result<&[[i32; 2]], &str>); 8] = [
            (&[0], Ok(&[])),
            (&[1, 0, 0], Ok(&[[-1, -2]])),
            (&[1, 2, 0, 0, 1, 0, 0], Ok(&[[1, 2], [-1, -2], [-3, -4]])),
            (&[1, 0, 1, 1, 0, 0, 0], Ok(&[[-1, 1], [2, -4], [-2, -3]])),
            (&[], Err("has no nodes, and is not complete")),
            (&[0, 0, 1], Err("has 3 nodes, and is not complete")),
            (&[0, 1, 0, 0], Err("has 4 nodes, but is complete with fewer")),
            (&[1, 0, 0, 0, 0], Err("has 5 nodes, but is complete with fewer")),
        ];
        for (kinds, expected) in cases {
            let leaves = kinds.len() - kinds.iter().filter(|kind| **kind != LEAF).count();
            let split = Split { feature: 0, threshold: 0.0, rule: Rule::MissingLeft, children: [0, 0] };
            let mut splits = vec![split; kinds.len() - leaves];
            let joined = join(kinds, &mut splits, leaves);
            let children: Vec<[i32; 2]> = splits.iter().map(|split| split.children).collect();
            assert_eq!(joined.as_ref().map(|()| &children[..]).map_err(String::as_str), expected, "{kinds:?}");
        }
    }
}
