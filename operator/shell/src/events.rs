//! Events: what was decided and done, for those who read `kubectl describe`. Never in anybody's way: one that the API
//! server does not take, or that is one too many, is counted and forgotten.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType, Recorder};
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_plan::plan::{Action, Because};
use throng_plan::status::{Condition, DrainStatus, Holds, OperationPhase, OperationStatus};
use throng_plan::world::{Edited, Object};
use tokio::time::timeout;
use tracing::debug;

use crate::apply::operations::Named;
use crate::metrics::Metrics;

/// Longest wait for the API server to take an Event.
const PUBLISH: Duration = Duration::from_secs(2);
/// Longest note that an Event may have, in bytes.
const MOST_NOTE: usize = 1024;
/// Most Events of one look: the status says the rest.
const MOST_EVENTS: usize = 16;

/// Reasons of Events about what was done, each with whether it is a warning, and its meaning. Those of conditions are told
/// too, whenever one changes.
pub const ACTIONS: [(&str, bool, &str); 10] = [
    ("PodMade", false, "A Pod was made."),
    ("PodServes", false, "A Pod was put into its Service."),
    ("PodDraining", false, "A Pod was told to empty itself. The note says why."),
    ("PodComesBack", false, "The drain of a Pod was taken back."),
    ("PodDeleted", false, "A Pod was deleted: it was empty, unused or over, or the cluster goes."),
    ("PodCutOff", true, "A Pod was deleted at the deadline of its drain, with the users that were still on it."),
    ("UsersAsked", false, "Some users of a gateway were asked to connect anew, so that a new revision gets its share."),
    (
        "PutBack",
        false,
        "Something that the operator owns was edited or deleted, and is as it was again. What changed while no operator ran is put back without an Event.",
    ),
    ("OperationDone", false, "An operation has done what it was asked for."),
    (
        "OperationFailed",
        true,
        "An operation could not be done, or another took its place. Its status says why. Of a cluster that does not exist, or of an operation that cannot be followed, it is told on the operation.",
    ),
];

/// An Event to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Something to look at.
    pub warning: bool,
    /// In one word that programs may rely on.
    pub reason: String,
    /// For people.
    pub note: String,
    /// The Pod that it is about, if it is about one: Events about different Pods are not counted as one.
    pub pod: Option<String>,
}

/// What was there when actions were planned: what an action means depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Drains that are under way, as the plan has them.
    pub drains: &'a [DrainStatus],
    /// Objects that were as they should be at the look before.
    pub at_rest: &'a BTreeSet<Object>,
}

/// Objects that are as they should be: those that a plan does not write. They are what an edit or a deletion is told of at the
/// next look. One that was and is to be written is kept until that is `done`.
#[must_use]
pub fn at_rest(
    owned: &BTreeSet<Object>,
    actions: &[Action],
    before: &BTreeSet<Object>,
    done: bool,
) -> BTreeSet<Object> {
    let written =
        || actions.iter().filter_map(|action| if let Action::Apply(object) = action { Some(object) } else { None });
    let is_written = |one: &Object| written().any(|other| (one.kind(), one.name()) == (other.kind(), other.name()));
    let rests = owned.iter().filter(|one| !is_written(one));
    let waits = written().filter(|one| !done && before.contains(one));
    rests.chain(waits).cloned().collect()
}

/// What is told of conditions: each that changed its status or its reason.
#[must_use]
pub fn of_conditions(before: &[Condition], after: &[Condition]) -> Vec<Told> {
    let changed = |condition: &&Condition| {
        let known = before.iter().find(|known| known.kind == condition.kind);
        known.is_none_or(|known| (known.status, &known.reason) != (condition.status, &condition.reason))
    };
    let told = |condition: &Condition| Told {
        warning: is_bad(condition),
        reason: condition.reason.clone(),
        note: note(condition),
        pod: None,
    };
    // A condition that is new and as it should be says nothing.
    let worth = |condition: &&Condition| is_bad(condition) || before.iter().any(|known| known.kind == condition.kind);
    after.iter().filter(changed).filter(worth).map(told).collect()
}

fn note(condition: &Condition) -> String {
    let Condition { kind, status, message, .. } = condition;
    if message.is_empty() { format!("{kind} is {status:?}") } else { format!("{kind} is {status:?}: {message}") }
}

