//! What happens to every cluster sooner or later. Each story is told once as it is, then with the operator dying before and
//! after each of its requests, then with views and with a registry that are 1 to 20 writes old, then with each write missed by
//! the watches, deletions among them.

use throng_core::{Millis, Role};

use super::*;
use crate::operator::ground::spec::EVENT;
use crate::operator::tally::{Fault, Transition};
use crate::operator::weather::Weather;

/// What goes wrong once has happened by then.
const SOON_S: u64 = 8;
/// Views stay old for as long as the story takes, but not for longer.
const LONG_S: u64 = 60;

/// Tells a story in all its variants; `begin` is what happens to the cluster.
pub(super) fn tell(start: &Sim, begin: impl Fn(&mut Sim)) -> Sim {
    tell_each(1, start, begin)
}

/// Tells a story as it is and in each `nth` of its variants: a long one has more of them than there is time for.
fn tell_each(nth: usize, start: &Sim, begin: impl Fn(&mut Sim)) -> Sim {
    let finish = |mut sim: Sim, seconds: u64, variant: &str| {
        begin(&mut sim);
        for _ in 0..seconds {
            sim.step();
        }
        sim.weather = Weather { missed_write: sim.weather.missed_write, ..Weather::default() };
        sim.rest();
        assert_eq!(sim.broken, [], "{variant}");
        sim
    };
    let plain = finish(start.clone(), SOON_S, "as it is");
    let whole_s = (plain.ground.now.0 - start.ground.now.0).div_ceil(1000).clamp(SOON_S, LONG_S);
    for at in (start.requests + 1..=plain.rested.0).step_by(nth) {
        for done in [false, true] {
            let mut sim = start.clone();
            sim.crash_at = Some((at, done));
            finish(sim, SOON_S, &format!("dies at request {at}, which is done: {done}"));
        }
    }
    for behind in (1..=20).step_by(nth) {
        let mut sim = start.clone();
        sim.weather = Weather { old_view: 1000, behind, ..Weather::default() };
        finish(sim, whole_s, &format!("views are {behind} writes old"));
    }
    for behind in (1..=20).step_by(nth) {
        let mut sim = start.clone();
        sim.weather = Weather { old_registry: 1000, behind, ..Weather::default() };
        finish(sim, whole_s, &format!("the registry is seen {behind} writes late"));
    }
    for write in (start.ground.api.revision() + 1..=plain.rested.1).step_by(nth) {
        let mut sim = start.clone();
        sim.weather.missed_write = Some(write);
        finish(sim, SOON_S, &format!("watches miss write {write}"));
    }
    plain
}

pub(super) fn count(sim: &Sim, transition: Transition) -> u64 {
    sim.ground.tally.transitions.get(&transition).copied().unwrap_or(0)
}

#[test]
fn views_may_be_old_while_pods_are_heard() {
    let oldest_s = |weather: Weather| {
        let mut sim = installed([3, 1, 1], 60);
        sim.weather = weather;
        (0..30).for_each(|_| sim.step());
        let heard = &sim.replicas[sim.lease.holder().unwrap()].heard;
        assert_eq!(heard.len(), 5);
        heard.values().map(|sample| sim.ground.now.since(sample.at.0) / 1000).max().unwrap()
    };
    let old = Weather { old_view: 1000, behind: 20, ..Weather::default() };
    assert!(oldest_s(old) <= 5, "a look is at most five seconds ago");
    assert!(oldest_s(Weather { late_samples: 1000, ..old }) >= 30);
}

#[test]
fn a_pod_whose_deletion_is_missed_is_seen_until_everything_is_listed_again() {
    let mut sim = installed([3, 1, 1], 60);
    // Long enough before the next list.
    while sim.replicas[0].listed_at != Some(sim.ground.now) {
        sim.step();
    }
    let (name, uid) = sim.ground.pods().remove(0);
    sim.weather.missed_write = Some(sim.ground.api.revision() + 1);
    sim.ground.api.delete(sim.ground.now, &(Kind::Pod, name.clone()), &Expected::default(), true).unwrap();
    (0..5).for_each(|_| sim.step());
    let seen = sim.replicas[0].informer.view(Kind::Pod);
    assert!(seen.get(&name).is_some_and(|pod| pod.uid == uid), "{:?}", seen.keys());
    assert_eq!(sim.ground.tally.faults.get(&Fault::MissedEvent), Some(&1));
    sim.rest();
    assert_eq!((Role::ALL.map(|role| sim.ground.serving(role)), sim.broken), ([3, 1, 1], vec![]));
}

