//! Idempotency keys: a retried publish is answered with the first stamp.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Millis, Stamp, UserId};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// How long a key is remembered: longer than any retry after a failover.
pub const KEY_MEMORY_MS: u64 = 120_000;
/// Most keys of one room: what its quota admits within [`KEY_MEMORY_MS`], at the default rate. About 150 bytes each.
pub const MAX_KEYS: usize = 32_768;

/// What became of the first publish with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Its stamp.
    pub stamp: Stamp,
    /// The write that holds it; none: it was read back from the store.
    pub ticket: Option<u64>,
}

/// Keys of one room, by user. Rebuilt from the log by a new owner.
#[derive(Debug, Default)]
pub struct Keys {
    first: HashMap<(UserId, Arc<str>), First>,
    oldest: VecDeque<(Millis, UserId, Arc<str>)>,
}

impl Keys {
    /// What the key stands for, if it was used within [`KEY_MEMORY_MS`] (monotonic).
    #[must_use]
    pub fn get(&mut self, user: &UserId, key: &Arc<str>, now: Millis) -> Option<First> {
        self.forget_old(now);
        self.first.get(&(user.clone(), key.clone())).copied()
    }

    /// Remembers a key that was not known.
    pub fn put(&mut self, user: &UserId, key: &Arc<str>, first: First, now: Millis) {
        self.first.insert((user.clone(), key.clone()), first);
        self.oldest.push_back((now, user.clone(), key.clone()));
        self.forget_old(now);
    }

    /// Notes another write for a key that is known.
    pub fn update(&mut self, user: &UserId, key: &Arc<str>, first: First) {
        if let Some(known) = self.first.get_mut(&(user.clone(), key.clone())) {
            *known = first;
        }
    }

    /// All keys, oldest first, for a new owner.
    pub fn all(&self) -> impl Iterator<Item = (UserId, Arc<str>, Stamp)> {
        self.oldest.iter().filter_map(|(_, user, key)| {
            let first = self.first.get(&(user.clone(), key.clone()))?;
            Some((user.clone(), key.clone(), first.stamp))
        })
    }

    fn forget_old(&mut self, now: Millis) {
        let over = |since: Millis, len: usize| len > MAX_KEYS || now.since(since) >= KEY_MEMORY_MS;
        while self.oldest.front().is_some_and(|(since, _, _)| over(*since, self.oldest.len())) {
            if let Some((_, user, key)) = self.oldest.pop_front() {
                self.first.remove(&(user, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Lane};

    fn first(seq: u64) -> First {
        First { stamp: Stamp { epoch: Epoch(7), lane: Lane::Normal, seq }, ticket: Some(seq) }
    }

    #[test]
    fn a_key_is_remembered_for_its_user_for_two_minutes() {
        let (ana, bob) = (UserId::new("ana").unwrap(), UserId::new("bob").unwrap());
        let key: Arc<str> = "c-1".into();
        let mut keys = Keys::default();
        keys.put(&ana, &key, first(1), Millis(5));
        assert_eq!(keys.get(&ana, &key, Millis(5 + KEY_MEMORY_MS - 1)), Some(first(1)));
        assert_eq!(keys.get(&bob, &key, Millis(6)), None);
        assert_eq!(keys.get(&ana, &key, Millis(5 + KEY_MEMORY_MS)), None);
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let ana = UserId::new("ana").unwrap();
        let mut keys = Keys::default();
        for number in 0..MAX_KEYS as u64 + 1000 {
            keys.put(&ana, &Arc::from(format!("{number}")), first(number), Millis(1));
        }
        assert_eq!((keys.first.len(), keys.oldest.len()), (MAX_KEYS, MAX_KEYS));
        assert_eq!(keys.get(&ana, &Arc::from("999"), Millis(1)), None);
        assert!(keys.get(&ana, &Arc::from("1000"), Millis(1)).is_some());
    }
}
