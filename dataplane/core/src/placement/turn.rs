//! Whose turn it is to claim a slot that nobody owns.
//!
//! The first live Pod of the slot's list. Where the list is missing or none of it lives: rendezvous over the live
//! members of revisions that are not blocked, the r-th of them after r x 300 ms, so that a member that others wrongly
//! think alive holds nobody up for long.

use std::collections::{BTreeMap, BTreeSet};

use super::Placement;
use crate::Slot;
use crate::rendezvous::{Key, Nodes};

/// How long each place further down waits before it claims a slot without a usable list, in milliseconds.
pub const STAGGER_MS: u64 = 300;

/// When a Pod may claim a slot, counted from when it saw that nobody owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// So many milliseconds later; 0: at once.
    After(u64),
    /// Never, as things are: another Pod comes first.
    Never,
}

/// The Pods that may claim: live, not draining, and able to. Built once for each change of the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Electorate {
    pods: BTreeSet<Box<str>>,
    fallback: Vec<Box<str>>,
    nodes: Nodes,
}

impl Electorate {
    /// Takes the names and revisions of the Pods that may claim.
    pub fn new<'a>(members: impl Iterator<Item = (&'a str, &'a str)>, placement: &Placement) -> Self {
        let members: BTreeMap<&str, &str> = members.collect();
        let unblocked = members.iter().filter(|(_, revision)| !placement.blocked.contains(**revision));
        let fallback: Vec<Box<str>> = unblocked.map(|(pod, _)| Box::from(*pod)).collect();
        let nodes = Nodes::new(fallback.iter().map(|pod| (&**pod, 1)));
        Self { pods: members.keys().map(|pod| Box::from(*pod)).collect(), fallback, nodes }
    }

    /// When `me` may claim a slot.
    #[must_use]
    pub fn turn(&self, placement: &Placement, slot: Slot, me: &str) -> Turn {
        match placement.list(slot).find(|placed| self.pods.contains(&*placed.pod)) {
            Some(first) if *first.pod == *me => Turn::After(0),
            Some(_) => Turn::Never,
            None => {
                let ranked = self.nodes.top(Key::slot(slot), self.fallback.len());
                let rank = ranked.iter().position(|&place| self.fallback.get(place).is_some_and(|pod| **pod == *me));
                rank.map_or(Turn::Never, |rank| Turn::After(rank as u64 * STAGGER_MS))
            }
        }
    }

    /// The first Pod of a slot's list that may claim.
    #[must_use]
    pub fn listed(&self, placement: &Placement, slot: Slot) -> Option<&str> {
        placement.list(slot).find_map(|placed| self.pods.get(&*placed.pod)).map(|pod| &**pod)
    }

    /// The Pod that should have a slot: the first of its list that may claim, else the first by rendezvous.
    #[must_use]
    pub fn heir(&self, placement: &Placement, slot: Slot) -> Option<&str> {
        self.heir_but(placement, slot, None)
    }

    /// The same, leaving one Pod out: where a Pod that leaves sends its slots.
    #[must_use]
    pub fn heir_but(&self, placement: &Placement, slot: Slot, without: Option<&str>) -> Option<&str> {
        let fits = |pod: &str| without != Some(pod);
        let mut listed = placement.list(slot).filter(|placed| fits(&placed.pod));
        if let Some(pod) = listed.find_map(|placed| self.pods.get(&*placed.pod)) {
            return Some(pod);
        }
        let ranked = self.nodes.top(Key::slot(slot), 2);
        ranked.iter().filter_map(|&place| self.fallback.get(place)).map(|pod| &**pod).find(|pod| fits(pod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacedPod;

    fn placed(names: &[&str]) -> Placement {
        let pods = names.iter().map(|pod| PlacedPod { pod: (*pod).into(), revision: "r1".into() }).collect();
        let mut placement = Placement::over(pods).unwrap();
        for slot in Slot::all() {
            placement.set(slot, 0..names.len());
        }
        placement
    }

    fn electorate(pods: &[&str], placement: &Placement) -> Electorate {
        Electorate::new(pods.iter().map(|pod| (*pod, "r1")), placement)
    }

    #[test]
    fn the_first_live_pod_of_the_list_claims_and_the_others_do_not() {
        let placement = placed(&["a", "b", "c"]);
        let slot = Slot::new(9).unwrap();
        let two = electorate(&["b", "c", "d"], &placement);
        assert_eq!(two.turn(&placement, slot, "b"), Turn::After(0));
        assert_eq!(two.turn(&placement, slot, "c"), Turn::Never);
        assert_eq!(two.turn(&placement, slot, "d"), Turn::Never);
        assert_eq!(two.heir(&placement, slot), Some("b"));
        assert_eq!(two.heir_but(&placement, slot, Some("b")), Some("c"));
    }

    #[test]
    fn without_a_usable_list_each_live_pod_has_its_own_turn() {
        for placement in [Placement::default(), placed(&["x", "y"])] {
            let pods = ["a", "b", "c"];
            let three = electorate(&pods, &placement);
            for slot in Slot::all() {
                let mut turns = pods.map(|pod| three.turn(&placement, slot, pod));
                turns.sort_unstable();
                assert_eq!(turns, [Turn::After(0), Turn::After(300), Turn::After(600)]);
            }
            assert_eq!(three.turn(&placement, Slot::new(0).unwrap(), "stranger"), Turn::Never);
        }
    }

    #[test]
    fn a_blocked_revision_has_no_turn_unless_the_operator_lists_it() {
        let mut placement = placed(&["listed"]);
        placement.blocked.insert("r1".into());
        let slot = Slot::new(1).unwrap();
        assert_eq!(electorate(&["a"], &placement).turn(&placement, slot, "a"), Turn::Never);
        assert_eq!(electorate(&["listed"], &placement).turn(&placement, slot, "listed"), Turn::After(0));
    }
}
