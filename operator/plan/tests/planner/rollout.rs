//! A new revision takes over: by shares of the users, held when it is not healthy, taken back from every state.

mod back;
mod half_way;
mod histories;
mod telling;

use std::sync::OnceLock;

use throng_core::{Role, Slot};
use throng_plan::plan::{Action, Reason};
use throng_plan::spec::ShapeHash;
use throng_plan::spec::operation::{Action as Asks, Pace};
use throng_plan::status::{Holds, OperationPhase, RevisionState, RolloutPhase, Utc};
use throng_plan::world::{Object, Sample};

use crate::model::Model;
use crate::properties::look;

use back::states;

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
fn a_halt_for_pods_that_are_not_ready_says_why_in_their_own_words() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    model.dead_nodes.extend(model.world.nodes.keys().cloned());
    let mut halted = None;
    for _ in 0..70 {
        model.step();
        // They run and answer, and are not ready.
        let (now, pods) = (model.world.now, model.world.pods.values().filter(|pod| pod.revision == 2));
        let unready = vec!["the store does not answer it".to_owned(), "Redis refuses it: WRONGPASS".to_owned()];
        let said = pods.map(|pod| (pod.uid.clone(), Sample { at: now, unready: unready.clone(), ..Sample::default() }));
        model.world.samples.extend(said.collect::<Vec<_>>());
        halted = model.world.status.rollout.as_ref().and_then(|rollout| rollout.halted_because.clone());
        if halted.is_some() {
            break;
        }
    }
    let because = halted.expect("it halts");
    assert!(because.contains("not ready within 60 s: the store does not answer it; Redis refuses it"), "{because}");
}

#[test]
fn pods_that_cannot_be_made_halt_a_rollout_and_it_goes_on_when_they_can() {
    let mut model = careful(80);
    model.refused.insert(2);
    release(&mut model, "shape-2");
    model.steps(50);
    assert_eq!(phase(&model), Some(RolloutPhase::Starting), "a quota may be raised in time");
    until(&mut model, "it halts", |model| phase(model) == Some(RolloutPhase::Halted));
    assert_eq!(reason(&model, "Degraded"), (Holds::True, Reason::RolloutHalted.to_string()));
    let because = model.world.status.rollout.clone().unwrap().halted_because.unwrap();
    assert_eq!(because, "gateway: 0 of 1 Pods of revision 2 were made within 60 s; Applied says why");
    model.steps(30);
    assert_eq!((model.share(2), phase(&model)), ((0, 320), Some(RolloutPhase::Halted)));
    model.refused.clear();
    until(&mut model, "it goes on", |model| phase(model) == Some(RolloutPhase::Canary));
    until(&mut model, "it is done", |model| phase(model).is_none());
    assert_eq!((model.world.status.revision, model.cut), (Some(2), 0));
}

#[test]
fn a_pod_that_is_lost_for_a_moment_halts_nothing() {
    let mut model = careful(80);
    model.world.spec.rollout.hold_ms = 1_000_000;
    release(&mut model, "shape-2");
    until(&mut model, "a share is reached", |model| at_share(model, 5));
    model.steps(100);
    let lost =
        model.world.pods.values().find(|pod| pod.revision == 2 && pod.role == Role::Message).unwrap().uid.clone();
    let now = model.world.now;
    model.world.pods.values_mut().filter(|pod| pod.uid == lost).for_each(|pod| pod.terminating = Some(now));
    model.steps(20);
    let rollout = model.world.status.rollout.clone().unwrap();
    assert_eq!((rollout.phase, rollout.missing_since), (RolloutPhase::Canary, None));
    assert_eq!(pods_of(&model, 2), 3);
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
fn a_rollout_that_a_person_holds_goes_on_by_a_person_only() {
    let mut model = careful(10);
    model.broken.insert(2);
    release(&mut model, "shape-2");
    model.step();
    model.ask("hold", Asks::Pause);
    model.steps(100);
    assert_eq!(phase(&model), Some(RolloutPhase::Paused), "Pods that do not start change nothing of it");
    model.ask("force", Asks::Promote);
    model.steps(2);
    let status = &model.world.operations["force"].status;
    assert_eq!(
        (status.phase, phase(&model)),
        (OperationPhase::Failed, Some(RolloutPhase::Paused)),
        "{}",
        status.message
    );
    heal(&mut model, 2);
    model.steps(100);
    assert_eq!(phase(&model), Some(RolloutPhase::Paused));
    model.ask("go", Asks::Resume);
    until(&mut model, "it is done", |model| model.world.status.revision == Some(2));
}

#[test]
fn a_revision_that_somebody_deletes_is_stored_again_under_its_number_and_moves_nobody() {
    let mut model = careful(10);
    release(&mut model, "shape-2");
    until(&mut model, "it is done", |model| model.world.status.revision == Some(2) && phase(model).is_none());
    let pods: Vec<String> = model.world.pods.keys().cloned().collect();
    model.world.revisions.remove(&2);
    model.world.owned.retain(|object| !matches!(object, Object::ControllerRevision { number: 2, .. }));
    for _ in 0..3 {
        // Planners that die when they have stored the status.
        let plan = model.plan();
        model.perform(&plan, 1);
    }
    model.steps(3);
    assert!(model.world.revisions.contains_key(&2));
    model.steps(60);
    assert_eq!((phase(&model), model.world.status.revision), (None, Some(2)));
    assert!(pods.iter().all(|name| model.world.pods.contains_key(name)), "they stay");
    release(&mut model, "shape-3");
    until(&mut model, "another is done", |model| model.world.status.revision == Some(3));
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

#[test]
fn the_oldest_revisions_are_forgotten_and_the_way_back_never() {
    let mut model = Model::at_rest([2, 1, 1], 10);
    (model.world.spec.rollout.history, model.world.spec.rollout.warm_ms) = (2, 0);
    let stored = |model: &Model| model.world.revisions.keys().copied().collect::<Vec<_>>();
    let good = |model: &mut Model, number: u64| {
        release(model, &format!("shape-{number}"));
        until(model, "a release is everywhere", |model| {
            model.world.status.revision == Some(number) && phase(model).is_none()
        });
        model.settle();
    };
    (2..=5).for_each(|number| good(&mut model, number));
    assert_eq!(stored(&model), [4, 5]);
    for number in 6..=9 {
        model.broken.insert(number);
        release(&mut model, &format!("shape-{number}"));
        until(&mut model, "a bad one halts", |model| {
            stored(model).contains(&number) && phase(model) == Some(RolloutPhase::Halted)
        });
    }
    model.steps(3);
    assert_eq!(stored(&model), [5, 9], "the one that has the users, and the one that is asked for");
    good(&mut model, 10);
    assert_eq!(stored(&model), [5, 10], "the last good one is worth more than a bad one after it");
    model.ask("back", Asks::Rollback { to: Some(5), pace: Pace::Fast });
    until(&mut model, "everybody is back", |model| {
        model.world.status.rollback.as_ref().is_some_and(|rollback| rollback.done_at.is_some())
    });
    model.settle();
    assert_eq!(stored(&model), [5, 10], "a blocked one is known as long as the spec asks for it");
    good(&mut model, 11);
    assert_eq!((stored(&model), model.cut), (vec![5, 11], 0), "no number is given twice");
}

fn heal(model: &mut Model, revision: u64) {
    model.broken.remove(&revision);
    model.world.pods.values_mut().filter(|pod| pod.revision == revision).for_each(|pod| pod.trouble = None);
}
