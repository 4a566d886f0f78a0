//! What changes numbers one by one.

use crate::dense::{Binary, Unary};
use crate::engine::network::plan::{Known, Planned, Planner, float, int, only, slot_of};
use crate::engine::network::program::Step;
use crate::engine::network::view::{Place, View, Walk};
use crate::engine::network::weights::Constant;
use crate::onnx::FullNode;

pub(super) fn function<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    let (function, known): (_, &[&str]) = match node.operator {
        "Sigmoid" => (Unary::Sigmoid, &[]),
        "Tanh" => (Unary::Tanh, &[]),
        "Erf" => (Unary::Erf, &[]),
        "Exp" => (Unary::Exp, &[]),
        "Sqrt" => (Unary::Sqrt, &[]),
        "Neg" => (Unary::Negate, &[]),
        "Abs" => (Unary::Absolute, &[]),
        "Reciprocal" => (Unary::Reciprocal, &[]),
        "LeakyRelu" => (Unary::LeakyRelu(float(node, "alpha", 0.01)?), &["alpha"]),
        "Elu" => (Unary::Elu(float(node, "alpha", 1.0)?), &["alpha"]),
        "Gelu" => match node.text("approximate", "none") {
            Some("none") => (Unary::Gelu, &["approximate"]),
            Some("tanh") => (Unary::GeluTanh, &["approximate"]),
            _ => return Err("has an approximation that is not known".to_owned()),
        },
        _ => (Unary::Relu, &[]),
    };
    only(node, known)?;
    let from = planner.rows(node, 0)?;
    if function == Unary::Relu && planner.ends_with_relu(&from) {
        return planner.name(node, Known::Floats(from));
    }
    map(planner, node, from, function)
}

fn map<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>, from: View, function: Unary) -> Planned<()> {
    let at = planner.owned(from)?;
    planner.program.steps.push(Step::Map { function, at: slot_of(&at)? });
    planner.name(node, Known::Floats(at))
}

pub(super) fn power<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let (from, exponent) = (planner.rows(node, 0)?, planner.constant(node, 1)?);
    let is_one = exponent.dims().is_some_and(|dims| dims.len() <= from.dims.len() + 1);
    // An exponent may be of another type than its base.
    let exponent = match exponent.ints() {
        Some([2]) => 2.0,
        Some(_) => 0.0,
        None => match planner.numbers(exponent)?[..] {
            [exponent] => exponent,
            _ => 0.0,
        },
    };
    // With 0.5 it is no square root: -0.0 becomes 0.0, and infinity below 0 infinity.
    #[allow(clippy::float_cmp, reason = "the number itself")]
    if is_one && exponent == 2.0 {
        map(planner, node, from, Unary::Square)
    } else {
        Err("has an exponent that is not known".to_owned())
    }
}

pub(super) fn clip<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    let bounds = if planner.opset < 11 {
        only(node, &["min", "max"])?;
        (float(node, "min", f32::MIN)?, float(node, "max", f32::MAX)?)
    } else {
        only(node, &[])?;
        let mut bound = |at: usize, default: f32| match planner.optional(node, at)? {
            None => Ok(default),
            Some(Known::Constant(constant)) => match planner.numbers(constant)?[..] {
                [bound] => Ok(bound),
                _ => Err("has a bound that is no number".to_owned()),
            },
            Some(_) => Err("has a bound that is no constant".to_owned()),
        };
        (bound(1, f32::MIN)?, bound(2, f32::MAX)?)
    };
    if bounds.0.is_nan() || bounds.1.is_nan() || bounds.0 > bounds.1 {
        return Err("has bounds that are in no order".to_owned());
    }
    let from = planner.rows(node, 0)?;
    map(planner, node, from, Unary::Clip(bounds.0, bounds.1))
}

pub(super) fn arithmetic<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &[])?;
    let how = match node.operator {
        "Add" => Binary::Add,
        "Sub" => Binary::Subtract,
        "Mul" => Binary::Multiply,
        _ => Binary::Divide,
    };
    let combined = match (planner.value(node, 0)?, planner.value(node, 1)?) {
        (Known::Floats(a), Known::Floats(b)) => {
            // Of fewer axes, the rows of one would meet another axis of the other.
            if a.dims.len() != b.dims.len() {
                return Err("has values of several ranks".to_owned());
            }
            combine(planner, how, &a, &b)?
        }
        (Known::Floats(a), Known::Constant(b)) => {
            if how == Binary::Add && planner.begins_with(&a, b)? {
                a
            } else {
                let b = beside(planner, b, &a)?;
                combine(planner, how, &a, &b)?
            }
        }
        (Known::Constant(a), Known::Floats(b)) => {
            if how == Binary::Add && planner.begins_with(&b, a)? {
                b
            } else {
                let a = beside(planner, a, &b)?;
                combine(planner, how, &a, &b)?
            }
        }
        _ => return Err("has an input that is not of float32 with rows".to_owned()),
    };
    planner.name(node, Known::Floats(combined))
}

