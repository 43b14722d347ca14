//! What a message Pod has promised and seen, a slot: the largest epoch. It makes the law hold downstream, whatever two
//! owners believe: who has seen e' > e takes nothing more from e's owner.

use std::collections::BTreeMap;

use crate::{Epoch, Slot};

/// The largest epoch seen of each slot: promised to a taker that gathers, or carried by a `sealed` or a segment. Kept in
/// memory only: a restarted message Pod is asked again, and nothing that it took before is left to be fooled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Promises(BTreeMap<Slot, Epoch>);

/// A larger epoch has been seen: what comes from an older owner is refused, and it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a later owner is known, of epoch {0}: stop serving the slot")]
pub struct Stale(pub Epoch);

impl Promises {
    /// The largest epoch seen of a slot.
    #[must_use]
    pub fn seen(&self, slot: Slot) -> Epoch {
        self.0.get(&slot).copied().unwrap_or(Epoch::NONE)
    }

    /// Sees an epoch: promises it to a taker, or takes what its owner sent. Refused if a larger one was seen.
    pub fn see(&mut self, slot: Slot, epoch: Epoch) -> Result<(), Stale> {
        let seen = self.0.entry(slot).or_default();
        if *seen > epoch {
            return Err(Stale(*seen));
        }
        *seen = epoch;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_from_an_older_owner_once_a_later_one_was_seen() {
        let mut promises = Promises::default();
        let (slot, other) = (Slot::new(1).unwrap(), Slot::new(2).unwrap());
        assert_eq!(promises.see(slot, Epoch(7)), Ok(()));
        assert_eq!(promises.see(slot, Epoch(7)), Ok(()));
        assert_eq!(promises.see(slot, Epoch(9)), Ok(()));
        assert_eq!(promises.see(slot, Epoch(7)), Err(Stale(Epoch(9))));
        assert_eq!(promises.see(other, Epoch(7)), Ok(()));
        assert_eq!(promises.seen(slot), Epoch(9));
    }
}
