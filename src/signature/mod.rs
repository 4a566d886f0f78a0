//! Names, dtypes and shapes of a model, and checking what a caller passes against them.

mod order;
mod output_dims;
mod port;

use crate::error::{Error, ErrorKind, Result, list_names, nearest};
use crate::tensor::{DType, InputTensor, Shape};
pub use order::Order;
use output_dims::{DimSource, agreed_size, dim_sources};
use port::shape_text;
pub use port::{Dim, Port, PortType};

/// How many names an error message lists.
const NAMES_SHOWN: usize = 12;

/// Inputs and outputs of one model.
#[derive(Debug)]
pub struct Signature {
    model: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    output_dims: Vec<Option<Vec<DimSource>>>,
    positional: Vec<usize>,
    is_record: bool,
    input_order: Order,
    feature_order: Order,
}

/// For more features than this, each call finds out for itself in which order they come.
const MOST_ORDERED: usize = 4096;

impl Signature {
    /// `model` names the model in errors.
    pub fn new(model: impl Into<String>, inputs: Vec<Port>, outputs: Vec<Port>) -> Self {
        let output_dims = outputs.iter().map(|output| dim_sources(output, &inputs)).collect();
        let mut positional: Vec<usize> = (0..inputs.len()).filter(|index| inputs[*index].required).collect();
        if positional.is_empty() {
            positional = (0..inputs.len()).collect();
        }
        let columns = match positional[..] {
            [sole] => match inputs[sole].dims() {
                Some([_, Dim::Fixed(columns)]) => usize::try_from(*columns).unwrap_or(0),
                _ => 0,
            },
            _ => 0,
        };
        let is_value = |port: &Port| match port.dims() {
            Some([Dim::Symbol(_) | Dim::Unknown] | [Dim::Symbol(_) | Dim::Unknown, Dim::Fixed(1)]) => port.required,
            _ => false,
        };
        let is_record = inputs.len() > 1 && inputs.iter().all(is_value);
        let input_order = Order::new(inputs.len());
        let feature_order = Order::new(if columns <= MOST_ORDERED { columns } else { 0 });
        Self { model: model.into(), inputs, outputs, output_dims, positional, is_record, input_order, feature_order }
    }

    /// The inputs that a list or scalar means: the required ones, or all if none is.
    pub fn positional(&self) -> &[usize] {
        &self.positional
    }

    /// Whether a row has one value for each of several inputs, all of them required, and calls any number of rows.
    pub fn is_record(&self) -> bool {
        self.is_record
    }

    /// In which order callers name the inputs.
    pub fn input_order(&self) -> &Order {
        &self.input_order
    }

    /// In which order callers name the features of the one matrix, if their number is known.
    pub fn feature_order(&self) -> &Order {
        &self.feature_order
    }

    /// The inputs, in the model's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the model's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// What errors call the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Which input is called `name`.
    pub fn input_index(&self, name: &str) -> Result<usize> {
        self.index(&self.inputs, "input", name)
    }

    /// Which output is called `name`.
    pub fn output_index(&self, name: &str) -> Result<usize> {
        self.index(&self.outputs, "output", name)
    }

    /// The input that a bare array means: the only required one, or the only one.
    pub fn sole_input(&self) -> Result<usize> {
        let mut required = self.inputs.iter().enumerate().filter(|(_, port)| port.required);
        match (required.next(), required.next()) {
            (Some((index, _)), None) => Ok(index),
            (None, _) if self.inputs.len() == 1 => Ok(0),
            _ if self.inputs.is_empty() => {
                Err(Error::new(ErrorKind::Input, &self.model, "got a value, but the model has no inputs", "pass `{}`"))
            }
            _ => {
                let names = list_names(self.inputs.iter().map(|port| port.name.as_str()), NAMES_SHOWN);
                let first = self.inputs.first().map_or("x", |port| &port.name);
                Err(Error::new(
                    ErrorKind::Input,
                    &self.model,
                    format!("got a single value, expected a mapping for {} inputs: {names}", self.inputs.len()),
                    format!("pass a mapping from input name to array, like `{{{first:?}: …}}`"),
                ))
            }
        }
    }

    /// The dtype that input `index` wants.
    pub fn input_dtype(&self, index: usize) -> Result<DType> {
        match &self.inputs[index].port_type {
            PortType::Tensor(dtype, _) | PortType::AnyRank(dtype) => Ok(*dtype),
            PortType::Other(words) => Err(Error::new(
                ErrorKind::InputType,
                self.input_subject(index),
                format!("the model wants {words}, which cannot be made from an array"),
                "export the model with tensor inputs",
            )),
        }
    }

    /// How errors call input `index`.
    pub fn input_subject(&self, index: usize) -> String {
        format!("input `{}` of {}", self.inputs[index].name, self.model)
    }

