//! Shapes in which one axis may be that of the rows, wherever it stands.
//!
//! A slot holds the elements of one row after the other, so an axis of rows that moves costs nothing.

use super::planner::Planned;

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// As many as there are rows; once at most.
    Rows,
    Size(usize),
}

/// More elements than any row has; a number beyond it would only take memory.
pub(super) const MOST_ELEMENTS: usize = 1 << 22;

/// Which element of a row each element of a result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Map {
    /// The one at the same place.
    Same,
    /// The first, for all.
    First,
    Picks(Vec<u32>),
}

/// Elements of a row.
pub(super) fn each(shape: &[Axis]) -> Planned<usize> {
    let size = |axis: &Axis| if let Axis::Size(size) = axis { *size } else { 1 };
    let product = shape.iter().map(size).try_fold(1_usize, usize::checked_mul);
    product
        .filter(|count| *count <= MOST_ELEMENTS)
        .ok_or_else(|| format!("a row of more than {MOST_ELEMENTS} elements"))
}

/// Where the rows are; `None` for a constant.
pub(super) fn rows_at(shape: &[Axis]) -> Option<usize> {
    shape.iter().position(|axis| *axis == Axis::Rows)
}

/// The sizes of a row.
pub(super) fn sizes(shape: &[Axis]) -> Vec<usize> {
    shape.iter().filter_map(|axis| if let Axis::Size(size) = axis { Some(*size) } else { None }).collect()
}

/// What two shapes are together.
pub(super) fn broadcast(a: &[Axis], b: &[Axis]) -> Planned<Vec<Axis>> {
    let rank = a.len().max(b.len());
    let axis = |shape: &[Axis], at: usize| (at + shape.len()).checked_sub(rank).map_or(Axis::Size(1), |at| shape[at]);
    let mut shape = Vec::with_capacity(rank);
    for at in 0..rank {
        shape.push(match (axis(a, at), axis(b, at)) {
            (one, other) if one == other => one,
            (Axis::Size(1), other) => other,
            (one, Axis::Size(1)) => one,
            _ => return Err("shapes that do not fit each other".to_owned()),
        });
    }
    let rows = shape.iter().filter(|axis| **axis == Axis::Rows).count();
    if rows > 1 { Err("rows beside rows".to_owned()) } else { Ok(shape) }
}

/// Where each element of a row of `to`, which `from` was broadcast to, is in a row of `from`.
pub(super) fn spread(from: &[Axis], to: &[Axis]) -> Planned<Map> {
    let count = each(to)?;
    if each(from)? == 1 {
        return Ok(if count == 1 { Map::Same } else { Map::First });
    }
    if sizes(from) == sizes(to) {
        return Ok(Map::Same);
    }
    let mut strides = Vec::new();
    let mut stride = 1;
    for (at, axis) in to.iter().enumerate().rev() {
        let Axis::Size(size) = axis else { continue };
        let own = match (at + from.len()).checked_sub(to.len()).map(|at| from[at]) {
            Some(Axis::Size(size)) => size,
            _ => 1,
        };
        strides.push((*size, if own == 1 { 0 } else { stride }));
        stride *= own;
    }
    strides.reverse();
    Ok(Map::picks(walk(&strides, count)))
}

/// The axes of `shape` in the order of `order`, which names each of them once.
pub(super) fn transpose(shape: &[Axis], order: &[usize]) -> Planned<(Vec<Axis>, Map)> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for (at, axis) in shape.iter().enumerate().rev() {
        if let Axis::Size(size) = axis {
            strides[at] = stride;
            stride *= size;
        }
    }
    let size = |at: &usize| if let Axis::Size(size) = shape[*at] { Some((size, strides[*at])) } else { None };
    let steps: Vec<(usize, usize)> = order.iter().filter_map(size).collect();
    let count = each(shape)?;
    Ok((order.iter().map(|at| shape[*at]).collect(), Map::picks(walk(&steps, count))))
}

/// The places that one gets to by (size, stride) of each axis, the last one fastest.
fn walk(axes: &[(usize, usize)], count: usize) -> Vec<u32> {
    let mut places = Vec::with_capacity(count);
    let mut at = vec![0; axes.len()];
    for _ in 0..count {
        let place: usize = at.iter().zip(axes).map(|(at, (_, stride))| at * stride).sum();
        // Rows have fewer elements than that.
        places.push(u32::try_from(place).unwrap_or(u32::MAX));
        for (at, (size, _)) in at.iter_mut().zip(axes).rev() {
            *at += 1;
            if *at < *size {
                break;
            }
            *at = 0;
        }
    }
    places
}

