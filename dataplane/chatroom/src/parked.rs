//! What is asked about slots that are on their way here waits a moment: an owner that says at once "not mine" while it is
//! taking over sends everybody into a pause that is longer than the take-over.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use throng_core::Slot;
use tokio::time::Instant;

use crate::input::Input;

/// So long a request waits for its slot to open.
const WAIT: Duration = Duration::from_millis(400);
/// Most requests that wait; more are answered at once.
const MOST: usize = 8192;

/// Requests by slot, in order.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    slots: BTreeMap<Slot, (Instant, Vec<Input>)>,
    /// In order of time, for all wait equally long; those of slots that were taken since are passed over.
    ends: VecDeque<(Instant, Slot)>,
    count: usize,
}

impl Parked {
    /// Keeps a request; gives it back if there is no place.
    pub(crate) fn park(&mut self, slot: Slot, input: Input) -> Option<Input> {
        if self.count >= MOST {
            return Some(input);
        }
        self.count += 1;
        let ends = &mut self.ends;
        let begin = || {
            let until = Instant::now() + WAIT;
            ends.push_back((until, slot));
            (until, Vec::new())
        };
        self.slots.entry(slot).or_insert_with(begin).1.push(input);
        None
    }

    /// What waits for a slot.
    pub(crate) fn take(&mut self, slot: Slot) -> Vec<Input> {
        let (_, inputs) = self.slots.remove(&slot).unwrap_or_else(|| (Instant::now(), Vec::new()));
        self.count = self.count.saturating_sub(inputs.len());
        inputs
    }

    /// When somebody has waited long enough.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        self.first().map(|(until, _)| until)
    }

    /// A slot for which everybody has waited long enough.
    pub(crate) fn overdue(&mut self) -> Option<Slot> {
        self.first().filter(|(until, _)| *until <= Instant::now()).map(|(_, slot)| slot)
    }

    fn first(&mut self) -> Option<(Instant, Slot)> {
        while let Some((until, slot)) = self.ends.front().copied() {
            if self.slots.get(&slot).is_some_and(|(its, _)| *its == until) {
                return Some((until, slot));
            }
            self.ends.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_core::room::RelayNo;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[tokio::test]
    async fn a_request_waits_for_its_slot_and_not_for_ever() {
        let mut parked = Parked::default();
        assert!(parked.park(slot(1), Input::RelayLost(RelayNo(1))).is_none());
        assert!(parked.park(slot(1), Input::RelayLost(RelayNo(2))).is_none());
        assert_eq!((parked.overdue(), parked.take(slot(2)).len()), (None, 0));
        tokio::time::sleep_until(parked.due().unwrap()).await;
        assert_eq!(parked.overdue(), Some(slot(1)));
        let order: Vec<_> = parked.take(slot(1)).iter().map(|input| format!("{input:?}")).collect();
        assert_eq!(order, ["RelayLost(RelayNo(1))", "RelayLost(RelayNo(2))"]);
        assert_eq!((parked.due(), parked.count), (None, 0));
    }

    #[tokio::test]
    async fn a_full_waiting_room_sends_away() {
        let mut parked = Parked::default();
        for _ in 0..MOST {
            assert!(parked.park(slot(1), Input::RelayLost(RelayNo(1))).is_none());
        }
        assert!(parked.park(slot(2), Input::RelayLost(RelayNo(1))).is_some());
        assert_eq!(parked.take(slot(1)).len(), MOST);
        assert!(parked.park(slot(2), Input::RelayLost(RelayNo(1))).is_none());
    }
}
