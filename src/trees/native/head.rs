//! What the JSON object at the head of a file says.

use super::Read;
use crate::trees::document::{Value, natural};
use crate::trees::{Answer, Builder, Choice, Labels, Link, Precision, TreeModel};

/// More outputs than any model has.
const MOST_OUTPUTS: u32 = 1 << 16;

/// The object.
pub(super) struct Head<'a> {
    pub(super) head: &'a Value,
}

/// How much there is of everything.
pub(super) struct Shape {
    pub(super) features: usize,
    pub(super) outputs: usize,
    /// Numbers of a leaf.
    pub(super) width: usize,
    pub(super) trees: usize,
    pub(super) nodes: usize,
    pub(super) splits: usize,
    pub(super) sets: usize,
    pub(super) words: usize,
    /// Bytes of a feature's number, a threshold, and the number of a leaf.
    pub(super) feature_bytes: usize,
    pub(super) threshold_bytes: usize,
    pub(super) leaf_bytes: usize,
    pub(super) covers: Option<usize>,
    pub(super) has_leaf_numbers: bool,
}

impl Head<'_> {
    fn number(&self, name: &str) -> Read<f64> {
        match self.head.get(name) {
            Some(Value::Number(number)) => Ok(*number),
            _ => Err(format!("`{name}` is missing, or is no number")),
        }
    }

    fn count(&self, name: &str, least: u32, most: u32) -> Read<usize> {
        let number = self.number(name)?;
        let count = natural(number).filter(|count| (least..=most).contains(count));
        count.map(|count| count as usize).ok_or_else(|| format!("`{name}` is {number}, expected {least} to {most}"))
    }

    fn truth(&self, name: &str) -> Read<bool> {
        Ok(self.count(name, 0, 1)? == 1)
    }

    fn one_of(&self, name: &str, sizes: [usize; 2]) -> Read<usize> {
        let size = self.count(name, 0, 8)?;
        sizes.contains(&size).then_some(size).ok_or_else(|| format!("`{name}` is {size}, expected one of {sizes:?}"))
    }

    pub(super) fn text(&self, name: &str) -> Read<&str> {
        self.head.text(&[name]).ok_or_else(|| format!("`{name}` is missing, or is no text"))
    }

    pub(super) fn texts(&self, name: &str) -> Read<Option<Vec<String>>> {
        let text = |value: &Value| value.text(&[]).map(str::to_owned).ok_or_else(|| format!("`{name}` has no text"));
        match self.head.get(name) {
            Some(Value::List(items)) => items.iter().map(text).collect::<Read<_>>().map(Some),
            Some(Value::Numbers(items)) if items.is_empty() => Ok(Some(Vec::new())),
            None | Some(Value::Nothing) => Ok(None),
            Some(_) => Err(format!("`{name}` is no list of texts")),
        }
    }

    pub(super) fn shape(&self) -> Read<Shape> {
        let most = i32::MAX.unsigned_abs();
        let shape = Shape {
            features: self.count("features", 1, most)?,
            outputs: self.count("outputs", 1, MOST_OUTPUTS)?,
            width: self.count("width", 1, MOST_OUTPUTS)?,
            trees: self.count("trees", 0, most)?,
            nodes: self.count("nodes", 0, u32::MAX)?,
            splits: self.count("splits", 0, most)?,
            sets: self.count("sets", 0, most)?,
            words: self.count("words", 0, most)?,
            feature_bytes: self.one_of("feature_bytes", [2, 4])?,
            threshold_bytes: self.one_of("threshold_bytes", [4, 8])?,
            leaf_bytes: self.one_of("leaf_bytes", [4, 8])?,
            covers: match self.count("cover_bytes", 0, 8)? {
                0 => None,
                _ => Some(self.one_of("cover_bytes", [4, 8])?),
            },
            has_leaf_numbers: self.truth("has_leaf_numbers")?,
        };
        if shape.width != 1 && shape.width != shape.outputs {
            return Err(format!("`width` is {}, expected 1 or {} as `outputs`", shape.width, shape.outputs));
        }
        if shape.nodes != 2 * shape.splits + shape.trees {
            let Shape { nodes, splits, trees, .. } = shape;
            return Err(format!("{trees} trees with {splits} splits have {nodes} nodes, which is no binary tree"));
        }
        Ok(shape)
    }

    pub(super) fn precision(&self, name: &str) -> Read<Precision> {
        match self.text(name)? {
            "float32" => Ok(Precision::Single),
            "float64" => Ok(Precision::Double),
            other => Err(format!("`{name}` is {other:?}, expected \"float32\" or \"float64\"")),
        }
    }

    pub(super) fn link(&self) -> Read<Link> {
        Ok(match self.text("link")? {
            "identity" => Link::Identity,
            "sigmoid" => Link::Sigmoid(self.finite("link_factor")?),
            "exp" => Link::Exp,
            "softmax" => Link::Softmax,
            "scaled_softmax" => Link::ScaledSoftmax(self.finite("link_factor")?),
            "isolation" => match self.finite("link_factor")? {
                expected if expected > 0.0 => Link::Isolation { expected, offset: self.finite("link_offset")? },
                other => return Err(format!("`link_factor` is {other}, expected more than 0")),
            },
            other => return Err(format!("`link` is {other:?}, which is not known")),
        })
    }

    fn finite(&self, name: &str) -> Read<f64> {
        self.number(name).and_then(|number| {
            number
                .is_finite()
                .then_some(number)
                .ok_or_else(|| format!("`{name}` is {number}, expected a finite number"))
        })
    }

    /// What sums begin with and are divided by, and what is done with rows first.
    pub(super) fn prepare(&self, shape: &Shape, builder: &mut Builder) -> Read<()> {
        let start = self.head.get("start").and_then(Value::numbers).filter(|start| start.len() == shape.outputs);
        let start = start.filter(|start| start.iter().all(|start| start.is_finite()));
        let start = start.ok_or_else(|| format!("`start` is not {} finite numbers", shape.outputs))?;
        if self.truth("adds_as_float32")? {
            builder.add_as_float32(start);
        } else {
            builder.start_with(start);
        }
        builder.average_over(u32::try_from(self.count("divisor", 1, u32::MAX)?).unwrap_or(u32::MAX));
        let whole = self.head.get("whole_columns").and_then(Value::numbers).unwrap_or_default();
        let column = |column: &f64| {
            let known = natural(*column).map(|column| column as usize).filter(|column| *column < shape.features);
            known.ok_or_else(|| format!("`whole_columns` has {column}"))
        };
        builder.miss_fractions(whole.iter().map(column).collect::<Read<_>>()?);
        Ok(())
    }

    /// Another library's model, with labels for its classes.
    pub(super) fn wrapped(&self, model: TreeModel<Builder>) -> Read<TreeModel<Builder>> {
        Ok(TreeModel { answer: self.answer(model.trees.outputs())?, ..model })
    }

    pub(super) fn answer(&self, outputs: usize) -> Read<Answer> {
        let choice = match self.text("choice")? {
            "none" => return Ok(Answer::Values),
            "largest" => Choice::Largest,
            "beyond" => Choice::Beyond(self.finite("bound")?),
            "at_least" => Choice::AtLeast(self.finite("bound")?),
            other => return Err(format!("`choice` is {other:?}, which is not known")),
        };
        let labels = match (self.texts("int_labels")?, self.texts("text_labels")?) {
            (Some(ints), None) => {
                let int = |text: &String| text.parse().map_err(|_| format!("`int_labels` has {text:?}"));
                Labels::Ints(ints.iter().map(int).collect::<Read<_>>()?)
            }
            (None, Some(texts)) => Labels::Texts(texts),
            _ => return Err("has no labels of classes, or two kinds of them".to_owned()),
        };
        let expected = if choice == Choice::Largest { outputs } else { 2 };
        let count = match &labels {
            Labels::Ints(labels) => labels.len(),
            Labels::Texts(labels) => labels.len(),
        };
        if count != expected || (choice == Choice::Largest) == (outputs == 1) {
            return Err(format!("has {count} labels of classes and {outputs} outputs, which do not fit"));
        }
        Ok(Answer::Label { labels, choice, by_sums: self.truth("chooses_by_sums")? })
    }
}
