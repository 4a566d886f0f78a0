//! One scalar as the bytes of one element: the policy for what may become what.
//!
//! Into floats goes any number, rounded, unless it overflows; into integers what they hold exactly; into booleans only
//! booleans; into text only text.

use std::fmt;

use crate::half;
use crate::tensor::DType;

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// JSON's `null`, Python's `None`: NaN for floats, an error for everything else.
    Null,
    /// True or false; 1 or 0 for numbers.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64`.
    Uint(u64),
    /// Any other number, also a whole one beyond `u64`.
    Float(f64),
    /// A finite number beyond `f64`, which nothing can hold.
    Huge,
    /// Text.
    Text(&'a str),
}

/// How much of a text an error shows.
const TEXT_SHOWN: usize = 40;

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Float(value) if value.abs() < 1e16 => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:e}"),
            Self::Huge => f.write_str("a number beyond float64"),
            Self::Text(text) if text.chars().count() > TEXT_SHOWN => {
                write!(f, "the text {:?}…", text.chars().take(TEXT_SHOWN).collect::<String>())
            }
            Self::Text(text) => write!(f, "the text {text:?}"),
        }
    }
}

/// Why a scalar cannot become an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// There is no value for this dtype.
    Null,
    /// Text for a number, a number for text, and the like.
    Kind,
    /// A finite number would become infinite.
    Overflow,
    /// A whole number outside the dtype's range.
    Range,
    /// Not a whole number.
    Fraction,
    /// A float so large that it stands for several whole numbers.
    Inexact,
}

impl Misfit {
    /// Whether another dtype is at fault rather than the value.
    pub(crate) fn is_type(self) -> bool {
        matches!(self, Self::Null | Self::Kind)
    }

    /// What was got and expected, and what to do.
    pub(crate) fn words(self, scalar: Scalar<'_>, dtype: DType) -> (String, &'static str) {
        let noun = match dtype {
            DType::Float16 | DType::Float32 | DType::Float64 => "a number",
            DType::Bool => "true or false",
            DType::String => "text",
            _ => "a whole number",
        };
        let expected = if dtype == DType::String { noun.to_owned() } else { format!("{noun} ({dtype})") };
        match self {
            Self::Null => (
                format!("got null, expected {expected}"),
                "give every row a value; only float inputs take null, as NaN",
            ),
            Self::Kind => {
                let fix = match dtype {
                    DType::Bool => "pass true or false; numbers are not taken for them",
                    DType::String => "pass text; numbers are not made into it",
                    _ => "pass a number; text is not parsed",
                };
                (format!("got {scalar}, expected {expected}"), fix)
            }
            Self::Overflow => {
                (format!("got {scalar}, expected a number that fits {dtype}"), "scale or clip the values")
            }
            Self::Range => {
                let (low, high) = int_range(dtype);
                let problem = format!("got {scalar}, expected {low} to {high} for {dtype}");
                (problem, "check the values; none may be lost")
            }
            Self::Fraction => {
                (format!("got {scalar}, expected {expected}"), "round the values first, if that is what is meant")
            }
            Self::Inexact => (
                format!("got {scalar} as a float, which stands for several whole numbers, expected {expected}"),
                "write it as a whole number, without point and exponent",
            ),
        }
    }
}

fn int_range(dtype: DType) -> (i128, i128) {
    match dtype {
        DType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DType::Uint8 => (0, u8::MAX.into()),
        DType::Uint16 => (0, u16::MAX.into()),
        DType::Uint32 => (0, u32::MAX.into()),
        DType::Uint64 => (0, u64::MAX.into()),
        _ => (0, 1),
    }
}

