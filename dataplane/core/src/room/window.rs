//! The ring of recent messages that a room keeps, and what a reader misses of it.
//!
//! Lanes 0-1 are kept for 10 minutes or 4 MiB, lanes 2-3 for a minute, so that a relay that fell behind or is new can be
//! served from its cursor. Whatever is not kept any more is declared as a gap: every number is a message or in a gap.

use std::collections::VecDeque;
use std::sync::Arc;

use super::seals::{Sealed, Seals};
use crate::{Cursor, Epoch, Gap, Lane, Message, Millis, RoomId, Segment, Seqs, Stamp};

/// A segment is cut at this weight: well under what a receiver takes in one message.
pub const MAX_SEGMENT_BYTES: usize = 512 * 1024;

/// How much is kept. Ages are counted from the time a message was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age of lanes 0-1.
    pub lossless_ms: u64,
    /// Weight of lanes 0-1 together.
    pub lossless_bytes: usize,
    /// Age of lanes 2-3.
    pub sampled_ms: u64,
    /// Weight of lanes 2-3 together.
    pub sampled_bytes: usize,
}

impl Default for Retention {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self { lossless_ms: 600_000, lossless_bytes: 4 * MIB, sampled_ms: 60_000, sampled_bytes: 4 * MIB }
    }
}

/// The idempotency key of a message, for whoever may own the room next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageKey {
    /// Lane of the message.
    pub lane: Lane,
    /// Its number.
    pub seq: u64,
    /// The key that its sender gave.
    pub key: Arc<str>,
}

/// Part of the stream of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Messages and gaps.
    pub segment: Segment,
    /// Keys of those messages that had one.
    pub keys: Vec<MessageKey>,
}

/// What a reader is told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Messages and gaps.
    Piece(Piece),
    /// An epoch ended.
    Sealed(Sealed),
}

/// Recent messages of one room, of the open epoch and of older ones. In memory; a new owner fills it from the log, from
/// relays or from its predecessor.
#[derive(Debug)]
pub struct Window {
    room: RoomId,
    retention: Retention,
    /// Oldest first; the last is the open one.
    older: VecDeque<EpochLog>,
    open: EpochLog,
    /// Weight of lanes 0-1 and of lanes 2-3.
    weight: [usize; 2],
}

#[derive(Debug)]
struct EpochLog {
    epoch: Epoch,
    /// Number of each lane before the first.
    start: Seqs,
    last: Seqs,
    lanes: [VecDeque<Kept>; Lane::COUNT],
}

#[derive(Debug)]
struct Kept {
    message: Message,
    key: Option<Arc<str>>,
}

impl Kept {
    fn weight(&self) -> usize {
        self.message.weight() + self.key.as_ref().map_or(0, |key| key.len())
    }
}

impl EpochLog {
    fn new(epoch: Epoch, start: Seqs) -> Self {
        Self { epoch, start, last: start, lanes: Default::default() }
    }

    #[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
    fn lane(&self, lane: Lane) -> &VecDeque<Kept> {
        &self.lanes[lane.index()]
    }

