//! Sets of categories as bits, one for each whole number.

/// Words of 32 bits that the sets of a model may take: a category is a bit, however few there are, so that a short file
/// could name ever larger ones.
const MOST_WORDS: usize = 1 << 24;

/// Makes the sets of one model.
#[derive(Debug, Default)]
pub(super) struct Sets {
    words: usize,
}

impl Sets {
    /// The set of these categories, in any order.
    pub(super) fn of(&mut self, members: impl Iterator<Item = Result<u32, String>>) -> Result<Vec<u32>, String> {
        let mut bits: Vec<u32> = Vec::new();
        for member in members {
            let member = member?;
            let word = (member / 32) as usize;
            if word >= bits.len() {
                self.words += word + 1 - bits.len();
                if self.words > MOST_WORDS {
                    return Err(format!("sets of categories take more than {} MB", MOST_WORDS >> 18));
                }
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (member % 32);
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_bits_and_bounded() {
        let mut sets = Sets::default();
        assert_eq!(sets.of([33, 0, 33].into_iter().map(Ok)).unwrap(), [1, 2]);
        assert_eq!(sets.of(std::iter::empty()).unwrap(), [0; 0]);
        sets.of(std::iter::once(Err("no number".to_owned()))).unwrap_err();
        for (member, fits) in [(1 << 28, true), (1 << 28, false), (u32::MAX, false)] {
            assert_eq!(sets.of(std::iter::once(Ok(member))).is_ok(), fits, "{member}");
        }
    }
}
