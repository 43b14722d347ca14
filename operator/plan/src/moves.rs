//! Slots change hands in steps: a document that would move many at once is written as a row of documents, each of which
//! moves a few. Idle slots go first, the hottest last, so that few people notice at a time and a bad Pod is found out by
//! the quietest rooms: while a batch does not settle, no other begins.
//!
//! A step remembers nothing of the one before: what is under way is read from the document in force and from the claims.
//! The target is to be kept until the pool changes. Planned anew from each step it would be content with the idle slots,
//! and the hot ones would never leave the Pods that have too much.

use std::collections::BTreeMap;

use throng_core::Slot;
use throng_core::placement::{LIST, Placement};

/// A slot that a Pod serves which lives and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Place of the Pod in the table of the target.
    pub by: usize,
    /// What the slot carries, as its owner said lately; none: nobody knows, so it counts as the hottest.
    pub activity: Option<Activity>,
}

impl Held {
    /// How many people a move of it is felt by, at worst.
    const fn cost(&self) -> u64 {
        match &self.activity {
            Some(activity) => activity.cost(),
            None => u64::MAX,
        }
    }
}

/// What a slot carries, as its owner reported it; nothing where nobody did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Rooms in it; zero for a slot of users.
    pub rooms: u64,
    /// Members of those rooms, or users who have their home in it.
    pub users: u64,
}

impl Activity {
    /// How many people a move of it is felt by: nobody if it is idle, at least one if somebody could come.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        if self.users == 0 && self.rooms > 0 { 1 } else { self.users }
    }
}

/// The document to write next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Equal to the document in force, version included, if there is nothing to write.
    pub placement: Placement,
    /// Slots that begin to move with it.
    pub starts: usize,
    /// Slots whose owner has not moved them yet although the document in force says so.
    pub under_way: usize,
    /// Slots whose move waits for a later step: the document names their present owner first.
    pub waiting: usize,
}

/// The next document on the way from the one in force to `target`.
///
/// A slot that is not in `held` goes where it should be at once: nobody serves it, its owner is dead, or its owner leaves
/// and sends its slots away by itself, at its own pace. So does a slot whose owner the target does not know. Of the
/// others all idle ones go at once; then, whenever nothing is under way, the quietest that together carry at most
/// `users_at_once` (one slot at least). O(slots x log slots).
#[must_use]
pub fn step(
    in_force: Option<&Placement>,
    target: &Placement,
    held: impl IntoIterator<Item = (Slot, Held)>,
    users_at_once: u64,
) -> Step {
    let places: BTreeMap<&str, usize> = target.pods().iter().enumerate().map(|(i, placed)| (&*placed.pod, i)).collect();
    let in_force_table = in_force.map_or(&[][..], Placement::pods);
    let now: Vec<Option<usize>> = in_force_table.iter().map(|placed| places.get(&*placed.pod).copied()).collect();
    let now = |slot: Slot| now.get(in_force?.place(slot)?).copied().flatten();
    let mut under_way = 0;
    let mut wanted: Vec<(u64, Slot, usize)> = Vec::new();
    for (slot, held) in held {
        let Some(to) = target.place(slot).filter(|to| *to != held.by && held.by < places.len()) else { continue };
        if now(slot) == Some(to) {
            under_way += 1;
        } else {
            wanted.push((held.cost(), slot, held.by));
        }
    }
    wanted.sort_unstable();
    let idle = wanted.partition_point(|(cost, ..)| *cost == 0);
    let starts = if under_way == 0 && idle == 0 { batch(&wanted, users_at_once) } else { idle };
    let waiting = wanted.split_off(starts);

    let mut placement = target.clone();
    for &(_, slot, from) in &waiting {
        let others = target.places(slot).filter(|&place| place != from);
        placement.set(slot, std::iter::once(from).chain(others).take(LIST));
    }
    placement.version = in_force.map_or(0, |document| document.version);
    if in_force != Some(&placement) {
        placement.version += 1;
    }
    Step { placement, starts, under_way, waiting: waiting.len() }
}

