//! Reads `CatBoost`'s JSON, as `save_model(format="json")` writes it.
//!
//! Keys are those of `catboost/libs/model/model_export/json_model_helpers.cpp` there; what its estimators answer is that of
//! `catboost/python-package/catboost/core.py`.

mod tree;

use std::collections::HashMap;

use super::categories::{Categories, Column};
use super::document::{self, Value, Wanted, natural};
use super::{Answer, Builder, Choice, Contributions, Covers, Labels, Link, Precision, Rule, TreeModel};
use crate::error::{Error, ErrorKind, Result};
use tree::{Forest, OF_CATEGORIES};

/// More outputs than any model has.
const MOST_OUTPUTS: usize = 1 << 16;
/// Columns that a model may have.
const MOST_FEATURES: u32 = i32::MAX.unsigned_abs();
/// Values within each other: trees that are not symmetric are as deep as they grew, which is at most 16 in `CatBoost`.
const DEEPEST: usize = 128;
/// What only the training, or statistics of categories, need.
const SKIPPED: [&str; 6] = ["borders", "ctr_data", "output_options", "training", "catboost_version_info", "values"];
/// How much of the training came to each leaf: only explanations need it.
const WEIGHTS: [&str; 2] = ["leaf_weights", "weight"];

/// Reads a model.
pub fn read_catboost(bytes: &[u8], subject: &str) -> Result<TreeModel> {
    read(bytes, subject, false)?.finish()
}

/// Reads what explains a model's scores.
pub fn explain_catboost(bytes: &[u8], subject: &str) -> Result<Contributions> {
    read(bytes, subject, true)?.trees.finish_explained()
}

fn read(bytes: &[u8], subject: &str, explains: bool) -> Result<TreeModel<Builder>> {
    let mut forest = Forest::new(bytes.len());
    let skipped = if explains { SKIPPED.to_vec() } else { [&SKIPPED[..], &WEIGHTS].concat() };
    let mut unknown = None;
    let take = &mut |tree: Value| {
        forest.push(&tree).map_err(|problem| match problem {
            tree::Problem::Broken(problem) => problem,
            tree::Problem::Unknown(what) => {
                unknown = Some(what);
                String::new()
            }
        })
    };
    let wanted = Wanted { skipped: &skipped, lists: &["oblivious_trees", "trees"], take, deepest: DEEPEST };
    let read = document::read(bytes, wanted);
    if let Some(what) = unknown {
        return Err(unsupported(subject, &what));
    }
    let document = read.map_err(|problem| bad(subject, &problem))?;
    let model = Model { document: &document, subject };
    let features = model.features(&mut forest)?;
    let (scale, bias) = model.scale_and_bias()?;
    let outputs = bias.len();
    let (link, answer) = model.answer(outputs)?;
    let mut builder = Builder::new(subject, features.len(), outputs, link);
    builder.scale_and_add(scale, &bias);
    if explains {
        builder.explain();
    }
    let places: HashMap<u32, (u32, Rule)> =
        features.iter().zip(0..).map(|(feature, column)| (feature.number, (column, feature.rule))).collect();
    for tree in forest.trees {
        let tree::Tree { mut splits, leaves, covers, sets } = tree;
        for split in &mut splits {
            let place = places.get(&split.feature).ok_or_else(|| {
                let (number, of_categories) = (split.feature & !OF_CATEGORIES, split.feature & OF_CATEGORIES != 0);
                let kind = if of_categories { "categorical" } else { "float" };
                bad(subject, &format!("a tree splits by the {kind} feature {number}, which `features_info` has not"))
            })?;
            split.feature = place.0;
            if split.rule == Rule::MissingLeft {
                split.rule = place.1;
            }
        }
        builder.push(0..outputs, &splits, &leaves, &sets)?;
        if explains && covers[1].is_empty() {
            return Err(unsupported(subject, "trees without `leaf_weights`, which `contributions` need, "));
        }
        if explains {
            builder.cover(Covers { splits: &covers[0], leaves: &covers[1] })?;
        }
    }
    let columns: Vec<Column> = features.into_iter().map(|feature| feature.column).collect();
    let has_categories = columns.iter().any(|column| column.categories.is_some());
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    Ok(TreeModel {
        trees: builder,
        features: Some(names),
        columns: has_categories.then_some(columns),
        input: Precision::Single,
        output: Precision::Double,
        answer,
    })
}

