//! Where the older epochs of a room end.
//!
//! A new owner publishes `sealed{epoch, last}` for every older epoch that it finds (in the fence, the log, rings, gathered
//! `seen` and `sealed`), each with the largest `last` found. A subscriber may know more: it names its cursor in each older
//! epoch and every `last` it was told; the owner raises its own and publishes again. Numbers beyond `last` are void.

use std::collections::BTreeMap;

use crate::{Cursor, Epoch, Seqs};

/// The ends of one room's older epochs, as its owner knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    ends: BTreeMap<Epoch, Seqs>,
    sealed: BTreeMap<Epoch, Seqs>,
}

/// An older epoch's end, to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The epoch.
    pub epoch: Epoch,
    /// Its last numbers.
    pub last: Seqs,
}

impl Ends {
    /// Notes that an epoch reached these numbers: the end of a ring or of the log, a gathered cursor or `sealed`.
    pub fn found(&mut self, cursor: Cursor) {
        if cursor.epoch > Epoch::NONE {
            let end = self.ends.entry(cursor.epoch).or_default();
            *end = end.max(cursor.seq);
        }
    }

    /// What a subscriber of the present epoch knows of older ones: its cursors, and every `last` it was told. What it adds
    /// is to be published again, by [`Ends::seal`].
    pub fn subscribed(&mut self, current: Epoch, known: impl IntoIterator<Item = Cursor>) {
        for cursor in known.into_iter().filter(|cursor| cursor.epoch < current) {
            self.found(cursor);
        }
    }

    /// What is to be published now: every epoch before `current` that was not sealed yet, or whose end has been raised
    /// since. Oldest first.
    pub fn seal(&mut self, current: Epoch) -> Vec<End> {
        let mut news = Vec::new();
        for (&epoch, &last) in self.ends.range(..current) {
            if self.sealed.get(&epoch) != Some(&last) {
                self.sealed.insert(epoch, last);
                news.push(End { epoch, last });
            }
        }
        news
    }

    /// Everything that was sealed: for a subscriber that knows nothing yet. Oldest first.
    pub fn sealed(&self) -> impl Iterator<Item = End> {
        self.sealed.iter().map(|(&epoch, &last)| End { epoch, last })
    }

    /// The end of an epoch, as far as it is known.
    #[must_use]
    pub fn last(&self, epoch: Epoch) -> Option<Seqs> {
        self.ends.get(&epoch).copied()
    }

    /// Forgets all but the `keep` latest epochs: what is older has left every retained window.
    pub fn forget(&mut self, keep: usize) {
        while self.ends.len() > keep {
            let Some((epoch, _)) = self.ends.pop_first() else { return };
            self.sealed.remove(&epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(epoch: u64, normal: u64) -> Cursor {
        Cursor { epoch: Epoch(epoch), seq: Seqs([0, 0, normal, 0]) }
    }

    fn end(epoch: u64, normal: u64) -> End {
        End { epoch: Epoch(epoch), last: Seqs([0, 0, normal, 0]) }
    }

    #[test]
    fn every_older_epoch_is_sealed_once_at_the_largest_end_found() {
        let mut ends = Ends::default();
        for found in [cursor(3, 10), cursor(5, 7), cursor(5, 9), cursor(5, 8), cursor(8, 1), cursor(0, 4)] {
            ends.found(found);
        }
        assert_eq!(ends.seal(Epoch(8)), [end(3, 10), end(5, 9)]);
        assert_eq!(ends.seal(Epoch(8)), []);
    }

    #[test]
    fn a_subscriber_that_knows_more_raises_the_end_and_everybody_is_told_again() {
        let mut ends = Ends::default();
        ends.found(cursor(5, 7));
        ends.seal(Epoch(8));
        ends.subscribed(Epoch(8), [cursor(5, 6)]);
        assert_eq!(ends.seal(Epoch(8)), []);
        ends.subscribed(Epoch(8), [cursor(5, 9), cursor(4, 2), cursor(8, 99)]);
        assert_eq!(ends.seal(Epoch(8)), [end(4, 2), end(5, 9)]);
        assert_eq!(ends.sealed().count(), 2);
    }

    #[test]
    fn lanes_end_each_on_their_own() {
        let mut ends = Ends::default();
        ends.found(Cursor { epoch: Epoch(1), seq: Seqs([4, 0, 2, 0]) });
        ends.found(Cursor { epoch: Epoch(1), seq: Seqs([3, 1, 9, 0]) });
        assert_eq!(ends.last(Epoch(1)), Some(Seqs([4, 1, 9, 0])));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut ends = Ends::default();
        for epoch in 1..=5 {
            ends.found(cursor(epoch, 1));
        }
        ends.seal(Epoch(9));
        ends.forget(2);
        assert_eq!(ends.sealed().map(|end| end.epoch.0).collect::<Vec<_>>(), [4, 5]);
    }
}
