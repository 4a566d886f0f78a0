//! The same arithmetic for each set of instructions, and which of them this processor has.
#![allow(unsafe_code)]

use super::maps::{self, Binary, Unary};
use super::reduce::{self, Reduction};
use super::tile::{self, Tile};
use crate::processor::{self, Level};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A set of instructions that this processor has: a value is its proof, as only [`Self::available`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(Set);

impl Instructions {
    /// What this processor has, best first; the last one is what every processor of the architecture has.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let has_fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if has_fma && processor::has_avx512() {
                all.push(Self(Set::Avx512));
            }
            if has_fma {
                all.push(Self(Set::Avx2));
            }
        }
        all.push(Self(Set::Baseline));
        all
    }

    /// The best that this processor has and the user allows.
    pub fn best() -> Self {
        processor::best(Self::available(), |set| set.level()).unwrap_or(Self(Set::Baseline))
    }

    fn level(self) -> Level {
        match self.0 {
            Set::Baseline => Level::Baseline,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Level::Avx2,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Level::Avx512,
        }
    }

    /// Whether products have intrinsics: they were measured with these alone. Without fused multiply-add, which x86 need not
    /// have, every step is a call of a function.
    pub fn has_intrinsics(self) -> bool {
        self.0 != Set::Baseline
    }

    /// The usual name.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
            Set::Baseline if cfg!(target_arch = "aarch64") => "NEON",
            Set::Baseline => "portable",
        }
    }
}

/// Compiles a function of plain Rust for each set of instructions.
macro_rules! compiled {
    ($(#[$doc:meta])* $name:ident, $plain:path, ($($argument:ident: $type:ty),*)) => {
        impl Instructions {
            $(#[$doc])*
            pub fn $name(self, $($argument: $type),*) {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($argument: $type),*) {
                    $plain($($argument),*);
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) {
                    $plain($($argument),*);
                }
                match self.0 {
                    Set::Baseline => $plain($($argument),*),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `available` made this value, after it had found AVX2 and FMA.
                    Set::Avx2 => unsafe { avx2($($argument),*) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `available` made this value, after it had found AVX-512 F, BW, DQ and VL, AVX2 and FMA.
                    Set::Avx512 => unsafe { avx512($($argument),*) },
                }
            }
        }
    };
}

compiled!(
    /// Applies a function to each number.
    map, maps::map, (function: Unary, numbers: &mut [f32])
);
compiled!(
    /// `to = a ∘ b`, number by number; `a` or `b` may have one number for all.
    combine, maps::combine, (how: Binary, a: &[f32], b: &[f32], to: &mut [f32])
);
compiled!(
    /// `to = to ∘ b`, with a number of `b` for each or one for all.
    update, maps::update, (how: Binary, to: &mut [f32], b: &[f32])
);
compiled!(
    /// `to = b ∘ to`.
    update_reversed, maps::update_reversed, (how: Binary, to: &mut [f32], b: &[f32])
);
compiled!(
    /// Softmax of each row of `width` numbers.
    softmax, reduce::softmax, (numbers: &mut [f32], width: usize)
);
compiled!(
    /// Rows of `width` numbers become those of mean 0 and variance 1, times `scale` plus `bias`, each of `width` numbers.
    normalize, reduce::normalize, (from: &[f32], to: &mut [f32], scale: &[f32], bias: &[f32], epsilon: f32)
);
compiled!(
    /// Reduces the middle axis of `[outer, count, inner]`; `inner` is 1 or more.
    reduce, reduce::reduce, (how: Reduction, from: &[f32], to: &mut [f32], count: usize, inner: usize)
);

impl Instructions {
    /// A tile of a product.
    pub(super) fn tile(self, tile: Tile<'_>) {
        match self.0 {
            Set::Baseline => tile::plain(tile),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2 and FMA.
            Set::Avx2 => unsafe { tile::avx2(tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 F.
            Set::Avx512 => unsafe { tile::avx512(tile) },
        }
    }

    /// A row times several wide panels that lie one behind the other.
    pub(super) fn row(self, row: &[f32], weights: &[f32], bias: &[f32], relu: bool, to: &mut [f32]) {
        match self.0 {
            Set::Baseline => tile::plain_row(row, weights, bias, relu, to),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2 and FMA.
            Set::Avx2 => unsafe { tile::avx2_row(row, weights, bias, relu, to) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 F.
            Set::Avx512 => unsafe { tile::avx512_row(row, weights, bias, relu, to) },
        }
    }
}
