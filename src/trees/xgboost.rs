//! Reads `XGBoost`'s JSON and UBJSON, as `Booster.save_model` and its scikit-learn estimators write them from version 1.0 on.
//!
//! Keys are those of `doc/model.schema` there; links and base scores those of `PredTransform` and `ProbToMargin` in
//! `src/objective`; what estimators answer that of `python-package/xgboost/sklearn.py`.

mod tree;

use super::document::{self, DEEPEST, Value, Wanted, whole};
use super::sets::Sets;
use super::{Answer, Builder, Choice, Contributions, Covers, Labels, LinearLeaf, Link, Precision, TreeModel, single};
use crate::error::{Error, ErrorKind, Result};
use tree::{Problem, Tree};

/// More outputs than any model has.
const MOST_OUTPUTS: usize = 1 << 16;
/// Columns that a linear model may have, as all of them have a weight in the file.
const MOST_FEATURES: usize = i32::MAX.unsigned_abs() as usize;
/// Statistics of the training.
const SKIPPED: [&str; 4] = ["loss_changes", "parents", "feature_types", "cats"];
/// What each node covered in the training: only explanations need it.
const COVER: &str = "sum_hessian";
/// Weights of nodes, which are needed only for leaves of several numbers in older files.
const WEIGHTS: &str = "base_weights";

/// Reads a model.
pub fn read_xgboost(bytes: &[u8], subject: &str) -> Result<TreeModel> {
    read(bytes, subject, false)?.finish()
}

/// Reads what explains a model's scores.
pub fn explain_xgboost(bytes: &[u8], subject: &str) -> Result<Contributions> {
    read(bytes, subject, true)?.trees.finish_explained()
}

fn read(bytes: &[u8], subject: &str, explains: bool) -> Result<TreeModel<Builder>> {
    let (document, trees) = read_document(bytes, subject, explains)?;
    let learner = document.get("learner").ok_or_else(|| bad(subject, "`learner` is missing"))?;
    let learner = Learner { learner, subject };
    let (features, outputs) = (learner.count("num_feature", MOST_FEATURES)?, learner.outputs()?);
    let objective = learner.learner.text(&["objective", "name"]).unwrap_or_default();
    let (link, answer) = learner.answer(objective, outputs)?;
    let mut builder = Builder::new(subject, features.max(1), outputs, link);
    if explains {
        builder.explain();
    }
    let booster = learner.learner.get("gradient_booster");
    let booster = booster.ok_or_else(|| bad(subject, "`gradient_booster` is missing"))?;
    // A base score is estimated in the first round. Until then XGBoost takes the one that stands there for a margin.
    let is_margin = trees.is_empty() && learner.is_untrained(booster);
    let objective_of_base = if is_margin { "" } else { objective };
    let base = base(learner.parameter("base_score")?, objective_of_base, outputs, subject)?;
    match booster.text(&["name"]) {
        Some("gblinear") => learner.linear(booster, features, &base, &mut builder)?,
        Some("gbtree") => {
            builder.add_as_float32(&base);
            learner.trees(trees, booster.get("model"), None, outputs, &mut builder)?;
        }
        Some("dart") => {
            builder.add_as_float32(&base);
            let drops = booster.get("weight_drop").and_then(Value::numbers);
            let drops = drops.filter(|drops| drops.len() == trees.len());
            let drops = drops.ok_or_else(|| bad(subject, "`weight_drop` does not fit its trees"))?;
            learner.trees(trees, booster.at(&["gbtree", "model"]), Some(drops), outputs, &mut builder)?;
        }
        other => return Err(unsupported(subject, &format!("the booster `{}`", other.unwrap_or_default()))),
    }
    let features = learner.learner.get("feature_names").and_then(|names| match names {
        Value::List(names) if names.len() == features => {
            names.iter().map(|name| name.text(&[]).map(str::to_owned)).collect()
        }
        _ => None,
    });
    let (input, output) = (Precision::Single, Precision::Single);
    Ok(TreeModel { trees: builder, features, columns: None, input, output, answer })
}

