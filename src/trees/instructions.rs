//! The same code for each set of instructions, and which of them this processor has.
#![allow(unsafe_code)]

use super::blocks::Blocks;
use super::columns::Columns;

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
pub(super) struct Instructions(Set);

impl Instructions {
    /// What this processor has, best first; the last one is what every processor of the architecture has.
    pub(super) fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                all.push(Self(Set::Avx512));
            }
            if is_x86_feature_detected!("avx2") {
                all.push(Self(Set::Avx2));
            }
        }
        all.push(Self(Set::Baseline));
        all
    }

    /// The fastest for large blocks and for small ones. With one vector a step of AVX-512 waits for masks: measured, twice
    /// as long as AVX2.
    pub(super) fn for_blocks() -> [Self; 2] {
        let all = Self::available();
        let small = all.iter().find(|set| set.name() != "AVX-512");
        [all[0], *small.unwrap_or(&all[0])]
    }

    /// The usual name.
    pub(super) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
            Set::Baseline if cfg!(target_arch = "x86_64") => "SSE2",
            Set::Baseline if cfg!(target_arch = "aarch64") => "NEON",
            Set::Baseline => "portable",
        }
    }

    /// [`Blocks::add`] with these instructions.
    pub(super) fn add<const ROWS: usize>(
        self,
        blocks: &Blocks,
        columns: &Columns,
        rows: &[f64],
        features: usize,
        sums: &mut [[f64; ROWS]],
    ) {
        match self.0 {
            Set::Baseline => blocks.add(columns, rows, features, sums),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2.
            Set::Avx2 => unsafe { add_avx2(blocks, columns, rows, features, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F.
            Set::Avx512 => unsafe { add_avx512(blocks, columns, rows, features, sums) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2<const ROWS: usize>(
    blocks: &Blocks,
    columns: &Columns,
    rows: &[f64],
    features: usize,
    sums: &mut [[f64; ROWS]],
) {
    blocks.add(columns, rows, features, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
fn add_avx512<const ROWS: usize>(
    blocks: &Blocks,
    columns: &Columns,
    rows: &[f64],
    features: usize,
    sums: &mut [[f64; ROWS]],
) {
    blocks.add(columns, rows, features, sums);
}
