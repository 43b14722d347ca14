//! Ranges of numbers that were not delivered, kept few.

use crate::Gap;

/// Sorts ranges by epoch, lane and number, and joins those that touch or overlap.
pub fn merge(gaps: &mut Vec<Gap>) {
    gaps.sort_unstable_by_key(|gap| (gap.epoch, gap.lane, gap.from));
    gaps.dedup_by(|later, earlier| {
        let joins =
            later.epoch == earlier.epoch && later.lane == earlier.lane && later.from <= earlier.to.saturating_add(1);
        if joins {
            earlier.to = earlier.to.max(later.to);
        }
        joins
    });
}

/// Ranges that wait until they can be declared, each with the room it belongs to (the caller's own number of it).
///
/// Bounded: above [`Pending::MOST`] ranges, those of a room, epoch and lane become one. A number that was received and
/// lies inside a declared range counts as received, so that widening a range is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending(Vec<(u32, Gap)>);

impl Pending {
    /// Ranges that are kept apart.
    pub const MOST: usize = 64;

    /// Whether there is nothing to declare.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a range, joining it with what it touches.
    pub fn note(&mut self, room: u32, gap: Gap) {
        let same = |at: u32, other: &Gap| at == room && other.epoch == gap.epoch && other.lane == gap.lane;
        let crowded = self.0.len() >= Self::MOST;
        let touching = self.0.iter_mut().find(|(at, other)| {
            same(*at, other)
                && (crowded || (gap.from <= other.to.saturating_add(1) && other.from <= gap.to.saturating_add(1)))
        });
        match touching {
            Some((_, other)) => {
                other.from = other.from.min(gap.from);
                other.to = other.to.max(gap.to);
            }
            None => self.0.push((room, gap)),
        }
    }

    /// Forgets a room: nobody is left to whom its gaps could be declared.
    pub fn forget(&mut self, room: u32) {
        self.0.retain(|(at, _)| *at != room);
    }

    /// Takes all ranges of one room and epoch, none if nothing is left.
    pub fn take_some(&mut self) -> Option<(u32, Vec<Gap>)> {
        let (room, epoch) = self.0.first().map(|(room, gap)| (*room, gap.epoch))?;
        let mut taken = Vec::new();
        self.0.retain(|(at, gap)| {
            let mine = *at == room && gap.epoch == epoch;
            if mine {
                taken.push(*gap);
            }
            !mine
        });
        merge(&mut taken);
        Some((room, taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Lane};

    fn gap(from: u64, to: u64) -> Gap {
        Gap { epoch: Epoch(7), lane: Lane::Low, from, to }
    }

    #[test]
    fn touching_ranges_become_one() {
        let mut gaps = vec![gap(5, 6), gap(1, 2), gap(3, 3), gap(9, 9)];
        merge(&mut gaps);
        assert_eq!(gaps, [gap(1, 3), gap(5, 6), gap(9, 9)]);
    }

    #[test]
    fn pending_ranges_stay_bounded_and_cover_everything() {
        let mut pending = Pending::default();
        for number in 0..1000 {
            pending.note(1, gap(number * 10 + 1, number * 10 + 2));
        }
        let (room, gaps) = pending.take_some().unwrap();
        assert_eq!(room, 1);
        assert!(gaps.len() <= Pending::MOST);
        for number in 0..1000 {
            let from = number * 10 + 1;
            assert!(gaps.iter().any(|gap| gap.from <= from && gap.to > from), "{from} is not covered");
        }
        assert!(pending.is_empty());
    }

    #[test]
    fn rooms_and_epochs_are_declared_apart() {
        let mut pending = Pending::default();
        pending.note(1, gap(1, 1));
        pending.note(2, gap(2, 2));
        pending.note(1, Gap { epoch: Epoch(8), ..gap(1, 1) });
        pending.forget(2);
        assert_eq!(pending.take_some(), Some((1, vec![gap(1, 1)])));
        assert_eq!(pending.take_some(), Some((1, vec![Gap { epoch: Epoch(8), ..gap(1, 1) }])));
        assert_eq!(pending.take_some(), None);
    }
}
