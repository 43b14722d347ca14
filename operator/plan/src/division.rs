//! Slots on two groups of Pods: a share of them on the canary, the rest where they were.
//!
//! The share is one of slots, taken so that it is one of users as well: a slot that alone has more users than the whole share
//! stays until everybody moves. Who had a slot keeps it, so a larger share takes more and moves nothing else. Behind each
//! canary Pod stand Pods of the main revision: if it dies, its slots go back.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::Slot;
use throng_core::placement::{LIST, PlacedPod, Placement, TooManyPods};
use throng_core::slot::SLOTS;

use crate::placement::{Pod, placement};
use crate::slot_set::SlotSet;

/// Slots are tried in an order that has nothing to do with their numbers: an odd factor makes a permutation of 4,096.
const SHUFFLE: u32 = 971;

/// Places `count` slots on `canary` and the others on `main`; neither is empty. `users` is what slots carry.
///
/// # Errors
/// More Pods than a placement can name.
pub fn divided(
    (main, canary): (&[Pod], &[Pod]),
    count: usize,
    users: &BTreeMap<Slot, u64>,
    previous: Option<&Placement>,
    leader_epoch: u64,
) -> Result<Placement, TooManyPods> {
    let had = owned_by(canary, previous);
    let chosen = choose(count, users, |slot| had.contains(slot));
    join((main, canary), &chosen, previous, leader_epoch)
}

/// Leaves `leaving` the slots that it had and gives it no other: it goes when others can take them.
///
/// # Errors
/// More Pods than a placement can name.
pub fn kept(
    (main, leaving): (&[Pod], &[Pod]),
    previous: Option<&Placement>,
    leader_epoch: u64,
) -> Result<Placement, TooManyPods> {
    join((main, leaving), &owned_by(leaving, previous), previous, leader_epoch)
}

/// Slots of these Pods.
fn owned_by(pods: &[Pod], previous: Option<&Placement>) -> SlotSet {
    let Some(previous) = previous else { return SlotSet::of(|_| false) };
    let names: BTreeSet<&str> = pods.iter().map(|pod| &*pod.name).collect();
    let theirs: Vec<bool> = previous.pods().iter().map(|placed| names.contains(&*placed.pod)).collect();
    SlotSet::of(|slot| previous.place(slot).and_then(|place| theirs.get(place).copied()).unwrap_or(false))
}

/// One document over both: `chosen` on the second, with the first behind it, all others on the first.
fn join(
    (main, canary): (&[Pod], &[Pod]),
    chosen: &SlotSet,
    previous: Option<&Placement>,
    leader_epoch: u64,
) -> Result<Placement, TooManyPods> {
    let on_main = placement(main, previous, leader_epoch)?;
    let on_canary = placement(canary, previous, leader_epoch)?;
    let mut all: Vec<&Pod> = main.iter().chain(canary).collect();
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    all.dedup_by(|a, b| a.name == b.name);
    let table = all.iter().map(|pod| PlacedPod { pod: pod.name.clone(), revision: pod.revision.clone() }).collect();
    let mut both = Placement::over(table)?;
    let place = |placed: &PlacedPod| all.binary_search_by(|pod| pod.name.cmp(&placed.pod)).ok();
    let places = |of: &Placement| of.pods().iter().map(place).collect::<Vec<_>>();
    let (mains, canarys) = (places(&on_main), places(&on_canary));
    for slot in Slot::all() {
        let first = on_canary.place(slot).filter(|_| chosen.contains(slot));
        let first = first.and_then(|place| canarys.get(place).copied().flatten());
        let others = on_main.places(slot).filter_map(|place| mains.get(place).copied().flatten());
        both.set(slot, first.into_iter().chain(others).take(LIST));
    }
    both.leader_epoch = leader_epoch;
    Ok(both)
}

/// Which slots: first those that the canary had, then one after another as long as their users are within the share; if that
/// is not enough, the quietest of the rest.
fn choose(count: usize, users: &BTreeMap<Slot, u64>, had: impl Fn(Slot) -> bool) -> SlotSet {
    let mut carried = vec![0; usize::from(SLOTS)];
    for (slot, users) in users {
        if let Some(entry) = carried.get_mut(slot.index()) {
            *entry = *users;
        }
    }
    let of = |slot: Slot| carried.get(slot.index()).copied().unwrap_or(0);
    let all = users.values().fold(0u64, |all, users| all.saturating_add(*users));
    let mut left = u128::from(all) * count as u128 / u128::from(SLOTS);
    let (mut order, others): (Vec<Slot>, Vec<Slot>) = shuffled().partition(|slot| had(*slot));
    order.extend(others);
    let (mut chosen, mut taken) = (SlotSet::of(|_| false), 0);
    for slot in order.iter().copied() {
        let users = u128::from(of(slot));
        if taken < count && users <= left {
            left -= users;
            taken += 1;
            chosen.insert(slot);
        }
    }
    if taken < count {
        order.retain(|slot| !chosen.contains(*slot));
        order.sort_by_key(|slot| of(*slot));
        order.into_iter().take(count - taken).for_each(|slot| chosen.insert(slot));
    }
    chosen
}

