//! A row's numbers as splits compare them: whatever a rule says of missing numbers and of zero is settled once for a row.

use std::collections::HashMap;

use crate::trees::tree::Rule;

/// A missing number in the place of a category.
pub(super) const MISSING: f64 = -1.0;
/// The least number that is category 0 once its fraction is cut off.
const TRUNCATED: f64 = (-1_f64).next_up();

/// Columns of settled rows: a feature under one rule.
#[derive(Debug, Default)]
pub(super) struct Columns {
    numbers: HashMap<(u32, Rule), u32>,
    all: Vec<(u32, Rule)>,
    /// Whether numbers between -1 and 0 are no category.
    refuses_negative: bool,
}

impl Columns {
    /// The column of a feature under a rule.
    pub(super) fn number(&mut self, feature: u32, rule: Rule) -> u32 {
        // Which set it is makes no difference.
        let rule = if rule.set().is_some() { Rule::Categories(0) } else { rule };
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        *self.numbers.entry((feature, rule)).or_insert_with(|| {
            self.all.push((feature, rule));
            next
        })
    }

    /// Numbers between -1 and 0 are no category.
    pub(super) fn refuse_negative_categories(&mut self) {
        self.refuses_negative = true;
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Appends the columns of a row.
    pub(super) fn settle(&self, row: &[f64], settled: &mut Vec<f64>) {
        let least = if self.refuses_negative { 0.0 } else { TRUNCATED };
        settled.extend(self.all.iter().map(|(feature, rule)| settle(row[*feature as usize], *rule, least)));
    }
}

/// The number that compares with any threshold as the rule wants it: nothing is above negative infinity, and NaN is at
/// most nothing. A category is a whole number, [`MISSING`], or NaN if it is in no set.
fn settle(value: f64, rule: Rule, least_category: f64) -> f64 {
    let is_missing = value.is_nan();
    match rule {
        Rule::MissingIsZero if is_missing => 0.0,
        Rule::ZeroLeft if is_missing || value == 0.0 => f64::NEG_INFINITY,
        Rule::ZeroRight if value == 0.0 => f64::NAN,
        Rule::MissingLeft if is_missing => f64::NEG_INFINITY,
        Rule::Categories(_) | Rule::CategoriesOrMissing(_) if is_missing => MISSING,
        Rule::Categories(_) | Rule::CategoriesOrMissing(_) => {
            let is_category = value >= least_category && value < f64::from(i32::MAX) + 1.0;
            if is_category { value.trunc() } else { f64::NAN }
        }
        _ => value,
    }
}
