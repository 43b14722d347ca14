//! One room of a relay: its ring, the gateways that take it, and where it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::effect::{
    Counters, Downstream, Effect, GatewayId, LinkId, LogRange, Options, Read, Subscription, Upstream, Window,
};
use super::fill::Fill;
use super::packed::{ALL, Codec, Packed, Sealed, reached};
use super::ring::{Item, Place, Ring, Taken};
use crate::{Cursor, Epoch, Millis, RoomId, Seqs, Slot};

/// Time between two attempts to mend a hole.
const MEND_MS: u64 = 200;
/// Attempts to have an epoch sealed by its owner before it is sealed where the log ends.
const SEAL_TRIES: u32 = 3;

/// What a room needs of its relay while it works.
pub(crate) struct Ctx<'a, C> {
    pub(crate) now: Millis,
    pub(crate) codec: &'a C,
    pub(crate) options: &'a Options,
    pub(crate) out: &'a mut Vec<Effect>,
    pub(crate) windows: &'a mut BTreeMap<GatewayId, Window>,
    pub(crate) counters: &'a mut Counters,
}

impl<C> Ctx<'_, C> {
    pub(crate) fn down(&mut self, gateway: GatewayId, message: Downstream) {
        let Some(window) = self.windows.get_mut(&gateway).filter(|window| !window.dropped) else { return };
        // One large answer may overdraw the window; a gateway that still gets more after that reads nothing at all.
        window.dropped = window.left < -i64::try_from(self.options.window_bytes).unwrap_or(i64::MAX);
        window.left = window.left.saturating_sub(i64::try_from(message.weight()).unwrap_or(i64::MAX));
        self.out.push(if window.dropped { Effect::Drop(gateway) } else { Effect::Down(gateway, message) });
    }

    fn may_send(&mut self, gateway: GatewayId, room: &RoomId) -> bool {
        let Some(window) = self.windows.get_mut(&gateway) else { return false };
        if window.left <= 0 {
            self.counters.waited += u64::from(window.behind.insert(room.clone()));
        }
        window.left > 0
    }
}

/// Where a room comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    /// Nobody is known to own it.
    Nowhere,
    /// The owner's link is down.
    Waiting(LinkId),
    /// Subscribed, not yet answered.
    Asked(LinkId),
    /// Subscribed.
    Live(LinkId),
}

impl Up {
    pub(crate) fn link(self) -> Option<LinkId> {
        match self {
            Self::Nowhere => None,
            Self::Waiting(link) | Self::Asked(link) | Self::Live(link) => Some(link),
        }
    }
}

/// One gateway's place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sub {
    /// Not placed yet.
    Waiting { since: Option<Cursor>, deadline: Millis },
    /// Its stream runs: the next entry, and what is behind it.
    On { next: u64, cursor: Cursor },
}

/// A question that waits for the owner.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) gateway: GatewayId,
    pub(crate) read: Read,
    pub(crate) deadline: Millis,
}

/// Who is to serve the room, as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: Arc<str>,
    pub(crate) epoch: Epoch,
}

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    pub(crate) slot: Slot,
    pub(crate) ring: Option<Ring>,
    pub(crate) subs: BTreeMap<GatewayId, Sub>,
    pub(crate) up: Up,
    /// Epoch of the claim under which the upstream serves, as far as known.
    pub(crate) authority: Epoch,
    /// Nothing is taken from an owner below it: something newer was seen.
    pub(crate) floor: Epoch,
    /// An answer MOVED that the routes do not show yet.
    pub(crate) moved: Option<Target>,
    pub(crate) fill: Fill,
    pub(crate) reads: Vec<Pending>,
    /// What the owner's log is asked for, and until when an answer counts.
    pub(crate) logs: Vec<(LogRange, Millis)>,
    /// Older epochs of waiting gateways that the owner was told of.
    pub(crate) named: BTreeSet<Epoch>,
    /// Ends that gateways were told by other relays.
    told: BTreeMap<Epoch, Sealed>,
    pub(crate) asked_at: Millis,
    pub(crate) retry_at: Option<Millis>,
    mends: u32,
    pub(crate) idle_since: Option<Millis>,
    pub(crate) lost_since: Option<Millis>,
    pub(crate) wake: Option<Millis>,
}

impl Room {
    pub(crate) fn new(id: RoomId, floor: Epoch, now: Millis) -> Self {
        Self {
            slot: Slot::of(id.as_str()),
            id,
            ring: None,
            subs: BTreeMap::new(),
            up: Up::Nowhere,
            authority: Epoch::NONE,
            floor,
            moved: None,
            fill: Fill::default(),
            reads: Vec::new(),
            logs: Vec::new(),
            named: BTreeSet::new(),
            told: BTreeMap::new(),
            asked_at: now,
            retry_at: None,
            mends: 0,
            idle_since: Some(now),
            lost_since: Some(now),
            wake: None,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.up, Up::Live(_))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ring.as_ref().map_or(0, Ring::bytes)
    }

