//! What a reactor keeps of a room: who is in it here, and how far its stream has come.

use std::sync::Arc;

use smallvec::SmallVec;
use throng_core::fanout::{Budget, RateClass};
use throng_core::{Cursor, Millis, RoomId, Segment};
use throng_proto::client::Event;

use super::conn::Group;

/// A subscriber: the number of its connection, and whom it shares frames with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sub {
    pub(super) conn: u32,
    pub(super) group: Group,
}

/// One room on one reactor. Rebuilt by the joins of its members after a restart.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: RoomId,
    /// Dense, in the order of arrival: mostly the order of the slab, so that records are visited as they lie in memory.
    pub(super) subs: Vec<Sub>,
    /// Everything up to here was handed to `subs`. None until the hub has opened the room.
    pub(super) position: Option<Cursor>,
    /// Came since the last fan-out.
    pub(super) arrived: SmallVec<[Arc<Segment>; 2]>,
    /// The last count, which waits for the next segment to travel with, but not longer than until `event_by`.
    pub(super) event: Option<(Arc<Event>, Millis)>,
    /// Pending joins of this room, by their number.
    pub(super) joining: Vec<u32>,
    budgets: SmallVec<[(RateClass, Budget); 1]>,
    /// Since when nobody has been in it or wanted to be.
    pub(super) empty_since: Millis,
}

impl Room {
    pub(super) fn new(id: RoomId, now: Millis) -> Self {
        Self {
            id,
            subs: Vec::new(),
            position: None,
            arrived: SmallVec::new(),
            event: None,
            joining: Vec::new(),
            budgets: SmallVec::new(),
            empty_since: now,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subs.is_empty() && self.joining.is_empty()
    }

    /// How many messages of lanes 2-3 a class gets, of so many exempt and so many not.
    pub(super) fn pass(&mut self, class: RateClass, now: Millis, (exempt, offered): (u32, u32)) -> u32 {
        let Some(per_s) = class.per_s() else { return u32::MAX };
        let at = self.budgets.iter().position(|(known, _)| *known == class).unwrap_or_else(|| {
            self.budgets.push((class, Budget::new(per_s)));
            self.budgets.len() - 1
        });
        self.budgets.get_mut(at).map_or(u32::MAX, |(_, budget)| budget.take(now, exempt, offered))
    }

    /// Moves the position forward, never back.
    pub(super) fn reached(&mut self, at: Cursor) {
        self.position = Some(match self.position {
            Some(now) if now.epoch > at.epoch => now,
            Some(now) if now.epoch == at.epoch => Cursor { epoch: now.epoch, seq: now.seq.max(at.seq) },
            _ => at,
        });
    }
}

/// Makes one segment out of consecutive ones of the same epoch: under load one write carries several ticks.
pub(super) fn merge(mut segments: SmallVec<[Arc<Segment>; 2]>) -> SmallVec<[Arc<Segment>; 2]> {
    if segments.len() < 2 {
        return segments;
    }
    let mut merged: SmallVec<[Arc<Segment>; 2]> = SmallVec::new();
    for segment in segments.drain(..) {
        match merged.last_mut() {
            Some(last) if last.epoch == segment.epoch => {
                let last = Arc::make_mut(last);
                last.messages.extend(segment.messages.iter().cloned());
                last.gaps.extend(segment.gaps.iter().copied());
            }
            _ => merged.push(segment),
        }
    }
    for segment in &mut merged {
        let segment = Arc::make_mut(segment);
        // Stable, and each lane came in order.
        segment.messages.sort_by_key(|message| message.lane);
        throng_core::fanout::gaps::merge(&mut segment.gaps);
    }
    merged
}