#[test]
fn a_cluster_is_installed() {
    let sim = tell(&Sim::new(7, [3, 2, 2], Planner::Real), |_| ());
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [3, 2, 2]);
    assert_eq!(count(&sim, Transition::PodCreated), 7);
}

#[test]
fn pools_grow() {
    let sim = tell(&installed([2, 1, 1], 60), |sim| resize(sim, [4, 2, 2]));
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [4, 2, 2]);
}

#[test]
fn pools_shrink_and_nobody_is_cut() {
    let sim = tell(&installed([4, 2, 2], 60), |sim| resize(sim, [2, 1, 1]));
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [2, 1, 1]);
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
    assert_eq!(count(&sim, Transition::DeletedEmptied), 4);
}

#[test]
fn an_event_asks_for_gateways_and_is_over() {
    let sim = tell(&installed([2, 1, 1], 60), |sim| {
        let now = sim.ground.now.0;
        let key = (Kind::Cluster, CLUSTER.to_owned());
        let event = format!("{now},{},5", now + 40_000);
        let change = |cluster: &mut api::Object| cluster.set_field(EVENT, &event);
        sim.ground.api.edit(&key, &Expected::default(), change).unwrap();
    });
    assert_eq!((count(&sim, Transition::PodCreated), count(&sim, Transition::DeletedEmptied)), (7, 3));
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [2, 1, 1]);
}

fn drain_node(sim: &mut Sim, name: &str) {
    sim.ground.machines.get_mut(name).unwrap().drained = true;
    let cordon = |found: &mut api::Object| found.set_field("spec.unschedulable", true);
    sim.ground.api.edit(&(Kind::Node, name.to_owned()), &Expected::default(), cordon).unwrap();
}

