//! Plans an ONNX graph whose operators are all known, or says what is not: then the whole model is ONNX Runtime's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ensemble::{self, Names, Sums};
use super::program::{Combine, Decide, Form, Kind, Norm, Output, Program, Step, Transform};
use crate::onnx::{Classes, Data, FullConstant, FullDim, FullGraph, FullNode, FullPort};
use crate::signature::{Dim, Port, PortType, Signature};
use crate::tensor::DType;

/// What was planned, or what is not known.
pub(super) type Planned<T> = Result<T, String>;

/// The domain of classical machine learning.
pub(super) const ML: &str = "ai.onnx.ml";
/// Numbers of `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const DOUBLE: i64 = 11;

/// A value of the graph.
#[derive(Debug, Clone)]
struct Known {
    slot: usize,
    form: Form,
}

struct Planner<'a> {
    program: Program,
    values: HashMap<&'a str, Known>,
    constants: HashMap<&'a str, &'a FullConstant<'a>>,
}

/// Whether planning the graph is worth decoding it: all operators are among those that are known.
pub(super) fn knows(operator: &str, domain: &str) -> bool {
    match domain {
        ML => matches!(
            operator,
            "TreeEnsembleClassifier"
                | "TreeEnsembleRegressor"
                | "LinearClassifier"
                | "LinearRegressor"
                | "Scaler"
                | "Imputer"
                | "Normalizer"
                | "ZipMap"
        ),
        "" => matches!(operator, "Cast" | "Identity" | "Sum" | "Add" | "Sub" | "Mul" | "Div"),
        _ => false,
    }
}

/// Plans a graph with one matrix of float32 as its input; `name` is what errors call the model.
pub(super) fn plan<'a>(graph: &'a FullGraph<'a>, name: &str) -> Planned<(Program, Signature)> {
    let [input] = graph.inputs.as_slice() else { return Err("the graph has several inputs".to_owned()) };
    let Some([rows, FullDim::Size(features)]) = input.dims.as_deref() else {
        return Err("the input is no matrix of a known number of columns".to_owned());
    };
    let columns = usize::try_from(*features).ok().filter(|columns| *columns > 0);
    let columns = columns.filter(|_| input.element == FLOAT.cast_unsigned()).ok_or("the input is not of float32")?;
    let first = Kind { dtype: DType::Float32, columns };
    let program = Program { slots: vec![first], steps: Vec::new(), outputs: Vec::new() };
    let values = HashMap::from([(input.name, Known { slot: 0, form: Form::Matrix })]);
    let constants = graph.constants.iter().map(|constant| (constant.name, constant)).collect();
    let mut planner = Planner { program, values, constants };
    for node in &graph.nodes {
        planner.node(node)?;
    }
    let rows = match rows {
        FullDim::Size(size) => Dim::Fixed(*size),
        FullDim::Name(name) => Dim::Symbol((*name).to_owned()),
        FullDim::Unknown => Dim::Symbol("rows".to_owned()),
    };
    let outputs = graph.outputs.iter().map(|port| planner.output(port, &rows)).collect::<Planned<_>>()?;
    let port_type = PortType::Tensor(DType::Float32, vec![rows, Dim::Fixed(*features)]);
    let input = Port { name: input.name.to_owned(), port_type, required: true };
    Ok((planner.program, Signature::new(name, vec![input], outputs)))
}

impl<'a> Planner<'a> {
    fn node(&mut self, node: &FullNode<'a>) -> Planned<()> {
        if !knows(node.operator, node.domain) {
            return Err(format!("the operator {} is not known", node.operator));
        }
        match node.operator {
            "TreeEnsembleRegressor" => self.tree_regressor(node),
            "TreeEnsembleClassifier" => self.tree_classifier(node),
            "LinearRegressor" => self.linear_regressor(node),
            "LinearClassifier" => self.linear_classifier(node),
            "Scaler" => self.scaler(node),
            "Imputer" => self.imputer(node),
            "Normalizer" => self.normalizer(node),
            "ZipMap" => self.zip_map(node),
            "Cast" => self.cast(node),
            "Identity" => {
                let value = self.value(node, 0)?.clone();
                self.name(node, 0, value);
                Ok(())
            }
            _ => match self.combine(node) {
                Some(planned) => planned,
                None => self.sum(node),
            },
        }
    }

