//! Half-way: who serves, who is left and who keeps what it has, while two revisions are there.

use throng_plan::spec::operation::Whom;

use super::*;

fn state_of(name: &str) -> Model {
    states().into_iter().find(|(state, _)| *state == name).unwrap().1
}

#[test]
fn a_warm_pod_counts_as_serving_only_once_it_was_told_to_stay() {
    let mut model = state_of("the one before is warm");
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    let plan = model.plan();
    let drained = |role| {
        let pods = model.pods(role);
        let told = |uid: &String| {
            plan.actions.iter().any(|action| matches!(action, Action::DrainPod { uid: of, .. } if of == uid))
        };
        (
            pods.iter().filter(|(_, pod)| told(&pod.uid)).count(),
            pods.iter().filter(|(_, pod)| pod.revision == 2).count(),
        )
    };
    assert!(plan.actions.iter().any(|action| matches!(action, Action::UndrainPod { .. })));
    for role in Role::ALL {
        let (drained, all) = drained(role);
        let needed = usize::try_from(model.users_of(role).div_ceil(100)).unwrap();
        assert!(all - drained >= needed, "{role}: {drained} of {all} are drained, {needed} are needed");
    }
    until(&mut model, "it is taken back", |model| model.outcome("back").0 == OperationPhase::Succeeded);
    assert_eq!(model.cut, 0);
}

#[test]
fn a_warm_pod_gets_nobody_while_nobody_can_say_what_it_was_told() {
    let mut model = state_of("the one before is warm");
    model.world.registry = None;
    let opened = |model: &Model| {
        let on = |action: &Action| matches!(action, Action::LabelServing { serving: true, .. });
        model.plan().actions.into_iter().filter(on).collect::<Vec<_>>()
    };
    assert_eq!(opened(&model), []);
    // It would be the only one left: the others are of the revision that is blocked.
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    let closed = |action: &Action| matches!(action, Action::LabelServing { serving: false, .. });
    let closed = model.plan().actions.into_iter().filter(closed).collect::<Vec<_>>();
    assert_eq!((opened(&model), closed), (vec![], vec![]));
}

#[test]
fn a_blocked_pod_that_must_wait_for_another_gets_no_more_slots() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    until(&mut model, "the second share is reached", |model| at_share(model, 25));
    let before = slots_of(&model, Role::Chatroom, "2");
    let victim = model.names(Role::Chatroom)[0].to_owned();
    assert!(model.world.pods.remove(&victim).unwrap().revision == 1);
    model.drop_strays();
    for name in model.names(Role::Chatroom).into_iter().map(str::to_owned).collect::<Vec<_>>() {
        model.users.insert(model.uid(&name), 90);
    }
    model.say_again();
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Gentle });
    let mut waited = false;
    while model.outcome("back").0 != OperationPhase::Succeeded {
        model.step();
        let now = slots_of(&model, Role::Chatroom, "2");
        assert!(now <= before, "{now} slots, it had {before}");
        waited |= now > 0;
    }
    assert!(waited, "with one good Pod it had to wait");
}

#[test]
fn a_canary_that_is_emptied_while_it_fills_leaves_the_service_to_others() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    let open = |model: &Model| {
        let drained = |uid: &String| model.world.status.drains.iter().any(|drain| drain.uid == *uid);
        let pods = model.pods(Role::Gateway).into_iter().filter(|(_, pod)| pod.serving && !drained(&pod.uid));
        pods.map(|(name, pod)| (name.clone(), pod.revision)).collect::<Vec<_>>()
    };
    until(&mut model, "only the canary is in the Service", |model| {
        let open = open(model);
        !open.is_empty() && open.iter().all(|(_, revision)| *revision == 2)
    });
    let canary = open(&model).into_iter().map(|(name, _)| name).collect();
    model.ask("empty", Asks::Drain(Whom::Pods(canary)));
    model.step();
    assert!(open(&model).iter().all(|(_, revision)| *revision == 1) && open(&model).len() == 4, "{:?}", open(&model));
    assert_eq!(model.broken_promises, Vec::<String>::new());
}

#[test]
fn of_a_pool_that_shrinks_while_a_rollout_is_held_half_way_the_good_pods_stay() {
    let mut model = state_of("everybody begins to move");
    model.steps(2);
    model.world.pods.values_mut().filter(|pod| pod.revision == 2).for_each(|pod| pod.restarts = 3);
    model.step();
    assert_eq!(phase(&model), Some(RolloutPhase::Halted));
    let good = |model: &Model| -> Vec<String> {
        let drained = |uid: &String| model.world.status.drains.iter().any(|drain| drain.uid == *uid);
        let pods = model.pods(Role::Gateway).into_iter().filter(|(_, pod)| pod.revision == 1 && !drained(&pod.uid));
        pods.map(|(name, _)| name.clone()).collect()
    };
    let (before, all) = (good(&model), model.pods(Role::Gateway).len());
    model.world.spec.pools.gateway.min = 3;
    model.steps(60);
    assert_eq!((before.len(), good(&model).len()), (4, 3), "{:?}", good(&model));
    assert!(model.pods(Role::Gateway).len() < all, "others have gone");
    assert_eq!(phase(&model), Some(RolloutPhase::Halted));
}

