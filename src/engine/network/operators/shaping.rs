//! What changes where numbers are, and not the numbers: most of it is another view of the same memory.

use std::ops::Range;

use crate::engine::network::plan::{FLOAT, Known, Planned, Planner, axis_of, count_of, int, only, slot_of};
use crate::engine::network::program::Step;
use crate::engine::network::view::{MOST_AXES, Place, View, Walk};
use crate::engine::network::weights::Constant;
use crate::onnx::{Data, FullNode};

/// A value with rows, and what names another view of it again.
fn of_rows<'a>(planner: &Planner<'a>, node: &FullNode<'a>) -> Planned<(View, fn(View) -> Known<'a>)> {
    match planner.value(node, 0)? {
        Known::Floats(view) => Ok((view, Known::Floats)),
        Known::Ints(view) => Ok((view, Known::Ints)),
        Known::Constant(_) => Err("has a constant where rows are known".to_owned()),
    }
}

/// The numbers of a constant of int64 that is a list, with one for each axis at most.
fn list<'a>(planner: &Planner<'a>, node: &FullNode<'a>, at: usize) -> Planned<&'a [i64]> {
    let constant = planner.constant(node, at)?;
    let is_list = constant.dims().is_some_and(|dims| matches!(dims[..], [count] if count <= MOST_AXES));
    constant
        .ints()
        .filter(|_| is_list)
        .ok_or_else(|| "has a list that is not of int64, or too long for axes".to_owned())
}

/// Gives a value new dimensions of the same count.
fn shaped<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>, dims: Vec<usize>) -> Planned<()> {
    let (view, known) = of_rows(planner, node)?;
    if count_of(&dims)? != view.count() {
        return Err(format!("makes {dims:?} of {:?} for each row", view.dims));
    }
    let view = match known(view) {
        Known::Floats(view) if !view.is_dense() => planner.copied(&view)?,
        Known::Ints(view) if !view.is_dense() => return Err("has whole numbers in another order".to_owned()),
        Known::Floats(view) | Known::Ints(view) => view,
        Known::Constant(_) => return Err("has a constant where rows are known".to_owned()),
    };
    planner.name(node, known(view.reshaped(dims)))
}

pub(super) fn reshape<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["allowzero"])?;
    let (view, _) = of_rows(planner, node)?;
    let target = list(planner, node, 1)?;
    let unknown = || format!("makes {target:?} of {:?} for each row", view.dims);
    let (Some((rows, rest)), 0) = (target.split_first(), int(node, "allowzero", 0)?) else { return Err(unknown()) };
    let mut dims = Vec::new();
    let mut open = None;
    for (at, size) in rest.iter().enumerate() {
        match *size {
            -1 if open.replace(at).is_none() => dims.push(1),
            0 => dims.push(*view.dims.get(at).ok_or_else(unknown)?),
            size @ 1.. => dims.push(usize::try_from(size).map_err(|_| unknown())?),
            _ => return Err(unknown()),
        }
    }
    let rest = count_of(&dims)?;
    match (*rows, open) {
        // The rows stay as many as they are, whether that is said or follows.
        (0, Some(at)) if rest > 0 && view.count() % rest == 0 => dims[at] = view.count() / rest,
        (0 | -1, None) => {}
        _ => return Err(unknown()),
    }
    shaped(planner, node, dims)
}

pub(super) fn flatten<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let (view, _) = of_rows(planner, node)?;
    let axis = int(node, "axis", 1)?;
    if axis_of(axis, view.dims.len() + 1)? != 0 {
        return Err("joins other axes with the rows".to_owned());
    }
    shaped(planner, node, vec![view.count()])
}

/// Axes of a squeeze or the like: an attribute, or since version 13 an input.
fn axes<'a>(planner: &Planner<'a>, node: &'a FullNode<'a>) -> Planned<&'a [i64]> {
    only(node, &["axes"])?;
    match (node.get("axes"), node.inputs.len()) {
        (Some(Data::Ints(axes)), 1) => Ok(axes),
        (None, 2) => list(planner, node, 1),
        _ => Err("has axes that are not known".to_owned()),
    }
}

