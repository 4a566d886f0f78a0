//! Sets of categories as bits, one for each whole number.

/// Bytes that the sets of any model may take, and how many more for each byte of its file: a category is a bit, however few
/// there are, so that a short file could name ever larger ones. A split by one of 4,000 categories takes ten times its bytes
/// in the file, by one of 20,000 in UBJSON more than twenty times: models of a few MB need what is left to any.
const LEAST: usize = 64 << 20;
const TIMES: usize = 16;

/// Makes the sets of one model.
#[derive(Debug)]
pub(super) struct Sets {
    /// Words that they may still take, and at first.
    left: usize,
    most: usize,
}

impl Sets {
    /// Those of a file of so many bytes.
    pub(super) fn new(file: usize) -> Self {
        let most = LEAST.saturating_add(file.saturating_mul(TIMES)) / size_of::<u32>();
        Self { left: most, most }
    }

    /// The set of these categories, in any order.
    pub(super) fn of(
        &mut self,
        members: impl Iterator<Item = Result<u32, String>> + Clone,
    ) -> Result<Vec<u32>, String> {
        let mut words = 0;
        for member in members.clone() {
            words = words.max((member? / 32) as usize + 1);
        }
        self.left = self.left.checked_sub(words).ok_or_else(|| {
            let most = (self.most * size_of::<u32>()) >> 20;
            format!("sets of categories take more than {most} MB, too much for so short a file")
        })?;
        let mut bits = vec![0; words];
        for member in members {
            let member = member?;
            bits[(member / 32) as usize] |= 1 << (member % 32);
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_bits_and_bounded_by_the_file() {
        let mut sets = Sets::new(0);
        assert_eq!(sets.of([33, 0, 33].into_iter().map(Ok)).unwrap(), [1, 2]);
        assert_eq!(sets.of(std::iter::empty()).unwrap(), [0; 0]);
        sets.of(std::iter::once(Err("no number".to_owned()))).unwrap_err();
        // 64 MiB are left but for two words, and a category of 2²⁸ takes a half of them.
        let cases = [(0, 1 << 28, true), (0, 1 << 28, false), (0, u32::MAX, false), (1 << 22, 1 << 29, true)];
        for (file, member, fits) in cases {
            if file > 0 {
                sets = Sets::new(file);
            }
            assert_eq!(sets.of(std::iter::once(Ok(member))).is_ok(), fits, "{member}");
        }
    }
}
