//! What readers ask of a ring: everything since a cursor, the last few messages, one page of a lane.

use smallvec::SmallVec;

use super::packed::{ALL, Codec, Content, Packed, Sealed, clip, gaps, lesser, merged, reached};
use super::ring::{Item, Place, Placed, Ring};
use crate::{Cursor, Epoch, Gap, Lane, Message, Seqs};

/// Most messages of one history or pull.
pub const MAX_MESSAGES: usize = 200;
/// Most bytes of one history or pull, as messages weigh; a single message is given whatever it weighs. What is asked for and
/// not read waits in a gateway: this, and not what a room holds, is what it may cost there. [`Ring::catch_up`] has bounds of
/// its own.
pub const MAX_BYTES: usize = 128 * 1024;
/// Histories kept: joins of one tick ask for the same one.
const CACHED_HISTORIES: usize = 4;

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cursor lies ahead of everything known.
    #[error("the cursor lies in the future of the room; join without `since`")]
    Future,
    /// The room never had the epoch, as far as anyone here knows.
    #[error("the room never had this epoch; join without `since`")]
    UnknownEpoch,
    /// A pull names an epoch that the room has not come to.
    #[error("the room has no such epoch")]
    NoEpoch,
    /// Nobody who knows the room can be reached right now.
    #[error("the room cannot be reached right now; try again")]
    Unavailable,
}

/// Everything between two cursors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Oldest first. What lies between two of them is in `gaps`.
    pub segments: Vec<Packed>,
    /// Ends of the epochs on the way, oldest first.
    pub sealed: Vec<Sealed>,
    /// What is not delivered, beside what the segments declare themselves.
    pub gaps: Vec<Gap>,
    /// Lanes 0-1 are complete; lanes 2-3 delivered or declared.
    pub recovered: bool,
    /// Where the reader stands now.
    pub cursor: Cursor,
}

/// One page of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The epoch that was read.
    pub epoch: Epoch,
    /// Messages of the lane, and its numbers between them that are not there.
    pub content: Content,
}

/// The last answers to [`Ring::history`].
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryCache(SmallVec<[(usize, Cursor, Vec<Packed>); 1]>);

impl Ring {
    /// Everything behind `since` and up to `until` (none: the head), each number once: in a segment or in a gap.
    ///
    /// Errors: [`ReadError::Future`] if `since` or `until` lies ahead of the log (it may catch up in a moment),
    /// [`ReadError::UnknownEpoch`].
    pub fn catch_up<C: Codec>(
        &mut self,
        since: Cursor,
        until: Option<Cursor>,
        codec: &C,
    ) -> Result<CaughtUp, ReadError> {
        let until = until.unwrap_or(self.head);
        if matches!(self.place(until), Place::Ahead) {
            return Err(ReadError::Future);
        }
        let placed = match self.place(since) {
            Place::At(placed) => placed,
            Place::Ahead => return Err(ReadError::Future),
            Place::Unknown => return Err(ReadError::UnknownEpoch),
        };
        let mut found = CaughtUp { cursor: later(since, until), ..CaughtUp::default() };
        found.gaps.extend(placed.gaps.iter().filter_map(|gap| before(*gap, until)));
        found.sealed.extend(placed.sealed.iter().filter(|sealed| sealed.epoch < until.epoch));
        let complete = self.collect(&placed, until, &mut found, codec);
        found.gaps = merged(found.gaps);
        found.recovered = complete && !found.gaps.iter().any(|gap| gap.lane.is_lossless());
        Ok(found)
    }

