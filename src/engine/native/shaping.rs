//! Operators that move, pick and join elements, or only say how they are arranged.

use super::graph::{Known, MOST_AXES, Planned, Planner, Value, has, int, only};
use super::program::{Block, Source, Step, Trouble};
use super::shape::{self, Axis, MOST_ELEMENTS, Map, each, place, rows_at};
use super::values::{Element, by_kind};
use crate::onnx::{Data, FullNode};
use crate::tensor::DType;

/// Elements of a row, by their place in it.
#[derive(Debug)]
struct Pick {
    dtype: DType,
    source: Source,
    picks: Vec<u32>,
    to: usize,
}

/// Rows of several values side by side.
#[derive(Debug)]
struct Join {
    dtype: DType,
    parts: Vec<Source>,
    /// How many runs of elements each part has in a row.
    outer: usize,
    to: usize,
}

/// Elements of a constant, by whole numbers of the row.
#[derive(Debug)]
struct LookUp {
    dtype: DType,
    table: usize,
    /// Lengths of the table before, along and after the axis that is looked up.
    lengths: [usize; 3],
    /// Whether numbers below 0 count from the end.
    from_end: bool,
    from: Source,
    to: usize,
}

/// The same element everywhere.
#[derive(Debug)]
struct Fill {
    dtype: DType,
    from: usize,
    each: usize,
    to: usize,
}

pub(super) fn identity<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let known = planner.known(node, 0)?;
    planner.name(node, 0, known)
}

pub(super) fn concat<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let values = (0..node.inputs.len()).map(|at| planner.value(node, at)).collect::<Planned<Vec<_>>>()?;
    let rank = values.first().map_or(0, |value| value.shape.len());
    let axis = place(int(node, "axis", 1)?, rank)?;
    join(planner, node, &values, axis)
}

/// The columns of matrices of any numbers side by side, as float32.
pub(super) fn feature_vectorizer<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["inputdimensions"])?;
    let widths = node.ints("inputdimensions").ok_or("no whole numbers in `inputdimensions`")?;
    let mut values = Vec::new();
    for at in 0..node.inputs.len() {
        let (value, columns) = planner.matrix(node, at)?;
        if widths.get(at).is_none_or(|width| usize::try_from(*width) != Ok(columns)) || value.dtype == DType::Bool {
            return Err("other columns than its inputs".to_owned());
        }
        values.push(planner.cast(value, DType::Float32)?);
    }
    if widths.len() != values.len() {
        return Err("other columns than its inputs".to_owned());
    }
    join(planner, node, &values, 1)
}

fn join<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, values: &[Value], axis: usize) -> Planned<()> {
    let first = values.first().ok_or("no inputs")?;
    let mut shape = first.shape.clone();
    let mut along = 0;
    for value in values {
        let Some(Axis::Size(size)) = value.shape.get(axis) else { return Err("rows below rows".to_owned()) };
        along += size;
        let mut others = value.shape.clone();
        others[axis] = first.shape[axis];
        if others != first.shape || value.dtype != first.dtype {
            return Err("inputs of different shapes or types".to_owned());
        }
    }
    shape[axis] = Axis::Size(along);
    if let [one] = values {
        return planner.name(node, 0, Known::Value(one.clone()));
    }
    let outer = each(&shape[..axis])?;
    let parts = values.iter().map(|value| planner.source(value)).collect();
    let dtype = first.dtype;
    planner.emit(node, dtype, shape, |to| Join { dtype, parts, outer, to })
}

/// A value with the same elements in another shape.
fn arrange<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, value: &Value, shape: Vec<Axis>) -> Planned<()> {
    planner.name(node, 0, Known::Value(Value { shape, ..value.clone() }))
}

pub(super) fn reshape<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["allowzero"])?;
    let (value, target) = (planner.value(node, 0)?, planner.ints(node, 1, MOST_AXES)?);
    if int(node, "allowzero", 0)? != 0 && target.contains(&0) {
        return Err("a dimension of 0".to_owned());
    }
    let shape = shape::reshape(&value.shape, &target)?;
    arrange(planner, node, &value, shape)
}

pub(super) fn flatten<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let value = planner.of_rows(node, 0)?;
    let axis = int(node, "axis", 1)?;
    // Negative axes count differently in different versions; rows stay in front only after one of these.
    let (Some(0), Ok(axis @ 1..)) = (rows_at(&value.shape), usize::try_from(axis)) else {
        return Err("rows that do not stay in front".to_owned());
    };
    let (before, after) = value.shape.split_at_checked(axis).ok_or("an axis beyond its input")?;
    if each(before)? != 1 {
        return Err("rows that do not stay alone".to_owned());
    }
    let after = each(after)?;
    arrange(planner, node, &value, vec![Axis::Rows, Axis::Size(after)])
}

