//! The order in which callers name inputs or features.

use std::sync::atomic::{AtomicU32, Ordering};

/// After each name, the one that came next the last time: most callers name all in the same order, call after call.
///
/// It is a guess, which whoever uses it compares: other threads may note another order meanwhile.
#[derive(Debug)]
pub struct Order {
    /// What comes first, and what follows each.
    next: Box<[AtomicU32]>,
}

impl Order {
    /// Of so many names, which come as they are numbered as long as nobody notes anything else.
    pub fn new(count: usize) -> Self {
        Self { next: (0..=u32::try_from(count).unwrap_or(u32::MAX - 1)).map(AtomicU32::new).collect() }
    }

    /// How many names it is of.
    pub fn len(&self) -> usize {
        self.next.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one that came after `last`, or first; the number of names if nothing did.
    #[inline]
    pub fn guess(&self, last: Option<usize>) -> usize {
        let place = last.map_or(0, |last| last + 1);
        self.next.get(place).map_or(usize::MAX, |next| next.load(Ordering::Relaxed) as usize)
    }

    /// Notes that `found` came after `last`, or first.
    pub fn note(&self, last: Option<usize>, found: usize) {
        if let (Some(next), Ok(found)) = (self.next.get(last.map_or(0, |last| last + 1)), u32::try_from(found)) {
            next.store(found, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_next_is_guessed_next_time() {
        let order = Order::new(3);
        let guesses = |order: &Order| [None, Some(0), Some(1), Some(2), Some(9)].map(|last| order.guess(last));
        assert_eq!(guesses(&order), [0, 1, 2, 3, usize::MAX]);
        order.note(None, 2);
        order.note(Some(2), 0);
        order.note(Some(9), 0);
        assert_eq!((guesses(&order), order.len(), order.is_empty()), ([2, 1, 2, 0, usize::MAX], 3, false));
        assert_eq!((Order::new(0).guess(None), Order::new(0).is_empty()), (0, true));
    }
}
