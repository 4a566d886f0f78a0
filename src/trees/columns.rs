//! Numbers as ranks: how many of a feature's thresholds a number is beyond.
//!
//! `value <= thresholds[i]` is `rank(value) <= i`, so that trees compare small whole numbers only, and the answer does
//! not depend on how a number is held. What a missing number means differs between nodes: each rule of a feature is
//! a column of its own, in which a missing number has the rank that goes where the rule says. Columns have ranks of
//! 16 bits, as nodes are to be small; a feature with more thresholds has several columns for a rule, one after the other.

use std::ops::Range;

use super::halving;
use super::search::Kind;
use super::tree::Rule;

/// What is in no set of categories.
pub(super) const NO_CATEGORY: u32 = u32::MAX;
/// A missing number in the place of a category.
pub(super) const MISSING_CATEGORY: u32 = u32::MAX - 1;
/// Ranks of one column: the largest `u16` is what is beyond all of them.
const RANKS: u32 = u16::MAX as u32;
/// The least number that is category 0 once its fraction is cut off.
const TRUNCATED: f64 = (-1_f64).next_up();
/// The rank beyond all thresholds of a feature.
const BEYOND: u32 = u32::MAX;

/// Thresholds that are remembered, at most: more than most models have, since forests as well split by few numbers again and again.
const MOST_REMEMBERED: usize = 1 << 16;

/// Collects the thresholds of all trees. One that comes again mostly has the number it had before.
///
/// A table that is sure to find each takes twice the memory of what it finds, and more while it grows: where all numbers are
/// different, that was most of what loading took. Here it is bounded, and what comes twice is only a little more to sort.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    /// Of ranks, in an order of their features and then of themselves.
    keys: Vec<Key>,
    /// Sets of categories, with their features.
    sets: Vec<(u32, Rule, u32)>,
    /// Of all numbers.
    rules: Vec<Rule>,
    /// Those met last, by a hash.
    remembered: Vec<Pair>,
}

/// A threshold that was met before, in as few bytes as it fits into.
#[derive(Debug, Clone, Copy)]
struct Met {
    /// Of a set of categories its number.
    threshold: u64,
    /// The feature and the rule.
    tag: u32,
    number: u32,
}

/// The two that were met last of those with one hash, so that they do not forget each other again and again. They never lie
/// in two lines of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Pair([Met; 2]);

/// A feature, a threshold in the order of whole numbers, and the number that both have: 32, 64 and 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Met {
    /// No rule has so large a tag.
    const NOTHING: Self = Self { threshold: 0, tag: u32::MAX, number: 0 };

    /// A threshold with its number; nothing if it has no tag.
    fn new(feature: u32, rule: Rule, threshold: f64, number: u32) -> Option<Self> {
        let (kind, threshold) = match rule {
            Rule::MissingIsZero => (0, threshold.to_bits()),
            Rule::ZeroLeft => (1, threshold.to_bits()),
            Rule::ZeroRight => (2, threshold.to_bits()),
            Rule::MissingLeft => (3, threshold.to_bits()),
            Rule::MissingRight => (4, threshold.to_bits()),
            Rule::Categories(set) => (5, u64::from(set)),
            Rule::CategoriesOrMissing(set) => (6, u64::from(set)),
        };
        (feature < 1 << 29).then_some(Self { threshold, tag: feature << 3 | kind, number })
    }

    fn is(&self, other: &Self) -> bool {
        (self.threshold ^ other.threshold) | u64::from(self.tag ^ other.tag) == 0
    }

    /// Where it is among so many, a power of two.
    #[allow(clippy::cast_possible_truncation, reason = "the highest bits")]
    fn slot(&self, count: usize) -> usize {
        // An odd number with about as many ones as zeros: the golden ratio's.
        let mixed = (u64::from(self.tag) << 29 ^ self.threshold).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ mixed >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - count.trailing_zeros())) as usize
    }
}

