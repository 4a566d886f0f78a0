//! Finding names that come in the same order row after row.

use std::collections::HashMap;

/// Beyond so many names, searching one after the other costs more than hashing.
const MOST_SEARCHED: usize = 16;

/// Finds the positions of names, at once where they come as in the row before.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    all: Vec<&'a str>,
    /// Positions in the order in which the last row named them.
    order: Vec<usize>,
    step: usize,
    by_name: Option<HashMap<&'a str, usize>>,
}

impl<'a> Names<'a> {
    /// Of two equal names the first is found.
    pub(crate) fn new(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.collect();
        Self { order: (0..names.len()).collect(), all: names, step: 0, by_name: None }
    }

    /// Begins a row.
    pub(crate) fn restart(&mut self) {
        self.step = 0;
    }

    /// Where `name` is among the names.
    #[inline]
    pub(crate) fn find(&mut self, name: &str) -> Option<usize> {
        let step = self.step;
        if let Some(guess) = self.order.get(step)
            && self.all[*guess] == name
        {
            self.step += 1;
            return Some(*guess);
        }
        let found = self.search(name)?;
        if let Some(place) = self.order.get_mut(step) {
            *place = found;
        }
        self.step += 1;
        Some(found)
    }

    fn search(&mut self, name: &str) -> Option<usize> {
        if self.all.len() <= MOST_SEARCHED {
            return self.all.iter().position(|known| *known == name);
        }
        let names = &self.all;
        let by_name = self.by_name.get_or_insert_with(|| {
            // Backwards, so that the first of equal names stays.
            names.iter().enumerate().rev().map(|(index, name)| (*name, index)).collect()
        });
        by_name.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.all.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_order() {
        for count in [3, 40] {
            let texts: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
            let mut names = Names::new(texts.iter().map(String::as_str));
            let orders: [Vec<usize>; 3] = [
                (0..count).collect(),
                (0..count).rev().collect(),
                (0..count).map(|index| (index + 1) % count).collect(),
            ];
            for order in orders.iter().chain(&orders) {
                names.restart();
                for index in order {
                    assert_eq!(names.find(&texts[*index]), Some(*index));
                }
                assert_eq!(names.find("n0"), Some(0), "beyond the number of names");
                assert_eq!(names.find("other"), None);
            }
        }
    }

    #[test]
    fn of_equal_names_the_first_is_found() {
        let texts: Vec<String> = (0..20).map(|index| format!("n{}", index / 2)).collect();
        let mut names = Names::new(texts.iter().map(String::as_str));
        names.find("n9");
        names.restart();
        assert_eq!((names.find("n9"), names.find("n3")), (Some(18), Some(6)));
    }
}
