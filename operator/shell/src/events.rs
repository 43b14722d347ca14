//! Events: what was decided and done, for those who read `kubectl describe`. Never in anybody's way: one that the API
//! server does not take is counted and forgotten.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType, Recorder};
use throng_crds::ChatroomCluster;
use throng_plan::plan::{Action, Because};
use throng_plan::status::{Condition, Holds, OperationPhase};
use tokio::time::timeout;
use tracing::debug;

use crate::metrics::Metrics;

/// Longest wait for the API server to take an Event.
const PUBLISH: Duration = Duration::from_secs(2);
/// Longest note that an Event may have, in bytes.
const MOST_NOTE: usize = 1024;
/// Most Events of one look: the status says the rest.
const MOST_EVENTS: usize = 16;

/// Reasons of Events about what was done, each with whether it is a warning, and its meaning. Those of conditions are told
/// too, whenever one changes.
pub const ACTIONS: [(&str, bool, &str); 9] = [
    ("PodMade", false, "A Pod was made."),
    ("PodServes", false, "A Pod was put into its Service."),
    ("PodDraining", false, "A Pod was told to empty itself."),
    ("PodComesBack", false, "The drain of a Pod was taken back."),
    ("PodDeleted", false, "A Pod was deleted: it was empty, unused or over, or the cluster goes."),
    ("PodCutOff", true, "A Pod was deleted at the deadline of its drain, with the users that were still on it."),
    ("UsersAsked", false, "Some users of a gateway were asked to connect anew, so that a new revision gets its share."),
    ("OperationDone", false, "An operation has done what it was asked for."),
    ("OperationFailed", true, "An operation could not be done, or another took its place. Its status says why."),
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

/// What is told of an action that was planned; nothing of what only repeats a condition.
#[must_use]
pub fn of_action(action: &Action) -> Option<Told> {
    let told = |warning, reason: &str, pod: &String, note: String| {
        let note = format!("{pod} {note}");
        Some(Told { warning, reason: reason.to_owned(), note, pod: Some(pod.clone()) })
    };
    match action {
        Action::CreatePod { name, .. } => told(false, "PodMade", name, "is made".to_owned()),
        Action::LabelServing { name, serving: true, .. } => told(false, "PodServes", name, "serves".to_owned()),
        Action::DrainPod { name, .. } => told(false, "PodDraining", name, "is drained".to_owned()),
        Action::UndrainPod { name, .. } => told(false, "PodComesBack", name, "is not drained any more".to_owned()),
        Action::ShedUsers { name, users, .. } => {
            told(false, "UsersAsked", name, format!("asks {users} users to connect anew"))
        }
        Action::WriteOperation { name, status, .. } if status.phase.is_final() => {
            let done = status.phase == OperationPhase::Succeeded;
            let reason = if done { "OperationDone" } else { "OperationFailed" }.to_owned();
            let note = format!("{} {name}: {}", status.action, status.message);
            Some(Told { warning: !done, reason, note, pod: None })
        }
        Action::DeletePod { name, because: Because::Deadline, most_users_cut, .. } => {
            told(true, "PodCutOff", name, format!("goes at its deadline, with up to {most_users_cut} users"))
        }
        Action::DeletePod { name, because, .. } => told(false, "PodDeleted", name, format!("goes: {because:?}")),
        _ => None,
    }
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
    pub fn tell(&self, cluster: &ChatroomCluster, mut told: Vec<Told>) {
        if told.is_empty() {
            return;
        }
        told.truncate(MOST_EVENTS);
        let (teller, about) = (self.clone(), cluster.object_ref(&()));
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

fn truncate(note: &mut String) {
    let mut end = note.len().min(MOST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
}

#[cfg(test)]
mod tests {
    use throng_plan::status::Utc;

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

    #[test]
    fn what_is_told_of_an_action_is_in_the_table_with_its_type() {
        let deleted = |because| Action::DeletePod { name: "a".into(), uid: "u".into(), because, most_users_cut: 7 };
        for (action, reason) in [(deleted(Because::Deadline), "PodCutOff"), (deleted(Because::Emptied), "PodDeleted")] {
            let told = of_action(&action).unwrap();
            assert_eq!(told.reason, reason);
            assert!(ACTIONS.iter().any(|(known, warns, _)| (*known, *warns) == (reason, told.warning)), "{told:?}");
        }
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let mut note = "ü".repeat(600);
        truncate(&mut note);
        assert_eq!(note.len(), 1024);
    }
}
