//! What happens, told one by one.

use std::collections::BTreeMap;

use throng_core::policy::Policy;
use throng_core::{Role, Slot};
use throng_plan::plan::{Action, Because, Reason};
use throng_plan::spec::ShapeHash;
use throng_plan::status::{Condition, DrainCause, Holds, Utc};
use throng_plan::world::sample::FRESH_MS;
use throng_plan::world::{Object, Phase};

use crate::model::{DEADLINE_MS, Model};

pub(crate) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> &'a Condition {
    conditions.iter().find(|condition| condition.kind == kind).unwrap()
}

fn drains(model: &Model) -> Vec<(&str, DrainCause)> {
    model.world.status.drains.iter().map(|drain| (drain.pod.as_str(), drain.cause)).collect()
}

#[test]
fn an_applied_cluster_becomes_ready_and_then_nothing_is_to_be_done() {
    let mut model = Model::new([3, 2, 2]);
    let first = model.plan();
    assert_eq!(first.actions[0], Action::SetFinalizer);
    let created = first.actions.iter().filter(|action| matches!(action, Action::CreatePod { .. })).count();
    assert_eq!(created, 7);
    model.settle();
    assert_eq!(model.names(Role::Gateway), ["live-gateway-1-0", "live-gateway-1-1", "live-gateway-1-2"]);
    let plan = model.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(condition(&plan.conditions, "Ready").reason, Reason::AllServe.as_str());
    assert_eq!(condition(&plan.conditions, "Progressing").reason, Reason::AtRest.as_str());
    assert_eq!((plan.status.ready.as_str(), plan.status.revision, plan.status.next_revision), ("7/7", Some(1), 2));
    assert!(model.world.pods.values().all(|pod| pod.serving));
    assert!(first.why.contains(&"the Secret live-pod-key is made".to_owned()), "{:?}", first.why);
    for role in [Role::Chatroom, Role::Message] {
        let document = model.document(role).unwrap();
        assert!(Slot::all().all(|slot| document.0.owner(slot).is_some()));
    }
}

#[test]
fn pods_are_spread_over_the_zones() {
    let model = Model::at_rest([7, 2, 2], 0);
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, pod) in model.pods(Role::Gateway) {
        *zones.entry(&pod.zone).or_default() += 1;
    }
    assert_eq!(zones.into_values().collect::<Vec<_>>(), [3, 2, 2]);
}

#[test]
fn a_zone_whose_nodes_refuse_the_pods_of_a_pool_gets_none_of_them() {
    let mut model = Model::at_rest([3, 3, 3], 0);
    for node in model.world.nodes.values_mut().filter(|node| node.zone == "a") {
        node.refuses.gateway = true;
    }
    model.world.spec.pools.gateway.min = 7;
    model.world.spec.pools.chatroom.min = 4;
    let made = |of: Role| {
        let plan = model.plan();
        let zones = plan.actions.iter().filter_map(|action| match action {
            Action::CreatePod { role, zone, .. } if *role == of => Some(zone.clone()),
            _ => None,
        });
        zones.collect::<Vec<_>>()
    };
    assert_eq!(made(Role::Gateway), ["b", "c", "b", "c"]);
    assert_eq!(made(Role::Chatroom), ["a"], "another pool's Pods are taken");
}

#[test]
fn a_budget_leaves_one_pod_to_evictions() {
    let model = Model::at_rest([3, 1, 2], 0);
    let budget =
        |role: Role, min_available| Object::PodDisruptionBudget { name: format!("live-{role}"), role, min_available };
    for (role, least) in [(Role::Gateway, 2), (Role::Chatroom, 0), (Role::Message, 1)] {
        assert!(model.world.owned.contains(&budget(role, least)), "{role}: {:?}", model.world.owned);
    }
}

