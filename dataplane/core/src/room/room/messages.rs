//! What is said in a room: from the wish to publish to the relays.

use super::{Desk, Room};
use crate::room::keys::{First, KEY_MEMORY_MS};
use crate::room::now::Now;
use crate::room::output::{Asker, Output, Record, RelayNo};
use crate::room::publish::{Ack, Publish, Receipt, Refusal, lane_of, may_write};
use crate::room::window::{Piece, Step};
use crate::{Cursor, Epoch, Lane, Message, Seqs, Stamp};

impl Room {
    /// Orders a message, or says why not. The answer is an output.
    pub(in crate::room) fn publish(&mut self, publish: &Publish, asker: Asker, desk: &mut Desk<'_>) {
        if let Err(refusal) = self.try_publish(publish, asker, desk) {
            desk.out.push(Output::Published { to: asker, result: Err(refusal) });
        }
    }

    fn try_publish(&mut self, publish: &Publish, asker: Asker, desk: &mut Desk<'_>) -> Result<(), Refusal> {
        publish.check_sizes()?;
        let now = desk.now;
        let key = publish.key.as_ref();
        if let Some(first) = key.and_then(|key| self.keys.get(&publish.user, key, now.mono)) {
            let first = self.store_again(publish, first, desk);
            Self::answer(publish, first, asker, desk);
            return Ok(());
        }
        let lane = lane_of(publish, &self.lists, &self.settings, now.unix);
        self.may_enter(publish, lane, now)?;
        let message = self.order(publish, lane, desk.now);
        let stamp = Stamp { epoch: self.window.epoch(), lane, seq: message.seq };
        // Likes are not worth a write, unless somebody relies on one.
        let keep = lane != Lane::Low || publish.ack == Ack::Stored || key.is_some();
        let record = Record::Message { epoch: stamp.epoch, message, key: key.cloned() };
        let first = First { stamp, ticket: keep.then(|| desk.persist(&self.id, record)) };
        if let Some(key) = key {
            self.keys.put(&publish.user, key, first, KEY_MEMORY_MS, now.mono);
        }
        Self::answer(publish, first, asker, desk);
        let flush_at = self.tick.next_flush(now.mono, lane, desk.load_percent);
        self.flush_at = Some(self.flush_at.map_or(flush_at, |earlier| earlier.min(flush_at)));
        self.flush_if_due(desk);
        Ok(())
    }

    /// A write that was lost is tried again when somebody asks again for its message to be stored.
    fn store_again(&mut self, publish: &Publish, first: First, desk: &mut Desk<'_>) -> First {
        let Some(key) = publish.key.as_ref().filter(|_| publish.ack == Ack::Stored) else { return first };
        if !first.ticket.is_some_and(|ticket| desk.slot.is_lost(ticket)) {
            return first;
        }
        let Some(message) = self.window.find(first.stamp).cloned() else { return first };
        let record = Record::Message { epoch: first.stamp.epoch, message, key: Some(key.clone()) };
        let first = First { ticket: Some(desk.persist(&self.id, record)), ..first };
        self.keys.update(&publish.user, key, first);
        first
    }

    /// Rights, then the user's limit, then the room's quota: nobody pays for a refusal of a later one.
    fn may_enter(&mut self, publish: &Publish, lane: Lane, now: Now) -> Result<(), Refusal> {
        let limited = |retry_ms| Refusal::RoomLimited { retry_ms };
        let Some(session) = publish.session else {
            // What the server API says on the lossless lanes is never turned away.
            return if lane.is_lossless() { Ok(()) } else { self.quota.admit(lane, now.mono).map_err(limited) };
        };
        may_write(&publish.user, &self.lists, &self.settings, now.unix)?;
        if !self.members.has(&publish.user, session) && !self.is_provisional() {
            return Err(Refusal::NotJoined);
        }
        match self.user_limits.wait_ms(&publish.user, now.mono) {
            0 => {}
            retry_ms => return Err(Refusal::UserLimited { retry_ms }),
        }
        self.quota.admit(lane, now.mono).map_err(limited)?;
        self.user_limits.take(&publish.user, now.mono);
        Ok(())
    }

    fn order(&mut self, publish: &Publish, lane: Lane, now: Now) -> Message {
        let message = Message {
            lane,
            seq: self.window.last()[lane] + 1,
            from: publish.user.clone(),
            kind: publish.kind.clone(),
            data: publish.data.clone(),
            at_ms: now.unix,
        };
        self.window.push(message.clone(), publish.key.clone(), now.unix);
        self.ordered += 1;
        self.idle_since = now.mono;
        // Not written: the numbers of what was said are.
        self.fleeting = false;
        message
    }

