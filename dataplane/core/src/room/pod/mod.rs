//! All rooms of one chatroom Pod.
//!
//! A slot is open or it is not: for a room of another slot every answer is *moved*. What is to be sent and written is
//! left in order, to be fetched with [`Pod::take_output`] after each call.

mod admin;
mod gateways;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use super::life::{EndReason, Settings};
use super::lists::ListEntry;
use super::members::{GatewayNo, MemberRow};
use super::now::Now;
use super::open_slot::OpenSlot;
use super::output::{Asker, Output, RelayNo};
use super::publish::{Moved, Refusal};
use super::room::{Desk, Room, RoomOptions};
use super::state::RoomState;
use crate::routes::Owner;
use crate::{Epoch, InstanceId, Millis, RoomId, Slot};

use gateways::Gateways;
pub use traffic::{Refused, RoomApplied, RoomChanges, Subscription};

/// What a Pod has done so far. Counters: they start at zero with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that came into a room.
    pub joins: u64,
    /// Sessions that left a room, or were missing from a complete list.
    pub leaves: u64,
    /// Publishes asked for.
    pub publishes: u64,
    /// Messages refused, moved ones included.
    pub refused: u64,
    /// Batches of membership changes that had been applied before.
    pub repeated_batches: u64,
}

/// How much is going on in a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activity {
    /// The slot.
    pub slot: Slot,
    /// Its rooms.
    pub rooms: u32,
    /// Members of all of them.
    pub members: u64,
    /// Messages a second, over the last two seconds.
    pub messages_per_s: f64,
}

/// A room as the server API describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The room.
    pub room: RoomId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The last number of each lane.
    pub last: crate::Seqs,
    /// Members now.
    pub members: u64,
    /// The count may still grow.
    pub provisional: bool,
    /// Since when it exists, Unix time.
    pub created: Millis,
    /// Settings in force.
    pub settings: Settings,
    /// Messages a second, over the last two seconds.
    pub messages_per_s: f64,
    /// Its tick; zero: none.
    pub tick_ms: u64,
}

/// A page of the list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPage {
    /// The members, each with its role as text, empty without one.
    pub rows: Vec<(MemberRow, &'static str)>,
    /// Where the next page starts; none: that was all.
    pub next: Option<crate::UserId>,
    /// Members in all.
    pub total: u64,
}

/// All rooms of one chatroom Pod, and whom it speaks with. In memory: what must outlive it leaves as writes.
#[derive(Debug, Default)]
pub struct Pod {
    options: RoomOptions,
    slots: BTreeMap<Slot, OpenSlot>,
    /// Slots that went elsewhere, as far as it is known where.
    moved: BTreeMap<Slot, Owner>,
    rooms: BTreeMap<RoomId, Box<Room>>,
    due: BTreeSet<(Millis, RoomId)>,
    /// When slots are looked at in which somebody waits for the store; each has one entry at most, perhaps too early.
    waiting: BTreeSet<(Millis, Slot)>,
    gateways: Gateways,
    relays: BTreeMap<RelayNo, BTreeSet<RoomId>>,
    stats: Stats,
    out: Vec<Output>,
}

