//! The ring: what a relay keeps of one room, as a log of segments and seals.
//!
//! The log has no holes: each segment begins where the one before ended, an epoch is sealed before the next begins, and
//! what was never received stands in it as a declared gap. So a reader at any cursor is either inside the log, or before
//! its start and told by gaps and seals what it missed, or ahead of it.
//!
//! Lanes 0-1 stay 10 minutes or 4 MiB, lanes 2-3 one minute; all figures are [`Limits`].

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

use super::fill::Part;
use super::packed::{ALL, Codec, Content, OVERHEAD_BYTES, Packed, Sealed, gaps, reached};
use super::read::HistoryCache;
use crate::{Cursor, Epoch, Gap, Lane, Millis, RoomId, Seqs};

/// Ends of epochs that a ring remembers after their segments are gone.
const MAX_ENDS: usize = 64;
/// Number of the first entry of a ring; older ones may be put before it.
const FIRST_ID: u64 = 1 << 40;

/// How much is kept of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest age of lanes 0-1.
    pub lossless_ms: u64,
    /// Bytes for what is older than `sampled_ms`.
    pub lossless_bytes: usize,
    /// Longest age of lanes 2-3.
    pub sampled_ms: u64,
    /// Bytes for everything.
    pub room_bytes: usize,
    /// A ring as small as this keeps lanes 2-3 as long as lanes 0-1, so that a quiet room has a history.
    pub quiet_bytes: usize,
    /// Bytes of lanes 2-3 that one catch-up delivers at most, the newest; the rest is declared.
    pub catch_up_bytes: usize,
    /// Bytes of segments with lanes 0-1 that one catch-up delivers at most, the newest; older ones are declared, and can be
    /// pulled.
    pub catch_up_lossless_bytes: usize,
}

impl Default for Limits {
    /// 10 minutes or 4 MiB of lanes 0-1, 60 s of lanes 2-3 (10 minutes below 64 KiB), 16 MiB a room; 256 KiB of lanes 2-3
    /// and 1 MiB with lanes 0-1 for a reader that comes back.
    fn default() -> Self {
        Self {
            lossless_ms: 600_000,
            lossless_bytes: 4 << 20,
            sampled_ms: 60_000,
            room_bytes: 16 << 20,
            quiet_bytes: 64 << 10,
            catch_up_bytes: 256 << 10,
            catch_up_lossless_bytes: 1 << 20,
        }
    }
}

/// What became of a segment offered to a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It continues the log, perhaps after its known part was cut off.
    New,
    /// All of it was known.
    Duplicate,
    /// Of an epoch that ended.
    Stale,
    /// Numbers before it are missing.
    Hole,
    /// Of an epoch that begins before the one before it was sealed.
    Unsealed,
}

/// Where a cursor stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Inside, or before its start.
    At(Placed),
    /// Ahead of the log.
    Ahead,
    /// In an epoch that the ring never heard of.
    Unknown,
}

/// A place in the log and what lies between it and the cursor that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Number of the first entry to read.
    pub(crate) id: u64,
    /// The stream goes on after this.
    pub cursor: Cursor,
    /// Numbers between the asked cursor and this one: no longer here.
    pub gaps: Vec<Gap>,
    /// Ends of the epochs before that of `cursor`.
    pub sealed: Vec<Sealed>,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When it came.
    at: Millis,
    /// Where a reader stands after it.
    pub(crate) pos: Cursor,
    pub(crate) item: Item,
    /// Its sampled lanes have aged out; it counts against `lossless_bytes`.
    old: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Segment {
        packed: Packed,
        /// Whether lanes 0-1 are complete; none: nobody has looked yet.
        complete: Option<bool>,
        /// Numbers that were deleted: missing on purpose.
        deleted: SmallVec<[(Lane, u64); 1]>,
    },
    Sealed(Sealed),
}

impl Entry {
    fn weight(&self) -> usize {
        match &self.item {
            Item::Segment { packed, .. } => packed.weight(),
            Item::Sealed(_) => OVERHEAD_BYTES,
        }
    }
}

