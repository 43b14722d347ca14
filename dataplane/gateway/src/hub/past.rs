//! What clients missed, fetched from the room's relay once for all that missed the same.
//!
//! An answer reaches up to the hub's own position when it was asked for. A client may share it if its reactor has kept
//! everything for it since that position or before: then nothing lies between the answer and what was kept.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use throng_core::{Cursor, Epoch, Gap, Lane, Millis, RoomId, Segment, Seqs};
use throng_proto::client::Format;
use throng_proto::convert;
use throng_proto::link::{self, gateway_to_message};

use super::{Action, Address, Hub, Role};
use crate::traffic::{CaughtUp, Failure, Ticket, ToShard};

/// Most requests on their way.
const MAX_PENDING: usize = 10_000;

#[derive(Debug)]
struct Asked {
    room: RoomId,
    since: Option<Cursor>,
    limit: u32,
    until: Cursor,
    relay: Address,
    deadline: Millis,
    waiting: Vec<Ticket>,
}

/// Requests on their way, by number, which is also their order.
#[derive(Debug, Default)]
pub(super) struct Pasts {
    asked: BTreeMap<u64, Asked>,
}

impl Hub {
    pub(super) fn catch_up(
        &mut self,
        room: &RoomId,
        since: Option<Cursor>,
        limit: u32,
        held_from: Cursor,
        ticket: Ticket,
    ) {
        let same = |asked: &&mut Asked| {
            asked.room == *room && asked.since == since && asked.limit == limit && covers(asked.until, held_from)
        };
        if let Some(asked) = self.pasts.asked.values_mut().rev().find(same) {
            return asked.waiting.push(ticket);
        }
        let entry = self.rooms.get(room).and_then(|room| Some((room.live_relay()?.clone(), room.cursor?)));
        let full = self.pasts.asked.len() >= MAX_PENDING;
        let Some((relay, until)) = entry.filter(|(relay, _)| !full && self.is_up(Role::Message, relay)) else {
            let failure = Failure::unavailable("the room's relay cannot be reached now: try again");
            return self.out.push(Action::Shard(ticket.shard, ToShard::CaughtUp(ticket.number, Err(failure))));
        };
        let request = self.publishes.next_request();
        let asked = Asked {
            room: room.clone(),
            since,
            limit,
            until,
            relay: Arc::clone(&relay),
            deadline: self.now + self.settings.answer_ms,
            waiting: vec![ticket],
        };
        self.pasts.asked.insert(request, asked);
        let wire = link::CatchUp {
            request,
            room: room.as_str().to_owned(),
            since: since.map(convert::to_cursor),
            until: Some(convert::to_cursor(until)),
            limit,
        };
        self.out.push(Action::Message(relay, gateway_to_message::Kind::CatchUp(wire)));
    }

    pub(super) fn past_came(&mut self, past: link::CaughtUp) {
        let Some(asked) = self.pasts.asked.remove(&past.request) else { return };
        let result = read(&asked, past).map(Arc::new);
        self.answer(asked, &result);
    }

    pub(super) fn expire_pasts(&mut self) {
        let now = self.now;
        let lost = |asked: &Asked, hub: &Self| now >= asked.deadline || !hub.is_up(Role::Message, &asked.relay);
        let late: Vec<u64> =
            self.pasts.asked.iter().filter(|(_, asked)| lost(asked, self)).map(|(request, _)| *request).collect();
        for request in late {
            if let Some(asked) = self.pasts.asked.remove(&request) {
                let failure = Failure::unavailable("the room's relay did not answer: try again");
                self.answer(asked, &Err(failure));
            }
        }
    }

    fn answer(&mut self, asked: Asked, result: &Result<Arc<CaughtUp>, Failure>) {
        for ticket in asked.waiting {
            self.out.push(Action::Shard(ticket.shard, ToShard::CaughtUp(ticket.number, result.clone())));
        }
    }
}

/// Whether an answer up to `until` meets what was kept from `held_from` on.
fn covers(until: Cursor, held_from: Cursor) -> bool {
    until.epoch == held_from.epoch && Lane::ALL.iter().all(|lane| until.seq[*lane] >= held_from.seq[*lane])
}

/// Numbers of an epoch between two cursors.
fn missing(reached: Cursor, until: Cursor) -> Vec<Gap> {
    let of_lane = |lane: Lane| {
        let (from, to) = (reached.seq[lane] + 1, until.seq[lane]);
        (reached.epoch == until.epoch && from <= to).then_some(Gap { epoch: until.epoch, lane, from, to })
    };
    Lane::ALL.into_iter().filter_map(of_lane).collect()
}

fn declared(asked: &Asked, epoch: Epoch, gaps: Vec<Gap>) -> Segment {
    Segment { room: asked.room.clone(), epoch, after: Seqs::ZERO, messages: Vec::new(), gaps }
}

fn read(asked: &Asked, past: link::CaughtUp) -> Result<CaughtUp, Failure> {
    Failure::check_read(&past.code, past.message)?;
    let wrong = |_| Failure::unavailable("the relay's answer does not read: try again");
    let mut segments = past.segments.iter().map(convert::segment).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let sealed = past.sealed.iter().map(convert::sealed).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let gaps = past.gaps.iter().map(convert::gap).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    for chunk in gaps.chunk_by(|a, b| a.epoch == b.epoch) {
        // Declared as a segment of its own, before the first of its epoch or a later one.
        let Some(epoch) = chunk.first().map(|gap| gap.epoch) else { continue };
        let at = segments.iter().position(|segment| segment.epoch >= epoch).unwrap_or(segments.len());
        segments.insert(at, declared(asked, epoch, chunk.to_vec()));
    }
    let reached = match past.cursor.as_ref().map(convert::cursor) {
        Some(Ok(cursor)) => cursor,
        _ => asked.until,
    };
    // A relay that is behind this gateway leaves a hole up to where the gateway was.
    let hole = missing(reached, asked.until);
    let whole = hole.iter().all(|gap| !gap.lane.is_lossless());
    if let Some(first) = hole.first() {
        segments.push(declared(asked, first.epoch, hole.clone()));
    }
    Ok(CaughtUp {
        room: asked.room.clone(),
        segments,
        sealed,
        recovered: past.recovered && whole && reached.epoch >= asked.until.epoch,
        until: if covers(reached, asked.until) { reached } else { asked.until },
        frames: Format::ALL.map(|_| OnceLock::new()),
    })
}
