//! What a relay fetches late: the part of the owner's ring before its own, once, when a reader asks for it; and the answers
//! to those readers.

use super::effect::{Downstream, Effect, GatewayId, Read, Upstream};
use super::packed::{Codec, Packed, Sealed, reached};
use super::read::ReadError;
use super::ring::{Place, Placed, Ring};
use super::room::{Ctx, Room, Sub, Up, pump};
use crate::{Cursor, Epoch, Millis, RoomId, Seqs};

/// State of the late part.
#[derive(Debug)]
pub(crate) enum Fill {
    Untried,
    /// The owner was asked to start from its oldest.
    Asked,
    /// It arrives, behind what the log already has; `parts` end at `end`.
    Running {
        parts: Vec<Packed>,
        end: Seqs,
    },
    /// The owner has no more.
    Done,
}

impl Fill {
    /// The owner's stream goes on behind `cursor`.
    pub(crate) fn answered(&mut self, cursor: Cursor, ring: &Ring) {
        if matches!(self, Self::Asked) {
            let start = ring.start();
            *self = if cursor.epoch == start.epoch && !reached(cursor.seq, start.seq) {
                Self::Running { parts: Vec::new(), end: cursor.seq }
            } else {
                Self::Done
            };
        }
    }

    /// Takes the part of a segment that lies before the log. Says whether the late part is complete now.
    pub(crate) fn offer<C: Codec>(&mut self, packed: &Packed, ring: &mut Ring, now: Millis, codec: &C) -> bool {
        let Self::Running { parts, end } = self else { return false };
        let start = ring.start();
        if packed.epoch == start.epoch && !reached(packed.after, start.seq) {
            let part =
                if reached(start.seq, packed.last) { packed.clone() } else { packed.cut(Seqs::ZERO, start.seq, codec) };
            if part.after != *end {
                parts.clear();
            }
            *end = part.last;
            parts.push(part);
        }
        let complete = packed.epoch > start.epoch || reached(packed.last, start.seq);
        if complete {
            ring.prepend(std::mem::take(parts), now);
            *self = Self::Done;
        }
        complete
    }
}

impl Room {
    /// Asks the owner for what it has before the log, and for the ends of epochs that only gateways know. Once.
    fn ask_older<C>(&mut self, ctx: &mut Ctx<'_, C>) {
        let (Up::Live(link), Fill::Untried, Some(ring)) = (self.up, &self.fill, &self.ring) else { return };
        let start = ring.start();
        let from = if start.seq == Seqs::ZERO { ring.head() } else { Cursor { epoch: start.epoch, seq: Seqs::ZERO } };
        let wish = self.subscription(Some(from));
        self.fill = Fill::Asked;
        self.named.extend(self.waiting_epochs());
        ctx.out.push(Effect::Up(link, Upstream::Subscribe(wish)));
    }

    /// Whether the owner may still add something before the log.
    fn may_grow(&self) -> bool {
        !matches!(self.fill, Fill::Done)
    }

    /// Places waiting gateways and answers waiting questions, as far as possible. Past its deadline each gets what there is.
    pub(crate) fn settle<C: Codec>(&mut self, ctx: &mut Ctx<'_, C>) {
        self.settle_subs(ctx);
        let waiting = std::mem::take(&mut self.reads);
        for pending in waiting {
            let last_call = pending.deadline <= ctx.now;
            match self.answer(&pending.read, last_call, ctx) {
                Some(answer) => ctx.down(pending.gateway, answer),
                None => self.reads.push(pending),
            }
        }
    }

    fn settle_subs<C: Codec>(&mut self, ctx: &mut Ctx<'_, C>) {
        let waiting: Vec<(GatewayId, Option<Cursor>, bool)> = self
            .subs
            .iter()
            .filter_map(|(gateway, sub)| match sub {
                Sub::Waiting { since, deadline } => Some((*gateway, *since, *deadline <= ctx.now)),
                Sub::On { .. } => None,
            })
            .collect();
        for (gateway, since, last_call) in waiting {
            let Some(placed) = self.seat(since, last_call, ctx) else { continue };
            let Placed { id, cursor, gaps, sealed } = placed;
            ctx.down(gateway, Downstream::Subscribed { room: self.id.clone(), cursor, gaps, sealed });
            let mut sub = Sub::On { next: id, cursor };
            if let Some(ring) = &self.ring {
                pump(&self.id, ring, gateway, &mut sub, ctx);
            }
            self.subs.insert(gateway, sub);
        }
    }

