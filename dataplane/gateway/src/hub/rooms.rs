//! Interest in rooms: each is subscribed once, at one relay, for all reactors that have somebody in it.
//!
//! The relay is chosen by rendezvous of (room, gateway) over the live message Pods; when it is silent or has lost the
//! room's owner, the next one takes over from the cursor. What comes is checked against the cursor: what was there is cut
//! off, a hole is asked for again, and what cannot be had is declared.

use std::cmp::Ordering;
use std::sync::Arc;

use throng_core::routes::Peer;
use throng_core::{Cursor, Gap, InstanceId, Lane, Millis, RoomId, Segment, Seqs};
use throng_proto::client::Sealed;
use throng_proto::convert;
use throng_proto::link::{self, gateway_to_message};

use super::{Action, Address, Hub, Role};
use crate::traffic::ToShard;

/// Epochs whose end is remembered.
const MAX_OLD_EPOCHS: usize = 8;
/// A relay that has not answered a subscription for so long is passed over.
const ASK_MS: u64 = 1500;
/// All rooms are looked at so often, whatever happens.
const LOOK_MS: u64 = 100;
/// A room changes its relay, or asks again, at most so often.
const CHANGE_MS: u64 = 250;

/// An epoch that is over: how far this gateway had come, and its end as last told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Old {
    reached: Cursor,
    told: Sealed,
}

/// A room that somebody here is in.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Reactors that want it, one bit each.
    wanted: u64,
    /// Where it is subscribed.
    relay: Option<Address>,
    /// The relay has answered.
    live: bool,
    /// When the relay was asked, and changed, last.
    asked: Millis,
    /// Relays that failed since one answered: others are asked first.
    shunned: Vec<Address>,
    /// Everything up to here went to the reactors.
    pub(super) cursor: Option<Cursor>,
    old: Vec<Old>,
    /// Which owner was sent everybody who is in it here, and when that was begun.
    pub(super) listed: Option<(Address, Millis)>,
}

impl Room {
    /// Reactors that want it.
    pub(super) fn shards(&self) -> impl Iterator<Item = u16> + use<> {
        let wanted = self.wanted;
        (0..64).filter(move |shard| wanted & 1 << shard != 0)
    }

    /// Where requests of the room go.
    pub(super) fn live_relay(&self) -> Option<&Address> {
        self.relay.as_ref().filter(|_| self.live)
    }

    fn subscription(&self, room: &RoomId) -> link::SubscribeRoom {
        link::SubscribeRoom {
            room: room.as_str().to_owned(),
            cursor: self.cursor.map(convert::to_cursor),
            older: self.old.iter().map(|old| convert::to_cursor(old.reached)).collect(),
            told: self.old.iter().map(|old| convert::to_sealed(&old.told)).collect(),
        }
    }
}

impl Hub {
    pub(super) fn wanted(&mut self, shard: u16, id: RoomId) {
        let room = self.rooms.entry(id.clone()).or_default();
        room.wanted |= 1 << shard;
        match room.cursor.filter(|_| room.live) {
            Some(cursor) => self.out.push(Action::Shard(shard, ToShard::Open(id, cursor))),
            None => self.seek_relay(&id),
        }
    }

    pub(super) fn unwanted(&mut self, shard: u16, id: &RoomId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.wanted &= !(1 << shard);
        if room.wanted == 0 {
            let relay = room.relay.take();
            self.rooms.remove(id);
            if let Some(relay) = relay.filter(|relay| self.is_up(Role::Message, relay)) {
                let kind = gateway_to_message::Kind::Unsubscribe(id.as_str().to_owned());
                self.out.push(Action::Message(relay, kind));
            }
        }
    }

    /// Subscribes a room that has no relay, at the best one that is up.
    fn seek_relay(&mut self, id: &RoomId) {
        let Some(room) = self.rooms.get(id) else { return };
        if room.relay.is_some() {
            return;
        }
        let ranked = rank(id, &self.settings.instance, self.routes.message.iter());
        let up: Vec<Address> = ranked.into_iter().filter(|address| self.is_up(Role::Message, address)).collect();
        let now = self.now;
        let Some(room) = self.rooms.get_mut(id) else { return };
        if up.iter().all(|relay| room.shunned.contains(relay)) {
            room.shunned.clear();
        }
        let Some(relay) = up.into_iter().find(|relay| !room.shunned.contains(relay)) else { return };
        room.relay = Some(Arc::clone(&relay));
        room.live = false;
        room.asked = now;
        let kind = gateway_to_message::Kind::Subscribe(room.subscription(id));
        self.out.push(Action::Message(relay, kind));
    }

    /// Gives up a room's relay; the next one is asked at once.
    fn next_relay(&mut self, id: &RoomId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.live = false;
        let relay = room.relay.take();
        room.shunned.extend(relay.clone());
        if let Some(relay) = relay.filter(|relay| self.is_up(Role::Message, relay)) {
            let kind = gateway_to_message::Kind::Unsubscribe(id.as_str().to_owned());
            self.out.push(Action::Message(relay, kind));
        }
        self.seek_relay(id);
    }

