//! One publish a second to every room, on lane 1, to be stored and retried with its key until it is: how long a room was
//! out, seen from its members.
//!
//! A room has one probe under way that not everybody has received; while it is out, that one is retried, and no second is
//! begun behind it. What everybody has and the store does not is retried too, and does not hold up the next.

use std::collections::BTreeSet;

use throng_core::{Lane, Stamp};

use super::crowd::Rooms;
use super::stores::Wanted;
use crate::bench::clock::now_us;
use crate::bench::commands;
use crate::bench::conn::ConnId;
use crate::bench::fleet::Fleet;
use crate::bench::frames::{FIRST_PROBE, RoomKey};
use crate::bench::notes::{Answer, Note, Receipt};
use crate::bench::publisher::AFTER_LAST_ID;
use crate::bench::stats::{Latency, Percentiles};

/// Ids of probes and of pulls, in ranges of their own.
const PROBE_ID: u64 = AFTER_LAST_ID + (1 << 48);
const PULL_ID: u64 = PROBE_ID + (1 << 48);
/// Between two probes of a room.
const EVERY_US: u64 = 1_000_000;
/// Without an answer a probe is sent again after so long.
const ANSWER_US: u64 = 2_000_000;
/// Least time between an error and the next try.
const RETRY_MS: u64 = 250;
/// Oddities that are told of one fault.
const MOST_ODD: usize = 10;
/// While nobody of the room is connected.
const NOBODY_US: u64 = 100_000;

/// All rooms and their probes.
pub(super) struct Probes {
    rooms: Vec<Room>,
    sent: Vec<Probe>,
    /// When something is to be done.
    due: BTreeSet<(u64, Task)>,
    /// Rooms get new probes.
    open: bool,
    /// Probes before this one belong to faults that are judged.
    judged: usize,
    unfinished: usize,
    /// Times that a probe was sent again.
    retries: u64,
    /// Probes that came twice to a member.
    pub(super) twice: u64,
    /// What should not have been, in words, since it was last told.
    odd: Vec<String>,
    /// The first error that was not for a while only.
    pub(super) first_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Begin(usize),
    Send(usize),
}

struct Room {
    key: RoomKey,
    members: Vec<ConnId>,
    last: Option<usize>,
    turn: usize,
    /// When the newest of its probes that are stored was begun.
    stored_begun_us: u64,
}

struct Probe {
    room: usize,
    by: ConnId,
    begun_us: u64,
    /// When it is to be sent again.
    due_us: u64,
    /// Members that do not have it, as bits by their place in the room.
    missing: u32,
    /// When the last member got it.
    received_us: u64,
    stored_us: u64,
    stamp: Option<Stamp>,
    pulled: u32,
}

/// What the probes of one fault showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Probes that were begun.
    pub(super) published: u64,
    /// Times that one was sent again.
    pub(super) retries: u64,
    /// By room, its worst: from the first attempt to the receipt by every member.
    pub(super) outage: Option<Percentiles>,
    /// From the first attempt to the acknowledgement that it is stored.
    pub(super) stored: Option<Percentiles>,
    /// Probes that were never acknowledged as stored.
    pub(super) never_stored: u64,
    /// Receipts that are missing, of probes that were not acknowledged as stored.
    pub(super) never_received: u64,
    /// Receipts that are missing, of probes that were.
    pub(super) lost_after_stored: u64,
    /// Receipts that a client had to ask for.
    pub(super) pulled: u64,
}

impl Probes {
    /// Rooms without a probe.
    pub(super) fn new(rooms: &Rooms) -> Self {
        let room = |(key, members): &(RoomKey, Vec<ConnId>)| Room {
            key: *key,
            members: members.clone(),
            last: None,
            turn: 0,
            stored_begun_us: 0,
        };
        Self {
            rooms: rooms.quiet.iter().map(room).collect(),
            sent: Vec::new(),
            due: BTreeSet::new(),
            open: false,
            judged: 0,
            unfinished: 0,
            retries: 0,
            twice: 0,
            odd: Vec::new(),
            first_error: None,
        }
    }

    /// Every room gets a probe within the next second, and each second from then on.
    pub(super) fn begin(&mut self, now_us: u64) {
        self.open = true;
        self.judged = self.sent.len();
        self.retries = 0;
        self.unfinished = 0;
        self.due.clear();
        let count = self.rooms.len() as u64;
        for (place, room) in self.rooms.iter_mut().enumerate() {
            room.last = None;
            self.due.insert((now_us + EVERY_US * place as u64 / count.max(1), Task::Begin(place)));
        }
    }

    /// No room gets a new one; those under way are retried.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    /// Every probe is stored, and every member has it.
    pub(super) const fn is_done(&self) -> bool {
        self.unfinished == 0
    }

