//! The main graph of a model with its weights left in the file: they are read once, straight into the order of the kernels, or
//! into that of the trees.

use std::io::{Read, Seek};
use std::ops::Range;

use super::decode::tensor::{self, Hollow};
use super::decode::{Data, FullGraph, decode_node, decode_port};
use super::lists::{Elements, List, begins};
use super::wire::{Content, Malformed, Walker, length_of};

/// Bytes of a tensor that are worth leaving in the file.
const LARGE: u64 = 1024;
/// Bytes of one node or port, at most, where tensors are left; what is larger holds weights of its own.
const MOST_BYTES: u64 = 1 << 20;
/// Operators with long lists, and what the names of those begin with.
const OPERATORS: [&[u8]; 3] = [b"TreeEnsembleClassifier", b"TreeEnsembleRegressor", b"TreeEnsemble"];
const LISTS: [&[u8]; 4] = [b"nodes_", b"class_", b"target_", b"leaf_"];
/// Bytes of the longest of those names, at most.
const LONGEST_NAME: u64 = 64;

/// What is left in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Large constants.
    Tensors,
    /// The lists of tree ensembles.
    Lists,
}

/// A float32 tensor whose elements were left in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its dimensions, none negative.
    pub dims: Vec<i64>,
    /// The bytes of its elements, as many as the dimensions say.
    pub range: Range<u64>,
}

/// The messages of a graph, without what is left in the file.
#[derive(Debug, Default)]
pub struct Outline {
    nodes: Vec<Node>,
    constants: Vec<(Vec<u8>, Option<Range<u64>>)>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

/// A node without lists, and those by their names.
#[derive(Debug, Default)]
struct Node {
    message: Vec<u8>,
    lists: Vec<(String, List)>,
    tensors: Vec<(String, Tensor)>,
}

/// A tensor's message without its elements, and the field and the bytes that have them.
type Tensor = (Vec<u8>, u64, Range<u64>);
/// The same of one whose elements may be few.
type AnyTensor = (Vec<u8>, Option<(u64, Range<u64>)>);

/// Numbers of the fields of `TensorProto` that have float32, numbers of up to 32 bits, bytes of any type, and float64.
const FLOATS: u64 = 4;
const INT32S: u64 = 5;
const RAW: u64 = 9;
const DOUBLES: u64 = 10;

impl Outline {
    /// Reads a model. Nothing comes back if it is not as expected.
    pub fn read(mut source: impl Read + Seek, leave: Leave) -> Option<Self> {
        let length = length_of(&mut source).ok()?;
        let mut walker = Walker::new(source);
        read(&mut walker, length, leave).ok()?
    }

