//! Plans an ONNX graph whose operators are all known, or says what is not: then the whole model is ONNX Runtime's.

use super::planner::{Planned, Planner};
use super::program::Program;
use super::{
    arithmetic, casts, classes, encoders, joining, linear, logic, normalization, picking, positions, reductions,
    scalers, shaping, svm, trees,
};
use crate::onnx::{FullDim, FullGraph, FullNode, FullPort, Source};
use crate::signature::{Dim, Signature};

/// The domain of classical machine learning.
pub(super) const ML: &str = "ai.onnx.ml";

/// Plans one node.
type Plan = for<'a> fn(&mut Planner<'a>, &FullNode<'a>) -> Planned<()>;

/// What a graph became.
pub(super) struct Plans {
    pub(super) program: Program,
    pub(super) signature: Signature,
    /// Which inputs anything is made of.
    pub(super) used: Vec<bool>,
}

/// How a node is planned, if its operator is known.
fn plan_of(operator: &str, domain: &str) -> Option<Plan> {
    let plan: Plan = match (domain, operator) {
        (ML, "TreeEnsembleClassifier") => trees::classifier,
        (ML, "TreeEnsembleRegressor") => trees::regressor,
        (ML, "TreeEnsemble") => trees::ensemble,
        (ML, "LinearClassifier") => linear::classifier,
        (ML, "LinearRegressor") => linear::regressor,
        (ML, "Scaler") => scalers::scaler,
        (ML, "Imputer") => scalers::imputer,
        (ML, "Normalizer") => scalers::normalizer,
        (ML, "Binarizer") => scalers::binarizer,
        (ML, "ZipMap") => classes::zip_map,
        (ML, "LabelEncoder") => encoders::label_encoder,
        (ML, "OneHotEncoder") => encoders::one_hot_encoder,
        (ML, "CategoryMapper") => encoders::category_mapper,
        (ML, "SVMClassifier") => svm::classifier,
        (ML, "SVMRegressor") => svm::regressor,
        (ML, "ArrayFeatureExtractor") => picking::array_feature_extractor,
        (ML, "FeatureVectorizer") => joining::feature_vectorizer,
        ("", "Cast") => casts::cast,
        ("", "Identity") => shaping::identity,
        ("", "Concat") => joining::concat,
        ("", "Reshape") => shaping::reshape,
        ("", "Flatten") => shaping::flatten,
        ("", "Squeeze") => shaping::squeeze,
        ("", "Unsqueeze") => shaping::unsqueeze,
        ("", "Transpose") => picking::transpose,
        ("", "Gather") => picking::gather,
        ("", "Slice") => picking::slice,
        ("", "Split") => picking::split,
        ("", "Shape") => shaping::shape,
        ("", "Constant") => shaping::constant,
        ("", "ConstantOfShape") => shaping::constant_of_shape,
        ("", "MatMul") => linear::mat_mul,
        ("", "Gemm") => linear::gemm,
        ("", "ArgMax" | "ArgMin") => positions::arg,
        ("", "Softmax" | "LpNormalization") => normalization::normalize,
        ("", operator) if reductions::knows(operator) => reductions::reduce,
        ("", operator) if arithmetic::is_unary(operator) => arithmetic::unary,
        ("", operator) if arithmetic::is_binary(operator) => arithmetic::binary,
        ("", "Sum" | "Mean" | "Max" | "Min") => arithmetic::of_many,
        ("", "Clip") => arithmetic::clip,
        ("", operator) if logic::compares(operator) => logic::compare,
        ("", "And" | "Or" | "Xor") => logic::combine,
        ("", "Not" | "IsNaN") => logic::unary,
        ("", "Where") => logic::choose,
        _ => return None,
    };
    Some(plan)
}

/// Whether planning the graph is worth decoding it: all operators are among those that are known.
pub(super) fn knows(operator: &str, domain: &str) -> bool {
    plan_of(operator, domain).is_some()
}

/// Plans a graph of rows, whose lists are in `file`; `name` is what errors call the model, and `versions` those of the operators.
pub(super) fn plan<'a>(
    graph: &'a FullGraph<'a>,
    file: &'a Source<'a>,
    versions: [u64; 2],
    name: &str,
) -> Planned<Plans> {
    let mut planner = Planner::new(graph, file, versions)?;
    let rows = rows_of(&graph.inputs)?;
    let inputs = graph.inputs.iter().map(|port| planner.input(port, &rows)).collect::<Planned<_>>()?;
    for node in &graph.nodes {
        let plan = plan_of(node.operator, node.domain);
        let plan = plan.ok_or_else(|| format!("the operator {} is not known", node.operator))?;
        plan(&mut planner, node).map_err(|problem| format!("{} has {problem}", node.operator))?;
    }
    let outputs = graph.outputs.iter().map(|port| planner.output(port, &rows)).collect::<Planned<_>>()?;
    if graph.outputs.is_empty() {
        return Err("there is no output".to_owned());
    }
    let (program, used) = planner.finish();
    Ok(Plans { program, signature: Signature::new(name, inputs, outputs), used })
}

/// The one first dimension that all inputs have.
fn rows_of(inputs: &[FullPort<'_>]) -> Planned<Dim> {
    let mut rows = Dim::Unknown;
    for port in inputs {
        let Some([first, ..]) = port.dims.as_deref() else {
            return Err(format!("the input {} has no rows", port.name));
        };
        let own = match first {
            FullDim::Size(size) => Dim::Fixed(*size),
            FullDim::Name(name) => Dim::Symbol((*name).to_owned()),
            FullDim::Unknown => Dim::Unknown,
        };
        match (&rows, own) {
            (Dim::Unknown, own) => rows = own,
            (_, Dim::Unknown) => {}
            (known, own) if *known == own => {}
            _ => return Err(format!("the input {} has other rows than the others", port.name)),
        }
    }
    Ok(if rows == Dim::Unknown { Dim::Symbol("rows".to_owned()) } else { rows })
}