/// The axes of Squeeze, Unsqueeze and the like: an attribute before version 13, an input since.
pub(super) fn axes<'a>(planner: &Planner<'a>, node: &FullNode<'a>, since: u64) -> Planned<Vec<i64>> {
    if planner.version < since {
        return node.ints("axes").map(<[i64]>::to_vec).ok_or_else(|| "no whole numbers in `axes`".to_owned());
    }
    if has(node, 1) { planner.ints(node, 1, MOST_AXES) } else { Ok(Vec::new()) }
}

pub(super) fn squeeze<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axes"])?;
    let value = planner.value(node, 0)?;
    let mut gone = vec![false; value.shape.len()];
    for axis in axes(planner, node, 13)? {
        gone[place(axis, value.shape.len())?] = true;
    }
    let is_one = value.shape.iter().zip(&gone).all(|(axis, gone)| !gone || *axis == Axis::Size(1));
    // Without axes it depends on the number of rows which of them are gone.
    if !is_one || !gone.contains(&true) {
        return Err("axes that are not of size 1".to_owned());
    }
    let shape = value.shape.iter().zip(gone).filter(|(_, gone)| !gone).map(|(axis, _)| *axis).collect();
    arrange(planner, node, &value, shape)
}

pub(super) fn unsqueeze<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axes"])?;
    let value = planner.value(node, 0)?;
    let axes = axes(planner, node, 13)?;
    let rank = value.shape.len() + axes.len();
    let mut is_new = vec![false; rank];
    for axis in &axes {
        is_new[place(*axis, rank)?] = true;
    }
    if is_new.iter().filter(|is_new| **is_new).count() != axes.len() {
        return Err("one axis twice".to_owned());
    }
    let mut old = value.shape.iter();
    let next = |is_new: bool| if is_new { Some(Axis::Size(1)) } else { old.next().copied() };
    let shape = is_new.into_iter().filter_map(next).collect();
    arrange(planner, node, &value, shape)
}

pub(super) fn transpose<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["perm"])?;
    let value = planner.value(node, 0)?;
    let rank = value.shape.len();
    let order: Vec<usize> = match node.ints("perm").ok_or("no whole numbers in `perm`")? {
        [] => (0..rank).rev().collect(),
        order => order.iter().map(|axis| place(*axis, rank)).collect::<Planned<_>>()?,
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().ne(0..rank) {
        return Err("axes that are not those of its input".to_owned());
    }
    let (shape, map) = shape::transpose(&value.shape, &order)?;
    pick(planner, node, 0, &value, shape, map)
}

/// Names a value of some of another's elements.
fn pick<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    output: usize,
    value: &Value,
    shape: Vec<Axis>,
    map: Map,
) -> Planned<()> {
    let source = planner.source(value);
    let count = each(&shape)?;
    let dtype = value.dtype;
    let made = match map {
        Map::Same if count == source.each => Value { shape, ..value.clone() },
        map => {
            let picks = (0..count).map(|at| u32::try_from(map.at(at)).unwrap_or(u32::MAX)).collect();
            planner.add(dtype, shape, |to| Pick { dtype, source, picks, to })?
        }
    };
    planner.name(node, output, Known::Value(made))
}

/// Which elements of a row stay if of an axis only these do, in this order.
fn along(shape: &[Axis], axis: usize, chosen: &[usize]) -> Planned<Map> {
    let Axis::Size(size) = shape[axis] else { return Err("a choice of rows".to_owned()) };
    let (outer, inner) = (each(&shape[..axis])?, each(&shape[axis + 1..])?);
    let mut picks = Vec::with_capacity(outer * chosen.len() * inner);
    for start in (0..outer).map(|outer| outer * size * inner) {
        for at in chosen {
            picks.extend((0..inner).filter_map(|inner_at| u32::try_from(start + at * inner + inner_at).ok()));
        }
    }
    Ok(Map::picks(picks))
}

fn with_size(shape: &[Axis], axis: usize, size: usize) -> Vec<Axis> {
    let mut shape = shape.to_vec();
    shape[axis] = Axis::Size(size);
    shape
}

pub(super) fn gather<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let (value, which) = (planner.value(node, 0)?, planner.value(node, 1)?);
    let axis = place(int(node, "axis", 0)?, value.shape.len())?;
    let Axis::Size(size) = value.shape[axis] else { return Err("a choice of rows".to_owned()) };
    let mut shape = value.shape.clone();
    shape.splice(axis..=axis, which.shape.iter().copied());
    if rows_at(&which.shape).is_some() {
        return look_up(planner, node, [&value, &which], shape, axis, true);
    }
    let chosen =
        planner.ints(node, 1, MOST_ELEMENTS)?.into_iter().map(|at| place(at, size)).collect::<Planned<Vec<_>>>()?;
    each(&shape)?;
    let map = along(&value.shape, axis, &chosen)?;
    pick(planner, node, 0, &value, shape, map)
}