/// Writes `scalar` as an element of `dtype`, which is not text; `out` has its size.
#[inline]
pub(crate) fn write(dtype: DType, scalar: Scalar<'_>, out: &mut [u8]) -> Result<(), Misfit> {
    match dtype {
        DType::Float32 => out.copy_from_slice(&float32(scalar)?.to_ne_bytes()),
        DType::Float64 => out.copy_from_slice(&float64(scalar)?.to_ne_bytes()),
        DType::Float16 => out.copy_from_slice(&float16(scalar)?.to_ne_bytes()),
        DType::Bool => match scalar {
            Scalar::Bool(value) => out[0] = u8::from(value),
            Scalar::Null => return Err(Misfit::Null),
            _ => return Err(Misfit::Kind),
        },
        DType::Int8 => out.copy_from_slice(&int::<i8>(scalar)?.to_ne_bytes()),
        DType::Int16 => out.copy_from_slice(&int::<i16>(scalar)?.to_ne_bytes()),
        DType::Int32 => out.copy_from_slice(&int::<i32>(scalar)?.to_ne_bytes()),
        DType::Int64 => out.copy_from_slice(&int::<i64>(scalar)?.to_ne_bytes()),
        DType::Uint8 => out.copy_from_slice(&int::<u8>(scalar)?.to_ne_bytes()),
        DType::Uint16 => out.copy_from_slice(&int::<u16>(scalar)?.to_ne_bytes()),
        DType::Uint32 => out.copy_from_slice(&int::<u32>(scalar)?.to_ne_bytes()),
        DType::Uint64 => out.copy_from_slice(&int::<u64>(scalar)?.to_ne_bytes()),
        DType::String => return Err(Misfit::Kind),
    }
    Ok(())
}

// Rounding is the policy for floats.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
#[inline]
fn float32(scalar: Scalar<'_>) -> Result<f32, Misfit> {
    match scalar {
        Scalar::Float(value) => rounded(value).ok_or(Misfit::Overflow),
        // Not by way of `f64`, which would round twice.
        Scalar::Int(value) => Ok(value as f32),
        Scalar::Uint(value) => Ok(value as f32),
        other => Ok(float64(other)? as f32),
    }
}

/// The nearest `f32`, unless a finite number would become infinite.
#[allow(clippy::cast_possible_truncation)]
#[inline]
pub(crate) fn rounded(value: f64) -> Option<f32> {
    let rounded = value as f32;
    (rounded.is_finite() || !value.is_finite()).then_some(rounded)
}

#[allow(clippy::cast_precision_loss)]
#[inline]
fn float64(scalar: Scalar<'_>) -> Result<f64, Misfit> {
    match scalar {
        Scalar::Float(value) => Ok(value),
        Scalar::Int(value) => Ok(value as f64),
        Scalar::Uint(value) => Ok(value as f64),
        Scalar::Bool(value) => Ok(f64::from(u8::from(value))),
        Scalar::Null => Ok(f64::NAN),
        Scalar::Huge => Err(Misfit::Overflow),
        Scalar::Text(_) => Err(Misfit::Kind),
    }
}

/// Half precision as bits.
fn float16(scalar: Scalar<'_>) -> Result<u16, Misfit> {
    let value = float64(scalar)?;
    let bits = half::bits(value);
    if bits & 0x7fff == 0x7c00 && value.is_finite() { Err(Misfit::Overflow) } else { Ok(bits) }
}

/// Whole numbers a float may stand for: those it can tell from their neighbours.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

