//! The rules of operators that compute; those that move axes are in `shaping`.

use super::Scope;
use super::shaping;
use super::value::{Dims, Known, axis_of};
use crate::onnx::graph::{Attribute, Node};

type Inputs<'a> = [Option<&'a Known>];
/// What an operator makes, one value per output, or one for the first alone; `None` where rows may meet.
pub(super) type Made = Option<Vec<Known>>;

/// Operators of which each element of the output depends on the elements of the inputs at the same place, after
/// broadcasting.
pub(super) const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
];
/// Those of Microsoft's operator set.
const ELEMENTWISE_MICROSOFT: &[&str] = &["BiasGelu", "FastGelu", "Gelu", "QuickGelu"];
/// Operators of the ai.onnx.ml set over a matrix with one sample a row.
pub(super) const TABULAR: &[&str] = &[
    "ArrayFeatureExtractor",
    "Binarizer",
    "CategoryMapper",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "ZipMap",
];

/// Applies the rule of a node's operator.
pub(super) fn apply(scope: &Scope<'_>, node: &Node, inputs: &Inputs<'_>, is_standard: bool) -> Made {
    let operator = node.operator.as_str();
    if node.attributes.iter().any(|(_, value)| *value == Attribute::Graph) {
        return None;
    }
    if is_constant(inputs) && (is_standard && is_pure(operator) || node.domain == "ai.onnx.ml") {
        if let Some(made) = shaping::of_constants(node, inputs) {
            return Some(made);
        }
        return Some(node.outputs.iter().map(|_| Known::fixed()).collect());
    }
    match node.domain.as_str() {
        _ if is_standard && ELEMENTWISE.contains(&operator) => elementwise(node, inputs),
        _ if is_standard => standard(scope, node, inputs),
        "ai.onnx.ml" if TABULAR.contains(&operator) => tabular(operator, inputs, node.outputs.len()),
        "com.microsoft" if ELEMENTWISE_MICROSOFT.contains(&operator) => elementwise(node, inputs),
        _ => None,
    }
}

fn standard(scope: &Scope<'_>, node: &Node, inputs: &Inputs<'_>) -> Made {
    match node.operator.as_str() {
        "MatMul" => matmul(inputs.first().copied()??, inputs.get(1).copied()??),
        "MatMulInteger" => with_fixed(inputs, 2).and_then(|()| matmul(inputs[0]?, inputs[1]?)),
        "Gemm" => gemm(node, inputs),
        "Einsum" => einsum(node, inputs),
        "Softmax" | "LogSoftmax" | "Hardmax" => softmax(scope, node, inputs),
        "ArgMax" | "ArgMin" => along(inputs, node.int("axis", 0), node.int("keepdims", 1) != 0),
        "LpNormalization" => along(inputs, node.int("axis", -1), true).and_then(|_| same(inputs)),
        "LayerNormalization" | "RMSNormalization" => {
            let rank = inputs.first().copied()??.rank()?;
            with_fixed(inputs, 1)?;
            let are_smaller =
                inputs.iter().skip(1).flatten().all(|value| value.is_single() || value.rank() < Some(rank));
            (are_smaller && axis_of(node.int("axis", -1), Some(rank))? > 0).then(|| same(inputs)).flatten()
        }
        "BatchNormalization" => {
            let is_inference = node.int("training_mode", 0) == 0 && node.outputs.len() == 1 && scope.opset >= 7;
            with_fixed(inputs, 1)?;
            (is_inference && inputs.first().copied()??.rank()? >= 2).then(|| same(inputs)).flatten()
        }
        "InstanceNormalization" | "GroupNormalization" => {
            with_fixed(inputs, 1)?;
            (inputs.first().copied()??.rank()? >= 3).then(|| same(inputs)).flatten()
        }
        "LRN" => (inputs.first().copied()??.rank()? >= 2).then(|| same(inputs)).flatten(),
        "Dropout" => {
            // A third input asks for training.
            (scope.opset >= 12 && inputs.get(2).copied().flatten().is_none()).then(|| same(inputs)).flatten()
        }
        "Conv" | "ConvTranspose" | "ConvInteger" => {
            with_fixed(inputs, 1)?;
            images(inputs)
        }
        "MaxPool" | "AveragePool" | "LpPool" | "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => images(inputs),
        "QuantizeLinear" | "DequantizeLinear" => {
            with_fixed(inputs, 1)?;
            let scale = inputs.get(1).copied()??;
            let rank = inputs.first().copied()??.rank();
            // A scale of more dimensions is one for each block, of rows as well.
            let is_behind = scale.rank()? <= 1 && axis_of(node.int("axis", 1), rank)? > 0;
            (scale.is_single() || is_behind).then(|| same(inputs)).flatten()
        }
        "CumSum" => {
            let axis = *inputs.get(1).copied()??.ints()?.first()?;
            (axis_of(axis, inputs[0]?.rank())? > 0).then(|| same(inputs)).flatten()
        }
        "Trilu" => {
            with_fixed(inputs, 1)?;
            (inputs.first().copied()??.rank()? >= 3).then(|| same(inputs)).flatten()
        }
        "TopK" => {
            with_fixed(inputs, 1)?;
            let Known::Rows(Some(dims)) = inputs.first().copied()?? else { return None };
            let mut dims = dims.clone();
            let axis = axis_of(node.int("axis", -1), Some(dims.len() + 1))?.checked_sub(1)?;
            dims[axis] = None;
            Some(vec![Known::Rows(Some(dims)); 2])
        }
        operator if operator.starts_with("Reduce") => reduce(node, inputs),
        _ => shaping::apply(node, inputs),
    }
}

