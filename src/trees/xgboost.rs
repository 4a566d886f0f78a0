//! Reads `XGBoost`'s JSON and UBJSON, as `Booster.save_model` writes them from version 1.0 on.
//!
//! Keys are those of `doc/model.schema` there; links and base scores those of `PredTransform` and `ProbToMargin` in
//! `src/objective`.

use super::document::{self, Value, Wanted};
use super::{Builder, Ensemble, Link, Rule, Split, single};
use crate::error::{Error, ErrorKind, Result};

/// More outputs than any model has.
const MOST_OUTPUTS: usize = 1 << 16;
/// Statistics of the training.
const SKIPPED: [&str; 7] =
    ["base_weights", "loss_changes", "sum_hessian", "parents", "attributes", "feature_types", "iteration_indptr"];

/// What a model of `XGBoost` is.
#[derive(Debug)]
pub struct XgBoost {
    /// Its trees, with links.
    pub trees: Ensemble,
    /// Names of its columns.
    pub features: Option<Vec<String>>,
    /// Whether the answer is the number of the class with the largest score.
    pub is_class: bool,
}

type Tree = (Vec<Split>, Vec<f64>);

/// Reads a model.
pub fn read_xgboost(bytes: &[u8], subject: &str) -> Result<XgBoost> {
    let mut trees = Vec::new();
    let take = &mut |value: Value| {
        trees.push(tree(&value)?);
        Ok(())
    };
    let document = document::read(bytes, Wanted { skipped: &SKIPPED, list: "trees", take })
        .map_err(|problem| bad(subject, &problem))?;
    let learner = document.get("learner").ok_or_else(|| bad(subject, "`learner` is missing"))?;
    let parameter = |name: &str| {
        let text = learner.text(&["learner_model_param", name]);
        text.ok_or_else(|| bad(subject, &format!("`learner_model_param` has no `{name}`")))
    };
    let count = |name: &str, most: usize| {
        let text = parameter(name)?;
        let count = text.parse().ok().filter(|count| *count <= most);
        count.ok_or_else(|| bad(subject, &format!("`{name}` is {text:?}, expected a whole number up to {most}")))
    };
    let features: usize = count("num_feature", i32::MAX.unsigned_abs() as usize)?;
    // Files before 1.7 have one target without saying so.
    let targets = if parameter("num_target").is_ok() { count("num_target", MOST_OUTPUTS)? } else { 1 };
    let outputs = count("num_class", MOST_OUTPUTS)?.max(targets).max(1);
    let objective = learner.text(&["objective", "name"]).unwrap_or_default();
    let (link, is_class) = link(objective, subject)?;
    let booster = learner.get("gradient_booster").ok_or_else(|| bad(subject, "`gradient_booster` is missing"))?;
    let (model, drops) = match booster.text(&["name"]) {
        Some("gbtree") => (booster.get("model"), None),
        Some("dart") => (booster.at(&["gbtree", "model"]), booster.get("weight_drop").and_then(Value::numbers)),
        other => return Err(unsupported(subject, &format!("the booster `{}`", other.unwrap_or_default()))),
    };
    let groups = model.and_then(|model| model.get("tree_info")).and_then(Value::numbers);
    let groups = groups.filter(|groups| groups.len() == trees.len());
    let groups = groups.ok_or_else(|| bad(subject, "`tree_info` does not fit its trees"))?;
    if drops.is_some_and(|drops| drops.len() != trees.len()) {
        return Err(bad(subject, "`weight_drop` does not fit its trees"));
    }
    let mut builder = Builder::new(subject, features.max(1), outputs, link);
    builder.add_as_float32(&base(parameter("base_score")?, objective, outputs, subject)?);
    for (number, (splits, mut leaves)) in trees.into_iter().enumerate() {
        if let Some(drops) = drops {
            for leaf in &mut leaves {
                *leaf = single(single(drops[number]) * *leaf);
            }
        }
        let group =
            whole(groups[number]).and_then(|group| usize::try_from(group).ok()).filter(|group| *group < outputs);
        let group = group.ok_or_else(|| bad(subject, &format!("`tree_info` has {}", groups[number])))?;
        builder.push(group..group + 1, &splits, &leaves, &[])?;
    }
    let names = learner.get("feature_names").and_then(|names| match names {
        Value::List(names) if names.len() == features => {
            names.iter().map(|name| name.text(&[]).map(str::to_owned)).collect()
        }
        _ => None,
    });
    Ok(XgBoost { trees: builder.finish()?, features: names, is_class })
}

fn bad(subject: &str, problem: &str) -> Error {
    let fix = "the file is truncated or corrupt; write it again with `Booster.save_model`";
    Error::new(ErrorKind::Model, subject, format!("not a valid XGBoost model: {problem}"), fix)
}

fn unsupported(subject: &str, what: &str) -> Error {
    let fix = "convert the model to ONNX, for example with onnxmltools";
    Error::new(ErrorKind::Unsupported, subject, format!("uses {what}, which is not read from XGBoost's files"), fix)
}

