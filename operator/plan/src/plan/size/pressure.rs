//! What each Pod says it carries, as a share of what it should carry at most: of its loads the one that is nearest.
//!
//! The load of every Pod counts that has one, draining or not; only Pods that serve are capacity. A slot cannot be divided,
//! so it counts for one Pod at most, whatever it carries: more Pods would not help it.

use std::collections::BTreeMap;

use throng_core::{Role, Slot};

use super::super::census::{Seat, State};
use super::demand::pods;
use crate::spec::pool::Target;
use crate::world::sample::{FRESH_MS, users_load};
use crate::world::{Sample, World};

/// A sample that says nobody is there while something else of it says that so many are is not believed.
const MANY: u64 = 100;

/// What the Pods of a pool say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Readings {
    /// Pods that may have users.
    pub(super) pods: Vec<Reading>,
    /// The hottest slot, if it is too hot for one Pod.
    pub(super) too_hot: Option<TooHot>,
}

/// What one Pod says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Its name.
    pub(super) pod: String,
    /// It serves: its capacity counts.
    pub(super) serves: bool,
    /// Its pressure, 1.0: as much as it should carry; or why it is not known.
    pub(super) pressure: Result<f64, Silence>,
}

/// Why the pressure of a Pod is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Silence {
    /// Its last sample is too old, or there is none.
    Missing,
    /// What it says cannot be true.
    Contradicts,
}

/// A slot that carries more than one Pod should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct TooHot {
    /// The slot.
    pub(in super::super) slot: Slot,
    /// The Pod that owns it.
    pub(in super::super) pod: String,
    /// What it carries, in percent of what one Pod should.
    pub(in super::super) percent: u32,
}

impl Readings {
    /// Sum of all pressures; a Pod whose own is not known counts `silent`.
    pub(super) fn sum(&self, silent: f64) -> f64 {
        self.pods.iter().map(|reading| reading.pressure.unwrap_or(silent)).sum()
    }
}

