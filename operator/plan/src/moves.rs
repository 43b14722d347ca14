//! Which slots change hands next: those whose owner is not the one they should have, at a measured pace, idle ones
//! first and the hottest last, so that the fewest people notice and a bad Pod is found out by the quietest rooms.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use throng_core::placement::Placement;
use throng_core::routes::{Claims, Peer};
use throng_core::{InstanceId, Millis, Slot};

/// What a slot carries, as its owner reported it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Rooms (of room slots) or active users (of user slots) in it.
    pub occupants: u64,
    /// Members of those rooms; zero for user slots.
    pub members: u64,
    /// Messages in the last minute.
    pub messages_per_min: u64,
}

impl Activity {
    /// How much a move of it is felt. Somebody who writes weighs as much as twenty who read.
    #[must_use]
    pub const fn heat(&self) -> u64 {
        let written = self.messages_per_min.saturating_mul(20);
        written.saturating_add(self.members).saturating_add(self.occupants)
    }
}

/// How fast slots may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Most moves under way at one time.
    pub at_once: usize,
    /// Most moves started within a second.
    pub per_s: usize,
    /// A move that has not ended after so long counts as failed, in milliseconds: its place in the queue is free, and
    /// it is started again in its turn.
    pub give_up_ms: u64,
}

impl Default for Pace {
    /// 8 at once, 64 a second: a Pod of 1,000 slots is empty within 20 s if every move is quick.
    fn default() -> Self {
        Self { at_once: 8, per_s: 64, give_up_ms: 10_000 }
    }
}

/// What the choice needs to know of one role.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Who owns each slot.
    pub claims: &'a Claims,
    /// Who should.
    pub placement: &'a Placement,
    /// Live processes of the role.
    pub peers: &'a BTreeMap<InstanceId, Peer>,
    /// What each slot carries; a slot that is not in it is idle.
    pub activity: &'a BTreeMap<Slot, Activity>,
    /// Moves asked for before, with the time of asking; those that ended may be in it or not.
    pub asked: &'a BTreeMap<Slot, Millis>,
    /// etcd or the store is in trouble: nothing is moved.
    pub unhealthy: bool,
}

/// A slot is to change hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The slot.
    pub slot: Slot,
    /// Process that owns it.
    pub from: InstanceId,
    /// Process that should.
    pub to: InstanceId,
    /// Why.
    pub why: Why,
}

/// Reason of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Its owner is emptying.
    Draining {
        /// How much the move is felt.
        heat: u64,
    },
    /// Its place is elsewhere.
    Misplaced {
        /// How much the move is felt.
        heat: u64,
    },
}

impl Why {
    const fn heat(&self) -> u64 {
        match self {
            Self::Draining { heat } | Self::Misplaced { heat } => *heat,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining { heat } => write!(f, "its owner is emptying (heat {heat})"),
            Self::Misplaced { heat } => write!(f, "its place is elsewhere (heat {heat})"),
        }
    }
}

/// What to start now, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// To be started now, coolest first.
    pub start: Vec<Move>,
    /// Moves that were asked for and have neither ended nor failed.
    pub under_way: usize,
    /// Moves that wait for their turn.
    pub waiting: usize,
    /// Why nothing is started although something waits.
    pub held: Option<Held>,
    /// When the pace may allow more. A move that ends is a reason to look again at once.
    pub look_again: Option<Millis>,
}

/// Why the queue stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Held {
    /// etcd or the store is in trouble.
    Unhealthy,
    /// As many as allowed are under way.
    AtOnce,
    /// As many as allowed were started within a second.
    PerSecond,
}

/// Chooses the moves to start now. O(slots x log slots).
#[must_use]
pub fn moves(world: &World<'_>, pace: Pace, now: Millis) -> Queue {
    let mut wanted: Vec<Move> = Slot::all().filter_map(|slot| wanted(world, slot)).collect();
    let running = |slot: &Slot| world.asked.get(slot).filter(|at| now.since(**at) < pace.give_up_ms);
    let under_way: BTreeSet<Slot> = wanted.iter().map(|m| m.slot).filter(|slot| running(slot).is_some()).collect();
    let recent: Vec<Millis> = world.asked.values().copied().filter(|at| now.since(*at) < 1000).collect();
    wanted.retain(|m| !under_way.contains(&m.slot));
    wanted.sort_by_key(|m| (m.why.heat(), m.slot));

    let free = pace.at_once.saturating_sub(under_way.len());
    let allowed = pace.per_s.saturating_sub(recent.len());
    let count = if world.unhealthy { 0 } else { free.min(allowed).min(wanted.len()) };
    let later = wanted.split_off(count);
    let held = match () {
        () if later.is_empty() => None,
        () if world.unhealthy => Some(Held::Unhealthy),
        () if count == free => Some(Held::AtOnce),
        () => Some(Held::PerSecond),
    };
    let look_again = match held {
        None | Some(Held::Unhealthy) => None,
        Some(Held::PerSecond) => Some(recent.iter().min().map_or(now + 1000, |first| *first + 1000)),
        Some(Held::AtOnce) => under_way.iter().filter_map(running).min().map(|first| *first + pace.give_up_ms),
    };
    Queue { start: wanted, under_way: under_way.len(), waiting: later.len(), held, look_again }
}