pub(super) fn squeeze<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    let (view, _) = of_rows(planner, node)?;
    let mut dims = view.dims.clone();
    let rank = dims.len() + 1;
    let mut gone = axes(planner, node)?.iter().map(|axis| axis_of(*axis, rank)).collect::<Planned<Vec<_>>>()?;
    gone.sort_unstable();
    gone.dedup();
    for axis in gone.into_iter().rev() {
        if dims.remove(axis) != 1 {
            return Err("takes away an axis that is not 1".to_owned());
        }
    }
    shaped(planner, node, dims)
}

pub(super) fn unsqueeze<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    let (view, _) = of_rows(planner, node)?;
    let axes = axes(planner, node)?;
    let rank = view.dims.len() + 1 + axes.len();
    let mut new = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Planned<Vec<_>>>()?;
    new.sort_unstable();
    if new.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("makes an axis twice".to_owned());
    }
    let mut dims = view.dims;
    for axis in new {
        if axis > dims.len() {
            return Err("makes an axis that is not known".to_owned());
        }
        dims.insert(axis, 1);
    }
    shaped(planner, node, dims)
}

pub(super) fn transpose<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["perm"])?;
    let (view, known) = of_rows(planner, node)?;
    let rank = view.dims.len() + 1;
    let unknown = || "has an order of axes that is not known".to_owned();
    let order = node.ints("perm").filter(|order| order.len() == rank).ok_or_else(unknown)?;
    let Some((0, rest)) = order.split_first() else { return Err("moves the rows to another axis".to_owned()) };
    let order = rest.iter().map(|axis| axis_of(*axis, rank)).collect::<Planned<Vec<usize>>>()?;
    if (0..order.len()).any(|axis| !order.contains(&axis)) {
        return Err(unknown());
    }
    planner.name(node, known(view.turned(&order)))
}

pub(super) fn same<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, if node.operator == "Dropout" { &["ratio", "seed"] } else { &[] })?;
    if let Some(Known::Constant(training)) = planner.optional(node, 2)?
        && training.bools() != Some(&[false])
    {
        return Err("may be in training".to_owned());
    }
    let (view, known) = of_rows(planner, node)?;
    planner.name(node, known(view))
}

pub(super) fn cast<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["to", "saturate", "round_mode"])?;
    if u64::try_from(int(node, "to", 0)?) != Ok(FLOAT) {
        return Err("makes another type than float32".to_owned());
    }
    match planner.value(node, 0)? {
        Known::Floats(view) => planner.name(node, Known::Floats(view)),
        Known::Ints(from) => {
            let to = planner.floats(from.dims.clone())?;
            let (walk, slot) = (Walk::new([&from, &to]), slot_of(&to)?);
            planner.program.steps.push(Step::Number { from, walk, to: slot });
            planner.name(node, Known::Floats(to))
        }
        Known::Constant(_) => Err("has a constant where rows are known".to_owned()),
    }
}

pub(super) fn constant<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["value"])?;
    match node.get("value") {
        Some(Data::Tensor(tensor)) => planner.name(node, Known::Constant(Constant::Small(tensor))),
        _ => Err("has another value than a tensor".to_owned()),
    }
}

pub(super) fn gather<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let axis = int(node, "axis", 0)?;
    match (planner.value(node, 0)?, planner.value(node, 1)?) {
        (Known::Constant(table), Known::Ints(ids)) => look(planner, node, table, ids, axis),
        (Known::Floats(view), Known::Constant(at)) => {
            planner.reads(at)?;
            let part = chosen(&view, at, axis)?;
            planner.name(node, Known::Floats(part))
        }
        (Known::Ints(view), Known::Constant(at)) => {
            planner.reads(at)?;
            let part = chosen(&view, at, axis)?;
            planner.name(node, Known::Ints(part))
        }
        _ => Err("has inputs that are not known together".to_owned()),
    }
}

