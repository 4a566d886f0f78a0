//! One tree as files have it, and what is checked before it is believed.

/// How a node decides. Numbers go left if they are at most the threshold; the rest is about missing ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The same, and missing numbers go left.
    CategoriesOrMissing(u32),
}

impl Rule {
    /// The set of categories, if it is about one.
    pub(super) fn set(self) -> Option<u32> {
        match self {
            Self::Categories(set) | Self::CategoriesOrMissing(set) => Some(set),
            _ => None,
        }
    }

    /// The same rule, with sets numbered from `first` on.
    pub(super) fn renumbered(self, first: u32) -> Self {
        match self {
            Self::Categories(set) => Self::Categories(first + set),
            Self::CategoriesOrMissing(set) => Self::CategoriesOrMissing(first + set),
            other => other,
        }
    }
}

/// A node of one tree: a child that is not negative is a node, any other the leaf `!child`.
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

/// A child, as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Split(usize),
    Leaf(usize),
}

impl Child {
    pub(super) fn of(child: i32) -> Self {
        if child < 0 {
            Self::Leaf(child.unsigned_abs() as usize - 1)
        } else {
            Self::Split(child.unsigned_abs() as usize)
        }
    }
}

/// The place of a child in a list of all `leaves` leaves, from the last to the first, and of the nodes behind them. What is
/// before the list is nowhere in it.
#[inline]
pub(super) fn place(child: i32, leaves: usize) -> usize {
    leaves.wrapping_add_signed(child as isize)
}

/// Makes sure that every walk from the first node ends in a leaf, and that all it meets on the way is there.
///
/// Each leaf has `width` numbers.
pub(super) fn check(
    splits: &[Split],
    leaves: &[f64],
    width: usize,
    sets: usize,
    features: usize,
) -> Result<(), String> {
    if leaves.len() != (splits.len() + 1) * width {
        let (leaves, splits) = (leaves.len() / width.max(1), splits.len());
        return Err(format!("has {leaves} leaves and {splits} splits, expected one leaf more"));
    }
    if let Some(leaf) = leaves.iter().position(|value| !value.is_finite()) {
        return Err(format!("has the value {} in leaf {leaf}, expected a finite number", leaves[leaf]));
    }
    // Each node and leaf has one parent, and the root has none. Leaves come first, the last of them at 0: so no branch asks
    // which of both a child is, which would be taken wrongly half of the time.
    let mut is_taken = vec![false; 2 * splits.len() + 1];
    for (index, split) in splits.iter().enumerate() {
        for child in split.children {
            // Files number nodes in the order they were split, so that a parent comes before its children.
            let is_before = usize::try_from(child).is_ok_and(|child| child <= index);
            match is_taken.get_mut(place(child, splits.len() + 1)) {
                Some(taken @ false) if !is_before => *taken = true,
                _ => {
                    return Err(format!("has the child {child} in node {index}, which is no free node or leaf"));
                }
            }
        }
        if split.feature as usize >= features {
            let got = split.feature;
            return Err(format!("splits by column {got} in node {index}, but the model has {features}"));
        }
        if split.threshold.is_nan() {
            return Err(format!("has the threshold NaN in node {index}"));
        }
        if let Some(set) = split.rule.set().filter(|set| *set as usize >= sets) {
            return Err(format!("names the set of categories {set} in node {index}, which is not there"));
        }
    }
    Ok(())
}
