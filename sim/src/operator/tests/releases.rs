//! Releases: a canary, a halt, the way back from every step. Each story with every fault at every place, as the others.

use throng_core::Role;
use throng_plan::spec::operation::{Action, Pace, Whom};
use throng_plan::status::{OperationPhase, RolloutPhase};

use super::stories::{count, tell};
use super::*;
use crate::operator::ground::spec::{CANARY, HALT, HOLD, PACE, PROGRESS, SHAPE, WARM};
use crate::operator::tally::Transition;

const SIZES: [u32; 3] = [3, 2, 2];
const USERS: u64 = 60;

/// A cluster at rest whose next revision first gets a quarter of the users, for three seconds.
fn careful() -> Sim {
    let mut sim = installed(SIZES, USERS);
    edit(&mut sim, &[(CANARY, "25"), (HOLD, "3"), (HALT, "1"), (PROGRESS, "20"), (WARM, "0")]);
    sim
}

fn edit(sim: &mut Sim, fields: &[(&str, &str)]) {
    let set = |cluster: &mut api::Object| fields.iter().for_each(|(path, value)| cluster.set_field(path, value));
    sim.edit_cluster(set).unwrap();
}

fn phase(sim: &Sim) -> Option<RolloutPhase> {
    sim.ground.status()?.rollout.as_ref().map(|rollout| rollout.phase)
}

/// Lets time pass until it is so.
fn until(sim: &mut Sim, what: &str, is_so: impl Fn(&Sim) -> bool) {
    for _ in 0..200 {
        if is_so(sim) {
            assert_eq!(sim.broken, [], "{what}");
            return;
        }
        sim.step();
    }
    panic!("never: {what}; {:?}", sim.last);
}

/// Users on gateways of a shape.
fn users_on(sim: &Sim, shape: &str) -> u64 {
    let all = sim.ground.processes.values();
    all.filter(|process| process.role == Role::Gateway && process.shape == shape).map(|process| process.users).sum()
}

fn everybody_is_on(sim: &Sim, shape: &str) {
    assert_eq!(Role::ALL.map(|role| sim.ground.users_of(role)), [USERS; 3]);
    assert_eq!((users_on(sim, shape), sim.ground.pods().len()), (USERS, 7));
    assert!(sim.ground.processes.values().all(|process| process.shape == shape));
}

#[test]
fn a_release_goes_by_a_canary_that_is_held_and_promoted() {
    let sim = tell(&careful(), |sim| reshape(sim, "shape-2"));
    everybody_is_on(&sim, "shape-2");
    for step in [Transition::CanaryBegun, Transition::ShareReached, Transition::RolloutDone] {
        assert_eq!(count(&sim, step), 1, "{step:?}");
    }
    assert!(count(&sim, Transition::UsersShed) > 0);
}

#[test]
fn an_image_that_cannot_be_pulled_halts_touches_nobody_and_is_got_past_by_a_new_spec() {
    let mut start = careful();
    start.ground.ills.broken.insert("shape-2".to_owned());
    reshape(&mut start, "shape-2");
    until(&mut start, "it halts", |sim| phase(sim) == Some(RolloutPhase::Halted));
    assert_eq!((users_on(&start, "shape-1"), start.ground.serving(Role::Gateway)), (USERS, 3));
    let sim = tell(&start, |sim| reshape(sim, "shape-3"));
    everybody_is_on(&sim, "shape-3");
    assert_eq!(count(&sim, Transition::HaltedNotStarting), 1);
}

#[test]
fn pods_that_never_get_ready_halt_it_and_it_goes_on_when_they_do() {
    let mut start = careful();
    start.ground.ills.stuck.insert("shape-2".to_owned());
    reshape(&mut start, "shape-2");
    until(&mut start, "it halts", |sim| phase(sim) == Some(RolloutPhase::Halted));
    let sim = tell(&start, |sim| sim.ground.ills.stuck.clear());
    everybody_is_on(&sim, "shape-2");
    assert_eq!((count(&sim, Transition::HaltLeft), count(&sim, Transition::OperationSucceeded)), (1, 0));
}

