//! A map that forgets what was not asked for in a while, so that it stays within its size.

use std::{collections::HashMap, hash::Hash, mem};

/// Two generations: what is asked for moves to the young one; when that is half of all there may
/// be, the old one is dropped and the young one grows old. Everything is in constant time.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    young: HashMap<K, Held<V>>,
    old: HashMap<K, Held<V>>,
    young_size: usize,
    capacity: usize,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    size: usize,
}

impl<K: Eq + Hash, V: Clone> Bounded<K, V> {
    /// A map of values whose sizes add up to at most `capacity`.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_size: 0,
            capacity,
        }
    }

    /// A value, which is then young again.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(held) = self.young.get(key) {
            return Some(held.value.clone());
        }
        let (key, held) = self.old.remove_entry(key)?;
        let value = held.value.clone();
        self.put(key, held);
        Some(value)
    }

    /// Keeps a value in place of one of that key. One that would take up more than a quarter of
    /// all there is is not kept.
    pub(super) fn insert(&mut self, key: K, value: V, size: usize) {
        self.remove(&key);
        if size <= self.capacity / 4 {
            self.put(key, Held { value, size });
        }
    }

    /// Forgets a value.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(held) = self.young.remove(key) {
            self.young_size -= held.size;
        }
        self.old.remove(key);
    }

    /// Forgets the values whose keys are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.old.retain(|key, _| keep(key));
        self.young.retain(|key, _| keep(key));
        self.young_size = self.young.values().map(|held| held.size).sum();
    }

    fn put(&mut self, key: K, held: Held<V>) {
        if self.young_size + held.size > self.capacity / 2 {
            self.old = mem::take(&mut self.young);
            self.young_size = 0;
        }
        self.young_size += held.size;
        self.young.insert(key, held);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let mut map = Bounded::new(8);
        map.insert(0, "asked for", 1);
        for key in 1..100 {
            map.insert(key, "once", 1);
            assert_eq!(map.get(&0), Some("asked for"));
        }
        assert_eq!(map.get(&1), None);
        assert_eq!(map.get(&99), Some("once"));
        map.insert(5, "too large", 3);
        assert_eq!(map.get(&5), None);
        map.retain(|key| *key != 0);
        assert_eq!(map.get(&0), None);
    }

    proptest! {
        #[test]
        fn it_never_grows_over_its_size(steps in prop::collection::vec((0_u8..20, 0_usize..40, any::<bool>()), 0..200)) {
            let mut map = Bounded::new(100);
            for (key, size, asks) in steps {
                if asks {
                    map.get(&key);
                } else {
                    map.insert(key, (), size);
                }
                let young: usize = map.young.values().map(|held| held.size).sum();
                let old: usize = map.old.values().map(|held| held.size).sum();
                prop_assert_eq!(young, map.young_size);
                prop_assert!(young <= 50 && young + old <= 100, "{} and {}", young, old);
            }
        }
    }
}