    /// The graph without its large tensors, and those. Texts are borrowed.
    pub fn graph(&self) -> Option<(FullGraph<'_>, Vec<Stored<'_>>)> {
        let (mut graph, mut stored) = (FullGraph::default(), Vec::new());
        for Node { message, lists, tensors } in &self.nodes {
            let mut node = decode_node(message)?;
            node.attributes.extend(lists.iter().map(|(name, list)| (name.as_str(), Data::Stored(list.clone()))));
            for (name, (message, field, range)) in tensors {
                let Hollow { element, count, .. } = tensor::decode_without_elements(message)?;
                let elements = Elements::new(element, count, *field, range.clone())?;
                node.attributes.push((name, Data::StoredTensor(elements)));
            }
            graph.nodes.push(node);
        }
        for (bytes, range) in &self.constants {
            match range {
                None => graph.constants.push(tensor::decode(bytes)?),
                Some(range) => {
                    let Hollow { name, dims, count, element } = tensor::decode_without_elements(bytes)?;
                    let is_whole = (count as u64).checked_mul(4) == range.end.checked_sub(range.start) && element == 1;
                    is_whole.then(|| stored.push(Stored { name, dims, range: range.clone() }))?;
                }
            }
        }
        for bytes in &self.inputs {
            graph.inputs.push(decode_port(bytes)?);
        }
        for bytes in &self.outputs {
            graph.outputs.push(decode_port(bytes)?);
        }
        Some((graph, stored))
    }
}

/// `None` for what is well formed but not known here.
fn read(walker: &mut Walker<impl Read + Seek>, end: u64, leave: Leave) -> Result<Option<Outline>, Malformed> {
    let mut found = None;
    while let Some(field) = walker.field(end)? {
        let Content::Until(stop) = field.content else { continue };
        if field.number == 7 {
            // Protobuf would merge two graphs.
            let None = found else { return Ok(None) };
            found = graph(walker, stop, leave)?;
            if found.is_none() {
                return Ok(None);
            }
        }
        walker.skip_to(stop)?;
    }
    Ok(found)
}

fn graph(walker: &mut Walker<impl Read + Seek>, end: u64, leave: Leave) -> Result<Option<Outline>, Malformed> {
    let mut outline = Outline::default();
    while let Some(field) = walker.field(end)? {
        let Content::Until(stop) = field.content else { continue };
        let is_large = leave == Leave::Tensors && stop.saturating_sub(walker.position()) > MOST_BYTES;
        let list = match field.number {
            1 if is_large => return Ok(None),
            1 => {
                outline.nodes.push(node(walker, stop, leave)?);
                continue;
            }
            5 if leave == Leave::Lists => {
                outline.constants.push((walker.bytes(stop)?, None));
                continue;
            }
            5 => {
                match tensor_of(walker, stop, &[FLOATS, RAW])? {
                    Some((message, stored)) => outline.constants.push((message, stored.map(|(_, range)| range))),
                    None => return Ok(None),
                }
                continue;
            }
            11 => &mut outline.inputs,
            12 => &mut outline.outputs,
            // A sparse initializer.
            15 => return Ok(None),
            _ => {
                walker.skip_to(stop)?;
                continue;
            }
        };
        if is_large {
            return Ok(None);
        }
        list.push(walker.bytes(stop)?);
    }
    Ok(Some(outline))
}

/// A node; lists are left in the file if its operator comes before them, as all writers have it.
fn node(walker: &mut Walker<impl Read + Seek>, end: u64, leave: Leave) -> Result<Node, Malformed> {
    let mut node = Node::default();
    if leave == Leave::Tensors {
        node.message = walker.bytes(end)?;
        return Ok(node);
    }
    let mut has_lists = false;
    while let Some(field) = walker.field(end)? {
        let Content::Until(stop) = field.content else { continue };
        if field.number == 5 && has_lists {
            attribute(walker, stop, &mut node)?;
            continue;
        }
        let bytes = walker.bytes(stop)?;
        has_lists |= field.number == 4 && OPERATORS.contains(&bytes.as_slice());
        put_field(&mut node.message, field.number, &[&bytes]);
    }
    Ok(node)
}

/// An attribute of a node; its list is left in the file if it follows its name, as all writers have it.
fn attribute(walker: &mut Walker<impl Read + Seek>, end: u64, node: &mut Node) -> Result<(), Malformed> {
    let mut before = Vec::new();
    if walker.next_byte(end) == Some(1 << 3 | 2)
        && let Some(field) = walker.field(end)?
        && let Content::Until(stop) = field.content
    {
        let is_short = stop.saturating_sub(walker.position()) <= LONGEST_NAME;
        let name = walker.bytes(stop)?;
        if is_short
            && LISTS.iter().any(|list| name.starts_with(list))
            && walker.next_byte(end).is_some_and(begins)
            && let Ok(name) = str::from_utf8(&name)
        {
            node.lists.push((name.to_owned(), List(stop..end)));
            return walker.skip_to(end);
        }
        put_field(&mut before, 1, &[&name]);
        if is_short
            && LISTS.iter().any(|list| name.starts_with(list))
            && walker.next_byte(end) == Some(5 << 3 | 2)
            && let Ok(name) = str::from_utf8(&name)
            && let Some(field) = walker.field(end)?
            && let Content::Until(stop) = field.content
        {
            match tensor_of(walker, stop, &[FLOATS, INT32S, RAW, DOUBLES])? {
                Some((message, None)) => put_field(&mut before, 5, &[&message]),
                Some((message, Some((field, range)))) if ends_without_content(walker, end)? => {
                    node.tensors.push((name.to_owned(), (message, field, range)));
                    return Ok(());
                }
                _ => return walker.malformed("a tensor in a form that is not known".to_owned()),
            }
        }
    }
    put_field(&mut node.message, 5, &[&before, &walker.bytes(end)?]);
    Ok(())
}

/// A tensor's message without its elements, if they are many and in one of these fields as bytes, or packed, which is the
/// same.
fn tensor_of(walker: &mut Walker<impl Read + Seek>, end: u64, large: &[u64]) -> Result<Option<AnyTensor>, Malformed> {
    let (mut message, mut stored) = (Vec::new(), None);
    while let Some(field) = walker.field(end)? {
        match field.content {
            Content::Varint(value) => {
                put_varint(&mut message, field.number << 3);
                put_varint(&mut message, value);
            }
            // Floats one by one, which nobody writes.
            Content::Fixed => return Ok(None),
            Content::Until(stop) => {
                let start = walker.position();
                if large.contains(&field.number) && stop - start > LARGE {
                    if stored.replace((field.number, start..stop)).is_some() {
                        return Ok(None);
                    }
                    walker.skip_to(stop)?;
                    continue;
                }
                if stop - start > MOST_BYTES {
                    return Ok(None);
                }
                put_field(&mut message, field.number, &[&walker.bytes(stop)?]);
            }
        }
    }
    Ok(Some((message, stored)))
}

/// Whether an attribute has nothing more than its type, documentation and a reference.
fn ends_without_content(walker: &mut Walker<impl Read + Seek>, end: u64) -> Result<bool, Malformed> {
    let mut has_content = false;
    while let Some(field) = walker.field(end)? {
        has_content |= !matches!(field.number, 13 | 20 | 21);
        if let Content::Until(stop) = field.content {
            walker.skip_to(stop)?;
        }
    }
    Ok(!has_content)
}

/// Adds a field of bytes, which come in parts.
fn put_field(message: &mut Vec<u8>, number: u64, parts: &[&[u8]]) {
    put_varint(message, number << 3 | 2);
    put_varint(message, parts.iter().map(|part| part.len() as u64).sum());
    for part in parts {
        message.extend_from_slice(part);
    }
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Source;
    use std::io::Cursor;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut message = vec![number << 3 | 2];
        put_varint(&mut message, bytes.len() as u64);
        message.extend(bytes);
        message
    }

