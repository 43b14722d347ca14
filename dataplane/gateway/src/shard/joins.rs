//! Joins: a member is live in a room once the room's owner has applied it, the room's stream is open here, and what the
//! client missed has been handed to it. Until then its join is pending.
//!
//! What arrives while a client's past is being fetched is held for it, by pointer, and follows the past: first what was
//! missed, then what is live, nothing doubled.

use std::sync::Arc;

use throng_core::fanout::{Entry, Limits};
use throng_core::{Cursor, Lane, Message, Millis, RoomId, Segment};
use throng_proto::client::{Body, Join, Ok, Reply, Sealed};
use throng_proto::codes::ErrorCode;

use super::conn::{Membership, Place};
use super::frames::{by_lane, frame, reply_frame};
use super::past::{after, history, past_frames};
use super::room::{Room, Sub};
use super::{Shard, Transport};
use crate::traffic::{CaughtUp, Failure, Ticket, ToHub};

/// Most live items held for one client while its past is fetched.
const MAX_HELD: usize = 512;
/// Most history of a join.
const MAX_HISTORY: u32 = 200;
/// How long a room may take to reach a client's cursor: its relay may be a moment behind another's.
const REACH_MS: u64 = 1000;

/// What a client asked for with its join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Live,
    History(u32),
    Since(Cursor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The owner has not answered.
    Applying,
    /// The room's stream is not open here, or has not reached the client's cursor.
    Opening,
    /// The past is being fetched.
    Fetching,
}

/// Something live, kept for a client whose past is not there yet.
#[derive(Clone, Debug)]
enum Held {
    Segment(Arc<Segment>),
    Sealed(Arc<Sealed>),
}

/// A join on its way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) conn: u32,
    generation: u32,
    serial: u32,
    id: u64,
    room: u32,
    want: Want,
    resume: Option<u32>,
    step: Step,
    members: u64,
    since_ms: Millis,
    held: Vec<Held>,
}

impl<T: Transport> Shard<T> {
    pub(super) fn join(&mut self, conn: u32, id: u64, join: &Join) {
        let room = match RoomId::new(&join.room) {
            Ok(room) => room,
            Err(error) => return self.refuse(conn, id, ErrorCode::BadId, &error.to_string()),
        };
        let want = match join.since {
            Some(since) => Want::Since(since),
            None if join.history > 0 => Want::History(join.history.min(MAX_HISTORY)),
            None => Want::Live,
        };
        if let Err(failure) = self.begin_join(conn, id, room, want, None) {
            self.fail(conn, id, failure);
        }
    }

    pub(super) fn begin_resume(&mut self, conn: u32, room: RoomId, since: Cursor, resume: u32) -> Result<(), Failure> {
        self.begin_join(conn, 0, room, Want::Since(since), Some(resume))
    }

    fn begin_join(&mut self, conn: u32, id: u64, room: RoomId, want: Want, resume: Option<u32>) -> Result<(), Failure> {
        let most = self.shared.options.limits.rooms_per_connection;
        let now = self.now;
        let Some(record) = self.conn(conn) else { return Ok(()) };
        if !record.covers(room.as_str()) {
            return Err(Failure::new(ErrorCode::Forbidden, "your token does not cover this room"));
        }
        if let Some(number) = self.room_of.get(&room).copied()
            && let Some(membership) = record.membership(number)
        {
            return match (membership.place, self.room(number).and_then(|room| room.position)) {
                (Place::Live(_), Some(at)) => {
                    self.answer_join(conn, id, &room, at, None, None);
                    Ok(())
                }
                _ => Err(Failure::new(ErrorCode::BadRequest, "you are joining this room already")),
            };
        }
        if record.rooms.len() >= most {
            return Err(Failure::new(ErrorCode::TooManyRooms, format!("you may be in {most} rooms: leave one")));
        }
        let generation = record.generation;
        let Some(member) = self.member(conn) else { return Ok(()) };
        let number = self.room_number(&room);
        self.next_id += 1;
        let serial = super::generation(self.next_id);
        let pending = Pending {
            conn,
            generation,
            serial,
            id,
            room: number,
            want,
            resume,
            step: Step::Applying,
            members: 0,
            since_ms: now,
            held: Vec::new(),
        };
        let place = u32::try_from(self.pending.insert(pending)).unwrap_or(u32::MAX);
        if let Some(room) = self.room_mut(number) {
            room.joining.push(place);
        }
        if let Some(record) = self.conn_mut(conn) {
            record.rooms.push(Membership { room: number, place: Place::Pending(place) });
        }
        let ticket = Ticket { shard: self.number, number: u64::from(serial) << 32 | u64::from(place) };
        self.counts.joins += 1;
        self.hub.push(ToHub::Join { room, member, ticket, fresh: resume.is_none() });
        Ok(())
    }

