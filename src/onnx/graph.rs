//! The main graph of a model as far as following its values needs it: names, small numbers, and no weights.

/// Longest list of numbers that is kept; axes, shapes and the like are shorter.
pub(super) const MOST_NUMBERS: usize = 64;

/// Nodes and named values of the main graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// In the order of the file, which is that of execution.
    pub nodes: Vec<Node>,
    /// Initializers.
    pub constants: Vec<Constant>,
    /// Inputs, those with a default value among them.
    pub inputs: Vec<Input>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// Operators that the file defines itself, as (domain, name).
    pub functions: Vec<(String, String)>,
}

/// One step of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Operator.
    pub operator: String,
    /// Operator set; empty for ONNX's own.
    pub domain: String,
    /// Names of its inputs; one that is left out is empty.
    pub inputs: Vec<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// What is kept of its attributes.
    pub attributes: Vec<(String, Attribute)>,
}

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// A short list of whole numbers.
    Ints(Vec<i64>),
    /// A short text.
    Text(String),
    /// A tensor.
    Tensor(Constant),
    /// A graph of its own, which may use any value around it.
    Graph,
    /// Anything else.
    Other,
}

/// A tensor of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constant {
    /// Its name, empty in an attribute.
    pub name: String,
    /// Its dimensions.
    pub dims: Vec<i64>,
    /// Its elements, if they are few whole numbers or booleans.
    pub ints: Option<Vec<i64>>,
}

/// An input of the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its dimensions, `None` for one that may differ from call to call; `None` in all if the rank may.
    pub dims: Option<Vec<Option<i64>>>,
}

impl Node {
    /// The whole number of an attribute, or `default` if it is not there.
    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        match self.attribute(name) {
            Some(Attribute::Int(value)) => *value,
            _ => default,
        }
    }

    /// The whole numbers of an attribute.
    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name) {
            Some(Attribute::Ints(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}