/// Whether a condition is one that somebody should look at: its Event is a warning.
#[must_use]
pub fn is_bad(condition: &Condition) -> bool {
    let good = match condition.kind.as_str() {
        "Degraded" | "DrainBlocked" | "MetricsStale" | "RoomTooHot" => Holds::False,
        "SpecValid" | "SecretsFound" | "ObjectsReadable" | "EtcdUsable" | "StoreReachable" | "Applied" => Holds::True,
        // Ready, Progressing and Paused are what they are; a pool without a Pod is worse.
        _ => return condition.reason == "PoolDown",
    };
    condition.status != good
}

/// What is told of an action that was done; nothing of what only repeats a condition.
#[must_use]
pub fn of_action(action: &Action, before: Before<'_>) -> Option<Told> {
    let put_back = |kind: &str, name: &str, how: &str, pod: bool| {
        let note = format!("{kind} {name} is as it was again: somebody {how} it");
        Some(Told { warning: false, reason: "PutBack".to_owned(), note, pod: pod.then(|| name.to_owned()) })
    };
    let told = |warning, reason: &str, pod: &String, note: String| {
        let note = format!("{pod} {note}");
        Some(Told { warning, reason: reason.to_owned(), note, pod: Some(pod.clone()) })
    };
    match action {
        Action::CreatePod { name, .. } => told(false, "PodMade", name, "is made".to_owned()),
        Action::LabelServing { name, serving: true, .. } => told(false, "PodServes", name, "serves".to_owned()),
        Action::DrainPod { name, uid, .. } => {
            let drain = before.drains.iter().find(|drain| drain.uid == *uid);
            let why = drain.map_or_else(String::new, |drain| format!(" ({:?}): {}", drain.cause, drain.why));
            told(false, "PodDraining", name, format!("is drained{why}"))
        }
        Action::Apply(object) if before.at_rest.contains(object) => {
            put_back(object.kind(), object.name(), "edited or deleted", false)
        }
        Action::Restore(edited @ Edited::Pod { .. }) => put_back("Pod", edited.name(), "edited", true),
        Action::Restore(edited @ Edited::Revision { .. }) => {
            put_back("ControllerRevision", edited.name(), "edited", false)
        }
        Action::UndrainPod { name, .. } => told(false, "PodComesBack", name, "is not drained any more".to_owned()),
        Action::ShedUsers { name, users, .. } => {
            told(false, "UsersAsked", name, format!("asks {users} users to connect anew"))
        }
        Action::WriteOperation { name, status, .. } => of_operation(name, status),
        Action::DeletePod { name, because: Because::Deadline, most_users_cut, .. } => {
            told(true, "PodCutOff", name, format!("goes at its deadline, with up to {most_users_cut} users"))
        }
        Action::DeletePod { name, because, .. } => {
            told(false, "PodDeleted", name, format!("goes: {}", because.words()))
        }
        _ => None,
    }
}

/// What is told of an operation; nothing before its end.
#[must_use]
pub fn of_operation(name: &str, status: &OperationStatus) -> Option<Told> {
    let done = status.phase == OperationPhase::Succeeded;
    let reason = if done { "OperationDone" } else { "OperationFailed" }.to_owned();
    // Of one that could not be read, nobody knows what it asks for.
    let what = if status.action.is_empty() { name.to_owned() } else { format!("{} {name}", status.action) };
    let note = format!("{what}: {}", status.message);
    status.phase.is_final().then_some(Told { warning: !done, reason, note, pod: None })
}

/// Of what there is to tell as much as one look may, warnings first, and how many are left out.
fn most(mut told: Vec<Told>) -> (Vec<Told>, u64) {
    let dropped = told.len().saturating_sub(MOST_EVENTS);
    if dropped > 0 {
        told.sort_by_key(|told| Reverse(told.warning));
        told.truncate(MOST_EVENTS);
    }
    (told, u64::try_from(dropped).unwrap_or(u64::MAX))
}

/// Tells the API server.
#[derive(Clone)]
pub struct Teller {
    recorder: Recorder,
    metrics: Metrics,
}

impl Teller {
    /// A teller in the name of `recorder`'s reporter.
    #[must_use]
    pub fn new(recorder: Recorder, metrics: Metrics) -> Self {
        Self { recorder, metrics }
    }

    /// Tells about a cluster, in a task of its own: nobody waits for it.
    pub fn tell(&self, cluster: &ChatroomCluster, told: Vec<Told>) {
        self.tell_about(cluster.object_ref(&()), told);
    }

    /// Tells about an operation that no cluster tells of.
    pub fn tell_of(&self, operation: &Named<'_>, told: Option<Told>) {
        self.tell_about(reference(operation), told.into_iter().collect());
    }

