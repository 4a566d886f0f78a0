//! The Shapley values of one tree's features for one row.
//!
//! If a row's features are known, each with chance `p` of its own, what a tree is expected to say is a polynomial: the
//! multilinear extension of the game. A feature's Shapley value is the integral of its derivative by that feature's
//! chance along `p = (t, …, t)` from 0 to 1 (Owen 1972), a polynomial of `t` whose degree is below the number of different
//! features on a path: Gauss-Legendre quadrature is exact. For one `t` all derivatives come of one sweep up the tree and one
//! down, as in automatic differentiation; points are the lanes of vectors. That is linear in the nodes where the usual
//! algorithm (Lundberg 2020) takes the square of the depth at each leaf, and everything that is multiplied is positive.
//!
//! With `V` what is expected below a node, `z` the children's shares of its cover, `mean = z_left V_left + z_right V_right`
//! and `V_hot` that of the child the row goes to, a node whose feature comes first on its path has
//!
//! ```text
//! V = t V_hot + (1 - t) mean        derivative += A (V_hot - mean)        A_child = A ((1 - t) z_child + t [child is hot])
//! ```
//!
//! A feature that came before on the path is known with the same chance, not with another. Let `z'` be the product of its
//! shares so far. If the row went the path's way each time, `z' (1 - t) + t` is in `A` already and is divided out:
//! `q = 1 / (z' (1 - t) + t)` makes `V = q (t V_hot + z' (1 - t) mean)`, and what the earlier nodes counted is corrected by
//! `A q² z' (V_hot - mean)`. If it did not, the feature being known cuts this part of the tree off: `V = mean`.
#![allow(clippy::inline_always, reason = "what is compiled for each set of instructions has to be inlined there")]

use super::table::{NONE, Table};

/// Points of one sweep and what they weigh; those beyond the last weigh nothing.
#[derive(Debug, Clone)]
pub(in crate::trees) struct Points<const LANES: usize> {
    pub(super) known: [f64; LANES],
    pub(super) unknown: [f64; LANES],
    pub(super) weight: [f64; LANES],
}

/// How a node mixes what is expected if its feature is known and if it is not, and what of it counts.
#[derive(Debug, Clone, Copy)]
struct Mix<const LANES: usize> {
    known: [f64; LANES],
    unknown: [f64; LANES],
    gain: [f64; LANES],
}

/// Memory of sweeps.
#[derive(Debug)]
pub(in crate::trees) struct Scratch<const LANES: usize> {
    /// The first is for features that cut their part off, the second for those that come first on their path.
    mixes: Vec<Mix<LANES>>,
    /// Of splits, then of leaves.
    expected: Vec<[f64; LANES]>,
    gains: Vec<[f64; LANES]>,
    factors: Vec<[f64; LANES]>,
    ways: Vec<Way>,
}

/// What a row does at a split.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// 0 if left.
    side: u8,
    mix: u32,
}

impl<const LANES: usize> Default for Scratch<LANES> {
    fn default() -> Self {
        Self { mixes: Vec::new(), expected: Vec::new(), gains: Vec::new(), factors: Vec::new(), ways: Vec::new() }
    }
}

/// Adds a tree's contributions to rows. `settled` has the columns of each row, `sums` the features of each row in
/// `stride` numbers, of which the tree's output begins at `first`; `leaves` are the tree's numbers for that output.
#[inline(always)]
pub(in crate::trees) fn add<const LANES: usize>(
    table: &Table,
    leaves: &[f64],
    points: &Points<LANES>,
    scratch: &mut Scratch<LANES>,
    (settled, columns): (&[f64], usize),
    (sums, stride, first): (&mut [f64], usize, usize),
) {
    scratch.prepare(table, leaves, points);
    for (row, sums) in settled.chunks_exact(columns).zip(sums.chunks_exact_mut(stride)) {
        scratch.walk(table, row);
        scratch.up(table);
        scratch.down(table, points, &mut sums[first..]);
    }
}

