//! Plans a graph of known operators, or says what is not known: then the whole model is ONNX Runtime's.
//!
//! Every value has rows along its first axis, which no operator that is known here mixes, or is a constant.

use std::collections::HashMap;

use super::operators;
use super::program::{Program, Step};
use super::view::{MOST_AXES, Place, Slot, View, Walk};
use super::weights::Constant;
use crate::onnx::{Data, FullDim, FullGraph, FullNode, FullPort, Source, Stored};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::tensor::DType;

/// What was planned, or what is not known.
pub(super) type Planned<T> = Result<T, String>;

/// Numbers of `TensorProto.DataType`.
pub(super) const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;
/// Numbers that all memories may have for a row, 64 MB: what needs more is no small network.
const MOST_PER_ROW: usize = 1 << 24;
/// Nodes of a graph: as many as any small network has, and few enough to be planned at once.
const MOST_NODES: usize = 10_000;
/// How often the numbers of constants are read, at most: each time is memory of its own, which a short file could name for
/// every node. Little ones may be read more often.
const MOST_READS: usize = 16;
const FEW_NUMBERS: usize = 1 << 20;

/// A value of the graph.
#[derive(Debug, Clone)]
pub(super) enum Known<'a> {
    /// Floats of each row.
    Floats(View),
    /// Whole numbers of each row.
    Ints(View),
    /// A constant of the file.
    Constant(Constant<'a>),
}

/// A network that can be run: its steps, its inputs and where its outputs are.
pub(super) struct Network {
    pub(super) program: Program,
    pub(super) signature: Signature,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
}

/// Where an output's rows are, and their dimensions.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) slot: Slot,
    pub(super) dims: Vec<i64>,
}

/// An input's dtype, and where its rows go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub(super) dtype: DType,
    pub(super) slot: Slot,
}

pub(super) struct Planner<'a> {
    pub(super) program: Program,
    pub(super) source: &'a Source<'a>,
    /// Version of ONNX's own operators.
    pub(super) opset: u64,
    values: HashMap<&'a str, Known<'a>>,
    /// How often each name is going to be used.
    uses: HashMap<&'a str, usize>,
    /// How often each memory of floats still is.
    wanted: Vec<usize>,
    /// Memories of floats that nothing uses any more, in a list and each.
    free: Vec<usize>,
    is_free: Vec<bool>,
    /// Numbers that all of them have for a row.
    floats_per_row: usize,
    /// Memories that may have become free with the node that is being planned.
    touched: Vec<usize>,
    /// Numbers of constants that may still be read.
    readable: usize,
}

pub(super) fn plan<'a>(
    graph: &'a FullGraph<'a>,
    stored: &'a [Stored<'a>],
    source: &'a Source<'a>,
    opset: u64,
    name: &str,
) -> Planned<Network> {
    if graph.nodes.len() > MOST_NODES {
        return Err(format!("there are {} nodes", graph.nodes.len()));
    }
    let mut planner = Planner {
        program: Program::default(),
        source,
        opset,
        values: HashMap::new(),
        uses: HashMap::new(),
        wanted: Vec::new(),
        free: Vec::new(),
        is_free: Vec::new(),
        floats_per_row: 0,
        touched: Vec::new(),
        readable: FEW_NUMBERS,
    };
    let names = graph.nodes.iter().flat_map(|node| &node.inputs).copied();
    for name in names.chain(graph.outputs.iter().map(|port| port.name)) {
        *planner.uses.entry(name).or_default() += 1;
    }
    let small = graph.constants.iter().map(Constant::Small);
    for constant in small.chain(stored.iter().map(Constant::Stored)) {
        planner.bind(constant.name(), Known::Constant(constant))?;
    }
    let rows = rows_of(graph)?;
    let (mut inputs, mut ports) = (Vec::new(), Vec::new());
    for port in &graph.inputs {
        let (input, port) = planner.input(port, &rows)?;
        inputs.push(input);
        ports.push(port);
    }
    for node in &graph.nodes {
        planner.node(node).map_err(|unknown| format!("{} {unknown}", node.operator))?;
    }
    let (mut outputs, mut made) = (Vec::new(), Vec::new());
    for port in &graph.outputs {
        let (output, port) = planner.output(port, &rows)?;
        outputs.push(output);
        made.push(port);
    }
    if outputs.is_empty() {
        return Err("there is no output".to_owned());
    }
    // Without weights there is little to gain, and ONNX Runtime's answers are the measure bit for bit.
    if planner.program.weights.is_empty() {
        return Err("there is no product with weights".to_owned());
    }
    Ok(Network { program: planner.program, signature: Signature::new(name, ports, made), inputs, outputs })
}

