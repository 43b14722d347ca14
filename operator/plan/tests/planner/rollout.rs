//! A new revision takes over: by shares of the users, held when it is not healthy, taken back from every state.

use std::sync::OnceLock;

use proptest::prelude::*;
use throng_core::{Role, Slot};
use throng_plan::plan::{Action, Reason};
use throng_plan::spec::ShapeHash;
use throng_plan::spec::operation::{Action as Asks, Pace};
use throng_plan::status::{Holds, OperationPhase, RevisionState, RolloutPhase, Utc};

use crate::model::Model;
use crate::properties::look;

const HOLD_MS: u64 = 20_000;
const WARM_MS: u64 = 600_000;

/// A cluster at rest whose next revision takes two steps: 5 % of the users, then 25 %.
fn careful(users: u64) -> Model {
    let mut model = Model::at_rest([4, 2, 2], users);
    let rollout = &mut model.world.spec.rollout;
    (rollout.canary_percent, rollout.hold_ms) = (vec![5, 25], HOLD_MS);
    (rollout.warm_ms, rollout.warm_floor) = (WARM_MS, 1);
    rollout.halt.restarts = Some(1);
    rollout.halt.p99_ms = Some(500);
    rollout.halt.error_percent = Some(1);
    rollout.progress_deadline_ms = 60_000;
    model
}

fn release(model: &mut Model, shape: &str) {
    model.world.spec.shape = ShapeHash::new(shape);
    model.world.cluster.generation += 1;
}

fn phase(model: &Model) -> Option<RolloutPhase> {
    model.world.status.rollout.as_ref().map(|rollout| rollout.phase)
}

/// Steps until it is so.
fn until(model: &mut Model, what: &str, is_so: impl Fn(&Model) -> bool) {
    for _ in 0..400 {
        if is_so(model) {
            assert_eq!(model.broken_promises, Vec::<String>::new(), "{what}");
            return;
        }
        model.step();
    }
    panic!("never: {what}; {:#?}, {:#?}", model.world.status.rollout, model.world.status.why);
}

fn at_share(model: &Model, percent: u32) -> bool {
    let rollout = model.world.status.rollout.as_ref();
    rollout.is_some_and(|rollout| rollout.target_percent == percent && rollout.reached_at.is_some())
}

fn state(model: &Model, number: u64) -> RevisionState {
    model.world.status.revisions.iter().find(|revision| revision.number == number).unwrap().state
}

fn reason(model: &Model, kind: &str) -> (Holds, String) {
    let conditions = &model.world.status.conditions;
    let condition = conditions.iter().find(|condition| condition.kind == kind).unwrap();
    (condition.status, condition.reason.clone())
}

fn slots_of(model: &Model, role: Role, revision: &str) -> usize {
    let document = model.document(role).unwrap();
    Slot::all().filter(|slot| document.0.owner(*slot).is_some_and(|placed| &*placed.revision == revision)).count()
}

fn pods_of(model: &Model, revision: u64) -> usize {
    model.world.pods.values().filter(|pod| pod.revision == revision).count()
}

#[test]
fn a_release_goes_by_shares_of_the_users_and_the_last_good_one_stays_warm() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    model.step();
    assert_eq!((phase(&model), pods_of(&model, 2)), (Some(RolloutPhase::Starting), 3), "one Pod of each pool");
    assert!(model.world.pods.values().all(|pod| pod.revision == 1 || !pod.serving), "nobody comes to it yet");
    for percent in [5, 25] {
        until(&mut model, "a share is reached", |model| at_share(model, percent));
        let (new, all) = model.share(2);
        let is = new * 100 / all;
        assert!(is.abs_diff(u64::from(percent)) <= 2, "{new} of {all} users, {percent} % are to be");
        for role in [Role::Chatroom, Role::Message] {
            assert_eq!(slots_of(&model, role, "2"), (4096 * percent as usize).div_ceil(100), "{role}");
        }
        assert_eq!(all, 320, "nobody is lost");
        assert!(model.serving(Role::Gateway) >= 5, "the good revision carries the pool");
    }
    let held = model.world.status.rollout.clone().unwrap().reached_at.unwrap();
    until(&mut model, "it is promoted", |model| phase(model) == Some(RolloutPhase::Promoting));
    assert!(model.world.now >= Utc(held.0 + HOLD_MS));
    until(&mut model, "it is done", |model| phase(model).is_none());
    assert_eq!((model.world.status.revision, model.share(2)), (Some(2), (320, 320)));
    assert_eq!((state(&model, 2), state(&model, 1)), (RevisionState::Serving, RevisionState::Warm));
    model.settle();
    assert_eq!((pods_of(&model, 1), pods_of(&model, 2)), (3, 8), "one Pod of each pool stays warm");
    assert_eq!(model.world.status.drains, []);
    let warm_until = model.world.status.revisions.iter().find_map(|revision| revision.warm_until).unwrap();
    model.world.now = warm_until;
    model.settle();
    assert_eq!((pods_of(&model, 1), model.cut), (0, 0));
    assert_eq!(model.share(2), (320, 320));
}

