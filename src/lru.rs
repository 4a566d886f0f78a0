//! A map that knows how many bytes its values hold and gives up the least recently used ones.

use std::collections::HashMap;
use std::hash::Hash;

/// Values with a weight in bytes and an order of use.
#[derive(Debug)]
pub struct Lru<K, V> {
    slots: HashMap<K, Slot<V>>,
    clock: u64,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    bytes: u64,
    used: u64,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Self {
        Self { slots: HashMap::new(), clock: 0 }
    }
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// Adds or replaces a value, which counts as a use.
    pub fn insert(&mut self, key: K, value: V, bytes: u64) {
        self.clock += 1;
        self.slots.insert(key, Slot { value, bytes, used: self.clock });
    }

    /// The value of `key`, which counts as a use.
    pub fn touch(&mut self, key: &K) -> Option<&V> {
        self.clock += 1;
        let slot = self.slots.get_mut(key)?;
        slot.used = self.clock;
        Some(&slot.value)
    }

    /// Whether there is a value of `key`; looking is no use.
    pub fn contains(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    /// Removes a value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.slots.remove(key).map(|slot| slot.value)
    }

    /// All bytes held.
    pub fn bytes(&self) -> u64 {
        self.slots.values().map(|slot| slot.bytes).sum()
    }

    /// All entries, the most recently used first; looking is no use.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_by_key(|(_, slot)| std::cmp::Reverse(slot.used));
        slots.into_iter().map(|(key, slot)| (key, &slot.value))
    }

    /// Removes the least recently used values that `may_go`, until at most `budget` bytes are held or none is left to go.
    pub fn shrink_to(&mut self, budget: u64, may_go: impl Fn(&V) -> bool) -> Vec<(K, V)> {
        let mut candidates: Vec<(u64, K)> = self
            .slots
            .iter()
            .filter(|(_, slot)| may_go(&slot.value))
            .map(|(key, slot)| (slot.used, key.clone()))
            .collect();
        candidates.sort_by_key(|(used, _)| *used);
        let mut gone = Vec::new();
        let mut held = self.bytes();
        for (_, key) in candidates {
            if held <= budget {
                break;
            }
            if let Some(slot) = self.slots.remove(&key) {
                held -= slot.bytes;
                gone.push((key, slot.value));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Lru<&'static str, u32> {
        let mut lru = Lru::default();
        for (index, key) in ["a", "b", "c"].into_iter().enumerate() {
            lru.insert(key, u32::try_from(index).unwrap(), 10);
        }
        lru
    }

    #[test]
    fn least_recently_used_go_first() {
        let mut lru = filled();
        assert_eq!(lru.touch(&"a"), Some(&0));
        assert_eq!(lru.touch(&"x"), None);
        assert_eq!(lru.shrink_to(20, |_| true), [("b", 1)]);
        assert_eq!(lru.bytes(), 20);
        assert_eq!(lru.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn held_values_stay_even_over_budget() {
        let mut lru = filled();
        assert_eq!(lru.shrink_to(0, |value| *value == 1), [("b", 1)]);
        assert_eq!(lru.bytes(), 20);
        assert!(lru.shrink_to(20, |_| true).is_empty());
        assert_eq!(lru.remove(&"a"), Some(0));
    }
}
