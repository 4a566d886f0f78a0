//! What is known of a value of the graph without running it.

/// A dimension of one row: a size, or one that is not known but is the same for all rows and any number of them.
pub(super) type Dims = Vec<Option<i64>>;

/// One number of a shape that the graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// The number of rows.
    Rows,
    /// This number.
    Number(i64),
    /// Some number that has nothing to do with rows.
    Open,
}

/// A value of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// The same for any rows and any number of them, with its dimensions and, if they are few, its whole numbers.
    Fixed(Option<Dims>, Option<Vec<i64>>),
    /// The first axis is that of the rows, and what it has at a row depends on that row of the inputs alone. With the
    /// dimensions behind the first.
    Rows(Option<Dims>),
    /// Numbers made of shapes: a list, or a single number if `is_scalar`.
    Sizes { sizes: Vec<Size>, is_scalar: bool },
    /// Nothing, for this reason.
    Unknown(String),
}

impl Known {
    pub(super) fn fixed() -> Self {
        Self::Fixed(None, None)
    }

    /// Rank, if it is known.
    pub(super) fn rank(&self) -> Option<usize> {
        match self {
            Self::Fixed(dims, _) => dims.as_ref().map(Vec::len),
            Self::Rows(dims) => dims.as_ref().map(|dims| dims.len() + 1),
            Self::Sizes { is_scalar, .. } => Some(usize::from(!is_scalar)),
            Self::Unknown(_) => None,
        }
    }

    /// It as numbers of a shape.
    pub(super) fn sizes(&self) -> Option<Vec<Size>> {
        match self {
            Self::Fixed(_, Some(ints)) => Some(ints.iter().map(|number| Size::Number(*number)).collect()),
            Self::Sizes { sizes, .. } => Some(sizes.clone()),
            _ => None,
        }
    }

    /// Its whole numbers, if it has such that never change.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        self.sizes()?
            .into_iter()
            .map(|size| if let Size::Number(number) = size { Some(number) } else { None })
            .collect()
    }

    /// Whether it is fixed, and of one element.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::Fixed(Some(dims), _) if dims.iter().all(|dim| *dim == Some(1)))
    }
}

/// The axis counted from the first, or `None` if it is not one of a tensor of this rank.
pub(super) fn axis_of(axis: i64, rank: Option<usize>) -> Option<usize> {
    if axis >= 0 {
        let axis = usize::try_from(axis).ok()?;
        return rank.is_none_or(|rank| axis < rank).then_some(axis);
    }
    rank?.checked_sub(usize::try_from(axis.checked_neg()?).ok()?)
}