/// The shape that `target` makes of `shape`, as Reshape has it: elements stay in their order.
pub(super) fn reshape(shape: &[Axis], target: &[i64]) -> Planned<Vec<Axis>> {
    let unknown = || "a Reshape to another number of rows".to_owned();
    let count = each(shape)?;
    let mut axes: Vec<Option<Axis>> = Vec::new();
    for (at, size) in target.iter().enumerate() {
        axes.push(match size {
            0 => Some(*shape.get(at).ok_or_else(unknown)?),
            -1 => None,
            size => Some(Axis::Size(usize::try_from(*size).map_err(|_| unknown())?)),
        });
    }
    let has_rows = axes.contains(&Some(Axis::Rows));
    let mut known = axes.iter().flatten().map(|axis| if let Axis::Size(size) = axis { *size } else { 1 });
    let known = known.try_fold(1_usize, usize::checked_mul).ok_or_else(unknown)?;
    let open = match rows_at(shape) {
        Some(_) if !has_rows => Axis::Rows,
        _ => Axis::Size(count.checked_div(known).ok_or_else(unknown)?),
    };
    if axes.iter().filter(|axis| axis.is_none()).count() > 1 {
        return Err(unknown());
    }
    let reshaped: Vec<Axis> = axes.into_iter().map(|axis| axis.unwrap_or(open)).collect();
    // The same elements come before the rows and after them.
    let parts = |shape: &[Axis]| match rows_at(shape) {
        Some(at) => Ok((each(&shape[..at])?, Some(each(&shape[at + 1..])?))),
        None => Ok::<_, String>((each(shape)?, None)),
    };
    if parts(shape)? == parts(&reshaped)? { Ok(reshaped) } else { Err(unknown()) }
}

/// The place of an axis that may be counted from the end.
pub(super) fn place(axis: i64, rank: usize) -> Planned<usize> {
    let at = if axis < 0 {
        usize::try_from(-axis).ok().and_then(|back| rank.checked_sub(back))
    } else {
        usize::try_from(axis).ok()
    };
    at.filter(|at| *at < rank).ok_or_else(|| format!("the axis {axis} of {rank}"))
}

impl Map {
    /// [`Self::Same`] if it is.
    pub(super) fn picks(picks: Vec<u32>) -> Self {
        if picks.iter().zip(0..).all(|(pick, at)| *pick == at) { Self::Same } else { Self::Picks(picks) }
    }

    /// The element at a place of the result.
    pub(super) fn at(&self, place: usize) -> usize {
        match self {
            Self::Same => place,
            Self::First => 0,
            Self::Picks(picks) => picks.get(place).map_or(usize::MAX, |pick| *pick as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Axis::{Rows, Size};
    use super::*;

    #[test]
    fn shapes_are_broadcast_as_numpy_does() {
        type Case<'a> = (&'a [Axis], &'a [Axis], Option<&'a [Axis]>);
        let cases: [Case<'_>; 8] = [
            (&[Rows, Size(3)], &[Size(3)], Some(&[Rows, Size(3)])),
            (&[Rows, Size(1)], &[Size(1), Size(2)], Some(&[Rows, Size(2)])),
            (&[Rows, Size(1), Size(6)], &[Size(1), Size(2), Size(6)], Some(&[Rows, Size(2), Size(6)])),
            (&[Rows, Size(3)], &[Rows, Size(1)], Some(&[Rows, Size(3)])),
            (&[Rows, Size(3)], &[], Some(&[Rows, Size(3)])),
            (&[Rows], &[Rows, Size(1)], None),
            (&[Rows, Size(3)], &[Size(2), Size(1)], None),
            (&[Rows, Size(3)], &[Size(2)], None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(broadcast(a, b).ok().as_deref(), expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn elements_are_spread_and_transposed() {
        let spread_to = |from: &[Axis], to: &[Axis]| spread(from, to).unwrap();
        assert_eq!(spread_to(&[Size(2), Size(1)], &[Rows, Size(2), Size(3)]), Map::Picks(vec![0, 0, 0, 1, 1, 1]));
        assert_eq!(spread_to(&[Rows, Size(1), Size(3)], &[Rows, Size(2), Size(3)]), Map::Picks(vec![0, 1, 2, 0, 1, 2]));
        assert_eq!(spread_to(&[Size(1), Size(3)], &[Rows, Size(3)]), Map::Same);
        assert_eq!(spread_to(&[], &[Rows, Size(3)]), Map::First);
        let (shape, map) = transpose(&[Size(2), Size(3), Rows], &[2, 1, 0]).unwrap();
        assert_eq!((shape, map), (vec![Rows, Size(3), Size(2)], Map::Picks(vec![0, 3, 1, 4, 2, 5])));
        assert_eq!(transpose(&[Size(1), Rows], &[1, 0]).unwrap(), (vec![Rows, Size(1)], Map::Same));
    }

    #[test]
    fn reshapes_keep_rows_where_elements_are() {
        type Case<'a> = (&'a [Axis], &'a [i64], Option<&'a [Axis]>);
        let cases: [Case<'_>; 12] = [
            (&[Rows, Size(1), Size(7)], &[-1, 7], Some(&[Rows, Size(7)])),
            (&[Size(1), Rows], &[-1], Some(&[Rows])),
            (&[Rows], &[-1, 1], Some(&[Rows, Size(1)])),
            (&[Rows, Size(2)], &[1, -1, 2], Some(&[Size(1), Rows, Size(2)])),
            (&[Size(2), Rows, Size(2)], &[1, 2, -1, 2], Some(&[Size(1), Size(2), Rows, Size(2)])),
            (&[Rows, Size(6)], &[0, -1, 3], Some(&[Rows, Size(2), Size(3)])),
            (&[Size(6)], &[-1, 3], Some(&[Size(2), Size(3)])),
            (&[Rows, Size(2)], &[-1], None),
            (&[Rows, Size(2)], &[2, -1], None),
            (&[Rows, Size(2)], &[1, 2], None),
            (&[Rows, Size(2)], &[-1, -1], None),
            (&[Rows, Size(2)], &[-2, 2], None),
        ];
        for (shape, target, expected) in cases {
            assert_eq!(reshape(shape, target).ok().as_deref(), expected, "{shape:?} {target:?}");
        }
    }
}