impl<const LANES: usize> Scratch<LANES> {
    #[inline(always)]
    fn prepare(&mut self, table: &Table, leaves: &[f64], points: &Points<LANES>) {
        let count = table.splits.len();
        let plain = Mix { known: points.known, unknown: points.unknown, gain: [1.0; LANES] };
        self.mixes.clear();
        self.mixes.extend([Mix { known: [0.0; LANES], unknown: [1.0; LANES], gain: [0.0; LANES] }, plain]);
        for share in &table.shares_before {
            let mut mix = plain;
            for lane in 0..LANES {
                let factor = 1.0 / (share * points.unknown[lane] + points.known[lane]);
                mix.known[lane] *= factor;
                mix.unknown[lane] *= factor * share;
                mix.gain[lane] = factor * factor * share;
            }
            self.mixes.push(mix);
        }
        self.expected.clear();
        self.expected.resize(count, [0.0; LANES]);
        self.expected.extend(leaves.iter().map(|leaf| [*leaf; LANES]));
        self.gains.resize(count, [0.0; LANES]);
        self.factors.resize(count, [0.0; LANES]);
        self.ways.resize(count, Way { side: 0, mix: 0 });
    }

    /// Where the row goes at every split, also at those it does not come to.
    #[inline(always)]
    fn walk(&mut self, table: &Table, row: &[f64]) {
        for (at, split) in table.splits.iter().enumerate() {
            let side = u8::from(!split.goes_left(row, &table.sets));
            let is_known = split.before == NONE || {
                let before = self.ways[split.before as usize];
                before.mix != 0 && before.side == split.side_before
            };
            // Without a branch, which would be taken wrongly half of the time.
            self.ways[at] = Way { side, mix: std::hint::select_unpredictable(is_known, split.mix, 0) };
        }
    }

    /// What is expected below each split. Children come after their parents.
    #[inline(always)]
    fn up(&mut self, table: &Table) {
        for (at, split) in table.splits.iter().enumerate().rev() {
            let way = self.ways[at];
            let mix = &self.mixes[way.mix as usize];
            let [left, right] = split.children.map(|child| child as usize);
            let [share_left, share_right] = [table.shares[left], table.shares[right]];
            let (left, right) = (&self.expected[left], &self.expected[right]);
            let hot = if way.side == 0 { left } else { right };
            let (mut expected, mut gains) = ([0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                let mean = share_left * left[lane] + share_right * right[lane];
                expected[lane] = mix.known[lane] * hot[lane] + mix.unknown[lane] * mean;
                gains[lane] = mix.gain[lane] * (hot[lane] - mean);
            }
            self.expected[at] = expected;
            self.gains[at] = gains;
        }
    }

    /// What each split's gain counts, added to its feature.
    #[inline(always)]
    fn down(&mut self, table: &Table, points: &Points<LANES>, sums: &mut [f64]) {
        for (at, split) in table.splits.iter().enumerate() {
            let mut factors = points.weight;
            if at > 0 {
                let above = split.parent as usize;
                let way = self.ways[above];
                let (mix, before) = (&self.mixes[way.mix as usize], &self.factors[above]);
                let (share, is_hot) = (table.shares[at], f64::from(u8::from(way.side == split.side)));
                for lane in 0..LANES {
                    factors[lane] = before[lane] * (mix.unknown[lane] * share + mix.known[lane] * is_hot);
                }
            }
            self.factors[at] = factors;
            let mut parts = [0.0; LANES];
            for lane in 0..LANES {
                parts[lane] = factors[lane] * self.gains[at][lane];
            }
            sums[split.feature as usize] += sum(parts);
        }
    }
}

/// The sum of all lanes, halves first: an order that vectors have as well.
#[inline(always)]
fn sum<const LANES: usize>(mut parts: [f64; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            parts[lane] += parts[lane + half];
        }
        half /= 2;
    }
    parts[0]
}