/// The log of one room. Lost on a restart and rebuilt from the room's owner.
#[derive(Debug)]
pub struct Ring {
    pub(crate) room: RoomId,
    pub(crate) limits: Limits,
    /// Where a reader stands before the first entry.
    pub(crate) start: Cursor,
    /// Where a reader stands after the last.
    pub(crate) head: Cursor,
    pub(crate) entries: VecDeque<Entry>,
    /// Number of the first entry; the others follow without holes.
    pub(crate) first: u64,
    /// Entries before this number were looked at for aged lanes.
    aged: u64,
    bytes: usize,
    old_bytes: usize,
    /// It began later than it does now: what lies before it was here and is gone.
    pub(crate) dropped: bool,
    pub(crate) ends: BTreeMap<Epoch, Sealed>,
    pub(crate) history: HistoryCache,
}

impl Ring {
    /// A ring that begins after `start`.
    #[must_use]
    pub fn new(room: RoomId, start: Cursor, limits: Limits) -> Self {
        Self {
            room,
            limits,
            start,
            head: start,
            entries: VecDeque::new(),
            first: FIRST_ID,
            aged: FIRST_ID,
            bytes: 0,
            old_bytes: 0,
            dropped: false,
            ends: BTreeMap::new(),
            history: HistoryCache::default(),
        }
    }

    /// Where the log ends.
    #[must_use]
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// Where the log begins.
    #[must_use]
    pub fn start(&self) -> Cursor {
        self.start
    }

    /// What is kept, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every end of an epoch that is known, oldest first.
    pub fn ends(&self) -> impl Iterator<Item = Sealed> {
        self.ends.values().copied()
    }

    /// Number of the entry that comes next.
    pub(crate) fn next_id(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The entry of a number; none below the start or after the head.
    pub(crate) fn entry(&self, id: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(id.checked_sub(self.first)?).ok()?)
    }

    /// Offers a segment. Only what continues the log is kept; a stamp never gets a second content.
    pub fn take<C: Codec>(&mut self, segment: Packed, now: Millis, codec: &C) -> Taken {
        if segment.epoch != self.head.epoch {
            return if segment.epoch < self.head.epoch { Taken::Stale } else { Taken::Unsealed };
        }
        if reached(self.head.seq, segment.last) {
            return Taken::Duplicate;
        }
        if !reached(self.head.seq, segment.after) {
            return Taken::Hole;
        }
        let segment = if segment.after == self.head.seq { segment } else { segment.cut(self.head.seq, ALL, codec) };
        self.append(segment, None, now);
        self.expire(now, codec);
        Taken::New
    }

    /// Declares everything up to `last` of the current epoch missing.
    pub fn skip<C: Codec>(&mut self, last: Seqs, now: Millis, codec: &C) {
        if !reached(self.head.seq, last) {
            let packed = Packed::declared(self.room.clone(), self.head.epoch, self.head.seq, last, codec);
            let complete = !packed.has_lossless();
            self.append(packed, Some(complete), now);
        }
    }

    /// Notes the end of an epoch. Says whether readers must hear of it: the first time, or because `last` grew.
    ///
    /// What is missing of the current epoch up to `last` is declared first. None: an epoch lies between the log and it.
    pub fn seal<C: Codec>(&mut self, sealed: Sealed, now: Millis, codec: &C) -> Option<bool> {
        if sealed.epoch > self.head.epoch {
            return None;
        }
        if sealed.next <= sealed.epoch {
            return Some(false);
        }
        let known = self.ends.get(&sealed.epoch).copied();
        if sealed.epoch < self.head.epoch && known.is_some_and(|known| reached(known.last, sealed.last)) {
            return Some(false);
        }
        let sealed = known.map_or(sealed, |known| Sealed {
            last: known.last.max(sealed.last),
            next: known.next.min(sealed.next),
            ..sealed
        });
        if sealed.epoch == self.head.epoch {
            self.skip(sealed.last, now, codec);
            self.head = Cursor { epoch: sealed.next, seq: Seqs::ZERO };
        }
        self.note_end(sealed);
        self.push(Entry { at: now, pos: self.head, item: Item::Sealed(sealed), old: false });
        Some(true)
    }

