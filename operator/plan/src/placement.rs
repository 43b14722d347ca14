//! Which Pod should own each slot: weighted rendezvous with bounded load, changed as little as the pool allows.
//!
//! Rendezvous alone is stable, but its bound is not: a slot that found its Pod full would move again when there is room.
//! So the document before decides: a slot stays where it is unless its Pod is gone or leaves, has more than its bound,
//! or another Pod has too little. Every change says why.

use std::fmt;
use std::sync::Arc;

use throng_core::Slot;
use throng_core::placement::{LIST, PlacedPod, Placement, TooManyPods};
use throng_core::rendezvous::{BOUND_PERCENT, Key, Nodes};
use throng_core::slot::SLOTS;

/// A Pod that slots may be placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name; unique in the pool.
    pub name: Arc<str>,
    /// Revision of the cluster that it runs.
    pub revision: Arc<str>,
    /// Share of slots that it gets, relative to the others. Zero: it leaves, its slots go elsewhere.
    pub weight: u32,
}

/// The document to write, and what differs from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Equal to the document before, version included, if there is nothing to write.
    pub placement: Placement,
    /// Slots whose owner changes, in order.
    pub changes: Vec<Change>,
}

/// A slot gets another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The slot.
    pub slot: Slot,
    /// Name of its Pod before, if it had one.
    pub from: Option<Arc<str>>,
    /// Name of its Pod from now on; none in an empty pool.
    pub to: Option<Arc<str>>,
    /// Why.
    pub why: Why,
}

/// Reason of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// No Pod had it.
    Unplaced,
    /// Its Pod is no longer in the pool.
    Gone,
    /// Its Pod leaves: weight zero.
    Leaving,
    /// Its Pod had more slots than its bound.
    OverBound {
        /// The most that Pod may have.
        bound: usize,
    },
    /// The new Pod had too few, and fits it better.
    FillsUp {
        /// The new Pod's fair share of slots.
        share: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unplaced => write!(f, "no Pod had it"),
            Self::Gone => write!(f, "its Pod is gone"),
            Self::Leaving => write!(f, "its Pod leaves"),
            Self::OverBound { bound } => write!(f, "its Pod had more than its bound of {bound} slots"),
            Self::FillsUp { share } => write!(f, "the new Pod had too few of its {share} slots"),
        }
    }
}

/// Places all slots on a pool. `previous` is the document in force, if there is one; `leader_epoch` is the writer's.
///
/// A Pod keeps what it has while that is between 1/1.15 and 1.15 times its fair share, so that neither a small change of
/// weights nor a lucky vacancy moves anybody.
///
/// O(slots x Pods).
pub fn placement(pods: &[Pod], previous: Option<&Placement>, leader_epoch: u64) -> Result<Planned, TooManyPods> {
    with_draft(pods, previous, leader_epoch, |draft, next| Planned { changes: draft.changes(&next), placement: next })
}

/// The document alone, for those who do not ask why.
pub fn document(pods: &[Pod], previous: Option<&Placement>, leader_epoch: u64) -> Result<Placement, TooManyPods> {
    with_draft(pods, previous, leader_epoch, |_, next| next)
}

fn with_draft<T>(
    pods: &[Pod],
    previous: Option<&Placement>,
    leader_epoch: u64,
    tell: impl FnOnce(&Draft<'_>, Placement) -> T,
) -> Result<T, TooManyPods> {
    let mut pods: Vec<&Pod> = pods.iter().collect();
    pods.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    pods.dedup_by(|a, b| a.name == b.name);
    let mut draft = Draft::new(&pods, previous);
    draft.shed();
    draft.house();
    draft.fill_up();
    let next = draft.write(previous, leader_epoch)?;
    Ok(tell(&draft, next))
}

/// Owners while they are being decided. Places are those of the sorted pool.
struct Draft<'a> {
    pods: &'a [&'a Pod],
    nodes: Nodes,
    bounds: Vec<usize>,
    previous: Option<&'a Placement>,
    owners: Vec<Option<usize>>,
    loads: Vec<usize>,
    whys: Vec<Option<Why>>,
}