#[test]
fn a_missing_pod_is_made_again_under_its_index() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    model.world.pods.remove("live-gateway-1-1");
    model.drop_strays();
    let plan = model.plan();
    let made = |action: &Action| matches!(action, Action::CreatePod { name, .. } if name == "live-gateway-1-1");
    assert!(plan.actions.iter().any(made), "{:?}", plan.actions);
}

#[test]
fn an_index_is_free_only_when_its_old_pod_and_its_process_are_gone() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    let now = model.world.now;
    model.world.pods.get_mut("live-gateway-1-1").unwrap().terminating = Some(now);
    let created = |model: &Model| {
        model.plan().actions.into_iter().find_map(|action| match action {
            Action::CreatePod { name, .. } => Some(name),
            _ => None,
        })
    };
    assert_eq!(created(&model).unwrap(), "live-gateway-1-3", "the old Pod is still there");
    model.world.pods.remove("live-gateway-1-1");
    assert_eq!(created(&model).unwrap(), "live-gateway-1-3", "its process is still a member");
    let uid = model
        .world
        .registry
        .as_ref()
        .unwrap()
        .members
        .iter()
        .find(|(_, m)| m.pod == "live-gateway-1-1")
        .unwrap()
        .0
        .clone();
    model.world.registry.as_mut().unwrap().members.remove(&uid);
    assert_eq!(created(&model).unwrap(), "live-gateway-1-1");
}

#[test]
fn a_failed_pod_is_replaced_once_its_process_is_gone() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    model.world.pods.get_mut("live-chatroom-1-0").unwrap().phase = Phase::Failed;
    let plan = model.plan();
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::DeletePod { .. })), "its lease lives");
    assert_eq!(condition(&plan.conditions, "Degraded").reason, Reason::PodsFailing.as_str());
    model.settle();
    assert_eq!(model.names(Role::Chatroom).len(), 2);
    assert!(model.pods(Role::Chatroom).iter().all(|(_, pod)| pod.phase == Phase::Running));
    assert_eq!(model.cut, 0);
}

#[test]
fn a_smaller_pool_drains_its_cheapest_pod_and_deletes_it_empty() {
    let mut model = Model::at_rest([4, 2, 2], 60);
    let quiet = "live-gateway-1-2";
    model.users.insert(model.uid(quiet), 5);
    model.tick();
    model.world.spec.pools.gateway.min = 3;
    let plan = model.plan();
    let uid = model.uid(quiet);
    let label = Action::LabelServing { name: quiet.into(), uid: uid.clone(), serving: false };
    let at = |wanted: &dyn Fn(&Action) -> bool| plan.actions.iter().position(wanted).unwrap();
    // The fullest zone has two Pods, of which one is quiet or not; a cheaper one of a zone that is short stays.
    let victim = plan.status.drains[0].pod.clone();
    let zone = &model.world.pods[&victim].zone;
    assert_eq!(model.pods(Role::Gateway).iter().filter(|(_, pod)| pod.zone == *zone).count(), 2);
    if victim == quiet {
        assert!(at(&|action| *action == label) < at(&|action| matches!(action, Action::DrainPod { .. })));
    }
    assert!(
        at(&|action| matches!(action, Action::LabelServing { .. })) < at(&|a| matches!(a, Action::Apply(_))),
        "the budget follows the label"
    );
    model.settle();
    assert_eq!((model.names(Role::Gateway).len(), model.cut), (3, 0));
    assert_eq!(model.users_of(Role::Gateway), 185);
    assert!(model.broken_promises.is_empty(), "{:?}", model.broken_promises);
}

#[test]
fn a_pool_does_not_shrink_below_what_its_users_need() {
    let mut model = Model::at_rest([4, 2, 2], 90);
    model.world.spec.pools.gateway.min = 2;
    let plan = model.plan();
    assert!(plan.status.drains.is_empty(), "{:?}", plan.status.drains);
    assert_eq!(plan.status.pools.gateway.wanted, 4);
    assert_eq!(plan.status.pools.gateway.why, "4 wanted: the load is that of 3.6 full Pods");
}