impl Key {
    fn new(feature: u32, threshold: f64, number: u32) -> Self {
        let bits = threshold.to_bits();
        let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
        Self(u128::from(feature) << 96 | u128::from(ordered) << 32 | u128::from(number))
    }

    #[allow(clippy::cast_possible_truncation, reason = "the highest 32 bits")]
    fn feature(self) -> u32 {
        (self.0 >> 96) as u32
    }

    #[allow(clippy::cast_possible_truncation, reason = "64 bits in between")]
    fn threshold(self) -> f64 {
        let ordered = (self.0 >> 32) as u64;
        f64::from_bits(if ordered >> 63 == 1 { ordered ^ 1 << 63 } else { !ordered })
    }

    #[allow(clippy::cast_possible_truncation, reason = "the lowest 32 bits")]
    fn number(self) -> usize {
        (self.0 as u32) as usize
    }
}

/// Where a node looks, and the largest rank that goes left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) column: u16,
    pub(super) rank: u16,
}

/// Columns of ranks of one feature.
#[derive(Debug)]
struct Feature {
    /// Its place in the row.
    at: usize,
    thresholds: Range<usize>,
    columns: Range<usize>,
}

/// How rows become ranks. The first columns are always 0: leaves look there, so that they stay where they are.
#[derive(Debug)]
pub(super) struct Columns {
    zeros: usize,
    features: Vec<Feature>,
    /// How one row is ranked.
    groups: Vec<halving::Group>,
    kinds: Vec<Kind>,
    thresholds: Vec<f64>,
    /// Features whose numbers are categories; their columns come last, two for each: its lower and its upper half.
    categories: Vec<usize>,
    /// The least number that is a category.
    least_category: f64,
    /// The largest number that is zero.
    near_zero: f64,
}

impl Thresholds {
    /// Makes room for so many more, which may be fewer in the end.
    pub(super) fn reserve(&mut self, count: usize) {
        self.keys.reserve_exact(count);
        self.rules.reserve_exact(count);
    }

    /// A number by which [`Self::place`] finds this threshold. Sets of categories are numbered by `Rule`.
    pub(super) fn number(&mut self, feature: u32, rule: Rule, threshold: f64) -> u32 {
        // -0 and 0 are one threshold; a set has none.
        let threshold = if rule.set().is_some() { 0.0 } else { threshold + 0.0 };
        // Fewer than nodes, of which a model has at most 2³¹.
        let next = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        if self.rules.len() >= 2 * self.remembered.len() && 2 * self.remembered.len() < MOST_REMEMBERED {
            let pairs = (self.remembered.len() * 4).clamp(64, MOST_REMEMBERED / 2);
            let before = std::mem::replace(&mut self.remembered, vec![Pair([Met::NOTHING; 2]); pairs]);
            before.into_iter().flat_map(|pair| pair.0).filter(|met| met.tag != u32::MAX).for_each(|met| {
                self.remember(met);
            });
        }
        if let Some(met) = Met::new(feature, rule, threshold, next)
            && let Some(before) = self.remember(met)
        {
            return before;
        }
        self.rules.push(rule);
        if rule.set().is_some() {
            self.sets.push((feature, rule, next));
        } else {
            self.keys.push(Key::new(feature, threshold, next));
        }
        next
    }

    /// The number of one that was met before; else this one is met.
    #[inline]
    fn remember(&mut self, met: Met) -> Option<u32> {
        let slot = met.slot(self.remembered.len());
        let [last, before] = &mut self.remembered[slot].0;
        // One branch, which is mostly taken the same way.
        let (is_last, is_before) = (last.is(&met), before.is(&met));
        if is_last | is_before {
            return Some(std::hint::select_unpredictable(is_last, last.number, before.number));
        }
        (*before, *last) = (*last, met);
        None
    }

