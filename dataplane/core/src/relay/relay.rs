//! The relay of one message Pod: which rooms it takes, from whom, and for which gateways.
//!
//! The law: who has seen an epoch takes nothing more from the owner of an older one. A room is taken from
//! one link at a time, so stragglers of an owner before are dropped by where they come from; what was seen, in a segment or
//! an end of any room of the slot or in a gather's promise, is a floor below which no owner is listened to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::{Counters, Downstream, Effect, GatewayId, LinkId, Options, Read, Subscription, Upstream, Window};
use super::fill;
use super::packed::Codec;
use super::ring::Ring;
use super::room::{Ctx, Pending, Room, Up};
use crate::ownership::promise::Promises;
use crate::routes::Routes;
use crate::{Millis, RoomId, Slot};

/// Questions that may wait in one room for its owner, and for one gateway's window.
const MAX_WAITING_READS: usize = 16_384;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: Arc<str>,
    pub(crate) up: bool,
    pub(crate) used: Millis,
}

/// The machine. Feed it what arrives, carry out [`Relay::effects`], call [`Relay::tick`] at [`Relay::next_due`].
#[derive(Debug)]
pub struct Relay<C> {
    pub(crate) codec: C,
    pub(crate) options: Options,
    pub(crate) routes: Arc<Routes>,
    pub(crate) rooms: BTreeMap<RoomId, Room>,
    pub(crate) windows: BTreeMap<GatewayId, Window>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) next_link: u32,
    pub(crate) promises: Promises,
    pub(crate) timers: BTreeSet<(Millis, RoomId)>,
    pub(crate) next_audit: Millis,
    pub(crate) out: Vec<Effect>,
    pub(crate) counters: Counters,
}

macro_rules! ctx {
    ($relay:ident, $now:expr) => {
        Ctx {
            now: $now,
            codec: &$relay.codec,
            options: &$relay.options,
            out: &mut $relay.out,
            windows: &mut $relay.windows,
            counters: &mut $relay.counters,
        }
    };
}

