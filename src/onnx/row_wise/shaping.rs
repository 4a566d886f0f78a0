//! The rules of operators that move, cut and join axes, and of shapes that the graph computes.

use super::operators::{ELEMENTWISE, Made, broadcast};
use super::value::{Dims, Known, Size, axis_of};
use crate::onnx::graph::{Attribute, Node};

type Inputs<'a> = [Option<&'a Known>];

/// Ends of slices from here on mean "to the end" in exported graphs.
const TO_THE_END: i64 = i32::MAX as i64;

pub(super) fn apply(node: &Node, inputs: &Inputs<'_>) -> Made {
    let first = inputs.first().copied().flatten();
    match (node.operator.as_str(), first?) {
        ("Shape", value) => shape(node, value),
        ("Reshape", Known::Rows(dims)) => reshape(node, dims.as_ref(), &inputs.get(1).copied()??.sizes()?),
        ("Flatten", Known::Rows(dims)) => flatten(node, dims.as_ref()),
        ("Transpose", Known::Rows(dims)) => transpose(node, dims.as_ref()),
        ("Unsqueeze", value) => unsqueeze(&axes(node, inputs)?, value),
        ("Squeeze", value) => squeeze(&axes(node, inputs)?, value),
        ("Concat", _) => concat(node, inputs),
        ("Split", Known::Rows(Some(dims))) => split(node, inputs, dims),
        ("Slice", value) => slice(node, inputs, value),
        ("Gather", value) => gather(node, value, inputs.get(1).copied()??),
        ("GatherElements", Known::Rows(Some(dims))) => {
            let Known::Rows(Some(indices)) = inputs.get(1).copied()?? else { return None };
            let is_behind = axis_of(node.int("axis", 0), Some(dims.len() + 1))? > 0;
            (is_behind && indices.len() == dims.len()).then(|| rows(indices.clone()))
        }
        ("Expand", value) => expand(value, &inputs.get(1).copied()??.sizes()?),
        ("ConstantOfShape", value) => of_sizes(&value.sizes()?),
        ("Tile", Known::Rows(Some(dims))) => {
            let repeats = inputs.get(1).copied()??.ints()?;
            let is_inner = repeats.len() == dims.len() + 1 && repeats[0] == 1;
            is_inner.then(|| rows(vec![None; dims.len()]))
        }
        ("Pad", Known::Rows(Some(dims))) => pad(node, inputs, dims),
        ("OneHot", Known::Rows(Some(dims))) => {
            let is_fixed = inputs.iter().skip(1).flatten().all(|value| matches!(value, Known::Fixed(..)));
            let is_behind = axis_of(node.int("axis", -1), Some(dims.len() + 2))? > 0;
            (is_fixed && is_behind).then(|| rows(vec![None; dims.len() + 1]))
        }
        _ => None,
    }
}

