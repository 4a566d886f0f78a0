//! Proves from the graph alone that a model scores its rows independently of each other.
//!
//! A value is followed from the inputs through every operator. It stays "by rows" as long as its first axis is that of the
//! rows and each row of it depends on the same row of the inputs alone. Operators not known here, and known ones in a form
//! where that cannot be told, end the proof: "not proven" is always allowed, "proven" must be right for every input. The
//! semantics are those of the ONNX operator reference (docs/Operators.md and docs/Operators-ml.md of the ONNX project).

mod operators;
mod shaping;
mod value;

use std::collections::HashMap;

use super::graph::{Constant, Graph, Node};
use operators::apply;
use value::Known;

/// Values by name, and what the rules need to know of the model.
pub(super) struct Scope<'a> {
    values: HashMap<&'a str, Known>,
    /// Version of ONNX's own operator set.
    opset: u64,
}

/// For each of `outputs`, why it is not proven to be by rows; `None` if it is.
pub fn not_row_wise(graph: &Graph, opsets: &[(String, u64)], outputs: &[&str]) -> Vec<Option<String>> {
    let opset = opsets.iter().find(|(domain, _)| is_standard(domain)).map_or(0, |(_, version)| *version);
    let mut scope = Scope { values: named(graph), opset };
    for node in &graph.nodes {
        let made = match judge(graph, &scope, node) {
            Ok(made) => made,
            // The engine computes every node, and one that leads to no output may still fail for some numbers of rows.
            Err(reason) => return vec![Some(reason); outputs.len()],
        };
        for (name, value) in node.outputs.iter().zip(made) {
            // A name is given once; a file that gives it twice is broken.
            if !name.is_empty() && scope.values.insert(name, value).is_some() {
                scope.values.insert(name, Known::Unknown(format!("`{name}` is computed twice")));
            }
        }
    }
    let reason = |output: &&str| match scope.values.get(output) {
        Some(Known::Rows(_)) => None,
        Some(Known::Unknown(reason)) => Some(reason.clone()),
        Some(_) => Some(format!("`{output}` has no rows of its own")),
        None => Some(format!("`{output}` is not computed in the main graph")),
    };
    outputs.iter().map(reason).collect()
}

/// Initializers and inputs. An input whose first dimension may differ is cut by rows, others go to every piece as they are.
fn named(graph: &Graph) -> HashMap<&str, Known> {
    let constants = graph.constants.iter().map(|constant| (constant.name.as_str(), of_constant(constant)));
    let mut values: HashMap<&str, Known> = constants.collect();
    for input in &graph.inputs {
        let name = input.name.as_str();
        let is_default = values.contains_key(name);
        let value = match &input.dims {
            Some(dims) => match dims.split_first() {
                Some((None, _)) if is_default => Known::Unknown(format!("input `{name}` has a default and open rows")),
                Some((None, rest)) => Known::Rows(Some(rest.to_vec())),
                _ => Known::Fixed(Some(dims.clone()), None),
            },
            None => Known::Unknown(format!("input `{name}` has any rank")),
        };
        values.insert(name, value);
    }
    values
}

fn of_constant(constant: &Constant) -> Known {
    Known::Fixed(Some(constant.dims.iter().copied().map(Some).collect()), constant.ints.clone())
}

/// What a node makes, one value per output, or why that cannot be told.
fn judge(graph: &Graph, scope: &Scope<'_>, node: &Node) -> Result<Vec<Known>, String> {
    let is_own = |(domain, name): &(String, String)| *domain == node.domain && *name == node.operator;
    if graph.functions.iter().any(is_own) {
        return Err(format!("{} is defined by the file", described(node)));
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for name in &node.inputs {
        match scope.values.get(name.as_str()) {
            _ if name.is_empty() => inputs.push(None),
            Some(Known::Unknown(reason)) => return Err(reason.clone()),
            Some(value) => inputs.push(Some(value)),
            None => return Err(format!("`{name}` is not computed before it is used")),
        }
    }
    let reason = || format!("{} may mix rows", described(node));
    let mut made = apply(scope, node, &inputs, is_standard(&node.domain)).ok_or_else(reason)?;
    // Further outputs than the rule speaks of.
    made.resize_with(node.outputs.len(), || Known::Unknown(reason()));
    Ok(made)
}

fn described(node: &Node) -> String {
    match node.outputs.first() {
        Some(output) => format!("{} (which makes `{output}`)", node.operator),
        None => node.operator.clone(),
    }
}

pub(super) fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

#[cfg(test)]
mod tests;
