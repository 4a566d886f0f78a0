//! What becomes of the sums of leaves.

/// A function of a row's sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// Nothing.
    Identity,
    /// `1 / (1 + exp(-factor * x))` of each.
    Sigmoid(f64),
    /// `exp(x)` of each.
    Exp,
    /// `sign(x) * x²` of each.
    SignedSquare,
    /// `ln(1 + exp(x))` of each.
    SoftPlus,
    /// 1 if it is beyond 0, else 0.
    Positive,
    /// `exp(x)` over the sum of all.
    Softmax,
    /// The same of `factor * x`.
    ScaledSoftmax(f64),
    /// `-2^(-x / expected) - offset` of each: of the length of the paths to a row in a forest, how little it stands apart.
    Isolation {
        /// The length that paths have on average.
        expected: f64,
        /// The score below which rows are outliers.
        offset: f64,
    },
}

impl Link {
    /// Applies it to the sums of one row.
    pub fn apply(self, scores: &mut [f64]) {
        let each: fn(f64, f64) -> f64 = match self {
            Self::Identity => return,
            Self::Isolation { expected, offset } => {
                for score in scores {
                    *score = -2.0_f64.powf(-(*score / expected)) - offset;
                }
                return;
            }
            Self::Sigmoid(_) => |score, factor| 1.0 / (1.0 + (-factor * score).exp()),
            Self::Exp => |score, _| score.exp(),
            Self::SignedSquare => |score, _| score * score.abs(),
            Self::SoftPlus => |score, _| score.exp().ln_1p(),
            Self::Positive => |score, _| if score > 0.0 { 1.0 } else { 0.0 },
            Self::Softmax => return softmax(scores),
            Self::ScaledSoftmax(factor) => {
                for score in scores.iter_mut() {
                    *score *= factor;
                }
                return softmax(scores);
            }
        };
        let factor = if let Self::Sigmoid(factor) = self { factor } else { 1.0 };
        for score in scores {
            *score = each(*score, factor);
        }
    }
}

impl Link {
    /// The same as `XGBoost` computes it, in float32.
    #[allow(clippy::cast_possible_truncation, reason = "float32 is what it is about")]
    pub fn apply_single(self, scores: &mut [f64]) {
        match self {
            // Its bound keeps the exponential finite; the tiny number that it also adds changes nothing.
            Self::Sigmoid(_) => each_single(scores, |score| 1.0 / ((-score).min(88.7).exp() + 1.0)),
            Self::Exp => each_single(scores, f32::exp),
            Self::Softmax => {
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max) as f32;
                each_single(scores, |score| (score - largest).exp());
                let sum = scores.iter().sum::<f64>() as f32;
                each_single(scores, |score| score / sum);
            }
            other => other.apply(scores),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "they are of float32")]
fn each_single(scores: &mut [f64], link: impl Fn(f32) -> f32) {
    for score in scores {
        *score = f64::from(link(*score as f32));
    }
}

/// `exp(x)` over the sum of all.
pub fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}