/// How many of these, the quietest first, may move together.
fn batch(wanted: &[(u64, Slot, usize)], users_at_once: u64) -> usize {
    let mut users = 0u64;
    let fit = wanted.iter().take_while(|(cost, ..)| {
        users = users.saturating_add(*cost);
        users <= users_at_once
    });
    fit.count().max(1).min(wanted.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::placement::{Pod, placement};

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn pods(weights: &[u32]) -> Vec<Pod> {
        let pod = |(i, &weight): (usize, &u32)| Pod { name: name(i), revision: "r1".into(), weight };
        weights.iter().enumerate().map(pod).collect()
    }

    fn name(i: usize) -> Arc<str> {
        format!("p{i}").into()
    }

    /// A pool with a document in force, its claims, and people.
    struct World {
        document: Option<Placement>,
        target: Placement,
        owners: BTreeMap<Slot, Arc<str>>,
        users: BTreeMap<Slot, u64>,
        budget: u64,
        /// Pods that do not say what their slots carry.
        silent: BTreeSet<Arc<str>>,
    }

    impl World {
        /// All slots are where `weights` want them.
        fn at_rest(weights: &[u32], users: &[(u16, u64)], budget: u64) -> Self {
            let document = placement(&pods(weights), None, 1).unwrap();
            let owners = Slot::all().filter_map(|s| Some((s, Arc::clone(&document.owner(s)?.pod)))).collect();
            let users = users.iter().map(|&(number, users)| (slot(number), users)).collect();
            Self { document: Some(document.clone()), target: document, owners, users, budget, silent: BTreeSet::new() }
        }

        fn cost(&self, slot: Slot) -> u64 {
            self.users.get(&slot).copied().unwrap_or(0)
        }

        /// Slots whose owners live and stay, with these.
        fn held(&self, live: &[Pod]) -> BTreeMap<Slot, Arc<str>> {
            let stays = |pod: &Arc<str>| live.iter().any(|live| live.name == *pod && live.weight > 0);
            let held = self.owners.iter().filter(|(_, pod)| stays(pod));
            held.map(|(slot, pod)| (*slot, Arc::clone(pod))).collect()
        }

        fn plan(&mut self, live: &[Pod]) {
            self.target = placement(live, Some(&self.target), 1).unwrap();
        }

        /// What the planner does at a look: a step towards the target.
        fn look(&mut self, live: &[Pod]) -> Step {
            let held = self.held(live).into_iter().filter_map(|(slot, pod)| {
                let activity = Activity { rooms: self.cost(slot).min(1), users: self.cost(slot) };
                let by = self.target.pods().iter().position(|placed| placed.pod == pod)?;
                Some((slot, Held { by, activity: (!self.silent.contains(&pod)).then_some(activity) }))
            });
            let step = step(self.document.as_ref(), &self.target, held, self.budget);
            self.document = Some(step.placement.clone());
            step
        }

        /// Slots that their owner has to give to another now.
        fn under_way(&self, live: &[Pod]) -> Vec<Slot> {
            let document = self.document.as_ref().unwrap();
            let held = self.held(live).into_iter();
            held.filter(|(slot, pod)| document.owner(*slot).unwrap().pod != *pod).map(|(slot, _)| slot).collect()
        }

        fn under_way_costs(&self, live: &[Pod]) -> Vec<u64> {
            let document = self.document.as_ref().unwrap();
            let moves = self.held(live).into_iter().filter(|(slot, pod)| document.owner(*slot).unwrap().pod != *pod);
            // A Pod that is gone is nobody to move to: such a slot is at its owner until the next look.
            let moves = moves.filter(|(slot, _)| {
                live.iter().any(|pod| pod.weight > 0 && pod.name == document.owner(*slot).unwrap().pod)
            });
            moves.map(|(slot, _)| self.cost(slot)).collect()
        }

        fn settle(&mut self, slots: impl IntoIterator<Item = Slot>) {
            for slot in slots {
                let to = &self.document.as_ref().unwrap().owner(slot).unwrap().pod;
                self.owners.insert(slot, Arc::clone(to));
            }
        }
    }

    #[test]
    fn idle_slots_go_first_and_the_hottest_last() {
        let live = pods(&[1, 1]);
        let mut world = World::at_rest(&[1], &[], 100);
        world.plan(&live);
        let moves = Slot::all().filter(|&slot| world.target.owner(slot).unwrap().pod == name(1));
        let moves: Vec<Slot> = moves.take(4).collect();
        world.users = moves.iter().copied().zip([5000, 60, 30, 20]).collect();
        let mut batches = Vec::new();
        loop {
            let step = world.look(&live);
            if step.starts == 0 {
                assert_eq!((step.under_way, step.waiting), (0, 0));
                break;
            }
            let batch = world.under_way(&live);
            assert_eq!(batch.len(), step.starts);
            batches.push(batch.iter().map(|slot| world.cost(*slot)).collect::<Vec<_>>());
            world.settle(batch);
        }
        assert!(batches[0].len() > 1500 && batches[0].iter().all(|&users| users == 0));
        assert_eq!(batches[1..], [vec![30, 20], vec![60], vec![5000]], "in the order of slots within a batch");
    }

    #[test]
    fn a_batch_that_does_not_settle_lets_no_other_begin() {
        let live = pods(&[1, 1]);
        let all: Vec<(u16, u64)> = (0..4096).map(|number| (number, 40)).collect();
        let mut world = World::at_rest(&[1], &all, 100);
        world.plan(&live);
        let first = world.look(&live);
        assert_eq!((first.starts, first.under_way), (2, 0));
        let second = world.look(&live);
        assert_eq!((second.starts, second.under_way), (0, 2));
        assert_eq!(second.placement, first.placement, "and nothing is written");
        let batch = world.under_way(&live);
        world.settle(batch[..1].to_vec());
        assert_eq!(world.look(&live).starts, 0, "one of two is under way");
        world.settle(batch[1..].to_vec());
        assert_eq!(world.look(&live).starts, 2);
    }

    #[test]
    fn who_waits_has_its_present_owner_first_and_the_next_one_as_standby() {
        let live = pods(&[1, 1, 1]);
        let all: Vec<(u16, u64)> = (0..4096).map(|number| (number, 40)).collect();
        let mut world = World::at_rest(&[1, 1, 0], &all, 40);
        world.plan(&live);
        let (step, target) = (world.look(&live), world.target.clone());
        let waits = Slot::all().filter(|slot| target.owner(*slot).unwrap().pod != world.owners[slot]).nth(1).unwrap();
        let list: Vec<_> = step.placement.list(waits).map(|placed| Arc::clone(&placed.pod)).collect();
        assert_eq!(list[..2], [Arc::clone(&world.owners[&waits]), Arc::clone(&target.owner(waits).unwrap().pod)]);
        assert_eq!(list.len(), LIST);
    }

    #[test]
    fn slots_of_a_dead_pod_or_of_one_that_leaves_are_not_held_back() {
        let all: Vec<(u16, u64)> = (0..4096).map(|number| (number, 40)).collect();
        for live in [pods(&[1, 1]), pods(&[1, 1, 0])] {
            let mut world = World::at_rest(&[1, 1, 1], &all, 1);
            world.plan(&live);
            let step = world.look(&live);
            assert_eq!((step.starts, step.waiting), (0, 0));
            assert!(Slot::all().all(|slot| step.placement.owner(slot).unwrap().pod != name(2)));
        }
    }

    #[test]
    fn slots_of_a_pod_that_says_nothing_count_as_the_hottest() {
        let live = pods(&[1, 1, 1]);
        let all: Vec<(u16, u64)> = (0..4096).map(|number| (number, 50)).collect();
        let mut world = World::at_rest(&[1, 1, 0], &all, 100);
        world.silent = [name(0)].into();
        world.plan(&live);
        let (mut known, mut unknown) = (0, 0);
        loop {
            let step = world.look(&live);
            let batch = world.under_way(&live);
            let silent = batch.iter().filter(|slot| *world.owners[*slot] == *name(0)).count();
            match (step.starts, silent) {
                (0, _) => break,
                (2, 0) => {
                    assert_eq!(unknown, 0, "all that is known goes before");
                    known += 2;
                }
                (1, 0) => known += 1,
                (1, 1) => unknown += 1,
                other => panic!("{other:?}"),
            }
            world.settle(batch);
        }
        assert!(known > 500 && unknown > 500, "{known} and {unknown}");
    }

    #[test]
    fn a_slot_with_rooms_but_without_members_is_not_idle() {
        assert_eq!(Activity { rooms: 3, users: 0 }.cost(), 1);
        assert_eq!(Activity { rooms: 3, users: 9 }.cost(), 9);
        assert_eq!(Activity::default().cost(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Through any history of pools, however slowly owners follow: at no time is more than the budget under way (or
        /// one slot), a busy slot begins only when no idle one waits, what nobody holds goes at once, and soon the
        /// target is in force.
        #[test]
        fn every_history_comes_to_rest_in_paced_steps(
            first in prop::collection::vec(1u32..4, 1..5),
            history in prop::collection::vec(prop::collection::vec(0u32..4, 1..7), 1..4),
            users in prop::collection::vec((0u16..4096, 1u64..80), 0..60),
            slowness in 1usize..4,
        ) {
            let mut world = World::at_rest(&first, &users, 100);
            for weights in history.iter().filter(|weights| weights.iter().any(|weight| *weight > 0)) {
                let live = pods(weights);
                world.plan(&live);
                let mut rounds = 0;
                loop {
                    let before = world.under_way_costs(&live);
                    let step = world.look(&live);
                    let after = world.under_way_costs(&live);
                    let (begun, busy) = (after.len() - before.len(), after.iter().filter(|cost| **cost > 0).count());
                    prop_assert!(after.iter().sum::<u64>() <= 100 || busy == 1);
                    prop_assert!(begun == 0 || busy == 0 || before.is_empty() && busy == after.len());
                    let held = world.held(&live);
                    let free = Slot::all().filter(|slot| !held.contains_key(slot)).collect::<Vec<_>>();
                    let stays = |slot: &Slot| live.iter().any(|pod| pod.weight > 0 && pod.name == step.placement.owner(*slot).unwrap().pod);
                    prop_assert!(free.iter().all(stays));
                    if after.is_empty() && free.is_empty() {
                        prop_assert_eq!(step.waiting, 0);
                        break;
                    }
                    let some = world.under_way(&live).into_iter().enumerate().filter(|(i, _)| (i + rounds) % slowness == 0);
                    let some: Vec<Slot> = some.map(|(_, slot)| slot).collect();
                    world.settle(some);
                    world.settle(free);
                    rounds += 1;
                    prop_assert!(rounds < 60 * 20, "it never comes to rest");
                }
                let document = world.document.clone().unwrap();
                let mut target = world.target.clone();
                target.version = document.version;
                prop_assert_eq!(target, document);
            }
        }
    }
}
