//! Leaves that are alike, kept once: those of a forest's deep trees have seen one class, or one row.
//!
//! A row that has walked through all trees waits for as many leaves. Where thousands of them are alike, those that there
//! are stay in the first cache.

use std::hash::{BuildHasher, RandomState};

/// The number of a leaf among them has as many bits as a rank.
const MOST: usize = 1 << 16;
/// With more than so many, each has to be there so many times.
const FEW: usize = 1 << 12;
const TIMES: usize = 4;

/// Places for kinds by their hashes: twice as many as kinds, so that a free one is near.
const PLACES: usize = 2 * MOST;

/// Leaves of `width` numbers, each kind once, and for all leaves which kind it is; nothing if there are too many kinds.
pub(super) fn distinct(leaves: &[f64], width: usize) -> Option<(Vec<f64>, Vec<u32>)> {
    let (mut known, mut count, mut numbers) = (Vec::new(), 0, Vec::with_capacity(leaves.len() / width));
    // The numbers of kinds and one, so that a place without one is 0.
    let mut places = vec![0_u32; PLACES];
    // No file can be made to have many leaves of one hash.
    let seed = RandomState::new().hash_one(0);
    for leaf in leaves.chunks_exact(width) {
        let mut place = hash(seed, leaf) % PLACES;
        let number = loop {
            let Some(number) = places[place].checked_sub(1) else {
                if count as usize == MOST {
                    return None;
                }
                known.extend_from_slice(leaf);
                count += 1;
                places[place] = count;
                break count - 1;
            };
            let kind = &known[number as usize * width..][..width];
            if leaf.iter().zip(kind).all(|(one, other)| one.to_bits() == other.to_bits()) {
                break number;
            }
            place = (place + 1) % PLACES;
        };
        numbers.push(number);
    }
    let is_worth = count as usize <= FEW || count as usize * TIMES <= numbers.len();
    is_worth.then_some((known, numbers))
}

/// A hash by multiplying: most of the time went to the usual one.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "halves, and the lowest bits")]
fn hash(seed: u64, leaf: &[f64]) -> usize {
    let mixed = leaf.iter().fold(seed, |hash, value| {
        // An odd number with about as many ones as zeros: the golden ratio's.
        let product = u128::from(hash ^ value.to_bits()) * 0x9E37_79B9_7F4A_7C15;
        product as u64 ^ (product >> 64) as u64
    });
    mixed as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_kept_once_by_its_bits() {
        let leaves = [0.0, 1.0, -0.0, 1.0, 0.0, 1.0, 0.0, f64::INFINITY];
        let (known, numbers) = distinct(&leaves, 2).unwrap();
        assert_eq!(numbers, [0, 1, 0, 2]);
        let bits: Vec<u64> = known.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0.0, 1.0, -0.0, 1.0, 0.0, f64::INFINITY].map(f64::to_bits));
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "few")]
    fn many_kinds_are_too_many_unless_each_is_there_many_times() {
        let all_differ: Vec<f64> = (0..=FEW).map(|number| number as f64).collect();
        assert!(distinct(&all_differ[..FEW], 1).is_some());
        assert!(distinct(&all_differ, 1).is_none());
        // As of trees of which each has few that are alike.
        assert!(distinct(&[&all_differ[..]; TIMES].concat(), 1).is_some());
        let cases = [(MOST, true), (MOST + 1, false)];
        for (kinds, fits) in cases {
            let leaves: Vec<f64> = (0..kinds).flat_map(|kind| [kind as f64; 2 * TIMES]).collect();
            assert_eq!(distinct(&leaves, 1).is_some(), fits, "{kinds}");
        }
    }
}