    fn value(&self, node: &FullNode<'a>, at: usize) -> Planned<&Known> {
        let value = node.inputs.get(at).and_then(|name| self.values.get(name));
        value.ok_or_else(|| format!("{} has an input that is not known", node.operator))
    }

    /// A matrix of the block, and what it holds.
    fn matrix(&self, node: &FullNode<'a>, at: usize) -> Planned<(usize, Kind)> {
        match self.value(node, at)? {
            Known { slot, form: Form::Matrix } => Ok((*slot, self.program.slots[*slot])),
            _ => Err(format!("{} has an input that is no matrix", node.operator)),
        }
    }

    /// A matrix of float32.
    fn floats(&self, node: &FullNode<'a>) -> Planned<(usize, usize)> {
        match self.matrix(node, 0)? {
            (slot, Kind { dtype: DType::Float32, columns }) if node.inputs.len() == 1 => Ok((slot, columns)),
            _ => Err(format!("{} has an input that is not of float32", node.operator)),
        }
    }

    fn slot(&mut self, dtype: DType, columns: usize) -> usize {
        self.program.slots.push(Kind { dtype, columns });
        self.program.slots.len() - 1
    }

    fn name(&mut self, node: &FullNode<'a>, at: usize, value: Known) {
        if let Some(name) = node.outputs.get(at).filter(|name| !name.is_empty()) {
            self.values.insert(name, value);
        }
    }

    /// Names a matrix that a step makes of float32.
    fn step(&mut self, node: &FullNode<'a>, columns: usize, step: impl FnOnce(usize) -> Step) {
        let slot = self.slot(DType::Float32, columns);
        self.program.steps.push(step(slot));
        self.name(node, 0, Known { slot, form: Form::Matrix });
    }

    /// Doubles, as float32 under the node's name.
    fn finish(&mut self, node: &FullNode<'a>, from: usize) {
        let columns = self.program.slots[from].columns;
        self.step(node, columns, |to| Step::ToFloat { from, to });
    }

    fn trees(&mut self, sums: Sums, from: usize) -> usize {
        let to = self.slot(DType::Float64, sums.trees.outputs());
        self.program.steps.push(Step::Trees { trees: Arc::new(sums.trees), from, to });
        if !sums.base.is_empty() {
            self.program.steps.push(Step::AddBase { base: sums.base, slot: to });
        }
        to
    }