/// Whether nothing that goes in depends on rows.
fn is_constant(inputs: &Inputs<'_>) -> bool {
    inputs.iter().flatten().all(|value| matches!(value, Known::Fixed(..)))
}

/// Whether it makes the same of the same every time.
fn is_pure(operator: &str) -> bool {
    !(operator.starts_with("Random") || matches!(operator, "Bernoulli" | "Multinomial" | "Dropout"))
}

/// Whether all inputs from `first` on are fixed or left out.
fn with_fixed(inputs: &Inputs<'_>, first: usize) -> Option<()> {
    inputs.iter().skip(first).flatten().all(|value| matches!(value, Known::Fixed(..))).then_some(())
}

/// The first input, if it is by rows, as the only output.
fn same(inputs: &Inputs<'_>) -> Made {
    let value = inputs.first().copied()??;
    matches!(value, Known::Rows(_)).then(|| vec![value.clone()])
}

fn elementwise(node: &Node, inputs: &Inputs<'_>) -> Made {
    let values: Vec<&Known> = inputs.iter().flatten().copied().collect();
    if values.iter().any(|value| matches!(value, Known::Sizes { .. })) {
        return shaping::arithmetic(node, &values);
    }
    let mut rows: Option<Option<Dims>> = None;
    for value in &values {
        if let Known::Rows(dims) = value {
            rows = Some(match rows {
                None => dims.clone(),
                // Of different ranks, the row axis of one meets another axis of the other.
                Some(Some(known)) if Some(known.len()) == dims.as_ref().map(Vec::len) => {
                    Some(broadcast(&known, dims.as_deref()?)?)
                }
                Some(_) => return None,
            });
        }
    }
    let mut rows = rows?;
    for value in values {
        let Known::Fixed(fixed, _) = value else { continue };
        match (fixed, &rows) {
            (Some(fixed), _) if fixed.is_empty() => {}
            (Some(fixed), Some(known)) if fixed.len() <= known.len() => {
                let lead = known.len() - fixed.len();
                let padded: Dims = known[..lead].iter().copied().chain(fixed.iter().copied()).collect();
                rows = Some(broadcast(known, &padded)?);
            }
            // As many dimensions: the first one meets the rows, and must not have rows of its own.
            (Some(fixed), Some(known)) if fixed.len() == known.len() + 1 && fixed[0] == Some(1) => {
                rows = Some(broadcast(known, &fixed[1..])?);
            }
            (Some(_), None) if value.is_single() && value.rank() <= Some(1) => {}
            _ => return None,
        }
    }
    Some(vec![Known::Rows(rows)])
}

/// Dimensions of the same rank, broadcast against each other.
pub(super) fn broadcast(one: &[Option<i64>], other: &[Option<i64>]) -> Option<Dims> {
    let dim = |(one, other): (&Option<i64>, &Option<i64>)| match (one, other) {
        (Some(1), other) => Some(*other),
        (one, Some(1)) => Some(*one),
        (Some(one), Some(other)) => (one == other).then_some(Some(*one)),
        _ => Some(None),
    };
    one.iter().zip(other).map(dim).collect()
}

