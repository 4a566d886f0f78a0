//! Whether two answers to the same rows are the same, but for the last bits that engines differ in between batch sizes.

use crate::tensor::{DType, Value};

/// Relative difference that rounding explains in a model of many layers.
const SINGLE: f64 = 1e-4;
const HALF: f64 = 1e-2;
const DOUBLE: f64 = 1e-10;

/// Whether `piece` is what `whole` has from row `start` on; both hold an output's rows.
pub(super) fn agree(whole: &Value, start: usize, piece: &Value) -> bool {
    match (whole, piece) {
        (Value::Tensor(whole), Value::Tensor(piece)) => {
            let Some(rows) = whole.shape.first().and_then(|rows| usize::try_from(*rows).ok()) else { return false };
            let bytes = whole.storage.bytes();
            let at = bytes.len().checked_div(rows).map_or(0, |per_row| per_row * start);
            let found = piece.storage.bytes();
            let expected = bytes.get(at..).and_then(|rest| rest.get(..found.len()));
            let same_rows = whole.dtype == piece.dtype && whole.shape.get(1..) == piece.shape.get(1..);
            expected.is_some_and(|expected| same_rows && close(whole.dtype, expected, found))
        }
        (Value::Strings(whole_shape, whole), Value::Strings(shape, piece)) => {
            let rows = whole_shape.first().and_then(|rows| usize::try_from(*rows).ok());
            let Some(per_row) = rows.and_then(|rows| whole.len().checked_div(rows)) else { return false };
            whole_shape.get(1..) == shape.get(1..)
                && whole.iter().skip(start * per_row).take(piece.len()).eq(piece.iter())
        }
        (Value::Sequence(whole), Value::Sequence(piece)) => {
            let expected = whole.get(start..).and_then(|rest| rest.get(..piece.len()));
            expected.is_some_and(|expected| expected.iter().zip(piece).all(|(whole, piece)| agree(whole, 0, piece)))
        }
        (Value::Map(whole), Value::Map(piece)) => agree(&whole.0, 0, &piece.0) && agree(&whole.1, 0, &piece.1),
        _ => false,
    }
}

fn close(dtype: DType, expected: &[u8], found: &[u8]) -> bool {
    match dtype {
        DType::Float16 => floats(expected, found, HALF, |bytes: [u8; 2]| half(u16::from_ne_bytes(bytes))),
        DType::Float32 => floats(expected, found, SINGLE, |bytes| f64::from(f32::from_ne_bytes(bytes))),
        DType::Float64 => floats(expected, found, DOUBLE, f64::from_ne_bytes),
        _ => expected == found,
    }
}

/// Differences count relative to the largest number, because a small one may be what is left of large ones.
fn floats<const N: usize>(expected: &[u8], found: &[u8], tolerance: f64, read: impl Fn([u8; N]) -> f64) -> bool {
    let numbers = |bytes: &'_ [u8]| bytes.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect::<Vec<f64>>();
    let (expected, found) = (numbers(expected), numbers(found));
    let scale = expected.iter().filter(|number| number.is_finite()).fold(0_f64, |most, number| most.max(number.abs()));
    expected.iter().zip(&found).all(|(expected, found)| {
        #[allow(clippy::float_cmp)]
        let is_same = expected == found || (expected.is_nan() && found.is_nan());
        is_same || (expected - found).abs() <= tolerance * scale
    })
}

/// The number that these bits are in half precision.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0x1f if fraction > 0.0 => f64::NAN,
        0x1f => f64::INFINITY,
        0 => fraction * 2_f64.powi(-24),
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{EngineTensor, Shape};

    fn tensor(shape: &[i64], numbers: &[f32]) -> Value {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        Value::Tensor(EngineTensor { dtype: DType::Float32, shape: Shape::from_slice(shape), storage: Box::new(bytes) })
    }

    fn strings(texts: &[&str]) -> Value {
        let shape = Shape::from_slice(&[i64::try_from(texts.len()).unwrap()]);
        Value::Strings(shape, texts.iter().copied().collect())
    }

    #[test]
    fn answers_are_compared_row_by_row() {
        let whole = tensor(&[3, 2], &[1.0, 2.0, 3.0, f32::NAN, 5.0, f32::INFINITY]);
        let cases = [
            (1, tensor(&[2, 2], &[3.0, f32::NAN, 5.0, f32::INFINITY]), true),
            (1, tensor(&[1, 2], &[3.000_01, f32::NAN]), true),
            (1, tensor(&[1, 2], &[3.1, f32::NAN]), false),
            (1, tensor(&[1, 2], &[3.0, 4.0]), false),
            (2, tensor(&[1, 2], &[5.0, f32::MAX]), false),
            (2, tensor(&[2, 2], &[5.0, f32::INFINITY, 0.0, 0.0]), false),
            (1, tensor(&[2, 1], &[3.0, f32::NAN]), false),
            (0, strings(&["1"]), false),
        ];
        for (start, piece, expected) in cases {
            assert_eq!(agree(&whole, start, &piece), expected, "{start} {piece:?}");
        }
        assert!(agree(&strings(&["a", "b", "c"]), 1, &strings(&["b", "c"])));
        assert!(!agree(&strings(&["a", "b", "c"]), 1, &strings(&["c"])));
        let maps = |number: f32| Value::Map(Box::new((strings(&["k"]), tensor(&[1], &[number]))));
        assert!(agree(&Value::Sequence(vec![maps(1.0), maps(2.0)]), 1, &Value::Sequence(vec![maps(2.0)])));
        assert!(!agree(&Value::Sequence(vec![maps(1.0), maps(2.0)]), 0, &Value::Sequence(vec![maps(2.0)])));
    }

    #[test]
    fn half_precision_is_read() {
        let cases =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 2_f64.powi(-24)), (0x7bff, 65504.0), (0x7c00, f64::INFINITY)];
        for (bits, expected) in cases {
            assert_eq!(half(bits).to_bits(), f64::to_bits(expected), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}