    /// Sorts them, and says of each number where it is, and of each place of categories which rule it is. `zeros` columns
    /// come first.
    pub(super) fn place(self, zeros: usize) -> Result<(Columns, Vec<Place>, Vec<Vec<Rule>>), String> {
        let Self { mut keys, mut sets, rules, .. } = self;
        keys.sort_unstable();
        // In the order of trees, as their sets are numbered.
        sets.sort_unstable_by_key(|(feature, rule, _)| (*feature, rule.set(), *rule));
        let mut columns = Columns {
            zeros,
            features: Vec::new(),
            groups: Vec::new(),
            kinds: Vec::new(),
            thresholds: Vec::new(),
            categories: Vec::new(),
            least_category: TRUNCATED,
            near_zero: 0.0,
        };
        let mut places = vec![Place { column: 0, rank: 0 }; rules.len()];
        for group in keys.chunk_by(|a, b| a.feature() == b.feature()) {
            columns.add(group, &rules, &mut places)?;
        }
        let ranges = columns.features.iter().map(|feature| (feature.at, feature.thresholds.clone()));
        columns.groups = halving::groups(&ranges.collect::<Vec<_>>());
        let mut rules_of_columns = Vec::new();
        for group in sets.chunk_by(|(a, ..), (b, ..)| a == b) {
            for part in group.chunks(RANKS as usize) {
                columns.categories.push(part[0].0 as usize);
                let column = column(columns.len() - 2)?;
                rules_of_columns.push(part.iter().map(|(_, rule, _)| *rule).collect());
                for (rank, (.., number)) in (0..).zip(part) {
                    places[*number as usize] = Place { column, rank };
                }
            }
        }
        Ok((columns, places, rules_of_columns))
    }
}

fn column(number: usize) -> Result<u16, String> {
    let too_many =
        |_| format!("needs more than {} columns, one for each feature and rule for missing numbers", u16::MAX);
    u16::try_from(number).map_err(too_many)
}

impl Columns {
    /// Adds a feature with the thresholds of `group`, sorted; the rules of all numbers are in `all`.
    fn add(&mut self, group: &[Key], all: &[Rule], places: &mut [Place]) -> Result<(), String> {
        let at = group[0].feature() as usize;
        let (start, first_column) = (self.thresholds.len(), self.kinds.len());
        let mut ranks = Vec::with_capacity(group.len());
        for key in group {
            let value = key.threshold();
            if self.thresholds.len() == start || self.thresholds.last().is_some_and(|last| *last < value) {
                self.thresholds.push(value);
            }
            // Fewer than nodes, of which a model has at most 2³¹.
            ranks.push(u32::try_from(self.thresholds.len() - start - 1).unwrap_or(BEYOND));
        }
        let zero = rank(&self.thresholds[start..], 0.0);
        let parts: Vec<u32> = (0..=ranks.last().map_or(0, |largest| largest / RANKS)).collect();
        let mut rules: Vec<Rule> = group.iter().map(|key| all[key.number()]).collect();
        rules.sort_unstable();
        rules.dedup();
        for (key, rank) in group.iter().zip(ranks) {
            let rule = rules.binary_search(&all[key.number()]).unwrap_or_default();
            let column = column(self.zeros + first_column + rule * parts.len() + (rank / RANKS) as usize)?;
            places[key.number()] = Place { column, rank: u16::try_from(rank % RANKS).unwrap_or_default() };
        }
        for rule in rules {
            let (missing, zero) = match rule {
                Rule::MissingIsZero => (zero, zero),
                Rule::MissingLeft => (0, zero),
                Rule::MissingRight => (BEYOND, zero),
                Rule::ZeroLeft => (0, 0),
                Rule::ZeroRight | Rule::Categories(_) | Rule::CategoriesOrMissing(_) => (BEYOND, BEYOND),
            };
            self.kinds.extend(parts.iter().map(|part| Kind { first: part * RANKS, missing, zero }));
        }
        self.features.push(Feature {
            at,
            thresholds: start..self.thresholds.len(),
            columns: first_column..self.kinds.len(),
        });
        Ok(())
    }

