//! From the outputs of the rooms to streams and the store.

use throng_core::room::{Asker, GatewayNo, MessageKey, Output, Receipt, Refusal, RelayNo};
use throng_core::{Cursor, RoomId, Segment};
use throng_proto::convert as base;
use throng_proto::link;
use throng_proto::link::chatroom_to_gateway::Kind as ToGateway;
use throng_proto::link::chatroom_to_relay::Kind as ToRelay;

use crate::actor::Actor;
use crate::convert;

/// Paused streams resumed in one turn, at most.
const RESUMED_IN_A_TURN: usize = 64;

impl Actor {
    /// Sends and writes everything that the rooms want sent and written.
    pub(crate) fn deliver(&mut self) {
        for output in self.pod.take_output() {
            self.deliver_one(output);
        }
    }

    fn deliver_one(&mut self, output: Output) {
        match output {
            Output::Published { to, result } => self.published(to, &result),
            Output::Segment { relays, segment, keys } => self.segment(relays, &segment, keys),
            Output::Sealed { relays, sealed } => {
                for relay in relays {
                    self.links.seal(relay, &sealed.room, sealed.epoch, ToRelay::Sealed(convert::sealed(&sealed)));
                }
            }
            Output::Subscribed { relay, room, cursor, sealed } => {
                let answer = link::Subscribed {
                    room: room.as_str().to_owned(),
                    cursor: Some(base::to_cursor(cursor)),
                    gaps: vec![],
                    sealed: sealed.iter().map(convert::sealed).collect(),
                };
                self.links.tell_relay(relay, ToRelay::Subscribed(answer));
            }
            Output::Deleted { relays, room, stamp } => {
                for relay in relays {
                    self.links.tell_relay(relay, ToRelay::Delete(convert::delete(&room, stamp)));
                }
            }
            Output::Closed { relays, room, reason } => {
                let closed = link::RoomClosed { room: room.as_str().to_owned(), reason: reason.as_str().to_owned() };
                self.tell_last(&relays, &room, &ToRelay::Closed(closed));
            }
            Output::Moved { relays, gateways, room, moved } => {
                let moved = convert::moved(&room, &moved);
                self.tell_last(&relays, &room, &ToRelay::Moved(moved.clone()));
                self.tell_gateways(&gateways, &ToGateway::Moved(moved));
            }
            Output::Event { gateways, event } => {
                self.tell_gateways(&gateways, &ToGateway::Event(convert::event(&event)));
            }
            Output::Removed { gateways, room, users, reason } => {
                let users = users.iter().map(|user| user.as_str().to_owned()).collect();
                let room = room.as_str().to_owned();
                let removed = link::Removed { room, users, reason: reason.as_ref().to_owned() };
                self.tell_gateways(&gateways, &ToGateway::Removed(removed));
            }
            Output::ListRoom { gateways, room } => {
                self.tell_gateways(&gateways, &ToGateway::ListRoom(room.as_str().to_owned()));
            }
            Output::Persist { slot, epoch, ticket, write } => self.log.push(slot, epoch, ticket, write),
        }
    }

    fn tell_gateways(&mut self, gateways: &[GatewayNo], kind: &ToGateway) {
        for gateway in gateways {
            self.links.tell_gateway(*gateway, kind.clone());
        }
    }

    /// Tells relays the last that they hear of a room from here.
    fn tell_last(&mut self, relays: &[RelayNo], room: &RoomId, kind: &ToRelay) {
        for relay in relays {
            self.links.restart(*relay, room);
            self.links.tell_relay(*relay, kind.clone());
        }
    }

    /// Encodes a segment once, for all relays whose stream flows.
    fn segment(&mut self, mut relays: Vec<RelayNo>, segment: &Segment, keys: Vec<MessageKey>) {
        relays.retain(|relay| self.links.flows(*relay, &segment.room));
        if relays.is_empty() {
            return;
        }
        let cursor = Cursor { epoch: segment.epoch, seq: segment.after };
        let encoded = convert::segment(segment, keys);
        self.handle.metrics.segments.inc_by(relays.len() as u64);
        for relay in relays {
            self.links.stream(relay, &segment.room, cursor, ToRelay::Segment(encoded.clone()));
        }
    }

    fn published(&mut self, to: Asker, result: &Result<Receipt, Refusal>) {
        match to {
            Asker::Gateway(gateway, request) => {
                self.links.tell_gateway(gateway, ToGateway::Published(convert::published(request, result)));
            }
            Asker::Relay(relay, request) => {
                self.links.tell_relay(relay, ToRelay::Published(convert::published(request, result)));
            }
            Asker::Server(call) => {
                if let Some(reply) = self.calls.remove(&call) {
                    let _ = reply.send(convert::published_to_server(result));
                }
            }
            Asker::Nobody => {}
        }
    }

    /// Lets paused streams go on whose relays have caught up.
    pub(crate) fn resume_paused(&mut self) {
        for _ in 0..RESUMED_IN_A_TURN {
            let Some((relay, room, cursor)) = self.links.resumable() else { break };
            self.pod.resume(self.now(), relay, &room, cursor);
            self.deliver();
        }
        let metrics = &self.handle.metrics;
        metrics.overflows.inc_by(self.links.overflows.saturating_sub(metrics.overflows.get()));
    }
}