    pub(super) fn relay_down(&mut self, address: &Address) {
        let lost: Vec<RoomId> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.relay.as_ref() == Some(address))
            .map(|(id, _)| id.clone())
            .collect();
        for id in lost {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.relay = None;
                room.live = false;
            }
            self.seek_relay(&id);
        }
    }

    pub(super) fn relay_lost_owner(&mut self, from: &Address, room: &str) {
        let Ok(id) = RoomId::new(room) else { return };
        let now = self.now;
        let due = |room: &Room| room.relay.as_ref() == Some(from) && now.since(room.asked) >= CHANGE_MS;
        if self.rooms.get(&id).is_some_and(due) {
            self.next_relay(&id);
        }
    }

    /// Finds relays for rooms without one, and passes over those that do not answer.
    pub(super) fn relays_changed(&mut self) {
        let now = self.now;
        self.next_look = now + LOOK_MS;
        let (mut homeless, mut silent) = (Vec::new(), Vec::new());
        for (id, room) in &self.rooms {
            match &room.relay {
                None => homeless.push(id.clone()),
                Some(_) if !room.live && now.since(room.asked) > ASK_MS => silent.push(id.clone()),
                Some(_) => {}
            }
        }
        for id in homeless {
            self.seek_relay(&id);
        }
        for id in silent {
            self.next_relay(&id);
        }
    }

    /// Asks the same relay again from the cursor: something is missing between it and what came.
    fn ask_again(&mut self, id: &RoomId) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(id).filter(|room| room.live) else { return };
        let Some(relay) = room.relay.clone() else { return };
        room.live = false;
        room.asked = now;
        let kind = gateway_to_message::Kind::Subscribe(room.subscription(id));
        self.out.push(Action::Message(relay, kind));
    }

    pub(super) fn subscribed(&mut self, from: &Address, subscribed: &link::Subscribed) {
        let Ok(id) = RoomId::new(&subscribed.room) else { return };
        let Some(Ok(at)) = subscribed.cursor.as_ref().map(convert::cursor) else { return };
        if self.rooms.get(&id).is_none_or(|room| room.relay.as_ref() != Some(from)) {
            return;
        }
        for sealed in subscribed.sealed.iter().filter_map(|sealed| convert::sealed(sealed).ok()) {
            self.seal(&id, sealed);
        }
        let gaps: Vec<Gap> = subscribed.gaps.iter().filter_map(|gap| convert::gap(gap).ok()).collect();
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.live = true;
        room.shunned.clear();
        if let Some(before) = room.cursor.filter(|before| before.epoch < at.epoch) {
            // The relay does not say how the epoch ended in which this gateway stands: it ended here.
            let next_epoch = at.epoch;
            self.seal(&id, Sealed { room: id.clone(), epoch: before.epoch, last: before.seq, next_epoch });
        }
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(before) = room.cursor else {
            room.cursor = Some(at);
            return self.tell_room(&id, |id| ToShard::Open(id.clone(), at));
        };
        let mut gaps = news(gaps, before);
        let at = match at.epoch.cmp(&before.epoch) {
            Ordering::Less => before,
            Ordering::Equal => {
                gaps.extend(missing(before, at.seq));
                Cursor { epoch: at.epoch, seq: before.seq.max(at.seq) }
            }
            Ordering::Greater => at,
        };
        throng_core::fanout::gaps::merge(&mut gaps);
        room.cursor = Some(at);
        if at != before || !gaps.is_empty() {
            self.tell_room(&id, |id| ToShard::Declared { room: id.clone(), gaps: gaps.clone(), at });
        }
        // Reactors that came in between.
        self.tell_room(&id, |id| ToShard::Open(id.clone(), at));
    }

    pub(super) fn segment(&mut self, from: &Address, wire: &link::Segment) {
        let Some((id, room)) = self.rooms.get_key_value(wire.room.as_str()) else { return };
        let id = id.clone();
        if room.relay.as_ref() != Some(from) || !room.live {
            return;
        }
        let (Some(cursor), Ok(segment)) = (room.cursor, convert::segment(wire)) else { return };
        match segment.epoch.cmp(&cursor.epoch) {
            Ordering::Less => return,
            Ordering::Greater => return self.ask_again(&id),
            Ordering::Equal => {}
        }
        if Lane::ALL.iter().any(|lane| segment.after[*lane] > cursor.seq[*lane]) {
            return self.ask_again(&id);
        }
        let last = segment.last();
        let Some(segment) = cut(segment, cursor.seq) else { return };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.cursor = Some(Cursor { epoch: cursor.epoch, seq: cursor.seq.max(last) });
        }
        let segment = Arc::new(segment);
        self.tell_room(&id, |_| ToShard::Segment(Arc::clone(&segment)));
    }

    pub(super) fn room_sealed(&mut self, from: &Address, wire: &link::Sealed) {
        let Ok(sealed) = convert::sealed(wire) else { return };
        let id = sealed.room.clone();
        let Some(room) = self.rooms.get(&id).filter(|room| room.relay.as_ref() == Some(from)) else { return };
        // While the relay is asked to go on from the cursor, what it said before is passed over, ends as well as segments:
        // an end alone would declare what comes again. Only a raised end of an epoch that is over is not told twice.
        if room.live || room.cursor.is_some_and(|cursor| sealed.epoch < cursor.epoch) {
            self.seal(&id, sealed);
        }
    }

    /// Takes the end of an epoch.
    fn seal(&mut self, id: &RoomId, mut sealed: Sealed) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let Some(cursor) = room.cursor else { return };
        let (gaps, at) = match sealed.epoch.cmp(&cursor.epoch) {
            Ordering::Greater => return self.ask_again(id),
            Ordering::Equal => {
                let next = Cursor { epoch: sealed.next_epoch, seq: Seqs::ZERO };
                if next.epoch <= cursor.epoch {
                    return;
                }
                room.cursor = Some(next);
                room.old.push(Old { reached: cursor, told: sealed.clone() });
                if room.old.len() > MAX_OLD_EPOCHS {
                    room.old.remove(0);
                }
                (missing(cursor, sealed.last), Some(next))
            }
            Ordering::Less => {
                // Told again: it may only raise the end. What that adds is declared, never pushed.
                let Some(old) = room.old.iter_mut().find(|old| old.told.epoch == sealed.epoch) else { return };
                let raised = old.told.last.max(sealed.last);
                if raised == old.told.last {
                    return;
                }
                let known = Cursor { epoch: sealed.epoch, seq: old.told.last.max(old.reached.seq) };
                sealed.last = raised;
                old.told.last = raised;
                (missing(known, raised), None)
            }
        };
        let sealed = Arc::new(sealed);
        self.tell_room(id, |_| ToShard::Sealed { sealed: Arc::clone(&sealed), gaps: gaps.clone(), at });
    }

    /// Tells each relay all rooms that are taken from it.
    pub(super) fn audit(&mut self) {
        let mut by_relay: std::collections::BTreeMap<Address, Vec<String>> = std::collections::BTreeMap::new();
        for ((role, address), up) in &self.links {
            if *role == Role::Message && *up {
                by_relay.insert(Arc::clone(address), Vec::new());
            }
        }
        for (id, room) in &self.rooms {
            if let Some(rooms) = room.relay.as_ref().and_then(|relay| by_relay.get_mut(relay)) {
                rooms.push(id.as_str().to_owned());
            }
        }
        for (relay, mut rooms) in by_relay {
            rooms.sort_unstable();
            self.out.push(Action::Message(relay, gateway_to_message::Kind::Audit(link::RoomList { rooms })));
        }
    }
}

