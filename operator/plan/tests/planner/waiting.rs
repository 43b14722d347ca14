//! Pods that should go and wait: in the ordinary way for those that take their place, or for what does not come.

use throng_core::Role;
use throng_plan::plan::{Plan, Reason};
use throng_plan::spec::ShapeHash;
use throng_plan::status::{Condition, Holds, Utc};
use throng_plan::world::Pod;

use crate::model::Model;
use crate::stories::condition;

/// A Pod that is to take the place of another is counted on for so long.
const COMES_MS: u64 = 120_000;

fn said(plan: &Plan, kind: &str) -> (Holds, String) {
    let condition = condition(&plan.conditions, kind);
    (condition.status, condition.reason.clone())
}

fn is(holds: Holds, reason: Reason) -> (Holds, String) {
    (holds, reason.to_string())
}

/// A cluster at rest all of whose nodes are cordoned, so that what takes the place of its Pods does not start.
fn full() -> Model {
    let mut model = Model::at_rest([3, 2, 2], 50);
    model.world.nodes.values_mut().for_each(|node| node.cordoned = true);
    model
}

/// Whether some Pod is there that should not be.
fn leaves(model: &Model) -> bool {
    let goes = |pod: &Pod| {
        let cordoned = pod.node.as_ref().is_some_and(|node| model.world.nodes[node].cordoned);
        let of_another = model.world.revisions.get(&pod.revision).is_none_or(|of| of.hash != model.world.spec.shape);
        cordoned || of_another
    };
    let gateways = model.pods(Role::Gateway).len();
    model.world.pods.values().any(goes) || gateways > model.world.spec.pools.gateway.min as usize
}

#[test]
fn what_goes_its_ordinary_way_is_no_block_and_no_rest_until_it_is_done() {
    type Change = fn(&mut Model);
    let changes: [(&str, Change); 4] = [
        ("a node is cordoned", |model| model.world.nodes.get_mut("node-0").unwrap().cordoned = true),
        ("two of three zones are", |model| {
            model.world.nodes.values_mut().filter(|node| node.zone != "a").for_each(|node| node.cordoned = true);
        }),
        ("a release", |model| model.world.spec.shape = ShapeHash::new("shape-2")),
        ("a smaller pool", |model| model.world.spec.pools.gateway.min = 2),
    ];
    for (what, change) in changes {
        let mut model = Model::at_rest([4, 2, 2], 40);
        change(&mut model);
        let mut looks = 0;
        while leaves(&model) {
            let plan = model.step();
            assert_eq!(said(&plan, "DrainBlocked"), is(Holds::False, Reason::NothingWaits), "{what}: {:?}", plan.why);
            let goes_on = condition(&plan.conditions, "Progressing").status;
            assert_eq!(goes_on, Holds::True, "{what}, look {looks}: {:?} {:?}", plan.why, plan.actions);
            looks += 1;
            assert!(looks < 200, "{what}: {:?}", plan.why);
        }
        model.settle();
        assert!(looks > 2, "{what}");
        assert_eq!(said(&model.plan(), "Progressing"), is(Holds::False, Reason::AtRest), "{what}");
        assert_eq!(model.cut, 0);
    }
}

#[test]
fn a_pod_that_waits_says_for_what() {
    let mut model = Model::at_rest([3, 2, 2], 50);
    let node = model.world.pods["live-gateway-1-0"].node.clone().unwrap();
    model.world.nodes.get_mut(&node).unwrap().cordoned = true;
    let plan = model.plan();
    let waits = format!("live-gateway-1-0 goes when 3 others serve, 2 do now: its node {node} takes no new Pods");
    assert!(plan.why.contains(&format!("gateway: {waits}")), "{:?}", plan.why);
    assert_eq!(plan.status.pools.gateway.why, waits);
    let progressing = condition(&plan.conditions, "Progressing");
    assert_eq!(progressing.reason, "PodsStarting");
    assert!(progressing.message.ends_with("to be emptied until others serve"), "{}", progressing.message);
}

#[test]
fn replacements_that_do_not_come_are_a_block_after_two_minutes() {
    let mut model = full();
    let began = model.world.now;
    let mut planned = model.step();
    while model.world.now.0.since(began.0) < COMES_MS {
        planned = model.step();
        assert_eq!(said(&planned, "DrainBlocked"), is(Holds::False, Reason::NothingWaits));
        assert_eq!(said(&planned, "Progressing"), is(Holds::True, Reason::PodsStarting));
        assert_eq!(said(&planned, "Ready"), is(Holds::True, Reason::AllServe));
    }
    let lines = planned.why.iter().filter(|line| line.contains("goes when")).count();
    assert_eq!(lines, 3, "one for each pool: {:?}", planned.why);
    model.steps(2);
    let plan = model.plan();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::True, Reason::CapacityNeeded));
    assert_eq!(said(&plan, "Progressing"), is(Holds::True, Reason::PodsStarting));
    let message = &condition(&plan.conditions, "DrainBlocked").message;
    assert!(message.contains("2 Pods would serve without it, 3 are needed"), "{message}");
    assert!(message.ends_with("live-gateway-1-3: it does not serve after 2 minutes; 2 more wait"), "{message}");
    assert_eq!((plan.why[0].as_str(), plan.actions), (message.as_str(), vec![]));
    // Room comes: it goes its way.
    model.world.nodes.get_mut("node-0").unwrap().cordoned = false;
    model.world.nodes.get_mut("node-1").unwrap().cordoned = false;
    model.world.nodes.get_mut("node-2").unwrap().cordoned = false;
    model.settle();
    let plan = model.plan();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::False, Reason::NothingWaits));
    assert_eq!((said(&plan, "Progressing"), model.cut), (is(Holds::False, Reason::AtRest), 0));
}

