//! The side of the relay that faces the owners of rooms: whom to take a room from, what they send, what they are promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::{Downstream, Effect, LinkId, LogPage, LogRange, Upstream};
use super::fill;
use super::packed::{Codec, Packed, Sealed};
use super::relay::{Link, Relay, cut_off};
use super::room::{Ctx, Room, Target, Up};
use crate::ownership::promise::Stale;
use crate::routes::Routes;
use crate::{Cursor, Epoch, Lane, Millis, RoomId, Slot};

/// Time after which a room whose owner answered "not mine" is tried again.
const MOVED_RETRY_MS: u64 = 300;

/// What a promised relay knows of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatheredRoom {
    /// The room.
    pub room: RoomId,
    /// The last numbers seen, an epoch.
    pub seen: Vec<Cursor>,
    /// The ends that readers were told.
    pub sealed: Vec<Sealed>,
    /// The newest segments, oldest first.
    pub tail: Vec<Packed>,
}

/// What a relay answers to those who take slots over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Rooms of the promised slots.
    pub rooms: Vec<GatheredRoom>,
    /// Slots for which more had been promised.
    pub stale: Vec<(Slot, Epoch)>,
}

/// Bytes of segments of one room in an answer.
const ROOM_BYTES: usize = 2 << 20;

impl<C: Codec> Relay<C> {
    /// Who serves what has changed.
    pub fn set_routes(&mut self, routes: Arc<Routes>, now: Millis) {
        let before = std::mem::replace(&mut self.routes, routes);
        let changed: BTreeSet<Slot> =
            Slot::all().filter(|slot| before.rooms.owner(*slot) != self.routes.rooms.owner(*slot)).collect();
        let rooms: Vec<RoomId> = self
            .rooms
            .values()
            .filter(|room| changed.contains(&room.slot) || room.up == Up::Nowhere)
            .map(|room| room.id.clone())
            .collect();
        for room in rooms {
            self.aim(&room, now);
        }
    }

