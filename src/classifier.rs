//! Where a classifier's probabilities are, whatever the converter made of them.

use crate::onnx::{Classes, Format, ModelFacts, Node};
use crate::signature::{Dim, Port, PortType};
use crate::tensor::DType;

/// Operators that hand a value on without changing what it means.
const PASS_THROUGH: [&str; 7] = ["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "ZipMap"];
/// Operators whose (second, for classifiers) output is probabilities.
const MAKE_PROBABILITIES: [&str; 5] =
    ["Softmax", "Sigmoid", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"];

/// How to get a matrix `[rows, classes]` from the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probabilities {
    /// This output is a sequence of one map per row, from class to probability.
    Maps(usize),
    /// This output has one column per class.
    Matrix(usize),
    /// This output has one column or none: the probability of the second of two classes.
    Positive(usize),
}

impl Probabilities {
    /// The number of the output.
    pub fn output(self) -> usize {
        let (Self::Maps(index) | Self::Matrix(index) | Self::Positive(index)) = self;
        index
    }
}

/// Finds the probabilities among `outputs`, or `None` if no output is known to hold them.
///
/// A guess could pass logits for probabilities, so an output counts only if it is a map, stands beside class labels, has a
/// telling name, or comes out of an operator that makes probabilities.
pub fn find(outputs: &[Port], facts: &ModelFacts) -> Option<Probabilities> {
    let maps = outputs.iter().position(|port| {
        matches!(&port.port_type, PortType::Other(words) if words.starts_with("sequence(map(") && words.ends_with("float32))"))
    });
    if let Some(index) = maps {
        return Some(Probabilities::Maps(index));
    }
    let labels_first = outputs.len() >= 2 && is_label(&outputs[0]);
    let (index, port) = outputs.iter().enumerate().find(|(index, port)| {
        let is_float = matches!(port.dtype(), Some(DType::Float32 | DType::Float64 | DType::Float16));
        let name = port.name.to_lowercase();
        let named = name.contains("prob");
        // Detectors of outliers have one score, which is below 0 for them. Classifiers may call a probability so as well.
        let is_score = name.contains("score") && is_one_number(port) && is_detector(&outputs[0].name, facts);
        let beside_labels = labels_first && *index == 1 && !is_score;
        is_float && (named || beside_labels || comes_from_probabilities(&port.name, &facts.graph.nodes))
    })?;
    Some(if is_one_number(port) { Probabilities::Positive(index) } else { Probabilities::Matrix(index) })
}

/// Whether labels are 1 or, for outliers, -1: in files of our own what is called a score is a detector's, and in ONNX the labels
/// are a sign or computed from what is 0 or 1, which a classifier of such labels need not do.
fn is_detector(label: &str, facts: &ModelFacts) -> bool {
    let nodes = &facts.graph.nodes;
    let maker = |name: &str| nodes.iter().find(|node| node.outputs.iter().any(|made| made == name));
    let before = |node: &Node| node.inputs.first().and_then(|name| maker(name));
    let mut made = maker(label);
    for _ in 0..nodes.len() {
        match made {
            Some(node) if PASS_THROUGH.contains(&node.operator.as_str()) => made = before(node),
            _ => break,
        }
    }
    facts.format != Format::Onnx
        || made.is_some_and(|node| match node.operator.as_str() {
            "Sign" => true,
            "Add" => before(node).is_some_and(|node| node.operator == "Mul"),
            _ => false,
        })
}

/// Whether a row has one number.
fn is_one_number(port: &Port) -> bool {
    matches!(port.dims(), Some([_] | [_, Dim::Fixed(1)]))
}

/// The class labels, if the model names them.
pub fn classes(facts: &ModelFacts) -> Option<&Classes> {
    facts.classes.as_ref().filter(|classes| match classes {
        Classes::Ints(labels) => !labels.is_empty(),
        Classes::Strings(labels) => !labels.is_empty(),
    })
}

fn is_label(port: &Port) -> bool {
    let is_flat = port.dims().is_none_or(|dims| dims.len() <= 2);
    is_flat && matches!(port.dtype(), Some(DType::Int64 | DType::Int32 | DType::String))
}

fn comes_from_probabilities(output: &str, nodes: &[Node]) -> bool {
    let mut name = output;
    // A cycle would be refused by the engine; the bound keeps a broken file from looping here.
    for _ in 0..nodes.len() {
        let Some(node) = nodes.iter().find(|node| node.outputs.iter().any(|made| made == name)) else {
            return false;
        };
        if MAKE_PROBABILITIES.contains(&node.operator.as_str()) {
            return true;
        }
        if !PASS_THROUGH.contains(&node.operator.as_str()) {
            return false;
        }
        let Some(input) = node.inputs.first() else { return false };
        name = input;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Graph;

    fn tensor(name: &str, dtype: DType, dims: &[Dim]) -> Port {
        Port { name: name.into(), port_type: PortType::Tensor(dtype, dims.to_vec()), required: true }
    }

    fn node(operator: &str, input: &str, output: &str) -> Node {
        Node { operator: operator.into(), inputs: vec![input.into()], outputs: vec![output.into()], ..Node::default() }
    }

    #[test]
    fn probabilities_are_found_or_refused() {
        let rows = Dim::Symbol("N".into());
        let label = || tensor("label", DType::Int64, std::slice::from_ref(&rows));
        let scores = |name: &str, columns: i64| tensor(name, DType::Float32, &[rows.clone(), Dim::Fixed(columns)]);
        let maps = || Port {
            name: "output_probability".into(),
            port_type: PortType::Other("sequence(map(int64, float32))".into()),
            required: true,
        };
        let cases = [
            ("maps", vec![label(), maps()], vec![], Some(Probabilities::Maps(1))),
            ("beside labels", vec![label(), scores("scores", 3)], vec![], Some(Probabilities::Matrix(1))),
            ("a probability called score", vec![label(), scores("score", 1)], vec![], Some(Probabilities::Positive(1))),
            (
                "a score and the label of a bound",
                vec![label(), scores("score", 1)],
                vec![node("Greater", "score", "b"), node("Cast", "b", "label")],
                Some(Probabilities::Positive(1)),
            ),
            (
                "outliers by sign",
                vec![label(), scores("scores", 1)],
                vec![node("Sign", "scores", "s"), node("Cast", "s", "label")],
                None,
            ),
            (
                "outliers by a bound",
                vec![label(), scores("scores", 1)],
                vec![node("Less", "scores", "b"), node("Mul", "b", "m"), node("Add", "m", "label")],
                None,
            ),
            ("by name", vec![scores("probabilities", 2)], vec![], Some(Probabilities::Matrix(0))),
            ("logits", vec![scores("logits", 2)], vec![node("Gemm", "x", "logits")], None),
            ("regression", vec![scores("y", 1)], vec![node("Gemm", "x", "y")], None),
            ("softmax", vec![scores("y", 4)], vec![node("Softmax", "z", "y")], Some(Probabilities::Matrix(0))),
            (
                "sigmoid behind a cast",
                vec![scores("y", 1)],
                vec![node("Sigmoid", "x", "z"), node("Cast", "z", "y")],
                Some(Probabilities::Positive(0)),
            ),
            ("a cycle", vec![scores("y", 1)], vec![node("Cast", "z", "y"), node("Cast", "y", "z")], None),
        ];
        for (name, outputs, nodes, expected) in cases {
            let graph = Graph { nodes, ..Graph::default() };
            let facts = ModelFacts { graph, ..ModelFacts::default() };
            assert_eq!(find(&outputs, &facts), expected, "{name}");
        }
    }
}
