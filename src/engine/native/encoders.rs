//! Categories: texts and numbers as other labels, or as columns of zeros and ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::attributes::{float, int, only};
use super::casts::to_int64;
use super::planner::{Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::Axis;
use super::values::{Constant, Element, Values, by_kind};
use crate::onnx::{Array, Data, FullNode};
use crate::tensor::DType;

/// Of so few texts, comparing with each takes less than hashing.
const FEW: usize = 8;

/// What labels are looked up by.
#[derive(Debug)]
enum Keys {
    FewTexts(Vec<Box<str>>),
    Texts(HashMap<Box<str>, u32>),
    Ints(HashMap<i64, u32>),
    /// Bits of floating point, of which zeros and missing numbers have one each.
    Numbers(HashMap<u64, u32>),
}

/// Labels as other labels.
#[derive(Debug)]
struct Relabel {
    keys: Keys,
    dtype: DType,
    /// One for each key, and the one for all others at the end.
    labels: Constant,
    from: usize,
    to: usize,
}

/// A column for each category.
#[derive(Debug)]
struct OneHot {
    keys: Keys,
    categories: usize,
    /// Whether what is no category has zeros only.
    zeros: bool,
    from: usize,
    to: usize,
}

impl Keys {
    /// Of keys that are there twice the first one counts.
    fn new(keys: &Constant) -> Planned<Self> {
        fn index<T: std::hash::Hash + Eq>(keys: impl Iterator<Item = T>) -> HashMap<T, u32> {
            let mut known = HashMap::with_capacity(keys.size_hint().0);
            for (key, at) in keys.zip(0..) {
                if let Entry::Vacant(entry) = known.entry(key) {
                    entry.insert(at);
                }
            }
            known
        }
        Ok(match keys {
            Constant::Texts(texts) if texts.len() <= FEW => {
                Self::FewTexts(texts.iter().map(|text| text.as_str().into()).collect())
            }
            Constant::Texts(texts) => Self::Texts(index(texts.iter().map(|text| text.as_str().into()))),
            Constant::Ints(ints) => Self::Ints(index(ints.iter().copied())),
            Constant::Floats(floats) => Self::Numbers(index(floats.iter().map(|key| bits(f64::from(*key))))),
            Constant::Doubles(doubles) => Self::Numbers(index(doubles.iter().map(|key| bits(*key)))),
            Constant::Bools(_) => return Err("keys of a type that is not known".to_owned()),
        })
    }

    /// How many different ones there are.
    fn len(&self) -> usize {
        match self {
            Self::FewTexts(keys) => (0..keys.len()).filter(|at| !keys[..*at].contains(&keys[*at])).count(),
            Self::Texts(keys) => keys.len(),
            Self::Ints(keys) => keys.len(),
            Self::Numbers(keys) => keys.len(),
        }
    }

    /// Gives the number of each element's key, and the element's place.
    fn each(&self, values: &Values<'_>, mut give: impl FnMut(usize, Option<u32>)) {
        match (self, values) {
            (Self::FewTexts(keys), Values::Texts(texts)) => {
                let key = |text: &str| (0..).zip(keys).find(|(_, key)| ***key == *text).map(|(at, _)| at);
                texts.iter().enumerate().for_each(|(at, text)| give(at, key(text)));
            }
            (Self::Texts(keys), Values::Texts(texts)) => {
                texts.iter().enumerate().for_each(|(at, text)| give(at, keys.get(*text).copied()));
            }
            (Self::Ints(keys), Values::Ints(ints)) => {
                ints.iter().enumerate().for_each(|(at, int)| give(at, keys.get(int).copied()));
            }
            (Self::Ints(keys), Values::Floats(floats)) => {
                let key = |float: f32| keys.get(&to_int64(f64::from(float))).copied();
                floats.iter().enumerate().for_each(|(at, float)| give(at, key(*float)));
            }
            (Self::Ints(keys), Values::Doubles(doubles)) => {
                doubles.iter().enumerate().for_each(|(at, double)| give(at, keys.get(&to_int64(*double)).copied()));
            }
            (Self::Numbers(keys), Values::Floats(floats)) => {
                let key = |float: f32| keys.get(&bits(f64::from(float))).copied();
                floats.iter().enumerate().for_each(|(at, float)| give(at, key(*float)));
            }
            (Self::Numbers(keys), Values::Doubles(doubles)) => {
                doubles.iter().enumerate().for_each(|(at, double)| give(at, keys.get(&bits(*double)).copied()));
            }
            _ => {}
        }
    }
}

/// What a number is looked up by.
fn bits(number: f64) -> u64 {
    if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() }
}

