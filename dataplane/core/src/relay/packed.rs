//! A segment as relays carry it: its numbers in the open, its messages a closed envelope.
//!
//! Passing a segment on costs no decoding and no copy of its messages. The envelope is opened only where a reader asks
//! for a part of it, where sampled lanes have aged out, or where a message was deleted.

use bytes::Bytes;

use crate::{Epoch, Gap, Lane, Message, RoomId, Seqs};

/// What a kept segment costs beside its body, in bytes: numbers, name, place in the ring.
pub(crate) const OVERHEAD_BYTES: usize = 160;
/// Every number of every lane.
pub(crate) const ALL: Seqs = Seqs([u64::MAX; Lane::COUNT]);

/// The end of an epoch: its numbers stop at `last`, the room goes on in `next` at number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// The epoch that ended.
    pub epoch: Epoch,
    /// Its last number, a lane. May grow when it is told again, never shrink.
    pub last: Seqs,
    /// The epoch after it.
    pub next: Epoch,
}

/// One segment, unopened. For each lane it delivers or declares all numbers `after[lane] + 1 ..= last[lane]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The room.
    pub room: RoomId,
    /// The claim under which it was ordered.
    pub epoch: Epoch,
    /// The numbers before the first of each lane.
    pub after: Seqs,
    /// The last number of each lane, not below `after`.
    pub last: Seqs,
    /// The messages, as the owner of the room encoded them. Shared, never copied.
    pub body: Bytes,
}

/// An opened segment body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The messages, in the order of delivery.
    pub messages: Vec<Message>,
    /// Numbers that are not there.
    pub gaps: Vec<Gap>,
    /// Idempotency keys of messages that had one, for an owner that takes over; readers do not look at them.
    pub keys: Vec<(Lane, u64, String)>,
}

/// The form of bodies on the wire; the core does not know it.
pub trait Codec {
    /// Reads a body, none if it does not read.
    fn open(&self, body: &Bytes) -> Option<Content>;
    /// Writes a body.
    fn close(&self, content: &Content) -> Bytes;
}

impl Packed {
    /// What it costs to keep or to send, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.len() + OVERHEAD_BYTES
    }

    /// How many numbers it spans: messages and declared ones.
    #[must_use]
    pub fn numbers(&self) -> u64 {
        Lane::ALL.into_iter().map(|lane| self.last[lane].saturating_sub(self.after[lane])).sum()
    }

    /// Whether it has numbers of lanes 0-1.
    #[must_use]
    pub fn has_lossless(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| lane.is_lossless() && self.last[lane] > self.after[lane])
    }

    /// Whether it has numbers of lanes 2-3.
    #[must_use]
    pub fn has_sampled(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| !lane.is_lossless() && self.last[lane] > self.after[lane])
    }

    /// A segment without messages that declares every number it spans.
    #[must_use]
    pub fn declared<C: Codec>(room: RoomId, epoch: Epoch, after: Seqs, last: Seqs, codec: &C) -> Self {
        let content = Content { gaps: gaps(epoch, after, last).collect(), ..Content::default() };
        Self { room, epoch, after, last: after.max(last), body: codec.close(&content) }
    }

    /// The part of it behind `from` and up to `to`. A body that does not read is declared lost.
    #[must_use]
    pub fn cut<C: Codec>(&self, from: Seqs, to: Seqs, codec: &C) -> Self {
        let after = self.after.max(from);
        let last = lesser(self.last, to).max(after);
        let content = codec.open(&self.body).unwrap_or_else(|| self.unreadable());
        let kept = content.messages.into_iter().filter(|m| m.seq > after[m.lane] && m.seq <= last[m.lane]).collect();
        let gaps = content.gaps.into_iter().filter_map(|gap| clip(gap, after, last)).collect();
        let keys =
            content.keys.into_iter().filter(|(lane, seq, _)| *seq > after[*lane] && *seq <= last[*lane]).collect();
        let body = codec.close(&Content { messages: kept, gaps, keys });
        Self { room: self.room.clone(), epoch: self.epoch, after, last, body }
    }

    /// Itself without the messages of lanes 2-3, whose numbers it declares instead.
    #[must_use]
    pub(crate) fn stripped<C: Codec>(&self, codec: &C) -> Self {
        let content = codec.open(&self.body).unwrap_or_else(|| self.unreadable());
        let messages = content.messages.into_iter().filter(|m| m.lane.is_lossless()).collect();
        let lossless = content.gaps.into_iter().filter(|gap| gap.lane.is_lossless());
        let sampled = gaps(self.epoch, self.after, self.last).filter(|gap| !gap.lane.is_lossless());
        let keys = content.keys.into_iter().filter(|(lane, ..)| lane.is_lossless()).collect();
        let body = codec.close(&Content { messages, gaps: lossless.chain(sampled).collect(), keys });
        Self { body, ..self.clone() }
    }

    /// What a body that does not read stands for: everything missing.
    pub(crate) fn unreadable(&self) -> Content {
        Content { gaps: gaps(self.epoch, self.after, self.last).collect(), ..Content::default() }
    }
}