#[test]
fn a_drain_that_lasts_too_long_ends_at_its_deadline_and_not_before() {
    let mut model = Model::at_rest([4, 2, 2], 20);
    model.pace = 0;
    model.world.spec.pools.gateway.min = 3;
    model.step();
    let since = model.world.status.drains[0].since;
    while model.names(Role::Gateway).len() == 4 {
        let plan = model.step();
        let deleted = plan.actions.iter().find_map(|action| match action {
            Action::DeletePod { because, most_users_cut, .. } => Some((*because, *most_users_cut)),
            _ => None,
        });
        assert!(deleted.is_none_or(|deleted| deleted == (Because::Deadline, 20)));
    }
    assert!(model.world.now >= Utc(since.0 + DEADLINE_MS));
    assert_eq!((model.cut, model.broken_promises.len()), (20, 0));
}

#[test]
fn a_drain_is_taken_back_when_the_pod_is_wanted_again_and_no_pod_is_made() {
    let mut model = Model::at_rest([4, 2, 2], 20);
    model.pace = 1;
    model.world.spec.pools.gateway.min = 3;
    model.steps(3);
    let victim = model.world.status.drains[0].pod.clone();
    let made = model.made;
    model.world.spec.pools.gateway.min = 4;
    let plan = model.plan();
    assert!(plan.actions.contains(&Action::UndrainPod { name: victim.clone(), uid: model.uid(&victim) }));
    model.settle();
    assert_eq!((model.made, model.names(Role::Gateway).len()), (made, 4));
    assert!(model.world.status.drains.is_empty() && model.world.pods[&victim].serving);
}

#[test]
fn pods_of_a_cordoned_node_are_replaced_before_they_are_drained() {
    let mut model = Model::at_rest([3, 2, 2], 50);
    let node = model.world.pods["live-gateway-1-0"].node.clone().unwrap();
    let zone = model.world.nodes[&node].zone.clone();
    model.world.nodes.get_mut(&node).unwrap().cordoned = true;
    let plan = model.step();
    assert!(plan.status.drains.is_empty(), "nothing leaves before others serve");
    assert_eq!(condition(&plan.conditions, "DrainBlocked").status, Holds::False, "what replaces them is made");
    let new = plan.actions.iter().find_map(|action| match action {
        Action::CreatePod { role: Role::Gateway, zone, .. } => Some(zone.clone()),
        _ => None,
    });
    assert_eq!(new.unwrap(), zone, "the zone has another node");
    model.settle();
    assert!(model.world.pods.values().all(|pod| pod.node.as_ref() != Some(&node)));
    assert_eq!((model.cut, model.users_of(Role::Gateway)), (0, 150));
}

#[test]
fn a_taint_of_the_list_drains_and_another_does_not() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    let node = model.world.pods["live-gateway-1-0"].node.clone().unwrap();
    model.world.nodes.get_mut(&node).unwrap().taints.insert("team/other".into());
    assert_eq!(model.plan().actions, []);
    model.world.nodes.get_mut(&node).unwrap().taints.insert("karpenter.sh/disrupted".into());
    model.steps(4);
    assert!(drains(&model).iter().all(|(_, cause)| *cause == DrainCause::Tainted));
    model.settle();
    assert!(model.world.pods.values().all(|pod| pod.node.as_ref() != Some(&node)));
}

#[test]
fn a_new_shape_replaces_all_pods_step_by_step_and_cuts_nobody() {
    let mut model = Model::at_rest([4, 2, 2], 80);
    model.world.spec.shape = ShapeHash::new("shape-2");
    loop {
        let plan = model.step();
        assert!(model.serving(Role::Gateway) >= 4, "{:?}", plan.actions);
        assert!(model.names(Role::Gateway).len() <= 6);
        if model.world.pods.values().all(|pod| pod.revision == 2) {
            break;
        }
    }
    model.settle();
    assert_eq!(model.names(Role::Gateway).len(), 4);
    assert_eq!((model.cut, model.users_of(Role::Gateway), model.world.status.revision), (0, 320, Some(2)));
}