#[test]
fn users_who_come_and_go_keep_the_share_within_two_points() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    until(&mut model, "the first share is reached", |model| at_share(model, 5));
    model.world.spec.rollout.hold_ms = 1_000_000;
    for second in 0..120u64 {
        model.arriving = 4;
        let leaver = model.users.iter_mut().filter(|(_, users)| **users > 3).nth((second % 4) as usize);
        if let Some((_, users)) = leaver {
            *users -= 4;
        }
        model.step();
        let (new, all) = model.share(2);
        assert!((new * 100).abs_diff(5 * all) <= 3 * all, "{new} of {all} after {second} s");
    }
}

#[test]
fn a_bad_image_halts_touches_no_user_and_is_got_past_by_a_new_spec() {
    let mut model = careful(80);
    let old: Vec<String> = model.world.pods.keys().cloned().collect();
    model.broken.insert(2);
    release(&mut model, "shape-2");
    until(&mut model, "it halts", |model| phase(model) == Some(RolloutPhase::Halted));
    assert_eq!(reason(&model, "Degraded"), (Holds::True, Reason::RolloutHalted.to_string()));
    assert!(model.world.status.rollout.as_ref().unwrap().halted_because.as_ref().unwrap().contains("ImagePullBackOff"));
    model.steps(60);
    assert!(old.iter().all(|name| model.world.pods[name].serving), "the old ones serve");
    assert_eq!((model.share(2), pods_of(&model, 2)), ((0, 320), 3));
    release(&mut model, "shape-3");
    model.steps(3);
    assert_eq!(pods_of(&model, 2), 0, "broken Pods without users go at once");
    until(&mut model, "the fixed one is everywhere", |model| {
        model.world.status.revision == Some(3) && phase(model).is_none()
    });
    assert_eq!((model.share(3), model.cut), ((320, 320), 0));
}

#[test]
fn a_halt_for_pods_that_do_not_start_ends_when_they_do() {
    let mut model = careful(10);
    model.broken.insert(2);
    release(&mut model, "shape-2");
    until(&mut model, "it halts", |model| phase(model) == Some(RolloutPhase::Halted));
    model.broken.clear();
    model.world.pods.values_mut().for_each(|pod| pod.trouble = None);
    until(&mut model, "it is done", |model| model.world.status.revision == Some(2));
}

#[test]
fn pods_that_never_get_ready_halt_it_at_the_deadline() {
    let mut model = careful(10);
    model.broken.insert(2);
    release(&mut model, "shape-2");
    for _ in 0..100 {
        // They run and say nothing of what is wrong.
        model.world.pods.values_mut().for_each(|pod| pod.trouble = None);
        let seconds = model.world.status.rollout.as_ref().map_or(0, |r| model.world.now.0.since(r.step_since.0) / 1000);
        assert_eq!(phase(&model) == Some(RolloutPhase::Halted), seconds > 60, "after {seconds} s");
        model.step();
    }
}