    pub(crate) fn head(&self) -> Option<Cursor> {
        self.ring.as_ref().map(Ring::head)
    }

    /// A gateway wants the room. Ends that it was told elsewhere count as seen. Says whether the owner has to hear of it.
    pub(crate) fn subscribe(&mut self, gateway: GatewayId, wish: &Subscription, now: Millis, wait_ms: u64) -> bool {
        let mut news = false;
        for sealed in &wish.told {
            let known = self.ring.as_ref().and_then(|ring| ring.ends.get(&sealed.epoch));
            let known = known.or_else(|| self.told.get(&sealed.epoch)).copied();
            if known.is_none_or(|known| !reached(known.last, sealed.last)) {
                let last = known.map_or(sealed.last, |known| known.last.max(sealed.last));
                self.told.insert(sealed.epoch, Sealed { last, ..*sealed });
                news = true;
            }
            self.floor = self.floor.max(sealed.next);
        }
        // A cursor in a newer epoch is a segment or a seal of it that the gateway saw.
        self.floor = self.floor.max(wish.cursor.map_or(Epoch::NONE, |cursor| cursor.epoch));
        self.subs.insert(gateway, Sub::Waiting { since: wish.cursor, deadline: now + wait_ms });
        self.idle_since = None;
        if !self.is_live() {
            self.lost_since.get_or_insert(now);
        }
        news
    }

    pub(crate) fn leave(&mut self, gateway: GatewayId, now: Millis) {
        self.subs.remove(&gateway);
        self.reads.retain(|pending| pending.gateway != gateway);
        if self.subs.is_empty() {
            self.idle_since.get_or_insert(now);
        }
    }

    /// What to ask the owner for when the stream is to go on behind `cursor`.
    pub(crate) fn subscription(&self, cursor: Option<Cursor>) -> Subscription {
        let mut older: BTreeMap<Epoch, Seqs> = BTreeMap::new();
        for sub in self.subs.values() {
            if let Sub::Waiting { since: Some(since), .. } = sub
                && cursor.is_some_and(|cursor| since.epoch <= cursor.epoch && *since != cursor)
            {
                let seq = older.entry(since.epoch).or_default();
                *seq = seq.max(since.seq);
            }
        }
        let mut told = self.told.clone();
        for sealed in self.ring.iter().flat_map(Ring::ends) {
            let entry = told.entry(sealed.epoch).or_insert(sealed);
            entry.last = entry.last.max(sealed.last);
        }
        Subscription {
            room: self.id.clone(),
            cursor,
            older: older.into_iter().map(|(epoch, seq)| Cursor { epoch, seq }).collect(),
            told: told.into_values().collect(),
        }
    }

    /// Asks the owner to go on where the log ends, or, without a log, behind the gateway that is furthest back in the newest
    /// epoch.
    pub(crate) fn ask<C>(&mut self, link: LinkId, ctx: &mut Ctx<'_, C>) {
        let cursor = self.head().or_else(|| self.oldest_wish());
        self.up = Up::Asked(link);
        self.asked_at = ctx.now;
        self.retry_at = None;
        self.fill.interrupt();
        ctx.out.push(Effect::Up(link, Upstream::Subscribe(self.subscription(cursor))));
    }

    fn oldest_wish(&self) -> Option<Cursor> {
        let wishes = self.subs.values().filter_map(|sub| match sub {
            Sub::Waiting { since, .. } => *since,
            Sub::On { cursor, .. } => Some(*cursor),
        });
        wishes.reduce(|a, b| match a.epoch.cmp(&b.epoch) {
            std::cmp::Ordering::Less => b,
            std::cmp::Ordering::Greater => a,
            std::cmp::Ordering::Equal => Cursor { epoch: a.epoch, seq: super::packed::lesser(a.seq, b.seq) },
        })
    }

