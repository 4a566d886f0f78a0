//! What joins numbers of a row: along an axis, or of several values.

use std::collections::HashMap;

use super::shaping::starts;
use crate::dense::Reduction;
use crate::engine::network::plan::{Known, Planned, Planner, axis_of, float, int, only, slot_of};
use crate::engine::network::program::Step;
use crate::engine::network::view::{MOST_AXES, Place, View, Walk};
use crate::onnx::FullNode;

pub(super) fn softmax<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let from = planner.rows(node, 0)?;
    let rank = from.dims.len() + 1;
    // Before version 13 all axes from this one on were one.
    let axis = axis_of(int(node, "axis", if planner.opset < 13 { 1 } else { -1 })?, rank)?;
    if axis + 2 != rank {
        return Err("has an axis that is not the last one".to_owned());
    }
    let width = from.dims[axis];
    let at = planner.owned(from)?;
    planner.program.steps.push(Step::Softmax { width, at: slot_of(&at)? });
    planner.name(node, Known::Floats(at))
}

pub(super) fn layer_normalization<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["axis", "epsilon", "stash_type"])?;
    let from = planner.rows(node, 0)?;
    let axis = axis_of(int(node, "axis", -1)?, from.dims.len() + 1)?;
    let width: usize = from.dims[axis..].iter().product();
    let scale = planner.constant(node, 1).and_then(|scale| planner.numbers(scale))?;
    let bias = match planner.optional(node, 2)? {
        None => vec![0.0; width],
        Some(Known::Constant(bias)) => planner.numbers(bias)?,
        Some(_) => return Err("has a bias that is no constant".to_owned()),
    };
    if scale.len() != width || bias.len() != width || int(node, "stash_type", 1)? != 1 {
        return Err("has a scale or bias that does not fit".to_owned());
    }
    let epsilon = float(node, "epsilon", 1e-5)?;
    let dims = from.dims.clone();
    let from = slot_of(&planner.whole(from)?)?;
    let to = planner.floats(dims)?;
    planner.program.steps.push(Step::Normalize { from, scale, bias, epsilon, to: slot_of(&to)? });
    planner.name(node, Known::Floats(to))
}

pub(super) fn reduce<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["axes", "keepdims", "noop_with_empty_axes"])?;
    let how = match node.operator {
        "ReduceSum" => Reduction::Sum,
        "ReduceMean" => Reduction::Mean,
        "ReduceMax" => Reduction::Max,
        _ => Reduction::Min,
    };
    let from = planner.rows(node, 0)?;
    let axes = match planner.optional(node, 1)? {
        None => node.ints("axes").unwrap_or_default(),
        Some(Known::Constant(axes)) if node.get("axes").is_none() => axes.ints().unwrap_or_default(),
        Some(_) => return Err("has axes that are no constant".to_owned()),
    };
    if axes.len() > MOST_AXES {
        return Err("has more axes than are known".to_owned());
    }
    let mut axes = axes.iter().map(|axis| axis_of(*axis, from.dims.len() + 1)).collect::<Planned<Vec<usize>>>()?;
    axes.sort_unstable();
    let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else {
        return Err("works along the rows".to_owned());
    };
    if last - first + 1 != axes.len() || axes.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("has axes that do not follow each other".to_owned());
    }
    let (count, inner) = (from.dims[first..=last].iter().product(), from.dims[last + 1..].iter().product());
    let keeps = int(node, "keepdims", 1)? != 0;
    let kept: &[usize] = if keeps { &vec![1; axes.len()] } else { &[] };
    let dims = [&from.dims[..first], kept, &from.dims[last + 1..]].concat();
    let from = slot_of(&planner.whole(from)?)?;
    let to = planner.floats(dims)?;
    planner.program.steps.push(Step::Reduce { how, from, count, inner, to: slot_of(&to)? });
    planner.name(node, Known::Floats(to))
}

pub(super) fn concat<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["axis"])?;
    let views = (0..node.inputs.len()).map(|at| planner.rows(node, at)).collect::<Planned<Vec<_>>>()?;
    let Some(first) = views.first() else { return Err("has no input".to_owned()) };
    let axis = axis_of(int(node, "axis", 0)?, first.dims.len() + 1)?;
    let mut dims = first.dims.clone();
    dims[axis] = 0;
    for view in &views {
        let fits = view.dims.len() == dims.len() && (0..dims.len()).all(|at| at == axis || view.dims[at] == dims[at]);
        if !fits {
            return Err("joins values of shapes that do not fit".to_owned());
        }
        dims[axis] += view.dims[axis];
    }
    // What is looked up goes there at once, before other steps that may be using the memory that is free now.
    let mut places: HashMap<Place, usize> = HashMap::new();
    for view in &views {
        *places.entry(view.place).or_default() += 1;
    }
    let open = open_looks(planner);
    let look = |view: &View| if places[&view.place] == 1 { look_of(planner, &open, view) } else { None };
    let looks: Vec<Option<usize>> = views.iter().map(look).collect();
    let is_looked_up = looks.iter().any(Option::is_some);
    let to = if is_looked_up { planner.unused(dims)? } else { planner.floats(dims)? };
    let (slot, mut start) = (slot_of(&to)?, 0);
    for (from, look) in views.into_iter().zip(looks) {
        let end = start + from.dims[axis];
        let part = to.part(axis, start..end);
        start = end;
        if let Some(at) = look
            && let Step::Look { ids, walk, to: place, .. } = &mut planner.program.steps[at]
            && part.inner(ids.dims.len()).is_dense()
        {
            *walk = Walk::new([ids, &starts(&part, ids.dims.len())]);
            *place = slot;
            continue;
        }
        let walk = Walk::new([&from, &part]);
        planner.program.steps.push(Step::Copy { from, walk, to: slot });
    }
    planner.name(node, Known::Floats(to))
}

/// The steps that look up what no step after them has read or written over, by the memory that they fill.
fn open_looks(planner: &Planner<'_>) -> HashMap<usize, usize> {
    let mut open = HashMap::new();
    for (at, step) in planner.program.steps.iter().enumerate() {
        for memory in step.sources().into_iter().flatten() {
            open.remove(&memory);
        }
        let memory = step.target().memory;
        open.remove(&memory);
        if matches!(step, Step::Look { .. }) {
            open.insert(memory, at);
        }
    }
    open
}

/// The step that made a value by looking it up, if nobody else needs or has needed the value.
fn look_of(planner: &Planner<'_>, open: &HashMap<usize, usize>, view: &View) -> Option<usize> {
    let slot = slot_of(view).ok().filter(|_| planner.is_last_use(view))?;
    let at = *open.get(&slot.memory)?;
    match &planner.program.steps[at] {
        Step::Look { to, ids, width, .. } if *to == slot => {
            // Of the dimensions that it was made with.
            let (axes, rest) = (view.dims.get(..ids.dims.len())?, view.dims.get(ids.dims.len()..)?);
            (axes == ids.dims && rest.iter().product::<usize>() == *width).then_some(at)
        }
        _ => None,
    }
}