    fn tensor(name: &[u8], count: usize, number: u8) -> Vec<u8> {
        let mut dims = vec![1 << 3];
        put_varint(&mut dims, count as u64);
        [dims, vec![2 << 3, 1], field(8, name), field(number, &vec![0; count * 4])].concat()
    }

    #[test]
    fn large_weights_stay_in_the_file() {
        for number in [4, 9] {
            let node = [field(1, b"x"), field(2, b"y"), field(4, b"Relu")].concat();
            let graph =
                [field(1, &node), field(5, &tensor(b"few", 3, number)), field(5, &tensor(b"many", 900, number))];
            let model = [vec![8, 8], field(7, &graph.concat())].concat();
            let outline = Outline::read(Cursor::new(&model), Leave::Tensors).unwrap();
            let (graph, stored) = outline.graph().unwrap();
            assert_eq!((graph.nodes[0].operator, &graph.nodes[0].inputs[..]), ("Relu", &["x"][..]));
            assert_eq!((graph.constants[0].name, graph.constants[0].floats()), ("few", Some(&[0.0; 3][..])));
            let range = model.len() as u64 - 3600..model.len() as u64;
            assert_eq!(stored, [Stored { name: "many", dims: vec![900], range }]);
            assert_eq!(graph.constants.len(), 1);
        }
    }

    #[test]
    fn lists_of_trees_stay_in_the_file() {
        let list = |name: &[u8]| [field(1, name), vec![8 << 3, 5, 8 << 3, 6]].concat();
        let late = [vec![8 << 3, 5, 8 << 3, 6], field(1, b"nodes_nodeids")].concat();
        let operator = field(4, b"TreeEnsembleRegressor");
        // (node, whether its list is left, and its name)
        let cases = [
            ([&operator[..], &field(5, &list(b"nodes_nodeids"))].concat(), true, "nodes_nodeids"),
            ([&operator[..], &field(5, &list(b"base_values"))].concat(), false, "base_values"),
            ([&operator[..], &field(5, &late)].concat(), false, "nodes_nodeids"),
            ([&field(5, &list(b"nodes_nodeids"))[..], &operator].concat(), false, "nodes_nodeids"),
            ([field(4, b"Scaler"), field(5, &list(b"nodes_nodeids"))].concat(), false, "nodes_nodeids"),
        ];
        for (node, is_left, name) in cases {
            let model = field(7, &field(1, &node));
            let source = Source::Bytes(&model);
            let outline = source.outline(Leave::Lists).unwrap();
            let (graph, _) = outline.graph().unwrap();
            let found = match graph.nodes[0].get(name) {
                Some(Data::Stored(list)) if is_left => {
                    let mut list = list.read(&source);
                    std::iter::from_fn(|| list.int()).collect()
                }
                _ => graph.nodes[0].ints(name).unwrap().to_vec(),
            };
            assert_eq!(found, [5, 6], "{node:?}");
        }
    }

    #[test]
    fn large_tensors_that_are_not_plain_float32_are_left_to_others() {
        let many = tensor(b"w", 900, 9);
        let other_count = [vec![1 << 3, 2], many.clone()].concat();
        let of_doubles = [many.clone(), vec![2 << 3, 11]].concat();
        let elsewhere = [many.clone(), vec![14 << 3, 1]].concat();
        let twice = [many, field(4, &[0; 4])].concat();
        for tensor in [other_count, of_doubles, elsewhere, twice] {
            let outline = Outline::read(Cursor::new(&field(7, &field(5, &tensor))), Leave::Tensors).unwrap();
            assert!(outline.graph().is_none(), "{tensor:?}");
        }
    }

    #[test]
    fn what_is_not_as_expected_is_left_to_others() {
        let twice = [field(9, &[0; 2000]), field(9, &[0; 2000])].concat();
        let cases = [
            vec![],
            vec![8, 8],
            field(7, &field(15, b"")),
            field(7, &field(5, &twice)),
            field(7, &field(5, &[4 << 3 | 5, 0, 0, 0, 0])),
            [field(7, b""), field(7, b"")].concat(),
            field(7, b"\xff"),
        ];
        for case in cases {
            assert!(Outline::read(Cursor::new(&case), Leave::Tensors).is_none(), "{case:?}");
        }
    }
}