#[test]
fn replacements_in_trouble_are_a_block_at_once() {
    let mut model = full();
    model.steps(2);
    model.world.pods.get_mut("live-gateway-1-3").unwrap().trouble = Some("Unschedulable: 0/6 nodes are free".into());
    let plan = model.plan();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::True, Reason::CapacityNeeded));
    let message = &condition(&plan.conditions, "DrainBlocked").message;
    assert!(message.contains("live-gateway-1-3: Unschedulable: 0/6 nodes are free"), "{message}");
}

#[test]
fn replacements_that_cannot_be_made_are_a_block_when_that_lasts() {
    let mut model = full();
    model.refused.insert(1);
    model.steps(2);
    let failed_since = model.world.now;
    model.world.status.conditions.push(Condition {
        kind: "Applied".into(),
        status: Holds::False,
        observed_generation: None,
        last_transition_time: failed_since,
        reason: "ActionFailed".into(),
        message: "live-gateway-1-3 is made: exceeded quota".into(),
    });
    model.world.now = Utc(failed_since.0 + (COMES_MS - 1));
    assert_eq!(said(&model.plan(), "DrainBlocked"), is(Holds::False, Reason::NothingWaits), "a failure may pass");
    model.world.now = Utc(failed_since.0 + COMES_MS);
    model.say_again();
    assert_eq!(said(&model.plan(), "DrainBlocked"), is(Holds::True, Reason::CapacityNeeded));
    assert_eq!(said(&model.plan(), "Progressing"), is(Holds::True, Reason::PodsStarting));
}

#[test]
fn where_all_that_may_be_made_would_not_carry_the_users_it_is_a_block_at_once() {
    // The load is that of four Pods, and nothing lets the pool grow.
    let mut model = Model::at_rest([3, 2, 2], 0);
    model.pods(Role::Gateway).iter().map(|(_, pod)| pod.uid.clone()).collect::<Vec<_>>().into_iter().for_each(|uid| {
        model.users.insert(uid, 130);
    });
    model.tick();
    let node = model.world.pods["live-gateway-1-0"].node.clone().unwrap();
    model.world.nodes.get_mut(&node).unwrap().cordoned = true;
    let plan = model.step();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::True, Reason::CapacityNeeded));
    let message = &condition(&plan.conditions, "DrainBlocked").message;
    assert!(message.ends_with("2 Pods would serve without it, 4 are needed for the users that are there"), "{message}");
    model.steps(30);
    let plan = model.plan();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::True, Reason::CapacityNeeded), "its replacement serves");
    assert_eq!(said(&plan, "Progressing"), is(Holds::True, Reason::Draining), "nothing starts any more");
}

#[test]
fn a_pod_that_is_not_ready_for_a_moment_blocks_nobody() {
    let mut model = Model::at_rest([4, 2, 2], 50);
    let node = model.world.pods["live-gateway-1-0"].node.clone().unwrap();
    let other = model.pods(Role::Gateway).into_iter().find(|(_, pod)| pod.node.as_ref() != Some(&node)).unwrap();
    let (other, uid) = (other.0.clone(), other.1.uid.clone());
    model.world.nodes.get_mut(&node).unwrap().cordoned = true;
    let sick = |model: &mut Model| {
        model.world.pods.get_mut(&other).unwrap().ready = false;
        model.world.registry.as_mut().unwrap().members.get_mut(&uid).unwrap().ready = false;
    };
    sick(&mut model);
    let plan = model.step();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::False, Reason::NothingWaits), "{:?}", plan.why);
    // It is the only one that could take its place, and stays sick.
    model.refused.insert(1);
    model.world.pods.retain(|_, pod| pod.ready || pod.uid == uid);
    sick(&mut model);
    let status = model.plan().status;
    model.world.status = status;
    model.world.now = Utc(model.world.now.0 + COMES_MS);
    model.say_again();
    let plan = model.plan();
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::True, Reason::CapacityNeeded), "{:?}", plan.why);
}

#[test]
fn an_evicted_pod_with_people_is_no_rest() {
    let mut model = Model::at_rest([3, 2, 2], 50);
    let now = model.world.now;
    model.world.pods.get_mut("live-gateway-1-1").unwrap().terminating = Some(now);
    let plan = model.plan();
    assert_eq!(said(&plan, "Progressing"), is(Holds::True, Reason::PodsStarting), "another takes its place first");
    for _ in 0..5 {
        let plan = model.plan();
        model.perform(&plan, usize::MAX);
        // It takes its time to end, and nobody leaves it.
        let evicted = model.world.pods.remove("live-gateway-1-1").unwrap();
        model.tick();
        model.world.pods.insert("live-gateway-1-1".into(), evicted);
    }
    let plan = model.plan();
    assert_eq!(said(&plan, "Ready"), is(Holds::True, Reason::AllServe));
    assert_eq!(said(&plan, "Progressing"), is(Holds::True, Reason::Draining));
    assert_eq!(condition(&plan.conditions, "Progressing").message, "1 Pod is being emptied");
    assert_eq!(said(&plan, "DrainBlocked"), is(Holds::False, Reason::NothingWaits));
}
