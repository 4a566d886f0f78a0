//! Gauss-Legendre quadrature on [0, 1]: a weighted sum of `n` values of a polynomial is its integral, up to degree `2n - 1`.

/// Steps of Newton's method; from these starts it needs at most six.
const STEPS: usize = 20;

/// Points and weights, as many as asked for, from the smallest point up.
pub(super) fn gauss_legendre(count: usize) -> (Vec<f64>, Vec<f64>) {
    (0..count).map(|number| point(count, number)).unzip()
}

#[allow(clippy::cast_precision_loss, reason = "there are few points")]
fn point(count: usize, number: usize) -> (f64, f64) {
    let mut x = -(std::f64::consts::PI * (number as f64 + 0.75) / (count as f64 + 0.5)).cos();
    for _ in 0..STEPS {
        let (value, slope) = legendre(count, x);
        let step = value / slope;
        x -= step;
        if step.abs() < 1e-16 {
            break;
        }
    }
    let (_, slope) = legendre(count, x);
    // Those of [-1, 1] are twice as far apart and weigh twice as much.
    (x.midpoint(1.0), 1.0 / ((1.0 - x * x) * slope * slope))
}

/// The Legendre polynomial of this degree and its derivative.
#[allow(clippy::cast_precision_loss, reason = "degrees are small")]
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=degree {
        let k = k as f64;
        (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
    }
    (value, degree as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        for count in [1, 2, 3, 4, 8, 16, 24, 64, 200] {
            let (points, weights) = gauss_legendre(count);
            assert!(points.is_sorted() && points[0] > 0.0 && points[count - 1] < 1.0);
            for degree in [0, 1, count, 2 * count - 1] {
                let power = |point: &f64| point.powi(i32::try_from(degree).unwrap());
                let integral: f64 = points.iter().zip(&weights).map(|(point, weight)| weight * power(point)).sum();
                let expected = 1.0 / (f64::from(u32::try_from(degree).unwrap()) + 1.0);
                assert!((integral - expected).abs() < 4e-15, "{count} {degree} {integral} {expected}");
            }
        }
    }
}