    /// Walks the log from newest to oldest, so that the newest of lanes 2-3 are the ones delivered. Says whether lanes
    /// 0-1 of the segments are complete.
    fn collect<C: Codec>(&mut self, placed: &Placed, until: Cursor, found: &mut CaughtUp, codec: &C) -> bool {
        let (mut left, mut lossless_left) = (self.limits.catch_up_bytes, self.limits.catch_up_lossless_bytes);
        let mut complete = true;
        let skip = usize::try_from(placed.id - self.first).unwrap_or(usize::MAX);
        let mut sealed = Vec::new();
        for entry in self.entries.iter_mut().skip(skip).rev() {
            match &mut entry.item {
                Item::Sealed(end) if end.epoch < until.epoch => sealed.push(*end),
                Item::Sealed(_) => {}
                Item::Segment { packed, complete: known, deleted } => {
                    let Some((from, to)) = span(packed, placed.cursor, until) else { continue };
                    // Whoever does not read what it asked for holds it in a gateway: that must not be all that a room has.
                    let left = if packed.has_lossless() { &mut lossless_left } else { &mut left };
                    *left = left.saturating_sub(packed.body.len());
                    if *left == 0 {
                        found.gaps.extend(gaps(packed.epoch, from.max(packed.after), lesser(packed.last, to)));
                        continue;
                    }
                    complete &= *known.get_or_insert_with(|| {
                        let content = Self::content(packed, codec);
                        content.gaps.iter().all(|gap| !gap.lane.is_lossless() || is_deleted(gap, deleted))
                    });
                    let whole = reached(packed.after, from) && reached(to, packed.last);
                    found.segments.push(if whole { packed.clone() } else { packed.cut(from, to, codec) });
                }
            }
        }
        found.segments.reverse();
        found.sealed.extend(sealed.into_iter().rev());
        complete
    }

    /// The last `limit` messages of lanes 0-2 up to `until` (none: the head), oldest first, one segment an epoch. Such a
    /// segment is a selection: `after` is the number before its first message of a lane, and holes are not declared.
    pub fn history<C: Codec>(&mut self, limit: usize, until: Option<Cursor>, codec: &C) -> Vec<Packed> {
        let (limit, until) = (limit.min(MAX_MESSAGES), until.unwrap_or(self.head));
        if let Some((_, _, known)) = self.history.0.iter().find(|(l, u, _)| (*l, *u) == (limit, until)) {
            return known.clone();
        }
        let mut newest: Vec<(Epoch, Message)> = Vec::with_capacity(limit);
        let mut bytes = 0;
        'log: for entry in self.entries.iter().rev() {
            if newest.len() >= limit {
                break;
            }
            let Item::Segment { packed, .. } = &entry.item else { continue };
            let Some((_, to)) = span(packed, Cursor::default(), until) else { continue };
            let messages = Self::content(packed, codec).messages;
            let wanted = messages.into_iter().rev().filter(|m| m.lane != Lane::Low && m.seq <= to[m.lane]);
            for message in wanted.take(limit - newest.len()) {
                bytes += message.weight();
                if bytes > MAX_BYTES && !newest.is_empty() {
                    break 'log;
                }
                newest.push((packed.epoch, message));
            }
        }
        newest.reverse();
        let segments = self.selection(&newest, codec);
        if self.history.0.len() >= CACHED_HISTORIES {
            self.history.0.remove(0);
        }
        self.history.0.push((limit, until, segments.clone()));
        segments
    }

    fn selection<C: Codec>(&self, messages: &[(Epoch, Message)], codec: &C) -> Vec<Packed> {
        let mut segments = Vec::new();
        for part in messages.chunk_by(|a, b| a.0 == b.0) {
            let (mut after, mut last) = (ALL, Seqs::ZERO);
            for (_, message) in part {
                after[message.lane] = after[message.lane].min(message.seq - 1);
                last[message.lane] = last[message.lane].max(message.seq);
            }
            for lane in Lane::ALL {
                after[lane] = after[lane].min(last[lane]);
            }
            let content = Content { messages: part.iter().map(|(_, m)| m.clone()).collect(), ..Content::default() };
            let epoch = part.first().map_or(Epoch::NONE, |(epoch, _)| *epoch);
            segments.push(Packed { room: self.room.clone(), epoch, after, last, body: codec.close(&content) });
        }
        segments
    }

    /// Whether a history of `limit` would be cut short by the start of the log rather than by that of the room, as far as
    /// numbers tell.
    #[must_use]
    pub fn is_short_of(&self, limit: usize) -> bool {
        let begins = Cursor { epoch: self.oldest_epoch(), seq: Seqs::ZERO };
        if self.start == begins {
            return false;
        }
        let numbers = |after: Seqs, last: Seqs| {
            let lanes = [Lane::Control, Lane::Protected, Lane::Normal];
            lanes.into_iter().map(|lane| last[lane].saturating_sub(after[lane])).sum::<u64>()
        };
        let behind = |epoch: Epoch| if epoch == self.start.epoch { self.start.seq } else { Seqs::ZERO };
        let ended = self.ends.range(self.start.epoch..self.head.epoch);
        let older: u64 = ended.map(|(epoch, end)| numbers(behind(*epoch), end.last)).sum();
        older + numbers(behind(self.head.epoch), self.head.seq) < limit.min(MAX_MESSAGES) as u64
    }

    /// Up to `limit` messages and [`MAX_BYTES`] of one lane behind `after`, of `epoch` (zero: the current one). Numbers that
    /// are not there are declared.
    ///
    /// Errors: [`ReadError::Future`] if `after` is ahead of the room, [`ReadError::NoEpoch`], [`ReadError::UnknownEpoch`].
    pub fn pull<C: Codec>(
        &self,
        epoch: Epoch,
        lane: Lane,
        after: u64,
        limit: usize,
        codec: &C,
    ) -> Result<Page, ReadError> {
        let epoch = if epoch == Epoch::NONE { self.head.epoch } else { epoch };
        if epoch > self.head.epoch {
            return Err(ReadError::NoEpoch);
        }
        let bound = self.bound(epoch, lane).ok_or(ReadError::UnknownEpoch)?;
        if epoch == self.head.epoch && after > bound {
            return Err(ReadError::Future);
        }
        let mut content = Content::default();
        let mut next = after.saturating_add(1);
        let (limit, mut bytes) = (limit.clamp(1, MAX_MESSAGES), 0);
        let missing = |from, to| Gap { epoch, lane, from, to };
        for entry in &self.entries {
            let Item::Segment { packed, .. } = &entry.item else { continue };
            if packed.epoch != epoch || packed.last[lane] < next || packed.last[lane] == packed.after[lane] {
                continue;
            }
            for message in Self::content(packed, codec).messages {
                if message.lane != lane || message.seq < next {
                    continue;
                }
                bytes += message.weight();
                if content.messages.len() == limit || (bytes > MAX_BYTES && !content.messages.is_empty()) {
                    return Ok(Page { epoch, content });
                }
                if message.seq > next {
                    content.gaps.push(missing(next, message.seq - 1));
                }
                next = message.seq + 1;
                content.messages.push(message);
            }
        }
        if next <= bound && content.messages.len() < limit {
            content.gaps.push(missing(next, bound));
        }
        Ok(Page { epoch, content })
    }

    /// The last known number of a lane in an epoch; none if the epoch is unknown.
    fn bound(&self, epoch: Epoch, lane: Lane) -> Option<u64> {
        if epoch == self.head.epoch {
            return Some(self.head.seq[lane]);
        }
        let end = self.ends.get(&epoch).map(|end| end.last[lane]);
        if epoch == self.start.epoch { Some(end.unwrap_or_default().max(self.start.seq[lane])) } else { end }
    }
}

