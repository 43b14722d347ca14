//! What a relay fetches late: the part of the owner's ring before its own, once, when a reader asks for it; and the answers
//! to those readers.

use super::effect::{Downstream, Effect, GatewayId, Read, Upstream};
use super::logged::range_of;
use super::packed::{ALL, Codec, Packed, Sealed, lesser, reached};
use super::read::ReadError;
use super::ring::{Place, Placed, Ring};
use super::room::{Ctx, Room, Sub, Up, pump};
use crate::{Cursor, Epoch, Millis, RoomId, Seqs};

/// One entry of the late part.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Segment(Packed),
    Sealed(Sealed),
}

/// State of the late part.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    /// The owner was asked from here on: it has nothing more behind this.
    back_to: Option<Cursor>,
    late: Late,
}

#[derive(Debug, Default)]
enum Late {
    #[default]
    Idle,
    /// The owner was asked to start at `from`.
    Asked { from: Cursor, until: Millis },
    /// It arrives; `parts` reach from `from` to `at`, which lies before the log.
    Running { from: Cursor, at: Cursor, parts: Vec<Part>, until: Millis },
}

/// Whether something lies behind `cursor` and not behind `goal`.
fn is_before(cursor: Cursor, goal: Cursor) -> bool {
    cursor.epoch < goal.epoch || (cursor.epoch == goal.epoch && !reached(cursor.seq, goal.seq))
}

impl Fill {
    /// The owner is asked to start at `from`, and has until then.
    fn asked(&mut self, from: Cursor, until: Millis) {
        self.late = Late::Asked { from, until };
    }

    /// The stream starts anew: what was on its way will not come.
    pub(crate) fn interrupt(&mut self) {
        self.late = Late::Idle;
    }

    fn is_idle(&self) -> bool {
        matches!(self.late, Late::Idle)
    }

    /// Whether the owner may have something behind `cursor` that was not asked for yet.
    fn may_reach(&self, cursor: Cursor) -> bool {
        self.back_to.is_none_or(|back_to| is_before(cursor, back_to))
    }

    /// When the owner has had time enough.
    pub(crate) fn until(&self) -> Option<Millis> {
        match self.late {
            Late::Idle => None,
            Late::Asked { until, .. } | Late::Running { until, .. } => Some(until),
        }
    }

    /// Gives up what did not come in time.
    fn expire(&mut self, now: Millis, ring: &Ring) {
        if let Late::Asked { from, until } | Late::Running { from, until, .. } = self.late
            && until <= now
        {
            self.finish(from, ring.start());
        }
    }

    fn finish(&mut self, from: Cursor, start: Cursor) {
        self.late = Late::Idle;
        let back_to = if is_before(from, start) { from } else { start };
        if self.may_reach(back_to) {
            self.back_to = Some(back_to);
        }
    }

    /// The owner's stream goes on behind `cursor`: another one than was asked for answers an earlier question.
    pub(crate) fn answered(&mut self, cursor: Cursor, ring: &Ring) {
        if let Late::Asked { from, until } = self.late
            && from == cursor
        {
            if is_before(cursor, ring.start()) {
                self.late = Late::Running { from, at: cursor, parts: Vec::new(), until };
            } else {
                self.finish(from, ring.start());
            }
        }
    }

    /// Takes the part of a segment that lies before the log. Says whether the late part is complete now.
    pub(crate) fn offer<C: Codec>(&mut self, packed: &Packed, ring: &mut Ring, now: Millis, codec: &C) -> bool {
        let Late::Running { at, parts, .. } = &mut self.late else { return false };
        let start = ring.start();
        if packed.epoch == at.epoch {
            if !reached(at.seq, packed.after) {
                self.late = Late::Idle;
                return false;
            }
            let to = if packed.epoch == start.epoch { start.seq } else { ALL };
            if !reached(at.seq, lesser(packed.last, to)) {
                let whole = packed.after == at.seq && reached(to, packed.last);
                let part = if whole { packed.clone() } else { packed.cut(at.seq, to, codec) };
                at.seq = part.last;
                parts.push(Part::Segment(part));
            }
        }
        self.complete(ring, now)
    }

    /// Takes the end of an epoch that lies before the log. Says whether the late part is complete now.
    pub(crate) fn offer_end<C: Codec>(&mut self, end: Sealed, ring: &mut Ring, now: Millis, codec: &C) -> bool {
        let Late::Running { at, parts, .. } = &mut self.late else { return false };
        if end.epoch != at.epoch || end.epoch >= ring.start().epoch || end.next <= end.epoch {
            return false;
        }
        if !reached(at.seq, end.last) {
            let id = ring.room.clone();
            parts.push(Part::Segment(Packed::declared(id, end.epoch, at.seq, end.last, codec)));
        }
        parts.push(Part::Sealed(end));
        *at = Cursor { epoch: end.next, seq: Seqs::ZERO };
        self.complete(ring, now)
    }

    /// Puts the late part before the log if it reaches up to it.
    fn complete(&mut self, ring: &mut Ring, now: Millis) -> bool {
        let Late::Running { from, at, parts, .. } = &mut self.late else { return false };
        if is_before(*at, ring.start()) {
            return false;
        }
        let (from, start) = (*from, ring.start());
        ring.prepend(from, std::mem::take(parts), now);
        self.finish(from, start);
        true
    }
}

