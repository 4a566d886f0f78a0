//! The plan of a graph under construction: operators ask it for their inputs, and add steps that make their outputs.

use std::collections::HashMap;

use super::casts::Cast;
use super::program::{Form, Kind, Output, Program, Source, Step};
use super::shape::{Axis, MOST_ELEMENTS, each, rows_at, sizes};
use super::values::Constant;
use crate::onnx::{self, Array, Classes, FullConstant, FullDim, FullGraph, FullNode, FullPort};
use crate::signature::{Dim, Port, PortType};
use crate::tensor::DType;

/// What was planned, or what is not known.
pub(super) type Planned<T> = Result<T, String>;

/// More axes than values have: each node passes over all of its inputs'.
pub(super) const MOST_AXES: usize = 64;
/// More slots than any model has: a short file could name ever more.
const MOST_SLOTS: usize = 1 << 15;
/// More steps on constants than any model has: each takes the time of a look at all slots.
const MOST_FOLDED: usize = 1 << 8;

/// A value of the graph.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Value(Value),
    /// The shape of a value, as a vector.
    Shape(Vec<Axis>),
    /// A map for each row of a slot.
    Maps(usize, Classes, Vec<usize>),
}

/// A tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) slot: usize,
    pub(super) dtype: DType,
    pub(super) shape: Vec<Axis>,
}

/// Makes a program of a graph, node after node.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    /// What lists are left in.
    pub(super) file: &'a onnx::Source<'a>,
    program: Program,
    values: HashMap<&'a str, Known>,
    constants: HashMap<&'a str, &'a FullConstant<'a>>,
    /// Those of them that have a slot, however many nodes use them.
    kept: HashMap<&'a str, Value>,
    /// Which inputs anything is made of.
    used: Vec<bool>,
    /// Elements of a row in all slots, and steps on constants.
    elements: usize,
    folded: usize,
    /// Versions of ONNX's own operators and of those for classical machine learning.
    pub(super) version: u64,
    pub(super) ml_version: u64,
}

/// What is known of the numbers of `TensorProto.DataType`.
pub(super) fn dtype_of(element: u64) -> Option<DType> {
    Some(match element {
        1 => DType::Float32,
        6 => DType::Int32,
        7 => DType::Int64,
        8 => DType::String,
        9 => DType::Bool,
        11 => DType::Float64,
        _ => return None,
    })
}

impl<'a> Planner<'a> {
    /// Begins with a graph's constants; `versions` are those of the operators.
    pub(super) fn new(
        graph: &'a FullGraph<'a>,
        file: &'a onnx::Source<'a>,
        [version, ml_version]: [u64; 2],
    ) -> Planned<Self> {
        let constants: HashMap<_, _> = graph.constants.iter().map(|constant| (constant.name, constant)).collect();
        if constants.len() != graph.constants.len() {
            return Err("there are two constants of one name".to_owned());
        }
        Ok(Self {
            file,
            program: Program::default(),
            values: HashMap::new(),
            constants,
            kept: HashMap::new(),
            used: vec![false; graph.inputs.len()],
            elements: 0,
            folded: 0,
            version,
            ml_version,
        })
    }

    /// What was planned, and which inputs anything is made of.
    pub(super) fn finish(self) -> (Program, Vec<bool>) {
        (self.program, self.used)
    }

    /// Takes an input of the graph, which comes before all nodes.
    pub(super) fn input(&mut self, port: &FullPort<'a>, rows: &Dim) -> Planned<Port> {
        let name = port.name;
        let dtype = dtype_of(port.element).ok_or_else(|| format!("the input {name} is of a type that is not known"))?;
        let (mut dims, mut shape) = (vec![rows.clone()], vec![Axis::Rows]);
        for dim in port.dims.iter().flatten().skip(1) {
            let FullDim::Size(size) = *dim else {
                return Err(format!("the input {name} has an open number of columns"));
            };
            let columns = usize::try_from(size).ok().filter(|columns| *columns > 0);
            shape.push(Axis::Size(columns.ok_or_else(|| format!("the input {name} has no columns"))?));
            dims.push(Dim::Fixed(size));
        }
        if self.constants.contains_key(name) {
            return Err(format!("the input {name} has a default"));
        }
        let slot = self.slot(dtype, &shape)?;
        self.insert(name, Known::Value(Value { slot, dtype, shape }))?;
        Ok(Port { name: name.to_owned(), port_type: PortType::Tensor(dtype, dims), required: true })
    }