/// Whether a reader at `at` has everything up to `goal` behind it.
pub(crate) fn reached(at: Seqs, goal: Seqs) -> bool {
    Lane::ALL.into_iter().all(|lane| at[lane] >= goal[lane])
}

/// The smaller number of each lane.
pub(crate) fn lesser(a: Seqs, b: Seqs) -> Seqs {
    let mut lesser = a;
    for lane in Lane::ALL {
        lesser[lane] = a[lane].min(b[lane]);
    }
    lesser
}

/// The numbers `after + 1 ..= last` of each lane as gaps.
pub(crate) fn gaps(epoch: Epoch, after: Seqs, last: Seqs) -> impl Iterator<Item = Gap> {
    Lane::ALL.into_iter().filter(move |lane| last[*lane] > after[*lane]).map(move |lane| Gap {
        epoch,
        lane,
        from: after[lane] + 1,
        to: last[lane],
    })
}

/// The part of a gap behind `after` and up to `last`.
pub(crate) fn clip(gap: Gap, after: Seqs, last: Seqs) -> Option<Gap> {
    let (from, to) = (gap.from.max(after[gap.lane].saturating_add(1)), gap.to.min(last[gap.lane]));
    (from <= to).then_some(Gap { from, to, ..gap })
}

/// The same numbers in as few gaps as possible, sorted.
pub(crate) fn merged(mut gaps: Vec<Gap>) -> Vec<Gap> {
    gaps.sort_unstable_by_key(|gap| (gap.epoch, gap.lane, gap.from, gap.to));
    let mut merged: Vec<Gap> = Vec::with_capacity(gaps.len());
    for gap in gaps {
        match merged.last_mut() {
            Some(last) if (last.epoch, last.lane) == (gap.epoch, gap.lane) && gap.from <= last.to.saturating_add(1) => {
                last.to = last.to.max(gap.to);
            }
            _ => merged.push(gap),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Plain, packed};
    use super::*;

    #[test]
    fn a_cut_segment_holds_exactly_the_numbers_between() {
        let whole = packed(7, &[(2, 1), (2, 2), (1, 1), (2, 3)]);
        let part = whole.cut(Seqs([0, 0, 1, 0]), Seqs([0, 1, 2, 0]), &Plain);
        assert_eq!((part.after, part.last), (Seqs([0, 0, 1, 0]), Seqs([0, 1, 2, 0])));
        let content = Plain.open(&part.body).unwrap();
        assert_eq!(content.messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_stripped_segment_declares_what_it_lost() {
        let stripped = packed(7, &[(2, 1), (1, 1), (3, 1)]).stripped(&Plain);
        let content = Plain.open(&stripped.body).unwrap();
        assert_eq!(content.messages.len(), 1);
        assert_eq!(content.gaps, gaps(Epoch(7), Seqs::ZERO, Seqs([0, 0, 1, 1])).collect::<Vec<_>>());
    }

    #[test]
    fn keys_stay_with_the_messages_that_stay() {
        let key = |lane, seq| (lane, seq, "once".to_owned());
        let mut content = Plain.open(&packed(7, &[(1, 1), (1, 2), (2, 1)]).body).unwrap();
        content.keys = vec![key(Lane::Protected, 1), key(Lane::Protected, 2), key(Lane::Normal, 1)];
        let whole = Packed { body: Plain.close(&content), ..packed(7, &[(1, 1), (1, 2), (2, 1)]) };
        let kept = |packed: &Packed| Plain.open(&packed.body).unwrap().keys;
        assert_eq!(kept(&whole.stripped(&Plain)), [key(Lane::Protected, 1), key(Lane::Protected, 2)]);
        let part = whole.cut(Seqs([0, 1, 0, 0]), ALL, &Plain);
        assert_eq!(kept(&part), [key(Lane::Protected, 2), key(Lane::Normal, 1)]);
    }

    #[test]
    fn a_body_that_does_not_read_is_declared_lost() {
        let broken = Packed { body: Bytes::from_static(b"?"), ..packed(7, &[(2, 1), (2, 2)]) };
        let content = Plain.open(&broken.cut(Seqs::ZERO, ALL, &Plain).body).unwrap();
        assert_eq!(content.gaps, [Gap { epoch: Epoch(7), lane: Lane::Normal, from: 1, to: 2 }]);
    }

    #[test]
    fn neighbouring_gaps_become_one() {
        let gap = |from, to| Gap { epoch: Epoch(1), lane: Lane::Low, from, to };
        assert_eq!(merged(vec![gap(4, 5), gap(1, 3), gap(7, 7)]), [gap(1, 5), gap(7, 7)]);
    }
}