impl Room {
    /// Asks the owner for what it has from `from` on, and for the ends of epochs that only gateways know.
    fn ask_from<C>(&mut self, from: Cursor, ctx: &mut Ctx<'_, C>) {
        let Up::Live(link) = self.up else { return };
        if !self.fill.is_idle() {
            return;
        }
        let wish = self.subscription(Some(from));
        self.fill.asked(from, ctx.now + ctx.options.ask_ms);
        self.named.extend(self.waiting_epochs());
        ctx.out.push(Effect::Up(link, Upstream::Subscribe(wish)));
    }

    /// Asks for everything of an epoch that is known and lies before the log, or for that part of its first epoch.
    fn ask_older<C>(&mut self, epoch: Epoch, ctx: &mut Ctx<'_, C>) {
        let Some(start) = self.ring.as_ref().map(Ring::start) else { return };
        self.ask_from(Cursor { epoch: epoch.min(start.epoch), seq: Seqs::ZERO }, ctx);
    }

    /// Asks where epochs ended that the log has never heard of.
    fn ask_ends<C>(&mut self, ctx: &mut Ctx<'_, C>) {
        let Some(ring) = &self.ring else { return };
        let start = ring.start();
        let from = if start.seq == Seqs::ZERO { ring.head() } else { Cursor { epoch: start.epoch, seq: Seqs::ZERO } };
        self.ask_from(from, ctx);
    }

    /// Whether the owner may still add something behind `cursor`, which lies before the log. What the log let go of itself
    /// is gone.
    fn may_grow(&self, cursor: Cursor) -> bool {
        self.ring.as_ref().is_some_and(|ring| !ring.dropped) && self.fill.may_reach(cursor)
    }

    /// Places waiting gateways and answers waiting questions, as far as possible. Past its deadline each gets what there is.
    pub(crate) fn settle<C: Codec>(&mut self, ctx: &mut Ctx<'_, C>) {
        if !self.is_live() {
            self.fill.interrupt();
        } else if let Some(ring) = &self.ring {
            self.fill.expire(ctx.now, ring);
        }
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
            let Some(placed) = self.seat(since, last_call, ctx) else {
                if last_call {
                    let deadline = ctx.now + ctx.options.read_ms;
                    self.subs.insert(gateway, Sub::Waiting { since, deadline });
                }
                continue;
            };
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
            // What the owner has of it is fetched first, however long the owner was away: that has a limit of its own.
            Place::At(placed) if placed.gaps.is_empty() || !self.may_grow(since) => Some(placed),
            Place::At(_) => {
                self.ask_older(since.epoch, ctx);
                None
            }
            Place::Unknown if last_call => self.seal_at(since, ctx),
            Place::Unknown => {
                if !self.named.contains(&since.epoch) {
                    self.ask_ends(ctx);
                }
                None
            }
        }
    }

    /// Nobody knows how the epoch of a gateway's cursor ended: it ended there, and the owner will be told so.
    fn seal_at<C>(&mut self, since: Cursor, ctx: &mut Ctx<'_, C>) -> Option<Placed> {
        let ring = self.ring.as_mut()?;
        let next = ring.ends.range(since.epoch..).next().map_or(ring.start().epoch, |(epoch, _)| *epoch);
        ring.note_end(Sealed { epoch: since.epoch, last: since.seq, next: next.min(ring.head().epoch) });
        if ring.place(since) == Place::Unknown {
            return Some(Placed { id: ring.first, cursor: ring.start(), gaps: Vec::new(), sealed: Vec::new() });
        }
        self.seat(Some(since), false, ctx)
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
        if !last_call && let Some(wait) = self.wait_for(read) {
            match wait {
                Wait::Stream => {}
                Wait::Older(epoch) => self.ask_older(epoch, ctx),
                Wait::Ends => self.ask_ends(ctx),
            }
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
                let answer = ring.pull(epoch, lane, after, limit, ctx.codec);
                let range = range_of(read, ring.head().epoch).filter(|_| !last_call);
                if range.is_some_and(|range| self.ask_log(range, &answer, ctx)) {
                    return None;
                }
                Downstream::Pulled { request, answer }
            }
        };
        Some(answer)
    }

    /// What may make the answer better.
    fn wait_for(&self, read: &Read) -> Option<Wait> {
        let Some(ring) = &self.ring else { return Some(Wait::Stream) };
        let start = ring.start();
        match *read {
            Read::CatchUp { since, until, .. } => match ring.place(since) {
                _ if until.is_some_and(|until| ring.place(until) == Place::Ahead) => Some(Wait::Stream),
                Place::Ahead => Some(Wait::Stream),
                Place::At(placed) if placed.gaps.is_empty() => None,
                Place::At(_) => self.may_grow(since).then_some(Wait::Older(since.epoch)),
                Place::Unknown => self.may_grow(start).then_some(Wait::Ends),
            },
            Read::History { limit, .. } => {
                let from = Cursor { epoch: ring.oldest_epoch(), seq: Seqs::ZERO };
                (ring.is_short_of(limit) && self.may_grow(from)).then_some(Wait::Older(from.epoch))
            }
            Read::Pull { epoch, lane, after, .. } => {
                let epoch = if epoch == Epoch::NONE { ring.head().epoch } else { epoch };
                let lacks = epoch < start.epoch || (epoch == start.epoch && after < start.seq[lane]);
                let from = Cursor { epoch, seq: Seqs::ZERO };
                let known = epoch == start.epoch || ring.ends.contains_key(&epoch);
                (lacks && known && self.may_grow(from)).then_some(Wait::Older(epoch))
            }
        }
    }
}

/// What a reader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The owner's stream.
    Stream,
    /// What the owner has of an epoch and what follows it.
    Older(Epoch),
    /// Where older epochs ended.
    Ends,
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
