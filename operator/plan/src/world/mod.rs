//! What the planner sees: one snapshot of everything, taken at one instant.
//!
//! Plain data without a type of Kubernetes or of etcd: a cluster, a laptop and a simulation fill it alike, and it can be
//! written down and planned again. Maps are sorted, so equal worlds give equal plans. [`pod`] is what runs, [`node`] where,
//! [`registry`] what etcd says of it with its [`claims`], [`sample`] what it carries, [`object`] what else the operator owns.

pub mod claims;
pub mod document;
pub mod node;
pub mod object;
pub mod pod;
pub mod registry;
pub mod sample;

use std::collections::{BTreeMap, BTreeSet};

pub use claims::Claims;
pub use document::Document;
pub use node::Node;
pub use object::{Edited, Object, Rendered};
pub use pod::{Phase, Pod};
pub use registry::{Claim, Documents, Member, Registry};
pub use sample::Sample;
use serde::{Deserialize, Serialize};

use crate::spec::{ClusterSpec, Operation, ShapeHash};
use crate::status::{ClusterStatus, Utc};

/// One snapshot. An older or a partial one may make a plan less good, never harmful.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// When it was taken. The only time that the planner knows.
    pub now: Utc,
    /// The object that asks for the cluster.
    pub cluster: Cluster,
    /// What it asks for, checked.
    pub spec: ClusterSpec,
    /// Epoch of the leader that plans: it signs placements.
    pub leader_epoch: u64,
    /// The status as stored: the planner's memory.
    pub status: ClusterStatus,
    /// Revisions that are stored, by number.
    pub revisions: BTreeMap<u64, Revision>,
    /// Pods of the cluster, by name.
    pub pods: BTreeMap<String, Pod>,
    /// Nodes, by name. A node that is not here is gone.
    pub nodes: BTreeMap<String, Node>,
    /// What etcd says; nothing if it cannot be reached.
    pub registry: Option<Registry>,
    /// The latest sample of each Pod that gave one, by uid.
    pub samples: BTreeMap<String, Sample>,
    /// Operations, by name; those at their end too, until their time to live is over.
    pub operations: BTreeMap<String, Operation>,
    /// Objects that exist and belong to the cluster, as they are.
    pub owned: BTreeSet<Object>,
    /// Pods and revisions that lost something that they were made with.
    #[serde(default)]
    pub edited: BTreeSet<Edited>,
    /// Objects whose content the planner does not know, as they should be.
    pub rendered: Rendered,
}

/// The object that asks for the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name; begins the names of all that it owns.
    pub name: String,
    /// Generation of its spec.
    pub generation: i64,
    /// Since when it is to be deleted.
    pub deleted_at: Option<Utc>,
    /// The operator's finalizer is on it.
    pub finalizer: bool,
    /// A person asked to let it go without a drain.
    pub let_go: bool,
}

/// A stored revision: a `ControllerRevision`, or what stands for it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Hash of the fields that shape its Pods.
    pub hash: ShapeHash,
    /// Image of its Pods; for people.
    pub image: String,
    /// When it was made.
    pub created: Utc,
}
