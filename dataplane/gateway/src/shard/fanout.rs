//! Handing out what a room brings: one write for each subscriber and segment, of bytes that many share.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use throng_core::fanout::{Entry, Limits, Outbox, Overflow};
use throng_core::{Cursor, Gap, Lane, Millis, RoomId, Segment};
use throng_proto::client::{Body, Event, Format, Reply, Sealed};
use throng_proto::codes::CloseCode;

use super::frames::{Built, Frames, frame, gap_frame, reply_frame};
use super::room::merge;
use super::{Sent, Shard, Transport};
use crate::counters::Withheld;

/// How long a room's count waits for a segment to travel with.
const EVENT_WAIT_MS: u64 = 500;

/// Queues a segment for a client that had nothing waiting. It is not too slow yet, however much this is: nothing is left
/// out, and what comes next finds the queue full.
fn begin(outbox: &mut Outbox, built: &mut Built, (segment, room): (&Segment, u32), now: Millis, limits: &Limits) {
    for (lane, entry) in built.split(segment, room) {
        let _ = outbox.push(*lane, entry.clone(), now, limits);
    }
}

impl<T: Transport> Shard<T> {
    pub(super) fn segment_arrived(&mut self, segment: Arc<Segment>) {
        let Some(number) = self.room_of.get(&segment.room).copied() else { return };
        let Some(room) = self.room_mut(number) else { return };
        if room.arrived.is_empty() {
            room.arrived.push(segment);
            self.arrived.push(number);
        } else {
            room.arrived.push(segment);
        }
    }

    /// Hands out everything that arrived in this turn.
    pub(super) fn flush_arrived(&mut self) {
        for room in std::mem::take(&mut self.arrived) {
            self.flush_room(room);
            self.close_failed();
        }
    }

    /// Hands out what arrived of a room.
    pub(super) fn flush_room(&mut self, number: u32) {
        let Some(room) = self.room_mut(number) else { return };
        if room.arrived.is_empty() {
            return;
        }
        let segments = merge(std::mem::take(&mut room.arrived));
        let mut event = room.event.take().map(|(event, _)| event);
        for segment in segments {
            self.fan_out(number, &segment, event.take().as_deref());
            self.note_delay(number, &segment);
            self.hold_segment(number, &segment);
            if let Some(room) = self.room_mut(number) {
                room.reached(Cursor { epoch: segment.epoch, seq: segment.last() });
            }
        }
        self.advance_all(number);
    }

    /// How long ago the messages were ordered, by the clock of their owner: a clock that is ahead counts as no time.
    fn note_delay(&mut self, number: u32, segment: &Segment) {
        let now = self.shared.origin.unix(self.now);
        let subscribers = self.rooms.get(number as usize).map_or(0, |room| room.subs.len() as u64);
        let oldest = segment.messages.iter().map(|message| message.at_ms).min();
        if let Some(oldest) = oldest {
            self.counts.delayed(now.since(oldest), segment.messages.len() as u64 * subscribers);
        }
    }

    fn fan_out(&mut self, number: u32, segment: &Segment, event: Option<&Event>) {
        let Some(room) = self.rooms.get_mut(number as usize) else { return };
        let subs = std::mem::take(&mut room.subs);
        let mut frames = Frames::new(segment, event, self.now);
        // Who gets something of its own beside what its group gets.
        let mut own: HashMap<u32, Built> = HashMap::new();
        let mut behind = Vec::new();
        for sub in &subs {
            let Some(room) = self.rooms.get_mut(number as usize) else { break };
            let (place, fresh) = frames.place(sub.group, room);
            if fresh {
                self.add_own(&frames, place, &mut own);
            }
            let built = if own.is_empty() { None } else { own.get_mut(&sub.conn) };
            let Some(built) = built.or_else(|| frames.at(place)) else { continue };
            built.subscribers += 1;
            if self.hand_out(sub.conn, built, (segment, number)) {
                behind.push(sub.conn);
            }
        }
        if let Some(room) = self.rooms.get_mut(number as usize) {
            room.subs = subs;
        }
        for built in frames.all().chain(own.values()) {
            self.counts.deliver(&built.messages, built.subscribers);
            self.counts.withhold(Withheld::Budget, &built.left_out, built.subscribers);
        }
        for conn in behind {
            self.writable(conn);
        }
    }

    /// Writes to one client, or queues what it cannot take now. True: it has more than it should be handed at once.
    #[inline]
    fn hand_out(&mut self, conn: u32, built: &mut Built, of: (&Segment, u32)) -> bool {
        let Some(record) = self.conns.get_mut(conn as usize) else { return false };
        let queue = |built: &mut Built| {
            let mut outbox = Box::new(Outbox::default());
            begin(&mut outbox, built, of, self.now, &self.limits);
            Some(outbox)
        };
        match &mut record.outbox {
            Some(outbox) => {
                let mut entries = built.split(of.0, of.1).iter();
                let pushed =
                    entries.try_for_each(|(lane, entry)| outbox.push(*lane, entry.clone(), self.now, &self.limits));
                if pushed == Err(Overflow) {
                    self.failed.push((conn, CloseCode::Slow));
                }
            }
            none if built.is_large() => {
                *none = queue(built);
                self.watch_outbox(conn);
                return true;
            }
            none => match self.io.send(conn, &built.whole) {
                Sent::Bytes(sent) => {
                    self.counts.writes += 1;
                    self.counts.egress_bytes += sent as u64;
                    if sent < built.whole.len() {
                        *none = Some(Box::new(Outbox::with_rest(built.whole.slice(sent..), self.now)));
                        self.watch_outbox(conn);
                    }
                }
                Sent::Blocked => {
                    *none = queue(built);
                    self.watch_outbox(conn);
                }
                Sent::Closed => self.failed.push((conn, CloseCode::Normal)),
            },
        }
        false
    }