/// The document without its trees, and the trees.
fn read_document(bytes: &[u8], subject: &str, explains: bool) -> Result<(Value, Vec<Tree>)> {
    let once = |skipped: &[&'static str]| {
        let (mut trees, mut words, mut needs_weights) = (Vec::new(), Sets::new(bytes.len()), false);
        let take = &mut |value: Value| {
            trees.push(tree::read(&value, &mut words).map_err(|problem| match problem {
                Problem::Broken(problem) => problem,
                Problem::NeedsWeights => {
                    needs_weights = true;
                    "a tree has leaves of several numbers, and no numbers for them".to_owned()
                }
            })?);
            Ok(())
        };
        let read = document::read(bytes, Wanted { skipped, lists: &["trees"], take, deepest: DEEPEST });
        (read.map(|document| (document, trees)).map_err(|problem| bad(subject, &problem)), needs_weights)
    };
    let skipped = if explains { SKIPPED.to_vec() } else { [&SKIPPED[..], &[COVER]].concat() };
    match once(&[&skipped[..], &[WEIGHTS]].concat()) {
        (Err(_), true) => once(&skipped).0,
        (read, _) => read,
    }
}

/// What is in `learner`.
struct Learner<'a> {
    learner: &'a Value,
    subject: &'a str,
}

