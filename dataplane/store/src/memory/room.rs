//! One room of the memory store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use throng_core::{Epoch, Millis, RoomId, UserId};

use super::log::RoomLog;
use crate::image::{RoomImage, StoredRoom};
use crate::limits::LogLimits;
use crate::write::{List, Remembered, Sealed, Write};

/// Most keys of publishes that a room remembers.
pub(super) const MAX_REMEMBERED: usize = 20_000;

/// What is kept of a room.
#[derive(Debug, Default)]
pub(super) struct Room {
    meta: Bytes,
    lists: BTreeMap<(List, UserId), Millis>,
    sealed: BTreeMap<Epoch, Sealed>,
    /// By the time until which they are remembered.
    remembered: BTreeSet<(Millis, Remembered)>,
    pub(super) log: RoomLog,
}

impl Room {
    /// Applies one write that is about this room and not about its members.
    pub(super) fn apply(&mut self, write: &Write, limits: &LogLimits, now: Millis) {
        match write {
            Write::PutRoom { meta, .. } => self.meta = meta.clone(),
            Write::SetEntry { list, user, until_ms, .. } => {
                self.lists.insert((*list, user.clone()), *until_ms);
            }
            Write::RemoveEntry { list, user, .. } => {
                self.lists.remove(&(*list, user.clone()));
            }
            Write::Append { epoch, message, .. } => self.log.append(*epoch, message, limits, now),
            Write::End { epoch, lane, seq, .. } => self.log.end(*epoch, *lane, *seq),
            Write::DeleteMessage { stamp, .. } => self.log.delete(stamp.epoch, stamp.lane, stamp.seq),
            Write::Seal { sealed, .. } => {
                self.sealed.insert(sealed.epoch, *sealed);
            }
            Write::ForgetEpochs { before, .. } => {
                self.sealed.retain(|epoch, _| epoch >= before);
                self.log.forget(*before);
            }
            Write::Remember { remembered, at_ms, .. } => self.remember(remembered, *at_ms),
            Write::DeleteRoom { .. }
            | Write::SetMember { .. }
            | Write::RemoveMember { .. }
            | Write::ClearMembers { .. } => {}
        }
    }

    fn remember(&mut self, remembered: &Remembered, at_ms: Millis) {
        self.remembered.insert((remembered.until_ms, remembered.clone()));
        while let Some((until_ms, _)) = self.remembered.first() {
            if *until_ms > at_ms && self.remembered.len() <= MAX_REMEMBERED {
                return;
            }
            self.remembered.pop_first();
        }
    }

    /// The room as a new owner finds it.
    pub(super) fn image(&self, tail: usize, limits: &LogLimits, now: Millis) -> RoomImage {
        RoomImage {
            meta: self.meta.clone(),
            lists: self.lists.clone(),
            sealed: self.sealed.values().copied().collect(),
            ends: self.log.ends(),
            remembered: self.remembered.iter().map(|(_, remembered)| remembered.clone()).collect(),
            tail: self.log.tail(tail, limits, now),
        }
    }

    pub(super) fn stored(&self, room: &RoomId) -> StoredRoom {
        StoredRoom { room: room.clone(), meta: self.meta.clone() }
    }
}
