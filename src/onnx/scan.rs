//! One pass over a model file that keeps names and numbers and seeks over weights.
//!
//! Field numbers are those of `onnx/onnx.proto` in the ONNX project.

use std::io::{Read, Seek};

use super::features;
use super::graph::{Graph, Node};
use super::wire::{Content, Field, Malformed, Walker, length_of};
use crate::error::{Error, ErrorKind, Result};

mod parts;

/// Protobuf's own limit on nested messages; deeper files are refused by every reader.
const MOST_NESTED: u32 = 100;
/// Longest name or path kept; the longest seen in the wild are below a kilobyte.
const LONGEST_NAME: u64 = 1 << 20;

/// What was found in a model file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// What kind of file it is.
    pub format: Format,
    /// Version of the file format; 0 if the file does not say.
    pub ir_version: u64,
    /// Operator sets the model asks for, as (domain, version).
    pub opsets: Vec<(String, u64)>,
    /// What wrote the file, as (name, version).
    pub producer: (String, String),
    /// Whether there is a graph at all.
    pub has_graph: bool,
    /// Tensors whose data lies in other files.
    pub external: Vec<ExternalData>,
    /// Class labels that a classifier or `ZipMap` of the main graph names; of the last one, which makes the outputs.
    pub classes: Option<Classes>,
    /// The main graph.
    pub graph: Graph,
    /// Names of the columns of the model's one matrix, if its metadata has readable ones; the count is unchecked.
    pub features: Option<Vec<String>>,
    /// Inputs and outputs of the main graph that are declared without a shape, so of any rank.
    pub open_ranks: Vec<String>,
    /// Operators that are asked for zero groups, which ONNX Runtime 1.32 divides by while it loads.
    pub zero_groups: Vec<String>,
}

/// Kinds of model files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// ONNX, or ONNX Runtime's own.
    #[default]
    Onnx,
    /// `LightGBM`'s text.
    LightGbm,
    /// `LightGBM`'s JSON.
    LightGbmDump,
    /// `XGBoost`'s JSON or UBJSON.
    XgBoost,
    /// `CatBoost`'s JSON.
    CatBoost,
    /// What `glowplug.convert` writes.
    Native,
}

/// Class labels in the order of the probabilities' columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Text.
    Strings(Vec<String>),
}

/// Where the data of one tensor lies, as the file has it, unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalData {
    /// Name of the tensor.
    pub tensor: String,
    /// Path relative to the model's folder.
    pub location: String,
    /// First byte, as written.
    pub offset: Option<String>,
    /// Number of bytes, as written.
    pub length: Option<String>,
}

/// Scans a model; `subject` names it in errors.
pub fn scan(mut source: impl Read + Seek, subject: &str) -> Result<ModelFacts> {
    let length = length_of(&mut source).map_err(|error| {
        Error::new(ErrorKind::ModelRead, subject, format!("cannot be read: {error}"), "check the file and its disk")
    })?;
    let mut scanner = Scanner {
        walker: Walker::new(source),
        facts: ModelFacts::default(),
        depth: 0,
        labels: None,
        has_zero_groups: false,
    };
    match scanner.model(length) {
        Ok(()) => Ok(scanner.facts),
        Err(Malformed { at, what }) => Err(Error::new(
            ErrorKind::Model,
            subject,
            format!("not a valid ONNX file of {length} bytes: {what} at byte {at}"),
            "the file is truncated, corrupt or not ONNX; export or download it again",
        )),
    }
}

struct Scanner<R> {
    walker: Walker<R>,
    facts: ModelFacts,
    depth: u32,
    /// Class labels of the node at hand.
    labels: Option<Classes>,
    /// Whether the node at hand has an attribute `group` of 0.
    has_zero_groups: bool,
}

type Scanned<T = ()> = std::result::Result<T, Malformed>;

