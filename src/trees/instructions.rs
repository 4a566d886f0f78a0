//! The same code for each set of instructions, and which of them this processor has.
#![allow(unsafe_code)]

use std::ops::AddAssign;
use std::sync::OnceLock;

use super::across::{MOST_LANES, Row, SIDE_BY_SIDE, Slot};
use super::blocks::{Blocks, Step};
use super::columns::Columns;
use super::contributions::{self, FEW, MANY, Points, Scratch, Table};
use super::kernels::plain;
#[cfg(target_arch = "x86_64")]
use super::kernels::{avx2, avx512};
use super::search::{Ranker, Real, TILE, Tile};
use crate::error::{Error, ErrorKind, Result};

/// Calls what is compiled for a set of instructions.
macro_rules! chosen {
    ($how:expr, $plain:expr, $avx2:expr, $avx512:expr, ($($argument:expr),*)) => {
        match $how.0 {
            Set::Baseline => $plain($($argument),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: AVX2 and POPCNT were found: by `available` itself, or before the AVX-512 that `for_tiles` replaced.
            Set::Avx2 => unsafe { $avx2($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F, and POPCNT.
            Set::Avx512 | Set::Vbmi => unsafe { $avx512($($argument),*) },
        }
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// And VBMI.
    #[cfg(target_arch = "x86_64")]
    Vbmi,
}

/// The variable with which a user keeps kernels from some of the processor's instructions.
const VARIABLE: &str = "GLOWPLUG_INSTRUCTIONS";

/// What the variable allows; an error if it is wrong.
pub fn check_instructions() -> Result<()> {
    usual().clone().map(|_| ())
}

fn usual() -> &'static Result<Instructions> {
    static USUAL: OnceLock<Result<Instructions>> = OnceLock::new();
    USUAL.get_or_init(|| Instructions::allowed(&std::env::var(VARIABLE).unwrap_or_default()))
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
            let has_popcnt = is_x86_feature_detected!("popcnt");
            if has_popcnt
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                if is_x86_feature_detected!("avx512vbmi") {
                    all.push(Self(Set::Vbmi));
                }
                all.push(Self(Set::Avx512));
            }
            if has_popcnt && is_x86_feature_detected!("avx2") {
                all.push(Self(Set::Avx2));
            }
        }
        all.push(Self(Set::Baseline));
        all
    }

    /// The best that this processor has, or what [`VARIABLE`] allows; it is read once.
    pub(super) fn best() -> Self {
        // A wrong variable has ended the load of the model.
        usual().clone().unwrap_or(Self(Set::Baseline))
    }

    /// The best of those up to the set that `asked` names, or of all.
    fn allowed(asked: &str) -> Result<Self> {
        let most = match asked.trim() {
            "" | "avx512" => usize::MAX,
            "avx2" => 1,
            "baseline" => 0,
            _ => {
                let problem = format!("got {asked:?}, expected `baseline`, `avx2` or `avx512`");
                let fix = "unset it to let glowplug use what the processor has";
                return Err(Error::new(ErrorKind::Option, format!("environment variable {VARIABLE}"), problem, fix));
            }
        };
        let all = Self::available();
        let least = all.len() - 1;
        Ok(all[least - most.min(least)])
    }

    /// The usual name.
    pub(super) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Vbmi => "AVX-512 VBMI",
            Set::Baseline if cfg!(target_arch = "x86_64") => "SSE2",
            Set::Baseline if cfg!(target_arch = "aarch64") => "NEON",
            Set::Baseline => "portable",
        }
    }

    /// Bytes that a row may have to go through many trees at once.
    pub(super) fn most_lanes_across(self) -> usize {
        match self.0 {
            Set::Baseline => 0,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::Avx512 => MOST_LANES / 2,
            #[cfg(target_arch = "x86_64")]
            Set::Vbmi => MOST_LANES,
        }
    }

    /// Where a row of so many bytes stands in groups of 64 trees, up to [`SIDE_BY_SIDE`], after `slots` of them.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "no row goes this way"))]
    pub(super) fn go_across(self, slots: &[Slot], lanes: usize, row: &Row, stands: &mut [[u8; TILE]]) {
        #[cfg(target_arch = "x86_64")]
        match (self.0, stands.len()) {
            (Set::Baseline, _) => {}
            // SAFETY: `available` made this value, after it had found AVX2, for AVX-512 as well.
            (Set::Avx2 | Set::Avx512, _) => unsafe {
                match lanes {
                    0..=16 => avx2::go_across::<1>(slots, row, stands),
                    17..=32 => avx2::go_across::<2>(slots, row, stands),
                    33..=64 => avx2::go_across::<4>(slots, row, stands),
                    _ => avx2::go_across::<8>(slots, row, stands),
                }
            },
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ, VL and VBMI.
            (Set::Vbmi, groups) => unsafe {
                match groups {
                    1 => avx512::go_across::<1>(slots, lanes, row, stands),
                    2 => avx512::go_across::<2>(slots, lanes, row, stands),
                    3 => avx512::go_across::<3>(slots, lanes, row, stands),
                    _ => avx512::go_across::<SIDE_BY_SIDE>(slots, lanes, row, stands),
                }
            },
        }
    }

    /// What is fastest for blocks of so many tiles: with few vectors a step of AVX-512 waits for masks, which takes half as
    /// long again as AVX2.
    fn for_tiles(self, tiles: usize) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Vbmi if tiles <= 2 => Self(Set::Avx2),
            _ => self,
        }
    }

    /// Where the rows of a block stand after the steps of a tree.
    pub(super) fn descend<const TILES: usize>(
        self,
        steps: &[Step],
        lanes: &[[Tile; TILES]],
        stands: &mut [Tile; TILES],
    ) {
        chosen!(self.for_tiles(TILES), plain::descend, avx2::descend, avx512::descend, (steps, lanes, stands));
    }
}

