//! Steps that make each element of the elements at its place, after shapes were broadcast.

use super::planner::{Planned, Planner, Value};
use super::program::{Block, Source};
use super::shape::{Axis, Map, each, spread};
use super::values::Element;

/// One of the values that elements are made of.
#[derive(Debug)]
pub(super) struct Side {
    source: Source,
    map: Map,
}

impl Side {
    /// `value` as it is after it was broadcast to `shape`.
    pub(super) fn new(planner: &Planner<'_>, value: &Value, shape: &[Axis]) -> Planned<Self> {
        Ok(Self { source: planner.source(value), map: spread(&value.shape, shape)? })
    }

    fn row<'b, T>(&self, elements: &'b [T], row: usize) -> &'b [T] {
        self.source.row(elements, row)
    }

    /// Whether all elements of all rows are in place.
    fn is_flat(&self) -> bool {
        self.map == Map::Same && self.source.stride > 0
    }

    fn at<T: Copy>(&self, row: &[T], place: usize) -> Option<T> {
        row.get(self.map.at(place)).copied()
    }
}

/// Elements of one value.
pub(super) fn apply<'a, A: Element<'a>, O: Element<'a>>(
    block: &mut Block<'a>,
    from: usize,
    to: usize,
    f: impl Fn(A) -> O,
) {
    block.make(to, |block, out| out.extend(block.get::<A>(from).iter().map(|value| f(*value))));
}

/// Elements of two values, as many in a row as `shape` has.
pub(super) fn zip<'a, A: Element<'a>, O: Element<'a>>(
    block: &mut Block<'a>,
    [left, right]: [&Side; 2],
    (each, to): (usize, usize),
    f: impl Fn(A, A) -> O,
) {
    block.make(to, |block, out| {
        let (a, b) = (block.get::<A>(left.source.slot), block.get::<A>(right.source.slot));
        if left.is_flat() && right.is_flat() {
            out.extend(a.iter().zip(b).map(|(a, b)| f(*a, *b)));
            return;
        }
        for row in 0..block.rows {
            let (a, b) = (left.row(a, row), right.row(b, row));
            match (&left.map, &right.map) {
                (Map::Same, Map::Same) => out.extend(a.iter().zip(b).map(|(a, b)| f(*a, *b))),
                (Map::Same, Map::First) => out.extend(b.first().into_iter().flat_map(|b| a.iter().map(|a| f(*a, *b)))),
                _ => out.extend((0..each).filter_map(|at| Some(f(left.at(a, at)?, right.at(b, at)?)))),
            }
        }
    });
}

/// Elements of the second value where the first one is true, and of the third elsewhere.
pub(super) fn choose<'a, T: Element<'a>>(block: &mut Block<'a>, sides: &[Side; 3], each: usize, to: usize) {
    let [which, yes, no] = sides;
    block.make(to, |block, out: &mut Vec<T>| {
        let is_yes = block.get::<bool>(which.source.slot);
        let (a, b) = (block.get::<T>(yes.source.slot), block.get::<T>(no.source.slot));
        for row in 0..block.rows {
            let (is_yes, a, b) = (which.row(is_yes, row), yes.row(a, row), no.row(b, row));
            out.extend((0..each).filter_map(|at| if which.at(is_yes, at)? { yes.at(a, at) } else { no.at(b, at) }));
        }
    });
}

/// Sums of any number of values, in float64.
pub(super) fn sum<'a, T: Element<'a> + Into<f64>>(
    block: &mut Block<'a>,
    sides: &[Side],
    (each, to): (usize, usize),
    finish: impl Fn(f64) -> T,
) {
    block.make(to, |block, out| {
        for row in 0..block.rows {
            out.extend((0..each).map(|at| {
                let part = |side: &Side| side.at(side.row(block.get::<T>(side.source.slot), row), at);
                finish(sides.iter().filter_map(part).map(Into::into).sum())
            }));
        }
    });
}

/// How many elements a row of `shape` has, and the sides broadcast to it.
pub(super) fn sides<const N: usize>(
    planner: &Planner<'_>,
    values: [&Value; N],
    shape: &[Axis],
) -> Planned<(usize, [Side; N])> {
    let mut sides = Vec::with_capacity(N);
    for value in values {
        sides.push(Side::new(planner, value, shape)?);
    }
    let sides = sides.try_into().map_err(|_| "too few inputs".to_owned())?;
    Ok((each(shape)?, sides))
}
