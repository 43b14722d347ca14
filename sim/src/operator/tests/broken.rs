//! Whoever does not catch these catches nothing.

use std::collections::BTreeSet;

use super::*;

/// What is found of a planner within so many seeds.
fn caught(planner: Planner, by: &str) {
    let mut found = BTreeSet::new();
    for seed in 0..300 {
        found.extend(run_seed(seed, planner, false).broken.iter().map(|broken| broken.name));
        if found.contains(by) {
            return;
        }
    }
    panic!("{planner:?} is not caught by {by}, but by {found:?}");
}

#[test]
fn a_drain_that_ignores_its_deadline_is_caught() {
    caught(Planner::IgnoresDeadlines, "users-until-deadline");
}

#[test]
fn an_index_that_is_used_twice_is_caught() {
    caught(Planner::UsesIndexTwice, "one-pod-per-index");
}

#[test]
fn progress_that_is_kept_in_memory_is_caught() {
    caught(Planner::Remembers, "progress-in-status");
}

#[test]
fn scale_in_on_stale_metrics_is_caught() {
    caught(Planner::BelievesOldSamples, "metrics-to-shrink");
}

#[test]
fn a_blocked_revision_that_gets_users_is_caught() {
    caught(Planner::UsesBlocked, "blocked-gets-nobody");
}

#[test]
fn capacity_that_users_need_is_missed() {
    caught(Planner::IgnoresUsers, "capacity");
    caught(Planner::IgnoresUsers, "capacity-as-seen");
}

#[test]
fn a_registry_that_forgets_its_leader_is_caught() {
    let mut sim = installed([2, 1, 1], 10);
    sim.lease.release();
    sim.crash(0, 1000);
    sim.rest();
    assert_eq!((sim.broken.len(), sim.ground.etcd.epoch), (0, 2));
    sim.ground.etcd.epoch = 0;
    sim.lease.release();
    sim.rest();
    assert!(sim.broken.iter().any(|broken| broken.name == "leader-epoch-grows"), "{:?}", sim.broken);
}

#[test]
fn every_promise_has_a_name_of_its_own_and_says_what_is_promised() {
    let names: BTreeSet<&str> = INVARIANTS.iter().map(|invariant| invariant.name).collect();
    assert_eq!(names.len(), INVARIANTS.len());
    assert!(INVARIANTS.iter().all(|invariant| invariant.sentence.len() > 20));
    // The page for people has all of them, in the same words.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation.md")).unwrap();
    for invariant in INVARIANTS {
        let row = format!("| `{}` | {}. |", invariant.name, invariant.sentence);
        assert!(page.to_lowercase().contains(&row.to_lowercase()), "docs/simulation.md has no {row}");
    }
}
