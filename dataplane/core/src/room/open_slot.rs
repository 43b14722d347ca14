//! A slot that is served here: its epoch, its writes, and who waits for them.

use std::collections::{BTreeSet, VecDeque};

use super::output::{Asker, Output, Record, Write};
use super::publish::{Receipt, Refusal};
use crate::{Epoch, Millis, RoomId, Seqs, Slot, Stamp};

/// Lost writes that are remembered, for retries with the key of one: more than a room remembers keys.
const MAX_LOST: usize = 65_536;

/// State of an open slot. Lost when it closes: a new owner has an epoch of its own.
#[derive(Debug)]
pub(super) struct OpenSlot {
    pub(super) slot: Slot,
    pub(super) epoch: Epoch,
    pub(super) opened: Millis,
    /// Rooms made from now on start after these numbers: rooms that ended in this epoch used them, and no stamp may have
    /// two contents.
    pub(super) start: Seqs,
    pub(super) rooms: BTreeSet<RoomId>,
    tickets: u64,
    stored: u64,
    /// Writes that did not happen, among those up to `stored`.
    lost: BTreeSet<u64>,
    waiting: VecDeque<Waiting>,
    /// When the Pod looks whether somebody has waited too long.
    pub(super) look_at: Option<Millis>,
}

/// Somebody waits for the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    ticket: u64,
    until: Millis,
    pub(super) asker: Asker,
    pub(super) stamp: Stamp,
    /// The message has a key: asking for it again is harmless.
    pub(super) keyed: bool,
}

impl OpenSlot {
    pub(super) fn new(slot: Slot, epoch: Epoch, opened: Millis) -> Self {
        Self {
            slot,
            epoch,
            opened,
            start: Seqs::ZERO,
            rooms: BTreeSet::new(),
            tickets: 0,
            stored: 0,
            lost: BTreeSet::new(),
            waiting: VecDeque::new(),
            look_at: None,
        }
    }

    /// Writes behind the traffic; returns the ticket.
    pub(super) fn persist(&mut self, room: &RoomId, record: Record, out: &mut Vec<Output>) -> u64 {
        self.tickets += 1;
        let write = Write { room: room.clone(), record };
        out.push(Output::Persist { slot: self.slot, epoch: self.epoch, ticket: self.tickets, write });
        self.tickets
    }

    /// Answers when the write of a ticket is safe, or fails at `until`; at once if it is safe already.
    pub(super) fn answer_when_stored(
        &mut self,
        ticket: Option<u64>,
        stamp: Stamp,
        (asker, keyed): (Asker, bool),
        until: Millis,
        out: &mut Vec<Output>,
    ) {
        match ticket {
            Some(ticket) if self.lost.contains(&ticket) => {
                out.push(Output::Published { to: asker, result: Err(Refusal::NotStored { stamp }) });
            }
            Some(ticket) if ticket > self.stored => {
                self.waiting.push_back(Waiting { ticket, until, asker, stamp, keyed });
            }
            _ => out.push(Output::Published { to: asker, result: Ok(Receipt { stamp, stored: true }) }),
        }
    }

    /// Whether a write is known not to have happened, or will never be confirmed: it was another owner's.
    pub(super) fn is_lost(&self, ticket: u64) -> bool {
        ticket > self.tickets || self.lost.contains(&ticket)
    }

    /// Whether the write of a ticket is safe.
    pub(super) fn is_stored(&self, ticket: Option<u64>) -> bool {
        ticket.is_none_or(|ticket| ticket <= self.stored && !self.lost.contains(&ticket))
    }

    /// All writes up to a ticket are safe, but those that were lost.
    pub(super) fn stored(&mut self, ticket: u64, out: &mut Vec<Output>) {
        self.stored = self.stored.max(ticket.min(self.tickets));
        let stored = self.stored;
        // A retry waits for an earlier ticket than its neighbours, so the queue is not quite in order.
        self.waiting.retain(|waiting| {
            let done = waiting.ticket <= stored;
            if done {
                let receipt = Receipt { stamp: waiting.stamp, stored: true };
                out.push(Output::Published { to: waiting.asker, result: Ok(receipt) });
            }
            !done
        });
    }

    /// When the first of those who wait has waited too long.
    pub(super) fn due(&self) -> Option<Millis> {
        // All wait equally long, so the first is the first to give up.
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// Everybody who still waits, and for what.
    pub(super) fn into_waiting(self) -> VecDeque<Waiting> {
        self.waiting
    }

    /// No write waits or was lost.
    pub(super) fn all_stored(&self) -> bool {
        self.stored >= self.tickets && self.lost.is_empty()
    }

    /// A write did not happen.
    pub(super) fn lost(&mut self, ticket: u64, out: &mut Vec<Output>) {
        self.lost.insert(ticket);
        if self.lost.len() > MAX_LOST {
            self.lost.pop_first();
        }
        self.give_up(|waiting, _| waiting == ticket, out);
    }

    /// It is too late for some: whoever waits is told.
    pub(super) fn give_up(&mut self, which: impl Fn(u64, Millis) -> bool, out: &mut Vec<Output>) {
        self.waiting.retain(|waiting| {
            let over = which(waiting.ticket, waiting.until);
            if over {
                let result = Err(Refusal::NotStored { stamp: waiting.stamp });
                out.push(Output::Published { to: waiting.asker, result });
            }
            !over
        });
    }
}
