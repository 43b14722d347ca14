//! A Pod in figures, as the page shows it.

use std::collections::HashMap;

use serde::Serialize;
use throng_core::Role;
use throng_plan::spec::pool::Target;
use throng_proto::link::{DescribeReply, PressureSample};

/// One Pod.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct PodRow {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// `running`, `draining` or `dead`.
    pub(crate) state: &'static str,
    /// Connections of a gateway, members in rooms of a chatroom Pod, users at home at a message Pod.
    pub(crate) users: Option<u64>,
    /// Rooms that it owns.
    pub(crate) rooms: Option<u64>,
    /// Slots that it serves.
    pub(crate) slots: Option<u64>,
    /// 100: as loaded as it should be.
    pub(crate) pressure_percent: Option<u64>,
    /// What else there is to say.
    pub(crate) note: String,
}

/// All pools together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Connections now.
    pub(crate) connections: f64,
    /// Messages taken by rooms a second.
    pub(crate) messages_per_s: f64,
    /// Messages handed to clients a second.
    pub(crate) deliveries_per_s: f64,
    /// Joins a second.
    pub(crate) joins_per_s: f64,
    /// Megabits a second to clients.
    pub(crate) egress_mbps: f64,
}

/// The largest share of a target, in percent; none if no load is known.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage for people")]
fn pressure_percent(targets: &[Target], load: &HashMap<String, f64>) -> Option<u64> {
    let shares = targets.iter().filter_map(|target| Some(load.get(target.load)? / target.per_pod));
    shares.reduce(f64::max).map(|share| (share * 100.0).round() as u64)
}

/// A living Pod.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, well below 2^53")]
pub(crate) fn row(
    name: &str,
    role: Role,
    sample: &PressureSample,
    described: Option<&DescribeReply>,
    targets: &[Target],
) -> PodRow {
    let users = match role {
        Role::Gateway => "connections",
        Role::Chatroom => "members",
        Role::Message => "users",
    };
    let of = |name: &str| sample.load.get(name).map(|load| *load as u64);
    let note = match role {
        Role::Gateway => of("cpu_percent").map(|cpu| format!("cpu {cpu} %")).unwrap_or_default(),
        Role::Chatroom => of("messages_per_second").map(|rate| format!("{rate} msg/s in")).unwrap_or_default(),
        Role::Message => of("deliveries_per_second").map(|rate| format!("{rate} relayed/s")).unwrap_or_default(),
    };
    let note = if sample.draining { format!("{} left, {note}", sample.left) } else { note };
    PodRow {
        name: name.to_owned(),
        role,
        state: if sample.draining { "draining" } else { "running" },
        users: of(users),
        rooms: described.map(|described| described.slots.iter().map(|slot| u64::from(slot.rooms)).sum()),
        // What is left to drain: of a role that owns slots, these.
        slots: (role != Role::Gateway).then_some(sample.left),
        pressure_percent: pressure_percent(targets, &sample.load),
        note,
    }
}

/// A Pod that has ended so many seconds ago.
pub(crate) fn dead(name: &str, role: Role, seconds: u64) -> PodRow {
    PodRow {
        name: name.to_owned(),
        role,
        state: "dead",
        users: None,
        rooms: None,
        // Of a role that owns slots it certainly serves none.
        slots: (role != Role::Gateway).then_some(0),
        pressure_percent: None,
        note: format!("ended {seconds} s ago"),
    }
}

impl Rates {
    /// Adds what a Pod says.
    pub(crate) fn add(&mut self, role: Role, sample: &PressureSample) {
        let of = |name: &str| sample.load.get(name).copied().unwrap_or_default();
        match role {
            Role::Gateway => {
                self.connections += of("connections");
                self.deliveries_per_s += of("deliveries_per_second");
                self.egress_mbps += of("egress_mbps");
            }
            Role::Chatroom => {
                self.messages_per_s += of("messages_per_second");
                self.joins_per_s += of("joins_per_second");
            }
            Role::Message => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(load: &[(&str, f64)], left: u64) -> PressureSample {
        let load = load.iter().map(|(name, load)| ((*name).to_owned(), *load)).collect();
        PressureSample { load, left, ..PressureSample::default() }
    }

    fn targets(role: Role) -> Vec<Target> {
        crate::dev::given::by_flags([1, 1, 1]).unwrap().spec.pools.of(role).targets.clone()
    }

    #[test]
    fn the_largest_share_is_the_pressure() {
        let gateway = sample(&[("connections", 2_000.0), ("egress_mbps", 80.0), ("cpu_percent", 35.0)], 2_000);
        let row = row("g", Role::Gateway, &gateway, None, &targets(Role::Gateway));
        assert_eq!((row.users, row.slots, row.pressure_percent), (Some(2_000), None, Some(50)));
        assert_eq!(pressure_percent(&targets(Role::Message), &HashMap::new()), None);
    }

    #[test]
    fn a_chatroom_pod_has_slots_and_a_draining_one_says_what_is_left() {
        let chatroom = PressureSample { draining: true, ..sample(&[("members", 3.0)], 17) };
        let row = row("c", Role::Chatroom, &chatroom, None, &targets(Role::Chatroom));
        assert_eq!((row.state, row.users, row.slots), ("draining", Some(3), Some(17)));
        assert!(row.note.starts_with("17 left"), "{}", row.note);
    }

    #[test]
    fn rates_are_sums_over_the_pools() {
        let mut rates = Rates::default();
        rates.add(Role::Gateway, &sample(&[("connections", 2.0), ("deliveries_per_second", 40.0)], 0));
        rates.add(Role::Gateway, &sample(&[("connections", 3.0), ("deliveries_per_second", 60.0)], 0));
        rates.add(Role::Chatroom, &sample(&[("messages_per_second", 5.0)], 0));
        assert_eq!((rates.connections, rates.deliveries_per_s, rates.messages_per_s), (5.0, 100.0, 5.0));
    }
}