impl<'a> Draft<'a> {
    fn new(pods: &'a [&'a Pod], previous: Option<&'a Placement>) -> Self {
        let nodes = Nodes::new(pods.iter().map(|pod| (&*pod.name, pod.weight)));
        let mut draft = Self {
            pods,
            bounds: nodes.bounds(),
            nodes,
            previous,
            owners: vec![None; usize::from(SLOTS)],
            loads: vec![0; pods.len()],
            whys: vec![None; usize::from(SLOTS)],
        };
        let place = |placed: &PlacedPod| pods.binary_search_by(|pod| pod.name.cmp(&placed.pod)).ok();
        let places: Vec<Option<usize>> = previous.iter().flat_map(|document| document.pods()).map(place).collect();
        for slot in Slot::all() {
            let before = previous.and_then(|document| document.place(slot));
            let place = before.and_then(|before| places.get(before).copied().flatten());
            let why = match place.and_then(|place| pods.get(place)) {
                _ if before.is_none() => Some(Why::Unplaced),
                None => Some(Why::Gone),
                Some(pod) if pod.weight == 0 => Some(Why::Leaving),
                Some(_) => None,
            };
            match why {
                Some(why) => draft.note(slot, why),
                None => draft.give(slot, place),
            }
        }
        draft
    }

    fn owner(&self, slot: Slot) -> Option<usize> {
        self.owners.get(slot.index()).copied().flatten()
    }

    fn why(&self, slot: Slot) -> Option<Why> {
        self.whys.get(slot.index()).copied().flatten()
    }

    /// Notes why a slot changes hands; the first reason counts.
    fn note(&mut self, slot: Slot, why: Why) {
        if let Some(entry) = self.whys.get_mut(slot.index()) {
            entry.get_or_insert(why);
        }
    }

    fn load(&self, place: usize) -> usize {
        self.loads.get(place).copied().unwrap_or(0)
    }

    fn bound(&self, place: usize) -> usize {
        self.bounds.get(place).copied().unwrap_or(0)
    }

    fn give(&mut self, slot: Slot, place: Option<usize>) {
        let old = std::mem::replace(self.owners.get_mut(slot.index()).unwrap_or(&mut None), place);
        if let Some(load) = old.and_then(|old| self.loads.get_mut(old)) {
            *load -= 1;
        }
        if let Some(load) = place.and_then(|place| self.loads.get_mut(place)) {
            *load += 1;
        }
    }

    /// Takes from Pods above their bound the slots that fit them worst.
    fn shed(&mut self) {
        if self.loads.iter().zip(&self.bounds).all(|(load, bound)| load <= bound) {
            return;
        }
        let ideal = self.nodes.assign();
        for stays in [false, true] {
            for slot in Slot::all() {
                let Some(place) = self.owner(slot) else { continue };
                let fits = ideal.get(slot.index()).copied().flatten() == Some(place);
                if self.load(place) > self.bound(place) && fits == stays {
                    self.give(slot, None);
                    self.note(slot, Why::OverBound { bound: self.bound(place) });
                }
            }
        }
    }

    /// Finds a Pod for every slot without one: the best by rendezvous that has room.
    fn house(&mut self) {
        for slot in Slot::all() {
            if self.why(slot).is_none() {
                continue;
            }
            let first = self.nodes.top(Key::slot(slot), LIST);
            let with_room = |draft: &Self, place: usize| draft.load(place) < draft.bound(place);
            let place = first.iter().copied().find(|&place| with_room(self, place)).or_else(|| {
                let all = self.nodes.top(Key::slot(slot), self.pods.len());
                all.into_iter().find(|&place| with_room(self, place))
            });
            self.give(slot, place);
        }
    }

    /// Gives Pods below 1/1.15 of their share what rendezvous would give them, until they have their share.
    fn fill_up(&mut self) {
        let total: u64 = self.pods.iter().map(|pod| u64::from(pod.weight)).sum();
        let shares: Vec<usize> = self.pods.iter().map(|pod| share(pod.weight, total)).collect();
        let bound = usize::try_from(BOUND_PERCENT).unwrap_or(usize::MAX);
        let poor: Vec<bool> =
            shares.iter().zip(&self.loads).map(|(&share, &load)| load * bound < share * 100).collect();
        if !poor.contains(&true) {
            return;
        }
        let ideal = self.nodes.assign();
        let ideal_of = |slot: Slot| ideal.get(slot.index()).copied().flatten();
        let lacks = |draft: &Self, place: usize| {
            poor.get(place) == Some(&true) && draft.load(place) < shares.get(place).copied().unwrap_or(0)
        };
        // Only Pods above their share give, or the next look would find them too poor. What rendezvous would give first;
        // then, if that is not enough, whatever can be spared.
        let rich = |draft: &Self, owner: usize| draft.load(owner) > shares.get(owner).copied().unwrap_or(0);
        for slot in Slot::all() {
            let Some(place) = ideal_of(slot).filter(|&place| lacks(self, place)) else { continue };
            if self.owner(slot).is_some_and(|owner| owner != place && rich(self, owner)) {
                self.fill(slot, place, &shares);
            }
        }
        let hungry: Vec<usize> = (0..poor.len()).filter(|&place| lacks(self, place)).collect();
        for slot in Slot::all() {
            if !hungry.iter().any(|&place| lacks(self, place)) {
                break;
            }
            if !self.owner(slot).is_some_and(|owner| rich(self, owner)) {
                continue;
            }
            let ranked = self.nodes.top(Key::slot(slot), self.pods.len());
            if let Some(place) = ranked.into_iter().find(|&place| lacks(self, place)) {
                self.fill(slot, place, &shares);
            }
        }
    }

    fn fill(&mut self, slot: Slot, place: usize, shares: &[usize]) {
        self.give(slot, Some(place));
        let why = Why::FillsUp { share: shares.get(place).copied().unwrap_or(0) };
        self.note(slot, why);
    }

    /// The document; the one before if it says the same.
    fn write(&self, previous: Option<&Placement>, leader_epoch: u64) -> Result<Placement, TooManyPods> {
        let table = self.pods.iter().map(|pod| PlacedPod { pod: pod.name.clone(), revision: pod.revision.clone() });
        let mut next = Placement::over(table.collect())?;
        for slot in Slot::all() {
            if let Some(owner) = self.owner(slot) {
                let standbys = self.nodes.top(Key::slot(slot), LIST);
                let others = standbys.into_iter().filter(|&place| place != owner);
                next.set(slot, std::iter::once(owner).chain(others).take(LIST));
            }
        }
        next.leader_epoch = leader_epoch;
        if let Some(previous) = previous {
            next.blocked.clone_from(&previous.blocked);
            next.version = previous.version;
            if next == *previous {
                return Ok(next);
            }
        }
        next.version += 1;
        Ok(next)
    }

    fn changes(&self, next: &Placement) -> Vec<Change> {
        let change = |slot: Slot| {
            let why = self.why(slot)?;
            let owner = |document: &Placement| document.owner(slot).map(|placed| Arc::clone(&placed.pod));
            let (from, to) = (self.previous.and_then(owner), owner(next));
            (from != to).then_some(Change { slot, from, to, why })
        };
        Slot::all().filter_map(change).collect()
    }
}