    #[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
    fn lane_mut(&mut self, lane: Lane) -> &mut VecDeque<Kept> {
        &mut self.lanes[lane.index()]
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Everything above `after` and up to `upto`, cut into segments; what is missing in between is declared.
    fn segments(&self, room: &RoomId, after: Seqs, upto: Seqs) -> Vec<Piece> {
        let empty = |after| Piece {
            segment: Segment { room: room.clone(), epoch: self.epoch, after, messages: vec![], gaps: vec![] },
            keys: vec![],
        };
        let mut done = Vec::new();
        let (mut open, mut weight) = (empty(after), 0);
        for lane in Lane::ALL {
            let mut next = after[lane] + 1;
            let kept = self.lane(lane);
            let first = kept.partition_point(|kept| kept.message.seq < next);
            for kept in kept.range(first..).take_while(|kept| kept.message.seq <= upto[lane]) {
                let seq = kept.message.seq;
                self.declare(&mut open.segment, lane, next, seq - 1);
                next = seq + 1;
                weight += kept.weight();
                open.segment.messages.push(kept.message.clone());
                open.keys.extend(kept.key.clone().map(|key| MessageKey { lane, seq, key }));
                if weight >= MAX_SEGMENT_BYTES {
                    let last = open.segment.last();
                    done.push(std::mem::replace(&mut open, empty(last)));
                    weight = 0;
                }
            }
            self.declare(&mut open.segment, lane, next, upto[lane]);
        }
        if !open.segment.messages.is_empty() || !open.segment.gaps.is_empty() {
            done.push(open);
        }
        done
    }

    fn declare(&self, segment: &mut Segment, lane: Lane, from: u64, to: u64) {
        if from <= to {
            segment.gaps.push(Gap { epoch: self.epoch, lane, from, to });
        }
    }
}

const fn pair(lane: Lane) -> usize {
    if lane.is_lossless() { 0 } else { 1 }
}

impl Window {
    /// An empty window whose open epoch goes on after `start`.
    #[must_use]
    pub fn new(room: &RoomId, epoch: Epoch, start: Seqs, retention: Retention) -> Self {
        let open = EpochLog::new(epoch, start);
        Self { room: room.clone(), retention, older: VecDeque::new(), open, weight: [0; 2] }
    }

    /// The open epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.open.epoch
    }

    /// The last number of each lane of the open epoch.
    #[must_use]
    pub fn last(&self) -> Seqs {
        self.open.last
    }

    /// Keeps the next message of its lane, numbered one above [`Self::last`].
    pub fn push(&mut self, message: Message, key: Option<Arc<str>>, unix: Millis) {
        let (lane, kept) = (message.lane, Kept { message, key });
        self.open.last[lane] = kept.message.seq;
        self.weigh(lane, kept.weight());
        self.open.lane_mut(lane).push_back(kept);
        self.trim(unix);
    }

    /// Keeps a message of an older epoch, in whatever order they come; false if it is known already.
    pub fn add_history(&mut self, epoch: Epoch, message: Message) -> bool {
        if epoch >= self.open.epoch {
            return false;
        }
        let at = self.older.partition_point(|log| log.epoch < epoch);
        if self.older.get(at).is_none_or(|log| log.epoch != epoch) {
            self.older.insert(at, EpochLog::new(epoch, Seqs::ZERO));
        }
        let Some(log) = self.older.get_mut(at) else { return false };
        let (lane, weight) = (message.lane, message.weight());
        log.last[lane] = log.last[lane].max(message.seq);
        let kept = log.lane_mut(lane);
        let place = kept.partition_point(|other| other.message.seq < message.seq);
        if kept.get(place).is_some_and(|other| other.message.seq == message.seq) {
            return false;
        }
        kept.insert(place, Kept { message, key: None });
        self.weigh(lane, weight);
        true
    }

    /// Messages of an older epoch that the window holds end here.
    pub fn ends(&self) -> impl Iterator<Item = (Epoch, Seqs)> {
        self.older.iter().map(|log| (log.epoch, log.last))
    }

    /// All messages kept, oldest epoch first, each lane in order.
    pub fn messages(&self) -> impl Iterator<Item = (Epoch, &Message)> {
        self.logs().flat_map(|log| log.lanes.iter().flatten().map(|kept| (log.epoch, &kept.message)))
    }

    /// A message that is kept.
    #[must_use]
    pub fn find(&self, stamp: Stamp) -> Option<&Message> {
        let is = |(epoch, message): &(Epoch, &Message)| {
            Stamp { epoch: *epoch, lane: message.lane, seq: message.seq } == stamp
        };
        self.messages().find(is).map(|(_, message)| message)
    }

    /// Takes a message out for good; its number becomes a gap. False if it is not kept.
    pub fn delete(&mut self, stamp: Stamp) -> bool {
        let mut logs = self.older.iter_mut().chain(std::iter::once(&mut self.open));
        let Some(log) = logs.find(|log| log.epoch == stamp.epoch) else { return false };
        let kept = log.lane_mut(stamp.lane);
        let Ok(at) = kept.binary_search_by_key(&stamp.seq, |kept| kept.message.seq) else { return false };
        let weight = kept.remove(at).map_or(0, |kept| kept.weight());
        self.unweigh(stamp.lane, weight);
        true
    }