    /// The shape that `got` is taken as for input `index`, which has the same number of elements.
    ///
    /// One row may be given without its row axis: `[k]` for `[N, k]`. A column may be given without its column axis:
    /// `[n]` for `[N, 1]`. A scalar fits `[N]` and `[N, 1]`, and an array of one element a scalar.
    pub fn fit_shape(&self, index: usize, got: &[i64]) -> Result<Shape> {
        let Some(dims) = self.inputs[index].dims() else { return Ok(Shape::from_slice(got)) };
        let fits = |shape: &[i64]| {
            dims.len() == shape.len()
                && dims.iter().zip(shape).all(|(dim, size)| !matches!(dim, Dim::Fixed(fixed) if fixed != size))
        };
        if fits(got) {
            return Ok(Shape::from_slice(got));
        }
        let candidates: [Shape; 2] = match (dims.len(), got) {
            (2, [size]) => [Shape::from_slice(&[1, *size]), Shape::from_slice(&[*size, 1])],
            (2, []) => [Shape::from_slice(&[1, 1]), Shape::new()],
            (1, []) => [Shape::from_slice(&[1]), Shape::new()],
            (0, [1]) => [Shape::new(), Shape::new()],
            _ => return Err(self.shape_error(index, dims, got)),
        };
        // `[n]` for `[N, 1]` is a column only where the model says 1; a free second dimension makes it a row.
        let fitting = candidates.into_iter().find(|candidate| fits(candidate));
        fitting.ok_or_else(|| self.shape_error(index, dims, got))
    }

    /// Checks that every required input is among `given`.
    pub fn check_complete(&self, given: &[InputTensor]) -> Result<()> {
        if given.len() == self.inputs.len() && given.iter().enumerate().all(|(index, tensor)| tensor.index == index) {
            return Ok(());
        }
        let missing = |index: &usize| self.inputs[*index].required && given.iter().all(|tensor| tensor.index != *index);
        let missing: Vec<&str> =
            (0..self.inputs.len()).filter(missing).map(|index| self.inputs[index].name.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let known = list_names(self.inputs.iter().map(|port| port.name.as_str()), NAMES_SHOWN);
        let names = list_names(missing.iter().copied(), NAMES_SHOWN);
        let noun = if missing.len() == 1 { "input" } else { "inputs" };
        Err(Error::new(
            ErrorKind::Input,
            &self.model,
            format!("missing {noun} {names}; the model's inputs are {known}"),
            format!("add {names} to the mapping"),
        ))
    }

    /// The shape output `index` will have, where the inputs determine it.
    ///
    /// `rows_for_unknown` stands for a first dimension that the model does not name.
    pub fn output_shape(&self, index: usize, given: &[InputTensor], rows_for_unknown: Option<i64>) -> Option<Shape> {
        let sources = self.output_dims[index].as_ref()?;
        let mut shape = Shape::new();
        for (axis, source) in sources.iter().enumerate() {
            shape.push(match source {
                DimSource::Fixed(size) => *size,
                DimSource::Inputs(sites) => agreed_size(sites, given)?,
                DimSource::Unknown if axis == 0 => rows_for_unknown?,
                DimSource::Unknown => return None,
            });
        }
        Some(shape)
    }

    /// Whether output `index` has a first dimension that the model does not name while it does determine the others.
    pub fn has_unnamed_rows(&self, index: usize) -> bool {
        match self.output_dims[index].as_deref() {
            Some([DimSource::Unknown, rest @ ..]) => !rest.contains(&DimSource::Unknown),
            _ => false,
        }
    }

    /// Names of the inputs if there are several, each of them a column of its own.
    pub fn columns(&self) -> Vec<&str> {
        if self.inputs.len() < 2 { Vec::new() } else { self.inputs.iter().map(|port| port.name.as_str()).collect() }
    }

    /// Whether the first dimension of input `index` may differ from call to call, so that it can be that of the rows.
    pub fn is_row_input(&self, index: usize) -> bool {
        matches!(self.inputs[index].dims(), Some([Dim::Symbol(_) | Dim::Unknown, ..]))
    }

    /// The number of rows that every input with rows has; `None` if they differ, there are none, or a rank is open.
    pub fn common_rows(&self, given: &[InputTensor]) -> Option<usize> {
        let is_open = |tensor: &InputTensor| self.inputs[tensor.index].dims().is_none();
        let mut rows = given.iter().filter(|tensor| self.is_row_input(tensor.index)).map(|tensor| tensor.shape.first());
        let first = *rows.next()??;
        let agree = rows.all(|rows| rows == Some(&first)) && !given.iter().any(is_open);
        agree.then(|| usize::try_from(first).ok()).flatten()
    }

    fn index(&self, ports: &[Port], noun: &str, name: &str) -> Result<usize> {
        if let Some(index) = ports.iter().position(|port| port.name == name) {
            return Ok(index);
        }
        let names = || ports.iter().map(|port| port.name.as_str());
        let fix = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if noun == "input" && ports.len() == 1 => {
                "pass the input's array alone, or with its name; features are named in frames, and in rows for `predict_rows`"
                    .to_owned()
            }
            None => format!("use one of the model's {noun} names"),
        };
        let known = list_names(names(), NAMES_SHOWN);
        Err(Error::new(
            ErrorKind::Input,
            &self.model,
            format!("got unknown {noun} `{name}`, expected {noun}s: {known}"),
            fix,
        ))
    }

    fn shape_error(&self, index: usize, dims: &[Dim], got: &[i64]) -> Error {
        let expected = shape_text(dims);
        let wrong = dims.iter().zip(got).position(|(dim, size)| matches!(dim, Dim::Fixed(fixed) if fixed != size));
        let fix = match wrong {
            _ if dims.len() != got.len() => {
                format!("pass an array of rank {}, for example with `reshape`", dims.len())
            }
            Some(axis) => format!("make axis {axis} as long as the model says: {}", shape_text(&dims[axis..=axis])),
            None => "pass an array of the expected shape".to_owned(),
        };
        Error::new(
            ErrorKind::Input,
            self.input_subject(index),
            format!("got shape {got:?} (rank {}), expected {expected} (rank {})", got.len(), dims.len()),
            fix,
        )
    }
}

#[cfg(test)]
mod tests;
