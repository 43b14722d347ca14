//! Where older epochs of a room ended, as its owner tells it.

use crate::ownership::sealing::Ends;
use crate::{Cursor, Epoch, RoomId, Seqs};

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

/// Ends of the older epochs of one room, with what follows each. The rule is that of [`Ends`].
#[derive(Debug)]
pub struct Seals {
    current: Epoch,
    ends: Ends,
}

impl Seals {
    /// None yet, for an owner of this epoch.
    #[must_use]
    pub fn new(current: Epoch) -> Self {
        Self { current, ends: Ends::default() }
    }

    /// Takes note of what an older epoch reached; returns what is to be published by that, oldest first.
    pub fn learn(&mut self, epoch: Epoch, last: Seqs) -> Vec<Epoch> {
        if epoch >= self.current {
            return Vec::new();
        }
        self.ends.found(Cursor { epoch, seq: last });
        let news = self.ends.seal(self.current);
        self.ends.forget(MAX_SEALS);
        news.into_iter().map(|end| end.epoch).collect()
    }

    /// The end of an epoch, if known.
    #[must_use]
    pub fn last(&self, epoch: Epoch) -> Option<Seqs> {
        self.ends.last(epoch)
    }

    /// What to tell of an epoch.
    #[must_use]
    pub fn sealed(&self, room: &RoomId, epoch: Epoch) -> Option<Sealed> {
        let last = self.last(epoch)?;
        let next_epoch = self.epochs().find(|later| *later > epoch).unwrap_or(self.current);
        Some(Sealed { room: room.clone(), epoch, last, next_epoch })
    }

    /// All ended epochs, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.ends.sealed().map(|end| end.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_when_it_is_news() {
        let mut seals = Seals::new(Epoch(9));
        assert_eq!(seals.learn(Epoch(3), Seqs([0, 1, 9, 4])), [Epoch(3)]);
        assert_eq!(seals.learn(Epoch(3), Seqs([0, 1, 7, 4])), []);
        assert_eq!(seals.learn(Epoch(3), Seqs([0, 2, 7, 4])), [Epoch(3)]);
        assert_eq!(seals.last(Epoch(3)), Some(Seqs([0, 2, 9, 4])));
        assert_eq!(seals.learn(Epoch(9), Seqs([9; 4])), []);
        assert_eq!(seals.learn(Epoch::NONE, Seqs([9; 4])), []);
    }

    #[test]
    fn an_end_names_the_epoch_that_follows() {
        let room = RoomId::new("r").unwrap();
        let mut seals = Seals::new(Epoch(9));
        seals.learn(Epoch(3), Seqs::ZERO);
        seals.learn(Epoch(5), Seqs::ZERO);
        assert_eq!(seals.sealed(&room, Epoch(3)).map(|sealed| sealed.next_epoch), Some(Epoch(5)));
        assert_eq!(seals.sealed(&room, Epoch(5)).map(|sealed| sealed.next_epoch), Some(Epoch(9)));
        assert_eq!(seals.sealed(&room, Epoch(4)), None);
    }
}