    /// Gives an output of the graph, when all nodes are planned.
    pub(super) fn output(&mut self, port: &FullPort<'a>, rows: &Dim) -> Planned<Port> {
        let not_known = || format!("the output {} is not known", port.name);
        let (slot, form, port_type) = match self.values.get(port.name).ok_or_else(not_known)? {
            Known::Value(Value { slot, dtype, shape }) => {
                if rows_at(shape) != Some(0) {
                    return Err(format!("the output {} has no rows", port.name));
                }
                if port.element != 0 && dtype_of(port.element) != Some(*dtype) {
                    return Err(format!("the output {} is declared of another type than {dtype}", port.name));
                }
                let fixed = |size: usize| Dim::Fixed(i64::try_from(size).unwrap_or(i64::MAX));
                let dims = std::iter::once(rows.clone()).chain(sizes(shape).into_iter().map(fixed)).collect();
                (*slot, Form::Tensor(sizes(shape)), PortType::Tensor(*dtype, dims))
            }
            Known::Maps(slot, classes, order) if port.element == 0 => {
                let key = if let Classes::Ints(_) = classes { DType::Int64 } else { DType::String };
                let words = format!("sequence(map({key}, float32))");
                (*slot, Form::Maps(classes.clone(), order.clone()), PortType::Other(words))
            }
            _ => return Err(not_known()),
        };
        self.mark(slot);
        self.program.outputs.push(Output { slot, form });
        Ok(Port { name: port.name.to_owned(), port_type, required: true })
    }

    fn mark(&mut self, slot: usize) {
        if let Some(used) = self.used.get_mut(slot) {
            *used = true;
        }
    }

    fn insert(&mut self, name: &'a str, known: Known) -> Planned<()> {
        if let Known::Value(Value { shape, .. }) | Known::Shape(shape) = &known
            && shape.len() > MOST_AXES
        {
            return Err(format!("a value of {} axes", shape.len()));
        }
        let is_new = !self.constants.contains_key(name) && self.values.insert(name, known).is_none();
        is_new.then_some(()).ok_or_else(|| format!("two values of the name {name}"))
    }

    /// Names an output of a node.
    pub(super) fn name(&mut self, node: &FullNode<'a>, at: usize, known: Known) -> Planned<()> {
        match node.outputs.get(at).filter(|name| !name.is_empty()) {
            Some(name) => self.insert(name, known),
            None => Ok(()),
        }
    }

    pub(super) fn slot(&mut self, dtype: DType, shape: &[Axis]) -> Planned<usize> {
        let each = each(shape)?;
        // Of rows without elements there would be nothing to tell them apart by. Constants may be empty, as lists are.
        if each == 0 && rows_at(shape).is_some() {
            return Err("rows without columns".to_owned());
        }
        self.elements = self.elements.saturating_add(each);
        if self.elements > MOST_ELEMENTS || self.program.slots.len() == MOST_SLOTS {
            return Err("more values than any model has".to_owned());
        }
        self.program.slots.push(Kind { dtype, each });
        Ok(self.program.slots.len() - 1)
    }

    /// An input of any kind.
    pub(super) fn known(&mut self, node: &FullNode<'a>, at: usize) -> Planned<Known> {
        let name = *node.inputs.get(at).ok_or("too few inputs")?;
        if let Some(known) = self.values.get(name).cloned() {
            if let Known::Value(Value { slot, .. }) | Known::Maps(slot, ..) = &known {
                self.mark(*slot);
            }
            return Ok(known);
        }
        if let Some(kept) = self.kept.get(name) {
            return Ok(Known::Value(kept.clone()));
        }
        let constant = *self.constants.get(name).ok_or_else(|| format!("the input {name}, which is not known"))?;
        let kept = self.keep(constant)?;
        self.kept.insert(name, kept.clone());
        Ok(Known::Value(kept))
    }

    /// A tensor.
    pub(super) fn value(&mut self, node: &FullNode<'a>, at: usize) -> Planned<Value> {
        match self.known(node, at)? {
            Known::Value(value) => Ok(value),
            _ => Err("an input that is no tensor".to_owned()),
        }
    }

    /// A tensor with rows.
    pub(super) fn of_rows(&mut self, node: &FullNode<'a>, at: usize) -> Planned<Value> {
        let value = self.value(node, at)?;
        if rows_at(&value.shape).is_some() { Ok(value) } else { Err("a constant in the place of rows".to_owned()) }
    }

    /// A matrix `[rows, columns]` of numbers.
    pub(super) fn matrix(&mut self, node: &FullNode<'a>, at: usize) -> Planned<(Value, usize)> {
        let value = self.value(node, at)?;
        match value.shape.as_slice() {
            [Axis::Rows, Axis::Size(columns)] if value.dtype != DType::String => {
                let columns = *columns;
                Ok((value, columns))
            }
            _ => Err("an input that is no matrix of numbers".to_owned()),
        }
    }

    /// Such a matrix as float32.
    pub(super) fn floats(&mut self, node: &FullNode<'a>) -> Planned<(Value, usize)> {
        let (value, columns) = self.matrix(node, 0)?;
        if value.dtype == DType::Bool || node.inputs.len() != 1 {
            return Err("inputs of another type".to_owned());
        }
        Ok((self.cast(value, DType::Float32)?, columns))
    }

