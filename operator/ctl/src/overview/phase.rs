//! The state of a cluster in one word.

use std::fmt;

use serde::Serialize;
use throng_crds::ChatroomCluster;
use throng_plan::status::{Holds, RolloutPhase};

use super::is_bad;
use crate::text::Tone;

/// The state of a cluster, the most pressing that is true of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// The operator has not looked at it yet.
    Unseen,
    /// It is emptied, then it goes.
    Deleting,
    /// A pool has no serving Pod.
    Down,
    /// `spec.paused`: nothing is changed.
    Paused,
    /// Users move back to a revision before.
    RollingBack,
    /// The new revision is not healthy: its rollout stands still.
    Halted,
    /// An operation holds the rollout.
    Held,
    /// A new revision takes over.
    RollingOut,
    /// A pool has fewer Pods than it wants.
    Starting,
    /// Something is wrong that people should look at.
    Degraded,
    /// Pods are emptied, or slots move.
    Changing,
    /// Rolled back: the revision of the spec gets no users.
    RolledBack,
    /// All is as it should be.
    AtRest,
}

impl Phase {
    /// Finds it.
    #[must_use]
    pub fn of(cluster: &ChatroomCluster) -> Self {
        let Some(status) = cluster.status.as_ref().filter(|status| !status.conditions.is_empty()) else {
            return Self::Unseen;
        };
        let of_kind = |kind: &str| status.conditions.iter().find(|condition| condition.kind == kind);
        let holds = |kind: &str| of_kind(kind).map(|condition| condition.status);
        let rollout = status.rollout.as_ref().map(|rollout| rollout.phase);
        let rollback = status.rollback.as_ref();
        match () {
            () if cluster.metadata.deletion_timestamp.is_some() => Self::Deleting,
            () if of_kind("Ready").is_some_and(|ready| ready.reason == "PoolDown") => Self::Down,
            () if cluster.spec.paused => Self::Paused,
            () if rollback.is_some_and(|rollback| rollback.done_at.is_none()) => Self::RollingBack,
            () if rollout == Some(RolloutPhase::Halted) => Self::Halted,
            () if rollout == Some(RolloutPhase::Paused) => Self::Held,
            () if status.conditions.iter().any(is_bad) => Self::Degraded,
            () if rollout.is_some() => Self::RollingOut,
            () if holds("Ready") != Some(Holds::True) => Self::Starting,
            () if holds("Progressing") == Some(Holds::True) => Self::Changing,
            () if rollback.is_some() => Self::RolledBack,
            () => Self::AtRest,
        }
    }

    /// How it is shown.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::AtRest => Tone::Good,
            Self::Down | Self::Halted | Self::Degraded => Tone::Bad,
            _ => Tone::Busy,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unseen => "not looked at yet",
            Self::Deleting => "is deleted",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::RollingBack => "rolling back",
            Self::Halted => "rollout halted",
            Self::Held => "rollout held",
            Self::RollingOut => "rolling out",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
            Self::Changing => "changing",
            Self::RolledBack => "rolled back",
            Self::AtRest => "at rest",
        })
    }
}