/// Addresses of the message Pods that a gateway asks for a room, best first; those that empty come last.
fn rank<'a>(
    room: &RoomId,
    gateway: &InstanceId,
    pods: impl Iterator<Item = (&'a InstanceId, &'a Peer)>,
) -> Vec<Address> {
    let pods: Vec<_> = pods.collect();
    let weighted = pods.iter().map(|(instance, peer)| (instance.as_str(), u32::from(!peer.draining)));
    let best = throng_core::rendezvous::relay(room, gateway.as_str(), weighted, pods.len());
    let best: Vec<usize> = best.into_iter().collect();
    let rest = (0..pods.len()).filter(|at| !best.contains(at));
    best.iter().copied().chain(rest).filter_map(|at| Some(Arc::clone(&pods.get(at)?.1.address))).collect()
}

/// Numbers after a cursor up to `last`, as gaps.
fn missing(cursor: Cursor, last: Seqs) -> Vec<Gap> {
    let of_lane = |lane: Lane| {
        let (from, to) = (cursor.seq[lane] + 1, last[lane]);
        (from <= to).then_some(Gap { epoch: cursor.epoch, lane, from, to })
    };
    Lane::ALL.into_iter().filter_map(of_lane).collect()
}

/// What of some gaps was not delivered before.
fn news(gaps: Vec<Gap>, cursor: Cursor) -> Vec<Gap> {
    let cut = |gap: Gap| {
        let from = if gap.epoch == cursor.epoch { gap.from.max(cursor.seq[gap.lane] + 1) } else { gap.from };
        (from <= gap.to).then_some(Gap { from, ..gap })
    };
    gaps.into_iter().filter_map(cut).collect()
}

/// What of a segment comes after `reached`; none if nothing does.
fn cut(mut segment: Segment, reached: Seqs) -> Option<Segment> {
    if segment.after != reached {
        let epoch = segment.epoch;
        segment.messages.retain(|message| message.seq > reached[message.lane]);
        segment.gaps = news(segment.gaps, Cursor { epoch, seq: reached });
        segment.after = reached;
    }
    (!segment.messages.is_empty() || !segment.gaps.is_empty()).then_some(segment)
}
