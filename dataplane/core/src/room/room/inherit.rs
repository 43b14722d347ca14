//! What passes from owner to owner: messages, keys and ends, and what of it the store still has to hear.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Desk, Room};
use crate::room::keys::{First, KnownKey};
use crate::room::life::Overrides;
use crate::room::lists::{ListChange, ListName};
use crate::room::now::Now;
use crate::room::output::Record;
use crate::room::state::RoomState;
use crate::{Epoch, Lane, Message, Seqs, Stamp};

/// A write that will never be confirmed: nobody knows whether the store has it.
const UNKNOWN: u64 = u64::MAX;

impl Room {
    /// Takes over messages of older epochs and their keys. What goes beyond `stored` is written, so that a retry is
    /// called stored only when it is.
    pub(super) fn inherit(
        &mut self,
        messages: Vec<(Epoch, Message)>,
        keys: Vec<KnownKey>,
        stored: &[(Epoch, Seqs)],
        desk: &mut Desk<'_>,
    ) {
        let is_stored =
            |stamp: Stamp| stored.iter().any(|(epoch, last)| *epoch == stamp.epoch && stamp.seq <= last[stamp.lane]);
        let keys = keys.into_iter().filter(|known| known.left_ms(desk.now.unix) > 0);
        let mut by_stamp: BTreeMap<Stamp, KnownKey> = keys.map(|known| (known.stamp, known)).collect();
        for (epoch, message) in messages {
            let stamp = Stamp { epoch, lane: message.lane, seq: message.seq };
            let new = self.window.add_history(epoch, message.clone());
            if !new || is_stored(stamp) {
                continue;
            }
            let known = by_stamp.remove(&stamp);
            if message.lane == Lane::Low && known.is_none() {
                continue;
            }
            let key = known.as_ref().map(|known| known.key.clone());
            let ticket = desk.persist(&self.id, Record::Message { epoch, message, key });
            if let Some(known) = known {
                self.remember(&known, Some(ticket), desk.now);
            }
        }
        for (stamp, known) in by_stamp {
            let ticket = if is_stored(stamp) { None } else { Some(UNKNOWN) };
            self.remember(&known, ticket, desk.now);
        }
        self.window.trim(desk.now.unix);
    }

    fn remember(&mut self, known: &KnownKey, ticket: Option<u64>, now: Now) {
        if self.keys.get(&known.user, &known.key, now.mono).is_none() {
            let first = First { stamp: known.stamp, ticket };
            self.keys.put(&known.user, &known.key, first, known.left_ms(now.unix), now.mono);
        }
    }

    /// Others add what they know; settings and lists of this owner stay.
    pub(in crate::room) fn absorb(&mut self, state: RoomState, desk: &mut Desk<'_>) {
        if !state.is_fleeting() {
            self.stays(desk);
        }
        self.inherit(state.messages, state.keys, &state.stored, desk);
        for (epoch, last) in state.ends {
            self.learn_end(epoch, last, desk);
        }
    }

    /// Writes everything that outlives this owner again.
    pub(in crate::room) fn rewrite(&mut self, desk: &mut Desk<'_>) {
        self.persist_meta(desk);
        for list in ListName::ALL {
            let add: Vec<_> = self.lists.entries(list, desk.now.unix).collect();
            if !add.is_empty() {
                desk.persist(&self.id, Record::List(ListChange { list, add, remove: vec![] }));
            }
        }
        for epoch in self.seals.epochs().collect::<Vec<_>>() {
            self.persist_seal(epoch, desk);
        }
        let keys: BTreeMap<Stamp, Arc<str>> = self.keys.all(desk.now).map(|known| (known.stamp, known.key)).collect();
        for (epoch, message) in self.window.messages().filter(|(_, message)| message.lane != Lane::Low) {
            let key = keys.get(&Stamp { epoch, lane: message.lane, seq: message.seq }).cloned();
            desk.persist(&self.id, Record::Message { epoch, message: message.clone(), key });
        }
    }

    /// What was read late from the store, because it could not be reached when the slot was opened: what this owner has
    /// set or listed meanwhile stays, the rest is taken over.
    pub(in crate::room) fn absorb_stored(&mut self, state: RoomState, desk: &mut Desk<'_>) {
        if state.created.is_some() && self.overrides == Overrides::default() {
            self.overrides = state.overrides.clone();
            self.take_settings(&desk.options.defaults);
        }
        for (list, entry) in &state.lists {
            if !self.lists.has(*list, &entry.user, desk.now.unix) {
                let change = ListChange { list: *list, add: vec![entry.clone()], remove: vec![] };
                // The list was in force before: its bound held then.
                let _ = self.lists.change(&change);
            }
        }
        self.absorb(state, desk);
    }

    /// What a new owner needs. Members come from the gateways. `all_stored`: no write of the slot waits or was lost.
    pub(in crate::room) fn state(&self, now: Now, all_stored: bool) -> RoomState {
        let lists = ListName::ALL;
        let epochs = self.seals.epochs();
        let mut ends: Vec<_> = epochs.filter_map(|epoch| Some((epoch, self.seals.last(epoch)?))).collect();
        ends.push((self.window.epoch(), self.window.last()));
        RoomState {
            room: self.id.clone(),
            created: Some(self.created),
            fleeting: self.fleeting,
            overrides: self.overrides.clone(),
            lists: lists
                .into_iter()
                .flat_map(|list| self.lists.entries(list, now.unix).map(move |e| (list, e)))
                .collect(),
            stored: if all_stored { ends.clone() } else { Vec::new() },
            ends,
            messages: self.window.messages().map(|(epoch, message)| (epoch, message.clone())).collect(),
            keys: self.keys.all(now).collect(),
        }
    }
}
