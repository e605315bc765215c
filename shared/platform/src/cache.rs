//! A small cache for what seldom changes, such as API keys and endpoints: bounded in entries and in age.

use std::{collections::HashMap, hash::Hash, sync::Mutex};

use florin_domain::time::Timestamp;

/// Remembers values for a time. When it is full it forgets everything: simple, and still bounded.
#[derive(Debug)]
pub struct Cache<K, V> {
    entries: Mutex<HashMap<K, (Timestamp, V)>>,
    age_ms_max: i64,
    entries_max: usize,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A cache whose values are at most `age_ms_max` old.
    pub fn new(age_ms_max: i64, entries_max: usize) -> Self {
        Self { entries: Mutex::new(HashMap::new()), age_ms_max, entries_max }
    }

    /// The value, if it is known and young enough.
    pub fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let entries = self.entries.lock().ok()?;
        let (since, value) = entries.get(key)?;
        (0..self.age_ms_max).contains(&now.ms_since(*since)).then(|| value.clone())
    }

    /// Forgets the value.
    pub fn forget(&self, key: &K) {
        if let Ok(mut entries) = self.entries.lock() {
            entries.remove(key);
        }
    }

    /// Remembers the value from now on.
    pub fn put(&self, key: K, value: V, now: Timestamp) {
        if let Ok(mut entries) = self.entries.lock() {
            if entries.len() >= self.entries_max {
                entries.clear();
            }
            entries.insert(key, (now, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_is_old_and_stays_small() {
        let at = Timestamp::from_ms;
        let cache = Cache::new(100, 2);
        cache.put("a", 1, at(1_000));
        assert_eq!(cache.get(&"a", at(1_099)), Some(1));
        assert_eq!(cache.get(&"a", at(1_100)), None);
        assert_eq!(cache.get(&"a", at(900)), None, "a clock that went back is not trusted");
        cache.put("b", 2, at(1_000));
        cache.put("c", 3, at(1_000));
        assert_eq!((cache.get(&"a", at(1_000)), cache.get(&"c", at(1_000))), (None, Some(3)));
    }
}
