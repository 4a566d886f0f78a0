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

    fn take(&mut self) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(self.size)?;
        self.bytes = rest;
        Some(taken)
    }

    /// A whole number of 1, 2 or 4 bytes.
    fn whole(&mut self) -> Option<u32> {
        let bytes = self.take()?;
        let mut all = [0; 4];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u32::from_le_bytes(all))
    }

    /// A float of 4 or 8 bytes.
    fn float(&mut self) -> Option<f64> {
        let bytes = self.take()?;
        match bytes.first_chunk() {
            Some(bytes) => Some(f64::from_le_bytes(*bytes)),
            None => bytes.first_chunk().map(|bytes| f64::from(f32::from_le_bytes(*bytes))),
        }
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

/// One tree.
#[derive(Default)]
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
        let mut tree = Tree::default();
        // Splits whose left, or right, child comes next.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let count = self.counts.whole().ok_or_else(cut)?;
        for at in 0..count {
            let kind = self.kinds.whole().ok_or_else(cut)?;
            let cover = self.covers.as_mut().and_then(List::float);
            let child = if kind == 0 {
                for _ in 0..shape.width {
                    tree.leaves.push(self.leaves.float().ok_or_else(cut)?);
                }
                tree.covers[1].extend(cover);
                tree.numbers.push(match &mut self.numbers {
                    Some(numbers) => numbers.whole().ok_or_else(cut)?,
                    None => at,
                });
                i32::try_from(tree.numbers.len()).map(|count| -count)
            } else {
                tree.covers[0].extend(cover);
                let feature = self.features.whole().ok_or_else(cut)?;
                let threshold = self.thresholds.float().ok_or_else(cut)?;
                let rule = self.rule(kind, &mut tree.sets)?;
                tree.splits.push(Split { feature, threshold, rule, children: [0, 0] });
                i32::try_from(tree.splits.len() - 1)
            };
            let child = child.map_err(|_| "has too many nodes")?;
            match open.pop() {
                Some((parent, side)) => {
                    tree.splits[parent].children[side] = child;
                    if side == 0 {
                        open.push((parent, 1));
                    }
                }
                None if at > 0 => return Err(format!("has {count} nodes, but is complete with {at}")),
                None => {}
            }
            if kind != 0 {
                open.push((tree.splits.len() - 1, 0));
            }
        }
        if count == 0 || !open.is_empty() {
            return Err(format!("has {count} nodes, and is not complete"));
        }
        Ok(tree)
    }

    /// The rule of a split; a set is taken from the words.
    fn rule(&mut self, kind: u32, sets: &mut Vec<Vec<u32>>) -> Read<Rule> {
        Ok(match kind {
            1 => Rule::MissingLeft,
            2 => Rule::MissingRight,
            3 => Rule::MissingIsZero,
            4 => Rule::ZeroLeft,
            5 => Rule::ZeroRight,
            6 | 7 => {
                let size = self.sizes.whole().ok_or("is beyond the sets of categories")?;
                // Fewer than are left, so that a short file cannot ask for much memory.
                if size as usize > self.words.bytes.len() / self.words.size {
                    return Err(format!("has a set of {size} words, which are not there"));
                }
                sets.push((0..size).filter_map(|_| self.words.whole()).collect());
                let set = u32::try_from(sets.len() - 1).map_err(|_| "has too many nodes")?;
                if kind == 6 { Rule::Categories(set) } else { Rule::CategoriesOrMissing(set) }
            }
            other => return Err(format!("has a node of the kind {other}, which is not known")),
        })
    }
}