/// The part of a segment that a reader from `from` to `until` takes, none if there is nothing of it.
fn span(packed: &Packed, from: Cursor, until: Cursor) -> Option<(Seqs, Seqs)> {
    if packed.epoch > until.epoch || packed.epoch < from.epoch {
        return None;
    }
    let low = if packed.epoch == from.epoch { from.seq } else { Seqs::ZERO };
    let high = if packed.epoch == until.epoch { until.seq } else { ALL };
    let any = Lane::ALL.into_iter().any(|lane| packed.after[lane].max(low[lane]) < packed.last[lane].min(high[lane]));
    any.then_some((low, high))
}

/// The part of a gap that lies before `until`.
fn before(gap: Gap, until: Cursor) -> Option<Gap> {
    match gap.epoch.cmp(&until.epoch) {
        std::cmp::Ordering::Less => Some(gap),
        std::cmp::Ordering::Equal => clip(gap, Seqs::ZERO, until.seq),
        std::cmp::Ordering::Greater => None,
    }
}

/// Where a reader stands who had `since` and was given everything up to `until`.
fn later(since: Cursor, until: Cursor) -> Cursor {
    match since.epoch.cmp(&until.epoch) {
        std::cmp::Ordering::Less => until,
        std::cmp::Ordering::Equal => Cursor { epoch: until.epoch, seq: since.seq.max(until.seq) },
        std::cmp::Ordering::Greater => since,
    }
}

fn is_deleted(gap: &Gap, deleted: &[(Lane, u64)]) -> bool {
    (gap.from..=gap.to).all(|seq| deleted.contains(&(gap.lane, seq)))
}