    fn tree_regressor(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, features) = self.floats(node)?;
        let Some(targets) = int(node, "n_targets", 1).and_then(|targets| usize::try_from(targets).ok()) else {
            return Err("TreeEnsembleRegressor has no number of targets".to_owned());
        };
        plain(node, "post_transform", "NONE")?;
        plain(node, "aggregate_function", "SUM")?;
        let names = Names {
            trees: "target_treeids",
            nodes: "target_nodeids",
            outputs: "target_ids",
            weights: "target_weights",
        };
        let sums =
            ensemble::read(node, &names, targets, features, &["n_targets", "post_transform", "aggregate_function"])?;
        if sums.trees.outputs() != targets || !(sums.base.is_empty() || sums.base.len() == targets) {
            return Err("TreeEnsembleRegressor has targets without weights".to_owned());
        }
        let to = self.trees(sums, from);
        self.finish(node, to);
        Ok(())
    }

    fn tree_classifier(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, features) = self.floats(node)?;
        let (labels, count) = labels(node, "classlabels_int64s")?;
        let names =
            Names { trees: "class_treeids", nodes: "class_nodeids", outputs: "class_ids", weights: "class_weights" };
        let more = ["classlabels_int64s", "classlabels_strings", "post_transform"];
        let sums = ensemble::read(node, &names, count, features, &more)?;
        let transform = transform(node)?;
        // Weights for the first class alone are those of the second one: what converters write for two classes.
        let is_one_score = count == 2 && sums.outputs == [0] && sums.base.len() < 2;
        let decide = match (sums.outputs.len(), sums.base.len()) {
            _ if is_one_score && sums.is_positive => Decide::Probability,
            _ if is_one_score && transform == Transform::Logistic => Decide::Sigmoid,
            // A class that no leaf of a row names is not chosen by ONNX Runtime, even if all others are below 0.
            (_, 0) if count > 2 && sums.is_complete && sums.outputs.len() == count => Decide::Largest(transform, count),
            (_, base) if count > 2 && base == count && sums.outputs.len() > 1 => Decide::Largest(transform, count),
            _ => return Err("TreeEnsembleClassifier has scores whose meaning is not clear".to_owned()),
        };
        let scores = self.trees(sums, from);
        self.classes(node, decide, scores, labels, count);
        Ok(())
    }

    fn classes(&mut self, node: &FullNode<'a>, decide: Decide, from: usize, labels: Classes, count: usize) {
        let (label, to) = (self.slot(DType::Int64, 1), self.slot(DType::Float32, count));
        let (labels, form) = match labels {
            Classes::Strings(texts) => (None, Form::Texts(texts)),
            Classes::Ints(numbers) => (Some(numbers), Form::Vector),
        };
        self.program.steps.push(Step::Classes { from, decide, labels, label, to });
        self.name(node, 0, Known { slot: label, form });
        self.name(node, 1, Known { slot: to, form: Form::Matrix });
    }

    fn linear(&mut self, node: &FullNode<'a>, outputs: usize, from: usize, columns: usize) -> Planned<usize> {
        let double = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let coefficients = node.floats("coefficients").map(double).unwrap_or_default();
        let mut intercepts = node.floats("intercepts").map(double).unwrap_or_default();
        let fits = outputs > 0 && outputs.checked_mul(columns) == Some(coefficients.len());
        if fits && intercepts.is_empty() {
            intercepts = vec![0.0; outputs];
        }
        if !fits || intercepts.len() != outputs {
            return Err(format!("{} has coefficients that do not fit its input", node.operator));
        }
        let to = self.slot(DType::Float64, outputs);
        self.program.steps.push(Step::Linear { coefficients, intercepts, from, to });
        Ok(to)
    }

    fn linear_regressor(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, columns) = self.floats(node)?;
        plain(node, "post_transform", "NONE")?;
        only(node, &["coefficients", "intercepts", "targets", "post_transform"])?;
        let targets = int(node, "targets", 1).and_then(|targets| usize::try_from(targets).ok()).unwrap_or(0);
        let to = self.linear(node, targets, from, columns)?;
        self.finish(node, to);
        Ok(())
    }

    fn linear_classifier(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, columns) = self.floats(node)?;
        let known = ["coefficients", "intercepts", "multi_class", "classlabels_ints", "classlabels_strings"];
        only(node, &[&known[..], &["post_transform"]].concat())?;
        let (labels, count) = labels(node, "classlabels_ints")?;
        let transform = transform(node)?;
        let scores = self.linear(node, count, from, columns)?;
        self.classes(node, Decide::Largest(transform, count), scores, labels, count);
        Ok(())
    }

    fn scaler(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, columns) = self.floats(node)?;
        only(node, &["offset", "scale"])?;
        let lists = (per_column(node, "offset", columns), per_column(node, "scale", columns));
        let (Some(offset), Some(scale)) = lists else { return Err("Scaler has lists of other lengths".to_owned()) };
        self.step(node, columns, |to| Step::Scale { offset, scale, from, to });
        Ok(())
    }

    fn imputer(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, columns) = self.floats(node)?;
        only(node, &["imputed_value_floats", "replaced_value_float"])?;
        let replaced = match node.get("replaced_value_float") {
            Some(Data::Float(value)) => *value,
            _ => 0.0,
        };
        let by = per_column(node, "imputed_value_floats", columns).ok_or("Imputer has a list of another length")?;
        self.step(node, columns, |to| Step::Impute { replaced, by, from, to });
        Ok(())
    }

    fn normalizer(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (from, columns) = self.floats(node)?;
        only(node, &["norm"])?;
        let norm = match node.text("norm", "MAX") {
            Some("L1") => Norm::L1,
            Some("L2") => Norm::L2,
            Some("MAX") => Norm::Max,
            _ => return Err("Normalizer has a norm that is not known".to_owned()),
        };
        self.step(node, columns, |to| Step::Normalize { norm, columns, from, to });
        Ok(())
    }

    fn zip_map(&mut self, node: &FullNode<'a>) -> Planned<()> {
        let (slot, columns) = self.floats(node)?;
        only(node, &["classlabels_int64s", "classlabels_strings"])?;
        let (labels, count) = labels(node, "classlabels_int64s")?;
        if count != columns {
            return Err("ZipMap has another number of labels than columns".to_owned());
        }
        // As in ONNX Runtime, whose maps are sorted by their keys.
        let (labels, order) = match labels {
            Classes::Ints(labels) => {
                let (labels, order) = sorted(labels);
                (Classes::Ints(labels), order)
            }
            Classes::Strings(labels) => {
                let (labels, order) = sorted(labels);
                (Classes::Strings(labels), order)
            }
        };
        self.name(node, 0, Known { slot, form: Form::Maps(labels, order) });
        Ok(())
    }

    fn cast(&mut self, node: &FullNode<'a>) -> Planned<()> {
        only(node, &["to", "saturate"])?;
        let Known { slot: from, form } = self.value(node, 0)?.clone();
        let Kind { dtype, columns } = self.program.slots[from];
        let to = int(node, "to", 0).unwrap_or(0);
        let known = match (dtype, to, &form) {
            (DType::Float32, FLOAT, Form::Matrix)
            | (DType::Float64, DOUBLE, Form::Matrix)
            | (DType::Int64, INT64, Form::Vector) => Known { slot: from, form },
            (DType::Float64, FLOAT, Form::Matrix) => {
                self.finish(node, from);
                return Ok(());
            }
            (DType::Float32, DOUBLE, Form::Matrix) => {
                let slot = self.slot(DType::Float64, columns);
                self.program.steps.push(Step::ToDouble { from, to: slot });
                Known { slot, form }
            }
            _ => return Err("Cast has types that are not known".to_owned()),
        };
        self.name(node, 0, known);
        Ok(())
    }

    /// A matrix and a constant, which has one number or one for each column; nothing if there is no constant.
    fn combine(&mut self, node: &FullNode<'a>) -> Option<Planned<()>> {
        let [_, by] = node.inputs.as_slice() else { return None };
        let constant = *self.constants.get(by)?;
        let how = match node.operator {
            "Add" => Combine::Add,
            "Sub" => Combine::Subtract,
            "Mul" => Combine::Multiply,
            "Div" => Combine::Divide,
            _ => return None,
        };
        let planned = only(node, &[]).and_then(|()| {
            let (from, kind) = self.matrix(node, 0)?;
            let values = constant.floats().filter(|_| kind.dtype == DType::Float32);
            let by = match (constant.dims.as_slice(), values) {
                ([] | [1] | [1, 1], Some([one])) => vec![*one; kind.columns],
                ([_] | [1, _], Some(values)) if values.len() == kind.columns => values.to_vec(),
                _ => return Err(format!("{} has a constant of another shape or type", node.operator)),
            };
            self.step(node, kind.columns, |to| Step::Combine { how, by, from, to });
            Ok(())
        });
        Some(planned)
    }

    fn sum(&mut self, node: &FullNode<'a>) -> Planned<()> {
        if !matches!(node.operator, "Sum" | "Add") {
            return Err(format!("{} is known with a constant only", node.operator));
        }
        only(node, &[])?;
        let parts = (0..node.inputs.len()).map(|at| self.matrix(node, at)).collect::<Planned<Vec<_>>>()?;
        let kind = parts.first().ok_or("Sum has no inputs")?.1;
        if node.operator == "Add" && parts.len() != 2 {
            return Err("Add has not two inputs".to_owned());
        }
        if parts.iter().any(|(_, other)| *other != kind) || !matches!(kind.dtype, DType::Float32 | DType::Float64) {
            return Err(format!("{} has inputs of different shapes", node.operator));
        }
        let to = self.slot(DType::Float64, kind.columns);
        self.program.steps.push(Step::Sum { from: parts.into_iter().map(|(slot, _)| slot).collect(), to });
        if kind.dtype == DType::Float32 {
            self.finish(node, to);
        } else {
            self.name(node, 0, Known { slot: to, form: Form::Matrix });
        }
        Ok(())
    }

    fn output(&mut self, port: &FullPort<'_>, rows: &Dim) -> Planned<Port> {
        let known = self.values.get(port.name).ok_or_else(|| format!("the output {} is not known", port.name))?;
        let Kind { dtype, columns } = self.program.slots[known.slot];
        let fixed = Dim::Fixed(i64::try_from(columns).unwrap_or(i64::MAX));
        let port_type = match &known.form {
            Form::Matrix => PortType::Tensor(dtype, vec![rows.clone(), fixed]),
            Form::Vector => PortType::Tensor(dtype, vec![rows.clone()]),
            Form::Texts(_) => PortType::Tensor(DType::String, vec![rows.clone()]),
            Form::Maps(Classes::Ints(_), _) => PortType::Other("sequence(map(int64, float32))".to_owned()),
            Form::Maps(Classes::Strings(_), _) => PortType::Other("sequence(map(string, float32))".to_owned()),
        };
        self.program.outputs.push(Output { slot: known.slot, form: known.form.clone() });
        Ok(Port { name: port.name.to_owned(), port_type, required: true })
    }
}

