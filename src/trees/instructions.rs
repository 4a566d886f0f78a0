//! The same code for each set of instructions, and which of them this processor has.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ops::AddAssign;

use super::across::{MOST_LANES, NARROW, SIDE_BY_SIDE, Slot, Uppers};
use super::blocks::{Blocks, Step};
use super::columns::Columns;
use super::contributions::{self, FEW, MANY, Points, Scratch, Table};
use super::deep::{Found, Nodes, Ranks};
use super::kernels::plain;
#[cfg(target_arch = "x86_64")]
use super::kernels::{avx2, avx512, chunks, sums};
use super::members::Word;
use super::planes::{Costs, Line, Threshold, Way};
use super::search::{Ranker, Real, TILE, Tile};
use super::votes::Ballot;
use crate::processor::{self, Level};

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
    /// And VBMI and GFNI.
    #[cfg(target_arch = "x86_64")]
    Vbmi,
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
            if has_popcnt && is_x86_feature_detected!("avx2") && processor::has_avx512() {
                // No processor but a few of the first with VBMI lacks GFNI.
                if is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("gfni") {
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

    /// The best that this processor has and the user allows.
    pub(super) fn best() -> Self {
        processor::best(Self::available(), |how| how.level()).unwrap_or(Self(Set::Baseline))
    }

    fn level(self) -> Level {
        match self.0 {
            Set::Baseline => Level::Baseline,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Level::Avx2,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Vbmi => Level::Avx512,
        }
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
            Set::Avx2 | Set::Avx512 => NARROW / 2,
            #[cfg(target_arch = "x86_64")]
            Set::Vbmi => MOST_LANES,
        }
    }

    /// Whether searches of sixteen thresholds at a time find ranks of one row sooner than binary searches.
    pub(super) fn searches_rows(self) -> bool {
        self.0 != Set::Baseline
    }

    /// Where a row of so many bytes stands in groups of 64 trees, up to [`SIDE_BY_SIDE`], after `slots` of them.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "no row goes this way"))]
    pub(super) fn go_across(
        self,
        (slots, uppers): (&[Slot], &[Uppers]),
        lanes: usize,
        row: &[u8],
        stands: &mut [[u8; TILE]],
    ) {
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
                    1 => avx512::go_across::<1>(slots, uppers, lanes, row, stands),
                    2 => avx512::go_across::<2>(slots, uppers, lanes, row, stands),
                    3 => avx512::go_across::<3>(slots, uppers, lanes, row, stands),
                    _ => avx512::go_across::<SIDE_BY_SIDE>(slots, uppers, lanes, row, stands),
                }
            },
        }
    }

    /// Whether leaves are best looked up byte by byte: there are too many for registers, and enough rows for the making of
    /// tables of bytes.
    #[cfg(target_arch = "x86_64")]
    fn looks_up_bytes<S>(self, leaves: &[S], stands: &[Tile]) -> bool {
        self.0 == Set::Vbmi && size_of_val(leaves) > 8 * TILE && stands.len() * size_of::<f32>() >= 2 * size_of::<S>()
    }

    /// Whether there are instructions for chunks.
    pub(super) fn follows_chunks(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Set::Vbmi;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// By which exit rows leave a chunk: nothing is done unless [`Self::follows_chunks`].
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "there are no chunks"))]
    pub(super) fn follow(self, nodes: Nodes<'_>, rows: &[u16], ranks: Ranks<'_>, codes: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Set::Vbmi {
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ, VL and VBMI.
            unsafe { chunks::follow(nodes, rows, ranks, codes) }
        }
    }

    /// Adds the leaves that rows found in some trees, one tree after the other.
    pub(super) fn add_found(self, trees: &[Found<'_>], outputs: (usize, usize), are_single: bool, scores: &mut [f64]) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F.
            Set::Avx512 | Set::Vbmi if (2..=sums::MOST).contains(&outputs.1) => unsafe {
                sums::add_found(trees, outputs, are_single, scores);
            },
            _ => plain::add_found(trees, outputs, are_single, scores),
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
    ///
    /// Only with `MASKED`, steps look at some bits of a byte.
    pub(super) fn descend<const TILES: usize, const MASKED: bool>(
        self,
        steps: &[Step],
        lanes: &[[Tile; TILES]],
        stands: &mut [Tile; TILES],
    ) {
        let how = self.for_tiles(TILES);
        chosen!(
            how,
            plain::descend::<TILES, MASKED>,
            avx2::descend::<TILES, MASKED>,
            avx512::descend::<TILES, MASKED>,
            (steps, lanes, stands)
        );
    }

    /// Whether batches go through trees by [`Self::compare`] and [`Self::choose`], which do nothing else.
    pub(super) fn chooses(self) -> bool {
        self.0 != Set::Baseline
    }

    /// What batches of so many tiles take, measured with models of 100 to 2000 trees of 13 to 255 leaves.
    pub(super) fn costs(self, tiles: usize) -> Costs {
        let (step, choice) = match (self.follows_chunks(), tiles) {
            (true, 0..=2) => (18, 8),
            (true, 3..=4) => (40, 9),
            (true, _) => (35, 10),
            (false, 0..=2) => (16, 8),
            (false, 3..=4) => (62, 16),
            (false, _) => (125, 32),
        };
        let (threshold, tree, wide_tree) = match (self.follows_chunks(), tiles) {
            (true, _) => (8 * tiles, 300, 400),
            (false, 0..=2) => (18 * tiles, 200 * tiles, 300 * tiles),
            (false, _) => (18 * tiles, 200 * tiles, 750 * tiles),
        };
        Costs { step, choice, threshold, tree, wide_tree }
    }

    /// Which rows are beyond thresholds.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "nothing is chosen"))]
    pub(super) fn compare<const TILES: usize>(
        self,
        thresholds: &[Threshold],
        lanes: &[[Tile; TILES]],
        lines: &mut [Line],
    ) {
        match self.0 {
            Set::Baseline => {}
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2, for AVX-512 as well.
            Set::Avx2 | Set::Avx512 => unsafe { avx2::planes::compare(thresholds, lanes, lines) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW.
            Set::Vbmi => unsafe { avx512::planes::compare(thresholds, lanes, lines) },
        }
    }

    /// Where rows stand in a tree.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "nothing is chosen"))]
    pub(super) fn choose<const TILES: usize>(self, way: Way<'_>, lines: &mut [Line], stands: &mut [Tile; TILES]) {
        match self.0 {
            Set::Baseline => {}
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2, for AVX-512 as well.
            Set::Avx2 | Set::Avx512 => unsafe { avx2::planes::choose(way, lines, stands) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ, VL and VBMI, and GFNI.
            Set::Vbmi => unsafe { avx512::planes::choose(way, lines, stands) },
        }
    }

    /// Chooses the kinds of leaves to which rows come in some trees, and counts them: nothing unless [`Self::chooses`].
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "nothing is chosen"))]
    pub(super) fn vote<const TILES: usize>(self, ballot: Ballot<'_>, lines: &mut [Line], counts: &mut [Line]) {
        match self.0 {
            Set::Baseline => {}
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX2.
            Set::Avx2 => unsafe { avx2::votes::vote::<TILES>(ballot, lines, counts) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` made this value, after it had found AVX-512 BW, DQ and VL, which imply F.
            Set::Avx512 | Set::Vbmi => unsafe { avx512::votes::vote::<TILES>(ballot, lines, counts) },
        }
    }

    /// Puts a word of each row of the first `tiles` into its lanes.
    pub(super) fn take_bits<const TILES: usize>(self, word: Word<'_, TILES>, tiles: usize) {
        chosen!(self, plain::take_bits, avx2::take_bits, avx512::take_bits, (word, tiles));
    }
}

/// Asks for the line of the cache in which this begins.
#[inline]
pub(super) fn fetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of the architecture has it, and nothing is read.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(what).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}

/// Numbers that rows are of.
pub(super) trait Number: Real + 'static {
    /// What ranks them.
    fn ranker<'a>(blocks: &'a Blocks, columns: &Columns) -> &'a Ranker<Self>;

    /// The bytes of up to 64 rows: `lanes` has some tiles for each lane, of which the one with this number is written; and
    /// the ranks of their columns, if the ranker has them.
    fn rank_tile(
        how: Instructions,
        ranker: &Ranker<Self>,
        rows: &[Self],
        lanes: &mut [Tile],
        number_of: (usize, usize),
        words: &mut [[u16; TILE]],
    );

    /// The bytes of one row.
    fn rank_row(how: Instructions, ranker: &Ranker<Self>, row: &[Self], bytes: &mut [u8]);

    /// The ranks of one row by a ranker that has them.
    fn rank_words(how: Instructions, ranker: &Ranker<Self>, row: &[Self], words: &mut [u16]);
}

macro_rules! number {
    ($type:ty, $ranker:ident, $tile:ident, $row:ident, $words:ident) => {
        impl Number for $type {
            fn ranker<'a>(blocks: &'a Blocks, columns: &Columns) -> &'a Ranker<Self> {
                blocks.$ranker(columns)
            }

            fn rank_tile(
                how: Instructions,
                ranker: &Ranker<Self>,
                rows: &[Self],
                lanes: &mut [Tile],
                number_of: (usize, usize),
                words: &mut [[u16; TILE]],
            ) {
                chosen!(
                    how,
                    plain::$tile,
                    avx2::ranks::$tile,
                    avx512::ranks::$tile,
                    (ranker, rows, lanes, number_of, words)
                );
            }

            fn rank_row(how: Instructions, ranker: &Ranker<Self>, row: &[Self], bytes: &mut [u8]) {
                chosen!(how, plain::$row, avx2::ranks::$row, avx512::ranks::$row, (ranker, row, bytes));
            }

            fn rank_words(how: Instructions, ranker: &Ranker<Self>, row: &[Self], words: &mut [u16]) {
                chosen!(how, plain::$words, avx2::ranks::$words, avx512::ranks::$words, (ranker, row, words));
            }
        }
    };
}

number!(f32, singles, rank_singles, rank_single, word_single);
number!(f64, doubles, rank_doubles, rank_double, word_double);

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
        #[cfg(target_arch = "x86_64")]
        if how.looks_up_bytes::<Self>(leaves, stands) {
            // SAFETY: `available` made this value, after it had found AVX-512 BW and VBMI.
            return unsafe { avx512::leaves::add_doubles(leaves, stands, sums) };
        }
        chosen!(how, plain::add, avx2::add_doubles, avx512::add_doubles, (leaves, stands, sums));
    }
}

impl Sum for f32 {
    #[allow(clippy::cast_possible_truncation, reason = "it is float32")]
    fn of(value: f64) -> Self {
        value as Self
    }

    fn add(how: Instructions, leaves: &[Self], stands: &[Tile], sums: &mut [Self]) {
        #[cfg(target_arch = "x86_64")]
        if how.looks_up_bytes::<Self>(leaves, stands) {
            // SAFETY: `available` made this value, after it had found AVX-512 BW and VBMI.
            return unsafe { avx512::leaves::add_singles(leaves, stands, sums) };
        }
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
