//! Text of tensors.

use std::ops::Range;

use smallvec::SmallVec;

/// Many strings in one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    /// One text of one row needs no list elsewhere.
    ends: SmallVec<[usize; 2]>,
}

impl Strings {
    /// Room for `count` strings.
    pub fn with_capacity(count: usize) -> Self {
        Self { text: String::new(), ends: SmallVec::with_capacity(count) }
    }

    /// Appends one.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Those of a range of positions, copied; those beyond the end are left out.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let ends = self.ends.get(range.start..range.end.min(self.ends.len())).unwrap_or_default();
        let start = range.start.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = ends.last().copied().unwrap_or(start);
        Self { text: self.text[start..end].to_owned(), ends: ends.iter().map(|end| end - start).collect() }
    }

    /// Appends all of `more`.
    pub fn append(&mut self, more: &Self) {
        let before = self.text.len();
        self.text.push_str(&more.text);
        self.ends.extend(more.ends.iter().map(|end| before + end));
    }

    /// Them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

impl<'a> FromIterator<&'a str> for Strings {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut strings = Self::default();
        for text in texts {
            strings.push(text);
        }
        strings
    }
}