fn int(node: &FullNode<'_>, name: &str, default: i64) -> Option<i64> {
    match node.get(name) {
        Some(Data::Int(value)) => Some(*value),
        None => Some(default),
        Some(_) => None,
    }
}

fn only(node: &FullNode<'_>, names: &[&str]) -> Planned<()> {
    let known = node.has_only(names);
    known.then_some(()).ok_or_else(|| format!("{} has an attribute that is not known", node.operator))
}

/// Makes sure that an attribute is what it is by default.
fn plain(node: &FullNode<'_>, name: &str, value: &str) -> Planned<()> {
    let is_plain = node.text(name, "").is_some_and(|text| text.is_empty() || text == value);
    is_plain.then_some(()).ok_or_else(|| format!("{} has another `{name}` than {value}", node.operator))
}

fn transform(node: &FullNode<'_>) -> Planned<Transform> {
    match node.text("post_transform", "NONE") {
        Some("NONE") => Ok(Transform::Identity),
        Some("LOGISTIC") => Ok(Transform::Logistic),
        Some("SOFTMAX") => Ok(Transform::Softmax),
        _ => Err(format!("{} has a transform that is not known", node.operator)),
    }
}

/// Class labels, two or more.
fn labels(node: &FullNode<'_>, ints: &str) -> Planned<(Classes, usize)> {
    let labels = match (node.ints(ints), node.texts("classlabels_strings")) {
        (Some(numbers), Some([])) => (Classes::Ints(numbers.to_vec()), numbers.len()),
        (Some([]), Some(texts)) => {
            (Classes::Strings(texts.iter().map(|text| (*text).to_owned()).collect()), texts.len())
        }
        _ => return Err(format!("{} has labels of two kinds", node.operator)),
    };
    let mut seen = HashSet::new();
    let are_different = match &labels.0 {
        Classes::Ints(labels) => labels.iter().all(|label| seen.insert(label.to_string())),
        Classes::Strings(labels) => labels.iter().all(|label| seen.insert(label.clone())),
    };
    if labels.1 < 2 || !are_different {
        return Err(format!("{} has fewer than two different labels", node.operator));
    }
    Ok(labels)
}

/// Labels in their order, and where each was.
fn sorted<T: Ord>(labels: Vec<T>) -> (Vec<T>, Vec<usize>) {
    let mut labels: Vec<(T, usize)> = labels.into_iter().zip(0..).collect();
    labels.sort();
    labels.into_iter().unzip()
}

/// A number for each column; one alone is for all.
fn per_column(node: &FullNode<'_>, name: &str, columns: usize) -> Option<Vec<f32>> {
    match node.floats(name)? {
        [one] => Some(vec![*one; columns]),
        values => (values.len() == columns).then(|| values.to_vec()),
    }
}
