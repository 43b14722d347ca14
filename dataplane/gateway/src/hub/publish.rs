//! Messages to the owners of their rooms, and the answers back.
//!
//! A message whose owner is unknown, moved or out of reach waits until its deadline and takes the first way there is:
//! the owner's link, or the room's relay, which can pass it on. One that was on a link when that broke is sent again only
//! if it has a key: without one nobody can know whether it was ordered.
//!
//! A link carries so many unanswered messages and no more: what waits behind them is not lost with the link, and an owner
//! that comes back after an outage is not buried under everything that waited for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::{Epoch, Gap, Message, Millis, RoomId, Slot, Stamp};
use throng_proto::client;
use throng_proto::codes::ErrorCode;
use throng_proto::convert;
use throng_proto::link::{self, gateway_to_chatroom, gateway_to_message};

use super::{Action, Address, Hub, Role};
use crate::traffic::{Asker, Failure, Order, Ordered, ToShard};

/// Most messages and pulls on their way.
const MAX_PENDING: usize = 50_000;
/// Most unanswered messages on one link: a second of 4,000/s.
pub(crate) const MAX_ON_LINK: usize = 4_096;
/// Between two looks for ways at what waits.
const RETRY_MS: u64 = 20;
/// Who did not take a message is not asked again for so long.
const REFUSED_MS: u64 = 100;

#[derive(Debug)]
struct Pending {
    asker: Asker,
    room: RoomId,
    message: link::Publish,
    deadline: Millis,
    /// The link that it is on.
    via: Option<Link>,
    /// Where it was not taken, and is not offered again before then.
    refused: Option<(Link, Millis)>,
}

type Link = (Role, Address);

#[derive(Debug)]
struct Pull {
    asker: Asker,
    deadline: Millis,
}

/// Messages and pulls on their way, by request, which is also their order.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    pending: BTreeMap<u64, Pending>,
    /// Those of `pending` that are on no link.
    waiting: BTreeSet<u64>,
    /// All of `pending`, by slot.
    by_slot: BTreeSet<(Slot, u64)>,
    /// Those that are, by link.
    on_link: BTreeMap<Link, BTreeSet<u64>>,
    /// When `waiting` is looked through again.
    retry_at: Millis,
    pulls: BTreeMap<u64, Pull>,
    request: u64,
}

impl Publishes {
    pub(super) fn next_request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    fn has_space(&self, link: &Link) -> bool {
        self.on_link.get(link).is_none_or(|sent| sent.len() < MAX_ON_LINK)
    }

    /// Puts a message on a link, or on none, and says what is sent.
    fn put(&mut self, request: u64, via: Option<Link>) -> Option<link::Publish> {
        let pending = self.pending.get_mut(&request)?;
        if let Some(before) = std::mem::replace(&mut pending.via, via)
            && let Some(sent) = self.on_link.get_mut(&before)
        {
            sent.remove(&request);
        }
        let Some(link) = pending.via.clone() else {
            self.waiting.insert(request);
            return None;
        };
        self.waiting.remove(&request);
        self.on_link.entry(link).or_default().insert(request);
        Some(pending.message.clone())
    }

    fn remove(&mut self, request: u64) -> Option<Pending> {
        let pending = self.pending.remove(&request)?;
        self.waiting.remove(&request);
        self.by_slot.remove(&(Slot::of(pending.room.as_str()), request));
        if let Some(sent) = pending.via.as_ref().and_then(|link| self.on_link.get_mut(link)) {
            sent.remove(&request);
        }
        Some(pending)
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
        self.publishes.waiting.insert(request);
        self.publishes.by_slot.insert((Slot::of(order.room.as_str()), request));
        let pending = Pending { asker: order.asker, room: order.room, message, deadline, via: None, refused: None };
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
        let refused =
            |via: &Link| pending.refused.as_ref().is_some_and(|(link, until)| link == via && self.now < *until);
        let Some(via) = via.filter(|via| self.publishes.has_space(via) && !refused(via)) else { return };
        let Some(message) = self.publishes.put(request, Some(via.clone())) else { return };
        self.out.push(match via {
            (Role::Chatroom, owner) => Action::Chatroom(owner, gateway_to_chatroom::Kind::Publish(message)),
            (Role::Message, relay) => Action::Message(relay, gateway_to_message::Kind::Publish(message)),
        });
    }