#[test]
fn a_revision_that_never_starts_touches_no_user_and_a_new_spec_gets_past_it() {
    let mut model = Model::at_rest([3, 2, 2], 80);
    let old: Vec<String> = model.world.pods.keys().cloned().collect();
    model.broken.insert(2);
    model.world.spec.shape = ShapeHash::new("shape-2");
    model.steps(100);
    assert!(old.iter().all(|name| model.world.pods[name].serving), "the old ones serve");
    assert!(model.world.status.drains.is_empty());
    model.world.spec.shape = ShapeHash::new("shape-3");
    model.settle();
    assert!(model.world.pods.values().all(|pod| pod.revision == 3));
    assert_eq!(model.cut, 0);
    model.world.spec.shape = ShapeHash::new("shape-1");
    model.settle();
    assert!(model.world.pods.values().all(|pod| pod.revision == 1), "a known shape is its old revision");
}

#[test]
fn pods_of_a_node_that_is_lost_are_replaced_and_one_too_many_goes_when_it_returns() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    let node = model.world.pods["live-gateway-1-0"].node.clone().unwrap();
    model.dead_nodes.insert(node.clone());
    let (now, state) = (model.world.now, model.world.nodes.get_mut(&node).unwrap());
    (state.ready, state.since) = (false, now);
    model.steps(5);
    assert_eq!(model.names(Role::Gateway).len(), 3, "five seconds are no loss");
    model.steps(10);
    assert_eq!((model.serving(Role::Gateway), model.names(Role::Gateway).len()), (3, 4));
    assert_eq!(condition(&model.plan().conditions, "Degraded").reason, Reason::PodsLost.as_str());
    model.dead_nodes.clear();
    model.world.nodes.get_mut(&node).unwrap().ready = true;
    model.settle();
    assert_eq!((model.names(Role::Gateway).len(), model.cut), (3, 0));
}

#[test]
fn while_the_registry_is_out_of_reach_nobody_is_drained_or_deleted() {
    let mut model = Model::at_rest([4, 2, 2], 10);
    model.world.spec.pools.gateway.min = 3;
    model.world.registry = None;
    model.world.now = Utc(model.world.now.0 + 10 * DEADLINE_MS);
    let plan = model.plan();
    assert_eq!((plan.actions, plan.status.drains), (vec![], vec![]));
    let degraded = condition(&plan.conditions, "Degraded");
    assert_eq!((degraded.reason.as_str(), degraded.message.as_str()), ("RegistryUnreachable", "etcd does not answer"));
    // Whoever took the snapshot knows more.
    let said = "http://etcd:2379: connection refused";
    let known = Condition {
        kind: "EtcdUsable".into(),
        status: Holds::False,
        observed_generation: None,
        last_transition_time: model.world.now,
        reason: "EtcdUnreachable".into(),
        message: said.into(),
    };
    model.world.status.conditions.push(known);
    assert_eq!(condition(&model.plan().conditions, "Degraded").message, said);
}

#[test]
fn a_pod_that_somebody_evicts_stands_among_the_drains_with_its_users() {
    let mut model = Model::at_rest([4, 2, 2], 10);
    let now = model.world.now;
    model.world.pods.get_mut("live-gateway-1-2").unwrap().terminating = Some(now);
    let plan = model.plan();
    let [drain] = &plan.status.drains[..] else { panic!("{:?}", plan.status.drains) };
    assert_eq!((drain.pod.as_str(), drain.cause, drain.users_left), ("live-gateway-1-2", DrainCause::Eviction, 10));
    assert_eq!((drain.since, drain.deadline), (now, Utc(now.0 + DEADLINE_MS)));
    // Seen with that status, the next look says the same.
    model.world.status = plan.status.clone();
    assert_eq!(model.plan().status.drains, plan.status.drains);
    // Its process is gone before its object: nobody is on it.
    let uid = model.world.pods["live-gateway-1-2"].uid.clone();
    model.world.status.drains.clear();
    model.world.registry.as_mut().unwrap().members.remove(&uid);
    model.world.samples.remove(&uid);
    assert_eq!(model.plan().status.drains, []);
}