/// Reads the samples of a pool. O(Pods), and O(slots) while a Pod carries more than it should.
pub(super) fn read(world: &World, role: Role, targets: &[Target], seats: &[Seat<'_>]) -> Readings {
    let mut readings = Readings::default();
    let mut slots = None;
    for seat in seats.iter().filter(|seat| may_carry(seat)) {
        let sample = world.samples.get(&seat.pod.uid).filter(|sample| sample.is_fresh(world.now));
        let mut pressure = match sample {
            None => Err(Silence::Missing),
            Some(sample) => believed(world, role, targets, sample).ok_or(Silence::Contradicts),
        };
        if let (Some(sample), Ok(above)) = (sample, pressure)
            && above > 1.0
            && role != Role::Gateway
        {
            let slots = slots.get_or_insert_with(|| busy_slots(world, role));
            let of_pod = slots.get(seat.pod.uid.as_str()).map_or(&[][..], Vec::as_slice);
            let (at_most, hottest) = capped(role, targets, sample, of_pod);
            pressure = Ok(at_most);
            if let Some((slot, share)) = hottest {
                note(&mut readings.too_hot, seat.name, slot, share);
            }
        }
        readings.pods.push(Reading { pod: seat.name.to_owned(), serves: seat.serves(), pressure });
    }
    readings
}

/// Pressure by a sample, whether it is believed or not; nothing if it holds none of the loads.
pub(in super::super) fn of_sample(targets: &[Target], sample: &Sample) -> Option<f64> {
    let shares = targets.iter().filter_map(|target| Some(sample.load.get(target.load)? / target.per_pod));
    shares.reduce(f64::max)
}

/// Whether users can be on a Pod: not if its process is gone, or if it never had one.
fn may_carry(seat: &Seat<'_>) -> bool {
    let began = seat.serves() || seat.pod.serving || seat.drain.is_some() || seat.load.users > 0;
    match seat.state {
        State::Live | State::Going => began && (seat.healthy() || !seat.load.is_nothing()),
        State::Lost | State::Over => false,
    }
}

/// The pressure that a sample tells, unless it contradicts itself.
fn believed(world: &World, role: Role, targets: &[Target], sample: &Sample) -> Option<f64> {
    let (users, left) = (sample.users(role), sample.left);
    let from_later = sample.at.0.since(world.now.0) > FRESH_MS;
    let no_number = sample.load.values().any(|load| !load.is_finite() || *load < 0.0);
    let nobody_left = match role {
        // Of a gateway both are its connections.
        Role::Gateway => (users == 0 && left >= MANY) || (left == 0 && users >= MANY),
        // An owner without slots has nobody; rooms may be without members.
        Role::Chatroom | Role::Message => left == 0 && users >= MANY,
    };
    if from_later || no_number || nobody_left {
        return None;
    }
    of_sample(targets, sample)
}

/// Slots that somebody is in, by the uid of their owner.
fn busy_slots(world: &World, role: Role) -> BTreeMap<&str, Vec<(Slot, u64)>> {
    let mut busy: BTreeMap<&str, Vec<(Slot, u64)>> = BTreeMap::new();
    let claims = world.registry.iter().flat_map(|registry| registry.claims.of(role).busy());
    for (slot, uid, activity) in claims.filter(|(.., activity)| activity.users > 0) {
        busy.entry(uid).or_default().push((slot, activity.users));
    }
    busy
}

/// Pressure of a Pod if each of its slots counts for one Pod at most, and the slot that is hottest beyond that.
///
/// Nobody counts loads by slot. Of its users the slot has those that it has; of the other loads of a chatroom Pod it has the
/// same share. Those of a message Pod come from rooms, not from its slots of users.
fn capped(role: Role, targets: &[Target], sample: &Sample, slots: &[(Slot, u64)]) -> (f64, Option<(Slot, f64)>) {
    let counted: u64 = slots.iter().fold(0, |sum, (_, users)| sum.saturating_add(*users));
    let users = sample.users(role).max(counted).max(1) as f64;
    let (mut most, mut hottest) = (0.0f64, None);
    for target in targets {
        let Some(load) = sample.load.get(target.load) else { continue };
        let mut pressure = load / target.per_pod;
        if role == Role::Chatroom || target.load == users_load(role) {
            for &(slot, of_slot) in slots {
                let part = load / target.per_pod * (of_slot as f64 / users);
                if part > 1.0 {
                    pressure -= part - 1.0;
                    if hottest.is_none_or(|(_, hot)| part > hot) {
                        hottest = Some((slot, part));
                    }
                }
            }
        }
        most = most.max(pressure);
    }
    (most, hottest)
}

/// Keeps the hottest slot.
fn note(too_hot: &mut Option<TooHot>, pod: &str, slot: Slot, share: f64) {
    let percent = pods(share * 100.0);
    if too_hot.as_ref().is_none_or(|known| percent > known.percent) {
        *too_hot = Some(TooHot { slot, pod: pod.to_owned(), percent });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: Target = Target { load: "members", per_pod: 100.0 };
    const JOINS: Target = Target { load: "joins_per_second", per_pod: 10.0 };

    fn sample(members: f64, joins: f64) -> Sample {
        let load = [("members".to_owned(), members), ("joins_per_second".to_owned(), joins)].into();
        Sample { load, left: 1, ..Sample::default() }
    }

    fn slots(users: &[u64]) -> Vec<(Slot, u64)> {
        users.iter().enumerate().map(|(at, users)| (Slot::new(u16::try_from(at).unwrap()).unwrap(), *users)).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn of_several_loads_the_one_nearest_to_its_target_counts() {
        let targets = [MEMBERS, JOINS];
        for (members, joins, pressure) in [(50.0, 1.0, 0.5), (50.0, 9.0, 0.9), (0.0, 0.0, 0.0), (300.0, 9.0, 3.0)] {
            assert!(close(of_sample(&targets, &sample(members, joins)).unwrap(), pressure));
        }
        let cpu = Target { load: "cpu_percent", per_pod: 70.0 };
        assert!(close(of_sample(&[MEMBERS, cpu], &sample(50.0, 0.0)).unwrap(), 0.5), "a load that it does not tell");
        assert_eq!(of_sample(&[cpu], &sample(50.0, 0.0)), None);
    }

    #[test]
    fn one_slot_counts_for_one_pod_at_most() {
        for (members, users, pressure, hot) in [
            (250.0, &[250][..], 1.0, Some(250)),
            (290.0, &[250, 40][..], 1.4, Some(250)),
            (400.0, &[150, 250][..], 2.0, Some(250)),
            (160.0, &[80, 80][..], 1.6, None),
            (160.0, &[][..], 1.6, None),
        ] {
            let (is, hottest) = capped(Role::Chatroom, &[MEMBERS], &sample(members, 0.0), &slots(users));
            assert!(close(is, pressure), "{members} {users:?}: {is}");
            assert_eq!(hottest.map(|(_, share)| pods(share * 100.0)), hot, "{members} {users:?}");
        }
    }

    #[test]
    fn other_loads_of_a_chatroom_pod_are_those_of_its_slots_by_their_members() {
        let (pressure, hottest) = capped(Role::Chatroom, &[MEMBERS, JOINS], &sample(50.0, 40.0), &slots(&[40, 10]));
        assert!(close(pressure, 40.0 / 10.0 - (3.2 - 1.0)), "{pressure}");
        assert_eq!(hottest.map(|(slot, _)| slot), Slot::new(0));
    }

    #[test]
    fn deliveries_of_a_message_pod_are_no_load_of_its_slots() {
        let targets =
            [Target { load: "users", per_pod: 100.0 }, Target { load: "deliveries_per_second", per_pod: 10.0 }];
        let load = [("users".to_owned(), 20.0), ("deliveries_per_second".to_owned(), 30.0)].into();
        let sample = Sample { load, left: 1, ..Sample::default() };
        let (pressure, hottest) = capped(Role::Message, &targets, &sample, &slots(&[20]));
        assert!(close(pressure, 3.0));
        assert_eq!(hottest, None);
    }
}