    /// The place of a gateway that stands at `since`; none: wait.
    fn seat<C>(&mut self, since: Option<Cursor>, last_call: bool, ctx: &mut Ctx<'_, C>) -> Option<Placed> {
        let live = self.is_live();
        let ring = self.ring.as_ref()?;
        if !live && !last_call {
            return None;
        }
        let at_end = |cursor| Placed { id: ring.next_id(), cursor, gaps: Vec::new(), sealed: Vec::new() };
        let Some(since) = since else { return live.then(|| at_end(ring.head())) };
        match ring.place(since) {
            Place::Ahead => Some(at_end(since)),
            Place::At(placed) if last_call || !ring.wants_older(since) || !self.may_grow() => Some(placed),
            Place::Unknown if last_call => self.seal_at(since),
            Place::At(_) => {
                self.ask_older(ctx);
                None
            }
            Place::Unknown => {
                if !self.named.contains(&since.epoch) && !matches!(self.fill, Fill::Asked | Fill::Running { .. }) {
                    self.fill = Fill::Untried;
                    self.ask_older(ctx);
                }
                None
            }
        }
    }

    /// Nobody knows how the epoch of a gateway's cursor ended: it ended there, and the owner will be told so.
    fn seal_at(&mut self, since: Cursor) -> Option<Placed> {
        let ring = self.ring.as_mut()?;
        let next = ring.ends.range(since.epoch..).next().map_or(ring.start().epoch, |(epoch, _)| *epoch);
        ring.note_end(Sealed { epoch: since.epoch, last: since.seq, next: next.min(ring.head().epoch) });
        match ring.place(since) {
            Place::At(placed) => Some(placed),
            Place::Ahead | Place::Unknown => {
                Some(Placed { id: ring.first, cursor: ring.start(), gaps: Vec::new(), sealed: Vec::new() })
            }
        }
    }

    /// The answer to a question; none: wait.
    pub(crate) fn answer<C: Codec>(
        &mut self,
        read: &Read,
        last_call: bool,
        ctx: &mut Ctx<'_, C>,
    ) -> Option<Downstream> {
        if self.ring.is_none() {
            return last_call.then(|| refusal(&self.id, read, ReadError::Unavailable));
        }
        if !last_call && self.should_wait(read) {
            self.ask_older(ctx);
            return None;
        }
        let room = self.id.clone();
        let ring = self.ring.as_mut()?;
        let answer = match *read {
            Read::CatchUp { request, since, until } => {
                Downstream::CaughtUp { room, request, answer: ring.catch_up(since, until, ctx.codec) }
            }
            Read::History { request, limit, until } => {
                let found = super::read::CaughtUp {
                    segments: ring.history(limit, until, ctx.codec),
                    recovered: true,
                    cursor: until.unwrap_or(ring.head()),
                    ..super::read::CaughtUp::default()
                };
                Downstream::CaughtUp { room, request, answer: Ok(found) }
            }
            Read::Pull { request, epoch, lane, after, limit } => {
                Downstream::Pulled { request, answer: ring.pull(epoch, lane, after, limit, ctx.codec) }
            }
        };
        Some(answer)
    }

    /// Whether the owner's stream, or what the owner has before the log, may make the answer better.
    fn should_wait(&self, read: &Read) -> bool {
        let Some(ring) = &self.ring else { return true };
        let ahead = |cursor: Cursor| matches!(ring.place(cursor), Place::Ahead);
        let unknown = |cursor: Cursor| matches!(ring.place(cursor), Place::Unknown);
        match *read {
            Read::CatchUp { since, until, .. } => {
                ahead(since)
                    || until.is_some_and(ahead)
                    || (self.may_grow() && (ring.wants_older(since) || unknown(since)))
            }
            Read::History { limit, .. } => self.may_grow() && ring.is_short_of(limit),
            Read::Pull { epoch, lane, after, .. } => {
                let current = epoch == Epoch::NONE || epoch == ring.start().epoch;
                self.may_grow()
                    && ring.began_late()
                    && current
                    && ring.head().epoch == ring.start().epoch
                    && after < ring.start().seq[lane]
            }
        }
    }
}

/// The answer that there is none.
pub(crate) fn refusal(room: &RoomId, read: &Read, why: ReadError) -> Downstream {
    match *read {
        Read::CatchUp { request, .. } | Read::History { request, .. } => {
            Downstream::CaughtUp { room: room.clone(), request, answer: Err(why) }
        }
        Read::Pull { request, .. } => Downstream::Pulled { request, answer: Err(why) },
    }
}

/// Everything that a room's end tells its gateways and readers.
pub(crate) fn close<C>(room: &mut Room, id: &RoomId, reason: &std::sync::Arc<str>, ctx: &mut Ctx<'_, C>) {
    for gateway in room.subs.keys() {
        ctx.down(*gateway, Downstream::Closed { room: id.clone(), reason: reason.clone() });
    }
    for pending in std::mem::take(&mut room.reads) {
        ctx.down(pending.gateway, refusal(id, &pending.read, ReadError::Unavailable));
    }
}