    /// The owner's stream goes on behind `cursor`.
    pub(crate) fn subscribed<C: Codec>(&mut self, cursor: Cursor, mut sealed: Vec<Sealed>, ctx: &mut Ctx<'_, C>) {
        let Some(link) = self.up.link() else { return };
        self.up = Up::Live(link);
        self.lost_since = None;
        self.authority = self.authority.max(cursor.epoch);
        self.floor = self.floor.max(cursor.epoch);
        sealed.retain(|sealed| sealed.epoch < cursor.epoch);
        sealed.sort_unstable_by_key(|sealed| sealed.epoch);
        let Some(ring) = &mut self.ring else {
            let mut ring = Ring::new(self.id.clone(), cursor, ctx.options.limits);
            self.told.values().chain(&sealed).for_each(|sealed| ring.note_end(*sealed));
            self.ring = Some(ring);
            return self.settle(ctx);
        };
        self.fill.answered(cursor, ring);
        for end in sealed {
            if end.epoch < ring.start().epoch && !ring.ends.contains_key(&end.epoch) {
                ring.note_end(end);
            } else {
                ring.seal(end, ctx.now, ctx.codec);
            }
        }
        let head = ring.head();
        if cursor.epoch == head.epoch {
            ring.skip(cursor.seq, ctx.now, ctx.codec);
        } else if cursor.epoch > head.epoch {
            self.mend(Some(cursor.epoch), ctx);
        }
        self.flow(ctx);
        self.settle(ctx);
    }

    /// A segment from the owner.
    pub(crate) fn segment<C: Codec>(&mut self, packed: Packed, ctx: &mut Ctx<'_, C>) {
        let Some(ring) = &mut self.ring else { return };
        // One name for all that is kept of the room.
        let packed = Packed { room: self.id.clone(), ..packed };
        self.authority = self.authority.max(packed.epoch);
        self.floor = self.floor.max(packed.epoch);
        let filled = self.fill.offer(&packed, ring, ctx.now, ctx.codec);
        let epoch = packed.epoch;
        match ring.take(packed.clone(), ctx.now, ctx.codec) {
            Taken::New => {
                self.mends = 0;
                ctx.counters.segments += 1;
                self.flow(ctx);
            }
            Taken::Duplicate => ctx.counters.duplicates += 1,
            Taken::Stale => ctx.counters.stale += 1,
            Taken::Hole => self.mend(None, ctx),
            Taken::Unsealed => {
                self.mend(Some(epoch), ctx);
                if self.head().is_some_and(|head| head.epoch == epoch) {
                    self.segment(packed, ctx);
                }
            }
        }
        if filled || !self.reads.is_empty() {
            self.settle(ctx);
        }
    }

    /// The owner says how an epoch ended.
    pub(crate) fn sealed<C: Codec>(&mut self, sealed: Sealed, ctx: &mut Ctx<'_, C>) {
        let Some(ring) = &mut self.ring else { return };
        self.authority = self.authority.max(sealed.next);
        self.floor = self.floor.max(sealed.next);
        if sealed.epoch < ring.start().epoch && !ring.ends.contains_key(&sealed.epoch) {
            // Nobody here was told of that epoch: there is nothing to tell again.
            ring.note_end(sealed);
        }
        let filled = self.fill.offer_end(sealed, ring, ctx.now, ctx.codec);
        match ring.seal(sealed, ctx.now, ctx.codec) {
            Some(true) => self.flow(ctx),
            Some(false) => {}
            None => self.mend(None, ctx),
        }
        if filled {
            self.settle(ctx);
        }
    }

    /// Numbers are missing: ask again where the log ends. An epoch that begins at `unsealed` although the owner, asked
    /// three times, did not say how the one before ended, is sealed where the log ends: the owner had to seal it there.
    fn mend<C: Codec>(&mut self, unsealed: Option<Epoch>, ctx: &mut Ctx<'_, C>) {
        let (Some(link), Some(head)) = (self.up.link(), self.head()) else { return };
        if let Some(next) = unsealed
            && self.mends >= SEAL_TRIES
            && let Some(ring) = &mut self.ring
        {
            self.mends = 0;
            ring.seal(Sealed { epoch: head.epoch, last: head.seq, next }, ctx.now, ctx.codec);
            return;
        }
        if ctx.now.since(self.asked_at) >= MEND_MS {
            self.mends += 1;
            ctx.counters.mended += 1;
            self.ask(link, ctx);
        } else {
            self.retry_at.get_or_insert(self.asked_at + MEND_MS);
        }
    }

    /// Asks again what was not answered in time.
    pub(crate) fn remind<C: Codec>(&mut self, ctx: &mut Ctx<'_, C>) {
        let Some(link) = self.up.link() else { return };
        let unanswered = matches!(self.up, Up::Asked(_)) && ctx.now.since(self.asked_at) >= ctx.options.ask_ms;
        let retry = self.retry_at.is_some_and(|at| at <= ctx.now) && !matches!(self.up, Up::Waiting(_));
        if retry {
            self.mends += 1;
            ctx.counters.mended += 1;
        }
        if unanswered || retry {
            self.ask(link, ctx);
        }
    }

