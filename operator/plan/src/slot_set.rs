//! A set of slots as bits: it is asked 4,096 times at every look, which a tree would answer too slowly.

use throng_core::Slot;
use throng_core::slot::SLOTS;

const WORD: usize = u64::BITS as usize;

/// Some of the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotSet([u64; SLOTS as usize / WORD]);

impl SlotSet {
    /// The slots that are so.
    pub(crate) fn of(is: impl Fn(Slot) -> bool) -> Self {
        let mut set = Self([0; SLOTS as usize / WORD]);
        Slot::all().filter(|slot| is(*slot)).for_each(|slot| set.insert(slot));
        set
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn insert(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

fn place(slot: Slot) -> (usize, u64) {
    (slot.index() / WORD, 1 << (slot.index() % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_in_it_or_not() {
        let mut set = SlotSet::of(|slot| slot.number() % 3 == 0);
        assert_eq!(set.len(), 1366);
        assert!(Slot::all().all(|slot| set.contains(slot) == (slot.number() % 3 == 0)));
        for number in [4095, 4094, 64, 4094] {
            set.insert(Slot::new(number).unwrap());
        }
        assert_eq!(set.len(), 1368, "4095 was in it");
    }
}
