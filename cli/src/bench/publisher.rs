//! Publishing at a steady rate, from several users in turn, on one lane or several.

use std::collections::VecDeque;

use throng_core::{Lane, Stamp};

use super::clock::now_us;
use super::commands;
use super::conn::{ConnId, FIRST_FREE_ID};
use super::fleet::Fleet;
use super::frames::RoomKey;
use super::notes::{Note, Shared};

/// Ids of publishes begin here; the scenario's other commands stay below.
const FIRST_ID: u64 = 1 << 32;
/// Ids from here on are the scenario's again.
pub(super) const AFTER_LAST_ID: u64 = 1 << 48;
const _: () = assert!(FIRST_ID > FIRST_FREE_ID, "ids of publishes must not meet those of other commands");

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
    /// Acknowledged with a stamp.
    pub(super) accepted: u64,
    /// Answered `limited`; each is sent again when the server says so.
    pub(super) limited: u64,
    /// Refused for another reason.
    pub(super) refused: u64,
}

/// Publishes at a pace. A message that the room's quota refuses is sent again, with a new send stamp.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    flows: Vec<Flow>,
    /// Number of the next publish, over all streams, from 1.
    next: u64,
    origin_us: u64,
    /// None: nothing is measured yet.
    measured_from: Option<u64>,
    again: VecDeque<Retry>,
    /// By lane of the wish.
    pub(super) measured: [Published; Lane::COUNT],
    pub(super) first_refusal: Option<String>,
    /// What was acknowledged, in the order of the answers.
    pub(super) accepted: Vec<(RoomKey, Stamp)>,
}

#[derive(Debug)]
struct Flow {
    stream: Stream,
    room: String,
    filler: String,
    begun: u64,
    most: u64,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    due_us: u64,
    flow: usize,
    publish: u64,
}

impl Publisher {
    /// One that has nothing to say.
    pub(super) fn silent() -> Self {
        Self::default()
    }

    /// One that waits for [`Self::begin`].
    pub(super) fn new(streams: Vec<Stream>, fleet: &Fleet) -> Self {
        let flow = |stream: Stream| Flow {
            room: fleet.shared.parser.name(stream.room).to_owned(),
            filler: commands::filler(stream.payload_bytes),
            stream,
            begun: 0,
            most: 0,
        };
        Self { flows: streams.into_iter().map(flow).collect(), next: 1, ..Self::default() }
    }

    /// Publishes from now on until `seconds` are over; measures it if `measured`.
    pub(super) fn begin(&mut self, now_us: u64, seconds: f64, measured: bool, shared: &mut Shared) {
        self.origin_us = now_us;
        for flow in &mut self.flows {
            flow.begun = 0;
            flow.most = flow.stream.wanted(seconds);
        }
        if measured {
            self.measured_from = Some(self.next);
            shared.parser.measure_from(self.next);
        }
    }

    /// Says no more.
    pub(super) fn end(&mut self) {
        for flow in &mut self.flows {
            flow.most = flow.begun;
        }
        self.again.clear();
    }

    /// Messages that all streams together publish in so many seconds.
    pub(super) fn wanted(&self, seconds: f64) -> u64 {
        self.flows.iter().map(|flow| flow.stream.wanted(seconds)).sum()
    }

    /// What became of all lanes.
    pub(super) fn total(&self) -> Published {
        self.measured.iter().fold(Published::default(), |sum, lane| Published {
            accepted: sum.accepted + lane.accepted,
            limited: sum.limited + lane.limited,
            refused: sum.refused + lane.refused,
        })
    }

    /// Sends what is due.
    pub(super) fn pump(&mut self, fleet: &mut Fleet, now: u64) {
        let elapsed_s = now.saturating_sub(self.origin_us) as f64 / 1e6;
        for (place, flow) in self.flows.iter_mut().enumerate() {
            let due = (flow.stream.wanted(elapsed_s) + 1).min(flow.most);
            while flow.begun < due {
                flow.begun += 1;
                flow.send(place, self.next, fleet);
                self.next += 1;
            }
        }
        while let Some(retry) = self.again.pop_front_if(|retry| retry.due_us <= now) {
            if let Some(flow) = self.flows.get(retry.flow) {
                flow.send(retry.flow, retry.publish, fleet);
            }
        }
    }

    /// Takes the answers to publishes out of a note.
    #[expect(clippy::indexing_slicing, reason = "an array by lane")]
    pub(super) fn note(&mut self, note: &Note, shared: &mut Shared) {
        let Note::Reply { id, result, .. } = note else { return };
        let Some(id) = id.checked_sub(FIRST_ID).filter(|_| *id < AFTER_LAST_ID) else { return };
        let (publish, place) = (id / FLOWS, usize::try_from(id % FLOWS).unwrap_or(0));
        let Some(flow) = self.flows.get(place) else { return };
        let measured = u64::from(self.measured_from.is_some_and(|from| publish >= from));
        let count = &mut self.measured[flow.stream.lane.index()];
        match result {
            Ok(answer) => {
                count.accepted += measured;
                if let Some(stamp) = answer.stamp {
                    shared.parser.truth(flow.stream.room).carries(stamp, publish);
                    self.accepted.push((flow.stream.room, stamp));
                }
            }
            Err(error) if error.code == "limited" => {
                count.limited += measured;
                let due_us = now_us() + error.retry_ms.unwrap_or(200) * 1000;
                self.again.push_back(Retry { due_us, flow: place, publish });
            }
            Err(error) => {
                count.refused += measured;
                self.first_refusal.get_or_insert_with(|| format!("{}: {}", error.code, error.message));
            }
        }
    }
}

/// Room for so many streams in the ids of publishes.
const FLOWS: u64 = 16;

impl Flow {
    fn send(&self, place: usize, publish: u64, fleet: &mut Fleet) {
        let conns = &self.stream.conns;
        let turn = usize::try_from(publish).unwrap_or(0);
        // Whoever is reconnecting is passed over.
        let ready = |place: &usize| fleet.is_ready(*place);
        let mut from_turn = conns.iter().cycle().skip(turn % conns.len().max(1)).take(conns.len());
        let Some(conn) = from_turn.find(|conn| ready(conn)).copied() else { return };
        let id = FIRST_ID + publish * FLOWS + place as u64;
        let text = commands::publish(id, &self.room, self.stream.lane, now_us(), publish, &self.filler);
        fleet.send(conn, &text);
    }
}

impl Stream {
    fn wanted(&self, seconds: f64) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, well below 2^53")]
        let count = (seconds * self.rate_per_s).round() as u64;
        count
    }
}