#[test]
fn signs_of_a_sick_revision_hold_it_where_it_is_and_its_users_come_back_by_a_rollback() {
    type Sign = fn(&mut Model);
    let signs: [(&str, Sign); 3] = [
        ("p99", |model| drop(model.says.insert(2, vec![("p99_ms", 800.0)]))),
        ("requests fail", |model| drop(model.says.insert(2, vec![("error_percent", 3.0)]))),
        ("restarts", |model| {
            model.world.pods.values_mut().filter(|pod| pod.revision == 2).for_each(|pod| pod.restarts = 1);
        }),
    ];
    for (word, sign) in signs {
        let mut model = careful(80);
        release(&mut model, "shape-2");
        until(&mut model, "the first share is reached", |model| at_share(model, 5));
        sign(&mut model);
        model.tick();
        let since = model.world.now;
        until(&mut model, "it halts", |model| phase(model) == Some(RolloutPhase::Halted));
        let seconds = model.world.now.0.since(since.0) / 1000;
        assert!(seconds <= 12 && (seconds > 10) == (word != "restarts"), "{word}: after {seconds} s");
        let because = model.world.status.rollout.clone().unwrap().halted_because.unwrap();
        assert!(because.contains(word), "{word}: {because}");
        model.steps(2);
        let before = model.share(2).0;
        let slots = slots_of(&model, Role::Chatroom, "2");
        model.arriving = 40;
        model.steps(40);
        assert_eq!(
            (model.share(2).0, slots_of(&model, Role::Chatroom, "2")),
            (before, slots),
            "{word}: it gets nobody"
        );
        model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
        until(&mut model, "it is taken back", |model| model.outcome("back").0 == OperationPhase::Succeeded);
        assert_eq!((model.share(2).0, model.share(1)), (0, (360, 360)), "{word}");
    }
}

/// Every state of a rollout.
fn states() -> Vec<(&'static str, Model)> {
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

#[test]
fn a_rollout_that_is_looked_at_again_before_anything_changes_does_nothing_more() {
    for (name, mut model) in states() {
        let plan = model.plan();
        model.perform(&plan, usize::MAX);
        let again = model.plan();
        let more: Vec<_> = again.actions.iter().filter(|action| plan.actions.contains(action)).collect();
        let shed = again.actions.iter().any(|action| matches!(action, Action::ShedUsers { .. }));
        let moved = plan.actions.iter().any(|action| matches!(action, Action::ShedUsers { .. }));
        assert!(more.is_empty() && !(shed && moved), "{name}: {more:?}");
    }
}

#[test]
fn while_the_registry_is_out_of_reach_a_rollout_stands_still() {
    for (name, mut model) in states() {
        let before = model.world.status.rollout.clone();
        model.world.registry = None;
        model.world.now = Utc(model.world.now.0 + 10 * HOLD_MS);
        let plan = model.plan();
        let step = |rollout: Option<throng_plan::status::RolloutStatus>| {
            rollout.map(|rollout| (rollout.step, rollout.target_percent))
        };
        if before.is_some() {
            assert_eq!(step(plan.status.rollout), step(before), "{name}");
        }
        assert_eq!(plan.status.drains.len(), model.world.status.drains.len(), "{name}");
    }
}

#[test]
fn a_revision_that_never_served_is_left_without_a_canary() {
    let mut model = Model::new([2, 1, 1]);
    model.world.spec.rollout.canary_percent = vec![5];
    model.world.spec.rollout.hold_ms = 10_000_000;
    model.broken.insert(1);
    model.steps(10);
    release(&mut model, "shape-2");
    until(&mut model, "the fixed one serves", |model| model.world.status.revision == Some(2));
    model.settle();
    assert_eq!((pods_of(&model, 1), pods_of(&model, 2)), (0, 4));
}

/// Something that happens to a cluster whose releases are careful.
#[derive(Clone, Debug)]
enum Happening {
    Release(u8),
    Broken(u8, bool),
    Ask(u8),
    Users(usize, u64),
    Arrive(u64),
    Cordon(usize, bool),
    Remove(usize),
    Slow(u8, bool),
    Blind,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1u8..5).prop_map(Happening::Release),
        1 => (1u8..5, any::<bool>()).prop_map(|(number, broken)| Happening::Broken(number, broken)),
        4 => (0u8..6).prop_map(Happening::Ask),
        3 => (0usize..20, 0u64..80).prop_map(|(pod, users)| Happening::Users(pod, users)),
        2 => (0u64..30).prop_map(Happening::Arrive),
        1 => (0usize..3, any::<bool>()).prop_map(|(node, cordoned)| Happening::Cordon(node, cordoned)),
        1 => (0usize..20).prop_map(Happening::Remove),
        1 => (1u8..5, any::<bool>()).prop_map(|(number, slow)| Happening::Slow(number, slow)),
        1 => Just(Happening::Blind),
    ]
}