pub(super) fn label_encoder<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let value = planner.value(node, 0)?;
    if planner.ml_version < 2 {
        return first_label_encoder(planner, node, value);
    }
    let lists = ["keys_strings", "keys_int64s", "keys_floats", "values_strings", "values_int64s", "values_floats"];
    let defaults = ["default_string", "default_int64", "default_float"];
    let tensors: &[&str] =
        if planner.ml_version < 4 { &[] } else { &["keys_tensor", "values_tensor", "default_tensor"] };
    only(node, &[&lists[..], &defaults, tensors].concat())?;
    let (keys, mut labels) = (list(node, "keys")?, list(node, "values")?);
    if len(&keys) != len(&labels) {
        return Err("other numbers of keys than of values".to_owned());
    }
    let default = match node.get("default_tensor") {
        Some(data) => tensor(data)?,
        None => match &labels {
            Constant::Texts(_) => Constant::Texts(vec![text(node, "default_string")?]),
            Constant::Ints(_) => Constant::Ints(vec![int(node, "default_int64", -1)?]),
            Constant::Doubles(_) => return Err("no default of float64".to_owned()),
            _ => Constant::Floats(vec![float(node, "default_float", -0.0)?]),
        },
    };
    match (&mut labels, default) {
        (Constant::Texts(labels), Constant::Texts(default)) if default.len() == 1 => labels.extend(default),
        (Constant::Ints(labels), Constant::Ints(default)) if default.len() == 1 => labels.extend(default),
        (Constant::Floats(labels), Constant::Floats(default)) if default.len() == 1 => labels.extend(default),
        (Constant::Doubles(labels), Constant::Doubles(default)) if default.len() == 1 => labels.extend(default),
        _ => return Err("a default of another type".to_owned()),
    }
    // Before version 4 a missing number is equal to no key, not even to a missing one.
    let is_nan = |keys: &Constant| match keys {
        Constant::Floats(keys) => keys.iter().any(|key| key.is_nan()),
        _ => false,
    };
    if planner.ml_version < 4 && is_nan(&keys) {
        return Err("a missing number as a key".to_owned());
    }
    relabel(planner, node, value, &keys, labels)
}

/// Version 1: texts as their numbers, or numbers as texts.
fn first_label_encoder<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>, value: Value) -> Planned<()> {
    only(node, &["classes_strings", "default_int64", "default_string"])?;
    let texts = node.texts("classes_strings").ok_or("no texts in `classes_strings`")?;
    let numbers: Vec<i64> = (0..).take(texts.len()).collect();
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    between(planner, node, value, texts, numbers)
}

pub(super) fn category_mapper<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["cats_strings", "cats_int64s", "default_int64", "default_string"])?;
    let value = planner.value(node, 0)?;
    let (texts, numbers) = (node.texts("cats_strings"), node.ints("cats_int64s"));
    let (texts, numbers) = texts.zip(numbers).ok_or("categories of another type")?;
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    between(planner, node, value, texts, numbers.to_vec())
}

/// Texts as numbers or numbers as texts, by the type of `value`.
fn between<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    value: Value,
    mut texts: Vec<String>,
    mut numbers: Vec<i64>,
) -> Planned<()> {
    let count = texts.len();
    let different = |texts: &[String], numbers: &[i64]| {
        let texts: std::collections::HashSet<_> = texts.iter().collect();
        let numbers: std::collections::HashSet<_> = numbers.iter().collect();
        texts.len() == count && numbers.len() == count
    };
    if numbers.len() != count || !different(&texts, &numbers) {
        return Err("categories that are not one to one".to_owned());
    }
    if value.dtype == DType::String {
        let keys = Constant::Texts(texts);
        numbers.push(int(node, "default_int64", -1)?);
        relabel(planner, node, value, &keys, Constant::Ints(numbers))
    } else {
        let keys = Constant::Ints(numbers);
        texts.push(text(node, "default_string")?);
        relabel(planner, node, value, &keys, Constant::Texts(texts))
    }
}

fn relabel<'a>(
    planner: &mut Planner<'a>,
    node: &FullNode<'a>,
    value: Value,
    keys: &Constant,
    labels: Constant,
) -> Planned<()> {
    let dtype_of = |list: &Constant| match list {
        Constant::Texts(_) => DType::String,
        Constant::Ints(_) => DType::Int64,
        Constant::Floats(_) => DType::Float32,
        _ => DType::Float64,
    };
    let dtype = dtype_of(&labels);
    if dtype_of(keys) != value.dtype {
        return Err(format!("keys of another type than its input of {}", value.dtype));
    }
    let keys = Keys::new(keys)?;
    planner.emit(node, dtype, value.shape, |to| Relabel { keys, dtype, labels, from: value.slot, to })
}