    fn tell_about(&self, about: ObjectReference, told: Vec<Told>) {
        if told.is_empty() {
            return;
        }
        let (told, dropped) = most(told);
        self.metrics.events_dropped.inc_by(dropped);
        let teller = self.clone();
        tokio::spawn(async move {
            for Told { warning, reason, mut note, pod } in told {
                truncate(&mut note);
                let type_ = if warning { EventType::Warning } else { EventType::Normal };
                let secondary = pod.map(|pod| ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod),
                    namespace: about.namespace.clone(),
                    ..ObjectReference::default()
                });
                let event = Event { type_, action: reason.clone(), reason, note: Some(note), secondary };
                match timeout(PUBLISH, teller.recorder.publish(&event, &about)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        teller.metrics.events_dropped.inc();
                        debug!(%error, "an Event was not taken");
                    }
                    Err(_) => drop(teller.metrics.events_dropped.inc()),
                }
            }
        });
    }
}

/// An operation, which may be such as cannot be read.
fn reference(operation: &Named<'_>) -> ObjectReference {
    ObjectReference {
        api_version: Some(ChatroomOperation::api_version(&()).into_owned()),
        kind: Some(ChatroomOperation::kind(&()).into_owned()),
        name: Some(operation.name.to_owned()),
        namespace: Some(operation.namespace.to_owned()),
        uid: Some(operation.uid.to_owned()),
        ..ObjectReference::default()
    }
}