    /// Hands to every gateway what it has not had yet, as far as its window goes.
    pub(crate) fn flow<C: Codec>(&mut self, ctx: &mut Ctx<'_, C>) {
        let Some(ring) = &self.ring else { return };
        for (gateway, sub) in &mut self.subs {
            pump(&self.id, ring, *gateway, sub, ctx);
        }
    }

    /// The same for one gateway whose window opened.
    pub(crate) fn flow_to<C: Codec>(&mut self, gateway: GatewayId, ctx: &mut Ctx<'_, C>) {
        if let (Some(ring), Some(sub)) = (&self.ring, self.subs.get_mut(&gateway)) {
            pump(&self.id, ring, gateway, sub, ctx);
        }
    }

    /// The moment at which this room wants to be looked at again.
    pub(crate) fn due(&self, options: &Options) -> Option<Millis> {
        let idle = self.idle_since.map(|since| since + options.linger_ms);
        let lost = self.lost_since.filter(|_| !self.subs.is_empty()).map(|since| since + options.lost_ms);
        let asked = matches!(self.up, Up::Asked(_)).then(|| self.asked_at + options.ask_ms);
        let reads = self.reads.iter().map(|pending| pending.deadline).min();
        let subs = self.subs.values().filter_map(|sub| match sub {
            Sub::Waiting { since: Some(_), deadline } if self.ring.is_some() => Some(*deadline),
            _ => None,
        });
        [idle, lost, asked, reads, subs.min(), self.fill.until(), self.retry_at].into_iter().flatten().min()
    }

    /// Every epoch that a waiting gateway stands in.
    pub(crate) fn waiting_epochs(&self) -> BTreeSet<Epoch> {
        let since = |sub: &Sub| match sub {
            Sub::Waiting { since: Some(since), .. } => Some(since.epoch),
            _ => None,
        };
        self.subs.values().filter_map(since).collect()
    }
}

/// Sends one gateway what the log holds behind its place.
pub(crate) fn pump<C: Codec>(id: &RoomId, ring: &Ring, gateway: GatewayId, sub: &mut Sub, ctx: &mut Ctx<'_, C>) {
    let Sub::On { next, cursor } = sub else { return };
    while *next < ring.next_id() && ctx.may_send(gateway, id) {
        if *next < ring.first {
            bridge(id, ring, gateway, (next, cursor), ctx);
            continue;
        }
        let Some(entry) = ring.entry(*next) else { return };
        *next += 1;
        match &entry.item {
            Item::Segment { packed, .. } => {
                let Some(packed) = behind(packed, *cursor, ctx.codec) else { continue };
                *cursor = Cursor { epoch: packed.epoch, seq: packed.last };
                ctx.counters.sent += 1;
                ctx.counters.deliveries += packed.numbers();
                ctx.down(gateway, Downstream::Segment(packed));
            }
            Item::Sealed(sealed) => {
                if sealed.epoch == cursor.epoch {
                    *cursor = Cursor { epoch: sealed.next, seq: Seqs::ZERO };
                }
                ctx.down(gateway, Downstream::Sealed(id.clone(), *sealed));
            }
        }
    }
}

/// The ring dropped what a slow gateway had not taken: its stream goes on where the ring starts, the rest is declared.
fn bridge<C>(id: &RoomId, ring: &Ring, gateway: GatewayId, place: (&mut u64, &mut Cursor), ctx: &mut Ctx<'_, C>) {
    let (next, cursor) = place;
    let (goes_on, gaps, sealed) = match ring.place(*cursor) {
        Place::At(placed) => {
            *next = placed.id;
            (placed.cursor, placed.gaps, placed.sealed)
        }
        Place::Ahead => {
            *next = ring.next_id();
            return;
        }
        Place::Unknown => {
            *next = ring.first;
            (ring.start(), Vec::new(), Vec::new())
        }
    };
    *cursor = goes_on;
    ctx.down(gateway, Downstream::Subscribed { room: id.clone(), cursor: goes_on, gaps, sealed });
}

/// The part of a segment behind a cursor, none if there is nothing of it. Nearly always the whole, untouched.
fn behind<C: Codec>(packed: &Packed, cursor: Cursor, codec: &C) -> Option<Packed> {
    if packed.epoch != cursor.epoch {
        return (packed.epoch > cursor.epoch).then(|| packed.clone());
    }
    if packed.after == cursor.seq {
        return Some(packed.clone());
    }
    (!reached(cursor.seq, packed.last)).then(|| packed.cut(cursor.seq, ALL, codec))
}
