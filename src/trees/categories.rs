//! Categories that are texts, of which a model knows hashes only.

use std::collections::HashMap;

/// What a column of a model is, where not all are numbers.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its categories, unless it has numbers.
    pub categories: Option<Categories>,
}

/// The categories of a column that the trees look for.
#[derive(Debug, Clone, Default)]
pub struct Categories {
    /// By the lower half of `CityHash64` (version 1.0.2), as `CatBoost` has it.
    numbers: HashMap<u32, u32>,
}

impl Categories {
    /// The number of a category in sets, by its hash; a new one gets the next.
    pub(super) fn number(&mut self, hash: u32) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(hash).or_insert(next)
    }

    /// The number of a text for the trees; one that they do not look for is below 0, and so in no set.
    pub fn of(&self, text: &str) -> f32 {
        #[allow(clippy::cast_precision_loss, reason = "beyond 2²⁴ there are no sets of categories")]
        self.numbers.get(&hash(text)).map_or(-1.0, |number| *number as f32)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "CatBoost keeps the lower half")]
fn hash(text: &str) -> u32 {
    ch_cityhash102::cityhash64(text.as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `CatBoost` 1.2 writes for models that split by these.
    #[test]
    fn texts_are_hashed_as_catboost_does() {
        let mut categories = Categories::default();
        assert_eq!([7, 9, 7].map(|hash| categories.number(hash)), [0, 1, 0]);
        assert_eq!(categories.of("red").to_bits(), (-1_f32).to_bits());
        for (text, expected) in KNOWN {
            assert_eq!(hash(text).cast_signed(), *expected, "{text:?}");
        }
    }

    const KNOWN: &[(&str, i32)] = &[
        ("", 797_982_799),
        ("a", -805_065_478),
        ("red", -1_242_798_403),
        ("grün", -1_239_201_176),
        ("1234567", 215_762_447),
        ("12345678", 1_054_993_967),
        ("1234567890123456", 1_860_183_304),
        ("xxxxxxxxxxxxxxxxx", 400_127_573),
        ("a longer category of 32 bytes ab!", 495_750_724),
        ("one that is more than 32 bytes long, and less than 64", 648_652_920),
        ("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 1_972_452_671),
        (
            "a category that is longer than sixty-four bytes, which are hashed block by block, twice over and some more",
            -400_963_176,
        ),
    ];
}