/// A constant that is the same for all rows of a value.
fn beside<'a>(planner: &mut Planner<'a>, constant: Constant<'a>, rows: &View) -> Planned<View> {
    let kept = planner.kept(constant)?;
    match kept.dims.len().cmp(&(rows.dims.len() + 1)) {
        std::cmp::Ordering::Less => Ok(kept),
        std::cmp::Ordering::Equal if kept.dims[0] == 1 => Ok(kept.reshaped(kept.dims[1..].to_vec())),
        _ => Err(format!("has a constant of the shape {:?} beside rows", kept.dims)),
    }
}

/// Arithmetic of two values of the same dimensions, or that are repeated to have them.
fn combine(planner: &mut Planner<'_>, how: Binary, a: &View, b: &View) -> Planned<View> {
    let rank = a.dims.len().max(b.dims.len());
    let dim = |view: &View, axis: usize| (axis + view.dims.len()).checked_sub(rank).map_or(1, |at| view.dims[at]);
    let dims: Vec<usize> = (0..rank).map(|axis| if dim(a, axis) == 1 { dim(b, axis) } else { dim(a, axis) }).collect();
    let fit = |view: &View| view.broadcast(&dims).ok_or_else(|| "has shapes that do not fit".to_owned());
    let (mut a, mut b) = (fit(a)?, fit(b)?);
    for (one, other, is_reversed) in [(&a, &b, false), (&b, &a, true)] {
        if planner.is_last_use(one) && !shares(one, other) {
            let walk = Walk::new([other, one]);
            if walk.steps[0] < 2 && walk.steps[1] == 1 {
                let (to, b) = (slot_of(one)?, other.clone());
                let view = one.clone();
                planner.program.steps.push(Step::Update { how, b, walk, is_reversed, to });
                return Ok(view);
            }
        }
    }
    let to = planner.floats(dims)?;
    let mut walk = Walk::new([&a, &b, &to]);
    if walk.steps[0] > 1 || walk.steps[1] > 1 {
        // The kernels take numbers that follow each other, or one for all.
        for (one, step) in [(&mut a, walk.steps[0]), (&mut b, walk.steps[1])] {
            if step > 1 && matches!(one.place, Place::Block(_)) {
                *one = planner.copied(one)?;
            }
        }
        walk = Walk::new([&a, &b, &to]);
        if walk.steps[0] > 1 || walk.steps[1] > 1 {
            return Err("has a constant in an order that is not known".to_owned());
        }
    }
    let slot = slot_of(&to)?;
    planner.program.steps.push(Step::Combine { how, a, b, walk, to: slot });
    Ok(to)
}

/// Whether both lie in one memory.
fn shares(one: &View, other: &View) -> bool {
    matches!((one.place, other.place), (Place::Block(one), Place::Block(other)) if one.memory == other.memory)
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` for each channel, which is the first axis of a row's values.
pub(super) fn batch_normalization<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    only(node, &["epsilon", "momentum", "training_mode", "spatial"])?;
    if int(node, "training_mode", 0)? != 0 || int(node, "spatial", 1)? != 1 {
        return Err("is in a mode that is not known".to_owned());
    }
    let (from, epsilon) = (planner.rows(node, 0)?, float(node, "epsilon", 1e-5)?);
    let mut lists = Vec::new();
    for at in 1..5 {
        let numbers = planner.constant(node, at).and_then(|constant| planner.numbers(constant))?;
        if Some(&numbers.len()) != from.dims.first() {
            return Err("has lists of other lengths than there are channels".to_owned());
        }
        lists.push(numbers);
    }
    let [scale, bias, mean, variance] = &lists[..] else { return Err("has lists that are not known".to_owned()) };
    let by: Vec<f32> =
        scale.iter().zip(variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
    let plus = bias.iter().zip(mean).zip(&by).map(|((bias, mean), by)| bias - mean * by).collect();
    let mut dims = vec![1; from.dims.len()];
    dims[0] = by.len();
    let mut view = from;
    for (how, numbers) in [(Binary::Multiply, by), (Binary::Add, plus)] {
        planner.program.constants.push(numbers);
        let constant = View::whole(Place::Constant(planner.program.constants.len() - 1), dims.clone());
        view = combine(planner, how, &view, &constant)?;
    }
    planner.name(node, Known::Floats(view))
}
