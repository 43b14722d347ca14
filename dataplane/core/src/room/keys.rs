//! Idempotency keys: a retried publish is answered with the first stamp.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::now::Now;
use crate::{Millis, Stamp, UserId};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// How long a key is remembered, from the moment at which its message was ordered, whoever owns the room since: longer than any
/// retry after a failover.
pub const KEY_MEMORY_MS: u64 = 120_000;
/// Most keys of one room: what its quota admits within [`KEY_MEMORY_MS`], at the default rate. About 250 bytes each.
pub const MAX_KEYS: usize = 32_768;

/// What became of the first publish with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Its stamp.
    pub stamp: Stamp,
    /// The write that holds it; none: it was read back from the store.
    pub ticket: Option<u64>,
}

/// A key as it passes from owner to owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Whose.
    pub user: UserId,
    /// The key.
    pub key: Arc<str>,
    /// What it stands for.
    pub stamp: Stamp,
    /// When its message was ordered, Unix time by the clock of its owner then.
    pub at: Millis,
}

impl KnownKey {
    /// How long it is still remembered: no owner begins anew, or a key would live as long as owners change. A clock that was
    /// ahead of ours adds nothing.
    #[must_use]
    pub fn left_ms(&self, now_unix: Millis) -> u64 {
        KEY_MEMORY_MS.saturating_sub(now_unix.since(self.at))
    }
}

#[derive(Debug)]
struct Entry {
    first: First,
    /// When it is forgotten (monotonic), and its place among those of the same moment.
    until: (Millis, u64),
}

/// Keys of one room, by user. Rebuilt from the log by a new owner.
#[derive(Debug, Default)]
pub struct Keys {
    entries: HashMap<(UserId, Arc<str>), Entry>,
    oldest: BTreeMap<(Millis, u64), (UserId, Arc<str>)>,
    next: u64,
}

impl Keys {
    /// What the key stands for, if it is still remembered at `now` (monotonic).
    #[must_use]
    pub fn get(&mut self, user: &UserId, key: &Arc<str>, now: Millis) -> Option<First> {
        self.forget_old(now);
        self.entries.get(&(user.clone(), key.clone())).map(|entry| entry.first)
    }

    /// Remembers a key that was not known, for so long from `now`: [`KEY_MEMORY_MS`], or what an owner before left of it.
    pub fn put(&mut self, user: &UserId, key: &Arc<str>, first: First, left_ms: u64, now: Millis) {
        let until = (now + left_ms, self.next);
        self.next += 1;
        let id = (user.clone(), key.clone());
        self.oldest.insert(until, id.clone());
        if let Some(before) = self.entries.insert(id, Entry { first, until }) {
            self.oldest.remove(&before.until);
        }
        self.forget_old(now);
    }

    /// Notes another write for a key that is known.
    pub fn update(&mut self, user: &UserId, key: &Arc<str>, first: First) {
        if let Some(known) = self.entries.get_mut(&(user.clone(), key.clone())) {
            known.first = first;
        }
    }

    /// All keys, oldest first, for a new owner.
    pub fn all(&self, now: Now) -> impl Iterator<Item = KnownKey> {
        self.oldest.iter().filter_map(move |((until, _), (user, key))| {
            let stamp = self.entries.get(&(user.clone(), key.clone()))?.first.stamp;
            let left_ms = until.since(now.mono);
            let at = now.unix - KEY_MEMORY_MS.saturating_sub(left_ms);
            (left_ms > 0).then(|| KnownKey { user: user.clone(), key: key.clone(), stamp, at })
        })
    }

    fn forget_old(&mut self, now: Millis) {
        while let Some(entry) = self.oldest.first_entry()
            && (entry.key().0 <= now || self.entries.len() > MAX_KEYS)
        {
            self.entries.remove(&entry.remove());
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
        keys.put(&ana, &key, first(1), KEY_MEMORY_MS, Millis(5));
        assert_eq!(keys.get(&ana, &key, Millis(5 + KEY_MEMORY_MS - 1)), Some(first(1)));
        assert_eq!(keys.get(&bob, &key, Millis(6)), None);
        assert_eq!(keys.get(&ana, &key, Millis(5 + KEY_MEMORY_MS)), None);
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let ana = UserId::new("ana").unwrap();
        let mut keys = Keys::default();
        for number in 0..MAX_KEYS as u64 + 1000 {
            keys.put(&ana, &Arc::from(format!("{number}")), first(number), KEY_MEMORY_MS, Millis(1));
        }
        assert_eq!((keys.entries.len(), keys.oldest.len()), (MAX_KEYS, MAX_KEYS));
        assert_eq!(keys.get(&ana, &Arc::from("999"), Millis(1)), None);
        assert!(keys.get(&ana, &Arc::from("1000"), Millis(1)).is_some());
    }

    #[test]
    fn a_key_that_comes_late_from_an_owner_before_does_not_outlive_the_others() {
        let ana = UserId::new("ana").unwrap();
        let now = |ms| Now { mono: Millis(ms), unix: Millis(1_000_000 + ms) };
        let keys_of = |now: Now, known: &KnownKey| {
            let mut keys = Keys::default();
            keys.put(&ana, &"own".into(), first(9), KEY_MEMORY_MS, now.mono);
            keys.put(&ana, &known.key, first(1), known.left_ms(now.unix), now.mono);
            keys
        };
        let known = KnownKey { user: ana.clone(), key: "k".into(), stamp: first(1).stamp, at: now(100).unix };
        // It is passed on after half the time, to a process that has just begun, and again near the end.
        let mut second = keys_of(now(60_100), &known);
        assert_eq!(second.all(now(100_000)).next(), Some(known.clone()));
        assert!(second.get(&ana, &known.key, now(100 + KEY_MEMORY_MS - 1).mono).is_some());
        assert!(second.get(&ana, &known.key, now(100 + KEY_MEMORY_MS).mono).is_none());
        assert_eq!(second.all(now(100 + KEY_MEMORY_MS)).count(), 1, "the own one");
        let mut third = keys_of(now(KEY_MEMORY_MS), &known);
        assert!(third.get(&ana, &known.key, now(100 + KEY_MEMORY_MS - 1).mono).is_some());
        assert!(third.get(&ana, &known.key, now(100 + KEY_MEMORY_MS).mono).is_none());
        assert_eq!(known.left_ms(now(100 + KEY_MEMORY_MS).unix), 0);
        assert_eq!(known.left_ms(Millis(5)), KEY_MEMORY_MS, "a clock that was ahead");
    }
}