    /// The elements and dimensions of a constant of so many elements at most: each node that asks takes a copy.
    pub(super) fn constant(&self, node: &FullNode<'a>, at: usize, most: usize) -> Planned<(Constant, Vec<usize>)> {
        let name = *node.inputs.get(at).ok_or("too few inputs")?;
        let fits = |shape: &[Axis]| {
            let is_small = each(shape).is_ok_and(|count| count <= most);
            is_small.then_some(()).ok_or_else(|| format!("a constant of more than {most} elements"))
        };
        if let Some(constant) = self.constants.get(name) {
            fits(&shape_of(constant)?)?;
            let (_, array) = read(constant)?;
            return Ok((array, sizes(&shape_of(constant)?)));
        }
        let Some(Known::Value(value)) = self.values.get(name) else {
            return Err("an input that is not known".to_owned());
        };
        let constant = self.folded(value).ok_or("an input that should be a constant")?;
        fits(&value.shape)?;
        Ok((constant.clone(), sizes(&value.shape)))
    }

    /// The elements of a value that is a constant.
    pub(super) fn folded(&self, value: &Value) -> Option<&Constant> {
        self.program.constants.get(&value.slot)
    }

    /// Whole numbers that are a constant, so many at most.
    pub(super) fn ints(&self, node: &FullNode<'a>, at: usize, most: usize) -> Planned<Vec<i64>> {
        let (constant, _) = self.constant(node, at, most)?;
        constant.ints().map(<[i64]>::to_vec).ok_or_else(|| "a constant that is not of whole numbers".to_owned())
    }

    /// A constant as a value.
    pub(super) fn keep(&mut self, constant: &FullConstant<'_>) -> Planned<Value> {
        let shape = shape_of(constant)?;
        let (dtype, array) = read(constant)?;
        let slot = self.slot(dtype, &shape)?;
        self.program.constants.insert(slot, array);
        Ok(Value { slot, dtype, shape })
    }

    /// Where a step finds a value.
    pub(super) fn source(&self, value: &Value) -> Source {
        let each = self.program.slots[value.slot].each;
        let stride = if rows_at(&value.shape).is_some() { each } else { 0 };
        Source { slot: value.slot, each, stride }
    }

    /// Adds a step that makes one value. What is made of constants alone is made here and now.
    pub(super) fn add<S: Step + 'static>(
        &mut self,
        dtype: DType,
        shape: Vec<Axis>,
        step: impl FnOnce(usize) -> S,
    ) -> Planned<Value> {
        let slot = self.slot(dtype, &shape)?;
        let step = step(slot);
        if rows_at(&shape).is_some() {
            self.program.steps.push(Box::new(step));
        } else {
            self.folded += 1;
            if self.folded > MOST_FOLDED {
                return Err("more steps on constants than any model has".to_owned());
            }
            let mut block = self.program.block();
            block.rows = 1;
            step.run(&mut block).map_err(|trouble| trouble.problem)?;
            let made = block.take(slot).into_constant();
            drop(block);
            self.program.constants.insert(slot, made);
        }
        Ok(Value { slot, dtype, shape })
    }

    /// Adds a step that makes the node's first output.
    pub(super) fn emit<S: Step + 'static>(
        &mut self,
        node: &FullNode<'a>,
        dtype: DType,
        shape: Vec<Axis>,
        step: impl FnOnce(usize) -> S,
    ) -> Planned<()> {
        let value = self.add(dtype, shape, step)?;
        self.name(node, 0, Known::Value(value))
    }

    /// Adds a step that makes several slots of rows.
    pub(super) fn push(&mut self, step: impl Step + 'static) {
        self.program.steps.push(Box::new(step));
    }

    /// A value of numbers as another type.
    pub(super) fn cast(&mut self, value: Value, dtype: DType) -> Planned<Value> {
        if value.dtype == dtype {
            return Ok(value);
        }
        if value.dtype == DType::String || dtype == DType::String {
            return Err("a cast between texts and numbers".to_owned());
        }
        self.add(dtype, value.shape.clone(), |to| Cast { from: value.slot, to, dtype })
    }
}

/// A constant's type and elements.
fn read(constant: &FullConstant<'_>) -> Planned<(DType, Constant)> {
    Ok(match &constant.array {
        Array::Floats(values) => (DType::Float32, Constant::Floats(values.clone())),
        Array::Doubles(values) => (DType::Float64, Constant::Doubles(values.clone())),
        Array::Ints(values) => (DType::Int64, Constant::Ints(values.clone())),
        Array::Int32s(values) => (DType::Int32, Constant::Ints(values.iter().map(|value| i64::from(*value)).collect())),
        Array::Bools(values) => (DType::Bool, Constant::Bools(values.clone())),
        Array::Texts(values) => {
            (DType::String, Constant::Texts(values.iter().map(|text| (*text).to_owned()).collect()))
        }
        Array::Bytes(_) | Array::Other => return Err("a constant of a type that is not known".to_owned()),
    })
}

fn shape_of(constant: &FullConstant<'_>) -> Planned<Vec<Axis>> {
    if constant.dims.len() > MOST_AXES {
        return Err(format!("a constant of {} axes", constant.dims.len()));
    }
    let size = |dim: &i64| usize::try_from(*dim).map(Axis::Size).map_err(|_| "a negative dimension".to_owned());
    constant.dims.iter().map(size).collect()
}