fn shuffled() -> impl Iterator<Item = Slot> {
    (0..u32::from(SLOTS)).filter_map(|number| {
        let slot = number * SHUFFLE % u32::from(SLOTS);
        Slot::new(u16::try_from(slot).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(revision: &str, pods: usize) -> Vec<Pod> {
        let name = |i| format!("live-chatroom-{revision}-{i}").into();
        (0..pods).map(|i| Pod { name: name(i), revision: revision.into(), weight: 1 }).collect()
    }

    fn slots_on(placement: &Placement, revision: &str) -> BTreeSet<Slot> {
        Slot::all().filter(|slot| placement.owner(*slot).is_some_and(|placed| &*placed.revision == revision)).collect()
    }

    #[test]
    fn the_hottest_room_stays_and_the_share_is_one_of_users_too() {
        let hot = Slot::new(7).unwrap();
        let users: BTreeMap<Slot, u64> = Slot::all().map(|slot| (slot, if slot == hot { 9000 } else { 1 })).collect();
        let first = placement(&pool("1", 4), None, 1).unwrap();
        let both = divided((&pool("1", 4), &pool("2", 1)), 205, &users, Some(&first), 1).unwrap();
        let canary = slots_on(&both, "2");
        assert_eq!(canary.len(), 205);
        assert!(!canary.contains(&hot));
        let moved = Slot::all().filter(|slot| first.owner(*slot) != both.owner(*slot)).count();
        assert_eq!(moved, 205, "nothing else moves");
        let standby = |slot: Slot| both.list(slot).nth(1).unwrap().revision.to_string();
        assert!(canary.iter().all(|slot| standby(*slot) == "1"));
    }

    #[test]
    fn who_leaves_keeps_what_it_had_and_gets_nothing_else() {
        let all = [pool("1", 2), pool("2", 1)].concat();
        let before = placement(&all, None, 1).unwrap();
        let had = slots_on(&before, "2");
        let after = kept((&pool("1", 1), &pool("2", 1)), Some(&before), 1).unwrap();
        assert_eq!(slots_on(&after, "2"), had, "the slots of the one that is gone are not for it");
        let alone = kept((&pool("1", 1), &pool("2", 1)), None, 1).unwrap();
        assert!(slots_on(&alone, "2").is_empty());
    }

    #[test]
    fn where_every_slot_is_busy_the_quietest_fill_the_share() {
        let users: BTreeMap<Slot, u64> = [(Slot::new(1).unwrap(), 5000), (Slot::new(2).unwrap(), 9)].into();
        assert_eq!(choose(4096, &users, |_| false).len(), 4096);
        let most = choose(4095, &users, |_| false);
        assert!(!most.contains(Slot::new(1).unwrap()) && most.contains(Slot::new(2).unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever rooms there are: the share of slots is exact, that of users is not passed unless nothing else is left,
        /// and a larger share keeps what a smaller one had.
        #[test]
        fn a_share_is_exact_and_grows_without_giving_back(
            busy in prop::collection::btree_map(0u16..4096, 1u64..5000, 0..60),
            (small, more) in (1usize..2000, 0usize..2000),
        ) {
            let users: BTreeMap<Slot, u64> = busy.into_iter().filter_map(|(n, u)| Some((Slot::new(n)?, u))).collect();
            let of = |slots: &SlotSet| users.iter().filter(|(slot, _)| slots.contains(**slot)).map(|(_, users)| users).sum::<u64>();
            let first = choose(small, &users, |_| false);
            let second = choose(small + more, &users, |slot| first.contains(slot));
            prop_assert_eq!((first.len(), second.len()), (small, small + more));
            prop_assert!(of(&first) * 4096 <= users.values().sum::<u64>() * small as u64);
            prop_assert!(Slot::all().all(|slot| second.contains(slot) || !first.contains(slot)));
        }
    }
}
