//! What runs, as the API server says.

use serde::{Deserialize, Serialize};
use throng_core::Role;

use crate::status::Utc;

/// One Pod of the cluster. Its name is its key in the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its uid: another Pod of the same name has another.
    pub uid: String,
    /// Its pool.
    pub role: Role,
    /// Number of its revision.
    pub revision: u64,
    /// Its index among the Pods of its role and revision.
    pub index: u32,
    /// Node that it runs on; none before it is scheduled.
    pub node: Option<String>,
    /// Zone that it runs in or was made for; empty: any.
    pub zone: String,
    /// How far its containers are.
    pub phase: Phase,
    /// It has passed its readiness check.
    pub ready: bool,
    /// It has the label `throng.dev/serving: "true"`.
    pub serving: bool,
    /// Since when it is to be deleted.
    pub terminating: Option<Utc>,
    /// Why it does not start, such as `ImagePullBackOff`, and after a colon what is said of it.
    pub trouble: Option<String>,
    /// Restarts of its containers.
    pub restarts: u32,
    /// When it was made.
    pub created: Utc,
}

/// How far the containers of a Pod are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Not all have started.
    Pending,
    /// They run, or are started again.
    Running,
    /// They ended and are not started again.
    Succeeded,
    /// They ended with an error, or were ended, and are not started again.
    Failed,
    /// Nobody can tell: its node does not answer.
    Unknown,
}

impl Phase {
    /// Whether its processes are over for good.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Name of the Pod of an index.
#[must_use]
pub fn pod_name(cluster: &str, role: Role, revision: u64, index: u32) -> String {
    format!("{cluster}-{role}-{revision}-{index}")
}