/// Fair share of slots, rounded down.
fn share(weight: u32, total: u64) -> usize {
    let slots = u64::from(SLOTS) * u64::from(weight) / total.max(1);
    usize::try_from(slots).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(weights: &[u32]) -> Vec<Pod> {
        weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| Pod { name: format!("live-chatroom-r1-{i}").into(), revision: "r1".into(), weight })
            .collect()
    }

    fn plan(pods: &[Pod], previous: Option<&Placement>) -> Planned {
        placement(pods, previous, 1).unwrap()
    }

    fn load(placement: &Placement, pod: &Pod) -> usize {
        Slot::all().filter(|&slot| placement.owner(slot).is_some_and(|placed| placed.pod == pod.name)).count()
    }

    #[test]
    fn a_first_placement_gives_every_slot_three_different_pods() {
        let pods = pool(&[1; 5]);
        let planned = plan(&pods, None);
        assert_eq!(planned.placement.version, 1);
        assert_eq!(planned.changes.len(), 4096);
        assert!(planned.changes.iter().all(|change| change.why == Why::Unplaced && change.from.is_none()));
        for slot in Slot::all() {
            let mut list: Vec<_> = planned.placement.list(slot).map(|placed| &placed.pod).collect();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), 3, "{slot}");
        }
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let pods = pool(&[1, 1, 2]);
        let first = plan(&pods, None).placement;
        let again = plan(&pods, Some(&first));
        assert_eq!(again, Planned { placement: first, changes: Vec::new() });
    }

    #[test]
    fn a_leaving_pod_loses_its_slots_and_nobody_else_does() {
        let first = plan(&pool(&[1; 4]), None).placement;
        let leaving = pool(&[1, 1, 0, 1]);
        let planned = plan(&leaving, Some(&first));
        assert_eq!(load(&planned.placement, &leaving[2]), 0);
        assert_eq!(planned.changes.len(), load(&first, &leaving[2]));
        assert!(planned.changes.iter().all(|c| c.why == Why::Leaving && c.from.as_ref() == Some(&leaving[2].name)));
    }

    #[test]
    fn a_new_pod_gets_its_share_and_the_others_keep_the_rest() {
        let first = plan(&pool(&[1; 4]), None).placement;
        let pods = pool(&[1; 5]);
        let planned = plan(&pods, Some(&first));
        let got = load(&planned.placement, &pods[4]);
        assert!((4096 * 100 / 115 / 5..=819).contains(&got), "{got} of a fair share of 819");
        let to_others = planned.changes.iter().filter(|c| c.to.as_ref() != Some(&pods[4].name)).count();
        assert!(to_others <= 60, "{to_others} slots moved between Pods that stayed");
        assert!(planned.changes.len() <= got + 60);
    }

    #[test]
    fn a_pod_that_went_and_came_back_does_not_shake_the_rest() {
        let pods = pool(&[1; 6]);
        let first = plan(&pods, None).placement;
        let without = plan(&pods[..5], Some(&first)).placement;
        let back = plan(&pods, Some(&without));
        assert!(back.changes.iter().all(|c| c.to.as_ref() == Some(&pods[5].name)), "only it gets anything");
    }

    #[test]
    fn a_small_change_of_weight_moves_nobody() {
        let even = pool(&[100, 100, 100]);
        let first = plan(&even, None).placement;
        let planned = plan(&pool(&[100, 104, 100]), Some(&first));
        assert_eq!(planned.changes, []);
    }

    #[test]
    fn who_gives_to_a_poor_pod_does_not_become_poor() {
        let first = plan(&pool(&[1, 1, 2, 0, 1, 1]), None).placement;
        let pods = pool(&[1, 2, 3, 1, 1, 2, 1, 3, 3]);
        let second = plan(&pods, Some(&first)).placement;
        assert_eq!(plan(&pods, Some(&second)).changes, []);
    }

    #[test]
    fn an_empty_pool_has_an_empty_placement() {
        let first = plan(&pool(&[1; 2]), None).placement;
        let planned = plan(&[], Some(&first));
        assert!(planned.placement.pods().is_empty());
        assert!(planned.changes.iter().all(|c| c.to.is_none() && c.why == Why::Gone));
        assert_eq!(plan(&[], None).changes, []);
    }

    #[test]
    fn reasons_read_as_people_say_them() {
        assert_eq!(Why::OverBound { bound: 9 }.to_string(), "its Pod had more than its bound of 9 slots");
        assert_eq!(Why::FillsUp { share: 4 }.to_string(), "the new Pod had too few of its 4 slots");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Through any history of pools: every slot has an owner from the pool, no Pod is over its bound, and a second
        /// look changes nothing.
        #[test]
        fn any_history_ends_placed_bounded_and_at_rest(history in prop::collection::vec(prop::collection::vec(0u32..4, 1..12), 1..5)) {
            let mut last: Option<Placement> = None;
            for weights in &history {
                let pods = pool(weights);
                let planned = plan(&pods, last.as_ref());
                let some = weights.iter().any(|&weight| weight > 0);
                let bounds = Nodes::new(pods.iter().map(|pod| (&*pod.name, pod.weight))).bounds();
                for (pod, bound) in pods.iter().zip(bounds) {
                    prop_assert!(load(&planned.placement, pod) <= bound);
                }
                prop_assert!(Slot::all().all(|slot| planned.placement.owner(slot).is_some() == some));
                prop_assert_eq!(plan(&pods, Some(&planned.placement)).changes, vec![]);
                last = Some(planned.placement);
            }
        }

        #[test]
        fn the_order_in_which_pods_are_listed_never_matters(weights in prop::collection::vec(0u32..4, 1..12), turn in 0usize..12) {
            let pods = pool(&weights);
            let mut turned = pods.clone();
            turned.rotate_left(turn % pods.len());
            prop_assert_eq!(plan(&pods, None), plan(&turned, None));
        }
    }
}