/// The dimension of the rows, which all inputs have to share by its name.
fn rows_of(graph: &FullGraph<'_>) -> Planned<Dim> {
    let firsts: Vec<Option<FullDim<'_>>> =
        graph.inputs.iter().map(|input| input.dims.as_ref().and_then(|dims| dims.first().copied())).collect();
    match firsts[..] {
        [] => Err("there is no input".to_owned()),
        [Some(FullDim::Unknown)] => Ok(Dim::Unknown),
        [Some(FullDim::Name(name)), ref rest @ ..] if rest.iter().all(|dim| *dim == Some(FullDim::Name(name))) => {
            Ok(Dim::Symbol(name.to_owned()))
        }
        [_] => Err("the number of rows is fixed".to_owned()),
        _ => Err("the inputs do not share a dimension of rows".to_owned()),
    }
}

impl<'a> Planner<'a> {
    fn input(&mut self, port: &'a FullPort<'a>, rows: &Dim) -> Planned<(Input, Port)> {
        let unknown = || format!("the input {} is of another type or shape than is known", port.name);
        let (mut dims, mut declared) = (Vec::new(), vec![rows.clone()]);
        for dim in port.dims.iter().flatten().skip(1) {
            let FullDim::Size(size) = dim else { return Err(unknown()) };
            dims.push(usize::try_from(*size).ok().filter(|size| *size > 0).ok_or_else(unknown)?);
            declared.push(Dim::Fixed(*size));
        }
        let (dtype, known, slot) = match port.element {
            FLOAT => {
                let view = self.floats(dims)?;
                let slot = slot_of(&view)?;
                (DType::Float32, Known::Floats(view), slot)
            }
            INT64 | INT32 => {
                let size = count_of(&dims)?;
                let slot = Slot { memory: self.program.ints.len(), size };
                self.program.ints.push(size);
                let dtype = if port.element == INT64 { DType::Int64 } else { DType::Int32 };
                (dtype, Known::Ints(View::whole(Place::Block(slot), dims)), slot)
            }
            _ => return Err(unknown()),
        };
        self.bind(port.name, known)?;
        let port_type = PortType::Tensor(dtype, declared);
        Ok((Input { dtype, slot }, Port { name: port.name.to_owned(), port_type, required: true }))
    }

    fn output(&mut self, port: &'a FullPort<'a>, rows: &Dim) -> Planned<(Output, Port)> {
        let unknown = |what: &str| format!("the output {} {what}", port.name);
        let Some(Known::Floats(view)) = self.values.get(port.name).cloned() else {
            return Err(unknown("is not of float32 with rows"));
        };
        let sizes: Vec<i64> = view.dims.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect();
        let mut dims = vec![rows.clone()];
        dims.extend(sizes.iter().map(|size| Dim::Fixed(*size)));
        if port.element != FLOAT {
            return Err(unknown("is declared with another type"));
        }
        if let Some(declared) = &port.dims {
            if declared.len() != dims.len() {
                return Err(unknown("is declared with another rank"));
            }
            for (dim, declared) in dims.iter_mut().zip(declared) {
                match (declared, &*dim) {
                    (FullDim::Size(size), Dim::Fixed(known)) if size == known => {}
                    (FullDim::Size(_), _) => return Err(unknown("is declared with another shape")),
                    (FullDim::Unknown, _) | (FullDim::Name(_), Dim::Fixed(_)) => {}
                    (FullDim::Name(name), _) => *dim = Dim::Symbol((*name).to_owned()),
                }
            }
        }
        // Rows of the answer are copied in order.
        let slot = slot_of(&self.whole(view)?)?;
        let port_type = PortType::Tensor(DType::Float32, dims);
        Ok((Output { slot, dims: sizes }, Port { name: port.name.to_owned(), port_type, required: true }))
    }