/// What is made of fixed values, where the numbers or dimensions of it matter further on.
pub(super) fn of_constants(node: &Node, inputs: &Inputs<'_>) -> Made {
    match (node.operator.as_str(), inputs.first().copied().flatten()) {
        ("Constant", None) => {
            let value = match (node.attribute("value"), node.attribute("value_int"), node.ints("value_ints")) {
                (Some(Attribute::Tensor(tensor)), ..) => {
                    Known::Fixed(Some(tensor.dims.iter().copied().map(Some).collect()), tensor.ints.clone())
                }
                (_, Some(Attribute::Int(number)), _) => Known::Fixed(Some(vec![]), Some(vec![*number])),
                (.., Some(numbers)) => {
                    Known::Fixed(Some(vec![i64::try_from(numbers.len()).ok()]), Some(numbers.to_vec()))
                }
                // `value_float` and the like: a scalar.
                _ if node.attribute("value_float").is_some() => Known::Fixed(Some(vec![]), None),
                _ => Known::fixed(),
            };
            Some(vec![value])
        }
        ("Identity", Some(value)) => Some(vec![value.clone()]),
        ("Cast", Some(Known::Fixed(dims, ints))) => {
            Some(vec![Known::Fixed(dims.clone(), ints.clone().filter(|_| keeps_numbers(node)))])
        }
        ("Shape", Some(Known::Fixed(Some(dims), _))) if node.attributes.is_empty() => {
            let count = i64::try_from(dims.len()).ok();
            Some(vec![Known::Fixed(Some(vec![count]), dims.iter().copied().collect())])
        }
        ("Unsqueeze", Some(value @ Known::Fixed(Some(dims), ints))) if value.is_single() => {
            let more = axes(node, inputs)?.len();
            Some(vec![Known::Fixed(Some(vec![Some(1); dims.len() + more]), ints.clone())])
        }
        ("Squeeze", Some(value @ Known::Fixed(Some(dims), ints))) if value.is_single() => {
            let fewer = axes(node, inputs)?.len();
            Some(vec![Known::Fixed(Some(vec![Some(1); dims.len().checked_sub(fewer)?]), ints.clone())])
        }
        ("Concat", Some(_)) if node.int("axis", 0) == 0 => {
            let parts: Option<Vec<Vec<i64>>> = inputs.iter().map(|value| list_of((*value)?)?.ints()).collect();
            let joined = parts?.concat();
            Some(vec![Known::Fixed(Some(vec![i64::try_from(joined.len()).ok()]), Some(joined))])
        }
        (operator, Some(_)) if ELEMENTWISE.contains(&operator) => {
            let all: Option<Vec<&Dims>> = inputs.iter().flatten().map(|value| dims_of(value)).collect();
            let rank = all.as_ref()?.iter().map(|dims| dims.len()).max()?;
            let padded = all?.into_iter().map(|dims| [vec![Some(1); rank - dims.len()], dims.clone()].concat());
            let joined = padded.into_iter().try_fold(vec![Some(1); rank], |known, dims| broadcast(&known, &dims))?;
            Some(vec![Known::Fixed(Some(joined), None)])
        }
        _ => None,
    }
}

fn dims_of(value: &Known) -> Option<&Dims> {
    if let Known::Fixed(dims, _) = value { dims.as_ref() } else { None }
}

/// Whether a cast is to int32 or int64, which numbers of a shape survive.
fn keeps_numbers(node: &Node) -> bool {
    matches!(node.int("to", 0), 6 | 7)
}

fn list_of(value: &Known) -> Option<&Known> {
    (value.rank() == Some(1)).then_some(value)
}

/// Arithmetic with numbers of a shape.
pub(super) fn arithmetic(node: &Node, values: &[&Known]) -> Made {
    match (node.operator.as_str(), values) {
        ("Identity", [value]) => Some(vec![(*value).clone()]),
        ("Cast", [value]) => keeps_numbers(node).then(|| vec![(*value).clone()]),
        ("Mul" | "Add" | "Sub" | "Div", [one, other]) => {
            let (one_sizes, other_sizes) = (one.sizes()?, other.sizes()?);
            if one_sizes.len() != 1 || other_sizes.len() != 1 {
                return None;
            }
            let number = match (one_sizes[0], other_sizes[0]) {
                // Twice the rows is no number of rows, and no number without them.
                (Size::Rows, _) | (_, Size::Rows) => return None,
                (Size::Number(one), Size::Number(other)) => match node.operator.as_str() {
                    "Mul" => one.checked_mul(other),
                    "Add" => one.checked_add(other),
                    "Sub" => one.checked_sub(other),
                    _ => one.checked_div(other),
                }
                .map_or(Size::Open, Size::Number),
                _ => Size::Open,
            };
            let is_scalar = one.rank() == Some(0) && other.rank() == Some(0);
            Some(vec![Known::Sizes { sizes: vec![number], is_scalar }])
        }
        _ => None,
    }
}

fn rows(dims: Dims) -> Vec<Known> {
    vec![Known::Rows(Some(dims))]
}

/// Axes from the attribute of old operator sets or the second input of new ones.
fn axes(node: &Node, inputs: &Inputs<'_>) -> Option<Vec<i64>> {
    match (node.ints("axes"), inputs.get(1).copied().flatten()) {
        (Some(axes), None) => Some(axes.to_vec()),
        (None, Some(axes)) => axes.ints(),
        _ => None,
    }
}

