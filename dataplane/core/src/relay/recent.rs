//! What users were told a moment ago: kicks and directed messages, kept for sessions that were connected by then, but of which
//! the home had not heard.
//!
//! Gateways tell of sessions in batches, and of all of them when a home is new. Who is kicked or spoken to right after a
//! `hello` must not slip through between: it gets what it missed when it is reported. Who connected later must not.
//!
//! Memory is bounded by count and bytes; what is dropped for that, the oldest first, reaches those only who were known.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::{Millis, SessionId, UserId};

/// How long a word is kept: a gateway tells of a session within 100 ms, and of all of them within a second of a new link.
pub(super) const KEEP_MS: u64 = 2_000;
/// Words kept at most.
const MAX_WORDS: usize = 16_384;
/// What they may weigh, bytes.
const MAX_BYTES: usize = 8 << 20;
/// What a word weighs beside its content: ids, index and lists.
const WORD_BYTES: usize = 256;

/// A process of a gateway, as the homes number them.
pub(super) type GatewayKey = u32;

/// Sessions that were told, and at which gateways.
pub(super) type Told = SmallVec<[(SessionId, GatewayKey); 2]>;

/// A session that is reported, and since when it is connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported<'a> {
    pub(super) user: &'a UserId,
    pub(super) session: SessionId,
    pub(super) gateway: GatewayKey,
    /// By our clock.
    pub(super) connected: Millis,
}

#[derive(Debug)]
struct Said<W> {
    user: UserId,
    /// To this session only.
    session: Option<SessionId>,
    word: W,
    bytes: usize,
    at: Millis,
    /// Who was told, at once or late: whichever connection of the session was at that gateway then has it.
    told: Told,
}

impl<W> Said<W> {
    /// Whether a session ought to have it and does not.
    fn is_missed_by(&self, who: &Reported<'_>) -> bool {
        self.session.is_none_or(|session| session == who.session)
            && who.connected <= self.at
            && !self.told.contains(&(who.session, who.gateway))
    }
}

/// The words of the last two seconds.
#[derive(Debug)]
pub(super) struct Recent<W> {
    words: BTreeMap<u64, Said<W>>,
    by_user: HashMap<UserId, SmallVec<[u64; 2]>>,
    bytes: usize,
    next: u64,
}

impl<W> Default for Recent<W> {
    fn default() -> Self {
        Self { words: BTreeMap::new(), by_user: HashMap::new(), bytes: 0, next: 0 }
    }
}

impl<W: Clone> Recent<W> {
    /// Nothing was said lately.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Keeps a word of `bytes` that these were told at `now`.
    pub(super) fn keep(
        &mut self,
        user: &UserId,
        session: Option<SessionId>,
        (word, bytes): (W, usize),
        told: Told,
        now: Millis,
    ) {
        let bytes = bytes + WORD_BYTES;
        self.bytes += bytes;
        self.by_user.entry(user.clone()).or_default().push(self.next);
        let said = Said { user: user.clone(), session, word, bytes, at: now, told };
        self.words.insert(self.next, said);
        self.next += 1;
        while self.words.len() > MAX_WORDS || self.bytes > MAX_BYTES {
            self.drop_oldest();
        }
    }

    /// What a session missed, in order; it is not asked for again.
    pub(super) fn missed(&mut self, who: &Reported<'_>, now: Millis) -> SmallVec<[W; 1]> {
        let mut missed = SmallVec::new();
        for number in self.by_user.get(who.user).into_iter().flatten() {
            let Some(said) = self.words.get_mut(number) else { continue };
            if now.since(said.at) <= KEEP_MS && said.is_missed_by(who) {
                said.told.push((who.session, who.gateway));
                missed.push(said.word.clone());
            }
        }
        missed
    }

    /// Forgets what is older than [`KEEP_MS`].
    pub(super) fn expire(&mut self, now: Millis) {
        while self.words.first_key_value().is_some_and(|(_, said)| now.since(said.at) > KEEP_MS) {
            self.drop_oldest();
        }
    }

    /// Forgets what was said to these users: their home is elsewhere.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&UserId) -> bool) {
        let gone: Vec<u64> = self.words.iter().filter(|(_, said)| is_gone(&said.user)).map(|(n, _)| *n).collect();
        for number in gone {
            self.remove(number);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((number, _)) = self.words.first_key_value() {
            self.remove(*number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(said) = self.words.remove(&number) else { return };
        self.bytes -= said.bytes;
        if let Some(numbers) = self.by_user.get_mut(&said.user) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_user.remove(&said.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn keep(recent: &mut Recent<u64>, name: &str, word: u64, bytes: usize, now: u64) {
        recent.keep(&user(name), None, (word, bytes), SmallVec::new(), Millis(now));
    }

    /// What a session that nothing was told to misses; another one each time.
    fn missed(recent: &mut Recent<u64>, name: &str, now: u64) -> Vec<u64> {
        let user = user(name);
        let who = Reported { user: &user, session: SessionId(now), gateway: 1, connected: Millis::ZERO };
        recent.missed(&who, Millis(now)).to_vec()
    }

    #[test]
    fn a_word_is_kept_for_two_seconds_and_for_its_user() {
        let mut recent = Recent::default();
        keep(&mut recent, "ana", 1, 10, 100);
        keep(&mut recent, "bob", 2, 10, 101);
        assert_eq!(missed(&mut recent, "ana", 100 + KEEP_MS), [1]);
        assert!(missed(&mut recent, "ana", 101 + KEEP_MS).is_empty());
        recent.expire(Millis(101 + KEEP_MS));
        assert_eq!((recent.words.len(), recent.bytes, recent.by_user.len()), (1, 10 + WORD_BYTES, 1));
        recent.expire(Millis(102 + KEEP_MS));
        assert_eq!((recent.words.len(), recent.bytes, recent.by_user.len()), (0, 0, 0));
    }

    #[test]
    fn over_its_bounds_the_oldest_is_dropped() {
        let mut recent = Recent::default();
        for word in 0..=u64::try_from(MAX_WORDS).unwrap() {
            keep(&mut recent, "ana", word, 0, 1);
        }
        assert_eq!(recent.words.len(), MAX_WORDS);
        assert_eq!(missed(&mut recent, "ana", 2).first(), Some(&1));
        keep(&mut recent, "bob", 7, MAX_BYTES - 2 * WORD_BYTES, 1);
        assert_eq!(recent.words.len(), 2, "the last of ana's still fits");
        keep(&mut recent, "eve", 8, MAX_BYTES, 1);
        assert_eq!((recent.words.len(), recent.bytes), (0, 0), "one that is too large alone is not kept");
    }

    #[test]
    fn the_words_of_users_that_moved_away_are_forgotten() {
        let mut recent = Recent::default();
        keep(&mut recent, "ana", 1, 0, 1);
        keep(&mut recent, "bob", 2, 0, 1);
        recent.forget(|user| user.as_str() == "ana");
        assert_eq!((missed(&mut recent, "ana", 1), missed(&mut recent, "bob", 1)), (vec![], vec![2]));
    }
}
