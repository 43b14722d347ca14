//! What all clients together know of one room: how far each epoch went, and what each stamp carried.

use std::collections::{BTreeMap, HashMap};

use throng_core::{Epoch, Lane, Seqs, Stamp};

/// Common knowledge of one room: the measure for every single subscriber.
#[derive(Debug, Default)]
pub(super) struct Truth {
    last: BTreeMap<Epoch, Seqs>,
    contents: HashMap<Stamp, u64>,
    stamps: HashMap<u64, Stamp>,
    two_contents: u64,
    two_stamps: u64,
}

impl Truth {
    /// Somebody received this number, or was told in an acknowledgement that it was given.
    pub(super) fn saw(&mut self, epoch: Epoch, lane: Lane, seq: u64) {
        let last = self.last.entry(epoch).or_default();
        last[lane] = last[lane].max(seq);
    }

    /// A `sealed` named the last numbers of an epoch; a repetition may raise them.
    pub(super) fn sealed(&mut self, epoch: Epoch, next_epoch: Epoch) {
        self.last.entry(epoch).or_default();
        self.last.entry(next_epoch).or_default();
    }

    /// Publish number `publish` of this bench was seen under `stamp`. A stamp with two contents is a conflict, and so is one
    /// publish under two stamps.
    pub(super) fn carries(&mut self, stamp: Stamp, publish: u64) {
        self.saw(stamp.epoch, stamp.lane, stamp.seq);
        let other_content = *self.contents.entry(stamp).or_insert(publish) != publish;
        let other_stamp = *self.stamps.entry(publish).or_insert(stamp) != stamp;
        self.two_contents += u64::from(other_content);
        self.two_stamps += u64::from(other_stamp && !other_content);
    }

    /// Stamps seen with two contents, and publishes seen under two stamps.
    pub(super) const fn conflicts(&self) -> u64 {
        self.two_contents + self.two_stamps
    }

    /// Stamps seen with two contents.
    pub(super) const fn two_contents(&self) -> u64 {
        self.two_contents
    }

    /// Largest known numbers of an epoch.
    pub(super) fn last(&self, epoch: Epoch) -> Seqs {
        self.last.get(&epoch).copied().unwrap_or_default()
    }

    /// Largest known numbers of all epochs after `epoch`.
    pub(super) fn after(&self, epoch: Epoch) -> impl Iterator<Item = Seqs> {
        self.last.range(Epoch(epoch.0 + 1)..).map(|(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(seq: u64) -> Stamp {
        Stamp { epoch: Epoch(1), lane: Lane::Normal, seq }
    }

    #[test]
    fn a_stamp_with_two_contents_and_a_publish_with_two_stamps_are_conflicts() {
        let mut truth = Truth::default();
        truth.carries(stamp(1), 10);
        truth.carries(stamp(1), 10);
        truth.carries(stamp(2), 11);
        assert_eq!(truth.conflicts(), 0);
        truth.carries(stamp(2), 12);
        assert_eq!(truth.conflicts(), 1);
        truth.carries(stamp(3), 10);
        assert_eq!(truth.conflicts(), 2);
        assert_eq!(truth.last(Epoch(1)), Seqs([0, 0, 3, 0]));
    }
}
