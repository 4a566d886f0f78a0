//! The lists of nodes and weights, read side by side.

use super::{Mode, Names, Planned, Weighed};
use crate::onnx::{Array, Cursor, Data, Element, FullNode, Source};
use crate::tensor::DType;

/// One list, read from its beginning on.
pub(in crate::engine::native) enum Column<'a> {
    Ints(std::slice::Iter<'a, i64>),
    Floats(std::slice::Iter<'a, f32>),
    Doubles(std::slice::Iter<'a, f64>),
    Texts(std::slice::Iter<'a, &'a str>),
    Stored(Cursor<'a>),
    /// Elements of a tensor.
    StoredDoubles(Cursor<'a>),
    StoredBytes(Cursor<'a>),
    Bytes(std::slice::Iter<'a, u8>),
}

impl<'a> Column<'a> {
    /// Whole numbers; none if the attribute is not there.
    pub(in crate::engine::native) fn ints(node: &'a FullNode<'_>, file: &'a Source<'a>, name: &str) -> Planned<Self> {
        if let Some(Data::Stored(list)) = node.get(name) {
            return Ok(Self::Stored(list.read(file)));
        }
        Ok(Self::Ints(node.ints(name).ok_or_else(|| format!("no whole numbers in `{name}`"))?.iter()))
    }

    /// Texts; none if the attribute is not there.
    fn texts(node: &'a FullNode<'_>, file: &'a Source<'a>, name: &str) -> Planned<Self> {
        if let Some(Data::Stored(list)) = node.get(name) {
            return Ok(Self::Stored(list.read(file)));
        }
        Ok(Self::Texts(node.texts(name).ok_or_else(|| format!("no texts in `{name}`"))?.iter()))
    }

    /// The list `name` of numbers, or the tensor that stands for it where rows are of float64.
    pub(in crate::engine::native) fn numbers(
        node: &'a FullNode<'_>,
        file: &'a Source<'a>,
        name: &str,
        dtype: DType,
    ) -> Planned<Self> {
        let list = match node.get(name) {
            Some(Data::Stored(list)) => Self::Stored(list.read(file)),
            _ => Self::Floats(node.floats(name).ok_or_else(|| format!("no numbers in `{name}`"))?.iter()),
        };
        match node.get(&format!("{name}_as_tensor")) {
            None => Ok(list),
            Some(_) if node.get(name).is_none() && dtype == DType::Float64 => {
                Self::elements(node, file, &format!("{name}_as_tensor"), dtype)
            }
            Some(_) => Err(format!("`{name}_as_tensor` for rows that are not of float64")),
        }
    }

    /// The numbers of a tensor of the type that rows are of.
    pub(in crate::engine::native) fn elements(
        node: &'a FullNode<'_>,
        file: &'a Source<'a>,
        name: &str,
        dtype: DType,
    ) -> Planned<Self> {
        match (node.get(name), dtype) {
            (Some(Data::Tensor(tensor)), dtype) => match (&tensor.array, dtype) {
                (Array::Floats(values), DType::Float32) => return Ok(Self::Floats(values.iter())),
                (Array::Doubles(values), DType::Float64) => return Ok(Self::Doubles(values.iter())),
                _ => {}
            },
            (Some(Data::StoredTensor(elements)), dtype) => match (elements.element, dtype) {
                (Element::Float32, DType::Float32) => return Ok(Self::Stored(elements.read(file))),
                (Element::Float64, DType::Float64) => return Ok(Self::StoredDoubles(elements.read(file))),
                _ => {}
            },
            _ => {}
        }
        Err(format!("no tensor of {dtype} in `{name}`"))
    }

    /// The bytes of a tensor, as whole numbers.
    pub(in crate::engine::native) fn bytes(node: &'a FullNode<'_>, file: &'a Source<'a>, name: &str) -> Planned<Self> {
        match node.get(name) {
            Some(Data::Tensor(tensor)) => {
                if let Array::Bytes(values) = &tensor.array {
                    return Ok(Self::Bytes(values.iter()));
                }
            }
            Some(Data::StoredTensor(elements)) => match elements.element {
                Element::Byte => return Ok(Self::StoredBytes(elements.read(file))),
                Element::Int => return Ok(Self::Stored(elements.read(file))),
                _ => {}
            },
            _ => {}
        }
        Err(format!("no tensor of uint8 in `{name}`"))
    }

    /// The next whole number.
    #[inline]
    pub(in crate::engine::native) fn int(&mut self) -> Option<i64> {
        match self {
            Self::Stored(cursor) => cursor.int(),
            Self::Ints(list) => list.next().copied(),
            Self::StoredBytes(cursor) => cursor.byte().map(i64::from),
            Self::Bytes(list) => list.next().copied().map(i64::from),
            _ => None,
        }
    }

    /// The next number.
    #[inline]
    pub(in crate::engine::native) fn number(&mut self) -> Option<f64> {
        match self {
            Self::Stored(cursor) => cursor.float().map(f64::from),
            Self::StoredDoubles(cursor) => cursor.double(),
            Self::Floats(list) => list.next().copied().map(f64::from),
            Self::Doubles(list) => list.next().copied(),
            _ => None,
        }
    }

    /// The next text.
    #[inline]
    fn text(&mut self) -> Option<&[u8]> {
        match self {
            Self::Stored(cursor) => cursor.text(),
            Self::Texts(list) => list.next().map(|text| text.as_bytes()),
            _ => None,
        }
    }

    /// Whether what was read last was beyond the end.
    pub(in crate::engine::native) fn has_ended(&self) -> bool {
        match self {
            Self::Stored(cursor) | Self::StoredDoubles(cursor) | Self::StoredBytes(cursor) => cursor.has_ended(),
            Self::Bytes(list) => list.len() == 0,
            Self::Ints(list) => list.len() == 0,
            Self::Floats(list) => list.len() == 0,
            Self::Doubles(list) => list.len() == 0,
            Self::Texts(list) => list.len() == 0,
        }
    }
}

/// A node of one of the trees.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Node {
    pub(super) tree: i64,
    pub(super) id: i64,
    pub(super) feature: i64,
    pub(super) value: f64,
    /// How it compares; nothing if it is a leaf.
    pub(super) mode: Option<Mode>,
    pub(super) tracks_true: bool,
    /// For true and for false.
    pub(super) children: [i64; 2],
}

/// The lists of nodes.
pub(super) struct Nodes<'a> {
    trees: Column<'a>,
    ids: Column<'a>,
    features: Column<'a>,
    values: Column<'a>,
    modes: Column<'a>,
    children: [Column<'a>; 2],
    /// Not there if no missing number goes to a true branch.
    tracks: Option<Column<'a>>,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(node: &'a FullNode<'_>, file: &'a Source<'a>, dtype: DType) -> Planned<Self> {
        let ints = |name| Column::ints(node, file, name);
        let tracks = "nodes_missing_value_tracks_true";
        Ok(Self {
            trees: ints("nodes_treeids")?,
            ids: ints("nodes_nodeids")?,
            features: ints("nodes_featureids")?,
            values: Column::numbers(node, file, "nodes_values", dtype)?,
            modes: Column::texts(node, file, "nodes_modes")?,
            children: [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?],
            tracks: node.get(tracks).map(|_| ints(tracks)).transpose()?,
        })
    }

    /// Reads the next node into `node`; says whether there is one. An `Option` of it was moved about in odd pieces, which took
    /// as long as the reading.
    pub(super) fn next(&mut self, node: &mut Node) -> Planned<bool> {
        let lengths = || "lists of different lengths for its nodes".to_owned();
        let Some(tree) = self.trees.int() else {
            let [yes, no] = &mut self.children;
            let ints =
                [&mut self.trees, &mut self.ids, &mut self.features, yes, no].into_iter().chain(&mut self.tracks);
            let mut have_ended = self.values.number().is_none() && self.values.has_ended();
            have_ended &= self.modes.text().is_none() && self.modes.has_ended();
            ints.for_each(|list| have_ended &= list.int().is_none() && list.has_ended());
            return have_ended.then_some(false).ok_or_else(lengths);
        };
        let mode = match self.modes.text().ok_or_else(lengths)? {
            b"LEAF" => None,
            b"BRANCH_LEQ" => Some(Mode::AtMost),
            b"BRANCH_LT" => Some(Mode::Below),
            b"BRANCH_GTE" => Some(Mode::AtLeast),
            b"BRANCH_GT" => Some(Mode::Beyond),
            other => return Err(format!("the mode {}", String::from_utf8_lossy(other))),
        };
        let tracks = self.tracks.as_mut().map_or(Some(0), Column::int);
        let [yes, no] = &mut self.children;
        node.tree = tree;
        node.id = self.ids.int().ok_or_else(lengths)?;
        node.feature = self.features.int().ok_or_else(lengths)?;
        node.value = self.values.number().ok_or_else(lengths)?;
        node.mode = mode;
        node.tracks_true = tracks.ok_or_else(lengths)? != 0;
        node.children = [yes.int().ok_or_else(lengths)?, no.int().ok_or_else(lengths)?];
        Ok(true)
    }
}

/// The lists of weights.
pub(super) struct Weights<'a> {
    trees: Column<'a>,
    nodes: Column<'a>,
    outputs: Column<'a>,
    values: Column<'a>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(node: &'a FullNode<'_>, file: &'a Source<'a>, names: &Names, dtype: DType) -> Planned<Self> {
        let ints = |name| Column::ints(node, file, name);
        let (trees, nodes, outputs) = (ints(names.trees)?, ints(names.nodes)?, ints(names.outputs)?);
        Ok(Self { trees, nodes, outputs, values: Column::numbers(node, file, names.weights, dtype)? })
    }

    /// The next weight.
    pub(super) fn next(&mut self) -> Planned<Option<Weighed>> {
        let Self { trees, nodes, outputs, values } = self;
        let (tree, node, output, value) = (trees.int(), nodes.int(), outputs.int(), values.number());
        let (Some(tree), Some(node), Some(output), Some(value)) = (tree, node, output, value) else {
            let have_ended = tree.is_none() && node.is_none() && output.is_none() && value.is_none();
            let have_ended = have_ended && [trees, nodes, outputs, values].into_iter().all(|list| list.has_ended());
            return have_ended.then_some(None).ok_or_else(|| "lists of different lengths for its leaves".to_owned());
        };
        let output = usize::try_from(output).map_err(|_| "a weight for a leaf or output that is not there")?;
        Ok(Some(Weighed { tree, node, weight: (output, value) }))
    }
}