#[test]
fn a_canary_that_answers_slowly_fails_or_crashes_halts_and_is_taken_back() {
    type Ill = fn(&mut Sim);
    fn shape() -> [String; 1] {
        ["shape-2".to_owned()]
    }
    let ills: [(Ill, Transition); 3] = [
        (|sim| sim.ground.ills.slow.extend(shape()), Transition::HaltedSlow),
        (|sim| sim.ground.ills.failing.extend(shape()), Transition::HaltedErrors),
        (|sim| sim.ground.ills.crashing.extend(shape()), Transition::HaltedRestarts),
    ];
    for (ill, step) in ills {
        let mut start = careful();
        edit(&mut start, &[(HOLD, "60")]);
        reshape(&mut start, "shape-2");
        until(&mut start, "users come", |sim| users_on(sim, "shape-2") > 0);
        ill(&mut start);
        until(&mut start, "it halts", |sim| phase(sim) == Some(RolloutPhase::Halted));
        assert_eq!(count(&start, step), 1);
        let before = users_on(&start, "shape-2");
        (0..30).for_each(|_| start.step());
        assert!(users_on(&start, "shape-2") <= before, "it gets nobody more");
        let sim = tell(&start, |sim| drop(sim.ground.ask(&Action::Rollback { to: None, pace: Pace::Fast })));
        everybody_is_on(&sim, "shape-1");
    }
}

/// A rollout at each of its steps.
fn steps() -> Vec<(&'static str, Sim)> {
    let mut sim = careful();
    edit(&mut sim, &[(HOLD, "10")]);
    reshape(&mut sim, "shape-2");
    let mut all = vec![("nothing of it is there", sim.clone())];
    until(&mut sim, "starting", |sim| phase(sim) == Some(RolloutPhase::Starting));
    all.push(("its first Pods start", sim.clone()));
    until(&mut sim, "canary", |sim| phase(sim) == Some(RolloutPhase::Canary));
    all.push(("its first users come", sim.clone()));
    until(&mut sim, "reached", |sim| count(sim, Transition::ShareReached) > 0);
    all.push(("its share is watched", sim.clone()));
    let mut held = sim.clone();
    held.ground.ask(&Action::Pause);
    until(&mut held, "held", |sim| phase(sim) == Some(RolloutPhase::Paused));
    all.push(("it is held", held));
    until(&mut sim, "promoting", |sim| phase(sim) == Some(RolloutPhase::Promoting));
    all.push(("everybody begins to move", sim.clone()));
    until(&mut sim, "half", |sim| users_on(sim, "shape-2") * 2 > USERS);
    all.push(("half of the users have moved", sim.clone()));
    sim.rest();
    all.push(("it is done", sim));
    all
}

#[test]
fn a_rollback_works_at_each_step_while_the_old_spec_is_applied_again_and_again() {
    for (step, start) in steps() {
        for pace in [Pace::Fast, Pace::Gentle] {
            let mut sim = start.clone();
            let to = if step == "it is done" { Some(1) } else { None };
            let name = sim.ground.ask(&Action::Rollback { to, pace });
            let mut phase = OperationPhase::Pending;
            for second in 0u32..60 {
                phase = sim.ground.answer(&name).map_or(phase, |answer| answer.phase);
                if second.is_multiple_of(3) {
                    let users_per_s = (20 + second).to_string();
                    edit(&mut sim, &[(SHAPE, "shape-2"), (PACE, &users_per_s)]);
                }
                sim.step();
            }
            assert_eq!(phase, OperationPhase::Succeeded, "{step}, {pace:?}");
            sim.rest();
            assert_eq!(sim.broken, [], "{step}, {pace:?}");
            everybody_is_on(&sim, "shape-1");
            // Another shape is what the block waits for.
            reshape(&mut sim, "shape-3");
            sim.rest();
            assert_eq!(sim.broken, [], "{step}, {pace:?}");
            everybody_is_on(&sim, "shape-3");
        }
    }
}

