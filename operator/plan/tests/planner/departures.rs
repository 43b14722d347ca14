//! Pods and clusters that go while somebody or something holds them back.

use throng_core::Role;
use throng_plan::plan::{Action, Reason};
use throng_plan::status::Utc;
use throng_plan::world::{Edited, Object, Registry};

use crate::model::{DEADLINE_MS, Model};
use crate::stories::condition;

#[test]
fn a_deleted_cluster_drains_its_gateways_then_the_rest_and_then_goes() {
    let mut model = Model::at_rest([3, 2, 2], 90);
    model.world.spec.paused = true;
    model.world.cluster.deleted_at = Some(model.world.now);
    let since = model.world.now;
    while model.world.cluster.finalizer {
        let plan = model.step();
        let other = |pod: &&throng_plan::world::Pod| pod.role != Role::Gateway && pod.terminating.is_some();
        if !model.names(Role::Gateway).is_empty() {
            assert_eq!(model.world.pods.values().filter(other).count(), 0, "{:?}", plan.actions);
            // Sessions end with their connections.
            continue;
        }
        model.users.clear();
        model.say_again();
    }
    assert!(model.world.pods.is_empty());
    assert_eq!(model.world.registry, Some(Registry::default()), "its keys are gone");
    assert!(model.world.now < Utc(since.0 + DEADLINE_MS));
    assert!(model.broken_promises.is_empty(), "{:?}", model.broken_promises);
    assert_eq!(model.plan().actions, []);
}

#[test]
fn a_deleted_cluster_goes_after_its_deadline_or_at_once_if_it_is_let_go() {
    let mut model = Model::at_rest([2, 2, 2], 50);
    model.pace = 0;
    model.world.cluster.deleted_at = Some(model.world.now);
    let mut let_go = model.clone();
    let mut seconds = 0;
    while model.world.cluster.finalizer {
        model.step();
        seconds += 1;
        assert!(seconds < 200);
    }
    assert!(seconds * 1000 >= DEADLINE_MS && model.broken_promises.is_empty());
    let_go.world.cluster.let_go = true;
    assert_eq!(let_go.plan().actions, [Action::RemoveFinalizer]);
}

#[test]
fn gateways_of_a_deleted_cluster_share_the_pace_of_the_spec() {
    let mut model = Model::at_rest([4, 2, 2], 10);
    model.world.spec.drain.users_per_s = Some(10);
    model.world.cluster.deleted_at = Some(model.world.now);
    let paces: Vec<_> = model
        .plan()
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::DrainPod { users_per_s, .. } => *users_per_s,
            _ => None,
        })
        .collect();
    assert_eq!(paces, [3, 3, 3, 3]);
}

#[test]
fn a_deleted_cluster_waits_for_the_registry_but_not_for_ever() {
    let mut model = Model::at_rest([1, 1, 1], 0);
    let since = model.world.now;
    model.world.cluster.deleted_at = Some(since);
    for _ in 0..30 {
        let plan = model.plan();
        if plan.actions.contains(&Action::RemoveFinalizer) {
            break;
        }
        model.step();
        model.users.clear();
        model.say_again();
    }
    // It answers: its keys go before the finalizer.
    let epoch = model.world.leader_epoch;
    assert_eq!(model.plan().actions, [Action::ForgetKeys { leader_epoch: epoch }, Action::RemoveFinalizer]);
    let mut away = model.clone();
    away.world.registry = None;
    let plan = away.plan();
    assert_eq!(plan.actions, []);
    assert!(plan.why[0].contains("waits for etcd"), "{:?}", plan.why);
    assert_eq!(condition(&plan.conditions, "Degraded").reason, Reason::RegistryUnreachable.as_str());
    away.world.now = Utc(since.0 + 300_000);
    assert_eq!(away.plan().actions, [Action::RemoveFinalizer]);
    // One that refuses to the end keeps what it has.
    model.world.now = Utc(since.0 + 300_000 + DEADLINE_MS);
    assert_eq!(model.plan().actions, [Action::RemoveFinalizer]);
    // Who is let go waits for nothing.
    away.world.now = since;
    away.world.cluster.let_go = true;
    assert_eq!(away.plan().actions, [Action::RemoveFinalizer]);
}