#[test]
fn every_node_is_drained_in_turn_as_an_upgrade_of_all_does() {
    const LONGEST_S: u32 = 200;
    let sim = tell_each(5, &installed([3, 2, 2], 60), |sim| {
        for name in sim.ground.machines.keys().cloned().collect::<Vec<_>>() {
            drain_node(sim, &name);
            let left = |sim: &Sim| sim.ground.api.list(Kind::Pod).any(|(_, pod)| pod.field("spec.node") == name);
            let mut seconds = 0;
            while left(sim) {
                sim.step();
                seconds += 1;
                assert!(seconds < LONGEST_S, "{name} is not left");
                assert!(Role::ALL.iter().all(|role| sim.ground.serving(*role) > 0), "nobody serves; {:?}", sim.last);
            }
            sim.ground.bring_back(&name);
        }
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [3, 2, 2]);
    let open = |name: &str| {
        sim.ground.api.get(Kind::Node, name).is_some_and(|node| node.field("spec.unschedulable").is_empty())
    };
    assert!(sim.ground.machines.keys().all(|name| open(name)));
    assert_eq!(count(&sim, Transition::DeletedDeadline), 0);
}

#[test]
fn a_node_is_drained_by_evictions() {
    let sim = tell(&installed([3, 2, 2], 60), |sim| {
        let node = sim.ground.processes.values().next().unwrap().node.clone();
        drain_node(sim, &node);
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
    let drained: Vec<_> = sim.ground.machines.iter().filter(|(_, machine)| machine.drained).collect();
    assert!(sim.ground.processes.values().all(|process| process.node != *drained[0].0));
}

#[test]
fn a_node_is_lost_and_returns() {
    let sim = tell(&installed([3, 2, 2], 60), |sim| {
        let node = sim.ground.processes.values().next().unwrap().node.clone();
        let machine = sim.ground.machines.get_mut(&node).unwrap();
        (machine.network, machine.back_at) = (false, Some(Millis(sim.ground.now.0 + 40_000)));
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
}

#[test]
fn a_pod_is_killed() {
    let sim = tell(&installed([3, 2, 2], 60), |sim| {
        for (name, uid) in sim.ground.pods().into_iter().step_by(3) {
            sim.ground.kill(&name, &uid);
        }
        sim.strike(Fault::PodFailed);
        sim.strike(Fault::PodDeleted);
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
}

#[test]
fn somebody_edits_what_is_owned() {
    let sim = tell(&installed([3, 2, 2], 60), |sim| {
        for fault in [Fault::ObjectEdited, Fault::ObjectDeleted, Fault::LabelEdited, Fault::ObjectEdited] {
            sim.strike(fault);
        }
    });
    assert!(count(&sim, Transition::ObjectWritten) + count(&sim, Transition::BudgetWritten) > 0);
}

#[test]
fn somebody_takes_labels_off_pods_and_edits_revisions() {
    let sim = tell(&installed([3, 2, 2], 60), |sim| {
        for fault in [Fault::PodUnlabelled, Fault::PodUnlabelled, Fault::RevisionEdited, Fault::RevisionEdited] {
            sim.strike(fault);
        }
    });
    let unwatched =
        |kind| sim.ground.api.list(kind).filter(|(_, found)| found.field("labels.cluster") != CLUSTER).count();
    assert_eq!((unwatched(Kind::Pod), unwatched(Kind::Revision)), (0, 0));
    assert!(count(&sim, Transition::PodRestored) > 0 && count(&sim, Transition::RevisionRestored) > 0);
    assert_eq!(
        (count(&sim, Transition::PodCreated), count(&sim, Transition::RevisionWritten)),
        (7, 1),
        "others were made"
    );
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
}

#[test]
fn a_cluster_is_deleted() {
    let sim = tell(&installed([3, 1, 1], 60), |sim| {
        sim.strike(Fault::ClusterDeleted);
    });
    assert_eq!((sim.ground.pods().len(), sim.ground.api.list(Kind::Service).count()), (0, 0));
}

#[test]
fn all_pods_are_replaced_by_a_new_shape() {
    let sim = tell(&installed([2, 1, 1], 60), |sim| reshape(sim, "shape-2"));
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
}

/// Lets an outage pass; during it the operator takes nothing away and makes nothing, and everybody is served.
fn outlast(sim: &mut Sim, seconds: u32) {
    let before = [Transition::PodCreated, Transition::DrainStarted].map(|what| count(sim, what));
    let gone = Transition::ALL.iter().copied().filter(|what| format!("{what:?}").starts_with("Deleted"));
    let deleted: Vec<_> = gone.map(|what| (what, count(sim, what))).collect();
    for _ in 0..seconds {
        sim.step();
    }
    assert_eq!([Transition::PodCreated, Transition::DrainStarted].map(|what| count(sim, what)), before);
    assert!(deleted.into_iter().all(|(what, before)| count(sim, what) == before));
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3], "somebody is not served");
}

#[test]
fn no_operator_runs_for_ten_minutes_and_a_pod_of_each_pool_is_lost_meanwhile() {
    let sim = tell(&installed([3, 2, 2], 60), |sim| {
        let until = Millis(sim.ground.now.0 + 600_000);
        sim.replicas.iter_mut().for_each(|replica| replica.away_until = until);
        for role in Role::ALL {
            let of_role = |(_, uid): &(String, String)| sim.ground.processes.get(uid).is_some_and(|it| it.role == role);
            let (name, uid) = sim.ground.pods().into_iter().find(of_role).unwrap();
            sim.ground.fail(&name, &uid);
        }
        outlast(sim, 598);
        assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [2, 1, 1], "somebody replaced them");
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [3, 2, 2]);
}

#[test]
fn the_api_server_is_away_for_two_minutes_while_pools_should_change() {
    let sim = tell(&installed([4, 2, 2], 60), |sim| {
        sim.weather.api_down_until = Millis(sim.ground.now.0 + 120_000);
        resize(sim, [2, 3, 1]);
        outlast(sim, 119);
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [2, 3, 1]);
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [60; 3]);
}

#[test]
fn etcd_is_away_for_a_minute_while_a_pool_should_shrink() {
    let sim = tell(&installed([4, 2, 2], 60), |sim| {
        sim.weather.registry_down_until = Millis(sim.ground.now.0 + 60_000);
        resize(sim, [2, 1, 1]);
        outlast(sim, 59);
    });
    assert_eq!(Role::ALL.map(|role| sim.ground.serving(role)), [2, 1, 1]);
}
