//! Every kernel with every set of instructions: the same bits, and close to float64.

#![allow(clippy::float_cmp, reason = "numbers that have to be the same")]

use super::panels::WIDE;
use super::{Binary, Finish, Instructions, Operand, Packing, Panels, Reduction, Target, Unary};

/// Numbers in [-1, 1) from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_precision_loss)]
        let number = (self.0 >> 40) as f32 / (1_u64 << 23) as f32;
        number - 1.0
    }

    fn many(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

fn packed(packing: Packing, depth: usize, columns: usize, matrix: &[f32], bias: &[f32]) -> Panels {
    let mut panels = Panels::zeroed(depth, columns).unwrap();
    let line = if packing == Packing::ByDepth { columns } else { depth };
    // In parts, as a file is read.
    for (number, part) in matrix.chunks((3 * line).max(1)).enumerate() {
        panels.put(packing, 3 * number, part);
    }
    panels.set_bias(bias);
    panels
}

/// One chain per element, as it is defined.
fn chain(row: &[f32], column: impl Iterator<Item = f32>, bias: f32) -> f32 {
    row.iter().zip(column).fold(bias, |sum, (value, weight)| value.mul_add(weight, sum))
}

#[test]
fn products_are_chains_with_all_instructions() {
    let mut random = Random(1);
    let columns = [1, 2, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 160];
    for rows in [1, 2, 3, 5, 6, 7, 11, 12, 13, 25, 30] {
        for (depth, columns) in [0, 1, 2, 7, 300].into_iter().flat_map(|depth| columns.map(|columns| (depth, columns)))
        {
            let stride = depth + rows % 3;
            let (left, matrix) = (random.many(rows * stride + depth), random.many(depth * columns));
            let (bias, finish) = (random.many(columns), if rows % 2 == 0 { Finish::Sum } else { Finish::Relu });
            let turned: Vec<f32> = (0..columns * depth).map(|at| matrix[at % depth * columns + at / depth]).collect();
            let operand = Operand { numbers: &left, stride, rows };
            let mut expected = vec![9.0; rows * (columns + 1)];
            for row in 0..rows {
                for column in 0..columns {
                    let weights = matrix.iter().copied().skip(column).step_by(columns);
                    let sum = chain(&left[row * stride..][..depth], weights, bias[column]);
                    expected[row * (columns + 1) + column] =
                        if finish == Finish::Relu { super::tile::relu(sum) } else { sum };
                }
            }
            for (packing, matrix) in [(Packing::ByDepth, &matrix), (Packing::ByColumn, &turned)] {
                let panels = packed(packing, depth, columns, matrix, &bias);
                for set in Instructions::available() {
                    let mut got = vec![9.0; rows * (columns + 1)];
                    set.multiply(
                        operand,
                        &panels,
                        0..panels.count(),
                        finish,
                        Target::new(&mut got, rows, columns, columns + 1),
                    );
                    assert_eq!(bits(&got), bits(&expected), "{set:?} {rows}×{depth}×{columns} {packing:?}");
                    // Panels apart, as threads take them.
                    for split in 0..panels.count() {
                        let first = split * WIDE;
                        let width = columns - first;
                        let mut got = vec![0.0; rows * columns];
                        let to = Target::new(&mut got, rows, width, width);
                        set.multiply(operand, &panels, split..panels.count(), finish, to);
                        assert_eq!(got[0].to_bits(), expected[first].to_bits());
                        let last = (rows - 1) * (columns + 1) + columns - 1;
                        assert_eq!(got[rows * (columns - first) - 1].to_bits(), expected[last].to_bits());
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_odd_numbers_are_chains_with_all_instructions() {
    let odd =
        [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40, 1e-45, f32::MAX, f32::MIN, 1e-30, 1.0];
    let mut random = Random(4);
    let mut many = |count: usize, part: usize| -> Vec<f32> {
        let numbers = random.many(count);
        numbers.iter().enumerate().map(|(at, number)| if at % part == 0 { odd[at * 7 % 12] } else { *number }).collect()
    };
    for (rows, depth, columns) in [(1, 9, 33), (5, 1, 16), (13, 40, 65), (25, 7, 31)] {
        // So few that not all sums are NaN, and so many that some rows have nothing else.
        for part in [1, 5, 61] {
            let (left, matrix, bias) = (many(rows * depth, part), many(depth * columns, 2 * part), many(columns, 3));
            let panels = packed(Packing::ByDepth, depth, columns, &matrix, &bias);
            for (set, finish) in
                Instructions::available().into_iter().flat_map(|set| [(set, Finish::Sum), (set, Finish::Relu)])
            {
                let mut got = vec![9.0; rows * columns];
                let operand = Operand { numbers: &left, stride: depth, rows };
                let to = Target::new(&mut got, rows, columns, columns);
                set.multiply(operand, &panels, 0..panels.count(), finish, to);
                for (at, got) in got.iter().enumerate() {
                    let weights = matrix.iter().copied().skip(at % columns).step_by(columns);
                    let sum = chain(&left[at / columns * depth..][..depth], weights, bias[at % columns]);
                    let expected = if finish == Finish::Relu { super::tile::relu(sum) } else { sum };
                    // Which NaN it is depends on the order of operands.
                    let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
                    assert!(same, "{set:?} {rows}×{depth}×{columns}: {got} {expected}");
                }
            }
        }
    }
}

#[test]
fn matrices_are_filled_again() {
    let mut random = Random(2);
    let mut panels = Panels::default();
    for (depth, columns) in [(3, 40), (50, 7), (1, 1), (32, 32), (0, 5)] {
        let (matrix, row) = (random.many(depth * columns), random.many(depth));
        let turned: Vec<f32> = (0..columns * depth).map(|at| matrix[at % depth * columns + at / depth]).collect();
        let apart: Vec<f32> = matrix.iter().flat_map(|number| [*number, 9.0]).collect();
        for (numbers, strides) in [(&apart, (2 * columns, 2)), (&turned, (1, depth)), (&matrix, (columns, 1))] {
            panels.fill(depth, columns, numbers, strides);
            let mut got = vec![0.0; columns];
            let operand = Operand { numbers: &row, stride: 0, rows: 1 };
            Instructions::best().multiply(
                operand,
                &panels,
                0..panels.count(),
                Finish::Sum,
                Target::new(&mut got, 1, columns, 0),
            );
            for (column, got) in got.iter().enumerate() {
                let expected = chain(&row, matrix.iter().copied().skip(column).step_by(columns), 0.0);
                assert_eq!(got.to_bits(), expected.to_bits());
            }
        }
    }
    assert!(Panels::zeroed(usize::MAX, 2).is_none());
}

/// The error function by its series and, far out, its continued fraction.
fn erf(x: f64) -> f64 {
    let square = x * x;
    if x.abs() < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..80 {
            term *= -square / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let fraction = (1..60).rev().fold(0.0, |rest, n| f64::from(n) / 2.0 / (x.abs() + rest));
    (1.0 - (-square).exp() / ((x.abs() + fraction) * std::f64::consts::PI.sqrt())).copysign(x)
}

/// For functions that subtract numbers that are nearly the same: their error is a part of the argument.
const CANCELS: f64 = 3.0;

/// Distance in units in the last place of the float32 nearest to `exact`.
#[allow(clippy::cast_possible_truncation)]
fn units(got: f32, exact: f64) -> f64 {
    let near = exact as f32;
    if got == near || (got.is_nan() && near.is_nan()) {
        return 0.0;
    }
    let unit = f64::from(near.abs().next_up()) - f64::from(near.abs());
    (f64::from(got) - exact).abs() / unit
}

#[test]
fn functions_are_near_and_the_same_with_all_instructions() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2));
    let of = |x: f64| 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh());
    let cases: [(Unary, &dyn Fn(f64) -> f64, f64, f64); 15] = [
        (Unary::Relu, &|x| if x < 0.0 { 0.0 } else { x }, 0.0, 1e30),
        (Unary::LeakyRelu(0.1), &|x| if x < 0.0 { x * f64::from(0.1_f32) } else { x }, 0.51, 1e30),
        (Unary::Sigmoid, &sigmoid, 3.0, 87.0),
        (Unary::Tanh, &f64::tanh, 2.0, 1e30),
        (Unary::Erf, &erf, 1.5, 100.0),
        (Unary::Gelu, &gelu, CANCELS, 1e30),
        (Unary::GeluTanh, &of, CANCELS, 1e10),
        (Unary::Elu(1.5), &|x| if x < 0.0 { 1.5 * x.exp_m1() } else { x }, CANCELS, 1e30),
        (Unary::Exp, &f64::exp, 2.0, 1e30),
        (Unary::Sqrt, &f64::sqrt, 0.51, 1e30),
        (Unary::Square, &|x| x * x, 0.51, 1e15),
        (Unary::Negate, &|x| -x, 0.0, 1e30),
        (Unary::Absolute, &f64::abs, 0.0, 1e30),
        (Unary::Reciprocal, &|x| 1.0 / x, 0.51, 1e30),
        (Unary::Clip(-0.5, 2.0), &|x| x.clamp(-0.5, 2.0), 0.0, 1e30),
    ];
    let odd = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40, f32::MAX, f32::MIN, 1e-30];
    let inputs: Vec<f32> = (-30_000_i16..=30_000)
        .map(|at| f32::from(at) * 4e-3)
        .chain((0..6000_i16).map(|at| f32::from(at) * 1e-5 - 0.03))
        .chain(odd)
        .collect();
    for (function, exact, most, range) in cases {
        let mut first: Option<Vec<f32>> = None;
        for set in Instructions::available() {
            let mut got = inputs.clone();
            set.map(function, &mut got);
            for (x, y) in inputs.iter().zip(&got).filter(|(x, _)| f64::from(x.abs()) <= range) {
                let exact = exact(f64::from(*x));
                let error = units(*y, exact);
                let is_near = (f64::from(*y) - exact).abs() <= 2.5e-7 * (1.0 + f64::from(x.abs()));
                assert!(
                    error <= most || (most == CANCELS && is_near),
                    "{function:?}({x}) = {y} with {set:?}: {error} units"
                );
            }
            match &first {
                Some(first) => assert_eq!(bits(&got), bits(first), "{function:?} {set:?}"),
                None => first = Some(got),
            }
        }
    }
    let mut ends = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    for (function, expected) in [
        (Unary::Sigmoid, [1.0, 0.0]),
        (Unary::Tanh, [1.0, -1.0]),
        (Unary::Erf, [1.0, -1.0]),
        (Unary::Exp, [f32::INFINITY, 0.0]),
    ] {
        let mut got = ends;
        Instructions::best().map(function, &mut got);
        assert_eq!(got[..2], expected, "{function:?}");
        assert!(got[2].is_nan(), "{function:?}");
    }
    Instructions::best().map(Unary::Relu, &mut ends);
    assert!(ends[2].is_nan());
}

#[test]
fn rows_are_reduced_alike_with_all_instructions() {
    let mut random = Random(3);
    for width in [1, 2, 15, 16, 17, 40, 128, 333] {
        let numbers = random.many(width * 6);
        let (scale, bias) = (random.many(width), random.many(width));
        let mut first: Option<Vec<u32>> = None;
        for set in Instructions::available() {
            let mut soft = numbers.clone();
            set.softmax(&mut soft, width);
            let mut normal = vec![0.0; numbers.len()];
            set.normalize(&numbers, &mut normal, &scale, &bias, 1e-5);
            let mut reduced = Vec::new();
            for how in [Reduction::Sum, Reduction::Mean, Reduction::Max, Reduction::Min] {
                for (count, inner) in [(width, 1), (2, width), (3, 2 * width)] {
                    let mut to = vec![0.0; numbers.len() / count];
                    set.reduce(how, &numbers, &mut to, count, inner);
                    reduced.extend(to);
                }
            }
            let all: Vec<f32> = [soft, normal, reduced].concat();
            let exact = exact(&numbers, width, &scale, &bias);
            for (got, exact) in all.iter().zip(&exact) {
                assert!((f64::from(*got) - exact).abs() < 2e-5 * (1.0 + exact.abs()), "{set:?} {width}: {got} {exact}");
            }
            assert_eq!(all.len(), exact.len());
            let all = bits(&all);
            assert_eq!(*first.get_or_insert_with(|| all.clone()), all, "{set:?} {width}");
        }
    }
    let mut row = [1.0, f32::NAN, 2.0];
    let mut to = [0.0];
    Instructions::best().reduce(Reduction::Max, &row, &mut to, 3, 1);
    assert!(to[0].is_nan());
    Instructions::best().softmax(&mut row, 3);
    assert!(row.iter().all(|number| number.is_nan()));
}

/// Softmax, normalised rows and reductions in float64.
#[allow(clippy::cast_precision_loss)]
fn exact(numbers: &[f32], width: usize, scale: &[f32], bias: &[f32]) -> Vec<f64> {
    let wide: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
    let mut all = Vec::new();
    for row in wide.chunks_exact(width) {
        let sum: f64 = row.iter().map(|number| number.exp()).sum();
        all.extend(row.iter().map(|number| number.exp() / sum));
    }
    for row in wide.chunks_exact(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / width as f64;
        for ((number, scale), bias) in row.iter().zip(scale).zip(bias) {
            all.push((number - mean) / (variance + 1e-5).sqrt() * f64::from(*scale) + f64::from(*bias));
        }
    }
    let joins: [(f64, fn(f64, f64) -> f64, bool); 4] = [
        (0.0, |a, b| a + b, false),
        (0.0, |a, b| a + b, true),
        (f64::NEG_INFINITY, f64::max, false),
        (f64::INFINITY, f64::min, false),
    ];
    for (start, join, is_mean) in joins {
        for (count, inner) in [(width, 1), (2, width), (3, 2 * width)] {
            for group in wide.chunks_exact(count * inner) {
                for at in 0..inner {
                    let all_of = group.iter().skip(at).step_by(inner).fold(start, |a, b| join(a, *b));
                    all.push(if is_mean { all_of / count as f64 } else { all_of });
                }
            }
        }
    }
    all
}

#[test]
fn pairs_are_combined() {
    let (a, b) = ([1.0, -2.0, 3.5, 0.0], [4.0, 0.5, -1.0, 2.0]);
    for set in Instructions::available() {
        for (how, expected) in [
            (Binary::Add, [5.0, -1.5, 2.5, 2.0]),
            (Binary::Subtract, [-3.0, -2.5, 4.5, -2.0]),
            (Binary::Multiply, [4.0, -1.0, -3.5, 0.0]),
            (Binary::Divide, [0.25, -4.0, -3.5, 0.0]),
        ] {
            let mut to = [0.0; 4];
            set.combine(how, &a, &b, &mut to);
            assert_eq!(to, expected);
            let mut same = a;
            set.update(how, &mut same, &b);
            assert_eq!(same, expected);
            let mut same = b;
            set.update_reversed(how, &mut same, &a);
            assert_eq!(same, expected);
            let (mut left, mut right, mut single) = ([0.0; 4], [0.0; 4], [0.0; 4]);
            set.combine(how, &[7.0], &b, &mut left);
            set.combine(how, &a, &[7.0], &mut right);
            set.combine(how, &[7.0], &[2.0], &mut single);
            let mut scaled = a;
            set.update(how, &mut scaled, &[7.0]);
            assert_eq!(scaled, right);
            let mut reversed = b;
            set.update_reversed(how, &mut reversed, &[7.0]);
            assert_eq!(reversed, left);
            assert_eq!(single[0], single[3]);
        }
    }
}