    /// Remembers an end without telling readers: they were told elsewhere.
    pub(crate) fn note_end(&mut self, sealed: Sealed) {
        self.ends.insert(sealed.epoch, sealed);
        while self.ends.len() > MAX_ENDS {
            self.ends.pop_first();
        }
    }

    /// Puts what begins behind `from` before the log: segments and ends without a hole, up to the log's start, or nothing
    /// happens.
    pub(crate) fn prepend(&mut self, from: Cursor, parts: Vec<Part>, now: Millis) -> bool {
        let after = |part: &Part| match part {
            Part::Segment(packed) => Cursor { epoch: packed.epoch, seq: packed.last },
            Part::Sealed(end) => Cursor { epoch: end.next, seq: Seqs::ZERO },
        };
        if parts.last().map(after) != Some(self.start) {
            return false;
        }
        for part in parts.into_iter().rev() {
            let pos = after(&part);
            let item = match part {
                Part::Segment(packed) => Item::Segment { packed, complete: None, deleted: SmallVec::new() },
                Part::Sealed(end) => Item::Sealed(end),
            };
            let entry = Entry { at: now, pos, item, old: false };
            self.bytes += entry.weight();
            self.entries.push_front(entry);
            self.first -= 1;
        }
        self.start = from;
        self.aged = self.first;
        self.history = HistoryCache::default();
        true
    }

    /// The oldest epoch that the log knows of.
    pub(crate) fn oldest_epoch(&self) -> Epoch {
        self.ends.keys().next().map_or(self.start.epoch, |epoch| self.start.epoch.min(*epoch))
    }

    /// Finds the place of a cursor.
    #[must_use]
    pub fn place(&self, cursor: Cursor) -> Place {
        let Cursor { epoch, seq } = cursor;
        if epoch > self.head.epoch || (epoch == self.head.epoch && !reached(self.head.seq, seq)) {
            return Place::Ahead;
        }
        if epoch != self.head.epoch && epoch != self.start.epoch && !self.ends.contains_key(&epoch) {
            return Place::Unknown;
        }
        Place::At(if epoch < self.start.epoch { self.before_start(cursor) } else { self.inside(cursor) })
    }

    /// A cursor in an epoch of which nothing is kept: its end is known, and that of every epoch up to the start.
    fn before_start(&self, cursor: Cursor) -> Placed {
        let sealed: Vec<_> = self.ends.range(cursor.epoch..self.start.epoch).map(|(_, sealed)| *sealed).collect();
        let mut missing = Vec::new();
        for end in &sealed {
            let from = if end.epoch == cursor.epoch { cursor.seq } else { Seqs::ZERO };
            missing.extend(gaps(end.epoch, from, end.last));
        }
        missing.extend(gaps(self.start.epoch, Seqs::ZERO, self.start.seq));
        Placed { id: self.first, cursor: self.start, gaps: missing, sealed }
    }

    fn inside(&self, cursor: Cursor) -> Placed {
        let start = if cursor.epoch == self.start.epoch { self.start.seq } else { Seqs::ZERO };
        let at = Cursor { epoch: cursor.epoch, seq: cursor.seq.max(start) };
        let behind = |entry: &Entry| {
            entry.pos.epoch < at.epoch || (entry.pos.epoch == at.epoch && reached(at.seq, entry.pos.seq))
        };
        let index = self.entries.partition_point(behind);
        let missing = gaps(cursor.epoch, cursor.seq, start).collect();
        Placed { id: self.first + index as u64, cursor: at, gaps: missing, sealed: Vec::new() }
    }

    /// Takes a message out of what is kept; its number is declared from then on. Says whether it was there.
    pub fn delete<C: Codec>(&mut self, epoch: Epoch, lane: Lane, seq: u64, codec: &C) -> bool {
        self.history = HistoryCache::default();
        let Some(index) = self.entries.iter().position(|entry| match &entry.item {
            Item::Segment { packed, .. } => {
                packed.epoch == epoch && packed.after[lane] < seq && seq <= packed.last[lane]
            }
            Item::Sealed(_) => false,
        }) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(index) else { return false };
        let before = entry.weight();
        let Item::Segment { packed, deleted, .. } = &mut entry.item else { return false };
        let mut content = codec.open(&packed.body).unwrap_or_else(|| packed.unreadable());
        let count = content.messages.len();
        content.messages.retain(|message| (message.lane, message.seq) != (lane, seq));
        if content.messages.len() == count {
            return false;
        }
        content.gaps.push(Gap { epoch, lane, from: seq, to: seq });
        packed.body = codec.close(&content);
        deleted.push((lane, seq));
        let (after, old) = (entry.weight(), entry.old);
        self.bytes = self.bytes + after - before;
        if old {
            self.old_bytes = self.old_bytes + after - before;
        }
        true
    }

