//! Which Pod should own each slot: weighted rendezvous with bounded load, changed as little as the pool allows.
//!
//! Rendezvous alone is stable, but its bound is not: a slot that found its Pod full would move again when there is room.
//! So the document before decides: a slot stays where it is unless its Pod is gone or leaves, has more than its bound,
//! or another Pod has too little.

use std::sync::Arc;

use throng_core::Slot;
use throng_core::placement::{LIST, PlacedPod, Placement, TooManyPods};
use throng_core::rendezvous::{BOUND_PERCENT, Firsts, Key, Nodes};
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

/// Places all slots on a pool. `previous` is the document in force, if there is one; `leader_epoch` is the writer's.
///
/// A Pod keeps what it has while that is between 1/1.15 and 1.15 times its fair share, so that neither a small change of
/// weights nor a lucky vacancy moves anybody.
///
/// O(slots x Pods).
///
/// # Errors
/// More Pods than a placement can name.
pub fn placement(pods: &[Pod], previous: Option<&Placement>, leader_epoch: u64) -> Result<Placement, TooManyPods> {
    let mut pods: Vec<&Pod> = pods.iter().collect();
    pods.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    pods.dedup_by(|a, b| a.name == b.name);
    let mut draft = Draft::new(&pods, previous);
    let ideal = draft.shed();
    draft.house();
    draft.fill_up(ideal);
    draft.write(previous, leader_epoch)
}

/// Owners while they are being decided. Places are those of the sorted pool.
struct Draft<'a> {
    pods: &'a [&'a Pod],
    nodes: Nodes,
    firsts: Firsts,
    bounds: Vec<usize>,
    owners: Vec<Option<usize>>,
    loads: Vec<usize>,
}