fn shape(node: &Node, value: &Known) -> Made {
    let Known::Rows(Some(dims)) = value else { return None };
    let mut sizes = vec![Size::Rows];
    sizes.extend(dims.iter().map(|dim| dim.map_or(Size::Open, Size::Number)));
    let count = i64::try_from(sizes.len()).ok()?;
    let bound = |name: &str, default: i64| {
        let bound = node.int(name, default);
        usize::try_from(if bound < 0 { bound + count } else { bound }.clamp(0, count)).ok()
    };
    let (start, end) = (bound("start", 0)?, bound("end", count)?);
    Some(vec![Known::Sizes { sizes: sizes.get(start..end.max(start))?.to_vec(), is_scalar: false }])
}

fn reshape(node: &Node, dims: Option<&Dims>, target: &[Size]) -> Made {
    let (first, rest) = target.split_first()?;
    let copies_zero = node.int("allowzero", 0) == 0;
    let at = |position: usize| dims.and_then(|dims| dims.get(position).copied()).flatten();
    let mut made: Dims = Vec::new();
    for (position, size) in rest.iter().enumerate() {
        made.push(match size {
            Size::Number(0) if copies_zero => at(position),
            Size::Number(number) if *number > 0 => Some(*number),
            Size::Number(-1) | Size::Open => None,
            // Another number of rows, or an empty dimension.
            Size::Rows | Size::Number(_) => return None,
        });
    }
    let per_row = dims.and_then(|dims| dims.iter().copied().try_fold(1_i64, |product, dim| product.checked_mul(dim?)));
    let rest_known = made.iter().copied().try_fold(1_i64, |product, dim| product.checked_mul(dim?));
    // A target that does not fit is an error, but ONNX Runtime's fusions may make other rows of it.
    if rest_known.is_some() && per_row != rest_known {
        return None;
    }
    let keeps_rows = match first {
        Size::Rows => true,
        Size::Number(0) => copies_zero,
        // What is left over for the first dimension is the number of rows only if a row fills the others.
        Size::Number(-1) => rest_known.is_some() && per_row != Some(0),
        _ => false,
    };
    if let (Some(open), Some(per_row)) = (rest.iter().position(|size| *size == Size::Number(-1)), per_row) {
        let others: Option<i64> = made
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != open)
            .try_fold(1_i64, |product, (_, dim)| product.checked_mul((*dim)?));
        made[open] = others.filter(|others| *others > 0).map(|others| per_row / others);
    }
    keeps_rows.then(|| rows(made))
}

fn flatten(node: &Node, dims: Option<&Dims>) -> Made {
    let rank = dims.map(|dims| dims.len() + 1);
    let axis = node.int("axis", 1);
    // The axis may be as large as the rank, but is counted from the end like any other.
    let axis = if axis == 1 { 1 } else { axis_of(axis, rank)? };
    let per_row = dims.and_then(|dims| dims.iter().copied().try_fold(1_i64, |product, dim| product.checked_mul(dim?)));
    (axis == 1).then(|| rows(vec![per_row]))
}

fn transpose(node: &Node, dims: Option<&Dims>) -> Made {
    let dims = dims?;
    let order = node.ints("perm")?;
    if order.first() != Some(&0) || order.len() != dims.len() + 1 {
        return None;
    }
    let moved = |axis: &i64| dims.get(usize::try_from(*axis).ok()?.checked_sub(1)?).copied();
    order[1..].iter().map(moved).collect::<Option<Dims>>().map(rows)
}

fn unsqueeze(axes: &[i64], value: &Known) -> Made {
    match value {
        Known::Sizes { sizes, is_scalar: true } => {
            (axes == [0]).then(|| vec![Known::Sizes { sizes: sizes.clone(), is_scalar: false }])
        }
        Known::Rows(Some(dims)) => {
            let rank = dims.len() + 1 + axes.len();
            let mut places: Vec<usize> = axes.iter().map(|axis| axis_of(*axis, Some(rank))).collect::<Option<_>>()?;
            places.sort_unstable();
            let mut made = dims.clone();
            for place in places {
                made.insert(place.checked_sub(1).filter(|place| *place <= made.len())?, Some(1));
            }
            Some(rows(made))
        }
        _ => None,
    }
}