    /// A link to a chatroom Pod is up: everything that comes from it is asked for.
    pub fn link_up(&mut self, link: LinkId, now: Millis) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.up = true;
        for id in self.rooms_of(link) {
            self.with(&id, now, |room, ctx| room.ask(link, ctx));
        }
    }

    /// A link to a chatroom Pod is down. The shell connects again on its own.
    pub fn link_down(&mut self, link: LinkId, now: Millis) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.up = false;
        for id in self.rooms_of(link) {
            self.with(&id, now, |room, _| {
                room.up = Up::Waiting(link);
                room.lost_since.get_or_insert(now);
            });
        }
    }

    /// The owner goes on with a room behind `cursor`. What it declares missing is what lies between the log and `cursor`.
    pub fn subscribed(&mut self, link: LinkId, room: &RoomId, cursor: Cursor, sealed: Vec<Sealed>, now: Millis) {
        self.owner_says(link, room, now, |room, ctx| room.subscribed(cursor, sealed, ctx));
    }

    /// The owner sends a segment.
    pub fn segment(&mut self, link: LinkId, packed: Packed, now: Millis) {
        let id = packed.room.clone();
        self.owner_says(link, &id, now, |room, ctx| room.segment(packed, ctx));
    }

    /// The owner says how an epoch ended.
    pub fn sealed(&mut self, link: LinkId, room: &RoomId, sealed: Sealed, now: Millis) {
        self.owner_says(link, room, now, |room, ctx| room.sealed(sealed, ctx));
    }

    /// The owner has read its log for readers who asked for what no ring holds any more.
    pub fn log_read(&mut self, link: LinkId, room: &RoomId, range: LogRange, page: &LogPage, now: Millis) {
        self.owner_says(link, room, now, |room, ctx| room.log_read(range, page, ctx));
    }

    /// A message was deleted: it is taken out of the ring, and gateways are told.
    pub fn deleted(&mut self, link: LinkId, room: &RoomId, epoch: Epoch, lane: Lane, seq: u64, now: Millis) {
        self.owner_says(link, room, now, |room, ctx| {
            if let Some(ring) = &mut room.ring {
                ring.delete(epoch, lane, seq, ctx.codec);
            }
            for gateway in room.subs.keys() {
                ctx.down(*gateway, Downstream::Deleted { room: room.id.clone(), epoch, lane, seq });
            }
        });
    }

    /// The Pod does not own the room. An empty address: it does not know who does.
    pub fn moved(&mut self, link: LinkId, room: &RoomId, epoch: Epoch, address: &str, now: Millis) {
        self.owner_says(link, room, now, |room, _| {
            room.up = Up::Nowhere;
            room.lost_since.get_or_insert(now);
            room.retry_at = Some(now + MOVED_RETRY_MS);
            if !address.is_empty() {
                room.moved = Some(Target { address: address.into(), epoch });
            }
        });
        if !address.is_empty() {
            self.aim(room, now);
        }
    }

    /// The room ended.
    pub fn closed(&mut self, link: LinkId, room: &RoomId, reason: &Arc<str>, now: Millis) {
        if self.rooms.get(room).is_none_or(|state| state.up.link() != Some(link)) {
            return;
        }
        self.with(room, now, |state, ctx| fill::close(state, room, reason, ctx));
        self.forget(room);
    }

    /// Promises: from now on nothing of each slot is taken from an owner older than its epoch. Answers with what is known of
    /// their rooms, about `most_bytes` of segments in all, and with the larger epochs that were promised before. Lost on a
    /// restart, as is everything known.
    pub fn gather(&mut self, asked: &[(Slot, Epoch)], most_bytes: usize, now: Millis) -> Gathered {
        let mut gathered = Gathered::default();
        let mut promised: BTreeMap<Slot, Epoch> = BTreeMap::new();
        for &(slot, epoch) in asked {
            match self.promises.see(slot, epoch) {
                Ok(()) => drop(promised.insert(slot, epoch)),
                Err(Stale(before)) => gathered.stale.push((slot, before)),
            }
        }
        // One look at all rooms for all slots: a take-over asks about thousands of them.
        let of_them = |room: &&Room| promised.contains_key(&room.slot);
        let ids: Vec<RoomId> = self.rooms.values().filter(of_them).map(|room| room.id.clone()).collect();
        let share = (most_bytes / ids.len().max(1)).min(ROOM_BYTES);
        for id in ids {
            self.with(&id, now, |room, ctx| {
                let slot = room.slot;
                room.floor = room.floor.max(promised.get(&slot).copied().unwrap_or_default());
                cut_off(room, slot, ctx);
                gathered.rooms.extend(room.ring.as_ref().map(|ring| GatheredRoom {
                    room: room.id.clone(),
                    seen: ring.seen(),
                    sealed: ring.ends().collect(),
                    tail: ring.tail(share),
                }));
            });
            self.aim(&id, now);
        }
        gathered
    }

    /// The link to a room's owner and whether it is up, opened if need be; none: nobody is known to own it.
    pub fn link_of(&mut self, room: &RoomId, now: Millis) -> Option<(LinkId, bool)> {
        let link = if let Some(link) = self.rooms.get(room).and_then(|state| state.up.link()) {
            link
        } else {
            let address = self.routes.rooms.owner(Slot::of(room.as_str()))?.address.clone();
            self.link(&address, now)
        };
        let state = self.links.get_mut(&link)?;
        state.used = now;
        Some((link, state.up))
    }

    // ---- within

    fn owner_says(&mut self, link: LinkId, id: &RoomId, now: Millis, act: impl FnOnce(&mut Room, &mut Ctx<'_, C>)) {
        let takes = |room: &Room| room.up.link() == Some(link) && !matches!(room.up, Up::Waiting(_));
        if self.rooms.get(id).is_some_and(takes) {
            self.with(id, now, act);
        } else {
            self.counters.stale += 1;
        }
    }

    /// Tells every owner which rooms are taken from it, and closes links that nothing needs.
    pub(crate) fn audit_links(&mut self, now: Millis) {
        let mut rooms: BTreeMap<LinkId, Vec<RoomId>> = BTreeMap::new();
        for room in self.rooms.values() {
            if let Some(link) = room.up.link() {
                rooms.entry(link).or_default().push(room.id.clone());
            }
        }
        let idle: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(link, state)| !rooms.contains_key(link) && now.since(state.used) >= self.options.audit_ms)
            .map(|(link, _)| *link)
            .collect();
        for link in idle {
            self.links.remove(&link);
            self.out.push(Effect::Close(link));
        }
        for (link, rooms) in rooms {
            if self.links.get(&link).is_some_and(|state| state.up) {
                self.out.push(Effect::Up(link, Upstream::Audit(rooms)));
            }
        }
    }

    fn rooms_of(&self, link: LinkId) -> Vec<RoomId> {
        self.rooms.values().filter(|room| room.up.link() == Some(link)).map(|room| room.id.clone()).collect()
    }

    fn link(&mut self, address: &Arc<str>, now: Millis) -> LinkId {
        if let Some((link, _)) = self.links.iter().find(|(_, state)| state.address == *address) {
            return *link;
        }
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, Link { address: address.clone(), up: false, used: now });
        self.out.push(Effect::Open { link, address: address.clone() });
        link
    }

    /// Takes a room from whoever should serve it. A claim that vanished changes nothing: its owner may outlive it.
    pub(crate) fn aim(&mut self, id: &RoomId, now: Millis) {
        let Some(room) = self.rooms.get(id) else { return };
        let claimed = self.routes.rooms.owner(room.slot);
        let claimed = claimed.map(|owner| Target { address: owner.address.clone(), epoch: owner.epoch });
        let target = room.moved.clone().into_iter().chain(claimed).max_by_key(|target| target.epoch);
        let Some(target) = target.filter(|target| target.epoch >= room.floor) else { return };
        let current = room.up.link().and_then(|link| self.links.get(&link));
        let is_current = current.is_some_and(|state| state.address == target.address);
        if current.is_some() && (target.epoch < room.authority || (target.epoch == room.authority && is_current)) {
            return;
        }
        let link = self.link(&target.address, now);
        let is_up = self.links.get(&link).is_some_and(|state| state.up);
        self.with(id, now, |room, ctx| {
            match room.up {
                Up::Asked(old) | Up::Live(old) if old != link => {
                    ctx.out.push(Effect::Up(old, Upstream::Unsubscribe(room.id.clone())));
                    room.lost_since.get_or_insert(now);
                }
                _ => {}
            }
            room.authority = target.epoch;
            room.up = Up::Waiting(link);
            if is_up {
                room.ask(link, ctx);
            }
        });
    }
}