    /// Every room has a probe that is stored and was begun after this.
    pub(super) fn stored_since(&self, us: u64) -> bool {
        self.rooms.iter().all(|room| room.stored_begun_us > us)
    }

    /// What was acknowledged as stored since [`Self::begin`], by room.
    pub(super) fn stored(&self, fleet: &Fleet) -> Wanted {
        let mut stored = Wanted::new();
        for probe in self.sent.iter().skip(self.judged).filter(|probe| probe.stored_us > 0) {
            if let (Some(room), Some(stamp)) = (self.rooms.get(probe.room), probe.stamp) {
                stored.entry(fleet.shared.parser.name(room.key).to_owned()).or_default().push(stamp);
            }
        }
        stored
    }

    /// Sends what is due.
    pub(super) fn pump(&mut self, fleet: &mut Fleet, now_us: u64) {
        while let Some((due_us, task)) = self.due.first().copied().filter(|(due_us, _)| *due_us <= now_us) {
            self.due.remove(&(due_us, task));
            match task {
                Task::Begin(room) if self.open => {
                    self.due.insert((due_us.max(now_us.saturating_sub(EVERY_US)) + EVERY_US, Task::Begin(room)));
                    self.probe(room, fleet, now_us);
                }
                Task::Begin(_) => {}
                Task::Send(probe) => self.send(probe, due_us, fleet, now_us),
            }
        }
    }

    fn probe(&mut self, place: usize, fleet: &mut Fleet, now_us: u64) {
        let out = |probe: usize| self.sent.get(probe).is_some_and(|probe| probe.missing != 0);
        let Some(room) = self.rooms.get_mut(place).filter(|room| !room.last.is_some_and(out)) else { return };
        room.turn += 1;
        let turns = room.members.iter().cycle().skip(room.turn % room.members.len()).take(room.members.len());
        let by = turns.clone().find(|id| fleet.is_ready(**id)).or_else(|| turns.clone().next()).copied();
        let Some(by) = by else { return };
        room.last = Some(self.sent.len());
        let missing = u32::MAX >> (32 - room.members.len().clamp(1, 32));
        self.sent.push(Probe {
            room: place,
            by,
            begun_us: now_us,
            due_us: now_us,
            missing,
            received_us: 0,
            stored_us: 0,
            stamp: None,
            pulled: 0,
        });
        self.unfinished += 1;
        self.send(self.sent.len() - 1, now_us, fleet, now_us);
    }

    fn send(&mut self, number: usize, due_us: u64, fleet: &mut Fleet, now_us: u64) {
        let Some(probe) = self.sent.get_mut(number).filter(|probe| probe.due_us == due_us && probe.stored_us == 0)
        else {
            return;
        };
        let Some(room) = self.rooms.get(probe.room) else { return };
        if fleet.is_ready(probe.by) {
            self.retries += u64::from(now_us > probe.begun_us);
            let name = fleet.shared.parser.name(room.key).to_owned();
            let (id, publish) = (PROBE_ID + number as u64, FIRST_PROBE + number as u64);
            fleet.send(probe.by, &commands::publish_stored(id, &name, Lane::Protected, probe.begun_us, publish));
            probe.due_us = now_us + ANSWER_US;
        } else {
            probe.due_us = now_us + NOBODY_US;
        }
        self.due.insert((probe.due_us, Task::Send(number)));
    }

    /// Takes an answer to a probe or to a pull.
    pub(super) fn note(&mut self, note: &Note, fleet: &mut Fleet) {
        let Note::Reply { conn, id, result } = note else { return };
        if let Some(number) = id.checked_sub(PULL_ID) {
            let publish = FIRST_PROBE + number;
            if result.as_ref().is_ok_and(|answer| answer.publishes.contains(&publish)) {
                self.receive(Receipt { conn: *conn, publish, stamp: None, at_us: now_us() });
            }
        } else if let Some(number) = id.checked_sub(PROBE_ID).and_then(|number| usize::try_from(number).ok()) {
            match result {
                Ok(answer) => self.answered(number, answer, fleet),
                Err(error) => {
                    if !["unavailable", "limited", "not_stored", "not_joined"].contains(&error.code.as_str()) {
                        self.first_error.get_or_insert_with(|| format!("{}: {}", error.code, error.message));
                    }
                    self.retry(number, error.retry_ms.unwrap_or(0).max(RETRY_MS));
                }
            }
        }
    }