pub(super) fn array_feature_extractor<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let (value, which) = (planner.value(node, 0)?, planner.value(node, 1)?);
    let axis = value.shape.len().checked_sub(1).ok_or("an input without columns")?;
    let Axis::Size(size) = value.shape[axis] else { return Err("a choice of rows".to_owned()) };
    let count = each(&which.shape)?;
    let chosen = if rows_at(&which.shape).is_some() {
        // As many as there are rows, if each row has one.
        if count != 1 {
            return Err("several numbers in a row".to_owned());
        }
        Axis::Rows
    } else {
        Axis::Size(count)
    };
    // What is picked from a vector is a row.
    let mut shape = if axis == 0 { vec![Axis::Size(1)] } else { value.shape[..axis].to_vec() };
    shape.push(chosen);
    if chosen == Axis::Rows {
        return look_up(planner, node, [&value, &which], shape, axis, false);
    }
    let is_there = |at: i64| usize::try_from(at).ok().filter(|at| *at < size).ok_or("a column that is not there");
    let chosen = planner.ints(node, 1, MOST_ELEMENTS)?.into_iter().map(is_there).collect::<Result<Vec<_>, _>>()?;
    if chosen.is_empty() {
        return Err("no columns".to_owned());
    }
    let map = along(&value.shape, axis, &chosen)?;
    pick(planner, node, 0, &value, shape, map)
}

/// Elements of a constant by numbers of the rows.
fn look_up<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    [table, which]: [&Value; 2],
    shape: Vec<Axis>,
    axis: usize,
    from_end: bool,
) -> Planned<()> {
    let is_whole = matches!(which.dtype, DType::Int64 | DType::Int32);
    if rows_at(&table.shape).is_some() || !is_whole {
        return Err("a choice from rows by rows".to_owned());
    }
    let lengths = [each(&table.shape[..axis])?, each(&table.shape[axis..=axis])?, each(&table.shape[axis + 1..])?];
    let (dtype, from) = (table.dtype, planner.source(which));
    planner.emit(node, dtype, shape, |to| LookUp { dtype, table: table.slot, lengths, from_end, from, to })
}

pub(super) fn slice<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["starts", "ends", "axes"])?;
    let value = planner.value(node, 0)?;
    let rank = value.shape.len();
    let is_attribute = planner.version < 10;
    let list = |planner: &Planner<'a>, at: usize, name: &str| {
        if is_attribute {
            return node.ints(name).map(<[i64]>::to_vec).ok_or_else(|| "no whole numbers".to_owned());
        }
        if has(node, at) { planner.ints(node, at, MOST_AXES) } else { Ok(Vec::new()) }
    };
    let (starts, ends) = (list(planner, 1, "starts")?, list(planner, 2, "ends")?);
    let (mut axes, mut steps) = (list(planner, 3, "axes")?, list(planner, 4, "steps")?);
    if axes.is_empty() {
        axes = (0..).take(starts.len()).collect();
    }
    if steps.is_empty() {
        steps = vec![1; starts.len()];
    }
    let ([start], [end], [axis], [step]) = (&starts[..], &ends[..], &axes[..], &steps[..]) else {
        return Err("more than one slice".to_owned());
    };
    if *step < 1 {
        return Err("a step back".to_owned());
    }
    let axis = place(*axis, rank)?;
    let Axis::Size(size) = value.shape[axis] else { return Err("a choice of rows".to_owned()) };
    let length = i64::try_from(size).map_err(|_| "too many columns")?;
    let bound = |at: i64| if at < 0 { at.saturating_add(length) } else { at }.clamp(0, length);
    let step = usize::try_from(*step).map_err(|_| "a step that is too large")?;
    let range = bound(*start)..bound(*end);
    let chosen: Vec<usize> = range.step_by(step).filter_map(|at| usize::try_from(at).ok()).collect();
    let map = along(&value.shape, axis, &chosen)?;
    let shape = with_size(&value.shape, axis, chosen.len());
    pick(planner, node, 0, &value, shape, map)
}