#[test]
fn a_pod_that_is_silent_counts_as_if_it_had_users() {
    let mut model = Model::at_rest([4, 2, 2], 0);
    model.world.spec.pools.gateway.min = 3;
    model.step();
    let victim = model.world.status.drains[0].clone();
    model.world.samples.remove(&victim.uid);
    let deleted = |model: &Model| model.plan().actions.iter().any(|action| matches!(action, Action::DeletePod { .. }));
    assert!(!deleted(&model));
    model.world.now = victim.deadline;
    assert!(deleted(&model));
}

#[test]
fn a_paused_cluster_is_reported_and_left_alone() {
    let mut model = Model::at_rest([4, 2, 2], 10);
    model.world.spec.pools.gateway.min = 3;
    model.world.spec.shape = ShapeHash::new("shape-2");
    model.world.pods.remove("live-message-1-0");
    model.world.owned.clear();
    model.world.spec.paused = true;
    let plan = model.plan();
    assert_eq!((plan.actions, plan.status.drains), (vec![], vec![]));
    assert_eq!(condition(&plan.conditions, "Paused").status, Holds::True);
    assert_eq!(condition(&plan.conditions, "Ready").status, Holds::False);
    assert!(plan.why[0].contains("paused"));
}

#[test]
fn what_somebody_changed_is_written_again() {
    let mut model = Model::at_rest([2, 2, 2], 0);
    let service = Object::Service { name: "live-gateway".into(), hash: "s1".into() };
    model.world.owned.remove(&service);
    model.world.owned.insert(Object::Service { name: "live-gateway".into(), hash: "edited".into() });
    let plan = model.plan();
    assert_eq!(plan.actions, [Action::Apply(service)]);
    assert_eq!(plan.why[0], "the Service live-gateway is written: it was not as it should be");
    model.settle();
    let name = "live-gateway-1-0";
    model.world.pods.get_mut(name).unwrap().serving = false;
    assert_eq!(model.plan().actions, [Action::LabelServing { name: name.into(), uid: model.uid(name), serving: true }]);
}

#[test]
fn a_new_leader_signs_the_placements_and_moves_no_slot() {
    let mut model = Model::at_rest([2, 3, 2], 0);
    let before = model.document(Role::Chatroom).unwrap();
    model.world.leader_epoch = 2;
    model.settle();
    let after = model.document(Role::Chatroom).unwrap();
    assert_eq!(after.0.leader_epoch, 2);
    assert!(Slot::all().all(|slot| before.0.owner(slot) == after.0.owner(slot)));
}

#[test]
fn a_world_can_be_written_down_and_planned_again() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    model.world.pods.remove("live-chatroom-1-1");
    let text = serde_json::to_string(&model.world).unwrap();
    let read: throng_plan::World = serde_json::from_str(&text).unwrap();
    assert_eq!(read, model.world);
    assert_eq!(throng_plan::plan(&read), model.plan());
    let plan = model.plan();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<throng_plan::Plan>(&text).unwrap(), plan);
}

#[test]
fn every_reason_has_a_word_of_its_own_and_a_meaning() {
    let words: std::collections::BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert_eq!(reason.as_str(), format!("{reason:?}"));
        assert!(reason.meaning().ends_with('.'));
    }
}

