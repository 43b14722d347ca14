//! What Pods say of themselves, as the planner sees it.

use std::collections::BTreeMap;

use throng_core::Slot;
use throng_plan::moves::Activity;
use throng_plan::status::Utc;
use throng_plan::world::Sample;
use throng_proto::link::{PressureSample, SlotActivity};

/// A sample, dated by the clock of whoever got it, so that its age means the same for all Pods. What is no number is left out.
#[must_use]
pub fn sample(said: PressureSample, at: Utc) -> Sample {
    let load = said.load.into_iter().filter(|(_, load)| load.is_finite()).collect();
    Sample { at, load, left: said.left, draining: said.draining, unready: Vec::new() }
}

/// What the slots of a Pod carry. What is no slot is left out.
#[must_use]
pub fn slots(said: &[SlotActivity]) -> BTreeMap<Slot, Activity> {
    let slot = |said: &SlotActivity| {
        let slot = u16::try_from(said.slot).ok().and_then(Slot::new)?;
        Some((slot, Activity { rooms: u64::from(said.rooms), users: said.users }))
    };
    said.iter().filter_map(slot).collect()
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::*;

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let load = [("users".to_owned(), 3.0), ("cpu_percent".to_owned(), f64::NAN)].into();
        let said = PressureSample { load, left: 4, at_ms: 1, draining: true };
        let heard = sample(said, Utc(Millis(9)));
        let load = [("users".to_owned(), 3.0)].into();
        assert_eq!(heard, Sample { at: Utc(Millis(9)), load, left: 4, draining: true, unready: Vec::new() });
        let said = |slot| SlotActivity { slot, rooms: 2, users: 5, ..SlotActivity::default() };
        let heard = slots(&[said(7), said(4096), said(70_000)]);
        assert_eq!(heard, [(Slot::new(7).unwrap(), Activity { rooms: 2, users: 5 })].into());
    }
}