    /// Finds who sent what a group does not get, and builds for each its own frame.
    fn add_own(&self, frames: &Frames<'_>, place: u16, own: &mut HashMap<u32, Built>) {
        let Some(chosen) = frames.chosen(place) else { return };
        let mut seen = hashbrown::HashSet::new();
        for user in chosen.senders_left_out(frames.segment()).filter(|user| seen.insert(*user)) {
            for conn in self.conns_of(user) {
                let mine = self.conn(conn).is_some_and(|conn| frames.is_for(place, conn.group));
                if let Some(built) = mine.then(|| frames.with_own(place, user)).flatten() {
                    own.insert(conn, built);
                }
            }
        }
    }

    /// The hub found that some numbers will not come.
    pub(super) fn declared(&mut self, name: &RoomId, gaps: &[Gap], at: Cursor) {
        let Some(number) = self.room_of.get(name).copied() else { return };
        self.flush_room(number);
        if !gaps.is_empty() {
            let subscribers = self.subscribers(number);
            self.counts.declare(Withheld::Lost, gaps, subscribers.len() as u64);
            for conn in subscribers {
                self.declare(conn, name, gaps);
            }
        }
        if let Some(room) = self.room_mut(number) {
            room.reached(at);
        }
        self.advance_all(number);
        self.close_failed();
    }

    /// An epoch ended: everybody is told before the next epoch's first number.
    pub(super) fn sealed(&mut self, sealed: &Arc<Sealed>, gaps: &[Gap], at: Option<Cursor>) {
        let Some(number) = self.room_of.get(&sealed.room).copied() else { return };
        self.flush_room(number);
        let frames = Format::ALL.map(|format| {
            let mut payload = Vec::new();
            if let Some(first) = gaps.first() {
                format.write_segment(&sealed.room, first.epoch, std::iter::empty(), gaps, &mut payload);
            }
            format.write(&Reply { id: 0, body: Body::Sealed(Sealed::clone(sealed)) }, &mut payload);
            frame(format, &payload)
        });
        for conn in self.subscribers(number) {
            if let Some(frame) = frames.get(self.format_of(conn).index()) {
                self.send_barrier(conn, frame.clone());
            }
        }
        self.hold_sealed(number, sealed);
        if let (Some(at), Some(room)) = (at, self.room_mut(number)) {
            room.reached(at);
        }
        self.advance_all(number);
        self.close_failed();
    }

    /// Something beside the messages. A count waits a moment for the next segment, others go at once and leave a count
    /// that waits where it is.
    pub(super) fn event(&mut self, name: &RoomId, event: Arc<Event>) {
        let Some(number) = self.room_of.get(name).copied() else { return };
        if event.kind != "count" {
            self.flush_room(number);
            self.send_event(number, &event);
            return;
        }
        let by = self.now + EVENT_WAIT_MS;
        let Some(room) = self.room_mut(number) else { return };
        // The newer count holds, for which nobody waits longer. The names of both are worth showing, but not at any price.
        let by = room.event.take().map_or(by, |(_, by)| by);
        room.event = Some((event, by));
    }

    /// Sends an event that waited in vain for a segment.
    pub(super) fn flush_event(&mut self, number: u32) {
        let Some((event, _)) = self.room_mut(number).and_then(|room| room.event.take()) else { return };
        self.send_event(number, &event);
    }

    fn send_event(&mut self, number: u32, event: &Event) {
        let reply = Reply { id: 0, body: Body::Event(Box::new(event.clone())) };
        let frames: [Bytes; 2] = Format::ALL.map(|format| reply_frame(format, &reply));
        for conn in self.subscribers(number) {
            if let Some(frame) = frames.get(self.format_of(conn).index()) {
                let entry = Entry { frame: frame.clone(), room: Some(number), covers: None };
                self.send_entry(conn, Lane::Low, entry);
            }
        }
        self.close_failed();
    }

    fn subscribers(&self, number: u32) -> Vec<u32> {
        self.room(number).map(|room| room.subs.iter().map(|sub| sub.conn).collect()).unwrap_or_default()
    }

    /// Declares gaps of any epochs to one connection.
    pub(super) fn declare(&mut self, conn: u32, room: &RoomId, gaps: &[Gap]) {
        let format = self.format_of(conn);
        for chunk in gaps.chunk_by(|a, b| a.epoch == b.epoch) {
            self.send_barrier(conn, gap_frame(format, room, chunk));
        }
    }
}