/// The one list of keys, or of values, that a node has.
fn list(node: &FullNode<'_>, what: &str) -> Planned<Constant> {
    let name = |kind: &str| format!("{what}_{kind}");
    let mut lists = Vec::new();
    if let Some(texts @ [_, ..]) = node.texts(&name("strings")) {
        lists.push(Constant::Texts(texts.iter().map(|text| (*text).to_owned()).collect()));
    }
    if let Some(ints @ [_, ..]) = node.ints(&name("int64s")) {
        lists.push(Constant::Ints(ints.to_vec()));
    }
    if let Some(floats @ [_, ..]) = node.floats(&name("floats")) {
        lists.push(Constant::Floats(floats.to_vec()));
    }
    if let Some(data) = node.get(&name("tensor")) {
        lists.push(tensor(data)?);
    }
    let one = lists.pop().filter(|_| lists.is_empty());
    one.ok_or_else(|| format!("not one list of {what}"))
}

fn tensor(data: &Data<'_>) -> Planned<Constant> {
    let Data::Tensor(constant) = data else { return Err("no tensor where one should be".to_owned()) };
    Ok(match &constant.array {
        Array::Texts(texts) => Constant::Texts(texts.iter().map(|text| (*text).to_owned()).collect()),
        Array::Ints(ints) => Constant::Ints(ints.clone()),
        Array::Floats(floats) => Constant::Floats(floats.clone()),
        Array::Doubles(doubles) => Constant::Doubles(doubles.clone()),
        _ => return Err("a tensor of a type that is not known".to_owned()),
    })
}

fn len(constant: &Constant) -> usize {
    constant.values().len()
}

fn text(node: &FullNode<'_>, name: &str) -> Planned<String> {
    node.text(name, "_Unused").map(str::to_owned).ok_or_else(|| format!("no text in `{name}`"))
}

pub(super) fn one_hot_encoder<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["cats_int64s", "cats_strings", "zeros"])?;
    let value = planner.value(node, 0)?;
    let lists = (node.texts("cats_strings"), node.ints("cats_int64s"));
    let categories = match lists {
        (Some([]), Some(ints @ [_, ..])) if value.dtype != DType::String => Constant::Ints(ints.to_vec()),
        (Some(texts @ [_, ..]), Some([])) if value.dtype == DType::String => {
            Constant::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
        }
        _ => return Err("categories of another type than its input".to_owned()),
    };
    let is_known = matches!(value.dtype, DType::String | DType::Int64 | DType::Float32 | DType::Float64);
    let keys = Keys::new(&categories)?;
    let count = len(&categories);
    if !is_known || value.shape.len() > 2 || keys.len() != count {
        return Err("an input of another type or rank, or one category twice".to_owned());
    }
    let zeros = int(node, "zeros", 1)? != 0;
    let mut shape = value.shape;
    shape.push(Axis::Size(count));
    planner.emit(node, DType::Float32, shape, |to| OneHot { keys, categories: count, zeros, from: value.slot, to })
}

fn run_relabel<'a, T: Element<'a>>(block: &mut Block<'a>, step: &'a Relabel) {
    let labels = step.labels.values();
    let Some((default, labels)) = T::of(&labels).and_then(<[T]>::split_last) else { return };
    block.make(step.to, |block, out| {
        let label = |key: Option<u32>| key.and_then(|key| labels.get(key as usize)).unwrap_or(default);
        step.keys.each(block.slot(step.from), |_, key| out.push(*label(key)));
    });
}

impl Step for Relabel {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        by_kind!(self.dtype, run_relabel(block, self));
        Ok(())
    }
}

impl Step for OneHot {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let mut unknown = None;
        block.make(self.to, |block, out| {
            let values = block.slot(self.from);
            out.resize(values.len() * self.categories, 0_f32);
            self.keys.each(values, |at, key| match key {
                Some(key) => out[at * self.categories + key as usize] = 1.0,
                None => unknown = unknown.or(Some(at)),
            });
        });
        match unknown {
            Some(at) if !self.zeros => Err(Trouble {
                problem: format!(
                    "got the category {}, which the model does not know",
                    shown(block.slot(self.from), at)
                ),
                fix: "pass categories that the model was trained with, or train it to ignore others",
            }),
            _ => Ok(()),
        }
    }
}

/// An element as errors show it.
fn shown(values: &Values<'_>, at: usize) -> String {
    match values {
        Values::Texts(texts) => texts.get(at).map(|text| format!("{:?}", text.chars().take(40).collect::<String>())),
        Values::Ints(ints) => ints.get(at).map(ToString::to_string),
        Values::Floats(floats) => floats.get(at).map(ToString::to_string),
        Values::Doubles(doubles) => doubles.get(at).map(ToString::to_string),
        Values::Bools(bools) => bools.get(at).map(ToString::to_string),
    }
    .unwrap_or_default()
}
