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
        if self.text.capacity() == 0 {
            // Just as long: most often it is the only one.
            self.text = String::with_capacity(text.len());
        }
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
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.range(0..self.ends.len())
    }

    /// Those of a range of positions; those beyond the end are left out.
    pub fn range(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = &str> {
        let ends = self.ends.get(range.start..range.end.min(self.ends.len())).unwrap_or_default();
        let mut start = range.start.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        ends.iter().map(move |end| &self.text[std::mem::replace(&mut start, *end)..*end])
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
