//! A row's numbers as ranks by binary searches, of eight features at once.
//!
//! A step of a search waits for a load, a compare and a choice. One search after the other, each of which ended with a branch
//! that was taken wrongly, thirty features of 3,000 thresholds took as long as a hundred trees of twelve levels. Nothing is
//! prepared for it but an order of features, so that a process's first row has it as well.

use std::hint::select_unpredictable;
use std::ops::Range;

/// Searches at once.
const SIDE_BY_SIDE: usize = 8;

/// Features with about as many thresholds; the first one fills what is left of the last group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) features: [u32; SIDE_BY_SIDE],
    /// Their places in the row.
    places: [u32; SIDE_BY_SIDE],
    /// Where their thresholds begin, and the last of each.
    firsts: [u32; SIDE_BY_SIDE],
    lasts: [u32; SIDE_BY_SIDE],
    /// Half of the ranks of the one that has the most, as a power of two.
    half: u32,
}

/// Groups of features, by their places in the row and where their thresholds are, of which each has some.
pub(super) fn groups(features: &[(usize, Range<usize>)]) -> Vec<Group> {
    let mut order: Vec<usize> = (0..features.len()).collect();
    order.sort_by_key(|number| features[*number].1.len());
    let group = |numbers: &[usize]| {
        // Fewer than nodes, of which a model has at most 2³¹.
        let all = |of: &dyn Fn(usize) -> usize| {
            std::array::from_fn(|at| u32::try_from(of(*numbers.get(at).unwrap_or(&numbers[0]))).unwrap_or(u32::MAX))
        };
        Group {
            features: all(&|number| number),
            places: all(&|number| features[number].0),
            firsts: all(&|number| features[number].1.start),
            lasts: all(&|number| features[number].1.end - 1),
            half: 1 << numbers.iter().map(|number| features[*number].1.len().ilog2()).max().unwrap_or_default(),
        }
    };
    order.chunks(SIDE_BY_SIDE).map(group).collect()
}

impl Group {
    /// The numbers of a row, and how many thresholds of its feature each is beyond.
    #[inline]
    pub(super) fn ranks<T: Copy + Into<f64>>(
        &self,
        row: &[T],
        thresholds: &[f64],
    ) -> ([f64; SIDE_BY_SIDE], [u32; SIDE_BY_SIDE]) {
        let values = self.places.map(|place| row[place as usize].into());
        let (mut found, mut half) = (self.firsts, self.half);
        while half > 0 {
            for ((found, last), value) in found.iter_mut().zip(self.lasts).zip(values) {
                // Behind the last one it is as large; what is found then is too much, and cut in the end.
                let probe = (*found + half - 1).min(last);
                *found = select_unpredictable(thresholds[probe as usize] < value, *found + half, *found);
            }
            half /= 2;
        }
        for ((found, first), last) in found.iter_mut().zip(self.firsts).zip(self.lasts) {
            *found = (*found).min(last + 1) - first;
        }
        (values, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_how_many_thresholds_are_below() {
        let lengths = [1_u8, 2, 3, 4, 7, 8, 9, 15, 16, 17, 100, 1];
        let (mut thresholds, mut features) = (Vec::new(), Vec::new());
        for (place, length) in lengths.into_iter().enumerate() {
            let start = thresholds.len();
            thresholds.extend((0..length).map(f64::from));
            features.push((place, start..thresholds.len()));
        }
        let groups = groups(&features);
        let values =
            [f64::NEG_INFINITY, -0.5, 0.0, 0.5, 2.0, 6.5, 7.0, 14.5, 50.0, 98.5, 99.0, f64::INFINITY, f64::NAN];
        for value in values {
            let row = vec![value; lengths.len()];
            let mut seen = vec![false; lengths.len()];
            for group in &groups {
                let (values, ranks) = group.ranks(&row, &thresholds);
                assert_eq!(values.map(f64::to_bits), [value.to_bits(); SIDE_BY_SIDE]);
                for (feature, rank) in group.features.into_iter().zip(ranks) {
                    let below = thresholds[features[feature as usize].1.clone()].iter().filter(|less| **less < value);
                    assert_eq!(rank as usize, below.count(), "{value} in feature {feature}");
                    seen[feature as usize] = true;
                }
            }
            assert_eq!(seen, vec![true; lengths.len()]);
        }
    }
}