    /// Numbers between -1 and 0 are no category.
    pub(super) fn refuse_negative_categories(&mut self) {
        self.least_category = 0.0;
    }

    /// Columns of a row of ranks.
    pub(super) fn len(&self) -> usize {
        self.zeros + self.kinds.len() + 2 * self.categories.len()
    }

    /// Places in the row of the columns of categories.
    pub(super) fn categories(&self) -> &[usize] {
        &self.categories
    }

    /// The category that a number is: below the least one and beyond 32 bits it is in no set; fractions are cut off.
    #[inline]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    pub(super) fn category(&self, value: f64) -> u32 {
        let is_category = value >= self.least_category && value < f64::from(i32::MAX) + 1.0;
        let other = if value.is_nan() { MISSING_CATEGORY } else { NO_CATEGORY };
        if is_category { value as u32 } else { other }
    }

    /// Columns that are always 0, which come first.
    pub(super) fn zeros(&self) -> usize {
        self.zeros
    }

    /// The first column of categories.
    pub(super) fn first_of_categories(&self) -> usize {
        self.zeros + self.kinds.len()
    }

    /// The ranks of one row.
    pub(super) fn rank_row<T: Copy + Into<f64>>(&self, row: &[T], ranks: &mut [u16]) {
        let (zeros, ranks) = ranks.split_at_mut(self.zeros);
        zeros.fill(0);
        for group in &self.groups {
            let (values, found) = group.ranks(row, &self.thresholds);
            for ((feature, value), rank) in group.features.into_iter().zip(values).zip(found) {
                let (is_zero, is_missing) = (value.abs() <= self.near_zero, value.is_nan());
                for column in self.features[feature as usize].columns.clone() {
                    ranks[column] = self.kinds[column].settle(rank, is_zero, is_missing);
                }
            }
        }
        self.take_categories(row, &mut ranks[self.kinds.len()..]);
    }

    /// The columns of categories of one row.
    pub(super) fn take_categories<T: Copy + Into<f64>>(&self, row: &[T], columns: &mut [u16]) {
        for (halves, at) in columns.as_chunks_mut().0.iter_mut().zip(&self.categories) {
            *halves = split_category(self.category(row[*at].into()));
        }
    }

    /// Thresholds of all features.
    pub(super) fn thresholds(&self) -> usize {
        self.thresholds.len()
    }

    /// Features with their places in the row, thresholds, and the numbers of their columns.
    pub(super) fn features(&self) -> impl Iterator<Item = (usize, &[f64], Range<usize>)> {
        let zeros = self.zeros;
        self.features.iter().map(move |feature| {
            let columns = feature.columns.start + zeros..feature.columns.end + zeros;
            (feature.at, &self.thresholds[feature.thresholds.clone()], columns)
        })
    }

    /// What ranks mean in a column that [`Self::features`] named.
    pub(super) fn kind(&self, column: usize) -> Kind {
        self.kinds[column - self.zeros]
    }

    /// The largest number that is zero.
    pub(super) fn near_zero(&self) -> f64 {
        self.near_zero
    }

    /// Numbers up to this one are zero.
    pub(super) fn take_for_zero(&mut self, near_zero: f64) {
        self.near_zero = near_zero;
    }
}

/// How many of the sorted `thresholds` the value is beyond.
fn rank(thresholds: &[f64], value: f64) -> u32 {
    u32::try_from(thresholds.partition_point(|threshold| *threshold < value)).unwrap_or(BEYOND)
}

/// A category as its two columns.
#[allow(clippy::cast_possible_truncation, reason = "halves")]
fn split_category(category: u32) -> [u16; 2] {
    [category as u16, (category >> 16) as u16]
}

/// A category of its two columns.
pub(super) fn join_category([low, high]: [u16; 2]) -> u32 {
    u32::from(low) | u32::from(high) << 16
}