    /// The number of a room, opened at the hub if it is new here.
    fn room_number(&mut self, room: &RoomId) -> u32 {
        if let Some(number) = self.room_of.get(room) {
            return *number;
        }
        let number = u32::try_from(self.rooms.insert(Room::new(room.clone(), self.now))).unwrap_or(u32::MAX);
        self.room_of.insert(room.clone(), number);
        self.hub.push(ToHub::Wanted(room.clone()));
        number
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves of a ticket")]
    fn pending_of(&mut self, ticket: u64) -> Option<(u32, &mut Pending)> {
        let place = ticket as u32;
        let pending = self.pending.get_mut(place as usize)?;
        (pending.serial == (ticket >> 32) as u32).then_some((place, pending))
    }

    /// The owner has answered.
    pub(super) fn join_answered(&mut self, ticket: u64, result: Result<u64, Failure>) {
        let Some((place, pending)) = self.pending_of(ticket) else { return };
        if pending.step != Step::Applying {
            return;
        }
        match result {
            Ok(members) => {
                pending.members = members;
                pending.step = Step::Opening;
                self.advance(place);
            }
            Err(failure) => self.fail_pending(place, failure, true),
        }
        self.close_failed();
    }

    pub(super) fn room_opened(&mut self, room: &RoomId, at: Cursor) {
        let Some(number) = self.room_of.get(room).copied() else { return };
        let Some(room) = self.room_mut(number) else { return };
        room.reached(at);
        self.advance_all(number);
        self.close_failed();
    }

    /// Looks again at all joins that wait for the room.
    pub(super) fn advance_all(&mut self, room: u32) {
        let Some(joining) = self.room(room).map(|room| room.joining.clone()) else { return };
        for place in joining {
            if self.pending.get(place as usize).is_some_and(|pending| pending.step == Step::Opening) {
                self.advance(place);
            }
        }
    }

    /// Takes the next step of a join whose member is applied.
    fn advance(&mut self, place: u32) {
        let Some((room, want)) = self.pending.get(place as usize).map(|pending| (pending.room, pending.want)) else {
            return;
        };
        let Some(position) = self.room(room).and_then(|room| room.position) else { return };
        // What has arrived but was not handed out belongs to those who were here before.
        self.flush_room(room);
        let position = self.room(room).and_then(|room| room.position).unwrap_or(position);
        let (since, limit) = match want {
            Want::Live => return self.settle_join(place, None),
            Want::Since(since) if !is_reached(since, position) => return,
            Want::Since(since) if since == position => return self.settle_join(place, None),
            Want::Since(since) => (Some(since), 0),
            Want::History(limit) => (None, limit),
        };
        let Some(id) = self.room(room).map(|room| room.id.clone()) else { return };
        let number = self.number;
        let Some(pending) = self.pending.get_mut(place as usize) else { return };
        pending.step = Step::Fetching;
        let ticket = Ticket { shard: number, number: u64::from(pending.serial) << 32 | u64::from(place) };
        self.hub.push(ToHub::CatchUp { room: id, since, limit, held_from: position, ticket });
    }

    /// Keeps something live for those whose past is not there yet.
    pub(super) fn hold_segment(&mut self, room: u32, segment: &Arc<Segment>) {
        self.hold(room, &Held::Segment(Arc::clone(segment)));
    }

    pub(super) fn hold_sealed(&mut self, room: u32, sealed: &Arc<Sealed>) {
        self.hold(room, &Held::Sealed(Arc::clone(sealed)));
    }

    fn hold(&mut self, room: u32, held: &Held) {
        let Some(joining) = self.rooms.get(room as usize).map(|room| &room.joining) else { return };
        for place in joining {
            if let Some(pending) = self.pending.get_mut(*place as usize)
                && pending.step == Step::Fetching
            {
                pending.held.push(held.clone());
            }
        }
    }

    /// A client's past is there.
    pub(super) fn caught_up(&mut self, ticket: u64, result: Result<Arc<CaughtUp>, Failure>) {
        let Some((place, pending)) = self.pending_of(ticket) else { return };
        if pending.step != Step::Fetching {
            return;
        }
        let room = pending.room;
        self.flush_room(room);
        match result {
            Ok(past) => self.settle_join(place, Some(&past)),
            Err(failure) => self.fail_pending(place, failure, true),
        }
        self.close_failed();
    }

    /// Makes a member live: hands out its past, answers, hands out what was held.
    fn settle_join(&mut self, place: u32, past: Option<&Arc<CaughtUp>>) {
        let Some(pending) = self.pending.try_remove(place as usize) else { return };
        self.unlist(pending.room, place);
        let record = self.conns.get_mut(pending.conn as usize);
        let Some(record) = record.filter(|record| record.generation == pending.generation) else {
            return pending.resume.into_iter().for_each(|resume| self.resume_room_forgotten(resume));
        };
        let group = record.group;
        let Some(room) = self.rooms.get_mut(pending.room as usize) else { return };
        let at = u32::try_from(room.subs.len()).unwrap_or(u32::MAX);
        room.subs.push(Sub { conn: pending.conn, group });
        record.set_place(pending.room, Place::Live(at));
        let (id, position) = (room.id.clone(), room.position.unwrap_or_default());
        let since = matches!(pending.want, Want::Since(_));
        let history = past.filter(|_| !since).map(|past| history(past));
        let recovered = since.then(|| past.is_none_or(|past| past.recovered));
        if let (Some(past), true) = (past, since) {
            self.send_past(pending.conn, pending.room, past);
        }
        let from = past.map_or(position, |past| past.until);
        if let Some(resume) = pending.resume {
            self.send_held(&pending, from);
            self.room_resumed(resume, id.as_str().to_owned(), Ok((position, recovered.unwrap_or(true))));
        } else {
            let answer = Some((pending.members, recovered));
            self.answer_join(pending.conn, pending.id, &id, from, answer, history);
            self.send_held(&pending, from);
        }
    }

    fn answer_join(
        &mut self,
        conn: u32,
        id: u64,
        room: &RoomId,
        at: Cursor,
        members: Option<(u64, Option<bool>)>,
        messages: Option<Vec<Message>>,
    ) {
        let ok = Ok {
            room: Some(room.as_str().to_owned()),
            epoch: Some(at.epoch),
            seq: Some(at.seq),
            members: members.map(|(members, _)| members),
            recovered: members.and_then(|(_, recovered)| recovered),
            messages,
            ..Ok::default()
        };
        self.ok(conn, id, ok);
    }

    /// Sends what was missed: frames that all who missed the same share.
    fn send_past(&mut self, conn: u32, room: u32, past: &Arc<CaughtUp>) {
        let format = self.format_of(conn);
        let Some(slot) = past.frames.get(format.index()) else { return };
        let frames = slot.get_or_init(|| past_frames(format, past)).clone();
        // What was asked for is not too much, however slow the client.
        let bytes: usize = frames.iter().map(|(_, frame)| frame.len()).sum();
        let usual = self.limits;
        self.limits = Limits { bytes: usual.bytes + bytes, ..usual };
        for (lane, frame) in frames {
            self.send_entry(conn, lane, Entry { frame, room: Some(room), covers: None });
        }
        self.limits = usual;
    }

    /// Sends what was held, as far as it comes after `from`.
    fn send_held(&mut self, pending: &Pending, from: Cursor) {
        let format = self.format_of(pending.conn);
        for held in &pending.held {
            match held {
                Held::Segment(segment) => {
                    let Some(rest) = after(segment, from) else { continue };
                    let mut payload = Vec::new();
                    format.write_segment(&rest.room, rest.epoch, rest.messages.iter(), &rest.gaps, &mut payload);
                    let entry = Entry { frame: frame(format, &payload), room: Some(pending.room), covers: None };
                    self.counts.deliver(&by_lane(rest.messages.iter()), 1);
                    self.send_entry(pending.conn, Lane::Protected, entry);
                }
                Held::Sealed(sealed) if sealed.epoch >= from.epoch => {
                    let reply = Reply { id: 0, body: Body::Sealed(Sealed::clone(sealed)) };
                    self.send_barrier(pending.conn, reply_frame(format, &reply));
                }
                Held::Sealed(_) => {}
            }
        }
    }

    /// Gives up a join. `leave`: its membership here ends too, and the owner is told.
    pub(super) fn fail_pending(&mut self, place: u32, failure: Failure, leave: bool) {
        let Some(pending) = self.pending.try_remove(place as usize) else { return };
        self.unlist(pending.room, place);
        let room = self.room(pending.room).map(|room| room.id.clone());
        if leave
            && let Some(record) = self.conns.get_mut(pending.conn as usize)
            && record.generation == pending.generation
        {
            record.rooms.retain(|membership| membership.room != pending.room);
            // A refusal of the owner's is all there is; else it may have let them in, also into a room made anew.
            let owner_may_have_it = matches!(failure.code, ErrorCode::Unavailable | ErrorCode::RoomClosed);
            let known_to_owner = pending.step != Step::Applying || owner_may_have_it;
            if let (Some(room), Some(member)) = (room.clone(), self.member(pending.conn)) {
                let news = if known_to_owner { ToHub::Leave { room, member } } else { ToHub::NotIn { room, member } };
                self.hub.push(news);
            }
        }
        match (pending.resume, room) {
            (Some(resume), Some(room)) => self.room_resumed(resume, room.as_str().to_owned(), Err(failure.code)),
            (Some(resume), None) => self.resume_room_forgotten(resume),
            (None, _) => self.fail(pending.conn, pending.id, failure),
        }
    }

    /// Forgets a join whose connection is gone. A resume that it is of goes with the last of its rooms: its number is not
    /// given to another before.
    pub(super) fn forget_pending(&mut self, place: u32) {
        if let Some(pending) = self.pending.try_remove(place as usize) {
            self.unlist(pending.room, place);
            if let Some(resume) = pending.resume {
                self.resume_room_forgotten(resume);
            }
        }
    }

    fn unlist(&mut self, room: u32, place: u32) {
        let now = self.now;
        if let Some(room) = self.room_mut(room) {
            room.joining.retain(|listed| *listed != place);
            room.empty_since = now;
        }
    }

    /// Takes a subscriber out of a room.
    pub(super) fn remove_sub(&mut self, room: u32, at: u32) {
        let now = self.now;
        let Some(entry) = self.rooms.get_mut(room as usize) else { return };
        if (at as usize) < entry.subs.len() {
            entry.subs.swap_remove(at as usize);
            entry.empty_since = now;
            if let Some(moved) = entry.subs.get(at as usize).map(|sub| sub.conn)
                && let Some(record) = self.conns.get_mut(moved as usize)
            {
                record.set_place(room, Place::Live(at));
            }
        }
    }

    /// Gives up joins that took too long.
    pub(super) fn sweep_pending(&mut self) {
        let (now, answer_ms) = (self.now, self.shared.options.limits.answer_ms);
        let mut late = Vec::new();
        for (place, pending) in &self.pending {
            let waited_ms = now.since(pending.since_ms);
            let reachable = self.room(pending.room).is_some_and(|room| room.position.is_some());
            let beyond = pending.step == Step::Opening && reachable && waited_ms > REACH_MS;
            let failure = if beyond {
                Failure::new(ErrorCode::BadCursor, "the room has never been where your cursor is")
            } else if waited_ms > answer_ms || pending.held.len() > MAX_HELD {
                Failure::unavailable("the room cannot be reached now: try again")
            } else {
                continue;
            };
            late.extend(u32::try_from(place).map(|place| (place, failure)));
        }
        for (place, failure) in late {
            self.fail_pending(place, failure, true);
        }
    }
}

/// Whether a room's position is at or beyond a client's cursor.
fn is_reached(since: Cursor, position: Cursor) -> bool {
    since.epoch < position.epoch
        || (since.epoch == position.epoch && Lane::ALL.iter().all(|lane| since.seq[*lane] <= position.seq[*lane]))
}
