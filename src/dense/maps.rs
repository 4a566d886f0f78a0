//! Functions of single numbers, and arithmetic of two, for vectors of any width.
//!
//! They are plain Rust without branches, of which the compiler makes vectors. Errors were measured over all float32 of the
//! range, against float64: exp 1 unit in the last place (2 among denormals), sigmoid 3, tanh 2, erf 1.
#![allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]

use super::tile::relu;

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// 0 where it is below 0.
    Relu,
    /// Times this where it is below 0.
    LeakyRelu(f32),
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// The same by a hyperbolic tangent.
    GeluTanh,
    /// `alpha * (exp(x) - 1)` where it is below 0.
    Elu(f32),
    /// `e` to the power of it.
    Exp,
    /// Square root.
    Sqrt,
    /// Times itself.
    Square,
    /// `-x`.
    Negate,
    /// Without its sign.
    Absolute,
    /// `1 / x`.
    Reciprocal,
    /// Not below the first and not above the second.
    Clip(f32, f32),
}

/// Arithmetic of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Subtract,
    /// `a * b`.
    Multiply,
    /// `a / b`.
    Divide,
}

#[inline(always)]
pub(super) fn map(function: Unary, numbers: &mut [f32]) {
    match function {
        Unary::Relu => each(numbers, relu),
        Unary::LeakyRelu(slope) => each(numbers, |x| if x < 0.0 { x * slope } else { x }),
        Unary::Sigmoid => each(numbers, sigmoid),
        Unary::Tanh => each(numbers, tanh),
        Unary::Erf => each(numbers, erf),
        Unary::Gelu => each(numbers, |x| 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))),
        Unary::GeluTanh => each(numbers, |x| 0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)))),
        Unary::Elu(alpha) => each(numbers, |x| if x < 0.0 { alpha * (exp(x) - 1.0) } else { x }),
        Unary::Exp => each(numbers, exp),
        Unary::Sqrt => each(numbers, f32::sqrt),
        Unary::Square => each(numbers, |x| x * x),
        Unary::Negate => each(numbers, |x| -x),
        Unary::Absolute => each(numbers, f32::abs),
        Unary::Reciprocal => each(numbers, |x| 1.0 / x),
        Unary::Clip(low, high) => each(numbers, |x| least(high, most(low, x))),
    }
}

#[inline(always)]
fn each(numbers: &mut [f32], function: impl Fn(f32) -> f32) {
    for number in numbers {
        *number = function(*number);
    }
}

#[inline(always)]
pub(super) fn combine(how: Binary, a: &[f32], b: &[f32], to: &mut [f32]) {
    match how {
        Binary::Add => pairs(a, b, to, |a, b| a + b),
        Binary::Subtract => pairs(a, b, to, |a, b| a - b),
        Binary::Multiply => pairs(a, b, to, |a, b| a * b),
        Binary::Divide => pairs(a, b, to, |a, b| a / b),
    }
}

#[inline(always)]
fn pairs(a: &[f32], b: &[f32], to: &mut [f32], function: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        ([a], [b]) => to.iter_mut().for_each(|to| *to = function(*a, *b)),
        ([a], b) => to.iter_mut().zip(b).for_each(|(to, b)| *to = function(*a, *b)),
        (a, [b]) => to.iter_mut().zip(a).for_each(|(to, a)| *to = function(*a, *b)),
        (a, b) => to.iter_mut().zip(a).zip(b).for_each(|((to, a), b)| *to = function(*a, *b)),
    }
}

#[inline(always)]
pub(super) fn update(how: Binary, to: &mut [f32], b: &[f32]) {
    match how {
        Binary::Add => onto(to, b, |to, b| to + b),
        Binary::Subtract => onto(to, b, |to, b| to - b),
        Binary::Multiply => onto(to, b, |to, b| to * b),
        Binary::Divide => onto(to, b, |to, b| to / b),
    }
}

