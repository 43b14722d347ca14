//! Where older epochs of a room ended.

use std::collections::BTreeMap;

use crate::{Epoch, RoomId, Seqs};

/// Ends kept for one room; older ones say nothing to anyone any more.
const MAX_SEALS: usize = 32;

/// The end of an epoch: its numbers stop at `last`, the room goes on in `next_epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The room.
    pub room: RoomId,
    /// The epoch that ended.
    pub epoch: Epoch,
    /// Its last numbers.
    pub last: Seqs,
    /// The epoch that follows.
    pub next_epoch: Epoch,
}

/// Ends of the older epochs of one room. An end, once told, is only ever raised.
#[derive(Debug, Default)]
pub struct Seals(BTreeMap<Epoch, Seqs>);

impl Seals {
    /// Takes note of an end; true if it was news: another epoch, or larger numbers.
    pub fn learn(&mut self, epoch: Epoch, last: Seqs) -> bool {
        let known = self.0.get(&epoch).copied();
        let raised = known.map_or(last, |known| known.max(last));
        self.0.insert(epoch, raised);
        if self.0.len() > MAX_SEALS {
            self.0.pop_first();
        }
        known != Some(raised)
    }

    /// The end of an epoch, if known.
    #[must_use]
    pub fn last(&self, epoch: Epoch) -> Option<Seqs> {
        self.0.get(&epoch).copied()
    }

    /// What to tell of an epoch, `current` being the open one.
    #[must_use]
    pub fn sealed(&self, room: &RoomId, epoch: Epoch, current: Epoch) -> Option<Sealed> {
        let last = self.last(epoch)?;
        let next_epoch = self.0.keys().copied().find(|later| *later > epoch).unwrap_or(current);
        Some(Sealed { room: room.clone(), epoch, last, next_epoch })
    }

    /// Ends from `epoch` on, oldest first.
    pub fn from(&self, epoch: Epoch) -> impl Iterator<Item = Epoch> {
        self.0.range(epoch..).map(|(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_only_ever_raised() {
        let mut seals = Seals::default();
        assert!(seals.learn(Epoch(3), Seqs([0, 1, 9, 4])));
        assert!(!seals.learn(Epoch(3), Seqs([0, 1, 7, 4])));
        assert!(seals.learn(Epoch(3), Seqs([0, 2, 7, 4])));
        assert_eq!(seals.last(Epoch(3)), Some(Seqs([0, 2, 9, 4])));
    }

    #[test]
    fn an_end_names_the_epoch_that_follows() {
        let room = RoomId::new("r").unwrap();
        let mut seals = Seals::default();
        seals.learn(Epoch(3), Seqs::ZERO);
        seals.learn(Epoch(5), Seqs::ZERO);
        assert_eq!(seals.sealed(&room, Epoch(3), Epoch(9)).map(|sealed| sealed.next_epoch), Some(Epoch(5)));
        assert_eq!(seals.sealed(&room, Epoch(5), Epoch(9)).map(|sealed| sealed.next_epoch), Some(Epoch(9)));
        assert_eq!(seals.sealed(&room, Epoch(4), Epoch(9)), None);
    }
}
