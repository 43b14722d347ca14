//! Publishing at a steady rate, from several users in turn.

use std::collections::VecDeque;

use throng_core::Lane;

use super::commands;
use super::conn::{ConnId, FIRST_FREE_ID};
use super::fleet::Fleet;
use super::frames::RoomKey;
use super::notes::{Note, Shared};

/// Ids of publishes begin here; the scenario's other commands stay below.
const FIRST_ID: u64 = 1 << 32;

/// Messages to publish.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Who publishes, in turn. More than one, because users have a limit of their own.
    pub(super) conns: Vec<ConnId>,
    /// Where to.
    pub(super) room: RoomKey,
    /// On which lane.
    pub(super) lane: Lane,
    /// Messages a second.
    pub(super) rate_per_s: f64,
    /// Size of the content.
    pub(super) payload_bytes: usize,
}

/// What became of the publishes that are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    /// Sent for the first time.
    pub(super) sent: u64,
    /// Acknowledged with a stamp.
    pub(super) accepted: u64,
    /// Answered `limited`; each is sent again when the server says so.
    pub(super) limited: u64,
    /// Refused for another reason.
    pub(super) refused: u64,
}

/// Publishes at a pace. A message that the room's quota refuses is sent again, with a new send stamp.
#[derive(Debug)]
pub(super) struct Publisher {
    stream: Option<Stream>,
    room: String,
    filler: String,
    next: u64,
    origin_us: u64,
    due_before: u64,
    most: u64,
    measured_from: u64,
    again: VecDeque<(u64, u64)>,
    pub(super) measured: Published,
    pub(super) first_refusal: Option<String>,
}

impl Publisher {
    /// One that has nothing to say.
    pub(super) fn silent() -> Self {
        Self {
            stream: None,
            room: String::new(),
            filler: String::new(),
            next: 1,
            origin_us: 0,
            due_before: 0,
            most: 0,
            measured_from: u64::MAX,
            again: VecDeque::new(),
            measured: Published::default(),
            first_refusal: None,
        }
    }

    /// One that waits for [`Self::begin`].
    pub(super) fn new(stream: Stream, fleet: &Fleet) -> Self {
        let room = fleet.shared.parser.name(stream.room).to_owned();
        let filler = commands::filler(stream.payload_bytes);
        Self { stream: Some(stream), room, filler, ..Self::silent() }
    }

    /// Publishes from now on, `most` messages; measures them if `measured`.
    pub(super) fn begin(&mut self, now_us: u64, most: u64, measured: bool, shared: &mut Shared) {
        self.origin_us = now_us;
        self.due_before = 0;
        self.most = most;
        if measured {
            self.measured_from = self.next;
            shared.parser.measure_from(self.next);
        }
    }

    /// Sends what is due.
    pub(super) fn pump(&mut self, fleet: &mut Fleet, now_us: u64) {
        let Some(stream) = &self.stream else { return };
        let elapsed_s = now_us.saturating_sub(self.origin_us) as f64 / 1e6;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, well below 2^53")]
        let due = ((elapsed_s * stream.rate_per_s).floor() as u64 + 1).min(self.most);
        let fresh = due.saturating_sub(self.due_before);
        self.due_before = self.due_before.max(due);
        for publish in self.next..self.next + fresh {
            self.send(publish, fleet);
            self.measured.sent += u64::from(publish >= self.measured_from);
        }
        self.next += fresh;
        while let Some((_, publish)) = self.again.pop_front_if(|(due_us, _)| *due_us <= now_us) {
            self.send(publish, fleet);
        }
    }

    /// Takes the answers to publishes out of a note.
    pub(super) fn note(&mut self, note: &Note, shared: &mut Shared) {
        let Note::Reply { id, result, .. } = note else { return };
        let Some(publish) = id.checked_sub(FIRST_ID) else { return };
        let measured = u64::from(publish >= self.measured_from);
        match result {
            Ok((stamp, _)) => {
                self.measured.accepted += measured;
                if let (Some(stamp), Some(stream)) = (stamp, &self.stream) {
                    shared.parser.truth(stream.room).carries(*stamp, publish);
                }
            }
            Err(error) if error.code == "limited" => {
                self.measured.limited += measured;
                let due_us = super::clock::now_us() + error.retry_ms.unwrap_or(200) * 1000;
                self.again.push_back((due_us, publish));
            }
            Err(error) => {
                self.measured.refused += measured;
                self.first_refusal.get_or_insert_with(|| format!("{}: {}", error.code, error.message));
            }
        }
    }

    fn send(&self, publish: u64, fleet: &mut Fleet) {
        let Some(stream) = &self.stream else { return };
        let turn = usize::try_from(publish).unwrap_or(0) % stream.conns.len().max(1);
        let Some(conn) = stream.conns.get(turn) else { return };
        let sent_us = super::clock::now_us();
        let text = commands::publish(FIRST_ID + publish, &self.room, stream.lane, sent_us, publish, &self.filler);
        fleet.send(*conn, &text);
    }
}

const _: () = assert!(FIRST_ID > FIRST_FREE_ID);