/// Numbers that rows are of.
pub(super) trait Number: Real + 'static {
    /// What ranks them.
    fn ranker<'a>(blocks: &'a Blocks, columns: &Columns) -> &'a Ranker<Self>;

    /// The bytes of up to 64 rows: `lanes` has some tiles for each lane, of which the one with this number is written.
    fn rank_tile(
        how: Instructions,
        ranker: &Ranker<Self>,
        rows: &[Self],
        lanes: &mut [Tile],
        number_of: (usize, usize),
    );

    /// The bytes of one row.
    fn rank_row(how: Instructions, ranker: &Ranker<Self>, row: &[Self], bytes: &mut [u8]);
}

impl Number for f32 {
    fn ranker<'a>(blocks: &'a Blocks, columns: &Columns) -> &'a Ranker<Self> {
        blocks.singles(columns)
    }

    fn rank_tile(
        how: Instructions,
        ranker: &Ranker<Self>,
        rows: &[Self],
        lanes: &mut [Tile],
        number_of: (usize, usize),
    ) {
        chosen!(how, plain::rank_singles, avx2::rank_singles, avx512::rank_singles, (ranker, rows, lanes, number_of));
    }
    fn rank_row(how: Instructions, ranker: &Ranker<Self>, row: &[Self], bytes: &mut [u8]) {
        chosen!(how, plain::rank_single, avx2::rank_single, avx512::rank_single, (ranker, row, bytes));
    }
}

impl Number for f64 {
    fn ranker<'a>(blocks: &'a Blocks, columns: &Columns) -> &'a Ranker<Self> {
        blocks.doubles(columns)
    }

    fn rank_tile(
        how: Instructions,
        ranker: &Ranker<Self>,
        rows: &[Self],
        lanes: &mut [Tile],
        number_of: (usize, usize),
    ) {
        chosen!(how, plain::rank_doubles, avx2::rank_doubles, avx512::rank_doubles, (ranker, rows, lanes, number_of));
    }
    fn rank_row(how: Instructions, ranker: &Ranker<Self>, row: &[Self], bytes: &mut [u8]) {
        chosen!(how, plain::rank_double, avx2::rank_double, avx512::rank_double, (ranker, row, bytes));
    }
}

/// Numbers that sums are of.
pub(super) trait Sum: Copy + Default + AddAssign + Into<f64> {
    /// From what is known to be one.
    fn of(value: f64) -> Self;

    /// Adds the leaves where rows stand to their sums.
    fn add(how: Instructions, leaves: &[Self], stands: &[Tile], sums: &mut [Self]);
}

impl Sum for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn add(how: Instructions, leaves: &[Self], stands: &[Tile], sums: &mut [Self]) {
        chosen!(how, plain::add, avx2::add_doubles, avx512::add_doubles, (leaves, stands, sums));
    }
}

impl Sum for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "it is float32")]
    fn of(value: f64) -> Self {
        value as Self
    }

    fn add(how: Instructions, leaves: &[Self], stands: &[Tile], sums: &mut [Self]) {
        chosen!(how, plain::add, avx2::add_singles, avx512::add_singles, (leaves, stands, sums));
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
                    Set::Avx512 | Set::Vbmi => unsafe { $avx512(table, leaves, points, scratch, settled, sums) },
                }
            }
        }
    };
}

explained!(explain_few, few_avx2, few_avx512, FEW);
explained!(explain_many, many_avx2, many_avx512, MANY);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_takes_instructions_away() {
        let all = Instructions::available();
        let (best, least) = (all[0], all[all.len() - 1]);
        let avx2 = all.iter().find(|how| how.name() == "AVX2").copied().unwrap_or(least);
        for (asked, expected) in [("", best), (" ", best), ("avx512", best), (" avx2 ", avx2), ("baseline", least)] {
            assert_eq!(Instructions::allowed(asked).unwrap(), expected, "{asked:?}");
        }
        for asked in ["AVX2", "sse", "1"] {
            let error = Instructions::allowed(asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Option);
            assert!(error.to_string().contains(asked) && error.to_string().contains(VARIABLE), "{error}");
        }
    }
}