struct Model<'a> {
    document: &'a Value,
    subject: &'a str,
}

struct Feature {
    /// Among those of its kind, with the mark of one that has categories.
    number: u32,
    /// Where missing numbers go.
    rule: Rule,
    column: Column,
}

impl Model<'_> {
    /// The features in the order of the columns.
    fn features(&self, forest: &mut Forest) -> Result<Vec<Feature>> {
        let info = self.document.get("features_info").ok_or_else(|| bad(self.subject, "`features_info` is missing"))?;
        for kind in ["text_features", "embedding_features"] {
            if matches!(info.get(kind), Some(Value::List(_))) {
                return Err(unsupported(self.subject, &format!("`{kind}`")));
            }
        }
        let mut all: Vec<(u32, Feature)> = Vec::new();
        for (is_category, kind) in [(false, "float_features"), (true, "categorical_features")] {
            let features = match info.get(kind) {
                Some(Value::List(features)) => features.as_slice(),
                _ => &[],
            };
            for feature in features {
                let number = |name: &str| match feature.get(name) {
                    Some(Value::Number(number)) => natural(*number).filter(|number| *number < MOST_FEATURES),
                    _ => None,
                };
                let (own, flat) = number("feature_index").zip(number("flat_feature_index")).ok_or_else(|| {
                    bad(
                        self.subject,
                        &format!("`{kind}` has a feature without `feature_index` or `flat_feature_index`"),
                    )
                })?;
                let name = feature.text(&["feature_id"]).filter(|name| !name.is_empty());
                // So it calls columns without names.
                let name = name.map_or_else(|| flat.to_string(), str::to_owned);
                let categories = is_category.then(|| forest.categories.remove(&own).unwrap_or_default());
                let number = if is_category { own | OF_CATEGORIES } else { own };
                let feature = Feature { number, rule: self.rule(feature)?, column: Column { name, categories } };
                all.push((flat, feature));
            }
        }
        all.sort_by_key(|(flat, _)| *flat);
        if all.is_empty() || all.iter().zip(0..).any(|((flat, _), at)| *flat != at) {
            return Err(bad(self.subject, "`flat_feature_index` does not count the features one by one"));
        }
        Ok(all.into_iter().map(|(_, feature)| feature).collect())
    }

    /// Where missing numbers of a feature go.
    fn rule(&self, feature: &Value) -> Result<Rule> {
        match feature.text(&["nan_value_treatment"]) {
            // No comparison with them holds.
            None | Some("AsIs" | "AsFalse") => Ok(Rule::MissingLeft),
            Some("AsTrue") => Ok(Rule::MissingRight),
            Some(other) => Err(bad(self.subject, &format!("`nan_value_treatment` is {other:?}"))),
        }
    }

    fn scale_and_bias(&self) -> Result<(f64, Vec<f64>)> {
        let wrong = || bad(self.subject, "`scale_and_bias` is not a number and a list of numbers");
        let (scale, bias) = match self.document.get("scale_and_bias") {
            Some(Value::List(parts)) => match parts.as_slice() {
                [Value::Number(scale), Value::Numbers(bias)] => (*scale, bias.clone()),
                _ => return Err(wrong()),
            },
            // Up to version 0.24 there was one output.
            Some(Value::Numbers(parts)) => match parts.as_slice() {
                [scale, bias] => (*scale, vec![*bias]),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        if bias.is_empty() || bias.len() > MOST_OUTPUTS || !bias.iter().chain([&scale]).all(|part| part.is_finite()) {
            return Err(wrong());
        }
        Ok((scale, bias))
    }

    /// What becomes of sums: what `predict` of `CatBoost`'s estimator for the loss gives.
    fn answer(&self, outputs: usize) -> Result<(Link, Answer)> {
        let info = self.document.get("model_info");
        let loss = info.and_then(|info| info.text(&["params", "loss_function", "type"])).unwrap_or_default();
        let Some(classes) = info.and_then(|info| info.get("class_params")) else {
            return match loss {
                "Poisson" | "Tweedie" => Ok((Link::Exp, Answer::Values)),
                "RMSEWithUncertainty" => Err(unsupported(self.subject, "the loss `RMSEWithUncertainty`")),
                _ => Ok((Link::Identity, Answer::Values)),
            };
        };
        let labels = self.labels(classes)?;
        let count = match &labels {
            Labels::Ints(labels) => labels.len(),
            Labels::Texts(labels) => labels.len(),
        };
        let link = match loss {
            "MultiClass" => Link::Softmax,
            "MultiClassOneVsAll" | "MultiLogloss" | "MultiCrossEntropy" => Link::Sigmoid(1.0),
            _ if outputs == 1 => Link::Sigmoid(1.0),
            other => return Err(unsupported(self.subject, &format!("the loss `{other}` with {outputs} outputs"))),
        };
        let choice = match loss {
            "MultiLogloss" | "MultiCrossEntropy" => Choice::EachBeyond(0.0),
            _ if outputs == 1 && (count == 2 || count == 0) => Choice::Beyond(self.border(info)?),
            _ if outputs > 1 && count == outputs => Choice::Largest,
            _ => return Err(bad(self.subject, &format!("has {count} `class_names` and {outputs} outputs"))),
        };
        // Of a target that is a probability, classes have no names.
        let labels = if count == 0 { Labels::Ints(vec![0, 1]) } else { labels };
        Ok((link, Answer::Label { labels, choice, by_sums: true }))
    }

    /// The sum beyond which the second class is chosen.
    fn border(&self, info: Option<&Value>) -> Result<f64> {
        let Some(text) = info.and_then(|info| info.text(&["binclass_probability_threshold"])) else { return Ok(0.0) };
        let threshold = text.parse().ok().filter(|threshold| (0.0..=1.0).contains(threshold));
        let threshold: f64 =
            threshold.ok_or_else(|| bad(self.subject, &format!("`binclass_probability_threshold` is {text:?}")))?;
        Ok(-(1.0 / threshold - 1.0).ln())
    }

    fn labels(&self, classes: &Value) -> Result<Labels> {
        let kind = classes.text(&["class_label_type"]).unwrap_or_default();
        let order = classes.get("class_to_label").and_then(Value::numbers).unwrap_or_default();
        if order.iter().zip(0_u32..).any(|(class, at)| natural(*class) != Some(at)) {
            return Err(unsupported(self.subject, "classes in an order of their own (`class_to_label`)"));
        }
        let wrong = || bad(self.subject, &format!("`class_names` do not fit the `class_label_type` {kind:?}"));
        let names = classes.get("class_names").ok_or_else(wrong)?;
        let named = match names {
            Value::Numbers(names) => names.len(),
            Value::List(names) => names.len(),
            _ => return Err(wrong()),
        };
        let counted = match classes.get("classes_count") {
            Some(Value::Number(count)) => natural(*count).ok_or_else(wrong)?,
            _ => 0,
        };
        // Leaves are of the classes that the training had; `CatBoost` puts minus infinity in the places of others.
        if counted as usize > order.len() || (named > order.len() && !order.is_empty()) {
            return Err(unsupported(self.subject, "a class of which the training had no row"));
        }
        if named == 0 && counted > 0 {
            // Of a training that was told how many classes there are; they are called by their numbers.
            return Ok(Labels::Ints((0..i64::from(counted)).collect()));
        }
        if let Some(numbers) = names.numbers() {
            let label = |number: &f64| {
                #[allow(clippy::cast_possible_truncation, reason = "compared with what it was")]
                let label = *number as i64;
                #[allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "compared with what it was")]
                let is_whole = label as f64 == *number && number.abs() < 9e15;
                let problem = || unsupported(self.subject, &format!("the class {number}, which is no whole number,"));
                is_whole.then_some(label).ok_or_else(problem)
            };
            return numbers.iter().map(label).collect::<Result<_>>().map(Labels::Ints);
        }
        let Value::List(names) = names else { return Err(wrong()) };
        let texts: Option<Vec<String>> = names.iter().map(|name| name.text(&[]).map(str::to_owned)).collect();
        texts.map(Labels::Texts).ok_or_else(wrong)
    }
}

fn bad(subject: &str, problem: &str) -> Error {
    let fix = "the file is truncated or corrupt; write it again with `save_model(…, format=\"json\")`";
    Error::new(ErrorKind::Model, subject, format!("not a valid CatBoost model: {problem}"), fix)
}

fn unsupported(subject: &str, what: &str) -> Error {
    let fix = if what.contains("OnlineCtr") {
        "train with `one_hot_max_size` of at least the number of categories, or number them in a way that means something"
    } else {
        "train without it"
    };
    Error::new(ErrorKind::Unsupported, subject, format!("uses {what}, which is not read from CatBoost's files"), fix)
}