fn happen(model: &mut Model, happening: &Happening, number: usize) {
    let pod = |model: &Model, n: usize| model.world.pods.keys().nth(n % model.world.pods.len().max(1)).cloned();
    match *happening {
        Happening::Release(shape) => release(model, &format!("shape-{shape}")),
        Happening::Broken(revision, true) => {
            model.broken.insert(u64::from(revision));
        }
        Happening::Broken(revision, false) => heal(model, u64::from(revision)),
        Happening::Slow(revision, true) => drop(model.says.insert(u64::from(revision), vec![("p99_ms", 900.0)])),
        Happening::Slow(revision, false) => drop(model.says.remove(&u64::from(revision))),
        Happening::Ask(what) => {
            let asks = match what {
                0 => Asks::Rollback { to: None, pace: Pace::Fast },
                1 => Asks::Rollback { to: Some(1), pace: Pace::Gentle },
                2 => Asks::Pause,
                3 => Asks::Resume,
                4 => Asks::Promote,
                _ => Asks::Rebalance,
            };
            model.ask(&format!("operation-{number:02}"), asks);
        }
        Happening::Users(n, users) => {
            let ready = pod(model, n).filter(|name| model.world.pods[name].ready && model.world.pods[name].serving);
            if let Some(name) = ready {
                model.users.insert(model.uid(&name), users);
                model.say_again();
            }
        }
        Happening::Arrive(users) => model.arriving += users,
        Happening::Cordon(node, cordoned) => {
            model.world.nodes.get_mut(&format!("node-{node}")).unwrap().cordoned = cordoned;
        }
        Happening::Remove(n) => {
            if let Some(name) = pod(model, n) {
                model.world.pods.remove(&name);
                model.drop_strays();
            }
        }
        Happening::Blind => {
            let mut blind = model.clone();
            blind.world.registry = None;
            let plan = blind.plan();
            model.perform(&plan, usize::MAX);
        }
    }
}

fn heal(model: &mut Model, revision: u64) {
    model.broken.remove(&revision);
    model.world.pods.values_mut().filter(|pod| pod.revision == revision).for_each(|pod| pod.trouble = None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is released, asked for and lost, and wherever planners die: no own action takes a pool below its users, nobody
    /// is cut, a blocked revision gets nobody; in the end everybody is on the revision of the spec, or on the one that a
    /// rollback in force says, and a second look does nothing.
    #[test]
    fn every_history_of_releases_and_operations_ends_on_one_revision(
        history in prop::collection::vec((happening(), 0usize..25, 0usize..20), 1..10),
    ) {
        let mut model = careful(10);
        for (number, (happening, looks, prefix)) in history.iter().enumerate() {
            happen(&mut model, happening, number);
            for round in 0..*looks {
                look(&mut model, if round % 3 == 0 { *prefix } else { usize::MAX });
                model.tick();
            }
        }
        model.says.clear();
        (1..9).for_each(|revision| heal(&mut model, revision));
        (0..3).for_each(|node| model.world.nodes.get_mut(&format!("node-{node}")).unwrap().cordoned = false);
        for users in model.users.values_mut() {
            *users = (*users).min(1);
        }
        model.world.spec.rollout.warm_ms = 0;
        model.tick();
        model.ask("operation-99", Asks::Resume);
        let ends = |model: &Model| phase(model).is_none()
            && model.world.status.rollback.as_ref().is_none_or(|rollback| rollback.done_at.is_some());
        model.step();
        until(&mut model, "it ends", ends);
        model.settle();
        let status = &model.world.status;
        let asked = model.world.revisions.iter().rev().find(|(_, known)| known.hash == model.world.spec.shape).unwrap();
        let end = status.rollback.as_ref().map_or(*asked.0, |rollback| rollback.to);
        prop_assert_eq!(status.revision, Some(end));
        prop_assert!(model.world.pods.values().all(|pod| pod.revision == end && pod.ready && pod.serving));
        prop_assert_eq!((model.world.pods.len(), model.cut), (8, 0));
        prop_assert!(model.world.operations.values().all(|asks| asks.status.phase.is_final()));
        prop_assert_eq!(&model.broken_promises, &Vec::<String>::new());
        let mut again = model.clone();
        again.world.status = model.plan().status;
        prop_assert_eq!(again.plan(), model.plan(), "the status is at rest too");
    }
}