fn matmul(left: &Known, right: &Known) -> Made {
    let columns = |dims: &Option<Dims>| dims.as_ref().and_then(|dims| dims.last().copied()).flatten();
    // Behind the row axis, whatever is multiplied is multiplied within a row; the batch axes in front broadcast.
    let fits =
        |fixed: &Dims, rows: &Dims| fixed.len() <= rows.len() || fixed.len() == rows.len() + 1 && fixed[0] == Some(1);
    match (left, right) {
        (Known::Rows(Some(rows)), Known::Fixed(Some(fixed), _)) => match (rows.len(), fixed.len()) {
            // A row as a vector, times a matrix.
            (1, 2) => Some(vec![Known::Rows(Some(vec![columns(&Some(fixed.clone()))]))]),
            (1, 1) => Some(vec![Known::Rows(Some(vec![]))]),
            (0 | 1, _) | (_, 0) => None,
            (_, 1) => Some(vec![Known::Rows(Some(rows[..rows.len() - 1].to_vec()))]),
            _ if fits(fixed, rows) => {
                let mut dims: Dims = vec![None; rows.len()];
                dims[rows.len() - 2] = rows[rows.len() - 2];
                dims[rows.len() - 1] = columns(&Some(fixed.clone()));
                if fixed.len() == 2 {
                    dims[..rows.len() - 2].copy_from_slice(&rows[..rows.len() - 2]);
                }
                Some(vec![Known::Rows(Some(dims))])
            }
            _ => None,
        },
        (Known::Fixed(Some(fixed), _), Known::Rows(Some(rows))) => {
            (rows.len() >= 2 && fixed.len() >= 2 && fits(fixed, rows)).then(|| {
                let mut dims: Dims = vec![None; rows.len()];
                dims[rows.len() - 1] = rows[rows.len() - 1];
                dims[rows.len() - 2] = fixed[fixed.len() - 2];
                vec![Known::Rows(Some(dims))]
            })
        }
        (Known::Rows(Some(left)), Known::Rows(Some(right))) => {
            (left.len() == right.len() && left.len() >= 2).then(|| {
                let end = left.len();
                let mut dims = broadcast(&left[..end - 2], &right[..end - 2]).unwrap_or_else(|| vec![None; end - 2]);
                dims.extend([left[end - 2], right[end - 1]]);
                vec![Known::Rows(Some(dims))]
            })
        }
        _ => None,
    }
}

fn gemm(node: &Node, inputs: &Inputs<'_>) -> Made {
    let (Known::Rows(Some(rows)), Known::Fixed(Some(weights), _)) =
        (inputs.first().copied()??, inputs.get(1).copied()??)
    else {
        return None;
    };
    if rows.len() != 1 || weights.len() != 2 || node.int("transA", 0) != 0 {
        return None;
    }
    let columns = if node.int("transB", 0) == 0 { weights[1] } else { weights[0] };
    let made = Known::Rows(Some(vec![columns]));
    match inputs.get(2).copied().flatten() {
        None => Some(vec![made]),
        Some(Known::Fixed(Some(bias), _)) => {
            (bias.len() <= 1 || bias.len() == 2 && bias[0] == Some(1)).then(|| vec![made])
        }
        Some(Known::Rows(Some(bias))) => (bias.len() == 1).then(|| vec![made]),
        Some(_) => None,
    }
}

/// `bij,bjk->bik`: rows stay rows if one letter stands for them, first in every operand that has them and in the result, and
/// nowhere else.
fn einsum(node: &Node, inputs: &Inputs<'_>) -> Made {
    let Some(Attribute::Text(equation)) = node.attribute("equation") else { return None };
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    let (operands, result) = equation.split_once("->")?;
    let operands: Vec<&str> = operands.split(',').collect();
    let letter = result.chars().next().filter(char::is_ascii_alphabetic)?;
    if operands.len() != inputs.len() || equation.contains('.') || result.matches(letter).count() != 1 {
        return None;
    }
    let fits = |(operand, value): (&&str, Option<&Known>)| match value {
        Some(Known::Rows(_)) => operand.starts_with(letter) && operand.matches(letter).count() == 1,
        Some(Known::Fixed(..)) => !operand.contains(letter),
        _ => false,
    };
    let has_rows = inputs.iter().flatten().any(|value| matches!(value, Known::Rows(_)));
    let all = has_rows && operands.iter().zip(inputs.iter().copied()).all(fits);
    all.then(|| vec![Known::Rows(Some(vec![None; result.len() - 1]))])
}

