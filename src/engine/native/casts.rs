//! From one type of numbers to another.

use super::attributes::{int, only};
use super::planner::{Known, Planned, Planner, dtype_of};
use super::program::{Block, Step, Trouble};
use super::values::Values;
use crate::onnx::FullNode;
use crate::tensor::DType;

/// Every element as another type.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) dtype: DType,
}

pub(super) fn cast<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    only(node, &["to", "saturate"])?;
    let value = planner.value(node, 0)?;
    let to = u64::try_from(int(node, "to", 0)?).ok().and_then(dtype_of).ok_or("a type that is not known")?;
    let value = planner.cast(value, to)?;
    planner.name(node, 0, Known::Value(value))
}

/// A number without its fraction. What is beyond the range is the least number, as the processors of most servers
/// and thereby ONNX Runtime have it; ONNX leaves it open.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
pub(super) fn to_int64(value: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if (-BEYOND..BEYOND).contains(&value) { value as i64 } else { i64::MIN }
}

/// The same for int32.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
fn to_int32(value: f64) -> i64 {
    let whole = value.trunc();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole) { whole as i64 } else { i64::from(i32::MIN) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what a cast of ONNX does")]
impl Step for Cast {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let from = self.from;
        match self.dtype {
            DType::Float32 => block.make(self.to, |block, out: &mut Vec<f32>| match block.slot(from) {
                Values::Floats(values) => out.extend_from_slice(values),
                Values::Doubles(values) => out.extend(values.iter().map(|value| *value as f32)),
                Values::Ints(values) => out.extend(values.iter().map(|value| *value as f32)),
                Values::Bools(values) => out.extend(values.iter().map(|value| f32::from(u8::from(*value)))),
                Values::Texts(_) => {}
            }),
            DType::Float64 => block.make(self.to, |block, out: &mut Vec<f64>| block.numbers(from, out)),
            DType::Bool => block.make(self.to, |block, out: &mut Vec<bool>| match block.slot(from) {
                Values::Floats(values) => out.extend(values.iter().map(|value| *value != 0.0)),
                Values::Doubles(values) => out.extend(values.iter().map(|value| *value != 0.0)),
                Values::Ints(values) => out.extend(values.iter().map(|value| *value != 0)),
                Values::Bools(values) => out.extend_from_slice(values),
                Values::Texts(_) => {}
            }),
            _ => {
                let is_short = self.dtype == DType::Int32;
                let of = if is_short { to_int32 } else { to_int64 };
                block.make(self.to, |block, out: &mut Vec<i64>| match block.slot(from) {
                    Values::Floats(values) => out.extend(values.iter().map(|value| of(f64::from(*value)))),
                    Values::Doubles(values) => out.extend(values.iter().map(|value| of(*value))),
                    Values::Ints(values) if is_short => out.extend(values.iter().map(|value| i64::from(*value as i32))),
                    Values::Ints(values) => out.extend_from_slice(values),
                    Values::Bools(values) => out.extend(values.iter().map(|value| i64::from(*value))),
                    Values::Texts(_) => {}
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_range_are_the_least() {
        let least = i64::MIN;
        let cases = [(-1.9, -1), (1e18, 1_000_000_000_000_000_000), (1e19, least), (f64::NAN, least), (-1e300, least)];
        for (value, expected) in cases {
            assert_eq!(to_int64(value), expected, "{value}");
        }
        let least = i64::from(i32::MIN);
        let cases = [(2_147_483_647.9, 2_147_483_647), (2_147_483_648.0, least), (f64::INFINITY, least), (-0.5, 0)];
        for (value, expected) in cases {
            assert_eq!(to_int32(value), expected, "{value}");
        }
    }
}