#[allow(clippy::cast_possible_truncation, reason = "compared with what it was")]
fn whole(value: f64) -> Option<i32> {
    let whole = value as i32;
    (f64::from(whole).to_bits() == (value + 0.0).to_bits()).then_some(whole)
}

/// The nodes of one tree, from the root down, so that parents come before their children.
fn tree(value: &Value) -> std::result::Result<Tree, String> {
    let list = |name: &str| {
        let numbers = value.get(name).and_then(Value::numbers);
        numbers.ok_or_else(|| format!("a tree has no numbers in `{name}`"))
    };
    let (left, right) = (list("left_children")?, list("right_children")?);
    let (features, values, defaults) = (list("split_indices")?, list("split_conditions")?, list("default_left")?);
    let kinds = value.get("split_type").and_then(Value::numbers).unwrap_or_default();
    if value.text(&["tree_param", "size_leaf_vector"]).is_some_and(|size| !matches!(size, "0" | "1")) {
        return Err("a tree has leaves for several targets, which are not read".to_owned());
    }
    if [right.len(), features.len(), values.len(), defaults.len()].iter().any(|count| *count != left.len()) {
        return Err("a tree has lists of different lengths".to_owned());
    }
    let (mut splits, mut leaves): (Vec<Split>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut open: Vec<(usize, Option<(usize, usize)>)> = vec![(0, None)];
    while let Some((at, parent)) = open.pop() {
        if at >= left.len() || splits.len() + leaves.len() >= left.len() {
            return Err(format!("a tree has the node {at} in a circle, or has it not"));
        }
        let child =
            |children: &[f64]| whole(children[at]).ok_or_else(|| format!("a tree has the child {}", children[at]));
        let (lower, upper) = (child(left)?, child(right)?);
        let index = if lower == -1 {
            leaves.push(single(values[at]));
            i32::try_from(leaves.len()).map(|count| -count)
        } else {
            if kinds.get(at).is_some_and(|kind| *kind != 0.0) {
                return Err("a tree splits by categories, which are not read from XGBoost's files".to_owned());
            }
            let feature = whole(features[at]).and_then(|feature| u32::try_from(feature).ok());
            let feature = feature.ok_or_else(|| format!("a tree splits by column {}", features[at]))?;
            // Less than a float32 is at most the one before it.
            #[allow(clippy::cast_possible_truncation, reason = "the file's numbers are of float32")]
            let threshold = f64::from((values[at] as f32).next_down());
            let rule = if defaults[at] == 0.0 { Rule::MissingRight } else { Rule::MissingLeft };
            let index = splits.len();
            splits.push(Split { feature, threshold, rule, children: [0, 0] });
            for (side, child) in [(1, upper), (0, lower)] {
                let child = usize::try_from(child).map_err(|_| format!("a tree has the child {child}"))?;
                open.push((child, Some((index, side))));
            }
            i32::try_from(index)
        };
        if let Some((parent, side)) = parent {
            splits[parent].children[side] = index.map_err(|_| "a tree has too many nodes".to_owned())?;
        }
    }
    Ok((splits, leaves))
}

/// What sums begin with: the base score as a margin, for each output.
#[allow(clippy::cast_possible_truncation, reason = "float32 is what XGBoost computes in")]
fn base(text: &str, objective: &str, outputs: usize, subject: &str) -> Result<Vec<f64>> {
    let wrong = || bad(subject, &format!("`base_score` is {text:?}"));
    let scores = text.trim_start_matches('[').trim_end_matches(']').split(',');
    let scores: Vec<f32> = scores.map(|score| score.trim().parse().map_err(|_| wrong())).collect::<Result<_>>()?;
    let margin = |score: f32| match objective {
        "binary:logistic" | "reg:logistic" => -(1.0 / score - 1.0).ln(),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => score.ln(),
        _ => score,
    };
    let margins: Vec<f64> = scores.into_iter().map(|score| f64::from(margin(score))).collect();
    if margins.iter().any(|margin| !margin.is_finite()) {
        return Err(wrong());
    }
    match margins.as_slice() {
        [one] => Ok(vec![*one; outputs]),
        all if all.len() == outputs => Ok(margins),
        _ => Err(wrong()),
    }
}

/// What becomes of sums, and whether the answer is a class.
fn link(objective: &str, subject: &str) -> Result<(Link, bool)> {
    Ok(match objective {
        "reg:squarederror"
        | "reg:linear"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "reg:expectileerror"
        | "binary:logitraw"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map" => (Link::Identity, false),
        "reg:logistic" | "binary:logistic" => (Link::Sigmoid(1.0), false),
        "binary:hinge" => (Link::Positive, false),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => (Link::Exp, false),
        "multi:softprob" => (Link::Softmax, false),
        "multi:softmax" => (Link::Identity, true),
        other => return Err(unsupported(subject, &format!("the objective `{other}`"))),
    })
}