fn softmax(scope: &Scope<'_>, node: &Node, inputs: &Inputs<'_>) -> Made {
    // Before opset 13 the axes from `axis` on are taken together; since then it is one axis.
    let default = if scope.opset >= 13 { -1 } else { 1 };
    let rank = inputs.first().copied()??.rank();
    (axis_of(node.int("axis", default), rank)? > 0).then(|| same(inputs)).flatten()
}

/// An axis behind the rows is taken together.
fn along(inputs: &Inputs<'_>, axis: i64, keeps: bool) -> Made {
    let Known::Rows(dims) = inputs.first().copied()?? else { return None };
    let axis = axis_of(axis, dims.as_ref().map(|dims| dims.len() + 1))?.checked_sub(1)?;
    let without = |dims: &Dims| without_axes(dims, &[axis], keeps);
    Some(vec![Known::Rows(dims.as_ref().map(without))])
}

fn without_axes(dims: &Dims, axes: &[usize], keeps: bool) -> Dims {
    let kept = dims.iter().enumerate().filter(|(axis, _)| keeps || !axes.contains(axis));
    kept.map(|(axis, dim)| if axes.contains(&axis) { Some(1) } else { *dim }).collect()
}

fn reduce(node: &Node, inputs: &Inputs<'_>) -> Made {
    let Known::Rows(Some(dims)) = inputs.first().copied()?? else { return None };
    let axes = match (node.ints("axes"), inputs.get(1).copied().flatten()) {
        (Some(axes), None) => axes.to_vec(),
        (None, Some(axes)) => axes.ints()?,
        // All axes, those of the rows among them; or none, for which there is another operator.
        _ => return None,
    };
    if axes.is_empty() {
        return None;
    }
    let behind = |axis: &i64| axis_of(*axis, Some(dims.len() + 1))?.checked_sub(1);
    let axes: Vec<usize> = axes.iter().map(behind).collect::<Option<_>>()?;
    Some(vec![Known::Rows(Some(without_axes(dims, &axes, node.int("keepdims", 1) != 0)))])
}

/// Images one a row: `[N, C, …]`.
fn images(inputs: &Inputs<'_>) -> Made {
    let Known::Rows(Some(dims)) = inputs.first().copied()?? else { return None };
    (dims.len() >= 2).then(|| vec![Known::Rows(Some(vec![None; dims.len()]))])
}

fn tabular(operator: &str, inputs: &Inputs<'_>, outputs: usize) -> Made {
    if operator == "FeatureVectorizer" {
        // Columns side by side.
        let all = inputs.iter().flatten().all(|value| matches!(value, Known::Rows(Some(dims)) if dims.len() == 1));
        return (all && !inputs.is_empty()).then(|| vec![Known::Rows(Some(vec![None]))]);
    }
    with_fixed(inputs, 1)?;
    let Known::Rows(Some(dims)) = inputs.first().copied()?? else { return None };
    let made = match (operator, dims.len()) {
        ("LabelEncoder" | "CategoryMapper" | "Binarizer", _) | ("Scaler" | "Normalizer" | "Imputer", 1) => dims.clone(),
        ("OneHotEncoder", _) => dims.iter().copied().chain([None]).collect(),
        ("ZipMap", 1) => vec![],
        // Elsewhere a tensor of rank 1 is one sample, not many.
        (
            "ArrayFeatureExtractor" | "TreeEnsembleRegressor" | "LinearRegressor" | "SVMRegressor" | "TreeEnsemble",
            1,
        ) => {
            vec![None]
        }
        ("TreeEnsembleClassifier" | "LinearClassifier" | "SVMClassifier", 1) => {
            // Labels and scores.
            let both = vec![Known::Rows(Some(vec![])), Known::Rows(Some(vec![None]))];
            return Some(both.into_iter().take(outputs.max(1)).collect());
        }
        _ => return None,
    };
    Some(vec![Known::Rows(Some(made))])
}
