//! What operators ask a node for: whether it has an input, and attributes that are known.

use super::planner::Planned;
use crate::onnx::{Data, FullNode};

/// Whether a node has this input.
pub(super) fn has(node: &FullNode<'_>, at: usize) -> bool {
    node.inputs.get(at).is_some_and(|name| !name.is_empty())
}

/// A whole number that is an attribute.
pub(super) fn int(node: &FullNode<'_>, name: &str, default: i64) -> Planned<i64> {
    match node.get(name) {
        Some(Data::Int(value)) => Ok(*value),
        None => Ok(default),
        Some(_) => Err(format!("no whole number in `{name}`")),
    }
}

/// A number that is an attribute.
pub(super) fn float(node: &FullNode<'_>, name: &str, default: f32) -> Planned<f32> {
    match node.get(name) {
        Some(Data::Float(value)) => Ok(*value),
        None => Ok(default),
        Some(_) => Err(format!("no number in `{name}`")),
    }
}

/// Makes sure that a node has no other attributes than these.
pub(super) fn only(node: &FullNode<'_>, names: &[&str]) -> Planned<()> {
    node.has_only(names).then_some(()).ok_or_else(|| "an attribute that is not known".to_owned())
}

/// Makes sure that an attribute is what it is by default.
pub(super) fn plain(node: &FullNode<'_>, name: &str, value: &str) -> Planned<()> {
    let is_plain = node.text(name, "").is_some_and(|text| text.is_empty() || text == value);
    is_plain.then_some(()).ok_or_else(|| format!("another `{name}` than {value}"))
}
