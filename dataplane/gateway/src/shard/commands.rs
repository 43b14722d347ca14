//! Commands of clients, and the answers of the hub to those that others decide.

use std::sync::Arc;

use throng_core::{Epoch, Gap, Lane, Message, RoomId, SessionId, UserId};
use throng_proto::client::{self, Body, Command, Event, Ok, PublishState, Reply, Request};
use throng_proto::codes::{CloseCode, ErrorCode};
use throng_proto::convert::MAX_KIND_BYTES;

use super::conn::Place;
use super::frames::reply_frame;
use super::{Shard, Transport, wheel};
use crate::traffic::{Asker, Failure, Member, Order, Ordered, Slots, ToHub};

/// Most messages of one pull.
const MAX_PULL: u32 = 200;
/// Longest key of a publish, in bytes.
const MAX_KEY_BYTES: usize = 128;

impl<T: Transport> Shard<T> {
    pub(super) fn command(&mut self, conn: u32, request: Request) {
        self.counts.commands += 1;
        let id = request.id;
        let known = self.conn(conn).is_some_and(|conn| conn.user.is_some());
        match request.command {
            Command::Hello(hello) => self.hello(conn, id, hello),
            Command::Ping => self.ok(conn, id, Ok::default()),
            _ if !known => self.refuse(conn, id, ErrorCode::HelloFirst, "say hello before anything else"),
            Command::Join(join) => self.join(conn, id, &join),
            Command::Leave { room } => self.leave(conn, id, &room),
            Command::Publish(publish) => self.publish(conn, id, publish),
            Command::Pull(pull) => self.pull(conn, id, pull),
            Command::Refresh { token } => self.refresh(conn, id, &token),
        }
    }

    fn leave(&mut self, conn: u32, id: u64, name: &str) {
        let membership = self.room_of.get(name).copied().and_then(|room| self.conn(conn)?.membership(room));
        let (Some(membership), Some(member)) = (membership, self.member(conn)) else {
            return self.not_in(conn, id, name, "join the room before you leave it");
        };
        if let Some(room) = self.room(membership.room).map(|room| room.id.clone()) {
            self.hub.push(ToHub::Leave { room, member });
        }
        if let Place::Pending(pending) = membership.place {
            self.fail_pending(pending, Failure::new(ErrorCode::NotJoined, "you left before you were in"), false);
        }
        self.take_out(conn, membership.room);
        self.ok(conn, id, Ok { room: Some(name.to_owned()), ..Ok::default() });
    }

    /// Ends a membership on this side.
    pub(super) fn take_out(&mut self, conn: u32, room: u32) {
        let Some(record) = self.conns.get_mut(conn as usize) else { return };
        let Some(at) = record.rooms.iter().position(|membership| membership.room == room) else { return };
        let membership = record.rooms.swap_remove(at);
        if let Some(outbox) = &mut record.outbox {
            outbox.forget(room);
        }
        match membership.place {
            Place::Live(at) => self.remove_sub(room, at),
            Place::Pending(pending) => self.forget_pending(pending),
        }
    }

