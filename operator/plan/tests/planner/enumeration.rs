//! One surplus gateway in every state: each phase, ready or not, with a member or not, with nobody, users or no word, before
//! its drain, in it, past its deadline.

use throng_core::{Millis, Role};
use throng_plan::plan::{Action, Because};
use throng_plan::status::{DrainCause, DrainStatus, Utc};
use throng_plan::world::{Phase, Sample};

use crate::model::{DEADLINE_MS, Model};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Users {
    Nobody,
    Some,
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Drained {
    NotYet,
    NotTold,
    Told,
    TooLong,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    phase: Phase,
    ready: bool,
    member: bool,
    users: Users,
    drain: Drained,
    terminating: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for phase in [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::Unknown] {
        for ready in [false, true] {
            for member in [false, true] {
                for users in [Users::Nobody, Users::Some, Users::Silent] {
                    for drain in [Drained::NotYet, Drained::NotTold, Drained::Told, Drained::TooLong] {
                        for terminating in [false, true] {
                            cases.push(Case { phase, ready, member, users, drain, terminating });
                        }
                    }
                }
            }
        }
    }
    cases
}

const NAME: &str = "live-gateway-0-7";

/// A pool at rest, and beside it a Pod of an old revision in the state of the case.
fn model(rest: &Model, case: Case) -> Model {
    let mut model = rest.clone();
    let world = &mut model.world;
    let mut pod = world.pods["live-gateway-1-0"].clone();
    (pod.uid, pod.revision, pod.index) = ("old".into(), 0, 7);
    (pod.phase, pod.ready, pod.serving) = (case.phase, case.ready, true);
    pod.terminating = case.terminating.then_some(world.now);
    let uid = world.pods["live-gateway-1-0"].uid.clone();
    let registry = world.registry.as_mut().unwrap();
    if case.member {
        let mut member = registry.members[&uid].clone();
        member.pod = NAME.into();
        member.draining = matches!(case.drain, Drained::Told | Drained::TooLong);
        registry.members.insert("old".into(), member);
    }
    world.pods.insert(NAME.into(), pod);
    let users = if case.users == Users::Nobody { 0 } else { 5 };
    model.users.insert("old".into(), users);
    if case.users != Users::Silent {
        let load = [("connections".to_owned(), users as f64)].into();
        let draining = matches!(case.drain, Drained::Told | Drained::TooLong);
        world.samples.insert("old".into(), Sample { at: world.now, load, left: users, draining, unready: vec![] });
    }
    if case.drain != Drained::NotYet {
        let ago = if case.drain == Drained::TooLong { DEADLINE_MS } else { 1000 };
        let since = Utc(Millis(world.now.0.0 - ago));
        world.status.drains.push(DrainStatus {
            pod: NAME.into(),
            uid: "old".into(),
            cause: DrainCause::Rollout,
            why: String::new(),
            since,
            deadline: Utc(since.0 + DEADLINE_MS),
            users_at_start: 5,
            users_left: 5,
            operation: None,
        });
    }
    model
}

/// What must become of it, by rules that were written down anew.
fn expected(case: Case) -> Option<Because> {
    let over = matches!(case.phase, Phase::Succeeded | Phase::Failed);
    let told = case.member && matches!(case.drain, Drained::Told | Drained::TooLong);
    let serves = case.ready && case.member;
    // Without a word and without a process, a Pod that never ran is known to be empty.
    let never_ran = case.users == Users::Silent && !case.member && case.phase == Phase::Pending;
    let empty = case.users == Users::Nobody || never_ran;
    match () {
        () if case.terminating => None,
        () if over => (!case.member).then_some(Because::Failed),
        () if empty && told => Some(Because::Emptied),
        () if empty && !serves => Some(Because::Unused),
        () if case.drain == Drained::TooLong => Some(Because::Deadline),
        () => None,
    }
}

#[test]
fn a_pod_that_should_go_goes_when_it_may_and_never_before() {
    let rest = Model::at_rest([2, 1, 1], 3);
    let cases = cases();
    assert_eq!(cases.len(), 5 * 2 * 2 * 3 * 4 * 2);
    for case in cases {
        let mut model = model(&rest, case);
        let plan = model.plan();
        let deleted = plan.actions.iter().find_map(|action| match action {
            Action::DeletePod { name, because, .. } => {
                assert_eq!(name, NAME, "{case:?}");
                Some(*because)
            }
            _ => None,
        });
        assert_eq!(deleted, expected(case), "{case:?}");
        let drained = plan.actions.iter().any(|action| matches!(action, Action::DrainPod { .. }));
        let told = matches!(case.drain, Drained::Told | Drained::TooLong);
        let live = !case.terminating && !matches!(case.phase, Phase::Succeeded | Phase::Failed);
        assert_eq!(drained, live && case.member && !told && deleted.is_none(), "{case:?}");
        assert!(!plan.actions.iter().any(|action| matches!(action, Action::CreatePod { .. })), "{case:?}");
        model.perform(&plan, usize::MAX);
        assert_eq!(model.broken_promises, Vec::<String>::new(), "{case:?}");
        assert_eq!(model.serving(Role::Gateway).max(2), model.serving(Role::Gateway), "{case:?}");
    }
}
