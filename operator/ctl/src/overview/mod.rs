//! One cluster as people see it: its state in one word, what is under way and until when, each pool and Pod, and why.
//!
//! [`Overview::of`] reads it from what the API server holds; nothing of it is decided here. It is what `-o json` prints;
//! [`tree`] draws it. [`phase`] finds the word, [`pools`] and [`pods`] read their parts, [`notes`] says what could not be seen.

mod notes;
pub mod phase;
pub mod pods;
pub mod pools;
mod tree;

use k8s_openapi::jiff::Timestamp;
pub use phase::Phase;
use pools::PoolView;
use serde::Serialize;
use throng_core::Millis;
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_plan::pools::Pools;
use throng_plan::status::{
    Condition, EventPhase, EventStatus, Holds, MovesStatus, OperationPhase, RevisionStatus, RollbackStatus,
    RolloutStatus, Utc,
};
pub use tree::tree;

use crate::seen::Seen;

/// An operation that has ended is shown for so long.
const SHOW_ENDED_MS: u64 = 600_000;

/// A cluster as people see it. Its names in JSON are those of the status, where they mean the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its state in one word.
    pub phase: Phase,
    /// When it was looked at.
    pub now: Utc,
    /// Image that its spec asks for.
    pub image: String,
    /// Generation of its spec.
    pub generation: i64,
    /// The one that the operator has seen.
    pub observed_generation: i64,
    /// Users connected.
    pub users: u64,
    /// Pods that serve, of those wanted.
    pub ready: String,
    /// Pressure of the pool that has most of it.
    pub pressure: String,
    /// Number of the revision that has the users.
    pub revision: Option<u64>,
    /// Revisions that are still known, newest first.
    pub revisions: Vec<RevisionStatus>,
    /// The rollout on its way.
    pub rollout: Option<RolloutView>,
    /// The rollback in force.
    pub rollback: Option<RollbackStatus>,
    /// The three pools.
    pub pools: Pools<PoolView>,
    /// Slots on their way to other Pods.
    pub moves: Option<MovesStatus>,
    /// Events that are not over.
    pub events: Vec<EventStatus>,
    /// Operations that are on their way, or ended a few minutes ago.
    pub operations: Vec<OperationView>,
    /// Conditions that are not as they are at rest.
    pub conditions: Vec<Condition>,
    /// Longest time that a drain takes.
    pub drain_deadline: String,
    /// Pods could be listed; else only those that are drained are shown.
    pub pods_listed: bool,
    /// Nodes could be listed; else the zone of a Pod is the one that it was made for.
    pub nodes_listed: bool,
    /// Why the cluster is as it is, most important line first.
    pub why: Vec<String>,
    /// What could not be seen, and what to do about it.
    pub notes: Vec<String>,
}

/// A rollout, with what its spec adds to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// As the status has it.
    #[serde(flatten)]
    pub status: RolloutStatus,
    /// How many steps its canary has.
    pub steps: usize,
    /// When the hold of this step ends, if its share is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ends_at: Option<Utc>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationView {
    /// Its name.
    pub name: String,
    /// What it does, in one word.
    pub action: String,
    /// How far it is.
    pub phase: OperationPhase,
    /// What it does now, or why it ended.
    pub message: String,
    /// Users that it has still to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_left: Option<u64>,
    /// When it was asked for.
    pub asked_at: Utc,
}