    fn answered(&mut self, number: usize, answer: &Answer, fleet: &mut Fleet) {
        let Some(probe) = self.sent.get_mut(number).filter(|probe| probe.stored_us == 0) else { return };
        if let (Some(stamp), Some(room)) = (answer.stamp, self.rooms.get(probe.room)) {
            fleet.shared.parser.truth(room.key).carries(stamp, FIRST_PROBE + number as u64);
            probe.stamp = Some(stamp);
        }
        if answer.stored {
            probe.stored_us = now_us();
            if let Some(room) = self.rooms.get_mut(probe.room) {
                room.stored_begun_us = room.stored_begun_us.max(probe.begun_us);
            }
            let done = probe.missing == 0;
            self.finish(number, done);
        } else {
            self.retry(number, RETRY_MS);
        }
    }

    fn retry(&mut self, number: usize, after_ms: u64) {
        if let Some(probe) = self.sent.get_mut(number).filter(|probe| probe.stored_us == 0) {
            probe.due_us = now_us() + after_ms * 1000;
            self.due.insert((probe.due_us, Task::Send(number)));
        }
    }

    /// A probe arrived.
    pub(super) fn receive(&mut self, receipt: Receipt) {
        let number = receipt.publish.checked_sub(FIRST_PROBE).and_then(|number| usize::try_from(number).ok());
        let Some(number) = number else { return };
        let Some(probe) = self.sent.get_mut(number) else { return };
        let Some(room) = self.rooms.get(probe.room) else { return };
        let Some(place) = room.members.iter().position(|member| *member == receipt.conn) else { return };
        let bit = 1 << place;
        if probe.missing & bit == 0 {
            if let Some(stamp) = receipt.stamp {
                self.twice += 1;
                self.odd.push(format!("publish {number} came again to client {} as {stamp:?}", receipt.conn));
            }
            return;
        }
        probe.missing &= !bit;
        probe.pulled += u32::from(receipt.stamp.is_none());
        if probe.missing == 0 {
            probe.received_us = receipt.at_us;
            let done = probe.stored_us > 0;
            self.finish(number, done);
        }
    }

    fn finish(&mut self, number: usize, done: bool) {
        if done && number >= self.judged {
            self.unfinished = self.unfinished.saturating_sub(1);
        }
    }

    /// Asks, for every member, for what is stored and did not come. A client would, when it is told of the gap.
    pub(super) fn pull(&self, fleet: &mut Fleet) {
        for (number, probe) in self.sent.iter().enumerate().skip(self.judged) {
            let (Some(room), Some(stamp)) = (self.rooms.get(probe.room), probe.stamp) else { continue };
            let name = fleet.shared.parser.name(room.key).to_owned();
            for (place, member) in room.members.iter().enumerate() {
                if probe.missing & (1 << place) != 0 {
                    fleet.send(*member, &commands::pull(PULL_ID + number as u64, &name, stamp));
                }
            }
        }
    }

    /// What should not have been, in words; a few of it, if it is much.
    pub(super) fn take_odd(&mut self) -> Vec<String> {
        let mut odd = Vec::new();
        for (number, probe) in self.sent.iter().enumerate().skip(self.judged).filter(|(_, probe)| probe.missing != 0) {
            let members = self.rooms.get(probe.room).map(|room| room.members.as_slice()).unwrap_or_default();
            let away: Vec<_> =
                members.iter().enumerate().filter(|(place, _)| probe.missing & (1 << place) != 0).collect();
            let (room, by, stored, stamp) = (probe.room, probe.by, probe.stored_us > 0, probe.stamp);
            odd.push(format!(
                "publish {number} of client {by} to room-{room} (stored: {stored}, {stamp:?}) is missing at {away:?}"
            ));
        }
        odd.truncate(MOST_ODD);
        self.odd.truncate(MOST_ODD);
        odd.append(&mut self.odd);
        odd
    }

    /// What the probes since [`Self::begin`] showed.
    pub(super) fn outcome(&self) -> Outcome {
        let now_us = now_us();
        let mut outcome = Outcome { retries: self.retries, ..Outcome::default() };
        let mut worst_us = vec![0; self.rooms.len()];
        let mut stored = Latency::default();
        for probe in self.sent.iter().skip(self.judged) {
            let end_us = if probe.missing == 0 { probe.received_us } else { now_us };
            if let Some(worst_us) = worst_us.get_mut(probe.room) {
                *worst_us = end_us.saturating_sub(probe.begun_us).max(*worst_us);
            }
            let missing = u64::from(probe.missing.count_ones());
            outcome.published += 1;
            outcome.pulled += u64::from(probe.pulled);
            if probe.stored_us > 0 {
                stored.record_us(probe.stored_us.saturating_sub(probe.begun_us));
                outcome.lost_after_stored += missing;
            } else {
                outcome.never_stored += 1;
                outcome.never_received += missing;
            }
        }
        let mut outage = Latency::default();
        for us in worst_us.into_iter().filter(|us| *us > 0) {
            outage.record_us(us);
        }
        (outcome.outage, outcome.stored) = (outage.percentiles(), stored.percentiles());
        outcome
    }
}
