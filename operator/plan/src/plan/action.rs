//! What the planner can ask for. Each may be done twice; each names what must still be true when it is done.

use serde::{Deserialize, Serialize};
use throng_core::Role;
use throng_core::policy::Policy;

use crate::status::{OperationStatus, Utc};
use crate::world::{Document, Edited, Object};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Put the operator's finalizer on the cluster. Nothing is made before it is there.
    SetFinalizer,
    /// Take the operator's finalizer off the cluster: it goes.
    RemoveFinalizer,
    /// Write an object as it should be. Nothing if it is so.
    Apply(Object),
    /// Give an object back what it was made with. Only if it still has this uid.
    Restore(Edited),
    /// Make a Pod. Nothing if there is one of this name: that is what keeps two from one index.
    CreatePod {
        /// Its name.
        name: String,
        /// Its pool.
        role: Role,
        /// Number of its revision.
        revision: u64,
        /// Its index.
        index: u32,
        /// Zone that it should run in; empty: any.
        zone: String,
    },
    /// Delete a Pod. Only if it still has this uid and not more users than stated.
    DeletePod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// Why.
        because: Because,
        /// The most users that may lose their connection to it.
        most_users_cut: u64,
    },
    /// Tell a Pod to empty itself. Only if it still has this uid.
    DrainPod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// When it is deleted, users left or not.
        deadline: Utc,
        /// Most users that it moves in a second; none: what the fleet can take in.
        users_per_s: Option<u32>,
    },
    /// Tell a Pod to stay. Only if it still has this uid.
    UndrainPod {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Ask some users of a Pod to connect anew; the others stay, and so does the Pod. Only if it still has this uid. Done
    /// twice it moves twice as many, and who is not asked now is at a later look.
    ShedUsers {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// How many, idle ones first.
        users: u64,
        /// How many of them in a second.
        users_per_s: u32,
    },
    /// Write what became of an operation. Only if it still has this uid.
    WriteOperation {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// What became of it.
        status: Box<OperationStatus>,
    },
    /// Delete an operation whose time to live is over. Only if it still has this uid.
    DeleteOperation {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Forget a stored revision: nobody is on it, and it is not to be gone back to any more. Its number is never given to
    /// another shape.
    DeleteRevision {
        /// Name of its object.
        name: String,
        /// Its number.
        number: u64,
    },
    /// Write the label `throng.dev/serving` of a Pod, which Services and budgets select. Only if it still has this uid.
    LabelServing {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// Whether it serves.
        serving: bool,
    },
    /// Remember where the steps of a placement lead. Only under the leader epoch of the document.
    WriteTarget {
        /// The role whose slots it places.
        role: Role,
        /// The document.
        document: Document,
    },
    /// Write the placement that Pods follow. Only under the leader epoch of the document.
    WritePlacement {
        /// The role whose slots it places.
        role: Role,
        /// The document.
        document: Document,
    },
    /// Remove every key of the cluster from the registry. Only under this leader epoch.
    ForgetKeys {
        /// The epoch.
        leader_epoch: u64,
    },
    /// Write the policy that running Pods follow. Only under the leader epoch that it names.
    WritePolicy {
        /// The document.
        policy: Policy,
    },
}

/// Why a Pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Because {
    /// It was drained, and nobody is left on it.
    Emptied,
    /// Its drain has lasted as long as it may.
    Deadline,
    /// It is not wanted and does not serve; nobody is on it.
    Unused,
    /// Its containers are over for good; another takes its place.
    Failed,
    /// The cluster goes.
    ClusterDeleted,
}

impl Because {
    /// Why, in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Emptied => "it is empty",
            Self::Deadline => "its drain is over",
            Self::Unused => "nobody is on it",
            Self::Failed => "it has ended",
            Self::ClusterDeleted => "the cluster goes",
        }
    }
}
