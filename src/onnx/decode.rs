//! The main graph of a model, attributes and all: what an engine of our own needs to run it.
//!
//! Field numbers are those of `onnx/onnx.proto`. Whatever is not as expected gives `None`: the file then goes to
//! ONNX Runtime, which says what is wrong with it.

pub(super) mod tensor;

pub use tensor::{Array, FullConstant};

use super::lists::{Elements, List};

/// A graph whose texts are borrowed from the file.
#[derive(Debug, Default)]
pub struct FullGraph<'a> {
    /// In the order of execution.
    pub nodes: Vec<FullNode<'a>>,
    /// Inputs.
    pub inputs: Vec<FullPort<'a>>,
    /// Outputs.
    pub outputs: Vec<FullPort<'a>>,
    /// Initializers.
    pub constants: Vec<FullConstant<'a>>,
}

/// A node with its attributes.
#[derive(Debug, Default)]
pub struct FullNode<'a> {
    /// Operator.
    pub operator: &'a str,
    /// Operator set; empty for ONNX's own.
    pub domain: &'a str,
    /// Names of its inputs.
    pub inputs: Vec<&'a str>,
    /// Names of its outputs.
    pub outputs: Vec<&'a str>,
    /// Attributes by name.
    pub attributes: Vec<(&'a str, Data<'a>)>,
}

/// What an attribute holds.
#[derive(Debug)]
pub enum Data<'a> {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f32),
    /// A text.
    Text(&'a str),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Texts.
    Texts(Vec<&'a str>),
    /// A list that is left in the file.
    Stored(List),
    /// The elements of a tensor that are.
    StoredTensor(Elements),
    /// A tensor.
    Tensor(FullConstant<'a>),
    /// A graph, or nothing.
    Other,
}

/// An input or output.
#[derive(Debug, Default)]
pub struct FullPort<'a> {
    /// Its name.
    pub name: &'a str,
    /// The element type of a tensor, by its number in `TensorProto.DataType`; 0 for anything else.
    pub element: u64,
    /// Its dimensions, if the rank is known.
    pub dims: Option<Vec<FullDim<'a>>>,
}

/// A dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullDim<'a> {
    /// A fixed size.
    Size(i64),
    /// The same size wherever the name appears.
    Name(&'a str),
    /// Any size.
    Unknown,
}

impl<'a> FullNode<'a> {
    /// An attribute.
    pub fn get(&self, name: &str) -> Option<&Data<'a>> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, data)| data)
    }

    /// Whole numbers; none if the attribute is not there.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.get(name) {
            Some(Data::Ints(values)) => Some(values),
            None => Some(&[]),
            Some(_) => None,
        }
    }

    /// Numbers; none if the attribute is not there.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.get(name) {
            Some(Data::Floats(values)) => Some(values),
            None => Some(&[]),
            Some(_) => None,
        }
    }

    /// Texts; none if the attribute is not there.
    pub fn texts(&self, name: &str) -> Option<&[&'a str]> {
        match self.get(name) {
            Some(Data::Texts(values)) => Some(values),
            None => Some(&[]),
            Some(_) => None,
        }
    }

    /// A text, or what it is if the attribute is not there.
    pub fn text(&self, name: &str, default: &'a str) -> Option<&'a str> {
        match self.get(name) {
            Some(Data::Text(value)) => Some(value),
            None => Some(default),
            Some(_) => None,
        }
    }

    /// Whether it has no other attributes than these.
    pub fn has_only(&self, names: &[&str]) -> bool {
        self.attributes.iter().all(|(name, _)| names.contains(name))
    }
}

struct Field<'a> {
    number: u64,
    content: Content<'a>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

/// The fields of a message; an error ends them.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = next_field(&mut bytes);
        if field.is_none() {
            bytes = &[];
        }
        Some(field)
    })
}

fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let tag = varint(bytes)?;
    let content = match tag & 7 {
        0 => Content::Varint(varint(bytes)?),
        1 => Content::Fixed64(*take(bytes, 8)?.first_chunk()?),
        2 => {
            let length = varint(bytes)?;
            Content::Bytes(take(bytes, usize::try_from(length).ok()?)?)
        }
        5 => Content::Fixed32(*take(bytes, 4)?.first_chunk()?),
        _ => return None,
    };
    Some(Field { number: tag >> 3, content })
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[inline]
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn add_floats(bytes: &[u8], floats: &mut Vec<f32>) -> Option<()> {
    let (values, rest) = bytes.as_chunks();
    floats.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    rest.is_empty().then_some(())
}

