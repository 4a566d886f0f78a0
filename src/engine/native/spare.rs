//! Memory of short lists, kept for the thread's next run: a row of many inputs takes dozens of them.

use std::borrow::Cow;
use std::cell::Cell;

use super::values::Values;

/// Longer lists, in bytes, are given back: what takes long anyhow would gain nothing.
const MOST_BYTES: usize = 512;
/// At most so many lists of each kind are kept.
const MOST_LISTS: usize = 64;
/// For programs of more slots, their list is not kept.
const MOST_SLOTS: usize = 256;

thread_local! {
    static KEPT: Cell<Option<Box<Spare>>> = const { Cell::new(None) };
}

/// Empty lists with memory. It is boxed, as each run moves it several times.
#[derive(Debug, Default)]
pub(super) struct Spare {
    slots: Vec<Values<'static>>,
    pub(super) floats: Vec<Vec<f32>>,
    pub(super) doubles: Vec<Vec<f64>>,
    pub(super) ints: Vec<Vec<i64>>,
    pub(super) bools: Vec<Vec<bool>>,
    pub(super) texts: Vec<Vec<&'static str>>,
}

impl Spare {
    /// What the thread has; nothing while it ends.
    pub(super) fn take() -> Box<Self> {
        KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// The memory of a list of slots.
    pub(super) fn take_slots<'a>(&mut self) -> Vec<Values<'a>> {
        emptied(std::mem::take(&mut self.slots))
    }

    /// Keeps this and the memory of the slots.
    pub(super) fn keep(mut self: Box<Self>, mut slots: Vec<Values<'_>>) {
        for values in slots.drain(..) {
            match values {
                Values::Floats(list) => put(list, &mut self.floats),
                Values::Doubles(list) => put(list, &mut self.doubles),
                Values::Ints(list) => put(list, &mut self.ints),
                Values::Bools(list) => put(list, &mut self.bools),
                Values::Texts(Cow::Owned(mut list)) => {
                    list.clear();
                    // An empty list of other texts, in the same memory.
                    put(Cow::Owned(list.into_iter().map(|_| "").collect()), &mut self.texts);
                }
                Values::Texts(_) => {}
            }
        }
        if slots.capacity() <= MOST_SLOTS {
            self.slots = emptied(slots);
        }
        // While the thread ends, nothing is kept.
        let _ = KEPT.try_with(|kept| kept.set(Some(self)));
    }
}

/// An empty list in the same memory, of values that live longer or shorter.
fn emptied<'a>(mut slots: Vec<Values<'_>>) -> Vec<Values<'a>> {
    slots.clear();
    slots.into_iter().map(|_| Values::default()).collect()
}

fn put<T: Clone>(list: Cow<'_, [T]>, kept: &mut Vec<Vec<T>>) {
    if let Cow::Owned(mut list) = list
        && (1..=MOST_BYTES).contains(&(list.capacity() * size_of::<T>()))
        && kept.len() < MOST_LISTS
    {
        list.clear();
        kept.push(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_are_used_again() {
        let text = "a text".to_owned();
        let floats: Vec<f32> = vec![1.0; 3];
        let texts = vec![text.as_str(); 5];
        let capacities = (floats.capacity(), texts.capacity());
        let slots = vec![
            Values::Floats(Cow::Owned(floats)),
            Values::Texts(Cow::Owned(texts)),
            Values::Doubles(Cow::Owned(vec![0.0; MOST_BYTES])),
            Values::Ints(Cow::Borrowed(&[1])),
            Values::default(),
        ];
        let capacity = slots.capacity();
        Spare::take().keep(slots);
        let spare = Spare::take();
        assert_eq!((spare.slots.capacity(), spare.slots.len()), (capacity, 0));
        assert_eq!((spare.floats.len(), spare.doubles.len(), spare.ints.len(), spare.texts.len()), (1, 0, 0, 1));
        assert_eq!((spare.floats[0].capacity(), spare.texts[0].capacity()), capacities);
        assert!(spare.floats[0].is_empty() && spare.texts[0].is_empty());
        assert!(Spare::take().floats.is_empty(), "what was taken is not there twice");
        for _ in 0..2 * MOST_LISTS {
            Spare::take().keep(vec![Values::Bools(Cow::Owned(vec![true]))]);
        }
        Spare::take().keep((0..2 * MOST_LISTS).map(|_| Values::Bools(Cow::Owned(vec![true]))).collect());
        assert_eq!(Spare::take().bools.len(), MOST_LISTS);
    }
}
