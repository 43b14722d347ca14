//! The way back, and another spec, from every state of a rollout.

use super::*;

/// Every state of a rollout.
pub(super) fn states() -> Vec<(&'static str, Model)> {
    static STATES: OnceLock<Vec<(&str, Model)>> = OnceLock::new();
    STATES.get_or_init(way).clone()
}

/// The way of a rollout, with what may happen on it.
fn way() -> Vec<(&'static str, Model)> {
    let mut all = Vec::new();
    let mut model = careful(60);
    release(&mut model, "shape-2");
    all.push(("nothing of it is there", model.clone()));
    model.step();
    all.push(("its first Pods start", model.clone()));
    until(&mut model, "canary", |model| phase(model) == Some(RolloutPhase::Canary));
    all.push(("its first users come", model.clone()));
    until(&mut model, "reached", |model| at_share(model, 5));
    all.push(("the first share is watched", model.clone()));
    until(&mut model, "reached", |model| at_share(model, 25));
    all.push(("the second share is watched", model.clone()));
    let mut paused = model.clone();
    paused.ask("hold", Asks::Pause);
    paused.steps(2);
    all.push(("it is held", paused));
    until(&mut model, "promoting", |model| phase(model) == Some(RolloutPhase::Promoting));
    all.push(("everybody begins to move", model.clone()));
    let mut halted = model.clone();
    halted.pace = 5;
    halted.says.insert(2, vec![("p99_ms", 900.0)]);
    until(&mut halted, "halted", |model| phase(model) == Some(RolloutPhase::Halted));
    halted.pace = model.pace;
    all.push(("it halts while everybody moves", halted));
    until(&mut model, "half", |model| model.share(2).0 * 2 > model.share(2).1);
    all.push(("half of the users have moved", model.clone()));
    until(&mut model, "done", |model| phase(model).is_none());
    all.push(("it is just done", model.clone()));
    model.settle();
    all.push(("the one before is warm", model.clone()));
    model.world.spec.rollout.warm_ms = 0;
    model.settle();
    assert_eq!(pods_of(&model, 1), 0);
    all.push(("nothing of the one before is left", model));
    all
}

#[test]
fn a_rollback_works_from_every_state_and_the_old_spec_that_is_applied_again_does_not_undo_it() {
    for (name, rest) in states() {
        for pace in [Pace::Fast, Pace::Gentle] {
            let mut model = rest.clone();
            let users = model.share(1).1;
            model.ask("back", Asks::Rollback { to: None, pace });
            let mut seconds = 0;
            while model.outcome("back").0 != OperationPhase::Succeeded {
                model.step();
                // Somebody applies what is blocked again and again, with other hot fields each time.
                model.world.cluster.generation += 1;
                model.world.spec.drain.users_per_s = Some(100 + seconds);
                seconds += 1;
                assert!(seconds < 200, "{name}, {pace:?}: {:#?} {:#?}", model.outcome("back"), model.world.status.why);
                assert_eq!(model.broken_promises, Vec::<String>::new(), "{name}");
            }
            model.settle();
            assert_eq!((model.share(2).0, model.share(1)), (0, (users, users)), "{name}, {pace:?}");
            assert_eq!((pods_of(&model, 2), pods_of(&model, 1), model.cut), (0, 8, 0), "{name}");
            assert_eq!(model.world.status.revision, Some(1), "{name}");
            assert_eq!(reason(&model, "RolledBack"), (Holds::True, Reason::RevisionBlocked.to_string()));
            assert!(model.document(Role::Chatroom).unwrap().0.blocked.contains("2"), "{name}");
            assert_eq!(model.plan().actions, [], "{name}");
            // Hot fields are followed.
            model.world.spec.pools.gateway.min = 5;
            model.settle();
            assert_eq!(pods_of(&model, 1), 9, "{name}");
            // Another shape is what the block waits for.
            release(&mut model, "shape-3");
            model.world.spec.rollout.warm_ms = 0;
            model.says.clear();
            until(&mut model, "the fixed one is everywhere", |model| model.world.status.revision == Some(3));
            model.settle();
            assert_eq!((model.share(3), pods_of(&model, 3)), ((users, users), 9), "{name}");
            assert_eq!((state(&model, 3), reason(&model, "RolledBack").0), (RevisionState::Serving, Holds::False));
        }
    }
}

