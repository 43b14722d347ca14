//! Messages to the owners of their rooms, and the answers back.
//!
//! A message whose owner is unknown, moved or out of reach waits until its deadline and takes the first way there is:
//! the owner's link, or the room's relay, which can pass it on. One that was on a link when that broke is sent again only
//! if it has a key: without one nobody can know whether it was ordered.

use std::collections::BTreeMap;
use std::sync::Arc;

use throng_core::{Epoch, Gap, Message, Millis, RoomId, Stamp};
use throng_proto::client;
use throng_proto::codes::ErrorCode;
use throng_proto::convert;
use throng_proto::link::{self, gateway_to_chatroom, gateway_to_message};

use super::{Action, Address, Hub, Role};
use crate::traffic::{Asker, Failure, Order, Ordered, ToShard};

/// Most messages and pulls on their way.
const MAX_PENDING: usize = 50_000;

#[derive(Debug)]
struct Pending {
    asker: Asker,
    room: RoomId,
    message: link::Publish,
    deadline: Millis,
    /// The link that it is on.
    via: Option<(Role, Address)>,
}

#[derive(Debug)]
struct Pull {
    asker: Asker,
    deadline: Millis,
}

/// Messages and pulls on their way, by request, which is also their order.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    pending: BTreeMap<u64, Pending>,
    pulls: BTreeMap<u64, Pull>,
    request: u64,
}

impl Publishes {
    pub(super) fn next_request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.pulls.is_empty()
    }
}

impl Hub {
    pub(super) fn publish(&mut self, order: Order) {
        let busy = Failure {
            retry_ms: Some(1000),
            ..Failure::new(ErrorCode::Unavailable, "too much is on its way: try again")
        };
        if self.publishes.pending.len() >= MAX_PENDING {
            return self.out.push(Action::Shard(order.asker.shard, ToShard::Published(order.asker, Err(busy))));
        }
        let request = self.publishes.next_request();
        let message = link::Publish {
            request,
            room: order.room.as_str().to_owned(),
            user: order.user.as_str().to_owned(),
            session: order.session.0,
            lane: u32::from(order.lane.number()),
            best_lane: u32::from(order.best_lane.number()),
            kind: order.kind,
            data: order.data,
            key: order.key.unwrap_or_default(),
            stored: order.stored,
        };
        let deadline = self.now + self.settings.answer_ms;
        let pending = Pending { asker: order.asker, room: order.room, message, deadline, via: None };
        self.publishes.pending.insert(request, pending);
        self.send_publish(request);
    }

    /// Sends a message if there is a way.
    fn send_publish(&mut self, request: u64) {
        let Some(pending) = self.publishes.pending.get(&request) else { return };
        let owner = self.owner_of(&pending.room).filter(|owner| self.is_up(Role::Chatroom, owner));
        let relay = || {
            let relay = self.rooms.get(&pending.room)?.live_relay()?;
            self.is_up(Role::Message, relay).then(|| Arc::clone(relay))
        };
        let via = owner.map(|owner| (Role::Chatroom, owner)).or_else(|| Some((Role::Message, relay()?)));
        let Some(via) = via else { return };
        let message = pending.message.clone();
        if let Some(pending) = self.publishes.pending.get_mut(&request) {
            pending.via = Some(via.clone());
        }
        self.out.push(match via {
            (Role::Chatroom, owner) => Action::Chatroom(owner, gateway_to_chatroom::Kind::Publish(message)),
            (Role::Message, relay) => Action::Message(relay, gateway_to_message::Kind::Publish(message)),
        });
    }

    /// Sends what waits for a way, and gives up what has waited too long.
    pub(super) fn retry_publishes(&mut self) {
        let now = self.now;
        let waiting: Vec<u64> =
            self.publishes.pending.iter().filter(|(_, pending)| pending.via.is_none()).map(|(at, _)| *at).collect();
        for request in waiting {
            self.send_publish(request);
        }
        while let Some(entry) = self.publishes.pending.first_entry() {
            if now < entry.get().deadline {
                break;
            }
            let pending = entry.remove();
            let failure = Failure::unavailable("the room's owner did not answer: try again with the same key");
            self.out.push(Action::Shard(pending.asker.shard, ToShard::Published(pending.asker, Err(failure))));
        }
        while let Some(entry) = self.publishes.pulls.first_entry() {
            if now < entry.get().deadline {
                break;
            }
            let asker = entry.remove().asker;
            let failure = Failure::unavailable("the room's relay did not answer: try again");
            self.out.push(Action::Shard(asker.shard, ToShard::Pulled(asker, Err(failure))));
        }
    }

