//! Puts the answers to pieces together where there was no buffer to write them into.

use crate::tensor::{Buffer, EngineTensor, OutputBuffer, OutputRequest, Strings, Value};

/// Requests for the rows of a range, with that part of the buffers.
pub(super) fn requests_for(requests: &[OutputRequest], range: &std::ops::Range<usize>) -> Option<Vec<OutputRequest>> {
    let part = |request: &OutputRequest| {
        let buffer: Option<OutputBuffer> = match &request.buffer {
            Some(buffer) => Some(buffer.rows(range.clone())?),
            None => None,
        };
        Some(OutputRequest { index: request.index, buffer })
    };
    requests.iter().map(part).collect()
}

/// Moves what the engine did not write into its buffer there; says whether every answer has `rows` rows.
pub(super) fn settle(values: &mut [Value], requests: &[OutputRequest], rows: usize) -> bool {
    values.iter_mut().zip(requests).all(|(value, request)| match (&request.buffer, &*value) {
        (_, Value::Written) => true,
        (Some(buffer), Value::Tensor(tensor)) => {
            let fits = tensor.shape == buffer.shape && buffer.data.copy_from(tensor.storage.bytes());
            if fits {
                *value = Value::Written;
            }
            fits
        }
        (Some(_), _) => false,
        (None, value) => rows_of(value) == Some(rows),
    })
}

/// Rows of an answer that has such.
fn rows_of(value: &Value) -> Option<usize> {
    match value {
        Value::Tensor(EngineTensor { shape, .. }) | Value::Strings(shape, _) => usize::try_from(*shape.first()?).ok(),
        Value::Sequence(values) => Some(values.len()),
        Value::Written | Value::Map(_) | Value::Absent => None,
    }
}

/// Joins answers to one output, in the order of their rows; `None` if they do not fit each other.
pub(super) fn join(pieces: Vec<Value>) -> Option<Value> {
    let mut pieces = pieces.into_iter();
    let first = pieces.next()?;
    if pieces.len() == 0 {
        return Some(first);
    }
    match first {
        Value::Written => pieces.all(|piece| matches!(piece, Value::Written)).then_some(Value::Written),
        Value::Tensor(first) => join_tensors(first, pieces),
        Value::Strings(mut shape, first) => {
            let mut joined: Strings = first;
            for piece in pieces {
                let Value::Strings(more, strings) = piece else { return None };
                if shape.get(1..) != more.get(1..) {
                    return None;
                }
                shape[0] += more[0];
                joined.append(&strings);
            }
            Some(Value::Strings(shape, joined))
        }
        Value::Sequence(mut joined) => {
            for piece in pieces {
                let Value::Sequence(values) = piece else { return None };
                joined.extend(values);
            }
            Some(Value::Sequence(joined))
        }
        Value::Map(_) | Value::Absent => None,
    }
}

fn join_tensors(first: EngineTensor, rest: impl Iterator<Item = Value>) -> Option<Value> {
    let (dtype, mut shape) = (first.dtype, first.shape.clone());
    let mut tensors = vec![first];
    for piece in rest {
        let Value::Tensor(tensor) = piece else { return None };
        if tensor.dtype != dtype || tensor.shape.get(1..) != shape.get(1..) {
            return None;
        }
        shape[0] = shape[0].checked_add(tensor.shape[0])?;
        tensors.push(tensor);
    }
    let mut joined = Buffer::zeroed(tensors.iter().map(|tensor| tensor.storage.bytes().len()).sum());
    let mut rest = joined.as_bytes_mut();
    // Each tensor is given back once it is copied: both together would take the memory twice.
    for tensor in tensors {
        let bytes = tensor.storage.bytes();
        let (part, more) = rest.split_at_mut_checked(bytes.len())?;
        part.copy_from_slice(bytes);
        rest = more;
    }
    Some(Value::Tensor(EngineTensor { dtype, shape, storage: Box::new(joined) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, Shape};

    fn tensor(rows: i64, bytes: &[u8]) -> Value {
        let shape = Shape::from_slice(&[rows, 2]);
        Value::Tensor(EngineTensor { dtype: DType::Uint8, shape, storage: Box::new(bytes.to_vec()) })
    }

    fn strings(texts: &[&str]) -> Value {
        let shape = Shape::from_slice(&[i64::try_from(texts.len()).unwrap()]);
        Value::Strings(shape, texts.iter().copied().collect())
    }

    #[test]
    fn pieces_are_joined_in_order() {
        let Some(Value::Tensor(joined)) = join(vec![tensor(1, &[1, 2]), tensor(2, &[3, 4, 5, 6]), tensor(0, &[])])
        else {
            panic!()
        };
        assert_eq!((&joined.shape[..], joined.storage.bytes()), (&[3, 2][..], &[1, 2, 3, 4, 5, 6][..]));
        let Some(Value::Strings(shape, joined)) = join(vec![strings(&["a", ""]), strings(&["b"])]) else { panic!() };
        assert_eq!((&shape[..], joined.iter().collect::<Vec<_>>()), (&[3][..], vec!["a", "", "b"]));
        let sequence = join(vec![Value::Sequence(vec![tensor(1, &[1, 2])]), Value::Sequence(vec![])]);
        assert!(matches!(sequence, Some(Value::Sequence(values)) if values.len() == 1));
        assert!(matches!(join(vec![Value::Written, Value::Written]), Some(Value::Written)));
        assert!(join(vec![Value::Written, tensor(1, &[1, 2])]).is_none());
        assert!(join(vec![tensor(1, &[1, 2]), strings(&["a"])]).is_none());
    }
}
