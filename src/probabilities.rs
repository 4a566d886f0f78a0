//! Probabilities as a matrix with a column per class, whatever form the model gives them in.

use crate::classifier::Probabilities;
use crate::error::{Error, ErrorKind, Result, list_names};
use crate::half;
use crate::onnx::Classes;
use crate::session::Session;
use crate::tensor::{DType, EngineTensor, Value};

/// Which output to run, or an error if none is known to hold probabilities.
pub(crate) fn source(session: &Session) -> Result<Probabilities> {
    session.probabilities().ok_or_else(|| {
        let outputs = list_names(session.signature().outputs().iter().map(|port| port.name.as_str()), 12);
        let problem = format!("has no output known to hold probabilities; its outputs are {outputs}");
        let fix = "use `predict` or `run`, or name the output `probabilities` when exporting the model";
        Error::new(ErrorKind::Input, session.signature().model(), problem, fix)
    })
}

/// The value of that output as a matrix.
pub(crate) fn matrix(value: Value, source: Probabilities, session: &Session) -> Result<Value> {
    in_columns(value, source, session.classes()).ok_or_else(|| {
        let problem = "got something else for the probabilities than the model declares";
        Error::new(ErrorKind::Engine, session.signature().model(), problem, "use `run` to see the model's raw outputs")
    })
}

/// `None` if the value is not what the source says.
pub(crate) fn in_columns(value: Value, source: Probabilities, classes: Option<&Classes>) -> Option<Value> {
    match (source, value) {
        (Probabilities::Matrix(_), value) => Some(value),
        (Probabilities::Positive(_), Value::Tensor(column)) => both_columns(&column),
        (Probabilities::Maps(_), Value::Sequence(maps)) => from_maps(&maps, classes),
        _ => None,
    }
}

/// Both columns from that of the second class, subtracted in its precision.
fn both_columns(column: &EngineTensor) -> Option<Value> {
    let bytes = column.storage.bytes();
    let mut both: Vec<u8> = Vec::with_capacity(bytes.len() * 2);
    macro_rules! subtract {
        ($type:ty, $first:expr) => {
            for chunk in bytes.as_chunks().0 {
                let first = $first(<$type>::from_ne_bytes(*chunk));
                both.extend_from_slice(&first.to_ne_bytes());
                both.extend_from_slice(chunk);
            }
        };
    }
    match column.dtype {
        DType::Float32 => subtract!(f32, |second| 1.0 - second),
        DType::Float64 => subtract!(f64, |second| 1.0 - second),
        DType::Float16 => subtract!(u16, |second| half::bits(1.0 - f64::from(half::value(second)))),
        _ => return None,
    }
    let rows = i64::try_from(bytes.len() / column.dtype.size()).ok()?;
    Some(tensor(column.dtype, rows, 2, both))
}

fn tensor(dtype: DType, rows: i64, columns: i64, bytes: Vec<u8>) -> Value {
    Value::Tensor(EngineTensor { dtype, shape: [rows, columns].into_iter().collect(), storage: Box::new(bytes) })
}

/// One map per row as a matrix with the columns in the order of `classes`.
fn from_maps(maps: &[Value], classes: Option<&Classes>) -> Option<Value> {
    let mut columns: Option<Vec<usize>> = None;
    let mut matrix: Vec<u8> = Vec::new();
    for map in maps {
        let Value::Map(pair) = map else { return None };
        let (keys, Value::Tensor(values)) = &**pair else { return None };
        let (values, []) = values.storage.bytes().as_chunks::<4>() else { return None };
        // Every row has the same classes: the engine's ZipMap writes them from one list.
        if columns.is_none() {
            columns = Some(column_order(keys, classes)?);
        }
        for column in columns.iter().flatten() {
            matrix.extend_from_slice(values.get(*column)?);
        }
    }
    let width = columns.map_or_else(|| classes.map_or(0, class_count), |columns| columns.len());
    Some(tensor(DType::Float32, i64::try_from(maps.len()).ok()?, i64::try_from(width).ok()?, matrix))
}

/// For each class, where its value is in a map with these keys; the engine sorts them.
fn column_order(keys: &Value, classes: Option<&Classes>) -> Option<Vec<usize>> {
    match (keys, classes) {
        (Value::Tensor(keys), Some(Classes::Ints(classes))) => {
            let keys: Vec<i64> =
                keys.storage.bytes().as_chunks().0.iter().map(|key| i64::from_ne_bytes(*key)).collect();
            classes.iter().map(|class| keys.iter().position(|key| key == class)).collect()
        }
        (Value::Strings(_, keys), Some(Classes::Strings(classes))) => {
            classes.iter().map(|class| keys.iter().position(|key| key == class)).collect()
        }
        (Value::Tensor(keys), _) => Some((0..keys.storage.bytes().len() / 8).collect()),
        (Value::Strings(_, keys), _) => Some((0..keys.len()).collect()),
        _ => None,
    }
}

fn class_count(classes: &Classes) -> usize {
    match classes {
        Classes::Ints(labels) => labels.len(),
        Classes::Strings(labels) => labels.len(),
    }
}