    /// A link broke.
    pub(super) fn publishes_cut(&mut self, role: Role, address: &Address) {
        let on_it = |pending: &Pending| pending.via.as_ref().is_some_and(|(r, a)| *r == role && a == address);
        let cut: Vec<u64> =
            self.publishes.pending.iter().filter(|(_, pending)| on_it(pending)).map(|(at, _)| *at).collect();
        for request in cut {
            let Some(pending) = self.publishes.pending.get_mut(&request) else { continue };
            pending.via = None;
            if pending.message.key.is_empty() {
                let failure = Failure::unavailable("the room's owner was lost: it may or may not have taken this");
                let asker = pending.asker;
                self.publishes.pending.remove(&request);
                self.out.push(Action::Shard(asker.shard, ToShard::Published(asker, Err(failure))));
            } else {
                self.send_publish(request);
            }
        }
    }

    /// The Pod does not own the room: what went there goes to the next owner.
    pub(super) fn publishes_moved(&mut self, from: &Address, room: &RoomId) {
        let stray = |pending: &Pending| {
            pending.room == *room && pending.via.as_ref().is_some_and(|(_, address)| address == from)
        };
        let strays: Vec<u64> =
            self.publishes.pending.iter().filter(|(_, pending)| stray(pending)).map(|(at, _)| *at).collect();
        let same = self.owner_of(room).as_ref() == Some(from);
        for request in strays {
            if let Some(pending) = self.publishes.pending.get_mut(&request) {
                pending.via = None;
            }
            // An owner that sends everybody to itself is asked again at the next tick, not in a loop.
            if !same {
                self.send_publish(request);
            }
        }
    }

    pub(super) fn published(&mut self, reply: &link::PublishReply) {
        let Some(pending) = self.publishes.pending.remove(&reply.request) else { return };
        let result = Failure::check(&reply.code, reply.message.clone(), reply.retry_ms).and_then(|()| {
            let lane =
                convert::lane(reply.lane).map_err(|_| Failure::new(ErrorCode::Internal, "a wrong lane came back"))?;
            let stamp = Stamp { epoch: Epoch(reply.epoch), lane, seq: reply.seq };
            Ok(Ordered { stamp, stored: reply.stored })
        });
        self.out.push(Action::Shard(pending.asker.shard, ToShard::Published(pending.asker, result)));
    }

    pub(super) fn pull(&mut self, room: &RoomId, pull: &client::Pull, asker: Asker) {
        let relay = self.rooms.get(room).and_then(|room| room.live_relay().cloned());
        let full = self.publishes.pulls.len() >= MAX_PENDING;
        let Some(relay) = relay.filter(|relay| !full && self.is_up(Role::Message, relay)) else {
            let failure = Failure::unavailable("the room's relay cannot be reached now: try again");
            return self.out.push(Action::Shard(asker.shard, ToShard::Pulled(asker, Err(failure))));
        };
        let request = self.publishes.next_request();
        self.publishes.pulls.insert(request, Pull { asker, deadline: self.now + self.settings.answer_ms });
        let pull = link::Pull {
            request,
            room: room.as_str().to_owned(),
            epoch: pull.epoch.map_or(0, |epoch| epoch.0),
            lane: u32::from(pull.lane.number()),
            after: pull.after,
            limit: pull.limit,
        };
        self.out.push(Action::Message(relay, gateway_to_message::Kind::Pull(pull)));
    }

    pub(super) fn pull_answered(&mut self, pulled: link::Pulled) {
        let Some(Pull { asker, .. }) = self.publishes.pulls.remove(&pulled.request) else { return };
        let read = |body: Option<link::SegmentBody>| -> Result<(Vec<Message>, Vec<Gap>), Failure> {
            convert::body(body.unwrap_or_default())
                .map_err(|_| Failure::new(ErrorCode::Internal, "the relay's answer does not read"))
        };
        let result = Failure::check(&pulled.code, pulled.message, 0)
            .and_then(|()| read(pulled.body))
            .map(|(messages, gaps)| (Epoch(pulled.epoch), messages, gaps));
        self.out.push(Action::Shard(asker.shard, ToShard::Pulled(asker, result)));
    }
}