impl<C: Codec> Relay<C> {
    /// A relay that knows nobody yet.
    #[must_use]
    pub fn new(options: Options, codec: C, now: Millis) -> Self {
        Self {
            codec,
            options,
            routes: Arc::default(),
            rooms: BTreeMap::new(),
            windows: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            promises: Promises::default(),
            timers: BTreeSet::new(),
            next_audit: now + options.audit_ms,
            out: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.out.drain(..)
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { rooms: self.rooms.len() as u64, ..self.counters }
    }

    // ---- gateways

    /// A gateway's stream opened.
    pub fn gateway_up(&mut self, gateway: GatewayId) {
        let left = i64::try_from(self.options.window_bytes).unwrap_or(i64::MAX);
        self.windows.insert(gateway, Window { left, ..Window::default() });
    }

    /// A gateway's stream ended: its interest ends with it.
    pub fn gateway_down(&mut self, gateway: GatewayId, now: Millis) {
        let Some(window) = self.windows.remove(&gateway) else { return };
        for id in window.rooms {
            self.with(&id, now, |room, _| room.leave(gateway, now));
        }
    }

    /// A gateway wants a room, or wants it from another cursor.
    pub fn subscribe(&mut self, gateway: GatewayId, wish: &Subscription, now: Millis) {
        let Some(window) = self.windows.get_mut(&gateway) else { return };
        window.rooms.insert(wish.room.clone());
        self.create(&wish.room, now);
        let wait_ms = self.options.read_ms;
        self.with(&wish.room, now, |room, ctx| {
            let news = room.subscribe(gateway, wish, now, wait_ms);
            if let (true, Up::Live(link)) = (news && room.authority >= room.floor, room.up) {
                room.ask(link, ctx);
            }
        });
        self.aim(&wish.room, now);
        self.with(&wish.room, now, Room::settle);
    }

    /// A gateway no longer wants a room.
    pub fn unsubscribe(&mut self, gateway: GatewayId, room: &RoomId, now: Millis) {
        if let Some(window) = self.windows.get_mut(&gateway) {
            window.rooms.remove(room);
            window.behind.remove(room);
        }
        self.with(room, now, |room, _| room.leave(gateway, now));
    }

    /// The complete list of the rooms that a gateway takes. What this relay did not know of starts from now on; the
    /// gateway sees by the cursor whether it missed something.
    pub fn audit(&mut self, gateway: GatewayId, list: &[RoomId], now: Millis) {
        let Some(window) = self.windows.get(&gateway) else { return };
        let listed: BTreeSet<&RoomId> = list.iter().collect();
        let dropped: Vec<RoomId> = window.rooms.iter().filter(|room| !listed.contains(room)).cloned().collect();
        let missed: Vec<RoomId> = list.iter().filter(|room| !window.rooms.contains(*room)).cloned().collect();
        for room in dropped {
            self.unsubscribe(gateway, &room, now);
        }
        for room in missed {
            let wish = Subscription { room, cursor: None, older: Vec::new(), told: Vec::new() };
            self.subscribe(gateway, &wish, now);
        }
    }

    /// A gateway asks what a reader missed.
    pub fn read(&mut self, gateway: GatewayId, room: &RoomId, read: Read, now: Millis) {
        let Some(window) = self.windows.get_mut(&gateway) else { return };
        if window.left <= 0 && window.reads.len() < MAX_WAITING_READS {
            window.reads.push_back((room.clone(), read));
        } else {
            self.answer(gateway, room, read, now);
        }
    }

    fn answer(&mut self, gateway: GatewayId, room: &RoomId, read: Read, now: Millis) {
        self.create(room, now);
        self.aim(room, now);
        let deadline = now + self.options.read_ms;
        self.with(room, now, |room, ctx| match room.answer(&read, false, ctx) {
            Some(answer) => ctx.down(gateway, answer),
            None if room.reads.len() < MAX_WAITING_READS => room.reads.push(Pending { gateway, read, deadline }),
            None => ctx.down(gateway, fill::refusal(&room.id, &read, super::ReadError::Unavailable)),
        });
    }

    /// Bytes left for a gateway: as much of its window is free again.
    pub fn credit(&mut self, gateway: GatewayId, bytes: usize, now: Millis) {
        let limit = i64::try_from(self.options.window_bytes).unwrap_or(i64::MAX);
        let Some(window) = self.windows.get_mut(&gateway) else { return };
        window.left = window.left.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)).min(limit);
        // Rooms wait until half of the window is free, or each message would be an errand of its own.
        while let Some(window) = self.windows.get_mut(&gateway).filter(|window| window.left > limit / 2) {
            let (room, question) = (window.behind.pop_first(), window.reads.pop_front());
            if room.is_none() && question.is_none() {
                break;
            }
            if let Some(room) = room {
                self.with(&room, now, |room, ctx| room.flow_to(gateway, ctx));
            }
            if let Some((room, read)) = question {
                self.answer(gateway, &room, read, now);
            }
        }
    }

    /// Whether something waits for a gateway's window: the shell should tell of freed bytes at once, not now and then.
    #[must_use]
    pub fn waits(&self, gateway: GatewayId) -> bool {
        self.windows.get(&gateway).is_some_and(|window| !window.behind.is_empty() || !window.reads.is_empty())
    }

    /// Links to chatroom Pods that are up.
    #[must_use]
    pub fn links_up(&self) -> usize {
        self.links.values().filter(|link| link.up).count()
    }

    // ---- time

    /// When [`Relay::tick`] wants to be called; it may be called at any time.
    #[must_use]
    pub fn next_due(&self) -> Millis {
        self.timers.first().map_or(self.next_audit, |(at, _)| self.next_audit.min(*at))
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis) {
        while let Some((_, id)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.pop_first();
            if let Some(room) = self.rooms.get_mut(&id) {
                room.wake = None;
                self.visit(&id, now);
            }
        }
        if self.next_audit <= now {
            self.next_audit = now + self.options.audit_ms;
            self.audit_links(now);
            for id in self.rooms.keys().cloned().collect::<Vec<_>>() {
                self.with(&id, now, |room, ctx| {
                    if let Some(ring) = &mut room.ring {
                        ring.expire(now, ctx.codec);
                    }
                });
            }
        }
    }

    fn visit(&mut self, id: &RoomId, now: Millis) {
        let Some(room) = self.rooms.get(id) else { return };
        if room.idle_since.is_some_and(|since| now.since(since) >= self.options.linger_ms) {
            if let Some(link) = room.up.link().filter(|_| !matches!(room.up, Up::Waiting(_))) {
                self.out.push(Effect::Up(link, Upstream::Unsubscribe(id.clone())));
            }
            return self.forget(id);
        }
        if room.up == Up::Nowhere {
            self.aim(id, now);
        }
        self.with(id, now, |room, ctx| {
            room.remind(ctx);
            room.retry_at = room.retry_at.filter(|at| *at > now);
            room.settle(ctx);
            if room.lost_since.is_some_and(|since| now.since(since) >= ctx.options.lost_ms) {
                room.lost_since = None;
                for gateway in room.subs.keys() {
                    ctx.down(*gateway, Downstream::Lost(room.id.clone()));
                }
            }
        });
    }

    // ---- within

    fn create(&mut self, id: &RoomId, now: Millis) {
        if !self.rooms.contains_key(id) {
            let floor = self.promises.seen(Slot::of(id.as_str()));
            self.rooms.insert(id.clone(), Room::new(id.clone(), floor, now));
        }
    }

    pub(crate) fn forget(&mut self, id: &RoomId) {
        let Some(room) = self.rooms.remove(id) else { return };
        self.counters.ring_bytes = self.counters.ring_bytes.saturating_sub(room.bytes() as u64);
        for gateway in room.subs.keys() {
            if let Some(window) = self.windows.get_mut(gateway) {
                window.rooms.remove(id);
                window.behind.remove(id);
            }
        }
        if let Some(at) = room.wake {
            self.timers.remove(&(at, id.clone()));
        }
    }

    /// Works on one room, then keeps the books: bytes, the law, the timer.
    pub(crate) fn with(&mut self, id: &RoomId, now: Millis, act: impl FnOnce(&mut Room, &mut Ctx<'_, C>)) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let before = room.bytes() as u64;
        let slot = room.slot;
        // What was seen in one room of the slot binds all of them.
        room.floor = room.floor.max(self.promises.seen(slot));
        let mut ctx = ctx!(self, now);
        act(room, &mut ctx);
        let was = room.up;
        // A promise of more can only be the taker's own: it is not refused here.
        let _ = self.promises.see(slot, room.floor);
        cut_off(room, slot, &mut ctx);
        let must_aim = was != room.up;
        self.counters.ring_bytes = self.counters.ring_bytes.saturating_sub(before) + room.bytes() as u64;
        schedule(room, now, &self.options, &mut self.timers);
        if must_aim {
            self.aim(id, now);
        }
        if self.counters.ring_bytes > self.options.ring_bytes as u64 {
            self.shrink();
        }
    }

    /// Halves the largest rings until the Pod is inside its bound.
    fn shrink(&mut self) {
        while self.counters.ring_bytes > self.options.ring_bytes as u64 {
            let Some(room) = self.rooms.values_mut().max_by_key(|room| room.bytes()) else { return };
            let before = room.bytes();
            let Some(ring) = &mut room.ring else { return };
            ring.halve();
            let freed = (before - ring.bytes()) as u64;
            if freed == 0 {
                return;
            }
            self.counters.ring_bytes = self.counters.ring_bytes.saturating_sub(freed);
        }
    }
}