#[test]
fn a_rollback_from_each_step_comes_through_every_fault() {
    // Fast and gentle by turns: both are tried without faults from each step.
    for ((step, start), pace) in steps().into_iter().zip([Pace::Fast, Pace::Gentle].into_iter().cycle()) {
        let to = if step == "it is done" { Some(1) } else { None };
        let sim = tell(&start, |sim| drop(sim.ground.ask(&Action::Rollback { to, pace })));
        everybody_is_on(&sim, "shape-1");
        assert_eq!(count(&sim, Transition::RollbackBegun), 1, "{step}");
    }
}

#[test]
fn a_warm_revision_takes_everybody_back() {
    let mut start = careful();
    edit(&mut start, &[(WARM, "120")]);
    reshape(&mut start, "shape-2");
    until(&mut start, "warm", |sim| count(sim, Transition::WarmBegun) > 0);
    let sim = tell(&start, |sim| drop(sim.ground.ask(&Action::Rollback { to: None, pace: Pace::Fast })));
    everybody_is_on(&sim, "shape-1");
    assert!(count(&sim, Transition::DrainTakenBack) >= 3, "its Pods come back, they are not made anew");
}

#[test]
fn a_hold_lasts_until_somebody_goes_on() {
    let mut start = careful();
    edit(&mut start, &[(HOLD, "60")]);
    reshape(&mut start, "shape-2");
    until(&mut start, "reached", |sim| count(sim, Transition::ShareReached) > 0);
    start.ground.ask(&Action::Pause);
    (0..100).for_each(|_| start.step());
    assert_eq!((phase(&start), count(&start, Transition::PromoteBegun)), (Some(RolloutPhase::Paused), 0));
    let sim = tell(&start, |sim| {
        sim.ground.ask(&Action::Resume);
        sim.ground.ask(&Action::Promote);
    });
    everybody_is_on(&sim, "shape-2");
    assert_eq!(count(&sim, Transition::OperationSucceeded), 3);
}

#[test]
fn pods_nodes_and_zones_are_emptied_on_request() {
    let start = installed(SIZES, USERS);
    let pods: Vec<String> = start.ground.pods().into_iter().map(|(name, _)| name).step_by(3).collect();
    for whom in
        [Whom::Pods(pods), Whom::Nodes(vec![("pool".to_owned(), "even".to_owned())]), Whom::Zone("b".to_owned())]
    {
        let before = start.ground.pods();
        let sim = tell(&start, |sim| drop(sim.ground.ask(&Action::Drain(whom.clone()))));
        everybody_is_on(&sim, "shape-1");
        let left = sim.ground.pods().into_iter().filter(|pod| before.contains(pod)).count();
        assert!(left < before.len(), "{whom:?}");
        assert_eq!((count(&sim, Transition::OperationSucceeded), count(&sim, Transition::DeletedDeadline)), (1, 0));
    }
}

#[test]
fn a_rebalance_comes_through_every_fault() {
    let mut start = installed([2, 2, 1], USERS);
    for size in [4, 3] {
        resize(&mut start, [2, size, 1]);
        start.rest();
    }
    let sim = tell(&start, |sim| drop(sim.ground.ask(&Action::Rebalance)));
    assert_eq!(count(&sim, Transition::OperationSucceeded), 1);
}

#[test]
fn an_operation_on_a_cluster_that_is_gone_is_answered() {
    let sim = tell(&installed([1, 1, 1], 0), |sim| {
        sim.strike(tally::Fault::ClusterDeleted);
        sim.ground.ask(&Action::Pause);
        (0..20).for_each(|_| sim.step());
        sim.ground.ask(&Action::Promote);
    });
    assert_eq!((count(&sim, Transition::OperationFailed), count(&sim, Transition::OperationForgotten)), (2, 2));
}
