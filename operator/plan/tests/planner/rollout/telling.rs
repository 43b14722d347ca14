//! The first line of why, on the way of a rollout and back.

use throng_plan::status::HaltCause;

use super::*;

fn said(model: &Model) -> String {
    model.plan().status.why[0].clone()
}

/// What is said in a state of [`states`] once a look has written it down.
fn said_when(state: &str) -> String {
    let mut model = states().into_iter().find(|(name, _)| *name == state).unwrap().1;
    model.step();
    said(&model)
}

#[test]
fn each_step_of_a_rollout_says_what_it_does_and_what_comes_next() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    let counts = "gateway 0/1, chatroom 0/1, message 0/1";
    let starts = format!("revision 2 starts: of its first Pods {counts} serve; then it gets 5 % of the users");
    assert_eq!(said(&model), starts);
    model.step();
    assert_eq!(said(&model), starts);
    let mut blind = model.clone();
    blind.world.registry = None;
    assert!(said(&blind).ends_with("; it stands still until etcd answers"), "{}", said(&blind));
    until(&mut model, "canary", |model| phase(model) == Some(RolloutPhase::Canary));
    assert_eq!(said(&model), "revision 2 has 0 % of the users and gets 5 %, to be watched for 20 s");
    until(&mut model, "the first share is reached", |model| at_share(model, 5));
    let reached = model.world.status.rollout.clone().unwrap().reached_at.unwrap();
    let until_then = Utc(reached.0 + HOLD_MS).clock(reached);
    let watched = format!("revision 2 has 5 % of the users and is healthy: watched until {until_then}, then 25 %");
    assert_eq!(said(&model), watched);
    model.steps(5);
    assert_eq!(said(&model), watched, "the same words, and so no write, while nothing changes");
    until(&mut model, "the second share is on its way", |model| {
        model.world.status.rollout.as_ref().is_some_and(|rollout| rollout.target_percent == 25)
    });
    assert!(said(&model).ends_with("of the users and gets 25 %, to be watched for 20 s"), "{}", said(&model));
    until(&mut model, "the second share is reached", |model| at_share(model, 25));
    assert!(said(&model).ends_with(", then everybody"), "{}", said(&model));
    until(&mut model, "it is promoted", |model| phase(model) == Some(RolloutPhase::Promoting));
    let moves = said(&model);
    assert!(moves.starts_with("everybody moves to revision 2: "), "{moves}");
    let left = moves.strip_suffix(" are left on others; then revision 1 stays warm for 10 min").expect(&moves);
    let words: Vec<&str> = left.rsplit(' ').take(5).collect();
    assert!(matches!(words[..], ["Pods", "8", "and", "users", _]), "{moves}");
    until(&mut model, "it is done", |model| phase(model).is_none());
    model.settle();
    assert!(said(&model).starts_with("gateway: "), "nothing is on its way: {}", said(&model));
}

#[test]
fn a_step_that_lacks_pods_says_which() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    until(&mut model, "the first share is reached", |model| at_share(model, 5));
    let lost = model.names(Role::Message).into_iter().find(|name| name.contains("-2-")).unwrap().to_owned();
    let uid = model.uid(&lost);
    model.world.registry.as_mut().unwrap().members.get_mut(&uid).unwrap().ready = false;
    assert!(said(&model).contains("of the users but not all of its Pods serve (message 0/1): watched until"));
    model.world.now = Utc(model.world.now.0 + HOLD_MS);
    assert!(said(&model).ends_with("(message 0/1): watched long enough, 25 % when its Pods serve"), "{}", said(&model));
}

#[test]
fn a_rollout_that_is_held_or_halts_says_by_whom_or_why_and_what_to_do() {
    assert_eq!(
        said_when("it is held"),
        "revision 2 is held at 25 % of the users, by operation hold: a Resume goes on, a Rollback takes it back"
    );
    let sick = said_when("it halts while everybody moves");
    assert!(sick.starts_with("revision 2 has halted with ") && sick.contains("messages take 900 ms on "), "{sick}");
    assert!(sick.ends_with("; apply another spec, or create a Rollback or a Resume"), "{sick}");
    let mut model = careful(10);
    model.broken.insert(2);
    release(&mut model, "shape-2");
    until(&mut model, "it halts", |model| phase(model) == Some(RolloutPhase::Halted));
    assert_eq!(model.world.status.rollout.as_ref().unwrap().halted_for, Some(HaltCause::NotStarting));
    let line = said(&model);
    assert!(line.starts_with("revision 2 has halted with 0 % of the users: live-"), "{line}");
    let help = "ImagePullBackOff; it goes on when its Pods start; else apply another spec, or create a Rollback";
    assert!(line.ends_with(help), "{line}");
}

#[test]
fn samples_that_begin_to_be_bad_are_told_before_they_halt_it() {
    let mut model = careful(80);
    release(&mut model, "shape-2");
    until(&mut model, "the first share is reached", |model| at_share(model, 5));
    model.says.insert(2, vec![("p99_ms", 800.0)]);
    model.steps(2);
    let since = model.world.status.rollout.clone().unwrap().sick_since.unwrap();
    let bad = format!("but its samples are bad since {}, and it halts if they stay so", since.clock(since));
    assert!(said(&model).contains(&bad), "{}", said(&model));
}

#[test]
fn a_rollback_says_who_is_left_and_then_what_it_holds() {
    let mut model = states().into_iter().find(|(name, _)| *name == "the second share is watched").unwrap().1;
    model.pace = 5;
    model.ask("back", Asks::Rollback { to: None, pace: Pace::Fast });
    model.step();
    let line = said(&model);
    assert!(line.starts_with("everybody goes back from revision 2 to 1, as operation back asks: "), "{line}");
    assert!(line.contains(" users and ") && line.ends_with(" are left on others"), "{line}");
    model.pace = 30;
    until(&mut model, "it is taken back", |model| model.outcome("back").0 == OperationPhase::Succeeded);
    model.settle();
    let holds = "revision 2 gets nobody, as operation back asks, until the spec asks for other Pods: revision 1 serves";
    assert_eq!(said(&model), holds);
    model.world.spec.paused = true;
    assert_eq!(said(&model), "the cluster is paused: nothing is changed");
}

#[test]
fn in_every_state_the_words_stay_the_same_while_nothing_changes() {
    for (name, mut model) in states() {
        model.step();
        let first = model.plan();
        model.world.now = Utc(model.world.now.0 + 1500);
        let second = model.plan();
        if first.status.rollout == second.status.rollout {
            assert_eq!(first.status.why[0], second.status.why[0], "{name}");
        }
    }
}