pub(super) fn decode_node(bytes: &[u8]) -> Option<FullNode<'_>> {
    let mut node = FullNode::default();
    for field in fields(bytes) {
        let Field { number, content: Content::Bytes(bytes) } = field? else { continue };
        match number {
            1 => node.inputs.push(text(bytes)?),
            2 => node.outputs.push(text(bytes)?),
            4 => node.operator = text(bytes)?,
            5 => node.attributes.push(decode_attribute(bytes)?),
            7 => node.domain = text(bytes)?,
            _ => {}
        }
    }
    Some(node)
}

fn decode_attribute(bytes: &[u8]) -> Option<(&str, Data<'_>)> {
    let (mut name, mut data) = ("", Data::Other);
    let (mut ints, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields(bytes) {
        let Field { number, content } = field?;
        match (number, content) {
            (1, Content::Bytes(bytes)) => name = text(bytes)?,
            (2, Content::Fixed32(bytes)) => data = Data::Float(f32::from_le_bytes(bytes)),
            (3, Content::Varint(value)) => data = Data::Int(value.cast_signed()),
            (4, Content::Bytes(bytes)) => data = Data::Text(text(bytes)?),
            (5, Content::Bytes(bytes)) => data = Data::Tensor(tensor::decode(bytes)?),
            (7, Content::Fixed32(bytes)) => floats.push(f32::from_le_bytes(bytes)),
            (7, Content::Bytes(bytes)) => add_floats(bytes, &mut floats)?,
            (8, Content::Varint(value)) => ints.push(value.cast_signed()),
            (8, Content::Bytes(mut bytes)) => {
                while !bytes.is_empty() {
                    ints.push(varint(&mut bytes)?.cast_signed());
                }
            }
            (9, Content::Bytes(bytes)) => texts.push(text(bytes)?),
            // Documentation, a reference and the type, which follows from the content.
            (13 | 20 | 21, _) => {}
            _ => return Some((name, Data::Other)),
        }
    }
    let data = match (floats.is_empty(), ints.is_empty(), texts.is_empty()) {
        (false, ..) => Data::Floats(floats),
        (_, false, _) => Data::Ints(ints),
        (.., false) => Data::Texts(texts),
        _ => data,
    };
    Some((name, data))
}

pub(super) fn decode_port(bytes: &[u8]) -> Option<FullPort<'_>> {
    let mut port = FullPort::default();
    for field in fields(bytes) {
        match field? {
            Field { number: 1, content: Content::Bytes(bytes) } => port.name = text(bytes)?,
            Field { number: 2, content: Content::Bytes(bytes) } => {
                for field in fields(bytes) {
                    if let Field { number: 1, content: Content::Bytes(bytes) } = field? {
                        decode_tensor_type(bytes, &mut port)?;
                    }
                }
            }
            _ => {}
        }
    }
    Some(port)
}

fn decode_tensor_type<'a>(bytes: &'a [u8], port: &mut FullPort<'a>) -> Option<()> {
    for field in fields(bytes) {
        match field? {
            Field { number: 1, content: Content::Varint(element) } => port.element = element,
            Field { number: 2, content: Content::Bytes(bytes) } => {
                let mut dims = Vec::new();
                for field in fields(bytes) {
                    if let Field { number: 1, content: Content::Bytes(bytes) } = field? {
                        dims.push(decode_dim(bytes)?);
                    }
                }
                port.dims = Some(dims);
            }
            _ => {}
        }
    }
    Some(())
}

fn decode_dim(bytes: &[u8]) -> Option<FullDim<'_>> {
    let mut dim = FullDim::Unknown;
    for field in fields(bytes) {
        match field? {
            Field { number: 1, content: Content::Varint(size) } => dim = FullDim::Size(size.cast_signed()),
            Field { number: 2, content: Content::Bytes(bytes) } if !bytes.is_empty() => {
                dim = FullDim::Name(text(bytes)?);
            }
            _ => {}
        }
    }
    Some(dim)
}