impl<'a> Learner<'a> {
    fn parameter(&self, name: &str) -> Result<&'a str> {
        let text = self.learner.text(&["learner_model_param", name]);
        text.ok_or_else(|| bad(self.subject, &format!("`learner_model_param` has no `{name}`")))
    }

    fn count(&self, name: &str, most: usize) -> Result<usize> {
        let text = self.parameter(name)?;
        let count = text.parse().ok().filter(|count| *count <= most);
        count.ok_or_else(|| bad(self.subject, &format!("`{name}` is {text:?}, expected a whole number up to {most}")))
    }

    fn outputs(&self) -> Result<usize> {
        // Files before 1.7 have one target without saying so.
        let has_targets = self.parameter("num_target").is_ok();
        let targets = if has_targets { self.count("num_target", MOST_OUTPUTS)? } else { 1 };
        Ok(self.count("num_class", MOST_OUTPUTS)?.max(targets).max(1))
    }

    /// Whether a booster without trees has had no round, and would have estimated its base score in the first.
    fn is_untrained(&self, booster: &Value) -> bool {
        let rounds = booster.at(&["model", "boosted_rounds"]);
        matches!(rounds, None | Some(Value::Number(0.0))) && self.parameter("boost_from_average").ok() != Some("0")
    }

    /// Whether an estimator saved it, and if so, of which kind.
    fn estimator(&self) -> Option<&'a str> {
        let words = self.learner.text(&["attributes", "scikit_learn"])?;
        ["classifier", "regressor", "ranker"].into_iter().find(|kind| words.contains(&format!("\"{kind}\"")))
    }

    /// What becomes of sums. A classifier of scikit-learn answers labels, which are 0, 1, ….
    fn answer(&self, objective: &str, outputs: usize) -> Result<(Link, Answer)> {
        let (link, answer) = link(objective, self.subject)?;
        if self.estimator() != Some("classifier") {
            return Ok((link, answer));
        }
        let classes = if outputs == 1 { 2 } else { i64::try_from(outputs).unwrap_or(i64::MAX) };
        let labels = Labels::Ints((0..classes).collect());
        Ok(match link {
            // Of `multi:softmax` and `multi:softprob`.
            Link::Softmax => (link, Answer::Label { labels, choice: Choice::Largest, by_sums: false }),
            _ if answer == Answer::ClassNumber => {
                (Link::Softmax, Answer::Label { labels, choice: Choice::Largest, by_sums: true })
            }
            _ if outputs == 1 => (link, Answer::Label { labels, choice: Choice::Beyond(0.5), by_sums: false }),
            _ => (link, Answer::Label { labels, choice: Choice::EachBeyond(0.5), by_sums: false }),
        })
    }

    /// Trees of the rounds that `predict` uses: estimators stop at the best one, boosters do not.
    fn rounds(&self, model: &Value, outputs: usize) -> Result<Option<usize>> {
        let best = self.learner.text(&["attributes", "best_iteration"]);
        let Some(best) = best.filter(|_| self.estimator().is_some()) else { return Ok(None) };
        let wrong = || bad(self.subject, &format!("`best_iteration` is {best:?}"));
        let rounds = best.parse().ok().and_then(|best: usize| best.checked_add(1)).ok_or_else(wrong)?;
        if let Some(ends) = model.get("iteration_indptr").and_then(Value::numbers) {
            let trees = ends.get(rounds).and_then(|end| whole(*end)).and_then(|end| usize::try_from(end).ok());
            return trees.map(Some).ok_or_else(wrong);
        }
        let parallel = model.text(&["gbtree_model_param", "num_parallel_tree"]).unwrap_or("1");
        let parallel = parallel.parse().ok().filter(|count| *count <= MOST_OUTPUTS).unwrap_or(1);
        rounds.checked_mul(outputs * parallel.max(1)).map(Some).ok_or_else(wrong)
    }

    fn trees(
        &self,
        trees: Vec<Tree>,
        model: Option<&Value>,
        drops: Option<&[f64]>,
        outputs: usize,
        builder: &mut Builder,
    ) -> Result<()> {
        let model = model.ok_or_else(|| bad(self.subject, "the booster has no `model`"))?;
        let groups = model.get("tree_info").and_then(Value::numbers).filter(|groups| groups.len() == trees.len());
        let groups = groups.ok_or_else(|| bad(self.subject, "`tree_info` does not fit its trees"))?;
        let used = self.rounds(model, outputs)?.unwrap_or(trees.len());
        builder.refuse_negative_categories();
        for (number, Tree { splits, mut leaves, width, sets, nodes, covers }) in
            trees.into_iter().enumerate().take(used)
        {
            if let Some(drops) = drops {
                for leaf in &mut leaves {
                    *leaf = single(single(drops[number]) * *leaf);
                }
            }
            let group = whole(groups[number]).and_then(|group| usize::try_from(group).ok());
            let group = group.filter(|group| *group < outputs);
            let group = group.ok_or_else(|| bad(self.subject, &format!("`tree_info` has {}", groups[number])))?;
            builder.push(group..group.saturating_add(width), &splits, &leaves, &sets)?;
            if builder.explains() {
                let [splits, leaves] = nodes
                    .map(|nodes| nodes.iter().filter_map(|at| covers.get(*at as usize).copied()).collect::<Vec<_>>());
                builder.cover(Covers { splits: &splits, leaves: &leaves })?;
            } else {
                let [_, leaves] = nodes;
                builder.number_leaves(leaves);
            }
        }
        Ok(())
    }

    /// A linear model: a weight for each column and output, and behind them what is always added.
    fn linear(&self, booster: &Value, features: usize, base: &[f64], builder: &mut Builder) -> Result<()> {
        let weights = booster.at(&["model", "weights"]).and_then(Value::numbers);
        if weights.is_some_and(<[f64]>::is_empty) {
            // There are none before the first round.
            builder.add_as_float32(base);
            return Ok(());
        }
        let weights = weights.filter(|weights| Some(weights.len()) == (features + 1).checked_mul(base.len()));
        let weights = weights.ok_or_else(|| bad(self.subject, "`weights` does not fit its columns and outputs"))?;
        let weight = |feature: usize, output: usize| single(weights[feature * base.len() + output]);
        let start: Vec<f64> =
            // All begin with the base score of the first one: so it is in version 3.2.
            (0..base.len()).map(|output| single(weight(features, output) + base[0])).collect();
        builder.add_as_float32(&start);
        for output in 0..base.len() {
            let terms = (0..).zip(0..features).map(|(column, feature)| (column, weight(feature, output))).collect();
            builder.push_linear(output, &[], &[0.0], &[], &[LinearLeaf { constant: 0.0, terms }])?;
        }
        Ok(())
    }
}

fn bad(subject: &str, problem: &str) -> Error {
    let fix = "the file is truncated or corrupt; write it again with `Booster.save_model`";
    Error::new(ErrorKind::Model, subject, format!("not a valid XGBoost model: {problem}"), fix)
}

fn unsupported(subject: &str, what: &str) -> Error {
    let fix = "convert the model to ONNX, for example with onnxmltools";
    Error::new(ErrorKind::Unsupported, subject, format!("uses {what}, which is not read from XGBoost's files"), fix)
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

/// What becomes of sums.
fn link(objective: &str, subject: &str) -> Result<(Link, Answer)> {
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
        | "rank:map" => (Link::Identity, Answer::Values),
        "reg:logistic" | "binary:logistic" => (Link::Sigmoid(1.0), Answer::Values),
        "binary:hinge" => (Link::Positive, Answer::Values),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => (Link::Exp, Answer::Values),
        "multi:softprob" => (Link::Softmax, Answer::Values),
        "multi:softmax" => (Link::Identity, Answer::ClassNumber),
        other => return Err(unsupported(subject, &format!("the objective `{other}`"))),
    })
}