    /// Names a value; a name is given once.
    pub(super) fn bind(&mut self, name: &'a str, known: Known<'a>) -> Planned<()> {
        if let Known::Floats(View { place: Place::Block(slot), .. }) = &known {
            self.wanted[slot.memory] += self.uses.get(name).copied().unwrap_or(0);
        }
        if let Known::Constant(constant) = &known {
            self.readable = self.readable.saturating_add(constant.count()?.saturating_mul(MOST_READS));
        }
        if name.is_empty() || self.values.insert(name, known).is_some() {
            return Err(format!("computes `{name}`, which is there already"));
        }
        Ok(())
    }

    /// Names the node's only output.
    pub(super) fn name(&mut self, node: &FullNode<'a>, known: Known<'a>) -> Planned<()> {
        match node.outputs[..] {
            [name] => self.bind(name, known),
            _ => Err("has other outputs than are known".to_owned()),
        }
    }

    /// Plans a node, and gives back the memory of what was used for the last time.
    fn node(&mut self, node: &'a FullNode<'a>) -> Planned<()> {
        for name in &node.inputs {
            let Some(Known::Floats(View { place: Place::Block(slot), .. })) = self.values.get(name) else { continue };
            self.wanted[slot.memory] = self.wanted[slot.memory].saturating_sub(1);
            self.touched.push(slot.memory);
        }
        operators::plan(self, node)?;
        for memory in self.touched.drain(..) {
            if self.wanted[memory] == 0 && !std::mem::replace(&mut self.is_free[memory], true) {
                self.free.push(memory);
            }
        }
        Ok(())
    }

