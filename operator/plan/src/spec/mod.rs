//! What a person asked for, after every wrong value was turned away: the planner's side of a `ChatroomCluster`.
//!
//! Units are resolved: durations are milliseconds, local times of events are instants. Whoever builds these values checks
//! them first (`throng-crds` does, from the YAML); nothing here can fail, and nothing here knows of Kubernetes.
//! [`pool`] says how large a pool may be and from what it grows, [`rollout`] how a new revision takes over, [`event`] when
//! many people are expected, [`operation`] what somebody asked for beside the spec.

pub mod event;
pub mod operation;
pub mod pool;
pub mod rollout;

pub use event::Event;
pub use operation::Operation;
pub use pool::PoolSpec;
pub use rollout::Rollout;
use serde::{Deserialize, Serialize};
pub use throng_core::policy::Rooms;

use crate::pools::Pools;

/// A cluster as it should be. A value: the same spec gives the same value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Hash of the fields that shape Pods. Two specs with the same shape are the same revision.
    pub shape: ShapeHash,
    /// The operator reports, and changes nothing.
    pub paused: bool,
    /// How large each pool is, and from what it grows.
    pub pools: Pools<PoolSpec>,
    /// How Pods are emptied.
    pub drain: Drain,
    /// How a new revision takes over.
    pub rollout: Rollout,
    /// When many people are expected, in the order of the spec. Those whose time cannot be told are not among them.
    pub events: Vec<Event>,
    /// Policy that running Pods follow.
    pub rooms: Rooms,
}

/// Hash of what shapes Pods: 32 hexadecimal digits. Equal shapes need no new Pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShapeHash(String);

impl ShapeHash {
    /// Takes the text of a hash as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text, as status and revisions hold it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How Pods are emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Longest time from the start of a drain to the end of the Pod, users left or not.
    pub deadline_ms: u64,
    /// Most users moved in a second over the whole cluster; none: what the fleet can take in.
    pub users_per_s: Option<u32>,
    /// Keys of node taints that start a drain of the Pods on the node.
    pub taints: Vec<String>,
}