#[test]
fn a_good_gateway_whose_drain_was_only_written_takes_everybody_from_the_first_look_of_a_rollback() {
    let mut model = Model::at_rest([2, 1, 1], 75);
    release(&mut model, "shape-2");
    for second in 0.. {
        let plan = model.plan();
        let is_drained = |name: &String| plan.status.drains.iter().any(|drain| drain.pod == *name);
        let drained = model.pods(Role::Gateway).iter().all(|(name, pod)| pod.revision == 2 || is_drained(name));
        // A planner that dies when it has written that.
        model.perform(&plan, if drained { 1 } else { usize::MAX });
        model.tick();
        if drained {
            break;
        }
        assert!(second < 60, "the last of them is never drained: {:#?}", model.world.status.why);
    }
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    let plan = model.plan();
    model.perform(&plan, usize::MAX);
    let open: Vec<_> = model.pods(Role::Gateway).into_iter().filter(|(_, pod)| pod.serving).collect();
    assert!(!open.is_empty() && open.iter().all(|(_, pod)| pod.revision == 1), "{open:?}");
}

#[test]
fn where_every_good_gateway_is_emptied_a_blocked_one_is_open_until_there_are_others() {
    let mut model = careful(5);
    model.world.spec.rollout.hold_ms = 10_000_000;
    release(&mut model, "shape-2");
    until(&mut model, "the canary is there", |model| phase(model) == Some(RolloutPhase::Canary));
    (model.world.spec.paused, model.world.spec.pools.gateway.min) = (true, 1);
    model.steps(400);
    model.world.spec.paused = false;
    let good = model.pods(Role::Gateway).into_iter().filter(|(_, pod)| pod.revision == 1);
    let good: Vec<String> = good.map(|(name, _)| name.clone()).collect();
    // Those with the fewest users are the first to go.
    for (name, pod) in model.world.pods.clone() {
        model.users.insert(pod.uid, if good.contains(&name) { 0 } else { 9 });
    }
    model.say_again();
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Gentle });
    model.ask("empty", Asks::Drain(Whom::Pods(good.clone())));
    for _ in 0..60 {
        model.step();
        let told = |uid: &String| model.world.registry.as_ref().unwrap().members[uid].draining;
        let is_open = |pod: &throng_plan::world::Pod| pod.serving && pod.ready && !told(&pod.uid);
        let open = model.pods(Role::Gateway).into_iter().filter(|(_, pod)| is_open(pod)).count();
        assert!(open > 0, "nobody could come: {:#?}", model.world.status.why);
    }
    assert!(good.iter().all(|name| !model.world.pods.contains_key(name)), "they were to go");
    assert_eq!((model.outcome("back").0, model.cut), (OperationPhase::Succeeded, 0));
}

#[test]
fn a_number_that_was_given_to_a_shape_is_given_to_no_other_though_the_first_is_not_seen_stored() {
    let mut model = careful(5);
    release(&mut model, "shape-2");
    let plan = model.plan();
    model.perform(&plan, usize::MAX);
    let stored = model.world.revisions.remove(&2).unwrap();
    model.world.pods.retain(|_, pod| pod.revision == 1);
    model.drop_strays();
    release(&mut model, "shape-3");
    let plan = model.plan();
    assert!(
        plan.actions.iter().any(|action| matches!(action, Action::Apply(Object::ControllerRevision { number: 3, .. })))
    );
    let numbers = plan.actions.iter().filter_map(|action| match action {
        Action::CreatePod { revision, .. } => Some(*revision),
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [3, 3, 3]);
    release(&mut model, "shape-2");
    model.perform(&plan, 1);
    model.world.revisions.insert(2, stored);
    until(&mut model, "the first is known by its number", |model| {
        model.world.status.rollout.as_ref().is_some_and(|rollout| rollout.to == 2)
    });
}

#[test]
fn of_a_sick_pod_that_lives_an_older_count_does_not_prove_that_it_is_empty() {
    let mut model = careful(20);
    let victim = model.names(Role::Gateway)[3].to_owned();
    let uid = model.uid(&victim);
    let sick = |model: &mut Model| {
        model.world.pods.get_mut(&victim).unwrap().ready = false;
        model.world.registry.as_mut().unwrap().members.get_mut(&uid).unwrap().ready = false;
        let sample = model.world.samples.get_mut(&uid).unwrap();
        sample.load.values_mut().for_each(|users| *users = 0.0);
        sample.left = 0;
    };
    sick(&mut model);
    model.world.now = Utc(model.world.now.0 + 2000);
    model.ask("empty", Asks::Drain(Whom::Pods(vec![victim.clone()])));
    let deletes = |model: &Model| {
        let mut actions = model.plan().actions.into_iter();
        actions.any(|action| matches!(action, Action::DeletePod { name, .. } if name == victim))
    };
    assert!(!deletes(&model), "it was counted two seconds ago");
    let now = model.world.now;
    model.world.samples.get_mut(&uid).unwrap().at = now;
    assert!(deletes(&model), "nobody can have come since");
}
