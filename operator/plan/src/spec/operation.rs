//! What somebody asked for beside the spec: a `ChatroomOperation`, checked.

use serde::{Deserialize, Serialize};
use throng_core::Millis;

use crate::status::OperationStatus;

/// One operation. It never changes; what becomes of it stands in its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Name of the object; unique in its namespace.
    pub name: String,
    /// Uid of the object: a deleted operation and a new one of the same name are two.
    pub uid: String,
    /// When it was asked for. Operations are taken in this order, then by name.
    pub asked_at: Millis,
    /// What is to be done.
    pub action: Action,
    /// How long its object is kept after its end.
    pub ttl_ms: u64,
    /// What became of it so far, as stored.
    pub status: OperationStatus,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Back to a revision before, and block the present one.
    Rollback {
        /// Number of the revision; none: the last good one.
        to: Option<u64>,
        /// How fast users move back.
        pace: Pace,
    },
    /// Hold the rollout where it is.
    Pause,
    /// Go on with a rollout that was held or halted.
    Resume,
    /// End the canary now and give everybody the new revision.
    Promote,
    /// Empty Pods and replace them.
    Drain(Whom),
    /// Place all slots anew and move those whose Pod changes.
    Rebalance,
}

impl Action {
    /// In one word, as the status of an operation names it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "Rollback",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Promote => "Promote",
            Self::Drain(_) => "Drain",
            Self::Rebalance => "Rebalance",
        }
    }

    /// Whether it lasts and needs the Pods for itself: one runs at a time.
    #[must_use]
    pub const fn is_long(&self) -> bool {
        matches!(self, Self::Drain(_) | Self::Rebalance)
    }
}

/// How fast users move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// As fast as the fleet takes them in.
    Fast,
    /// As in any other drain.
    Gentle,
}

/// Which Pods a drain means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// These Pods.
    Pods(Vec<String>),
    /// The Pods on nodes that have all these labels.
    Nodes(Vec<(String, String)>),
    /// The Pods of this zone.
    Zone(String),
}