fn squeeze(axes: &[i64], value: &Known) -> Made {
    match value {
        Known::Sizes { sizes, is_scalar: false } => {
            (axes == [0] && sizes.len() == 1).then(|| vec![Known::Sizes { sizes: sizes.clone(), is_scalar: true }])
        }
        Known::Rows(Some(dims)) => {
            let behind = |axis: &i64| axis_of(*axis, Some(dims.len() + 1))?.checked_sub(1);
            let places: Vec<usize> = axes.iter().map(behind).collect::<Option<_>>()?;
            let kept = dims.iter().enumerate().filter(|(place, _)| !places.contains(place));
            Some(rows(kept.map(|(_, dim)| *dim).collect()))
        }
        _ => None,
    }
}

fn concat(node: &Node, inputs: &Inputs<'_>) -> Made {
    let axis = node.int("axis", i64::MIN);
    let mut joined: Option<Dims> = None;
    let mut sizes: Vec<Size> = Vec::new();
    for value in inputs {
        match (*value)? {
            Known::Rows(Some(dims)) => {
                let place = axis_of(axis, Some(dims.len() + 1))?.checked_sub(1)?;
                let mut next = dims.clone();
                if let Some(known) = joined {
                    if known.len() != dims.len() {
                        return None;
                    }
                    next[place] = known[place].zip(dims[place]).and_then(|(known, more)| known.checked_add(more));
                }
                joined = Some(next);
            }
            value @ (Known::Sizes { is_scalar: false, .. } | Known::Fixed(..)) if axis == 0 => {
                sizes.extend(list_of(value)?.sizes()?);
            }
            _ => return None,
        }
    }
    match joined {
        Some(dims) => sizes.is_empty().then(|| rows(dims)),
        None => Some(vec![Known::Sizes { sizes, is_scalar: false }]),
    }
}

fn split(node: &Node, inputs: &Inputs<'_>, dims: &Dims) -> Made {
    inputs.iter().skip(1).flatten().all(|value| matches!(value, Known::Fixed(..))).then_some(())?;
    let place = axis_of(node.int("axis", 0), Some(dims.len() + 1))?.checked_sub(1)?;
    let mut part = dims.clone();
    part[place] = None;
    Some(node.outputs.iter().map(|_| Known::Rows(Some(part.clone()))).collect())
}

fn slice(node: &Node, inputs: &Inputs<'_>, value: &Known) -> Made {
    // Attributes up to opset 9, inputs since.
    let numbers = |name: &str, position: usize| match (node.ints(name), inputs.get(position).copied().flatten()) {
        (Some(numbers), _) => Some(numbers.to_vec()),
        (None, Some(value)) => value.ints(),
        (None, None) => None,
    };
    let is_given =
        |name: &str, position: usize| node.ints(name).is_some() || inputs.get(position).copied().flatten().is_some();
    let (starts, ends) = (numbers("starts", 1), numbers("ends", 2));
    let axes = if is_given("axes", 3) {
        numbers("axes", 3)?
    } else {
        (0..i64::try_from(starts.as_ref()?.len()).ok()?).collect()
    };
    let steps = if is_given("steps", 4) { numbers("steps", 4)? } else { vec![1; axes.len()] };
    match value {
        Known::Sizes { sizes, is_scalar: false } => {
            let (starts, ends) = (starts?, ends?);
            let ([start], [end], [0], [1]) = (&starts[..], &ends[..], &axes[..], &steps[..]) else { return None };
            let count = i64::try_from(sizes.len()).ok()?;
            let bound = |bound: i64| {
                usize::try_from(if bound < 0 { bound.saturating_add(count) } else { bound }.clamp(0, count)).ok()
            };
            let (start, end) = (bound(*start)?, bound(*end)?);
            Some(vec![Known::Sizes { sizes: sizes.get(start..end.max(start))?.to_vec(), is_scalar: false }])
        }
        Known::Rows(Some(dims)) => {
            // Where it is cut must not come from the rows themselves; sizes that are open are the same for all rows.
            for position in 1..3 {
                if let Some(value) = inputs.get(position).copied().flatten()
                    && value.sizes().is_none_or(|sizes| sizes.contains(&Size::Rows))
                    && !matches!(value, Known::Fixed(..))
                {
                    return None;
                }
            }
            let mut made = dims.clone();
            for (position, axis) in axes.iter().enumerate() {
                if let Some(place) = axis_of(*axis, Some(dims.len() + 1))?.checked_sub(1) {
                    made[place] = None;
                } else {
                    let at = |numbers: &Option<Vec<i64>>| numbers.as_ref()?.get(position).copied();
                    let is_all = at(&starts)? == 0 && at(&ends)? >= TO_THE_END && steps.get(position) == Some(&1);
                    is_all.then_some(())?;
                }
            }
            Some(rows(made))
        }
        _ => None,
    }
}