    /// There is a new way: what waits is looked through at once.
    pub(super) fn look_for_ways(&mut self) {
        self.publishes.retry_at = Millis::ZERO;
        self.retry_publishes();
    }

    /// Gives up what has waited too long, and sends what waits for a way.
    pub(super) fn retry_publishes(&mut self) {
        let now = self.now;
        while let Some((request, _)) =
            self.publishes.pending.first_key_value().filter(|(_, first)| now >= first.deadline)
        {
            let Some(pending) = self.publishes.remove(*request) else { break };
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
        if now >= self.publishes.retry_at && !self.publishes.waiting.is_empty() {
            self.publishes.retry_at = now + RETRY_MS;
            for request in self.publishes.waiting.iter().copied().collect::<Vec<_>>() {
                self.send_publish(request);
            }
        }
    }

    /// A link broke.
    pub(super) fn publishes_cut(&mut self, role: Role, address: &Address) {
        let cut = self.publishes.on_link.remove(&(role, Arc::clone(address))).unwrap_or_default();
        for request in cut {
            let Some(pending) = self.publishes.pending.get(&request) else { continue };
            if pending.message.key.is_empty() {
                let failure = Failure::unavailable("the room's owner was lost: it may or may not have taken this");
                let asker = pending.asker;
                self.publishes.remove(request);
                self.out.push(Action::Shard(asker.shard, ToShard::Published(asker, Err(failure))));
            } else {
                self.publishes.put(request, None);
                self.send_publish(request);
            }
        }
    }

    /// The Pod does not own the room: what went there goes to the next owner.
    pub(super) fn publishes_moved(&mut self, from: &Address, room: &RoomId) {
        let slot = Slot::of(room.as_str());
        let stray = |pending: &Pending| {
            pending.room == *room && pending.via.as_ref().is_some_and(|(_, address)| address == from)
        };
        let of_slot = self.publishes.by_slot.range((slot, 0)..=(slot, u64::MAX)).map(|(_, request)| *request);
        let strays: Vec<u64> =
            of_slot.filter(|request| self.publishes.pending.get(request).is_some_and(stray)).collect();
        let same = self.owner_of(room).as_ref() == Some(from);
        for request in strays {
            self.publishes.put(request, None);
            // An owner that sends everybody to itself is asked again at the next tick, not in a loop.
            if !same {
                self.send_publish(request);
            }
        }
    }

    pub(super) fn published(&mut self, role: Role, from: &Address, reply: &link::PublishReply) {
        if reply.untaken {
            return self.not_taken((role, Arc::clone(from)), reply.request);
        }
        let Some(pending) = self.publishes.remove(reply.request) else { return };
        let result = Failure::check(&reply.code, reply.message.clone(), reply.retry_ms).and_then(|()| {
            let lane =
                convert::lane(reply.lane).map_err(|_| Failure::new(ErrorCode::Internal, "a wrong lane came back"))?;
            let stamp = Stamp { epoch: Epoch(reply.epoch), lane, seq: reply.seq };
            Ok(Ordered { stamp, stored: reply.stored })
        });
        // Reactors ask only for who is in.
        if result.as_ref().is_err_and(|failure| failure.code == ErrorCode::NotJoined) {
            self.doubted(&pending.room);
        }
        self.out.push(Action::Shard(pending.asker.shard, ToShard::Published(pending.asker, result)));
    }

    /// Nobody has ordered a message there: it waits for another way, or for this one. If it has gone another way by then,
    /// the answer that counts is still to come.
    fn not_taken(&mut self, link: Link, request: u64) {
        let on_it = |pending: &&mut Pending| pending.via.as_ref() == Some(&link);
        let Some(pending) = self.publishes.pending.get_mut(&request).filter(on_it) else { return };
        pending.refused = Some((link, self.now + REFUSED_MS));
        self.publishes.put(request, None);
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
        let result = Failure::check_read(&pulled.code, pulled.message)
            .and_then(|()| read(pulled.body))
            .map(|(messages, gaps)| (Epoch(pulled.epoch), messages, gaps));
        self.out.push(Action::Shard(asker.shard, ToShard::Pulled(asker, result)));
    }
}
