//! The streams of this Pod: who is linked, and how far each relay that reads too slowly has come.

use std::collections::BTreeMap;

use throng_core::room::{GatewayNo, RelayNo};
use throng_core::{Cursor, Epoch, RoomId};
use throng_proto::link::chatroom_to_gateway::Kind as ToGateway;
use throng_proto::link::chatroom_to_relay::Kind as ToRelay;
use throng_proto::link::{ChatroomToGateway, ChatroomToRelay};

use crate::outbox::Outbox;

/// One stream; a gateway that links again has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkNo(pub(crate) u64);

#[derive(Debug)]
struct RelayLink {
    outbox: Outbox<ChatroomToRelay>,
    /// Rooms whose stream has paused, and after which number.
    behind: BTreeMap<RoomId, Cursor>,
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Links {
    gateways: BTreeMap<GatewayNo, (LinkNo, Outbox<ChatroomToGateway>)>,
    relays: BTreeMap<RelayNo, RelayLink>,
    /// How often a queue was full.
    pub(crate) overflows: u64,
}

impl Links {
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.gateways.len(), self.relays.len())
    }

    /// A gateway's stream replaces the one before.
    pub(crate) fn add_gateway(&mut self, gateway: GatewayNo, link: LinkNo, outbox: Outbox<ChatroomToGateway>) {
        if let Some((_, before)) = self.gateways.insert(gateway, (link, outbox)) {
            before.close();
        }
    }

    /// A stream ended; true if it was the gateway's present one.
    pub(crate) fn remove_gateway(&mut self, gateway: GatewayNo, link: LinkNo) -> bool {
        let present = self.gateways.get(&gateway).is_some_and(|(present, _)| *present == link);
        if present {
            self.gateways.remove(&gateway);
        }
        present
    }

    pub(crate) fn add_relay(&mut self, relay: RelayNo, outbox: Outbox<ChatroomToRelay>) {
        self.relays.insert(relay, RelayLink { outbox, behind: BTreeMap::new() });
    }

    pub(crate) fn remove_relay(&mut self, relay: RelayNo) {
        self.relays.remove(&relay);
    }

    /// Says something to a gateway. One that does not read is cut off: it links again and lists its members.
    pub(crate) fn tell_gateway(&mut self, gateway: GatewayNo, kind: ToGateway) {
        let Some((_, outbox)) = self.gateways.get(&gateway) else { return };
        if outbox.send(ChatroomToGateway { kind: Some(kind) }).is_err() {
            self.overflows += 1;
            outbox.close();
        }
    }

    /// Says something to a relay that it must hear. One that does not read at all is cut off.
    pub(crate) fn tell_relay(&mut self, relay: RelayNo, kind: ToRelay) {
        let Some(link) = self.relays.get(&relay) else { return };
        if link.outbox.send_urgent(ChatroomToRelay { kind: Some(kind) }).is_err() {
            self.overflows += 1;
            link.outbox.close();
        }
    }

    /// The queue of a relay, for an answer that takes a while.
    pub(crate) fn outbox(&self, relay: RelayNo) -> Option<Outbox<ChatroomToRelay>> {
        self.relays.get(&relay).map(|link| link.outbox.clone())
    }

    /// Whether the stream of a room flows to a relay, or has paused.
    pub(crate) fn flows(&self, relay: RelayNo, room: &RoomId) -> bool {
        self.relays.get(&relay).is_some_and(|link| !link.behind.contains_key(room))
    }

    /// Sends a relay the next part of a room's stream, which goes on after `cursor`. If its queue is full the stream of
    /// that room pauses there.
    pub(crate) fn stream(&mut self, relay: RelayNo, room: &RoomId, cursor: Cursor, kind: ToRelay) {
        let Some(link) = self.relays.get_mut(&relay) else { return };
        if link.behind.contains_key(room) {
            return;
        }
        if link.outbox.send(ChatroomToRelay { kind: Some(kind) }).is_err() {
            self.overflows += 1;
            link.behind.insert(room.clone(), cursor);
        }
    }

    /// Tells a relay the end of an older epoch. A stream that has paused before that tells it when it goes on.
    pub(crate) fn seal(&mut self, relay: RelayNo, room: &RoomId, epoch: Epoch, kind: ToRelay) {
        let paused = self.relays.get(&relay).and_then(|link| link.behind.get(room));
        if paused.is_none_or(|cursor| cursor.epoch > epoch) {
            self.tell_relay(relay, kind);
        }
    }

    /// The stream of a room starts anew or ends: where it paused is forgotten.
    pub(crate) fn restart(&mut self, relay: RelayNo, room: &RoomId) {
        if let Some(link) = self.relays.get_mut(&relay) {
            link.behind.remove(room);
        }
    }

    /// Whether the stream of some room has paused.
    pub(crate) fn has_paused(&self) -> bool {
        self.relays.values().any(|link| !link.behind.is_empty())
    }

    /// A room whose stream has paused and can go on, with where.
    pub(crate) fn resumable(&mut self) -> Option<(RelayNo, RoomId, Cursor)> {
        let ready = |link: &RelayLink| !link.behind.is_empty() && link.outbox.has_room();
        let (relay, link) = self.relays.iter_mut().find(|(_, link)| ready(link))?;
        let (room, cursor) = link.behind.pop_first()?;
        Some((*relay, room, cursor))
    }
}