fn gather(node: &Node, data: &Known, indices: &Known) -> Made {
    let axis = node.int("axis", 0);
    match (data, indices) {
        (Known::Sizes { sizes, is_scalar: false }, Known::Fixed(Some(dims), Some(places))) if dims.len() <= 1 => {
            let pick = |place: &i64| sizes.get(axis_of(*place, Some(sizes.len()))?).copied();
            let picked: Vec<Size> = places.iter().map(pick).collect::<Option<_>>()?;
            (axis == 0 || axis == -1).then(|| vec![Known::Sizes { sizes: picked, is_scalar: dims.is_empty() }])
        }
        // A table with an entry for each index, as embeddings are.
        (Known::Fixed(Some(table), _), Known::Rows(Some(dims))) => {
            (axis_of(axis, Some(table.len()))? == 0).then(|| rows(dims.iter().chain(&table[1..]).copied().collect()))
        }
        (Known::Rows(Some(dims)), Known::Fixed(Some(places), _)) => {
            let place = axis_of(axis, Some(dims.len() + 1))?.checked_sub(1)?;
            Some(rows([&dims[..place], places, &dims[place + 1..]].concat()))
        }
        _ => None,
    }
}

fn expand(value: &Known, target: &[Size]) -> Made {
    let dims: Dims =
        target.iter().skip(1).map(|size| if let Size::Number(number) = size { Some(*number) } else { None }).collect();
    let dims: Dims = dims.into_iter().map(|dim| dim.filter(|dim| *dim != 1)).collect();
    let is_by_rows = target.first() == Some(&Size::Rows) && !target[1..].contains(&Size::Rows);
    match value {
        Known::Rows(Some(known)) if target.len() == known.len() + 1 => (is_by_rows
            || target[0] == Size::Number(1) && !target[1..].contains(&Size::Rows))
        .then(|| rows(vec![None; known.len()])),
        Known::Rows(Some(known)) if target.len() <= known.len() && !target.contains(&Size::Rows) => {
            Some(rows(vec![None; known.len()]))
        }
        Known::Fixed(Some(known), _) if is_by_rows => {
            let is_shared = known.len() < target.len() || known.len() == target.len() && known[0] == Some(1);
            is_shared.then(|| rows(dims))
        }
        _ => None,
    }
}

fn of_sizes(sizes: &[Size]) -> Made {
    let (first, rest) = sizes.split_first()?;
    let is_by_rows = *first == Size::Rows && !rest.contains(&Size::Rows);
    let dim = |size: &Size| if let Size::Number(number) = size { Some(*number) } else { None };
    is_by_rows.then(|| rows(rest.iter().map(dim).collect()))
}

fn pad(node: &Node, inputs: &Inputs<'_>, dims: &Dims) -> Made {
    let pads = match (node.ints("pads"), inputs.get(1).copied().flatten()) {
        (Some(pads), None) => pads.to_vec(),
        (None, Some(pads)) => pads.ints()?,
        _ => return None,
    };
    let rank = dims.len() + 1;
    let is_fixed = inputs.iter().skip(1).flatten().all(|value| matches!(value, Known::Fixed(..)));
    let is_inner =
        pads.len() == 2 * rank && pads[0] == 0 && pads[rank] == 0 && inputs.get(3).copied().flatten().is_none();
    (is_fixed && is_inner).then(|| rows(vec![None; dims.len()]))
}
