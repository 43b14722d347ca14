//! The status of a cluster: what people see, and all that the planner remembers.
//!
//! The planner gets the status it wrote last as part of its world and gives a new one: nothing of its progress lives in
//! memory only, so it may be killed at any instant. These types are the `status` of the CRDs, field by field; `throng-crds`
//! takes its schemas from here. [`condition`] holds conditions, [`pool`] what autoscaling remembers, [`rollout`] revisions,
//! [`operation`] what became of an operation, [`clamp`] keeps it all within the bounds of the schema.

pub mod clamp;
pub mod condition;
pub mod operation;
pub mod pool;
pub mod rollout;
pub mod utc;

pub use condition::{Condition, Holds, set_condition};
pub use operation::{AnswerStatus, OperationPhase, OperationStatus};
pub use pool::{Bucket, PoolStatus, ScaleMemo};
pub use rollout::{
    BlockedRevision, HaltCause, RevisionState, RevisionStatus, RollbackStatus, RolloutPhase, RolloutStatus, ShiftStatus,
};
use serde::{Deserialize, Serialize};
pub use utc::Utc;

use crate::pools::Pools;

/// Largest count: what every reader of JSON holds exactly.
pub const MAX_COUNT: u64 = (1 << 53) - 1;
/// Longest line of text, in characters.
pub const MAX_LINE: usize = 512;
/// Longest name of a Kubernetes object, in characters.
pub const MAX_NAME: usize = 253;
/// Longest hash, in characters.
pub const MAX_HASH: usize = 64;
/// Most conditions.
pub const MAX_CONDITIONS: usize = 32;
/// Most lines that say why.
pub const MAX_WHY: usize = 32;
/// Most revisions.
pub const MAX_REVISIONS: usize = 64;
/// Most drains at the same time. Further victims wait.
pub const MAX_DRAINS: usize = 1000;
/// Most events.
pub const MAX_EVENTS: usize = 64;
/// Most operations whose outcome is remembered.
pub const MAX_ANSWERS: usize = 16;

/// The status of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClusterStatus {
    /// The generation of the spec that this status is about.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = MAX_COUNT)))]
    pub observed_generation: i64,
    /// The state in conditions: `Ready`, `Progressing`, `SpecValid`, `MetricsStale`, `RoomTooHot`, `DrainBlocked`
    /// and others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_CONDITIONS)))]
    pub conditions: Vec<Condition>,
    /// Pods that serve, of those wanted, such as 8/9.
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub ready: String,
    /// Users connected, in the whole cluster.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users: u64,
    /// Pressure of the pool that has most of it, such as 62%.
    #[cfg_attr(feature = "schema", schemars(length(max = 32)))]
    pub pressure: String,
    /// Pods that are being emptied.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub draining: u32,
    /// Number of the revision that has the users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub revision: Option<u64>,
    /// Why the cluster is as it is, most important line first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_WHY), inner(length(max = MAX_LINE))))]
    pub why: Vec<String>,
    /// The three pools.
    pub pools: Pools<PoolStatus>,
    /// Revisions that are still known, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_REVISIONS)))]
    pub revisions: Vec<RevisionStatus>,
    /// Number that the next revision gets.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub next_revision: u64,
    /// The rollout on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The rollback in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,
    /// Pods that are being emptied, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_DRAINS)))]
    pub drains: Vec<DrainStatus>,
    /// Events with their instants in UTC.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_EVENTS)))]
    pub events: Vec<EventStatus>,
    /// Slots on their way to another Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves: Option<MovesStatus>,
    /// Operations that took effect or ended last, oldest first: each does so once, however late its own status is seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_ANSWERS)))]
    pub answers: Vec<AnswerStatus>,
}

/// A drain on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrainStatus {
    /// Name of the Pod.
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAME)))]
    pub pod: String,
    /// Its uid: another Pod of the same name is not meant.
    #[cfg_attr(feature = "schema", schemars(length(max = 64)))]
    pub uid: String,
    /// What it is drained for: `ScaleIn`, `Cordoned`, `Tainted`, `Eviction`, `Deleted`, `Rollout`, `Rollback` or `Operation`.
    pub cause: DrainCause,
    /// Why this Pod.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LINE)))]
    pub why: String,
    /// Since when.
    pub since: Utc,
    /// When it ends, users left or not.
    pub deadline: Utc,
    /// Users on it at the start.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users_at_start: u64,
    /// Users still on it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users_left: u64,
    /// Name of the operation that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAME)))]
    pub operation: Option<String>,
}

/// What a Pod is drained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum DrainCause {
    /// The pool is too large. May be taken back.
    ScaleIn,
    /// Its node takes no new Pods.
    Cordoned,
    /// Its node has a taint of the list.
    Tainted,
    /// Somebody else evicted or deleted it; it empties itself.
    Eviction,
    /// Its cluster is to be deleted.
    Deleted,
    /// Its revision goes.
    Rollout,
    /// Its revision was rolled back.
    Rollback,
    /// An operation asked for it.
    Operation,
}

/// An event with its instants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventStatus {
    /// Its name in the spec.
    #[cfg_attr(feature = "schema", schemars(length(max = 63)))]
    pub name: String,
    /// How far it is: `Upcoming`, `Ramping`, `Live` or `Over`.
    pub phase: EventPhase,
    /// From when on its floor counts.
    pub ramp_time: Utc,
    /// When people are expected.
    pub start_time: Utc,
    /// Until when its floor counts.
    pub end_time: Utc,
}

/// How far an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EventPhase {
    /// Its floor does not count yet.
    Upcoming,
    /// Its floor counts, people are not expected yet.
    Ramping,
    /// People are expected.
    Live,
    /// Its floor counts no more.
    Over,
}

/// Slots on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MovesStatus {
    /// Room slots that are not yet where they should be.
    #[cfg_attr(feature = "schema", schemars(range(max = 4096)))]
    pub room_slots: u32,
    /// User slots that are not yet where they should be.
    #[cfg_attr(feature = "schema", schemars(range(max = 4096)))]
    pub user_slots: u32,
    /// Name of the rebalance operation that asked for a new placement, with its uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = 320)))]
    pub operation: Option<String>,
}