/// Entries of a table by the rows' whole numbers.
fn look<'a>(
    planner: &mut Planner<'a>,
    node: &'a FullNode<'a>,
    table: Constant<'a>,
    ids: View,
    axis: i64,
) -> Planned<()> {
    let table = planner.kept(table)?;
    let rank = i64::try_from(table.dims.len()).unwrap_or(0);
    let Some((entries, rest)) = table.dims.split_first().filter(|_| axis == 0 || axis == -rank) else {
        return Err("looks along another axis than the first one of a table".to_owned());
    };
    let width = count_of(rest)?;
    if width == 0 || *entries == 0 {
        return Err("has an empty table".to_owned());
    }
    let Place::Constant(constant) = table.place else { return Err("has no table".to_owned()) };
    let to = planner.floats([&ids.dims[..], rest].concat())?;
    let walk = Walk::new([&ids, &starts(&to, ids.dims.len())]);
    planner.program.steps.push(Step::Look { table: constant, width, ids, walk, to: slot_of(&to)? });
    planner.name(node, Known::Floats(to))
}

/// Where what the first axes of a value tell apart begins.
pub(super) fn starts(to: &View, axes: usize) -> View {
    let mut starts = to.clone();
    starts.dims.truncate(axes);
    starts.strides.truncate(axes);
    starts
}

/// One place of an axis, which goes, or several that follow each other.
fn chosen(view: &View, at: Constant<'_>, axis: i64) -> Planned<View> {
    let axis = axis_of(axis, view.dims.len() + 1)?;
    let unknown = || "has places along an axis that are not known".to_owned();
    let (numbers, dims) = (at.ints().ok_or_else(unknown)?, at.dims().ok_or_else(unknown)?);
    let size = view.dims[axis];
    let place = |number: &i64| {
        let number = if *number < 0 { number.checked_add_unsigned(size as u64)? } else { *number };
        usize::try_from(number).ok().filter(|at| *at < size)
    };
    let places = numbers.iter().map(place).collect::<Option<Vec<usize>>>().ok_or_else(unknown)?;
    let &first = places.first().ok_or_else(unknown)?;
    if dims.len() > 1 || places.iter().enumerate().any(|(at, place)| *place != first + at) {
        return Err(unknown());
    }
    let mut part = view.part(axis, first..first + places.len());
    if dims.is_empty() {
        part.dims.remove(axis);
        part.strides.remove(axis);
    }
    Ok(part)
}

pub(super) fn slice<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let (mut view, known) = of_rows(planner, node)?;
    let (starts, ends) = (list(planner, node, 1)?, list(planner, node, 2)?);
    let axes = if node.inputs.len() > 3 { list(planner, node, 3)? } else { &[] };
    let steps = if node.inputs.len() > 4 { list(planner, node, 4)? } else { &[] };
    // Without axes, the first one is that of the rows.
    if axes.len() != starts.len() || ends.len() != starts.len() || steps.iter().any(|step| *step != 1) {
        return Err("has a form that is not known".to_owned());
    }
    let mut done = Vec::new();
    for ((start, end), axis) in starts.iter().zip(ends).zip(axes) {
        let axis = axis_of(*axis, view.dims.len() + 1)?;
        let range = range_of(*start, *end, view.dims[axis]).filter(|_| !done.contains(&axis));
        view = view.part(axis, range.ok_or("has a part that is not known")?);
        done.push(axis);
    }
    planner.name(node, known(view))
}

/// A part of an axis that is not empty; bounds below 0 count from the end, and those beyond it are the end.
fn range_of(start: i64, end: i64, size: usize) -> Option<Range<usize>> {
    let whole = i64::try_from(size).ok()?;
    let bound = |at: i64| usize::try_from(if at < 0 { at + whole } else { at }.clamp(0, whole)).ok();
    let range = bound(start)?..bound(end)?;
    (!range.is_empty()).then_some(range)
}