/// The law: an owner below the floor is listened to no longer, and told so.
pub(crate) fn cut_off<C>(room: &mut Room, slot: Slot, ctx: &mut Ctx<'_, C>) {
    if room.authority >= room.floor {
        return;
    }
    if let Up::Asked(link) | Up::Live(link) = room.up {
        ctx.out.push(Effect::Up(link, Upstream::Stale { slot, epoch: room.floor }));
        ctx.out.push(Effect::Up(link, Upstream::Unsubscribe(room.id.clone())));
    }
    if room.up != Up::Nowhere {
        room.up = Up::Nowhere;
        room.lost_since.get_or_insert(ctx.now);
    }
}

fn schedule(room: &mut Room, now: Millis, options: &Options, timers: &mut BTreeSet<(Millis, RoomId)>) {
    let Some(due) = room.due(options) else { return };
    let due = due.max(now + 1);
    if room.wake.is_none_or(|at| due < at) {
        if let Some(at) = room.wake.replace(due) {
            timers.remove(&(at, room.id.clone()));
        }
        timers.insert((due, room.id.clone()));
    }
}

impl<C> Relay<C> {
    /// The ring of a room, for tests and descriptions.
    #[must_use]
    pub fn ring(&self, room: &RoomId) -> Option<&Ring> {
        self.rooms.get(room)?.ring.as_ref()
    }
}
