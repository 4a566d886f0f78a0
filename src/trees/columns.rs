//! Numbers as ranks: how many of a feature's thresholds a number is beyond.
//!
//! `value <= thresholds[i]` is `rank(value) <= i`, so that trees compare small whole numbers only, and the answer does
//! not depend on how a number is held. What a missing number means differs between nodes: each rule of a feature is
//! a column of its own, in which a missing number has the rank that goes where the rule says. Columns have ranks of
//! 16 bits, as nodes are to be small; a feature with more thresholds has several columns for a rule, one after the other.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

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

/// One threshold of a feature under one rule. Each set of categories is one as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    feature: u32,
    rule: Rule,
    threshold: u64,
}

/// Hashes a few numbers by multiplying: most of the time of collecting thresholds went to the usual hash. It begins with a
/// random number, so that no file can be made to have many thresholds of one hash.
#[derive(Debug, Clone)]
pub(super) struct Multiply(u64);

impl Default for Multiply {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Multiply {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        self.clone()
    }
}

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, bytes) = bytes.as_chunks();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    #[allow(clippy::cast_possible_truncation, reason = "halves")]
    fn write_u64(&mut self, value: u64) {
        // An odd number with about as many ones as zeros: the golden ratio's.
        let product = u128::from(self.0 ^ value) * 0x9E37_79B9_7F4A_7C15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[allow(clippy::cast_sign_loss, reason = "which variant")]
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}

/// Collects the thresholds of all trees, each once.
#[derive(Debug, Default)]
pub(super) struct Thresholds {
    numbers: HashMap<Key, u32, Multiply>,
    keys: Vec<Key>,
}

/// Where a node looks, and the largest rank that goes left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The number of this threshold, by which [`Self::place`] finds it. Sets of categories are numbered by `Rule`.
    pub(super) fn number(&mut self, feature: u32, rule: Rule, threshold: f64) -> u32 {
        // -0 and 0 are one threshold; a set has none.
        let threshold = if rule.set().is_some() { 0.0 } else { threshold + 0.0 };
        let key = Key { feature, rule, threshold: threshold.to_bits() };
        // Fewer than nodes, of which a model has at most 2³¹.
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(key).or_insert_with(|| {
            self.keys.push(key);
            next
        })
    }

    /// Sorts them, and says of each number where it is, and of each place of categories which rule it is. `zeros` columns
    /// come first.
    pub(super) fn place(self, zeros: usize) -> Result<(Columns, Vec<Place>, Vec<Vec<Rule>>), String> {
        let keys = self.keys;
        drop(self.numbers);
        let value = |number: usize| f64::from_bits(keys[number].threshold);
        let (mut sets, mut ranks): (Vec<usize>, Vec<usize>) =
            (0..keys.len()).partition(|number| keys[*number].rule.set().is_some());
        ranks.sort_unstable_by(|a, b| {
            keys[*a].feature.cmp(&keys[*b].feature).then_with(|| value(*a).total_cmp(&value(*b)))
        });
        // In the order of trees, as their sets are numbered.
        sets.sort_unstable_by_key(|number| (keys[*number].feature, keys[*number].rule.set(), keys[*number].rule));
        let mut columns = Columns {
            zeros,
            features: Vec::new(),
            kinds: Vec::new(),
            thresholds: Vec::new(),
            categories: Vec::new(),
            least_category: TRUNCATED,
            near_zero: 0.0,
        };
        let mut places = vec![Place { column: 0, rank: 0 }; keys.len()];
        for group in ranks.chunk_by(|a, b| keys[*a].feature == keys[*b].feature) {
            let at = keys[group[0]].feature as usize;
            columns.add(at, group, |number| (keys[number].rule, value(number)), &mut places)?;
        }
        let mut rules_of_columns = Vec::new();
        for group in sets.chunk_by(|a, b| keys[*a].feature == keys[*b].feature) {
            for part in group.chunks(RANKS as usize) {
                columns.categories.push(keys[part[0]].feature as usize);
                let column = column(columns.len() - 2)?;
                rules_of_columns.push(part.iter().map(|number| keys[*number].rule).collect());
                for (rank, number) in (0..).zip(part) {
                    places[*number] = Place { column, rank };
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
    /// Adds a feature with the thresholds of `group`, sorted.
    fn add(
        &mut self,
        at: usize,
        group: &[usize],
        threshold: impl Fn(usize) -> (Rule, f64),
        places: &mut [Place],
    ) -> Result<(), String> {
        let (start, first_column) = (self.thresholds.len(), self.kinds.len());
        let mut ranks = Vec::with_capacity(group.len());
        for number in group {
            let value = threshold(*number).1;
            if self.thresholds.len() == start || self.thresholds.last().is_some_and(|last| *last < value) {
                self.thresholds.push(value);
            }
            // Fewer than nodes, of which a model has at most 2³¹.
            ranks.push(u32::try_from(self.thresholds.len() - start - 1).unwrap_or(BEYOND));
        }
        let zero = rank(&self.thresholds[start..], 0.0);
        let parts: Vec<u32> = (0..=ranks.last().map_or(0, |largest| largest / RANKS)).collect();
        let mut rules: Vec<Rule> = group.iter().map(|number| threshold(*number).0).collect();
        rules.sort_unstable();
        rules.dedup();
        for (number, rank) in group.iter().zip(ranks) {
            let rule = rules.binary_search(&threshold(*number).0).unwrap_or_default();
            let column = column(self.zeros + first_column + rule * parts.len() + (rank / RANKS) as usize)?;
            places[*number] = Place { column, rank: u16::try_from(rank % RANKS).unwrap_or_default() };
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
        for feature in &self.features {
            let value: f64 = row[feature.at].into();
            let rank = rank(&self.thresholds[feature.thresholds.clone()], value);
            let (is_zero, is_missing) = (value.abs() <= self.near_zero, value.is_nan());
            for column in feature.columns.clone() {
                ranks[column] = self.kinds[column].settle(rank, is_zero, is_missing);
            }
        }
        for (halves, at) in ranks[self.kinds.len()..].as_chunks_mut().0.iter_mut().zip(&self.categories) {
            *halves = split_category(self.category(row[*at].into()));
        }
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