impl<R: Read + Seek> Scanner<R> {
    /// Calls `visit` with each field of the message that ends at `end`; what a visitor leaves unread is skipped.
    fn fields(&mut self, end: u64, mut visit: impl FnMut(&mut Self, Field) -> Scanned) -> Scanned {
        self.depth += 1;
        if self.depth > MOST_NESTED {
            let what = format!("messages nested deeper than {MOST_NESTED}");
            return Err(Malformed { at: self.walker.position(), what });
        }
        while let Some(field) = self.walker.field(end)? {
            visit(self, field)?;
            if let Content::Until(stop) = field.content {
                self.walker.skip_to(stop)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn model(&mut self, end: u64) -> Scanned {
        self.fields(end, |this, field| {
            match (field.number, field.content) {
                (1, Content::Varint(version)) => this.facts.ir_version = version,
                (2, Content::Until(stop)) => this.facts.producer.0 = this.name(stop)?,
                (3, Content::Until(stop)) => this.facts.producer.1 = this.name(stop)?,
                (7, Content::Until(stop)) => {
                    this.facts.has_graph = true;
                    this.graph(stop, true)?;
                }
                (8, Content::Until(stop)) => {
                    let opset = this.opset(stop)?;
                    this.facts.opsets.push(opset);
                }
                (14, Content::Until(stop)) => this.metadata(stop)?,
                (25, Content::Until(stop)) => this.function(stop)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn opset(&mut self, end: u64) -> Scanned<(String, u64)> {
        let mut opset = (String::new(), 0);
        self.fields(end, |this, field| {
            match (field.number, field.content) {
                (1, Content::Until(stop)) => opset.0 = this.name(stop)?,
                (2, Content::Varint(version)) => opset.1 = version,
                _ => {}
            }
            Ok(())
        })?;
        Ok(opset)
    }

    /// An entry of the metadata: a key, then its value. Others than ours may be of any size and are skipped.
    fn metadata(&mut self, end: u64) -> Scanned {
        let mut are_features = false;
        self.fields(end, |this, field| {
            let Content::Until(stop) = field.content else { return Ok(()) };
            if stop.saturating_sub(this.walker.position()) > LONGEST_NAME {
                return Ok(());
            }
            match field.number {
                1 => are_features = this.name(stop)? == features::KEY,
                2 if are_features => this.facts.features = features::parse(&this.name(stop)?),
                _ => {}
            }
            Ok(())
        })
    }

    fn graph(&mut self, end: u64, main: bool) -> Scanned {
        self.fields(end, |this, field| match (field.number, field.content) {
            (1, Content::Until(stop)) => this.node(stop, main),
            (5, Content::Until(stop)) => {
                let constant = this.tensor(stop)?;
                if main {
                    this.facts.graph.constants.push(constant);
                }
                Ok(())
            }
            (11, Content::Until(stop)) if main => {
                let input = this.value_info(stop)?;
                this.facts.graph.inputs.push(input);
                Ok(())
            }
            (12, Content::Until(stop)) if main => {
                let output = this.value_info(stop)?;
                this.facts.graph.outputs.push(output.name);
                Ok(())
            }
            (15, Content::Until(stop)) => this.sparse_tensor(stop),
            _ => Ok(()),
        })
    }

    fn node(&mut self, end: u64, main: bool) -> Scanned {
        let mut node = Node::default();
        self.fields(end, |this, field| {
            match (field.number, field.content) {
                (1, Content::Until(stop)) if main => node.inputs.push(this.name(stop)?),
                (2, Content::Until(stop)) if main => node.outputs.push(this.name(stop)?),
                (4, Content::Until(stop)) => node.operator = this.name(stop)?,
                (5, Content::Until(stop)) => {
                    let attribute = this.attribute(stop, main)?;
                    if main {
                        node.attributes.push(attribute);
                    }
                }
                (7, Content::Until(stop)) if main => node.domain = this.name(stop)?,
                _ => {}
            }
            Ok(())
        })?;
        if std::mem::take(&mut self.has_zero_groups) {
            self.facts.zero_groups.push(node.operator.clone());
        }
        if main {
            self.facts.graph.nodes.push(node);
            if let Some(labels) = self.labels.take() {
                self.facts.classes = Some(labels);
            }
        }
        Ok(())
    }

    /// Functions hold nodes in field 7 as graphs hold them in field 1; their name is in 1 and their domain in 10.
    fn function(&mut self, end: u64) -> Scanned {
        let mut id = (String::new(), String::new());
        self.fields(end, |this, field| match (field.number, field.content) {
            (1, Content::Until(stop)) => {
                id.1 = this.name(stop)?;
                Ok(())
            }
            (10, Content::Until(stop)) => {
                id.0 = this.name(stop)?;
                Ok(())
            }
            (7, Content::Until(stop)) => this.node(stop, false),
            _ => Ok(()),
        })?;
        self.facts.graph.functions.push(id);
        Ok(())
    }

    fn name(&mut self, stop: u64) -> Scanned<String> {
        self.walker.text(stop, LONGEST_NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A length-delimited field.
    fn message(number: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = vec![number << 3 | 2];
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(body);
        bytes
    }

    fn entry(key: &str, value: &str) -> Vec<u8> {
        message(13, &[&message(1, &[key.as_bytes()]), &message(2, &[value.as_bytes()])])
    }

    fn external(name: &str) -> Vec<u8> {
        [message(8, &[name.as_bytes()]), entry("location", "w.bin"), entry("offset", "8"), vec![14 << 3, 1]].concat()
    }

    fn found(bytes: &[u8]) -> Result<ModelFacts> {
        scan(Cursor::new(bytes), "m.onnx")
    }

    #[test]
    fn external_data_is_found_wherever_tensors_are() {
        let subgraph = message(6, &[&message(5, &[&external("inner")])]);
        let node = message(1, &[&message(5, &[&message(1, &[b"body"]), &subgraph])]);
        let constant = message(1, &[&message(5, &[&message(1, &[b"value"]), &message(5, &[&external("constant")])])]);
        let sparse = message(15, &[&message(1, &[&external("sparse")])]);
        let in_function = message(7, &[&message(5, &[&message(5, &[&external("function")])])]);
        let function = [&[0xca, 0x01][..], &message(0, &[&in_function])[1..]].concat();
        let graph = message(7, &[&message(5, &[&external("weight")]), &node, &constant, &sparse]);
        let facts = found(&[graph, function].concat()).unwrap();
        let names: Vec<&str> = facts.external.iter().map(|data| data.tensor.as_str()).collect();
        assert_eq!(names, ["weight", "inner", "constant", "sparse", "function"]);
        assert_eq!(facts.external[0].location, "w.bin");
        assert_eq!(facts.external[0].offset.as_deref(), Some("8"));
        assert_eq!(facts.external[0].length, None);
    }

    #[test]
    fn classes_are_those_of_the_last_classifier() {
        let ints = |labels: &[u8]| -> Vec<u8> {
            let fields: Vec<u8> = labels.iter().flat_map(|label| [8 << 3, *label]).collect();
            message(5, &[&message(1, &[b"classlabels_int64s"]), &fields])
        };
        let strings =
            message(5, &[&message(1, &[b"classlabels_strings"]), &message(9, &[b"no"]), &message(9, &[b"yes"])]);
        let node = |attribute: &[u8]| message(1, &[&message(4, &[b"ZipMap"]), attribute]);
        let packed = message(5, &[&message(1, &[b"classlabels_ints"]), &message(8, &[&[4, 5, 6]])]);
        let cases = [
            (vec![node(&ints(&[0, 1])), node(&ints(&[0, 1]))], Some(Classes::Ints(vec![0, 1]))),
            (vec![node(&ints(&[2])), node(&strings)], Some(Classes::Strings(vec!["no".into(), "yes".into()]))),
            (vec![node(&packed)], Some(Classes::Ints(vec![4, 5, 6]))),
            (vec![node(&message(5, &[&message(1, &[b"nodes_ids"]), &[8 << 3, 1]]))], None),
        ];
        for (nodes, expected) in cases {
            let facts = found(&message(7, &[&nodes.concat()])).unwrap();
            assert_eq!(facts.classes, expected);
            assert_eq!(facts.graph.nodes.len(), nodes.len());
        }
    }

    #[test]
    fn opsets_and_version_are_read() {
        let opset = message(8, &[&message(1, &[b"ai.onnx.ml"]), &[2 << 3, 3]]);
        let facts = found(&[vec![1 << 3, 10], opset, message(2, &[b"pytorch"])].concat()).unwrap();
        assert_eq!((facts.ir_version, facts.has_graph), (10, false));
        assert_eq!(facts.opsets, [("ai.onnx.ml".to_owned(), 3)]);
        assert_eq!(facts.producer.0, "pytorch");
    }

    #[test]
    fn feature_names_are_found_in_the_metadata() {
        let property = |key: &str, value: &[u8]| message(14, &[&message(1, &[key.as_bytes()]), &message(2, &[value])]);
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let huge = vec![b'x'; (1 << 20) + 1];
        let cases = [
            (vec![property("feature_names", b"a, b")], names(&["a", "b"])),
            (vec![property("author", b"x,y"), property("feature_names", br#"["a,b"]"#)], names(&["a,b"])),
            (vec![property("feature_names", b"[1, 2]")], None),
            (vec![property("author", &huge), property("feature_names", &huge)], None),
            (vec![property("features", b"a")], None),
            (vec![message(14, &[&[1 << 3, 7], &[2 << 3, 7]])], None),
        ];
        for (properties, expected) in cases {
            assert_eq!(found(&properties.concat()).unwrap().features, expected);
        }
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_file() {
        let whole = message(7, &[&message(5, &[&external("weight")]), &message(1, &[&message(4, &[b"Relu"])])]);
        for length in 1..whole.len() {
            let error = found(&whole[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Model, "{length}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut graph = message(6, &[]);
        for _ in 0..200 {
            graph = message(6, &[&message(1, &[&message(5, &[&graph])])]);
        }
        let error = found(&message(7, &[&message(1, &[&message(5, &[&graph])])])).unwrap_err();
        assert!(error.to_string().contains("nested deeper"), "{error}");
    }
}
