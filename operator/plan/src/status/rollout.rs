//! Revisions, the rollout between two of them, and the rollback.

use serde::{Deserialize, Serialize};

use super::Utc;
#[cfg(feature = "schema")]
use super::{MAX_COUNT, MAX_HASH, MAX_LINE, MAX_NAME};

/// One revision of the three pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RevisionStatus {
    /// Its number; part of the names of its Pods. Numbers only grow.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub number: u64,
    /// Hash of the fields that shape its Pods.
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_HASH)))]
    pub hash: String,
    /// What it is for: `Serving`, `Canary`, `Warm`, `Blocked` or `Retiring`.
    pub state: RevisionState,
    /// Image of its Pods.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = 512)))]
    pub image: String,
    /// Since when it is in this state.
    pub since: Utc,
    /// When it first had the users and served in every pool. A rollback goes to such a one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_since: Option<Utc>,
    /// Until when it stays warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_until: Option<Utc>,
    /// Its Pods in all pools.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub pods: u32,
    /// Those that serve.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub ready: u32,
    /// Users on its gateways.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users: u64,
}

/// What a revision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RevisionState {
    /// It has the users.
    Serving,
    /// It is on its way to have them.
    Canary,
    /// The last good one, kept ready for a rollback.
    Warm,
    /// It gets no users until the spec changes its shape.
    Blocked,
    /// Its Pods are being emptied.
    Retiring,
}

/// A rollout on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RolloutStatus {
    /// The revision that has the users now.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub from: u64,
    /// The revision that gets them.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub to: u64,
    /// What is done now: `Starting`, `Canary`, `Promoting`, `Paused` or `Halted`.
    pub phase: RolloutPhase,
    /// Index into the canary steps; their number while everybody moves.
    #[cfg_attr(feature = "schema", schemars(range(max = 1000)))]
    pub step: u32,
    /// Since when this step is on its way.
    pub step_since: Utc,
    /// Since when the share of this step is reached; the hold counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_at: Option<Utc>,
    /// Share of users on the new revision that is aimed at, percent.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub target_percent: u32,
    /// Share of users on the new revision now, percent.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub users_percent: u32,
    /// What halted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LINE)))]
    pub halted_because: Option<String>,
    /// What kind of sign that was; `NotStarting` ends by itself when the Pods start after all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted_for: Option<HaltCause>,
    /// Since when samples of the new revision are too bad; a burst while slots move is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sick_since: Option<Utc>,
    /// Since when it has fewer Pods than this step needs: they are not made, or are lost at once. A Pod lost for a moment is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Utc>,
    /// Container restarts that a person has seen and gone on from.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(range(max = 1_000_000_000)))]
    pub restarts_forgiven: u32,
    /// Users who are asked to come to the new revision now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<ShiftStatus>,
    /// Name of the operation that paused or promoted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAME)))]
    pub operation: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Users on their way to the new revision: until it ends, who connects goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShiftStatus {
    /// Since when.
    pub since: Utc,
    /// When the last of them has had the time to come.
    pub until: Utc,
    /// How many.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users: u64,
}

/// A sign that a new revision is not healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum HaltCause {
    /// A Pod does not start, or was not ready in time.
    NotStarting,
    /// Containers were started again.
    Restarts,
    /// Too many requests fail.
    Errors,
    /// Messages arrive too late.
    Slow,
}

/// What a rollout does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RolloutPhase {
    /// New Pods start; they have no users.
    Starting,
    /// A share of the users is on the new revision.
    Canary,
    /// Everybody moves.
    Promoting,
    /// Held by an operation.
    Paused,
    /// Held because the new revision is not healthy.
    Halted,
}

/// A rollback in force: it stays until the spec asks for another shape than the blocked one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RollbackStatus {
    /// The revision that gets no users, however often the spec is applied again.
    pub blocked_revision: BlockedRevision,
    /// The revision that serves instead.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub to: u64,
    /// How fast users move back: `Fast` or `Gentle`.
    #[cfg_attr(feature = "schema", schemars(length(max = 16)))]
    pub pace: String,
    /// When it was asked for.
    pub since: Utc,
    /// When the last user was back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Utc>,
    /// Name of the operation that asked for it.
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAME)))]
    pub operation: String,
}

/// A revision that is blocked. The hash decides; the number is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BlockedRevision {
    /// Its number.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub number: u64,
    /// Hash of the fields that shape its Pods.
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_HASH)))]
    pub hash: String,
}