impl Overview {
    /// Reads it.
    #[must_use]
    pub fn of(seen: &Seen) -> Self {
        let (metadata, spec) = (&seen.cluster.metadata, &seen.cluster.spec);
        let status = seen.cluster.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().filter(|condition| !is_at_rest(condition));
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            phase: Phase::of(&seen.cluster),
            now: seen.now,
            image: spec.image.clone(),
            generation: metadata.generation.unwrap_or(0),
            observed_generation: status.observed_generation,
            users: status.users,
            ready: status.ready.clone(),
            pressure: status.pressure.clone(),
            revision: status.revision,
            rollout: status.rollout.clone().map(|rollout| rollout_view(&seen.cluster, rollout)),
            rollback: status.rollback.clone(),
            pools: pools::pools(seen, &status),
            moves: status.moves.clone(),
            events: status.events.iter().filter(|event| event.phase != EventPhase::Over).cloned().collect(),
            operations: operations(seen),
            conditions: conditions.cloned().collect(),
            drain_deadline: spec.drain.deadline.to_string(),
            pods_listed: seen.pods.is_ok(),
            nodes_listed: seen.nodes.is_ok(),
            notes: notes::notes(seen, &status),
            why: status.why,
            revisions: status.revisions,
        }
    }

    /// The revision of a number, if it is still known.
    #[must_use]
    pub fn revision_of(&self, number: u64) -> Option<&RevisionStatus> {
        self.revisions.iter().find(|revision| revision.number == number)
    }
}

/// Kinds of conditions that are true when all is well; every other kind names something to look at.
const TRUE_AT_REST: [&str; 7] =
    ["Ready", "SpecValid", "SecretsFound", "ObjectsReadable", "EtcdUsable", "StoreReachable", "Applied"];

/// Whether a condition is as it is when nothing happens.
#[must_use]
pub fn is_at_rest(condition: &Condition) -> bool {
    let rest = if TRUE_AT_REST.contains(&condition.kind.as_str()) { Holds::True } else { Holds::False };
    condition.status == rest
}

/// Whether a condition is one that somebody should look at: not as at rest, and not merely what was
/// asked for.
#[must_use]
pub fn is_bad(condition: &Condition) -> bool {
    let under_way = match condition.kind.as_str() {
        "Progressing" | "Paused" | "RolledBack" => true,
        "Ready" => condition.reason != "PoolDown",
        _ => false,
    };
    !is_at_rest(condition) && !under_way
}

fn rollout_view(cluster: &ChatroomCluster, status: RolloutStatus) -> RolloutView {
    let spec = &cluster.spec.rollout;
    let hold_ends_at = status.reached_at.zip(spec.hold.as_ms()).map(|(reached, hold_ms)| Utc(reached.0 + hold_ms));
    RolloutView { steps: spec.canary_percent.len(), hold_ends_at, status }
}

/// Operations worth showing, the oldest first, as they are taken up.
fn operations(seen: &Seen) -> Vec<OperationView> {
    let worth = |operation: &&ChatroomOperation| {
        let ended = operation.status.as_ref().filter(|status| status.phase.is_final());
        let ended_at = ended.map(|status| status.finished_at.unwrap_or_default());
        ended_at.is_none_or(|ended_at| seen.now.0.since(ended_at.0) < SHOW_ENDED_MS)
    };
    let mut all: Vec<OperationView> = seen.operations.iter().flatten().filter(worth).map(operation).collect();
    all.sort_by(|a, b| (a.asked_at, &a.name).cmp(&(b.asked_at, &b.name)));
    all
}

/// An operation as it is shown.
#[must_use]
pub fn operation(operation: &ChatroomOperation) -> OperationView {
    let status = operation.status.clone().unwrap_or_default();
    let spoken = throng_crds::validate::operation(operation).map_or("", |operation| operation.action.word());
    OperationView {
        name: operation.metadata.name.clone().unwrap_or_default(),
        action: if status.action.is_empty() { spoken.to_owned() } else { status.action },
        phase: status.phase,
        message: status.message,
        users_left: status.users_left,
        asked_at: instant(operation.metadata.creation_timestamp.as_ref().map(|time| time.0)),
    }
}

/// An instant that may be missing: the epoch.
pub(crate) fn instant(time: Option<Timestamp>) -> Utc {
    Utc(Millis(time.map_or(0, |time| u64::try_from(time.as_millisecond()).unwrap_or(0))))
}

#[cfg(test)]
mod tests;
