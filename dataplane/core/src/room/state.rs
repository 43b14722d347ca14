//! A room as it is loaded from the store or handed over by its owner before.

use super::keys::KnownKey;
use super::life::Overrides;
use super::lists::ListEntry;
use super::lists::ListName;
use crate::{Epoch, Message, Millis, RoomId, Seqs};

/// What outlives an owner. Parts may come from several sources, see [`Self::merge`].
#[derive(Clone, Debug, PartialEq)]
pub struct RoomState {
    /// The room.
    pub room: RoomId,
    /// Since when it exists, Unix time; none: the source does not know.
    pub created: Option<Millis>,
    /// A join made it, and nothing was said, listed or set since, as far as the source knows that says `created`.
    pub fleeting: bool,
    /// Its own settings.
    pub overrides: Overrides,
    /// Its lists.
    pub lists: Vec<(ListName, ListEntry)>,
    /// Ends of older epochs: sealed, or seen so far by somebody.
    pub ends: Vec<(Epoch, Seqs)>,
    /// Messages of older epochs, in any order.
    pub messages: Vec<(Epoch, Message)>,
    /// Idempotency keys and what they stand for.
    pub keys: Vec<KnownKey>,
    /// Up to here the store has the messages. What goes beyond is written by the owner that opens the room.
    pub stored: Vec<(Epoch, Seqs)>,
}

impl RoomState {
    /// Nothing but a name.
    #[must_use]
    pub fn new(room: RoomId) -> Self {
        Self {
            room,
            created: None,
            fleeting: false,
            overrides: Overrides::default(),
            lists: Vec::new(),
            ends: Vec::new(),
            messages: Vec::new(),
            keys: Vec::new(),
            stored: Vec::new(),
        }
    }

    /// Takes over what another source knows of the same room. Settings and lists of a source that has them count
    /// (`created` is set); ends, messages and keys add up.
    pub fn merge(&mut self, other: Self) {
        if other.created.is_some() {
            (self.created, self.fleeting) = (other.created, other.fleeting);
            (self.overrides, self.lists) = (other.overrides, other.lists);
        }
        self.ends.extend(other.ends);
        self.messages.extend(other.messages);
        self.keys.extend(other.keys);
        self.stored.extend(other.stored);
    }

    /// Whether the next join would make the same room again: what `fleeting` says, unless something is here that was said or
    /// listed. The store learns that only with the room's next settings.
    pub(super) fn is_fleeting(&self) -> bool {
        let silent = self.messages.is_empty() && self.ends.iter().all(|(_, last)| *last == Seqs::ZERO);
        (self.created.is_none() || self.fleeting) && silent && self.lists.is_empty()
    }
}
