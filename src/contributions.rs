//! What each feature adds to a row's margin, as objects by name: for answers that are not arrays.

use crate::tensor::{DType, EngineTensor, Shape, Strings, Value};

/// The keys of an object.
const EXPECTED: &str = "expected_value";
const CONTRIBUTIONS: &str = "contributions";

/// For each row what is expected of any row and what each feature adds, by its name where names are known, be it of features
/// or of inputs that are `columns`; for several classes a list of these. Anything else than contributions comes back as it is.
pub(crate) fn named(value: Value, features: Option<&[String]>, columns: Vec<&str>) -> Value {
    let Value::Tensor(tensor) = value else { return value };
    let sizes: Option<Vec<usize>> = tensor.shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    let (rows, classes, width) = match sizes.as_deref() {
        Some([rows, width]) if *width > 0 => (*rows, None, *width),
        Some([rows, classes, width]) if *width > 0 => (*rows, Some(*classes), *width),
        _ => return Value::Tensor(tensor),
    };
    let names = features.map_or(columns, |features| features.iter().map(String::as_str).collect());
    let names = Some(names.as_slice()).filter(|names| names.len() + 1 == width);
    let mut numbers = tensor.storage.bytes().chunks_exact(width * DType::Float64.size());
    let mut next = || numbers.next().map_or(Value::Absent, |numbers| one(numbers, names));
    let row = |_| match classes {
        None => next(),
        Some(classes) => Value::Sequence((0..classes).map(|_| next()).collect()),
    };
    Value::Sequence((0..rows).map(row).collect())
}

/// The contributions of the features and the expected value behind them.
fn one(numbers: &[u8], names: Option<&[&str]>) -> Value {
    let (contributions, expected) = numbers.split_at(numbers.len().saturating_sub(DType::Float64.size()));
    let count = i64::try_from(contributions.len() / DType::Float64.size()).unwrap_or(i64::MAX);
    let list = tensor(&[count], contributions);
    let contributions = match names {
        Some(names) => map(names.iter().copied().collect(), list),
        None => list,
    };
    let keys = [EXPECTED, CONTRIBUTIONS].into_iter().collect();
    map(keys, Value::Sequence(vec![tensor(&[], expected), contributions]))
}

fn map(keys: Strings, values: Value) -> Value {
    let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    Value::Map(Box::new((Value::Strings(Shape::from_slice(&[count]), keys), values)))
}

fn tensor(shape: &[i64], bytes: &[u8]) -> Value {
    let storage = Box::new(bytes.to_vec());
    Value::Tensor(EngineTensor { dtype: DType::Float64, shape: Shape::from_slice(shape), storage })
}