    /// Segments of the open epoch after `after` and up to `upto`.
    #[must_use]
    pub fn segments(&self, after: Seqs, upto: Seqs) -> Vec<Piece> {
        self.open.segments(&self.room, after, upto)
    }

    /// Everything that a reader at `cursor` misses, up to `flushed` of the open epoch: older epochs as far as they are
    /// known, each followed by its end.
    #[must_use]
    pub fn catch_up(&self, cursor: Cursor, flushed: Seqs, seals: &Seals) -> Vec<Step> {
        let mut steps = Vec::new();
        for epoch in seals.epochs().filter(|epoch| *epoch >= cursor.epoch) {
            let Some(sealed) = seals.sealed(&self.room, epoch) else { continue };
            let nothing = EpochLog::new(epoch, Seqs::ZERO);
            let log = self.older.iter().find(|log| log.epoch == epoch).unwrap_or(&nothing);
            let after = if epoch == cursor.epoch { cursor.seq } else { log.start };
            let upto = sealed.last.max(after);
            steps.extend(log.segments(&self.room, after, upto).into_iter().map(Step::Piece));
            steps.push(Step::Sealed(sealed));
        }
        let after = if cursor.epoch == self.open.epoch { cursor.seq } else { self.open.start };
        steps.extend(self.segments(after, flushed).into_iter().map(Step::Piece));
        steps
    }

    /// A cursor just before the oldest message kept in the open epoch.
    #[must_use]
    pub fn oldest(&self) -> Cursor {
        let mut seq = self.open.last;
        for lane in Lane::ALL {
            if let Some(first) = self.open.lane(lane).front() {
                seq[lane] = first.message.seq - 1;
            }
        }
        Cursor { epoch: self.open.epoch, seq }
    }

    /// Lets go of what is too old or too much at `unix`.
    pub fn trim(&mut self, unix: Millis) {
        let Retention { lossless_ms, lossless_bytes, sampled_ms, sampled_bytes } = self.retention;
        self.trim_pair([Lane::Control, Lane::Protected], unix, lossless_ms, lossless_bytes);
        self.trim_pair([Lane::Normal, Lane::Low], unix, sampled_ms, sampled_bytes);
        while self.older.front().is_some_and(EpochLog::is_empty) {
            self.older.pop_front();
        }
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs().all(EpochLog::is_empty)
    }

    fn trim_pair(&mut self, lanes: [Lane; 2], unix: Millis, age_ms: u64, bytes: usize) {
        let [one, other] = lanes;
        for log in self.older.iter_mut().chain(std::iter::once(&mut self.open)) {
            loop {
                let front = |lane: Lane| log.lane(lane).front().map(|first| first.message.at_ms);
                let (lane, at_ms) = match (front(one), front(other)) {
                    (None, None) => break,
                    (Some(a), Some(b)) if b < a => (other, b),
                    (Some(a), _) => (one, a),
                    (None, Some(b)) => (other, b),
                };
                let Some(weight) = self.weight.get_mut(pair(lane)) else { return };
                if unix.since(at_ms) < age_ms && *weight <= bytes {
                    return;
                }
                let gone = log.lane_mut(lane).pop_front();
                *weight = weight.saturating_sub(gone.map_or(0, |kept| kept.weight()));
            }
        }
    }

    fn logs(&self) -> impl Iterator<Item = &EpochLog> {
        self.older.iter().chain(std::iter::once(&self.open))
    }

    fn weigh(&mut self, lane: Lane, weight: usize) {
        if let Some(total) = self.weight.get_mut(pair(lane)) {
            *total += weight;
        }
    }

    fn unweigh(&mut self, lane: Lane, weight: usize) {
        if let Some(total) = self.weight.get_mut(pair(lane)) {
            *total = total.saturating_sub(weight);
        }
    }
}

#[cfg(test)]
mod tests;
