//! The ownership protocol, model-checked.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, UniformChooser};
use throng_sim::cases;
use throng_sim::model::Fault::{
    Crash, CutEtcd, CutRedis, CutRelay, CutWatch, EmptyEtcd, EmptyRedis, EtcdDown, Hold, LoseHandOver, Move,
    MoveStraggles, MoveUnanswered, Pause, RedisDown, Slow, Turn,
};
use throng_sim::model::{Fault, Prelude, Scenario};
use throng_sim::promises::Violation;

/// What a search found, as promises that were broken, with the way there.
fn broken(scenario: Scenario, name: &str) -> BTreeSet<&'static str> {
    let found = scenario.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    eprintln!("{name}: {} states", found.unique_state_count());
    let mut broken = BTreeSet::new();
    for (promise, path) in found.discoveries() {
        eprintln!("  {promise}: {:?}", path.into_actions());
        broken.insert(promise);
    }
    broken
}

#[test]
fn every_story_ends_well_with_all_rules() {
    for case in cases::all() {
        assert_eq!(broken(case.scenario.clone(), case.name), BTreeSet::new(), "{}: {}", case.name, case.story);
    }
}

#[test]
fn every_story_comes_back_when_its_rule_is_taken_away() {
    let mut well = Vec::new();
    for case in cases::all() {
        let seen: BTreeSet<&str> = case.seen.iter().map(|violation: &Violation| violation.promise()).collect();
        let broken = broken(case.broken(), case.name);
        if !broken.iter().any(|promise| seen.contains(promise)) {
            well.push((case.name, broken));
        }
    }
    assert_eq!(well, [], "these end well without their rule");
}

/// A bound of a search: the variable if it is set, or the short one, or the deep one if `THRONG_TEST_FULL` is set.
fn figure(name: &str, short: u32, deep: u32) -> u32 {
    let otherwise = if std::env::var_os("THRONG_TEST_FULL").is_some() { deep } else { short };
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// So many faults.
fn faults(short: u32) -> u8 {
    figure("THRONG_FAULTS", short, short + 1).try_into().unwrap_or(u8::MAX)
}

const FAULTS: [Fault; 16] = [
    Pause(0),
    Crash(0),
    CutEtcd(0),
    CutWatch(0),
    CutRedis(0),
    CutEtcd(1),
    CutRedis(1),
    EtcdDown,
    EmptyEtcd,
    RedisDown,
    EmptyRedis,
    CutRelay(0),
    Hold(0),
    Slow(0),
    Slow(1),
    Turn,
];

#[test]
fn any_two_faults_are_survived() {
    let scenario = Scenario { faults: FAULTS.to_vec(), ..Scenario::new(faults(2), figure("THRONG_STEPS", 5, 6)) };
    assert_eq!(broken(scenario, "any two faults"), BTreeSet::new());
}

/// A lease ends seven steps after its owner fell silent: a search from the beginning is over by then. Here it begins shortly
/// before, and the first fault lasts until something ends it.
#[test]
fn a_fault_that_outlasts_a_lease_and_any_other_are_survived() {
    for first in [Crash(0), Pause(0), CutEtcd(0), CutRedis(0), EtcdDown, RedisDown, EmptyEtcd] {
        let prelude = vec![Prelude::Steps(2), Prelude::Fault(first), Prelude::Steps(5)];
        let scenario =
            Scenario { faults: FAULTS.to_vec(), prelude, ..Scenario::new(faults(1), figure("THRONG_STEPS", 5, 6)) };
        assert_eq!(broken(scenario, &format!("{first:?} for long")), BTreeSet::new());
    }
}

#[test]
fn a_move_survives_any_two_faults() {
    let faults = vec![
        Pause(0),
        Pause(1),
        Crash(0),
        Crash(1),
        CutEtcd(0),
        CutWatch(0),
        CutRedis(0),
        CutEtcd(1),
        CutRedis(1),
        EtcdDown,
        RedisDown,
        EmptyRedis,
        MoveUnanswered,
        MoveStraggles,
        LoseHandOver,
        Slow(0),
        Slow(1),
        Turn,
    ];
    let prelude = vec![Prelude::Steps(2), Prelude::Fault(Move(1))];
    let scenario = Scenario { faults, prelude, ..Scenario::new(self::faults(2), figure("THRONG_STEPS", 4, 5)) };
    assert_eq!(broken(scenario, "a move"), BTreeSet::new());
}

/// The owner alone reaches Redis, the only possible taker alone reaches etcd: both accept for a while, and message Pods
/// are not fooled. When the links are back, one remains.
#[test]
fn the_known_limit_fools_nobody_downstream() {
    let quiet = [Prelude::Talk(false), Prelude::Fault(CutEtcd(0)), Prelude::Fault(CutRedis(1)), Prelude::Steps(20)];
    let mut scenario = Scenario { prelude: quiet.to_vec(), ..Scenario::new(0, 0) };
    assert_eq!(scenario.init_states()[0].world.owners().count(), 2, "as long as nothing is said");
    scenario.prelude.extend([Prelude::Talk(true), Prelude::Steps(2)]);
    assert_eq!(scenario.init_states()[0].world.owners().count(), 1, "a segment met a promise");
    scenario.prelude.truncate(quiet.len());
    scenario.prelude.push(Prelude::Talk(true));
    let scenario = Scenario { faults: vec![Hold(0), Hold(1), Turn], budget: 2, steps: 6, ..scenario };
    assert_eq!(broken(scenario, "the known limit"), BTreeSet::new());
}

/// Long walks with many faults and three Pods. `THRONG_SEED`, `THRONG_WALK_STATES` and `THRONG_WALK_FAULTS` choose others.
#[test]
fn long_walks_with_many_faults_break_nothing() {
    let mut faults = vec![EtcdDown, EmptyEtcd, RedisDown, EmptyRedis, CutRelay(0), CutRelay(1), Hold(0), Turn];
    faults.extend([MoveUnanswered, MoveStraggles, LoseHandOver]);
    for pod in 0..3 {
        faults.extend([Pause(pod), Crash(pod), CutEtcd(pod), CutWatch(pod), CutRedis(pod), Slow(pod), Move(pod)]);
    }
    let budget = u8::try_from(figure("THRONG_WALK_FAULTS", 6, 6)).unwrap();
    let scenario = Scenario { faults, pods: 3, calm: 40, forgives: true, ..Scenario::new(budget, 40) };
    let states = usize::try_from(figure("THRONG_WALK_STATES", 50_000, 1_000_000)).unwrap();
    let checker = scenario.checker().target_state_count(states).finish_when(HasDiscoveries::AnyFailures);
    let found = checker.spawn_simulation(figure("THRONG_SEED", 1, 1).into(), UniformChooser).join();
    eprintln!("walks: {} states", found.state_count());
    let broken: Vec<_> =
        found.discoveries().into_iter().map(|(promise, path)| (promise, path.into_actions())).collect();
    assert!(broken.is_empty(), "{broken:?}");
}
