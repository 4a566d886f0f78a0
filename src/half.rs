//! Half precision as bits, of which Rust has no stable type.

/// The bits of the nearest number, ties to even; infinity from 65520 on.
// The casts are of numbers below 2^16.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn bits(value: f64) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let size = value.abs();
    if size.is_nan() {
        return sign | 0x7e00;
    }
    if size < 2_f64.powi(-14) {
        // Subnormal: multiples of 2^-24. 1024 of them are the bits of the smallest normal number.
        return sign | (size * 2_f64.powi(24)).round_ties_even() as u16;
    }
    if size >= 65520.0 {
        return sign | 0x7c00;
    }
    // 10 of the 52 bits of the fraction stay; a carry runs into the exponent, as it should.
    let bits = size.to_bits();
    let rounded = (bits + ((1 << 41) - 1) + ((bits >> 42) & 1)) >> 42;
    sign | (rounded - ((1023 - 15) << 10)) as u16
}

/// The number that these bits are.
pub fn value(bits: u16) -> f32 {
    let fraction = f32::from(bits & 0x3ff);
    let size = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_nearest_even() {
        for (number, expected) in [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.9, 0x7bff),
            (65520.0, 0x7c00),
            (0.1, 0x2e66),
            (2_f64.powi(-14), 0x0400),
            (2_f64.powi(-24), 0x0001),
            (2_f64.powi(-25), 0x0000),
            (1.5 * 2_f64.powi(-25), 0x0001),
            (2_f64.powi(-14) - 2_f64.powi(-26), 0x0400),
            (1.0 + 2_f64.powi(-11), 0x3c00),
            (1.0 + 3.0 * 2_f64.powi(-11), 0x3c02),
            (1.0 + 2_f64.powi(-11) + 2_f64.powi(-40), 0x3c01),
            (2047.9, 0x6800),
            (f64::INFINITY, 0x7c00),
        ] {
            assert_eq!(bits(number), expected, "{number}");
        }
        assert_eq!(bits(f64::NAN) & 0x7e00, 0x7e00);
    }

    #[test]
    fn every_number_comes_back() {
        for pattern in 0..=u16::MAX {
            let number = value(pattern);
            assert!(number.is_nan() || bits(number.into()) == pattern, "{pattern:#x} is {number}");
        }
    }
}
