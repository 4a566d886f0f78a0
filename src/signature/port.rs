//! One input or output: its name, dtype and shape.

use crate::tensor::DType;

/// One dimension as the model declares it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Always this size.
    Fixed(i64),
    /// Any size, the same wherever the name appears.
    Symbol(String),
    /// Any size.
    Unknown,
}

/// The type of an input or output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortType {
    /// A tensor.
    Tensor(DType, Vec<Dim>),
    /// A tensor of any rank.
    AnyRank(DType),
    /// A sequence, map, optional, or a tensor of an element type NumPy does not know, in words.
    Other(String),
}

/// One named input or output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type.
    pub port_type: PortType,
    /// Whether a run needs it; inputs with a default value may be left out.
    pub required: bool,
}

impl Port {
    /// Dtype in words, for users.
    pub fn dtype_name(&self) -> &str {
        match &self.port_type {
            PortType::Tensor(dtype, _) | PortType::AnyRank(dtype) => dtype.name(),
            PortType::Other(words) => words,
        }
    }

    /// Dtype of a tensor.
    pub fn dtype(&self) -> Option<DType> {
        match &self.port_type {
            PortType::Tensor(dtype, _) | PortType::AnyRank(dtype) => Some(*dtype),
            PortType::Other(_) => None,
        }
    }

    /// Declared dimensions of a tensor of known rank.
    pub fn dims(&self) -> Option<&[Dim]> {
        match &self.port_type {
            PortType::Tensor(_, dims) => Some(dims),
            PortType::AnyRank(_) | PortType::Other(_) => None,
        }
    }

    /// Shape as `[N, 30]`.
    pub fn shape_text(&self) -> String {
        self.dims().map_or_else(|| "[…]".to_owned(), shape_text)
    }
}

/// Dimensions as `[N, 30]`.
pub(super) fn shape_text(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Symbol(name) => name.clone(),
            Dim::Unknown => "?".to_owned(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}