fn int<T: TryFrom<i64> + TryFrom<u64> + From<bool>>(scalar: Scalar<'_>) -> Result<T, Misfit> {
    match scalar {
        Scalar::Int(value) => T::try_from(value).map_err(|_| Misfit::Range),
        Scalar::Uint(value) => T::try_from(value).map_err(|_| Misfit::Range),
        Scalar::Bool(value) => Ok(T::from(value)),
        Scalar::Float(value) if value.fract() == 0.0 => {
            if value.abs() > 2_f64.powi(64) {
                return Err(Misfit::Range);
            }
            if value.abs() >= MOST_EXACT {
                return Err(Misfit::Inexact);
            }
            // Exact: it is whole and below 2^53.
            #[allow(clippy::cast_possible_truncation)]
            T::try_from(value as i64).map_err(|_| Misfit::Range)
        }
        Scalar::Float(_) => Err(Misfit::Fraction),
        Scalar::Huge => Err(Misfit::Range),
        Scalar::Null => Err(Misfit::Null),
        Scalar::Text(_) => Err(Misfit::Kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dtype: DType, scalar: Scalar<'_>) -> Result<Vec<u8>, Misfit> {
        let mut out = vec![0; dtype.size()];
        write(dtype, scalar, &mut out).map(|()| out)
    }

    #[test]
    fn scalars_become_elements_or_are_refused() {
        use DType::{Bool, Float16, Float32, Float64, Int8, Int64, Uint8, Uint64};
        use Scalar::{Float, Huge, Int, Null, Text, Uint};
        let f32 = |value: f32| Ok(value.to_ne_bytes().to_vec());
        let f64 = |value: f64| Ok(value.to_ne_bytes().to_vec());
        let cases: Vec<(DType, Scalar<'_>, Result<Vec<u8>, Misfit>)> = vec![
            (Float32, Float(0.1), f32(0.1)),
            (Float32, Float(-0.0), f32(-0.0)),
            (Float32, Float(3.5e38), Err(Misfit::Overflow)),
            (Float32, Float(f64::INFINITY), f32(f32::INFINITY)),
            (Float32, Float(1e-50), f32(0.0)),
            // Half way between two float32 by way of float64, above it in truth.
            (Float32, Int(9_007_199_791_611_905), f32(9_007_200_328_482_816.0)),
            (Float32, Int(16_777_217), f32(16_777_216.0)),
            (Float32, Uint(u64::MAX), f32(1.844_674_4e19)),
            (Float32, Scalar::Bool(true), f32(1.0)),
            (Float32, Huge, Err(Misfit::Overflow)),
            (Float32, Text("1"), Err(Misfit::Kind)),
            (Float64, Float(1e300), f64(1e300)),
            (Float64, Int(i64::MAX), f64(9.223_372_036_854_776e18)),
            (Float16, Float(65519.0), Ok(0x7bff_u16.to_ne_bytes().to_vec())),
            (Float16, Float(65520.0), Err(Misfit::Overflow)),
            (Float16, Int(70000), Err(Misfit::Overflow)),
            (Int8, Int(-128), Ok(vec![0x80])),
            (Int8, Int(128), Err(Misfit::Range)),
            (Int8, Float(-1.0), Ok(vec![0xff])),
            (Int8, Float(1.5), Err(Misfit::Fraction)),
            (Int8, Float(f64::NAN), Err(Misfit::Fraction)),
            (Int8, Float(f64::INFINITY), Err(Misfit::Fraction)),
            (Int8, Null, Err(Misfit::Null)),
            (Int8, Scalar::Bool(true), Ok(vec![1])),
            (Uint8, Int(-1), Err(Misfit::Range)),
            (Uint8, Float(-0.0), Ok(vec![0])),
            (Int64, Uint(u64::MAX), Err(Misfit::Range)),
            (Int64, Float(9_007_199_254_740_991.0), Ok(9_007_199_254_740_991_i64.to_ne_bytes().to_vec())),
            (Int64, Float(9_007_199_254_740_992.0), Err(Misfit::Inexact)),
            (Int64, Float(1e30), Err(Misfit::Range)),
            (Int64, Huge, Err(Misfit::Range)),
            (Uint64, Uint(u64::MAX), Ok(vec![0xff; 8])),
            (Bool, Scalar::Bool(true), Ok(vec![1])),
            (Bool, Int(1), Err(Misfit::Kind)),
            (Bool, Null, Err(Misfit::Null)),
        ];
        for (dtype, scalar, expected) in cases {
            assert_eq!(written(dtype, scalar), expected, "{scalar:?} as {dtype}");
        }
        let nan = written(Float32, Null).unwrap();
        assert!(f32::from_ne_bytes(nan.try_into().unwrap()).is_nan());
    }
}