impl<'a> Draft<'a> {
    /// Every slot is where it was, if its Pod is there and stays.
    fn new(pods: &'a [&'a Pod], previous: Option<&Placement>) -> Self {
        let nodes = Nodes::new(pods.iter().map(|pod| (&*pod.name, pod.weight)));
        let mut draft = Self {
            pods,
            bounds: nodes.bounds(),
            firsts: nodes.firsts(),
            nodes,
            owners: vec![None; usize::from(SLOTS)],
            loads: vec![0; pods.len()],
        };
        let Some(previous) = previous else { return draft };
        let place = |placed: &PlacedPod| {
            let place = pods.binary_search_by(|pod| pod.name.cmp(&placed.pod)).ok()?;
            pods.get(place).is_some_and(|pod| pod.weight > 0).then_some(place)
        };
        let places: Vec<Option<usize>> = previous.pods().iter().map(place).collect();
        for slot in Slot::all() {
            let before = previous.place(slot);
            draft.give(slot, before.and_then(|before| places.get(before).copied().flatten()));
        }
        draft
    }

    fn owner(&self, slot: Slot) -> Option<usize> {
        self.owners.get(slot.index()).copied().flatten()
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

    /// Where rendezvous would have every slot.
    fn ideal(&self) -> Vec<Option<usize>> {
        self.nodes.assign(&self.firsts)
    }

    /// Takes from Pods above their bound the slots that fit them worst; the ideal, if it was asked for.
    fn shed(&mut self) -> Option<Vec<Option<usize>>> {
        if self.loads.iter().zip(&self.bounds).all(|(load, bound)| load <= bound) {
            return None;
        }
        let ideal = self.ideal();
        for stays in [false, true] {
            for slot in Slot::all() {
                let Some(place) = self.owner(slot) else { continue };
                let fits = ideal.get(slot.index()).copied().flatten() == Some(place);
                if self.load(place) > self.bound(place) && fits == stays {
                    self.give(slot, None);
                }
            }
        }
        Some(ideal)
    }

    /// Finds a Pod for every slot without one: the best by rendezvous that has room.
    fn house(&mut self) {
        for slot in Slot::all() {
            if self.owner(slot).is_some() {
                continue;
            }
            let has_room = |place: &usize| self.load(*place) < self.bound(*place);
            let place = self.firsts.of(slot).find(has_room).or_else(|| {
                let all = self.nodes.top(Key::slot(slot), self.pods.len());
                all.into_iter().find(has_room)
            });
            self.give(slot, place);
        }
    }

    /// Gives Pods below 1/1.15 of their share what rendezvous would give them, until they have their share.
    fn fill_up(&mut self, ideal: Option<Vec<Option<usize>>>) {
        let total: u64 = self.pods.iter().map(|pod| u64::from(pod.weight)).sum();
        let shares: Vec<usize> = self.pods.iter().map(|pod| share(pod.weight, total)).collect();
        let bound = usize::try_from(BOUND_PERCENT).unwrap_or(usize::MAX);
        let poor: Vec<bool> =
            shares.iter().zip(&self.loads).map(|(&share, &load)| load * bound < share * 100).collect();
        if !poor.contains(&true) {
            return;
        }
        let ideal = ideal.unwrap_or_else(|| self.ideal());
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
                self.give(slot, Some(place));
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
                self.give(slot, Some(place));
            }
        }
    }

    /// The document; the one before if it says the same.
    fn write(&self, previous: Option<&Placement>, leader_epoch: u64) -> Result<Placement, TooManyPods> {
        let table = self.pods.iter().map(|pod| PlacedPod { pod: pod.name.clone(), revision: pod.revision.clone() });
        let mut next = Placement::over(table.collect())?;
        for slot in Slot::all() {
            if let Some(owner) = self.owner(slot) {
                let standbys = self.firsts.of(slot).filter(|&place| place != owner);
                next.set(slot, std::iter::once(owner).chain(standbys).take(LIST));
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

    fn plan(pods: &[Pod], previous: Option<&Placement>) -> Placement {
        placement(pods, previous, 1).unwrap()
    }

    /// Slots that change hands, with the names of their Pods before and after.
    fn moved<'a>(from: &'a Placement, to: &'a Placement) -> Vec<(Slot, Option<&'a str>, Option<&'a str>)> {
        fn name(document: &Placement, slot: Slot) -> Option<&str> {
            document.owner(slot).map(|placed| &*placed.pod)
        }
        let all = Slot::all().map(|slot| (slot, name(from, slot), name(to, slot)));
        all.filter(|(_, from, to)| from != to).collect()
    }

    fn load(placement: &Placement, pod: &Pod) -> usize {
        Slot::all().filter(|&slot| placement.owner(slot).is_some_and(|placed| placed.pod == pod.name)).count()
    }

    #[test]
    fn a_first_placement_gives_every_slot_three_different_pods() {
        let pods = pool(&[1; 5]);
        let planned = plan(&pods, None);
        assert_eq!(planned.version, 1);
        for slot in Slot::all() {
            let mut list: Vec<_> = planned.list(slot).map(|placed| &placed.pod).collect();
            list.sort_unstable();
            list.dedup();
            assert_eq!(list.len(), 3, "{slot}");
        }
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let pods = pool(&[1, 1, 2]);
        let first = plan(&pods, None);
        let again = plan(&pods, Some(&first));
        assert_eq!(again, first, "with the version");
    }

    #[test]
    fn a_leaving_pod_loses_its_slots_and_nobody_else_does() {
        let first = plan(&pool(&[1; 4]), None);
        let leaving = pool(&[1, 1, 0, 1]);
        let planned = plan(&leaving, Some(&first));
        assert_eq!(load(&planned, &leaving[2]), 0);
        let moved = moved(&first, &planned);
        assert_eq!(moved.len(), load(&first, &leaving[2]));
        assert!(moved.iter().all(|(_, from, _)| *from == Some(&*leaving[2].name)));
    }

    #[test]
    fn a_new_pod_gets_its_share_and_the_others_keep_the_rest() {
        let first = plan(&pool(&[1; 4]), None);
        let pods = pool(&[1; 5]);
        let planned = plan(&pods, Some(&first));
        let (got, moved) = (load(&planned, &pods[4]), moved(&first, &planned));
        assert!((4096 * 100 / 115 / 5..=819).contains(&got), "{got} of a fair share of 819");
        let to_others = moved.iter().filter(|(.., to)| *to != Some(&*pods[4].name)).count();
        assert!(to_others <= 60, "{to_others} slots moved between Pods that stayed");
        assert!(moved.len() <= got + 60);
    }

    #[test]
    fn a_pod_that_went_and_came_back_does_not_shake_the_rest() {
        let pods = pool(&[1; 6]);
        let first = plan(&pods, None);
        let without = plan(&pods[..5], Some(&first));
        let back = plan(&pods, Some(&without));
        assert!(moved(&without, &back).iter().all(|(.., to)| *to == Some(&*pods[5].name)), "only it gets anything");
    }

    #[test]
    fn a_small_change_of_weight_moves_nobody() {
        let even = pool(&[100, 100, 100]);
        let first = plan(&even, None);
        let planned = plan(&pool(&[100, 104, 100]), Some(&first));
        assert_eq!(moved(&first, &planned), []);
    }

    #[test]
    fn who_gives_to_a_poor_pod_does_not_become_poor() {
        let first = plan(&pool(&[1, 1, 2, 0, 1, 1]), None);
        let pods = pool(&[1, 2, 3, 1, 1, 2, 1, 3, 3]);
        let second = plan(&pods, Some(&first));
        assert_eq!(plan(&pods, Some(&second)), second);
    }

    #[test]
    fn an_empty_pool_has_an_empty_placement() {
        let first = plan(&pool(&[1; 2]), None);
        let planned = plan(&[], Some(&first));
        assert!(planned.pods().is_empty());
        assert!(Slot::all().all(|slot| planned.owner(slot).is_none()));
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
                    prop_assert!(load(&planned, pod) <= bound);
                }
                prop_assert!(Slot::all().all(|slot| planned.owner(slot).is_some() == some));
                prop_assert_eq!(&plan(&pods, Some(&planned)), &planned);
                last = Some(planned);
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
