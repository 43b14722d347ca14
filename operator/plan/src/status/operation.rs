//! What became of a `ChatroomOperation`.

use serde::{Deserialize, Serialize};

use super::{Condition, Utc};
#[cfg(feature = "schema")]
use super::{MAX_CONDITIONS, MAX_COUNT, MAX_LINE};

/// What became of an operation. Progress lives here; a restart of the operator goes on from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OperationStatus {
    /// The generation that this status is about.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = MAX_COUNT)))]
    pub observed_generation: i64,
    /// What it does, in one word: `Rollback`, `Pause`, `Resume`, `Promote`, `Drain` or `Rebalance`.
    #[cfg_attr(feature = "schema", schemars(length(max = 16)))]
    pub action: String,
    /// How far it is: `Pending`, `Running`, `Succeeded`, `Failed` or `Superseded`.
    pub phase: OperationPhase,
    /// What it does now, or why it ended.
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LINE)))]
    pub message: String,
    /// When the operator took it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Utc>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Utc>,
    /// When its object is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Utc>,
    /// Users that it has to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users: Option<u64>,
    /// Users that it has still to move.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users_left: Option<u64>,
    /// `Complete` and `Failed`, as of a Job.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_CONDITIONS)))]
    pub conditions: Vec<Condition>,
}

/// What the status of a cluster remembers of an operation. It is written before that of the operation itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AnswerStatus {
    /// Uid of the operation.
    #[cfg_attr(feature = "schema", schemars(length(max = 64)))]
    pub uid: String,
    /// How far it is: `Running` once a rollback has taken effect, else its end.
    pub phase: OperationPhase,
    /// Why it ended.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LINE)))]
    pub message: String,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OperationPhase {
    /// Nobody took it up yet.
    #[default]
    Pending,
    /// On its way.
    Running,
    /// Done.
    Succeeded,
    /// It could not be done; the message says why.
    Failed,
    /// A later operation or a new spec took its place.
    Superseded,
}

impl OperationPhase {
    /// Whether it has ended: nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Superseded)
    }
}