    fn answer(publish: &Publish, first: First, asker: Asker, desk: &mut Desk<'_>) {
        match publish.ack {
            Ack::Stored => {
                let until = desk.now.mono + desk.options.stored_within_ms;
                let asker = (asker, publish.key.is_some());
                desk.slot.answer_when_stored(first.ticket, first.stamp, asker, until, desk.out);
            }
            Ack::Accepted => {
                let stored = first.ticket.is_some() && desk.slot.is_stored(first.ticket);
                let receipt = Receipt { stamp: first.stamp, stored };
                desk.out.push(Output::Published { to: asker, result: Ok(receipt) });
            }
        }
    }

    pub(in crate::room) fn flush_if_due(&mut self, desk: &mut Desk<'_>) {
        if self.flush_at.is_some_and(|due| due <= desk.now.mono) {
            self.flush(desk.out);
        }
    }

    pub(super) fn flush(&mut self, out: &mut Vec<Output>) {
        self.flush_at = None;
        let last = self.window.last();
        if !self.relays.is_empty() {
            let segments = self.window.segments(self.flushed, last);
            out.extend(segments.into_iter().map(|Piece { segment, keys }| Output::Segment {
                relays: self.relays.clone(),
                segment,
                keys,
            }));
        }
        self.flushed = last;
    }

    /// Takes a message out for everybody.
    pub(in crate::room) fn delete(&mut self, stamp: Stamp, desk: &mut Desk<'_>) -> Result<(), Refusal> {
        let known = self.window.delete(stamp);
        let existed = match stamp.epoch {
            epoch if epoch == self.window.epoch() => stamp.seq <= self.window.last()[stamp.lane],
            epoch => self.seals.last(epoch).is_some_and(|last| stamp.seq <= last[stamp.lane]),
        };
        if stamp.seq == 0 || !(known || existed) {
            return Err(Refusal::NotFound("message"));
        }
        desk.persist(&self.id, Record::Deleted(stamp));
        desk.out.push(Output::Deleted { relays: self.relays.clone(), room: self.id.clone(), stamp });
        Ok(())
    }

    /// A relay wants the stream, from `cursor` or from now on.
    pub(in crate::room) fn subscribe(&mut self, relay: RelayNo, cursor: Option<Cursor>, desk: &mut Desk<'_>) {
        if let Err(at) = self.relays.binary_search(&relay) {
            self.relays.insert(at, relay);
        }
        let open = self.window.epoch();
        let (cursor, from) = match cursor {
            // From now on.
            None => (self.flushed(), self.flushed()),
            // A relay without a past takes all that is kept.
            Some(Cursor { epoch: Epoch::NONE, .. }) => (self.window.oldest(), self.window.oldest()),
            Some(cursor) if cursor.epoch < open => {
                self.learn_end(cursor.epoch, cursor.seq, desk);
                (cursor, cursor)
            }
            // A cursor ahead of the room stays behind what was flushed, or later messages would be skipped.
            Some(cursor) => {
                let mut seq = cursor.seq;
                for lane in Lane::ALL {
                    seq[lane] =
                        if cursor.epoch == open { seq[lane].min(self.flushed[lane]) } else { self.flushed[lane] };
                }
                (Cursor { epoch: open, seq }, Cursor { epoch: open, seq })
            }
        };
        let before = self.seals.epochs().filter(|epoch| *epoch < cursor.epoch);
        let sealed = before.filter_map(|epoch| self.seals.sealed(&self.id, epoch)).collect();
        desk.out.push(Output::Subscribed { relay, room: self.id.clone(), cursor, sealed });
        self.catch_up(relay, from, desk.out);
    }

    /// Sends one relay everything after its cursor; true if it may follow the stream from here.
    pub(in crate::room) fn catch_up(&self, relay: RelayNo, cursor: Cursor, out: &mut Vec<Output>) {
        for step in self.window.catch_up(cursor, self.flushed, &self.seals) {
            out.push(match step {
                Step::Piece(Piece { segment, keys }) => Output::Segment { relays: vec![relay], segment, keys },
                Step::Sealed(sealed) => Output::Sealed { relays: vec![relay], sealed },
            });
        }
    }

    pub(in crate::room) fn unsubscribe(&mut self, relay: RelayNo) {
        self.relays.retain(|other| *other != relay);
    }

    /// An older epoch ended there, or was seen up to there: raises the end that is told, and tells it again if so.
    pub(in crate::room) fn learn_end(&mut self, epoch: Epoch, last: Seqs, desk: &mut Desk<'_>) {
        for news in self.seals.learn(epoch, last) {
            self.persist_seal(news, desk);
            if let Some(sealed) = self.seals.sealed(&self.id, news) {
                desk.out.push(Output::Sealed { relays: self.relays.clone(), sealed });
            }
        }
    }

    pub(super) fn persist_seal(&self, epoch: Epoch, desk: &mut Desk<'_>) {
        if let Some(sealed) = self.seals.sealed(&self.id, epoch) {
            let (last, next_epoch) = (sealed.last, sealed.next_epoch);
            desk.persist(&self.id, Record::Sealed { epoch, last, next_epoch });
        }
    }
}