    fn publish(&mut self, conn: u32, id: u64, publish: client::Publish) {
        let step = wheel::step_of(self.now);
        let joined = self.live_room(conn, &publish.room);
        let Some((room, record)) = joined else {
            return self.not_in(conn, id, &publish.room, "join the room before you publish to it");
        };
        if publish.kind.is_empty() || publish.kind.len() > MAX_KIND_BYTES || publish.kind.chars().any(char::is_control)
        {
            return self.refuse(conn, id, ErrorCode::BadRequest, "a type has 1 to 64 bytes and no control characters");
        }
        if publish.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
            return self.refuse(conn, id, ErrorCode::BadRequest, "a key has 1 to 128 bytes");
        }
        record.spoke_step = step;
        let asker = Asker { shard: 0, conn, generation: record.generation, id };
        let Some(user) = record.user.clone() else { return };
        let order = Order {
            room,
            user,
            session: record.session,
            lane: publish.lane.max(record.best_lane),
            best_lane: record.best_lane,
            kind: publish.kind,
            data: publish.data,
            key: publish.key,
            stored: publish.stored,
            asker: Asker { shard: self.number, ..asker },
        };
        self.counts.publishes += 1;
        self.hub.push(ToHub::Publish(Box::new(order)));
    }

    fn pull(&mut self, conn: u32, id: u64, mut pull: client::Pull) {
        let number = self.number;
        let Some((room, record)) = self.live_room(conn, &pull.room) else {
            return self.not_in(conn, id, &pull.room, "join the room before you pull from it");
        };
        let asker = Asker { shard: number, conn, generation: record.generation, id };
        pull.limit = pull.limit.clamp(1, MAX_PULL);
        self.hub.push(ToHub::Pull { room, pull, asker });
    }

    /// Answers who names a room that it is not in. What is no id at all was never joined either, and is looked at here
    /// alone, so that commands to joined rooms pay nothing for it.
    fn not_in(&mut self, conn: u32, id: u64, name: &str, what_to_do: &str) {
        match RoomId::new(name) {
            Ok(_) => self.refuse(conn, id, ErrorCode::NotJoined, what_to_do),
            Err(error) => self.refuse(conn, id, ErrorCode::BadId, &error.to_string()),
        }
    }

    /// A room that the connection is in, and its record.
    fn live_room(&mut self, conn: u32, name: &str) -> Option<(RoomId, &mut super::Conn)> {
        let room = *self.room_of.get(name)?;
        let id = self.room(room)?.id.clone();
        let record = self.conns.get_mut(conn as usize)?;
        matches!(record.membership(room)?.place, Place::Live(_)).then_some((id, record))
    }

    pub(super) fn member(&self, conn: u32) -> Option<Member> {
        let record = self.conn(conn)?;
        Some(Member { user: record.user.clone()?, session: record.session, conn_epoch: record.conn_epoch })
    }

    fn asks(&self, asker: Asker) -> bool {
        self.conn(asker.conn).is_some_and(|conn| conn.generation == asker.generation && conn.is_open())
    }

    pub(super) fn published(&mut self, asker: Asker, result: Result<Ordered, Failure>) {
        if !self.asks(asker) {
            return;
        }
        match result {
            Ok(Ordered { stamp, stored }) => {
                let state = if stored { PublishState::Stored } else { PublishState::Accepted };
                let ok = Ok {
                    state: Some(state),
                    epoch: Some(stamp.epoch),
                    lane: Some(stamp.lane),
                    number: Some(stamp.seq),
                    ..Ok::default()
                };
                self.ok(asker.conn, asker.id, ok);
            }
            Err(failure) => self.fail(asker.conn, asker.id, failure),
        }
        self.close_failed();
    }

    pub(super) fn pulled(&mut self, asker: Asker, result: Result<(Epoch, Vec<Message>, Vec<Gap>), Failure>) {
        if !self.asks(asker) {
            return;
        }
        match result {
            Ok((epoch, messages, gaps)) => {
                let ok = Ok { epoch: Some(epoch), messages: Some(messages), gaps, ..Ok::default() };
                self.ok(asker.conn, asker.id, ok);
            }
            Err(failure) => self.fail(asker.conn, asker.id, failure),
        }
        self.close_failed();
    }

    /// Members were taken out of a room by its owner.
    pub(super) fn removed(&mut self, name: &RoomId, users: &[UserId], reason: &str) {
        let Some(room) = self.room_of.get(name).copied() else { return };
        let everybody = users.is_empty();
        self.flush_room(room);
        let conns: Vec<u32> = if everybody {
            let subs = self.room(room).map(|room| room.subs.iter().map(|sub| sub.conn).collect::<Vec<_>>());
            let joining = self.room(room).map(|room| room.joining.clone()).unwrap_or_default();
            for pending in joining {
                self.fail_pending(pending, ended(reason), true);
            }
            subs.unwrap_or_default()
        } else {
            users.iter().flat_map(|user| self.conns_of(user)).collect()
        };
        let kind = if everybody { "closed" } else { "removed" };
        let event = Event { room: Some(name.clone()), kind, reason: Some(reason.to_owned()), ..Event::default() };
        for conn in conns {
            match self.conn(conn).and_then(|conn| conn.membership(room)).map(|membership| membership.place) {
                // Its join is on its way, and nobody knows which of the two the owner saw first.
                Some(Place::Pending(pending)) => {
                    let failure = Failure::unavailable("you were taken out of the room while you joined it: try again");
                    self.fail_pending(pending, failure, true);
                }
                Some(Place::Live(_)) => {
                    self.reply(conn, 0, Body::Event(Box::new(event.clone())));
                    if let Some(member) = self.member(conn) {
                        self.hub.push(ToHub::NotIn { room: name.clone(), member });
                    }
                    self.take_out(conn, room);
                }
                None => {}
            }
        }
        self.close_failed();
    }

    /// Takes a connection out of the rooms that its token does not cover any more.
    pub(super) fn leave_uncovered(&mut self, conn: u32) {
        let Some(member) = self.member(conn) else { return };
        let Some(record) = self.conn(conn) else { return };
        let rooms: Vec<(u32, Place)> = record.rooms.iter().map(|held| (held.room, held.place)).collect();
        for (room, place) in rooms {
            let Some(name) = self.room(room).map(|room| room.id.clone()) else { continue };
            if self.conn(conn).is_none_or(|record| record.covers(name.as_str())) {
                continue;
            }
            self.flush_room(room);
            if let Place::Pending(pending) = place {
                let failure = Failure::new(ErrorCode::Forbidden, "your token does not cover this room any more");
                self.fail_pending(pending, failure, false);
            } else {
                let (room, reason) = (Some(name.clone()), Some("token".to_owned()));
                self.reply(conn, 0, Body::Event(Box::new(Event { room, kind: "removed", reason, ..Event::default() })));
            }
            self.hub.push(ToHub::Leave { room: name, member: member.clone() });
            self.take_out(conn, room);
        }
    }

    /// Something for one user.
    pub(super) fn direct(&mut self, user: &UserId, sessions: &[SessionId], event: &Event) {
        for conn in self.conns_among(user, sessions) {
            let reply = Reply { id: 0, body: Body::Event(Box::new(event.clone())) };
            let frame = reply_frame(self.format_of(conn), &reply);
            self.counts.deliveries += 1;
            self.counts.directed += 1;
            self.send(conn, Lane::Protected, frame);
        }
        self.close_failed();
    }

    pub(super) fn kick(&mut self, user: &UserId, sessions: &[SessionId], reason: &str) {
        let code = if reason == "replaced" { CloseCode::Replaced } else { CloseCode::Kicked };
        for conn in self.conns_among(user, sessions) {
            self.close(conn, code, reason);
        }
    }

    /// A user's connections, those of these sessions; none named: all.
    fn conns_among(&self, user: &UserId, sessions: &[SessionId]) -> Vec<u32> {
        let mut conns = self.conns_of(user);
        if !sessions.is_empty() {
            conns.retain(|conn| self.conn(*conn).is_some_and(|conn| sessions.contains(&conn.session)));
        }
        conns
    }

    pub(super) fn list_room(&mut self, name: RoomId) {
        let members = match self.room_of.get(&name).and_then(|room| self.room(*room)) {
            None => Vec::new(),
            Some(room) => {
                let pending = room.joining.iter().filter_map(|pending| self.pending.get(*pending as usize));
                let conns = room.subs.iter().map(|sub| sub.conn).chain(pending.map(|pending| pending.conn));
                conns.filter_map(|conn| self.member(conn)).collect()
            }
        };
        self.hub.push(ToHub::RoomMembers(name, members));
    }

    pub(super) fn list_sessions(&mut self, slots: &Arc<Slots>) {
        let all = self.conns.iter().filter_map(|(_, conn)| {
            let user = conn.user.clone()?;
            if !slots.contains(throng_core::Slot::of(user.as_str())) {
                return None;
            }
            let rooms = conn.rooms.iter().filter_map(|room| Some(self.room(room.room)?.id.clone())).collect();
            Some((Member { user, session: conn.session, conn_epoch: conn.conn_epoch }, rooms))
        });
        let all = all.collect();
        self.hub.push(ToHub::Sessions(all));
    }
}

/// What somebody is told whose join met the end of the room.
fn ended(reason: &str) -> Failure {
    match reason {
        // Nobody ended it: the join makes it anew.
        "idle" => Failure::unavailable("the room ended while you joined it, as nobody was there: try again"),
        _ => Failure::new(ErrorCode::RoomClosed, "the room was closed while you joined it"),
    }
}
