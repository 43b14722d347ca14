//! What the operator owns beside Pods. The planner knows of an object what it needs to tell that it must be written again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use throng_core::Role;

use crate::spec::ShapeHash;

/// An object as it is or as it should be. It is written whenever the two differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Object {
    /// Secret with the key that Pods prove themselves to each other with. Made once, never written again.
    PodKeySecret {
        /// Its name.
        name: String,
    },
    /// What a revision was made of.
    ControllerRevision {
        /// Its name.
        name: String,
        /// Number of the revision.
        number: u64,
        /// Hash of the fields that shape Pods.
        hash: ShapeHash,
    },
    /// Who may reach the Pods.
    NetworkPolicy {
        /// Its name.
        name: String,
        /// Hash of its content.
        hash: String,
    },
    /// Where clients or other Pods find Pods.
    Service {
        /// Its name.
        name: String,
        /// Hash of its content.
        hash: String,
    },
    /// How many serving Pods of a role evictions must leave.
    PodDisruptionBudget {
        /// Its name.
        name: String,
        /// The role whose serving Pods it counts.
        role: Role,
        /// So many must stay. A number, because a percentage needs a scale subresource.
        min_available: u32,
    },
}

/// An object that somebody edited, and that is still known for what it is: by its name, its owner and what nobody can change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Edited {
    /// A Pod without a label or the owner that it was made with, so that Services, budgets and policies miss it, or with another
    /// image.
    Pod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// A revision without its label, its hash or its number.
    Revision {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
}

impl Edited {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::Pod { name, .. } | Self::Revision { name, .. }) = self;
        name
    }
}

impl Object {
    /// Its kind, as Kubernetes calls it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::PodKeySecret { .. } => "Secret",
            Self::ControllerRevision { .. } => "ControllerRevision",
            Self::NetworkPolicy { .. } => "NetworkPolicy",
            Self::Service { .. } => "Service",
            Self::PodDisruptionBudget { .. } => "PodDisruptionBudget",
        }
    }

    /// Its name; unique among the objects of its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::PodKeySecret { name }
            | Self::ControllerRevision { name, .. }
            | Self::NetworkPolicy { name, .. }
            | Self::Service { name, .. }
            | Self::PodDisruptionBudget { name, .. } => name,
        }
    }
}

/// Objects whose content is made elsewhere from the spec: hash of the content, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// The Services.
    pub services: BTreeMap<String, String>,
    /// The network policies.
    pub network_policies: BTreeMap<String, String>,
}
