//! The operators that are known: what each plans, or why it is not known in this form.

mod elementwise;
mod joining;
mod products;
mod shaping;

use super::plan::{Planned, Planner};
use crate::onnx::FullNode;

/// Plans the steps of one node.
type Plan = for<'a> fn(&mut Planner<'a>, &'a FullNode<'a>) -> Planned<()>;

/// An operator of ONNX's own set.
pub(super) struct Operator {
    /// How many inputs it may have, at least and at most.
    inputs: (usize, usize),
    /// The version that it came with, where that is a late one.
    since: u64,
    plan: Plan,
}

/// The operator of this name.
pub(super) fn find(operator: &str, domain: &str) -> Option<Operator> {
    if !matches!(domain, "" | "ai.onnx") {
        return None;
    }
    let (inputs, since, plan): (_, _, Plan) = match operator {
        "MatMul" => ((2, 2), 1, products::mat_mul),
        "Gemm" => ((2, 3), 1, products::gemm),
        "Add" | "Sub" | "Mul" | "Div" => ((2, 2), 1, elementwise::arithmetic),
        "Relu" | "Sigmoid" | "Tanh" | "Exp" | "Sqrt" | "Neg" | "Abs" | "Reciprocal" | "LeakyRelu" | "Elu" => {
            ((1, 1), 1, elementwise::function)
        }
        "Erf" => ((1, 1), 9, elementwise::function),
        "Gelu" => ((1, 1), 20, elementwise::function),
        "Pow" => ((2, 2), 1, elementwise::power),
        "Clip" => ((1, 3), 1, elementwise::clip),
        "BatchNormalization" => ((5, 5), 1, elementwise::batch_normalization),
        "Softmax" => ((1, 1), 1, joining::softmax),
        "LayerNormalization" => ((2, 3), 17, joining::layer_normalization),
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" => ((1, 2), 1, joining::reduce),
        "Concat" => ((1, usize::MAX), 1, joining::concat),
        "Gather" => ((2, 2), 1, shaping::gather),
        "Reshape" => ((2, 2), 1, shaping::reshape),
        "Flatten" => ((1, 1), 1, shaping::flatten),
        "Squeeze" => ((1, 2), 1, shaping::squeeze),
        "Unsqueeze" => ((1, 2), 1, shaping::unsqueeze),
        "Transpose" => ((1, 1), 1, shaping::transpose),
        "Slice" => ((3, 5), 10, shaping::slice),
        "Identity" => ((1, 1), 1, shaping::same),
        "Dropout" => ((1, 3), 1, shaping::same),
        "Cast" => ((1, 1), 1, shaping::cast),
        "Constant" => ((0, 0), 1, shaping::constant),
        _ => return None,
    };
    Some(Operator { inputs, since, plan })
}

pub(super) fn plan<'a>(planner: &mut Planner<'a>, node: &'a FullNode<'a>) -> Planned<()> {
    let operator = find(node.operator, node.domain).ok_or("is not known")?;
    let (least, most) = operator.inputs;
    if node.inputs.len() < least || node.inputs.len() > most || planner.opset < operator.since {
        return Err("is not as its version of the operators has it".to_owned());
    }
    let mut names: Vec<&str> = node.attributes.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("has an attribute twice".to_owned());
    }
    (operator.plan)(planner, node)
}