    /// An input of a node, or why there is none.
    pub(super) fn value(&self, node: &FullNode<'a>, at: usize) -> Planned<Known<'a>> {
        let value = node.inputs.get(at).and_then(|name| self.values.get(name));
        value.cloned().ok_or_else(|| "has an input that is not known".to_owned())
    }

    /// An input that may be left out.
    pub(super) fn optional(&self, node: &FullNode<'a>, at: usize) -> Planned<Option<Known<'a>>> {
        match node.inputs.get(at) {
            None | Some(&"") => Ok(None),
            Some(_) => self.value(node, at).map(Some),
        }
    }

    /// Floats of rows.
    pub(super) fn rows(&self, node: &FullNode<'a>, at: usize) -> Planned<View> {
        match self.value(node, at)? {
            Known::Floats(view) => Ok(view),
            _ => Err("has an input that is not of float32 with rows".to_owned()),
        }
    }

    /// A constant input.
    pub(super) fn constant(&self, node: &FullNode<'a>, at: usize) -> Planned<Constant<'a>> {
        match self.value(node, at)? {
            Known::Constant(constant) => Ok(constant),
            _ => Err("has an input that is no constant".to_owned()),
        }
    }

    /// Counts a read of all of a constant's numbers.
    pub(super) fn reads(&mut self, constant: Constant<'a>) -> Planned<()> {
        let left = self.readable.checked_sub(constant.count()?);
        self.readable = left.ok_or("uses its constants more often than is known")?;
        Ok(())
    }

    /// The numbers of a constant of float32.
    pub(super) fn numbers(&mut self, constant: Constant<'a>) -> Planned<Vec<f32>> {
        self.reads(constant)?;
        let unknown = || format!("has the constant {}, which is not of float32", constant.name());
        constant.floats(self.source).ok_or_else(unknown)
    }

    /// A constant of float32 as a place, and its dimensions.
    pub(super) fn kept(&mut self, constant: Constant<'a>) -> Planned<View> {
        let dims = constant.dims().ok_or("has a constant without dimensions")?;
        let numbers = self.numbers(constant)?;
        self.program.constants.push(numbers);
        Ok(View::whole(Place::Constant(self.program.constants.len() - 1), dims))
    }

    /// New memory of these dimensions.
    pub(super) fn floats(&mut self, dims: Vec<usize>) -> Planned<View> {
        let size = count_of(&dims)?;
        // The largest one that is free, as it is made larger if it is too small.
        let best = (0..self.free.len()).max_by_key(|at| self.program.floats[self.free[*at]].min(size));
        let memory = if let Some(at) = best {
            self.free.swap_remove(at)
        } else {
            self.program.floats.push(0);
            self.wanted.push(0);
            self.is_free.push(false);
            self.program.floats.len() - 1
        };
        self.is_free[memory] = false;
        self.touched.push(memory);
        let more = size.saturating_sub(self.program.floats[memory]);
        self.program.floats[memory] += more;
        self.floats_per_row = self.floats_per_row.saturating_add(more);
        if self.floats_per_row > MOST_PER_ROW {
            return Err("has more numbers for each row than are known".to_owned());
        }
        Ok(View::whole(Place::Block(Slot { memory, size }), dims))
    }

    /// Memory of these dimensions that no step has used before.
    pub(super) fn unused(&mut self, dims: Vec<usize>) -> Planned<View> {
        let free = std::mem::take(&mut self.free);
        let made = self.floats(dims);
        self.free = free;
        made
    }

    /// Whether nothing else needs the memory of a value that is all of it: it may be changed in place.
    pub(super) fn is_last_use(&self, view: &View) -> bool {
        matches!(view.place, Place::Block(slot) if self.wanted[slot.memory] == 0) && view.is_whole()
    }

    /// The value in memory of its own, in which it may be changed.
    pub(super) fn owned(&mut self, view: View) -> Planned<View> {
        if self.is_last_use(&view) { Ok(view) } else { self.copied(&view) }
    }

    /// The value in row-major order, and nothing else in its memory.
    pub(super) fn whole(&mut self, view: View) -> Planned<View> {
        if matches!(view.place, Place::Block(_)) && view.is_whole() { Ok(view) } else { self.copied(&view) }
    }

    pub(super) fn copied(&mut self, from: &View) -> Planned<View> {
        let to = self.floats(from.dims.clone())?;
        let (walk, slot) = (Walk::new([from, &to]), slot_of(&to)?);
        self.program.steps.push(Step::Copy { from: from.clone(), walk, to: slot });
        Ok(to)
    }
}

pub(super) fn slot_of(view: &View) -> Planned<Slot> {
    match view.place {
        Place::Block(slot) => Ok(slot),
        Place::Constant(_) => Err("has a constant where rows are known".to_owned()),
    }
}

pub(super) fn count_of(dims: &[usize]) -> Planned<usize> {
    // Of nothing there are no rows to tell apart.
    if dims.contains(&0) {
        return Err("has an axis of 0".to_owned());
    }
    let count = dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim));
    // No more axes than `Walk` counts along, one of which is that of the rows.
    let known = count.filter(|count| *count <= MOST_PER_ROW && dims.len() < MOST_AXES);
    known.ok_or_else(|| "has more numbers or axes for each row than are known".to_owned())
}

pub(super) fn only(node: &FullNode<'_>, names: &[&str]) -> Planned<()> {
    let known = node.has_only(names);
    known.then_some(()).ok_or_else(|| "has an attribute that is not known".to_owned())
}

pub(super) fn int(node: &FullNode<'_>, name: &str, default: i64) -> Planned<i64> {
    match node.get(name) {
        Some(Data::Int(value)) => Ok(*value),
        None => Ok(default),
        Some(_) => Err(format!("has another type of `{name}`")),
    }
}

pub(super) fn float(node: &FullNode<'_>, name: &str, default: f32) -> Planned<f32> {
    match node.get(name) {
        Some(Data::Float(value)) => Ok(*value),
        None => Ok(default),
        Some(_) => Err(format!("has another type of `{name}`")),
    }
}

/// Which axis of a row's values an axis of a value of `rank` axes is.
pub(super) fn axis_of(axis: i64, rank: usize) -> Planned<usize> {
    let unknown = || format!("has the axis {axis}, which is not known");
    let whole = i64::try_from(rank).map_err(|_| unknown())?;
    let axis = if axis < 0 { axis + whole } else { axis };
    let axis = usize::try_from(axis).ok().filter(|axis| *axis < rank).ok_or_else(unknown)?;
    axis.checked_sub(1).ok_or_else(|| "works along the rows".to_owned())
}
