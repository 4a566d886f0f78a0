//! The same code for each set of instructions, and which of them this processor has.
#![allow(unsafe_code)]

use super::blocks::Blocks;
use super::columns::Columns;
use super::contributions::{self, FEW, MANY, Points, Scratch, Table};
use super::descend;

/// Rows of a large block: more share the reading of nodes, until what stands for them leaves registers and the first cache.
pub(super) const LARGE: usize = 256;
/// Rows of a small block.
pub(super) const SMALL: usize = 64;

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

    /// The best that this processor has.
    pub(super) fn best() -> Self {
        Self::available()[0]
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

    /// [`Blocks::add`] with these instructions, for [`LARGE`] rows.
    pub(super) fn add_large(
        self,
        blocks: &Blocks,
        columns: &Columns,
        rows: &[f64],
        features: usize,
        sums: &mut [[f64; LARGE]],
    ) {
        match self.0 {
            Set::Baseline => blocks.add(descend::plain, columns, rows, features, sums),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2.
            Set::Avx2 => unsafe { large_avx2(blocks, columns, rows, features, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F.
            Set::Avx512 => unsafe { large_avx512(blocks, columns, rows, features, sums) },
        }
    }

    /// The same for [`SMALL`] rows.
    pub(super) fn add_small(
        self,
        blocks: &Blocks,
        columns: &Columns,
        rows: &[f64],
        features: usize,
        sums: &mut [[f64; SMALL]],
    ) {
        match self.0 {
            Set::Baseline => blocks.add(descend::plain, columns, rows, features, sums),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2.
            Set::Avx2 => unsafe { small_avx2(blocks, columns, rows, features, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F.
            Set::Avx512 => unsafe { small_avx512(blocks, columns, rows, features, sums) },
        }
    }
}

/// [`contributions::add`] for a set of instructions and a number of points.
macro_rules! explained {
    ($name:ident, $avx2:ident, $avx512:ident, $lanes:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $avx2(
            table: &Table,
            leaves: &[f64],
            points: &Points<$lanes>,
            scratch: &mut Scratch<$lanes>,
            settled: (&[f64], usize),
            sums: (&mut [f64], usize, usize),
        ) {
            contributions::add(table, leaves, points, scratch, settled, sums);
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512bw,avx512dq,avx512vl")]
        fn $avx512(
            table: &Table,
            leaves: &[f64],
            points: &Points<$lanes>,
            scratch: &mut Scratch<$lanes>,
            settled: (&[f64], usize),
            sums: (&mut [f64], usize, usize),
        ) {
            contributions::add(table, leaves, points, scratch, settled, sums);
        }

        impl Instructions {
            /// [`contributions::add`] with these instructions.
            pub(super) fn $name(
                self,
                table: &Table,
                leaves: &[f64],
                points: &Points<$lanes>,
                scratch: &mut Scratch<$lanes>,
                settled: (&[f64], usize),
                sums: (&mut [f64], usize, usize),
            ) {
                match self.0 {
                    Set::Baseline => contributions::add(table, leaves, points, scratch, settled, sums),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `available` made this value, after it had found AVX2.
                    Set::Avx2 => unsafe { $avx2(table, leaves, points, scratch, settled, sums) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F.
                    Set::Avx512 => unsafe { $avx512(table, leaves, points, scratch, settled, sums) },
                }
            }
        }
    };
}

explained!(explain_few, few_avx2, few_avx512, FEW);
explained!(explain_many, many_avx2, many_avx512, MANY);

/// Compiles [`Blocks::add`] for a set of instructions.
macro_rules! compiled {
    ($name:ident, $features:literal, $rows:ident, $descend:ident, $vectors:literal) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $name(blocks: &Blocks, columns: &Columns, rows: &[f64], features: usize, sums: &mut [[f64; $rows]]) {
            blocks.add(
                |steps, lanes| descend::$descend::<$rows, $vectors>(steps, lanes),
                columns,
                rows,
                features,
                sums,
            );
        }
    };
}

compiled!(large_avx2, "avx2", LARGE, avx2, 8);
compiled!(small_avx2, "avx2", SMALL, avx2, 2);
compiled!(large_avx512, "avx512bw,avx512dq,avx512vl", LARGE, avx512, 4);
compiled!(small_avx512, "avx512bw,avx512dq,avx512vl", SMALL, avx512, 1);
