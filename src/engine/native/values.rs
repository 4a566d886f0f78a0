//! The values of a block of rows, by kind.

use std::borrow::Cow;

use super::spare::Spare;
use crate::tensor::DType;

/// The elements of one value: those of one row after the other. Constants have those of one row, for all.
#[derive(Debug, Clone)]
pub(super) enum Values<'a> {
    Floats(Cow<'a, [f32]>),
    Doubles(Cow<'a, [f64]>),
    /// int64 and int32.
    Ints(Cow<'a, [i64]>),
    Bools(Cow<'a, [bool]>),
    /// Texts of the caller or of the model.
    Texts(Cow<'a, [&'a str]>),
}

/// The elements of a constant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Ints(Vec<i64>),
    Bools(Vec<bool>),
    Texts(Vec<String>),
}

/// What a value can be of.
pub(super) trait Element<'a>: Copy + PartialEq + 'a {
    /// The elements, if they are of this kind.
    fn of<'b>(values: &'b Values<'a>) -> Option<&'b [Self]>;
    /// The memory of a value that is no longer needed.
    fn reuse(values: Values<'a>) -> Vec<Self>;
    /// An empty list with memory.
    fn spare(spare: &mut Spare) -> Option<Vec<Self>>;
    fn wrap(elements: Vec<Self>) -> Values<'a>;
}

macro_rules! elements {
    ($($type:ty, $variant:ident, $spare:ident;)*) => {
        $(impl<'a> Element<'a> for $type {
            fn spare(spare: &mut Spare) -> Option<Vec<Self>> {
                spare.$spare.pop()
            }

            fn of<'b>(values: &'b Values<'a>) -> Option<&'b [Self]> {
                if let Values::$variant(elements) = values { Some(elements) } else { None }
            }

            fn reuse(values: Values<'a>) -> Vec<Self> {
                if let Values::$variant(Cow::Owned(elements)) = values { elements } else { Vec::new() }
            }

            fn wrap(elements: Vec<Self>) -> Values<'a> {
                Values::$variant(Cow::Owned(elements))
            }
        })*
    };
}

elements! {
    f32, Floats, floats;
    f64, Doubles, doubles;
    i64, Ints, ints;
    bool, Bools, bools;
    &'a str, Texts, texts;
}

/// Calls a function with the type of elements of `$dtype`.
macro_rules! by_kind {
    ($dtype:expr, $function:ident($($argument:expr),*)) => {
        match $dtype {
            $crate::tensor::DType::Float32 => $function::<f32>($($argument),*),
            $crate::tensor::DType::Float64 => $function::<f64>($($argument),*),
            $crate::tensor::DType::Bool => $function::<bool>($($argument),*),
            $crate::tensor::DType::String => $function::<&str>($($argument),*),
            // All whole numbers are held alike.
            _ => $function::<i64>($($argument),*),
        }
    };
}
pub(super) use by_kind;

impl Default for Values<'_> {
    fn default() -> Self {
        Self::Bools(Cow::Borrowed(&[]))
    }
}

impl Values<'_> {
    /// How many elements.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Floats(elements) => elements.len(),
            Self::Doubles(elements) => elements.len(),
            Self::Ints(elements) => elements.len(),
            Self::Bools(elements) => elements.len(),
            Self::Texts(elements) => elements.len(),
        }
    }

    /// Appends the bytes of elements that an output of `dtype` has.
    pub(super) fn write(&self, dtype: DType, bytes: &mut Vec<u8>) {
        match self {
            Self::Floats(elements) => bytes.extend(elements.iter().flat_map(|value| value.to_ne_bytes())),
            Self::Doubles(elements) => bytes.extend(elements.iter().flat_map(|value| value.to_ne_bytes())),
            #[allow(clippy::cast_possible_truncation, reason = "what is of int32 is within it")]
            Self::Ints(elements) if dtype == DType::Int32 => {
                bytes.extend(elements.iter().flat_map(|value| (*value as i32).to_ne_bytes()));
            }
            Self::Ints(elements) => bytes.extend(elements.iter().flat_map(|value| value.to_ne_bytes())),
            Self::Bools(elements) => bytes.extend(elements.iter().map(|value| u8::from(*value))),
            Self::Texts(_) => {}
        }
    }

    /// A constant of what a step made.
    pub(super) fn into_constant(self) -> Constant {
        match self {
            Self::Floats(elements) => Constant::Floats(elements.into_owned()),
            Self::Doubles(elements) => Constant::Doubles(elements.into_owned()),
            Self::Ints(elements) => Constant::Ints(elements.into_owned()),
            Self::Bools(elements) => Constant::Bools(elements.into_owned()),
            Self::Texts(elements) => Constant::Texts(elements.iter().map(|text| (*text).to_owned()).collect()),
        }
    }
}

impl Constant {
    pub(super) fn values(&self) -> Values<'_> {
        match self {
            Self::Floats(elements) => Values::Floats(Cow::Borrowed(elements)),
            Self::Doubles(elements) => Values::Doubles(Cow::Borrowed(elements)),
            Self::Ints(elements) => Values::Ints(Cow::Borrowed(elements)),
            Self::Bools(elements) => Values::Bools(Cow::Borrowed(elements)),
            Self::Texts(elements) => Values::Texts(elements.iter().map(String::as_str).collect()),
        }
    }

    pub(super) fn ints(&self) -> Option<&[i64]> {
        if let Self::Ints(elements) = self { Some(elements) } else { None }
    }

    /// The elements as float64, if they are numbers of floating point.
    pub(super) fn to_doubles(&self) -> Option<Vec<f64>> {
        match self {
            Self::Floats(elements) => Some(elements.iter().map(|value| f64::from(*value)).collect()),
            Self::Doubles(elements) => Some(elements.clone()),
            _ => None,
        }
    }
}