#[test]
fn an_evicted_pod_counts_with_its_users_but_not_as_capacity_and_the_next_waits_for_its_replacement() {
    let mut model = Model::at_rest([3, 2, 2], 80);
    let now = model.world.now;
    // `kubectl drain`: the eviction is a deletion, SIGTERM drains the Pod, its users are still there.
    model.world.pods.get_mut("live-gateway-1-1").unwrap().terminating = Some(now);
    let uid = model.uid("live-gateway-1-1");
    model.world.registry.as_mut().unwrap().members.get_mut(&uid).unwrap().draining = true;
    let plan = model.plan();
    let gateway = &plan.status.pools.gateway;
    assert_eq!((gateway.users, gateway.ready, gateway.draining, gateway.wanted), (240, 2, 1, 3));
    let of_gateways = |action: &&Action| !matches!(action, Action::WriteTarget { .. } | Action::WritePlacement { .. });
    let actions: Vec<&Action> = plan.actions.iter().filter(of_gateways).collect();
    assert!(
        matches!(actions.as_slice(), [Action::CreatePod { role: Role::Gateway, .. }]),
        "one is made, and nothing else is touched, the budget neither: {actions:?}"
    );
    // A second eviction would leave fewer than the budget says while nobody serves in the place of the first.
    let budget = |model: &Model| {
        model.world.owned.iter().find_map(|object| match object {
            Object::PodDisruptionBudget { role: Role::Gateway, min_available, .. } => Some(*min_available),
            _ => None,
        })
    };
    assert_eq!(budget(&model), Some(2));
    model.settle();
    assert_eq!((model.serving(Role::Gateway), budget(&model)), (3, Some(2)));
}

/// Found by a simulated world: nodes were drained one after the other, each Pod that was gone made the budget smaller, and the
/// last that served went too.
#[test]
fn a_pod_that_is_gone_counts_for_the_budget_until_another_serves() {
    let mut model = Model::at_rest([3, 2, 2], 10);
    let asked = |model: &Model| {
        model.plan().actions.into_iter().find_map(|action| match action {
            Action::Apply(Object::PodDisruptionBudget { role: Role::Gateway, min_available, .. }) => {
                Some(min_available)
            }
            _ => None,
        })
    };
    for gone in ["live-gateway-1-1", "live-gateway-1-2"] {
        model.world.pods.remove(gone);
        model.drop_strays();
        assert_eq!(asked(&model), None, "{gone} is not replaced yet");
    }
    model.settle();
    assert_eq!((model.serving(Role::Gateway), asked(&model)), (3, None));
    // What somebody wrote over is no memory of Pods that the pool should not have.
    let budget = |min_available| Object::PodDisruptionBudget {
        name: "live-gateway".to_owned(),
        role: Role::Gateway,
        min_available,
    };
    for edited in [0, 9] {
        let mut model = model.clone();
        assert!(model.world.owned.remove(&budget(2)));
        model.world.owned.insert(budget(edited));
        assert_eq!(asked(&model), Some(2));
    }
    // A pool that shrinks lets its budget shrink.
    model.world.spec.pools.gateway.min = 1;
    model.settle();
    assert!(model.world.owned.contains(&budget(0)), "{:?}", model.world.owned);
}

/// Found by a simulated world: a stream that was seconds late still said what had been before anybody came.
#[test]
fn a_count_from_before_its_drain_does_not_make_a_pod_empty() {
    let mut model = Model::at_rest([2, 1, 1], 0);
    model.world.spec.pools.gateway.min = 1;
    for _ in 0..4 {
        model.tick();
        let plan = model.plan();
        model.perform(&plan, usize::MAX);
        if plan.status.drains.iter().any(|drain| model.world.registry.as_ref().unwrap().members[&drain.uid].draining) {
            break;
        }
    }
    let drained = model.world.status.drains[0].uid.clone();
    model.tick();
    let deletes = |model: &mut Model| {
        model.plan().actions.iter().any(|action| matches!(action, Action::DeletePod { uid, .. } if *uid == drained))
    };
    model.world.samples.get_mut(&drained).unwrap().draining = false;
    assert!(!deletes(&mut model));
    model.world.samples.get_mut(&drained).unwrap().draining = true;
    assert!(deletes(&mut model));
}

#[test]
fn what_somebody_edited_gets_back_what_it_was_made_with_and_nothing_else_happens() {
    let mut model = Model::at_rest([2, 1, 1], 0);
    assert_eq!(model.plan().actions, []);
    let (name, uid) = ("live-gateway-1-0".to_owned(), model.uid("live-gateway-1-0"));
    let edited = [Edited::Pod { name, uid }, Edited::Revision { name: "live-1".into(), uid: "r1".into() }];
    model.world.edited = edited.clone().into();
    let restores = edited.map(Action::Restore);
    assert_eq!(model.plan().actions, restores);
    let mut paused = model.clone();
    paused.world.spec.paused = true;
    assert_eq!(paused.plan().actions, []);
    model.world.cluster.deleted_at = Some(model.world.now);
    assert_eq!(model.plan().actions[..2], restores, "who is on it is drained with it");
    model.world.cluster.let_go = true;
    assert_eq!(model.plan().actions, [Action::RemoveFinalizer]);
}