#[test]
fn the_pace_of_a_rollback_is_said_to_the_gateways_that_are_left() {
    for (pace, said) in [(Pace::Fast, 1000), (Pace::Gentle, 100)] {
        let mut model = careful(80);
        model.world.spec.drain.users_per_s = Some(100);
        release(&mut model, "shape-2");
        until(&mut model, "the first share is reached", |model| at_share(model, 5));
        model.ask("back", Asks::Rollback { to: None, pace });
        let mut paces = Vec::new();
        for _ in 0..20 {
            paces.extend(model.plan().actions.iter().filter_map(|action| match action {
                Action::DrainPod { name, users_per_s, .. } if name.contains("-gateway-") => Some(*users_per_s),
                _ => None,
            }));
            model.step();
        }
        assert_eq!(paces, [Some(said)], "{pace:?}");
    }
}

#[test]
fn of_a_rollback_the_routing_is_first_and_needs_one_look() {
    for (name, mut model) in states() {
        let warm = model.world.pods.values().any(|pod| pod.revision == 1 && pod.ready && pod.serving);
        if !warm {
            continue;
        }
        model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
        let plan = model.plan();
        model.perform(&plan, usize::MAX);
        let open = model.pods(Role::Gateway).into_iter().filter(|(_, pod)| pod.revision == 2 && pod.serving).count();
        assert_eq!(open, 0, "{name}");
        let labels =
            plan.actions.iter().position(|action| matches!(action, Action::LabelServing { serving: false, .. }));
        let deletes = plan.actions.iter().position(|action| matches!(action, Action::DeletePod { .. }));
        assert!(labels.unwrap_or(0) <= deletes.unwrap_or(usize::MAX), "{name}");
    }
}

#[test]
fn a_new_spec_takes_the_place_of_a_rollout_in_every_state() {
    for (name, mut model) in states() {
        let users = model.share(1).1;
        model.world.spec.rollout.warm_ms = 0;
        release(&mut model, "shape-3");
        model.says.clear();
        // A number that was never stored is free for another shape.
        let number = if name == "nothing of it is there" { 2 } else { 3 };
        until(&mut model, name, |model| model.world.status.revision == Some(number) && phase(model).is_none());
        model.settle();
        assert_eq!((model.share(number), pods_of(&model, number)), ((users, users), 8), "{name}");
        assert_eq!((model.cut, model.world.pods.len()), (0, 8), "{name}");
    }
}

#[test]
fn a_planner_that_dies_anywhere_in_a_rollout_or_a_rollback_ends_in_the_same_world() {
    for (name, rest) in states() {
        let mut asked = rest.clone();
        asked.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
        for (start, revision) in [(rest, 2), (asked, 1)] {
            let plan = start.plan();
            for prefix in 0..=plan.actions.len().min(12) {
                let mut crashed = start.clone();
                crashed.perform(&plan, prefix);
                crashed.says.clear();
                crashed.tick();
                crashed.ask("go-on", Asks::Resume);
                crashed.world.spec.rollout.warm_ms = 0;
                until(&mut crashed, name, |model| {
                    model.world.status.revision == Some(revision) && phase(model).is_none()
                });
                crashed.settle();
                assert_eq!((pods_of(&crashed, revision), crashed.world.pods.len()), (8, 8), "{name}, after {prefix}");
                assert_eq!((crashed.cut, crashed.share(revision)), (0, (240, 240)), "{name}, after {prefix}");
            }
        }
    }
}