/// The move that a slot needs, if any: its owner lives, and so does the Pod that should have it.
fn wanted(world: &World<'_>, slot: Slot) -> Option<Move> {
    let owner = world.claims.owner(slot)?;
    let from = world.peers.get(&owner.instance)?;
    let (to, peer) = world
        .placement
        .list(slot)
        .find_map(|placed| world.peers.iter().find(|(_, peer)| peer.pod == placed.pod && !peer.draining))?;
    let heat = world.activity.get(&slot).map_or(0, Activity::heat);
    let why = if from.draining { Why::Draining { heat } } else { Why::Misplaced { heat } };
    (peer.pod != from.pod).then(|| Move { slot, from: owner.instance.clone(), to: to.clone(), why })
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}: {} -> {}, {}", self.slot, self.from, self.to, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_core::Epoch;
    use throng_core::placement::PlacedPod;
    use throng_core::routes::Owner;

    /// Two Pods; `a` owns the first `owned` slots, all of which belong to `b`.
    struct Scene {
        claims: Claims,
        placement: Placement,
        peers: BTreeMap<InstanceId, Peer>,
        activity: BTreeMap<Slot, Activity>,
        asked: BTreeMap<Slot, Millis>,
        unhealthy: bool,
    }

    fn instance(pod: &str) -> InstanceId {
        InstanceId::new(&format!("{pod}-i")).unwrap()
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    impl Scene {
        fn new(owned: u16) -> Self {
            let pods = ["a", "b"].map(|pod| PlacedPod { pod: pod.into(), revision: "r1".into() });
            let mut placement = Placement::over(pods.into()).unwrap();
            let mut claims = Claims::default();
            for slot in (0..owned).map(slot) {
                placement.set(slot, [1, 0]);
                let held = Owner { instance: instance("a"), address: "a:1".into(), epoch: Epoch(1) };
                claims.set(slot, Some(held));
            }
            let live = |pod: &str| Peer { pod: pod.into(), address: "x:1".into(), draining: false };
            let peers = ["a", "b"].map(|pod| (instance(pod), live(pod))).into();
            Self { claims, placement, peers, activity: BTreeMap::new(), asked: BTreeMap::new(), unhealthy: false }
        }

        fn queue(&self, pace: Pace, now: u64) -> Queue {
            let world = World {
                claims: &self.claims,
                placement: &self.placement,
                peers: &self.peers,
                activity: &self.activity,
                asked: &self.asked,
                unhealthy: self.unhealthy,
            };
            moves(&world, pace, Millis(now))
        }
    }

    const PACE: Pace = Pace { at_once: 2, per_s: 3, give_up_ms: 10_000 };

    fn numbers(queue: &Queue) -> Vec<u16> {
        queue.start.iter().map(|m| m.slot.number()).collect()
    }

    #[test]
    fn idle_slots_go_first_and_the_hottest_last() {
        let mut scene = Scene::new(3);
        scene.activity.insert(slot(0), Activity { occupants: 1, members: 5000, messages_per_min: 9000 });
        scene.activity.insert(slot(2), Activity { occupants: 1, members: 10, messages_per_min: 0 });
        let all = scene.queue(Pace { at_once: 9, per_s: 9, ..PACE }, 0);
        assert_eq!(numbers(&all), [1, 2, 0]);
        assert_eq!(all.start[2].to_string(), "slot 0: a-i -> b-i, its place is elsewhere (heat 185001)");
    }

    #[test]
    fn no_more_than_the_pace_allows_are_under_way_or_started_in_a_second() {
        let mut scene = Scene::new(10);
        let first = scene.queue(PACE, 0);
        assert_eq!((numbers(&first), first.waiting, first.held), (vec![0, 1], 8, Some(Held::AtOnce)));
        scene.asked = BTreeMap::from([(slot(0), Millis(0)), (slot(1), Millis(0))]);
        let busy = scene.queue(PACE, 100);
        assert_eq!((busy.start.len(), busy.under_way, busy.look_again), (0, 2, Some(Millis(10_000))));
        let moved = Owner { instance: instance("b"), address: "b:1".into(), epoch: Epoch(2) };
        scene.claims.set(slot(0), Some(moved.clone()));
        scene.claims.set(slot(1), Some(moved));
        let third = scene.queue(PACE, 200);
        assert_eq!((numbers(&third), third.held), (vec![2], Some(Held::PerSecond)));
        assert_eq!(third.look_again, Some(Millis(1000)));
    }

    #[test]
    fn a_move_that_never_ends_gives_its_place_away_and_is_tried_again() {
        let mut scene = Scene::new(1);
        scene.asked.insert(slot(0), Millis(0));
        assert_eq!(scene.queue(PACE, 9_999).start, []);
        assert_eq!(numbers(&scene.queue(PACE, 10_000)), [0]);
    }

    #[test]
    fn nothing_moves_while_etcd_or_the_store_is_in_trouble() {
        let mut scene = Scene::new(3);
        scene.unhealthy = true;
        let queue = scene.queue(PACE, 0);
        assert_eq!((queue.start.len(), queue.waiting, queue.held), (0, 3, Some(Held::Unhealthy)));
    }

    #[test]
    fn a_slot_moves_only_to_a_live_pod_and_only_if_it_is_not_there() {
        let mut scene = Scene::new(2);
        scene.peers.remove(&instance("b"));
        assert_eq!(scene.queue(PACE, 0), Queue::default());
        let mut at_home = Scene::new(2);
        at_home.placement.set(slot(0), [0, 1]);
        assert_eq!(numbers(&at_home.queue(PACE, 0)), [1]);
    }

    #[test]
    fn a_draining_owner_gives_its_slots_to_the_next_of_the_list() {
        let mut scene = Scene::new(1);
        scene.placement.set(slot(0), [0, 1]);
        assert_eq!(scene.queue(PACE, 0).start, []);
        scene.peers.get_mut(&instance("a")).unwrap().draining = true;
        let queue = scene.queue(PACE, 0);
        assert_eq!(queue.start[0].why, Why::Draining { heat: 0 });
    }
}
