//! A crowd without a referee, for whoever wants a room full of people: the bots of `throng dev`.
//!
//! Its connections are those of the bench. What a judge would need is forgotten every second, so that a crowd may stay for
//! days; who is cut off comes back and goes on with its session.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};
use throng_core::Lane;

use super::clock::now_us;
use super::comers::Comers;
use super::conn::{FIRST_FREE_ID, Identity};
use super::fleet::{Endpoint, Fleet};
use super::frames::RoomKey;
use super::notes::{Note, Opened};
use super::recent::{Counts, Lately, Recent};
use super::stats::Latency;
use super::token::Signer;

/// Who is to be there.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where to connect: `ws://...`.
    pub(crate) url: String,
    /// Signs their tokens (HS256).
    pub(crate) secret: String,
    /// The room.
    pub(crate) room: String,
    /// How many. Their users are `bot-0`, `bot-1` ...
    pub(crate) size: usize,
    /// Connections opened a second, at most.
    pub(crate) per_s: u32,
}

/// Something to say. `data` gets the fields `t` and `n`, by which the crowd measures.
#[derive(Clone, Debug)]
pub(crate) struct Saying {
    /// Kind of message.
    pub(crate) kind: &'static str,
    /// The lane wished for.
    pub(crate) lane: Lane,
    /// Content.
    pub(crate) data: Map<String, Value>,
}

/// Clients in one room.
pub(crate) struct Crowd {
    fleet: Fleet,
    comers: Comers,
    room: RoomKey,
    size: usize,
    /// Connections that went on with their session after a loss.
    resumed: u64,
    published: u64,
    counts: Counts,
    recent: Recent,
}

#[derive(Serialize)]
struct Command<'c> {
    id: u64,
    publish: Publish<'c>,
}

#[derive(Serialize)]
struct Publish<'c> {
    room: &'c str,
    lane: Lane,
    r#type: &'static str,
    data: Map<String, Value>,
}

impl Crowd {
    /// Nobody has come yet.
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let mut fleet = Fleet::new(vec![Endpoint::parse(&plan.url)?])?;
        let room = fleet.shared.parser.room(&plan.room);
        fleet.shared.parser.measure_from(1);
        let signer = Signer::new(&plan.secret);
        for number in 0..plan.size {
            let token = signer.sign(&format!("bot-{number}"), Some(Lane::Protected))?;
            fleet.add(Identity { token, rooms: vec![room], ..Identity::default() });
        }
        let comers = Comers::new(0..plan.size, plan.per_s, now_us());
        let counts = Counts::default();
        let recent = Recent::default();
        Ok(Self { fleet, comers, room, size: plan.size, resumed: 0, published: 0, counts, recent })
    }

    /// Connections that are in the room.
    pub(crate) fn ready(&self) -> usize {
        self.fleet.conns().iter().filter(|conn| conn.is_ready()).count()
    }

    /// Connections that went on with their session after a loss and missed nothing, since the beginning.
    pub(crate) const fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Lets those come whose turn it is, and handles what comes until `until`.
    pub(crate) fn turn(&mut self, until: Instant) -> anyhow::Result<()> {
        loop {
            let now = now_us();
            while let Some(id) = self.comers.next(now) {
                if self.fleet.open(id).is_err() {
                    // Out of files or ports: the others go on, it tries again later.
                    self.comers.failed(id, None, now);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            self.fleet.turn(left)?;
            for note in self.fleet.take_notes() {
                self.note(&note);
            }
            self.fleet.shared.ended.clear();
            if left == Duration::ZERO {
                return Ok(());
            }
        }
    }

    fn note(&mut self, note: &Note) {
        match note {
            Note::Ready { conn, how } => {
                self.comers.came(*conn);
                self.resumed += u64::from(*how == Opened::Recovered);
            }
            Note::Unjoined { conn, .. } => {
                // The owner could not be asked: it begins anew, in its turn.
                self.fleet.forget_session(*conn);
                self.comers.failed(*conn, None, now_us());
            }
            Note::Closed { conn, closing } => self.comers.failed(*conn, closing.retry_ms(), now_us()),
            Note::Reply { result: Ok(_), .. } => self.counts.accepted += 1,
            Note::Reply { result: Err(error), .. } if error.code == "limited" => self.counts.limited += 1,
            Note::Reply { result: Err(_), .. } => self.counts.refused += 1,
            Note::Event { .. } | Note::GoAway { .. } | Note::NotReplaced { .. } => {}
        }
    }

    /// One of them says something; whoever is away is passed over for the next. Nothing is said while nobody is there.
    pub(crate) fn say(&mut self, speaker: usize, saying: Saying) {
        let Some(speaker) = (0..self.size).map(|next| (speaker + next) % self.size).find(|id| self.fleet.is_ready(*id))
        else {
            return;
        };
        self.published += 1;
        let Saying { kind, lane, mut data } = saying;
        data.insert("t".to_owned(), now_us().into());
        data.insert("n".to_owned(), self.published.into());
        let room = self.fleet.shared.parser.name(self.room);
        let publish = Publish { room, lane, r#type: kind, data };
        // Nothing in it that JSON cannot write.
        let text = serde_json::to_string(&Command { id: FIRST_FREE_ID + self.published, publish }).unwrap_or_default();
        self.fleet.send(speaker, &text);
    }

    /// To be called once a second: what was counted since, and the latency of the last ten calls.
    pub(crate) fn second(&mut self) -> Lately {
        let stats = &mut self.fleet.shared.stats;
        let mut latency = Latency::default();
        for lane in &mut stats.latency {
            latency.add(&std::mem::take(lane));
        }
        let mut counts = std::mem::take(&mut self.counts);
        counts.delivered = std::mem::take(&mut stats.received);
        counts.dropped = std::mem::take(&mut stats.declared);
        self.fleet.forget_past();
        self.recent.second(counts, latency)
    }
}
