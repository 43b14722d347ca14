//! What people ask for beside the spec, and what they are answered.

use throng_core::{Role, Slot};
use throng_plan::plan::{Action, refused, stray};
use throng_plan::spec::ShapeHash;
use throng_plan::spec::operation::{Action as Asks, Pace, Whom};
use throng_plan::status::{OperationPhase, OperationStatus, RolloutPhase, Utc};

use crate::model::Model;

fn rollout(percent: &[u8]) -> Model {
    let mut model = Model::at_rest([3, 2, 2], 50);
    (model.world.spec.rollout.canary_percent, model.world.spec.rollout.hold_ms) = (percent.to_vec(), 60_000);
    model.world.spec.rollout.halt.restarts = Some(1);
    model.world.spec.shape = ShapeHash::new("shape-2");
    model
}

fn phase(model: &Model) -> Option<RolloutPhase> {
    model.world.status.rollout.as_ref().map(|rollout| rollout.phase)
}

fn steps_until(model: &mut Model, is_so: impl Fn(&Model) -> bool) {
    for _ in 0..300 {
        if is_so(model) {
            assert_eq!(model.broken_promises, Vec::<String>::new());
            return;
        }
        model.step();
    }
    panic!("never: {:#?}", model.world.status.why);
}

fn ended(model: &Model, name: &str) -> bool {
    model.world.operations[name].status.phase.is_final()
}

#[test]
fn an_operation_that_nobody_can_follow_fails_with_what_to_write_instead() {
    let now = Utc(throng_core::Millis(7_000));
    let status = refused(&OperationStatus::default(), "write exactly one action".into(), now);
    assert_eq!((status.phase, status.message.as_str()), (OperationPhase::Failed, "write exactly one action"));
    assert_eq!((status.finished_at, status.expires_at), (Some(now), None));
    assert_eq!(status.conditions[0].kind, "Failed");
}

#[test]
fn a_pause_holds_a_rollout_until_a_resume() {
    let mut model = rollout(&[10]);
    steps_until(&mut model, |model| phase(model) == Some(RolloutPhase::Canary));
    model.ask("hold", Asks::Pause);
    model.step();
    assert_eq!(model.outcome("hold").0, OperationPhase::Succeeded);
    model.steps(200);
    assert_eq!(phase(&model), Some(RolloutPhase::Paused));
    let condition =
        |model: &Model| model.world.status.conditions.iter().find(|c| c.kind == "Paused").unwrap().reason.clone();
    assert_eq!(condition(&model), "RolloutPaused");
    model.ask("hold-again", Asks::Pause);
    model.step();
    assert_eq!(model.outcome("hold-again").1, "the rollout was held already, at 10 % of the users");
    model.ask("go-on", Asks::Resume);
    model.step();
    assert_eq!(phase(&model), Some(RolloutPhase::Canary));
    steps_until(&mut model, |model| model.world.status.revision == Some(2));
}

#[test]
fn a_promote_ends_the_canary_and_is_refused_for_one_that_has_halted() {
    let mut model = rollout(&[10]);
    model.world.spec.rollout.hold_ms = 100_000_000;
    steps_until(&mut model, |model| phase(model) == Some(RolloutPhase::Canary));
    model.world.pods.values_mut().filter(|pod| pod.revision == 2).for_each(|pod| pod.restarts = 3);
    model.step();
    assert_eq!(phase(&model), Some(RolloutPhase::Halted));
    model.ask("promote", Asks::Promote);
    model.step();
    let (failed, why) = model.outcome("promote");
    assert!(failed == OperationPhase::Failed && why.contains("Create a Resume first, or a Rollback"), "{why}");
    model.ask("go-on", Asks::Resume);
    model.steps(5);
    assert_eq!(phase(&model), Some(RolloutPhase::Canary), "what a person has seen does not halt it again");
    model.ask("promote-now", Asks::Promote);
    steps_until(&mut model, |model| model.world.status.revision == Some(2));
    assert_eq!(model.outcome("promote-now").0, OperationPhase::Succeeded);
}