    /// Drops what is too old or too much. Called on every append; a quiet room is visited by its relay now and then.
    pub fn expire<C: Codec>(&mut self, now: Millis, codec: &C) {
        self.age(now, codec);
        while let Some(front) = self.entries.front() {
            let age = now.since(front.at);
            let stays = self.bytes <= self.limits.quiet_bytes
                || matches!(&front.item, Item::Segment { packed, .. } if packed.has_lossless());
            let over = self.old_bytes > self.limits.lossless_bytes || self.bytes > self.limits.room_bytes;
            if !over && age <= if stays { self.limits.lossless_ms } else { self.limits.sampled_ms } {
                break;
            }
            self.drop_front();
        }
    }

    /// Drops the older half: the Pod as a whole keeps too much.
    pub(crate) fn halve(&mut self) {
        let goal = self.bytes / 2;
        while self.bytes > goal && !self.entries.is_empty() {
            self.drop_front();
        }
    }

    /// Takes lanes 2-3 out of segments whose time for them is over.
    fn age<C: Codec>(&mut self, now: Millis, codec: &C) {
        while self.bytes > self.limits.quiet_bytes {
            let index = usize::try_from(self.aged.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let Some(entry) = self.entries.get_mut(index) else { break };
            if now.since(entry.at) <= self.limits.sampled_ms {
                break;
            }
            if !entry.old {
                let before = entry.weight();
                if let Item::Segment { packed, .. } = &mut entry.item
                    && packed.has_sampled()
                {
                    *packed = packed.stripped(codec);
                }
                entry.old = true;
                self.bytes = self.bytes + entry.weight() - before;
                self.old_bytes += entry.weight();
            }
            self.aged += 1;
        }
    }

    fn drop_front(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.first += 1;
        self.dropped = true;
        self.aged = self.aged.max(self.first);
        self.start = entry.pos;
        self.bytes -= entry.weight();
        if entry.old {
            self.old_bytes -= entry.weight();
        }
    }

    fn append(&mut self, packed: Packed, complete: Option<bool>, now: Millis) {
        self.head.seq = packed.last;
        let item = Item::Segment { packed, complete, deleted: SmallVec::new() };
        self.push(Entry { at: now, pos: self.head, item, old: false });
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.weight();
        self.entries.push_back(entry);
    }

    /// The newest segments of the log within `bytes`, oldest first.
    #[must_use]
    pub fn tail(&self, bytes: usize) -> Vec<Packed> {
        let mut left = bytes;
        let mut tail = Vec::new();
        for entry in self.entries.iter().rev() {
            if let Item::Segment { packed, .. } = &entry.item {
                let Some(rest) = left.checked_sub(packed.weight()) else { break };
                left = rest;
                tail.push(packed.clone());
            }
        }
        tail.reverse();
        tail
    }

    /// Everything that was seen: the end of the current epoch, and of each older one as far as it is known.
    #[must_use]
    pub fn seen(&self) -> Vec<Cursor> {
        let mut seen: BTreeMap<Epoch, Seqs> = self.ends.values().map(|end| (end.epoch, end.last)).collect();
        for entry in &self.entries {
            if let Item::Segment { packed, .. } = &entry.item {
                let last = seen.entry(packed.epoch).or_default();
                *last = last.max(packed.last);
            }
        }
        let head = seen.entry(self.head.epoch).or_default();
        *head = head.max(self.head.seq);
        seen.into_iter().map(|(epoch, seq)| Cursor { epoch, seq }).collect()
    }

    /// Opens an entry's body.
    pub(crate) fn content<C: Codec>(packed: &Packed, codec: &C) -> Content {
        codec.open(&packed.body).unwrap_or_else(|| packed.unreadable())
    }
}