#[test]
fn a_change_of_policy_is_written_for_pods_to_follow_and_touches_none() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    let policy = |model: &Model| model.world.registry.as_ref().unwrap().policy.clone().unwrap();
    assert_eq!((policy(&model).version, &policy(&model).rooms), (1, &model.world.spec.rooms));
    model.world.spec.rooms.messages_per_s = 50;
    model.world.spec.rooms.protected_types = vec!["gift".into()];
    let plan = model.plan();
    let wanted = Policy { leader_epoch: 1, version: 2, rooms: model.world.spec.rooms.clone() };
    assert_eq!(plan.actions, [Action::WritePolicy { policy: wanted.clone() }]);
    let before = model.world.pods.clone();
    model.step();
    assert_eq!((policy(&model), &model.world.pods), (wanted, &before));
    assert_eq!(model.plan().actions, [], "what is written is not written again");
    // Another leader leaves it as it is.
    model.world.leader_epoch = 2;
    assert!(!model.plan().actions.iter().any(|action| matches!(action, Action::WritePolicy { .. })));
    assert!(model.broken_promises.is_empty(), "{:?}", model.broken_promises);
}

#[test]
fn no_policy_is_written_while_the_registry_is_out_of_reach_or_the_cluster_is_paused() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    model.world.spec.rooms.messages_per_s = 50;
    model.world.spec.paused = true;
    assert_eq!(model.plan().actions, []);
    model.world.spec.paused = false;
    model.world.registry = None;
    assert!(!model.plan().actions.iter().any(|action| matches!(action, Action::WritePolicy { .. })));
}

#[test]
fn at_rest_it_looks_again_before_a_silence_could_go_unnoticed() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    for pool in [&mut model.world.spec.pools.gateway, &mut model.world.spec.pools.chatroom] {
        pool.max = pool.min;
    }
    model.world.spec.pools.message.max = 2;
    model.settle();
    let plan = model.plan();
    assert_eq!((plan.actions.as_slice(), condition(&plan.conditions, "MetricsStale").status), (&[][..], Holds::False));
    // Nobody says anything any more, and nothing else happens.
    let (began, mut look_again_ms) = (model.world.now, plan.look_again_ms);
    let noticed_ms = loop {
        model.world.now = Utc(model.world.now.0 + look_again_ms);
        let plan = model.plan();
        look_again_ms = plan.look_again_ms;
        let passed_ms = model.world.now.0.since(began.0);
        if condition(&plan.conditions, "MetricsStale").status == Holds::True {
            break passed_ms;
        }
        assert!(passed_ms < 60_000, "nobody notices");
    };
    assert!(noticed_ms <= FRESH_MS + 1, "{noticed_ms} ms");
}

#[test]
fn slots_of_a_pod_that_says_nothing_of_them_move_last() {
    let mut model = Model::at_rest([2, 2, 2], 0);
    let quiet = model.uid("live-chatroom-1-0");
    model.world.registry.as_mut().unwrap().silent = [quiet.as_str().into()].into();
    model.world.spec.pools.chatroom.min = 4;
    model.step();
    model.step();
    let from = |model: &Model, uid: &str| {
        let registry = model.world.registry.as_ref().unwrap();
        let document = registry.documents.chatroom.in_force.as_ref().unwrap();
        let claims = &registry.claims.chatroom;
        let moves = claims.owned().filter(|(slot, owner)| {
            let to = document.0.owner(*slot).unwrap();
            *claims.uids()[*owner] == *uid && model.uid(&to.pod) != *uid
        });
        moves.count()
    };
    // The Pods that are new have got their first slots.
    let plan = model.plan();
    let first =
        plan.actions.iter().find(|action| matches!(action, Action::WritePlacement { role: Role::Chatroom, .. }));
    model.act(first.expect("slots move to new Pods"));
    let other = model.uid("live-chatroom-1-1");
    assert!(from(&model, &other) > 500, "idle slots go at once");
    assert_eq!(from(&model, &quiet), 0, "of others nobody knows whether they are idle");
}