impl Pod {
    /// A Pod that serves nothing yet.
    #[must_use]
    pub fn new(options: RoomOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// What is to be done, in order; fetched once.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Members of all rooms. Looks at every room.
    #[must_use]
    pub fn members_total(&self) -> u64 {
        self.rooms.values().map(|room| room.members.count()).sum()
    }

    /// How many rooms there are.
    #[must_use]
    pub fn rooms_total(&self) -> usize {
        self.rooms.len()
    }

    /// What goes on in each open slot that has rooms. Looks at every room.
    pub fn activity(&mut self, now: Now) -> Vec<Activity> {
        let mut all = Vec::new();
        for slot in self.slots.values().filter(|slot| !slot.rooms.is_empty()) {
            let mut sum = Activity { slot: slot.slot, rooms: 0, members: 0, messages_per_s: 0.0 };
            for id in &slot.rooms {
                let Some(room) = self.rooms.get_mut(id) else { continue };
                sum.rooms += 1;
                sum.members += room.members.count();
                sum.messages_per_s += room.rate_per_s(now);
            }
            all.push(sum);
        }
        all
    }

    /// New defaults of the cluster, in force at once.
    pub fn set_defaults(&mut self, now: Now, defaults: Settings) {
        self.options.defaults = defaults;
        let ids: Vec<_> = self.rooms.keys().cloned().collect();
        for id in ids {
            self.with_room(now, &id, |room, desk| room.take_settings(&desk.options.defaults));
        }
    }

    // ---- slots

    /// Whether a slot is served here.
    #[must_use]
    pub fn serves(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    /// Who is known to serve a slot that this Pod closed.
    #[must_use]
    pub fn moved_to(&self, slot: Slot) -> Option<&Owner> {
        self.moved.get(&slot)
    }

    /// The epoch that a slot is served under; none: it is not.
    #[must_use]
    pub fn slot_epoch(&self, slot: Slot) -> Option<Epoch> {
        self.slots.get(&slot).map(|slot| slot.epoch)
    }

    /// Open slots with their epochs.
    pub fn open_slots(&self) -> impl Iterator<Item = (Slot, Epoch)> {
        self.slots.values().map(|slot| (slot.slot, slot.epoch))
    }

    /// Serves a slot from now on, with what is known of its rooms. Opening under an epoch that is not newer changes
    /// nothing; under a newer one, the slot is closed first.
    pub fn open(&mut self, now: Now, slot: Slot, epoch: Epoch, rooms: Vec<RoomState>) {
        if self.slots.get(&slot).is_some_and(|open| open.epoch >= epoch) {
            return;
        }
        self.close(slot, None);
        self.moved.remove(&slot);
        self.slots.insert(slot, OpenSlot::new(slot, epoch, now.mono));
        let mut by_id: BTreeMap<RoomId, RoomState> = BTreeMap::new();
        for state in rooms.into_iter().filter(|state| Slot::of(state.room.as_str()) == slot) {
            match by_id.get_mut(&state.room) {
                Some(known) => known.merge(state),
                None => drop(by_id.insert(state.room.clone(), state)),
            }
        }
        for state in by_id.into_values() {
            self.open_room(now, state);
        }
    }

    /// The store is back after a slot was opened without it, and this is what it holds.
    pub fn absorb_stored(&mut self, now: Now, slot: Slot, epoch: Epoch, rooms: Vec<RoomState>) {
        if self.slots.get(&slot).is_none_or(|open| open.epoch != epoch) {
            return;
        }
        for state in rooms.into_iter().filter(|state| Slot::of(state.room.as_str()) == slot) {
            let id = state.room.clone();
            if self.rooms.contains_key(&id) {
                self.with_room(now, &id, |room, desk| room.absorb_stored(state, desk));
            } else {
                self.open_room(now, state);
            }
        }
    }

    /// The owner before handed a slot over that is open here already: what it adds to ends, messages and keys counts
    /// from now on.
    pub fn absorb(&mut self, now: Now, slot: Slot, from: Epoch, rooms: Vec<RoomState>) {
        if self.slots.get(&slot).is_none_or(|open| open.epoch <= from) {
            return;
        }
        for state in rooms.into_iter().filter(|state| Slot::of(state.room.as_str()) == slot) {
            let id = state.room.clone();
            if self.rooms.contains_key(&id) {
                self.with_room(now, &id, |room, desk| room.absorb(state, desk));
            } else {
                self.open_room(now, state);
            }
        }
    }

    /// Stops serving a slot, at once: nothing more is taken or sent of it. Whoever waits is told that it moved.
    pub fn close(&mut self, slot: Slot, moved_to: Option<Owner>) {
        if let Some(owner) = &moved_to {
            self.moved.insert(slot, owner.clone());
        }
        let Some(mut closed) = self.slots.remove(&slot) else { return };
        if let Some(at) = closed.look_at {
            self.waiting.remove(&(at, slot));
        }
        let moved = Moved { owner: moved_to };
        let rooms = std::mem::take(&mut closed.rooms);
        for waiting in closed.into_waiting() {
            let result = match waiting.asker {
                // The gateway asks the next owner, which knows the key.
                Asker::Gateway(..) if waiting.keyed => continue,
                _ if waiting.keyed => Err(Refusal::Elsewhere(moved.clone())),
                // Asked again it would be said twice.
                _ => Err(Refusal::NotStored { stamp: waiting.stamp }),
            };
            self.out.push(Output::Published { to: waiting.asker, result });
        }
        for id in rooms {
            let Some(room) = self.drop_room(&id) else { continue };
            let gateways = room.members.gateways().iter().map(|(gateway, _)| *gateway).collect();
            let relays = room.relays;
            self.out.push(Output::Moved { relays, gateways, room: id, moved: moved.clone() });
        }
    }

    /// Somebody has promised to take nothing of this slot from an owner older than `epoch`: true if that closed it.
    pub fn stale(&mut self, slot: Slot, epoch: Epoch) -> bool {
        let older = self.slots.get(&slot).is_some_and(|open| open.epoch < epoch);
        if older {
            self.close(slot, None);
        }
        older
    }

    /// What a new owner needs of a slot; none: it is not open here.
    #[must_use]
    pub fn slot_state(&self, now: Now, slot: Slot) -> Option<(Epoch, Vec<RoomState>)> {
        let open = self.slots.get(&slot)?;
        let rooms = open.rooms.iter().filter_map(|id| self.rooms.get(id));
        let all_stored = open.all_stored();
        Some((open.epoch, rooms.map(|room| room.state(now, all_stored)).collect()))
    }

    // ---- the store

    /// All writes of a slot and epoch up to a ticket are safe, but those that [`Self::not_stored`] named.
    pub fn stored(&mut self, slot: Slot, epoch: Epoch, ticket: u64) {
        if let Some(open) = self.slots.get_mut(&slot).filter(|open| open.epoch == epoch) {
            open.stored(ticket, &mut self.out);
        }
    }

    /// One write of a slot and epoch did not happen, or it is not known whether it did.
    pub fn not_stored(&mut self, slot: Slot, epoch: Epoch, ticket: u64) {
        if let Some(open) = self.slots.get_mut(&slot).filter(|open| open.epoch == epoch) {
            open.lost(ticket, &mut self.out);
        }
    }

    /// The store lost a slot: everything that it should hold is written again.
    pub fn rewrite(&mut self, now: Now, slot: Slot) {
        let rooms: Vec<_> = self.slots.get(&slot).map(|open| open.rooms.iter().cloned().collect()).unwrap_or_default();
        for id in rooms {
            self.with_room(now, &id, Room::rewrite);
        }
    }

    // ---- time

    /// When [`Self::run_due`] has something to do; none: nothing is planned.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        let room = self.due.first().map(|(due, _)| *due);
        let store = self.waiting.first().map(|(due, _)| *due);
        [room, store, self.gateways.due()].into_iter().flatten().min()
    }

    /// Does what is due at `now`.
    pub fn run_due(&mut self, now: Now) {
        for (gateway, since) in self.gateways.take_gone(now.mono) {
            self.gateway_gone(now, gateway, since);
        }
        while let Some((_, slot)) = self.waiting.first().filter(|(due, _)| *due <= now.mono).copied() {
            self.waiting.pop_first();
            let Some(open) = self.slots.get_mut(&slot) else { continue };
            open.look_at = None;
            open.give_up(|_, until| until <= now.mono, &mut self.out);
            plan(open, &mut self.waiting);
        }
        // A room that is due again at once gets its turn after the others.
        let due: Vec<RoomId> =
            self.due.iter().take_while(|(due, _)| *due <= now.mono).map(|(_, id)| id.clone()).collect();
        for id in due {
            if let Some(Some(reason)) = self.with_room(now, &id, Room::run) {
                self.end_room(now, &id, reason);
            }
        }
    }

    fn gateway_gone(&mut self, now: Now, gateway: GatewayNo, since: Millis) {
        let ids: Vec<_> = self.rooms.keys().cloned().collect();
        for id in ids {
            self.with_room(now, &id, |room, _| room.gateway_lost(gateway, since));
        }
    }

    // ---- rooms

    /// Does something in a room that exists, and plans its next turn.
    fn with_room<R>(&mut self, now: Now, id: &RoomId, f: impl FnOnce(&mut Room, &mut Desk<'_>) -> R) -> Option<R> {
        let slot = self.slots.get_mut(&Slot::of(id.as_str()))?;
        let room = self.rooms.get_mut(id)?;
        let load_percent = self.gateways.load(room.members.gateways(), now.mono);
        let mut desk = Desk { now, options: &self.options, slot: &mut *slot, out: &mut self.out, load_percent };
        let result = f(room, &mut desk);
        plan(slot, &mut self.waiting);
        let due = room.due(now, &self.options);
        if due != room.scheduled {
            if let Some(before) = room.scheduled {
                self.due.remove(&(before, id.clone()));
            }
            self.due.extend(due.map(|due| (due, id.clone())));
            room.scheduled = due;
        }
        Some(result)
    }

    /// Makes a room if there is none; fails if its slot is not served here.
    fn ensure(&mut self, now: Now, id: &RoomId) -> Result<(), Refusal> {
        let slot = Slot::of(id.as_str());
        if !self.slots.contains_key(&slot) {
            return Err(Refusal::Elsewhere(Moved { owner: self.moved.get(&slot).cloned() }));
        }
        if !self.rooms.contains_key(id) {
            self.open_room(now, RoomState::new(id.clone()));
        }
        Ok(())
    }

    fn open_room(&mut self, now: Now, state: RoomState) {
        let id = state.room.clone();
        let Some(slot) = self.slots.get_mut(&Slot::of(id.as_str())) else { return };
        // A room of a slot that has been open for long cannot have members that this Pod has not heard of.
        let unheard = if now.mono.since(slot.opened) < self.options.lists_within_ms {
            self.gateways.alive().chain([GatewayNo::NOWHERE]).collect()
        } else {
            Vec::new()
        };
        let mut desk = Desk { now, options: &self.options, slot, out: &mut self.out, load_percent: None };
        let room = Room::open(state, unheard, &mut desk);
        slot.rooms.insert(id.clone());
        self.rooms.insert(id.clone(), Box::new(room));
        self.with_room(now, &id, |_, _| ());
    }

    fn end_room(&mut self, now: Now, id: &RoomId, reason: EndReason) {
        let last = self.with_room(now, id, |room, desk| {
            room.end(reason, desk);
            room.last()
        });
        self.drop_room(id);
        if let (Some(last), Some(slot)) = (last, self.slots.get_mut(&Slot::of(id.as_str()))) {
            slot.rooms.remove(id);
            slot.start = slot.start.max(last);
        }
    }

    fn drop_room(&mut self, id: &RoomId) -> Option<Box<Room>> {
        let room = self.rooms.remove(id)?;
        if let Some(due) = room.scheduled {
            self.due.remove(&(due, id.clone()));
        }
        for relay in &room.relays {
            if let Some(rooms) = self.relays.get_mut(relay) {
                rooms.remove(id);
            }
        }
        Some(room)
    }

    /// A gateway has linked.
    pub fn gateway_opened(&mut self, now: Now, instance: &InstanceId) -> GatewayNo {
        let (no, must_list) = self.gateways.opened(instance);
        let young = self.slots.values().any(|slot| now.mono.since(slot.opened) < self.options.lists_within_ms);
        if must_list || young {
            let ids: Vec<_> = self.rooms.keys().cloned().collect();
            for id in ids {
                self.with_room(now, &id, |room, desk| room.linked(no, must_list, desk.out));
            }
        }
        no
    }

    /// A gateway's link is dead. Its members stay for a grace, then they count as away.
    pub fn gateway_lost(&mut self, now: Now, gateway: GatewayNo) {
        self.gateways.lost(gateway, now.mono);
    }

    /// How busy a gateway is, in percent of its CPU budget.
    pub fn gateway_load(&mut self, now: Now, gateway: GatewayNo, percent: u8) {
        self.gateways.set_load(gateway, percent, now.mono);
    }
}

/// Sees to it that a slot is looked at when the first who waits there has waited too long.
fn plan(slot: &mut OpenSlot, waiting: &mut BTreeSet<(Millis, Slot)>) {
    if let (None, Some(due)) = (slot.look_at, slot.due()) {
        slot.look_at = Some(due);
        waiting.insert((due, slot.slot));
    }
}

/// Entries of a list, as the server API reads them.
pub type ListEntries = Vec<ListEntry>;

#[cfg(test)]
mod tests;