fn truncate(note: &mut String) {
    let mut end = note.len().min(MOST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
}

#[cfg(test)]
mod tests {
    use throng_plan::status::{DrainCause, Utc};

    use super::*;

    fn condition(kind: &str, status: Holds, reason: &str) -> Condition {
        Condition {
            kind: kind.into(),
            status,
            observed_generation: None,
            last_transition_time: Utc::default(),
            reason: reason.into(),
            message: "x".into(),
        }
    }

    #[test]
    fn a_condition_is_told_when_it_changes_and_not_again() {
        let fine = condition("Degraded", Holds::False, "Healthy");
        let lost = condition("Degraded", Holds::True, "PodsLost");
        assert_eq!(of_conditions(&[], std::slice::from_ref(&fine)), [], "new and as it should be");
        let told = of_conditions(std::slice::from_ref(&fine), std::slice::from_ref(&lost));
        let note = "Degraded is True: x".to_owned();
        let wanted = Told { warning: true, reason: "PodsLost".into(), note, pod: None };
        assert_eq!(told, [wanted]);
        assert_eq!(of_conditions(std::slice::from_ref(&lost), std::slice::from_ref(&lost)), []);
        let back = of_conditions(&[lost], &[fine]);
        assert_eq!((back[0].warning, back[0].reason.as_str()), (false, "Healthy"));
    }

    #[test]
    fn what_is_bad_warns_and_what_happens_does_not() {
        for (kind, status, reason, bad) in [
            ("Ready", Holds::False, "PodsStarting", false),
            ("Ready", Holds::False, "PoolDown", true),
            ("Progressing", Holds::True, "SlotsMoving", false),
            ("SpecValid", Holds::False, "UnknownTimeZone", true),
            ("MetricsStale", Holds::True, "SamplesMissing", true),
            ("Applied", Holds::True, "Done", false),
        ] {
            assert_eq!(is_bad(&condition(kind, status, reason)), bad, "{kind} {reason}");
        }
    }

    fn told(action: &Action, drains: &[DrainStatus], at_rest: &[Object]) -> Option<Told> {
        let at_rest = at_rest.iter().cloned().collect();
        let told = of_action(action, Before { drains, at_rest: &at_rest });
        if let Some(told) = &told {
            let row = (told.reason.as_str(), told.warning);
            assert!(ACTIONS.iter().any(|(known, warns, _)| (*known, *warns) == row), "{told:?}");
        }
        told
    }

    fn service(hash: &str) -> Object {
        Object::Service { name: "live-gateway".into(), hash: hash.into() }
    }

    #[test]
    fn what_is_told_of_a_pod_is_in_the_table_and_says_why() {
        let deleted = |because| Action::DeletePod { name: "a".into(), uid: "u".into(), because, most_users_cut: 7 };
        let cut = told(&deleted(Because::Deadline), &[], &[]).unwrap();
        assert_eq!((cut.reason.as_str(), cut.warning), ("PodCutOff", true));
        let gone = told(&deleted(Because::Emptied), &[], &[]).unwrap();
        assert_eq!((gone.reason.as_str(), gone.note.as_str()), ("PodDeleted", "a goes: it is empty"));
        let drain = DrainStatus {
            pod: "a".into(),
            uid: "u".into(),
            cause: DrainCause::Cordoned,
            why: "its node n takes no new Pods".into(),
            since: Utc::default(),
            deadline: Utc::default(),
            users_at_start: 7,
            users_left: 7,
            operation: None,
        };
        let action = |uid: &str| Action::DrainPod {
            name: "a".into(),
            uid: uid.into(),
            deadline: Utc::default(),
            users_per_s: None,
        };
        let note = |uid| told(&action(uid), std::slice::from_ref(&drain), &[]).unwrap().note;
        assert_eq!(note("u"), "a is drained (Cordoned): its node n takes no new Pods");
        assert_eq!(note("v"), "a is drained", "that is another Pod");
    }

    #[test]
    fn what_is_put_back_is_told_and_what_is_made_or_changed_is_not() {
        let apply = |hash| Action::Apply(service(hash));
        assert_eq!(told(&apply("1"), &[], &[]), None, "it was not there");
        assert_eq!(told(&apply("2"), &[], &[service("1")]), None, "the spec asks for another");
        let back = told(&apply("1"), &[], &[service("1")]).unwrap();
        assert_eq!(back.reason, "PutBack");
        assert_eq!(back.note, "Service live-gateway is as it was again: somebody edited or deleted it");
        let (name, uid) = ("live-gateway-1-0".to_owned(), "u".to_owned());
        let pod = told(&Action::Restore(Edited::Pod { name: name.clone(), uid: uid.clone() }), &[], &[]).unwrap();
        assert_eq!(pod.pod.as_ref(), Some(&name), "Events about different Pods are not counted as one");
        let revision = told(&Action::Restore(Edited::Revision { name: "live-1".into(), uid }), &[], &[]).unwrap();
        assert_eq!((revision.reason.as_str(), revision.pod), ("PutBack", None));
    }

    #[test]
    fn at_rest_is_what_is_not_written_and_what_could_not_be_written_is_told_later() {
        let set = |objects: &[Object]| objects.iter().cloned().collect::<BTreeSet<_>>();
        let write = [Action::Apply(service("1"))];
        assert_eq!(at_rest(&set(&[service("1")]), &[], &set(&[]), true), set(&[service("1")]));
        // It is being changed from what it was to what the spec asks for.
        assert_eq!(at_rest(&set(&[service("0")]), &write, &set(&[service("0")]), true), set(&[]));
        // Somebody has edited or deleted it.
        let before = set(&[service("1")]);
        for found in [set(&[service("")]), set(&[])] {
            assert_eq!(at_rest(&found, &write, &before, true), set(&[]));
            assert_eq!(at_rest(&found, &write, &before, false), before, "to be told when it is done");
        }
    }

    #[test]
    fn the_end_of_an_operation_is_told_on_it_if_no_cluster_does() {
        let mut status = OperationStatus { action: "Drain".into(), message: "no cluster".into(), ..Default::default() };
        assert_eq!(of_operation("d", &status), None);
        status.phase = OperationPhase::Failed;
        let failed = of_operation("d", &status).unwrap();
        assert_eq!((failed.warning, failed.reason.as_str()), (true, "OperationFailed"));
        assert_eq!(failed.note, "Drain d: no cluster");
        status.action.clear();
        assert_eq!(of_operation("d", &status).unwrap().note, "d: no cluster");
        let about = reference(&Named { namespace: "show", name: "d", uid: "u" });
        assert_eq!(about.api_version.as_deref(), Some("throng.dev/v1alpha1"));
        assert_eq!((about.kind.as_deref(), about.uid.as_deref()), (Some("ChatroomOperation"), Some("u")));
    }

    #[test]
    fn what_is_too_much_for_one_look_is_counted_and_no_warning_is_left_out_for_it() {
        let told = |count: usize| {
            let one = |at: usize| Told { warning: at == 39, reason: "PodMade".into(), note: at.to_string(), pod: None };
            (0..count).map(one).collect::<Vec<_>>()
        };
        assert_eq!(most(told(MOST_EVENTS)), (told(MOST_EVENTS), 0));
        let (kept, dropped) = most(told(40));
        let notes: Vec<_> = kept.iter().map(|told| told.note.as_str()).collect();
        assert_eq!((kept.len(), dropped, &notes[..3]), (MOST_EVENTS, 24, &["39", "0", "1"][..]));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let mut note = "ü".repeat(600);
        truncate(&mut note);
        assert_eq!(note.len(), 1024);
    }
}
