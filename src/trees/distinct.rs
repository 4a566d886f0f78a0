//! Leaves that are alike, kept once: those of a forest's deep trees have seen one class, or one row.
//!
//! A row that has walked through all trees waits for as many leaves. Where thousands of them are alike, those that there
//! are stay in the first cache.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The number of a leaf among them has as many bits as a rank.
const MOST: usize = 1 << 16;
/// With more than so many, each has to be there so many times.
const FEW: usize = 1 << 12;
const TIMES: usize = 4;

/// Hashes a few numbers by multiplying: most of the time went to the usual hash. It begins with a random number, so that no
/// file can be made to have many leaves of one hash.
#[derive(Debug, Clone)]
struct Multiply(u64);

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

/// Leaves of `width` numbers, each kind once, and for all leaves which kind it is; nothing if there are too many kinds.
pub(super) fn distinct(leaves: &[f64], width: usize) -> Option<(Vec<f64>, Vec<u32>)> {
    let (mut known, mut numbers, mut bits) = (Vec::new(), Vec::with_capacity(leaves.len() / width), Vec::new());
    let mut kinds: HashMap<Vec<u64>, u32, Multiply> = HashMap::default();
    for (seen, leaf) in leaves.chunks_exact(width).enumerate() {
        bits.clear();
        bits.extend(leaf.iter().map(|value| value.to_bits()));
        let number = if let Some(number) = kinds.get(&bits[..]) {
            *number
        } else {
            let count = kinds.len();
            if count == MOST || count > FEW && count * TIMES > seen {
                return None;
            }
            let number = u32::try_from(count).ok()?;
            kinds.insert(bits.clone(), number);
            known.extend_from_slice(leaf);
            number
        };
        numbers.push(number);
    }
    Some((known, numbers))
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
        let all_differ: Vec<f64> = (0..FEW + 2).map(|number| number as f64).collect();
        assert!(distinct(&all_differ[..=FEW], 1).is_some());
        assert!(distinct(&all_differ, 1).is_none());
        let cases = [(MOST, true), (MOST + 1, false)];
        for (kinds, fits) in cases {
            let leaves: Vec<f64> = (0..kinds).flat_map(|kind| [kind as f64; 2 * TIMES]).collect();
            assert_eq!(distinct(&leaves, 1).is_some(), fits, "{kinds}");
        }
    }
}
