//! Operators that pick elements of a row, or move them: by places that the graph says, or that the rows say.

use super::attributes::{has, int, only};
use super::planner::{Known, MOST_AXES, Planned, Planner, Value};
use super::program::{Block, Source, Step, Trouble};
use super::shape::{self, Axis, MOST_ELEMENTS, Map, each, place, rows_at};
use super::values::{Element, by_kind};
use crate::onnx::FullNode;
use crate::tensor::DType;

/// Elements of a row, by their place in it.
#[derive(Debug)]
struct Pick {
    dtype: DType,
    source: Source,
    picks: Vec<u32>,
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

fn run_pick<'a, T: Element<'a>>(block: &mut Block<'a>, step: &Pick) {
    block.make(step.to, |block, out: &mut Vec<T>| {
        let elements = block.get::<T>(step.source.slot);
        for row in 0..block.rows {
            let row = step.source.row(elements, row);
            out.extend(step.picks.iter().filter_map(|pick| row.get(*pick as usize)));
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

impl Step for Pick {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_pick(block, self));
        Ok(())
    }
}

impl Step for LookUp {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_look_up(block, self))
    }
}