#[test]
fn what_cannot_be_done_fails_and_says_what_to_do() {
    let mut model = Model::at_rest([3, 2, 2], 5);
    for (name, asks, says) in [
        ("a", Asks::Pause, "there is no rollout"),
        ("b", Asks::Resume, "there is no rollout"),
        ("c", Asks::Promote, "there is no rollout"),
        (
            "d",
            Asks::Rollback { to: None, pace: Pace::Fast },
            "write the number of one in spec.rollback.to, there is none",
        ),
        ("e", Asks::Rollback { to: Some(1), pace: Pace::Fast }, "revision 1 is the one that the spec asks for"),
        ("f", Asks::Rollback { to: Some(7), pace: Pace::Fast }, "revision 7 is not known"),
        ("g", Asks::Drain(Whom::Pods(vec!["live-gateway-9-9".into()])), "there is no Pod live-gateway-9-9"),
        ("h", Asks::Drain(Whom::Zone("z".into())), "no node is in zone z"),
        ("i", Asks::Drain(Whom::Nodes(vec![("pool".into(), "old".into())])), "no node has these labels"),
    ] {
        model.ask(name, asks);
        model.step();
        let (phase, message) = model.outcome(name);
        assert_eq!(phase, OperationPhase::Failed, "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
        let status = &model.world.operations[name].status;
        assert!(status.started_at.is_some() && status.finished_at.is_some());
        assert_eq!((status.conditions[0].kind.as_str(), status.conditions[0].message.as_str()), ("Failed", message));
    }
    assert_eq!(model.plan().actions, []);
    model.world.cluster.deleted_at = Some(model.world.now);
    model.ask("late", Asks::Pause);
    model.step();
    assert_eq!(model.outcome("late"), (OperationPhase::Failed, "the cluster is being deleted"));
}

#[test]
fn an_operation_is_deleted_when_its_time_to_live_is_over_and_not_before() {
    let mut model = Model::at_rest([2, 1, 1], 5);
    model.ask("hold", Asks::Pause);
    model.step();
    let finished = model.world.operations["hold"].status.finished_at.unwrap();
    model.world.now = Utc(finished.0 + 3_599_999);
    assert!(!model.plan().actions.iter().any(|action| matches!(action, Action::DeleteOperation { .. })));
    model.world.now = Utc(finished.0 + 3_600_000);
    let gone = Action::DeleteOperation { name: "hold".into(), uid: "operation-hold".into() };
    assert!(model.plan().actions.contains(&gone));
    model.settle();
    assert!(model.world.operations.is_empty());
}

#[test]
fn a_paused_cluster_lets_operations_wait() {
    let mut model = rollout(&[10]);
    steps_until(&mut model, |model| phase(model) == Some(RolloutPhase::Canary));
    model.world.spec.paused = true;
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    model.steps(5);
    assert_eq!(model.outcome("back"), (OperationPhase::Pending, "the cluster is paused: set spec.paused to false"));
    assert_eq!(model.world.status.rollback, None);
    model.world.spec.paused = false;
    steps_until(&mut model, |model| ended(model, "back"));
}

#[test]
fn an_operation_takes_effect_once_however_late_its_status_is_seen() {
    let mut model = rollout(&[10]);
    model.ask("early", Asks::Pause);
    let early = model.world.operations["early"].clone();
    model.world.spec.shape = ShapeHash::new("shape-1");
    model.step();
    assert_eq!(model.outcome("early").0, OperationPhase::Failed, "there is no rollout yet");
    model.world.spec.shape = ShapeHash::new("shape-2");
    model.world.operations.insert("early".into(), early);
    steps_until(&mut model, |model| model.share(2).0 > 0);
    assert_eq!(model.outcome("early").0, OperationPhase::Failed, "it holds no rollout that began later");
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    let asked = model.world.operations["back"].clone();
    model.step();
    for seen in ["on its way", "over"] {
        let mut fixed = model.clone();
        if seen == "over" {
            steps_until(&mut fixed, |model| ended(model, "back"));
        }
        fixed.world.operations.insert("back".into(), asked.clone());
        fixed.world.spec.shape = ShapeHash::new("shape-3");
        fixed.step();
        assert_eq!(fixed.world.status.rollback, None, "{seen}: what is fixed is not blocked");
        assert_ne!(fixed.outcome("back").0, OperationPhase::Pending, "{seen}");
        steps_until(&mut fixed, |model| model.world.status.revision == Some(3));
    }
}

#[test]
fn outcomes_of_many_operations_are_remembered_within_a_bound() {
    let mut model = Model::at_rest([2, 1, 1], 5);
    for number in 0..40 {
        model.ask(&format!("hold-{number:02}"), Asks::Pause);
        model.step();
    }
    let answers = &model.world.status.answers;
    assert_eq!((answers.len(), answers[15].uid.as_str()), (16, "operation-hold-39"));
    assert_eq!(model.plan().actions, []);
}

#[test]
fn a_later_rollback_takes_the_place_of_an_earlier_one() {
    let mut model = rollout(&[]);
    steps_until(&mut model, |model| model.world.status.revision == Some(2));
    model.world.spec.shape = ShapeHash::new("shape-3");
    steps_until(&mut model, |model| model.world.status.revision == Some(3));
    model.ask("to-2", Asks::Rollback { to: None, pace: Pace::Gentle });
    model.steps(2);
    assert_eq!((model.world.status.revision, model.outcome("to-2").0), (Some(2), OperationPhase::Running));
    model.ask("to-1", Asks::Rollback { to: Some(1), pace: Pace::Fast });
    steps_until(&mut model, |model| ended(model, "to-1"));
    assert_eq!(model.outcome("to-2").0, OperationPhase::Superseded);
    model.settle();
    assert!(model.world.pods.values().all(|pod| pod.revision == 1));
    assert_eq!(model.world.status.rollback.as_ref().unwrap().blocked_revision.number, 3);
    assert_eq!((model.cut, model.share(1)), (0, (150, 150)));
}

#[test]
fn a_rollback_whose_spec_goes_away_is_superseded() {
    let mut model = rollout(&[10]);
    steps_until(&mut model, |model| phase(model) == Some(RolloutPhase::Canary) && model.share(2).0 > 0);
    model.pace = 0;
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    model.steps(2);
    model.world.spec.shape = ShapeHash::new("shape-3");
    model.step();
    assert_eq!(model.outcome("back").0, OperationPhase::Superseded);
    model.pace = 30;
    steps_until(&mut model, |model| model.world.status.revision == Some(3));
}

#[test]
fn pods_of_a_drain_are_replaced_first_and_one_drain_waits_for_another() {
    let mut model = Model::at_rest([3, 2, 2], 50);
    model.ask("one", Asks::Drain(Whom::Pods(vec!["live-gateway-1-0".into()])));
    model.tick();
    model.ask("two", Asks::Drain(Whom::Pods(vec!["live-gateway-1-1".into()])));
    let victim = model.uid("live-gateway-1-0");
    model.step();
    assert_eq!(model.outcome("two"), (OperationPhase::Pending, "it waits for operation one"));
    assert_eq!(model.outcome("one").0, OperationPhase::Running);
    steps_until(&mut model, |model| ended(model, "one"));
    assert!(model.world.pods.values().all(|pod| pod.uid != victim));
    steps_until(&mut model, |model| ended(model, "two"));
    model.settle();
    assert_eq!((model.names(Role::Gateway).len(), model.users_of(Role::Gateway), model.cut), (3, 150, 0));
    let status = &model.world.operations["two"].status;
    assert!(status.users.unwrap() >= 50 && status.users_left == Some(0), "{status:?}");
}

#[test]
fn a_zone_and_a_group_of_nodes_are_left() {
    let mut model = Model::at_rest([3, 2, 2], 20);
    model.ask("leave-a", Asks::Drain(Whom::Zone("a".into())));
    steps_until(&mut model, |model| ended(model, "leave-a"));
    assert!(model.world.pods.values().all(|pod| pod.zone != "a"));
    let node = model.world.pods.values().next().unwrap().node.clone().unwrap();
    let old = model.world.nodes.get_mut(&node).unwrap();
    old.labels.insert("pool".into(), "old".into());
    let before: Vec<String> =
        model.world.pods.values().filter(|pod| pod.node.as_ref() == Some(&node)).map(|pod| pod.uid.clone()).collect();
    model.ask("leave-old", Asks::Drain(Whom::Nodes(vec![("pool".into(), "old".into())])));
    steps_until(&mut model, |model| ended(model, "leave-old"));
    assert!(!before.is_empty() && model.world.pods.values().all(|pod| !before.contains(&pod.uid)));
    assert_eq!((model.cut, model.users_of(Role::Gateway)), (0, 60));
}

#[test]
fn a_rebalance_places_all_slots_as_if_for_the_first_time() {
    let mut model = Model::at_rest([2, 3, 2], 0);
    for size in [6, 3, 5] {
        model.world.spec.pools.chatroom.min = size;
        model.settle();
    }
    let before = model.document(Role::Chatroom).unwrap();
    model.ask("anew", Asks::Rebalance);
    steps_until(&mut model, |model| ended(model, "anew"));
    model.settle();
    let pods: Vec<throng_plan::placement::Pod> = model
        .names(Role::Chatroom)
        .into_iter()
        .map(|name| throng_plan::placement::Pod { name: name.into(), revision: "1".into(), weight: 1 })
        .collect();
    let anew = throng_plan::placement::placement(&pods, None, 1).unwrap();
    let after = model.document(Role::Chatroom).unwrap();
    assert!(Slot::all().all(|slot| after.0.owner(slot) == anew.owner(slot)));
    assert!(Slot::all().any(|slot| before.0.owner(slot) != anew.owner(slot)), "there was something to do");
    assert_eq!(model.plan().actions, []);
}

#[test]
fn rooms_are_not_said_to_be_placed_anew_while_nobody_can_know() {
    for lost in ["etcd", "every chatroom Pod"] {
        let mut model = Model::at_rest([2, 3, 2], 0);
        let registry = model.world.registry.clone();
        model.ask("anew", Asks::Rebalance);
        match lost {
            "etcd" => model.world.registry = None,
            _ => model.world.pods.retain(|_, pod| pod.role != Role::Chatroom),
        }
        for action in model.plan().actions {
            if let Action::WriteOperation { status, .. } = action {
                assert_eq!(status.phase, OperationPhase::Running, "{lost}");
                assert!(status.message.contains("it waits for etcd"), "{lost}: {}", status.message);
            }
        }
        model.world.registry = registry;
        steps_until(&mut model, |model| ended(model, "anew"));
        assert_eq!(model.outcome("anew").0, OperationPhase::Succeeded, "{lost}");
    }
}

#[test]
fn an_operation_on_a_cluster_that_does_not_exist_fails_after_a_moment_and_goes_when_its_time_is_over() {
    let mut model = Model::at_rest([2, 1, 1], 0);
    model.ask("typo", Asks::Promote);
    let mut asks = model.world.operations["typo"].clone();
    let asked_at = asks.asked_at;
    let at = |ms: u64| Utc(asked_at + ms);
    assert_eq!(stray(&asks, "lvie", at(9_999)), None, "its cluster may come");
    let Some(Action::WriteOperation { status, .. }) = stray(&asks, "lvie", at(10_000)) else {
        panic!("it is answered")
    };
    assert_eq!(status.phase, OperationPhase::Failed);
    assert!(status.message.starts_with("there is no ChatroomCluster lvie in this namespace"), "{}", status.message);
    let over = at(10_000 + 3_600_000);
    asks.status = *status;
    assert_eq!(stray(&asks, "lvie", at(3_609_999)), None);
    let gone = Action::DeleteOperation { name: "typo".into(), uid: "operation-typo".into() };
    assert_eq!(stray(&asks, "lvie", over), Some(gone));
}