pub(super) fn split<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["axis", "split"])?;
    let value = planner.value(node, 0)?;
    let axis = place(int(node, "axis", 0)?, value.shape.len())?;
    let sizes = if planner.version < 13 {
        node.ints("split").ok_or("no whole numbers in `split`")?.to_vec()
    } else {
        planner.ints(node, 1, node.outputs.len())?
    };
    let sizes = sizes.into_iter().map(|size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>();
    let sizes = sizes.filter(|sizes| sizes.len() == node.outputs.len()).ok_or("parts that are not its outputs")?;
    let total = sizes.iter().try_fold(0_usize, |total, size| total.checked_add(*size));
    if total.map(Axis::Size) != Some(value.shape[axis]) {
        return Err("parts that are not its input".to_owned());
    }
    let mut start = 0;
    for (output, size) in sizes.into_iter().enumerate() {
        let chosen: Vec<usize> = (start..start + size).collect();
        let map = along(&value.shape, axis, &chosen)?;
        let shape = with_size(&value.shape, axis, size);
        pick(planner, node, output, &value, shape, map)?;
        start += size;
    }
    Ok(())
}

pub(super) fn shape<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let value = planner.value(node, 0)?;
    planner.name(node, 0, Known::Shape(value.shape))
}

pub(super) fn constant<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let [("value", Data::Tensor(constant))] = node.attributes.as_slice() else {
        return Err("another value than a tensor".to_owned());
    };
    let value = planner.keep(constant)?;
    planner.name(node, 0, Known::Value(value))
}

pub(super) fn constant_of_shape<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["value"])?;
    let shape = match planner.known(node, 0)? {
        Known::Shape(shape) => shape,
        Known::Value(_) => {
            let sizes = planner.ints(node, 0, MOST_AXES)?.into_iter().map(|size| usize::try_from(size).map(Axis::Size));
            sizes.collect::<Result<_, _>>().map_err(|_| "a negative size")?
        }
        Known::Maps(..) => return Err("an input that is no shape".to_owned()),
    };
    let Some(Data::Tensor(constant)) = node.get("value") else { return Err("no tensor in `value`".to_owned()) };
    let value = planner.keep(constant)?;
    let each = each(&shape)?;
    if planner.source(&value).each != 1 {
        return Err("another value than one".to_owned());
    }
    let dtype = value.dtype;
    planner.emit(node, dtype, shape, |to| Fill { dtype, from: value.slot, each, to })
}

fn run_pick<'a, T: Element<'a>>(block: &mut Block<'a>, step: &Pick) {
    block.make(step.to, |block, out: &mut Vec<T>| {
        let elements = block.get::<T>(step.source.slot);
        for row in 0..block.rows {
            let row = step.source.row(elements, row);
            out.extend(step.picks.iter().filter_map(|pick| row.get(*pick as usize)));
        }
    });
}

fn run_join<'a, T: Element<'a>>(block: &mut Block<'a>, step: &Join) {
    block.make(step.to, |block, out: &mut Vec<T>| {
        out.reserve(block.rows * step.parts.iter().map(|part| part.each).sum::<usize>());
        for row in 0..block.rows {
            for outer in 0..step.outer {
                for part in &step.parts {
                    let inner = part.each / step.outer;
                    let row = part.row(block.get::<T>(part.slot), row);
                    out.extend_from_slice(row.get(outer * inner..(outer + 1) * inner).unwrap_or_default());
                }
            }
        }
    });
}

fn run_look_up<'a, T: Element<'a>>(block: &mut Block<'a>, step: &LookUp) -> Result<(), Trouble> {
    let [before, along, after] = step.lengths;
    let size = i64::try_from(along).unwrap_or(i64::MAX);
    block.make(step.to, |block, out: &mut Vec<T>| {
        let (table, numbers) = (block.get::<T>(step.table), block.get::<i64>(step.from.slot));
        for row in 0..block.rows {
            for outer in 0..before {
                for number in step.from.row(numbers, row) {
                    let at = if *number < 0 && step.from_end { number.saturating_add(size) } else { *number };
                    let at = usize::try_from(at).ok().filter(|at| *at < along).ok_or_else(|| Trouble {
                        problem: format!("got the number {number} to look up, expected one below {along}"),
                        fix: "pass values of the kind that the model was trained with",
                    })?;
                    let start = (outer * along + at) * after;
                    out.extend_from_slice(table.get(start..start + after).unwrap_or_default());
                }
            }
        }
        Ok(())
    })
}

fn run_fill<'a, T: Element<'a>>(block: &mut Block<'a>, step: &Fill) {
    block.make(step.to, |block, out: &mut Vec<T>| {
        if let Some(element) = block.get::<T>(step.from).first() {
            out.resize(block.rows * step.each, *element);
        }
    });
}

impl Step for Pick {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_pick(block, self));
        Ok(())
    }
}

impl Step for Join {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_join(block, self));
        Ok(())
    }
}

impl Step for LookUp {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_look_up(block, self))
    }
}

impl Step for Fill {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_fill(block, self));
        Ok(())
    }
}
