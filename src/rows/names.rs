//! Finding names that come in the same order row after row.

use std::collections::HashMap;

use crate::signature::{Order, Port};

/// Beyond so many names, searching one after the other costs more than hashing.
const MOST_SEARCHED: usize = 32;

/// What has names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'a> {
    Inputs(&'a [Port]),
    Features(&'a [String]),
}

impl<'a> Named<'a> {
    fn len(self) -> usize {
        match self {
            Self::Inputs(ports) => ports.len(),
            Self::Features(names) => names.len(),
        }
    }

    #[inline]
    fn get(self, index: usize) -> Option<&'a str> {
        match self {
            Self::Inputs(ports) => ports.get(index).map(|port| port.name.as_str()),
            Self::Features(names) => names.get(index).map(String::as_str),
        }
    }
}

/// Finds the positions of names, at once where they come in the order that was noted.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    named: Named<'a>,
    /// What all callers note, unless it is of other names.
    shared: Option<&'a Order>,
    own: Option<Order>,
    last: Option<usize>,
    by_name: Option<HashMap<&'a str, usize>>,
}

impl<'a> Names<'a> {
    /// Of two equal names the first is found.
    pub(crate) fn new(named: Named<'a>, order: &'a Order) -> Self {
        let is_of_these = order.len() == named.len();
        let (shared, own) = if is_of_these { (Some(order), None) } else { (None, Some(Order::new(named.len()))) };
        Self { named, shared, own, last: None, by_name: None }
    }

    /// Begins a row.
    pub(crate) fn restart(&mut self) {
        self.last = None;
    }

    /// Where `name` is among the names.
    #[inline]
    pub(crate) fn find(&mut self, name: &str) -> Option<usize> {
        let guess = self.shared.or(self.own.as_ref())?.guess(self.last);
        let found = if self.named.get(guess) == Some(name) { guess } else { self.search(name)? };
        self.last = Some(found);
        Some(found)
    }

    fn search(&mut self, name: &str) -> Option<usize> {
        let found = if self.named.len() <= MOST_SEARCHED {
            self.iter().position(|known| known == name)
        } else {
            let count = self.named.len();
            // Backwards, so that the first of equal names stays.
            let all = (0..count).rev().filter_map(|index| Some((self.named.get(index)?, index)));
            self.by_name.get_or_insert_with(|| all.collect()).get(name).copied()
        };
        if let (Some(found), Some(order)) = (found, self.shared.or(self.own.as_ref())) {
            order.note(self.last, found);
        }
        found
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> {
        let named = self.named;
        (0..named.len()).filter_map(move |index| named.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_order() {
        for count in [3, 40] {
            let texts: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
            let orders: [Vec<usize>; 3] = [
                (0..count).collect(),
                (0..count).rev().collect(),
                (0..count).map(|index| (index + 1) % count).collect(),
            ];
            // Noted by all, or of other names.
            for shared in [Order::new(count), Order::new(count - 1)] {
                let mut names = Names::new(Named::Features(&texts), &shared);
                for order in orders.iter().chain(&orders) {
                    names.restart();
                    for index in order {
                        assert_eq!(names.find(&texts[*index]), Some(*index));
                    }
                    assert_eq!(names.find("n0"), Some(0), "beyond the number of names");
                    assert_eq!(names.find("other"), None);
                }
                let is_shared = shared.len() == count;
                assert_eq!(shared.guess(Some(1)) == 2 && shared.guess(None) == 1, is_shared, "the last order is noted");
            }
        }
    }

    #[test]
    fn of_equal_names_the_first_is_found() {
        let texts: Vec<String> = (0..40).map(|index| format!("n{}", index / 2)).collect();
        let order = Order::new(texts.len());
        let mut names = Names::new(Named::Features(&texts), &order);
        names.find("n9");
        names.restart();
        assert_eq!((names.find("n9"), names.find("n3")), (Some(18), Some(6)));
    }
}