#[inline(always)]
pub(super) fn update_reversed(how: Binary, to: &mut [f32], b: &[f32]) {
    match how {
        Binary::Add => onto(to, b, |to, b| b + to),
        Binary::Subtract => onto(to, b, |to, b| b - to),
        Binary::Multiply => onto(to, b, |to, b| b * to),
        Binary::Divide => onto(to, b, |to, b| b / to),
    }
}

#[inline(always)]
fn onto(to: &mut [f32], b: &[f32], function: impl Fn(f32, f32) -> f32) {
    match b {
        [b] => to.iter_mut().for_each(|to| *to = function(*to, *b)),
        b => to.iter_mut().zip(b).for_each(|(to, b)| *to = function(*to, *b)),
    }
}

/// The larger of two, the second if one is NaN.
#[inline(always)]
pub(super) fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller of two, the second if one is NaN.
#[inline(always)]
pub(super) fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// `2^n * p(r)` with `x = n * ln(2) + r`; the coefficients are those of Cephes' `expf`.
#[inline(always)]
#[allow(clippy::excessive_precision, clippy::unreadable_literal, reason = "coefficients as they were published")]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it leaves a whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // Beyond, the answer is 0 or infinity.
    let x = least(89.0, most(-104.0, x));
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693359375, x);
    let r = n.mul_add(2.12194440e-4, r);
    let p = 1.9875691500e-4_f32
        .mul_add(r, 1.3981999507e-3)
        .mul_add(r, 8.3334519073e-3)
        .mul_add(r, 4.1665795894e-2)
        .mul_add(r, 1.6666665459e-1)
        .mul_add(r, 5.0000001201e-1);
    let p = (r * r).mul_add(p, r) + 1.0;
    // In two steps, since 2^n may be beyond what a float32 can be while the answer is not.
    let n = shifted.to_bits().cast_signed().wrapping_sub(ROUND.to_bits().cast_signed());
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23).cast_unsigned())
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let above = if x < 0.0 { small } else { 1.0 };
    // Keeps NaN, whose comparison is false.
    above / (1.0 + small)
}

/// A polynomial near 0, `1 - 2 / (exp(2x) + 1)` elsewhere; the coefficients are those of Cephes' `tanhf`.
#[inline(always)]
#[allow(clippy::excessive_precision, clippy::unreadable_literal, reason = "coefficients as they were published")]
fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let near = (-5.70498872745e-3_f32)
        .mul_add(square, 2.06390887954e-2)
        .mul_add(square, -5.37397155531e-2)
        .mul_add(square, 1.33314422036e-1)
        .mul_add(square, -3.33332819422e-1);
    let near = (near * square).mul_add(x, x);
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    // Of -0.0, which the polynomial loses, as well.
    (if size < 0.625 { near } else { far }).copysign(x)
}

/// Two polynomials, one of them of the exponent of `1 - exp(…)`.
#[inline(always)]
#[allow(clippy::excessive_precision, clippy::unreadable_literal, reason = "coefficients as they were published")]
fn erf(x: f32) -> f32 {
    let size = least(4.0, x.abs());
    let square = x * x;
    let near = (-5.96761703e-4_f32)
        .mul_add(square, 4.99119423e-3)
        .mul_add(square, -2.67681349e-2)
        .mul_add(square, 1.12819925e-1)
        .mul_add(square, -3.76125336e-1)
        .mul_add(square, 1.28379166e-1)
        .mul_add(x, x);
    let p = (-1.72853470e-5_f32).mul_add(size, 3.83197126e-4);
    let q = (-3.88396438e-3_f32).mul_add(size, 2.42546219e-2);
    let p = p
        .mul_add(size * size, q)
        .mul_add(size, -1.06777877e-1)
        .mul_add(size, -6.34846687e-1)
        .mul_add(size, -1.28717512e-1)
        .mul_add(size, -size);
    let far = (1.0 - exp(p)).copysign(x);
    if size <= 0.921875 { near } else { far }
}
