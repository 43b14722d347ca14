//! The words of the registry.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use throng_core::policy::Policy;
use throng_core::{InstanceId, Millis, Role, Slot};

/// Most claims in one call: etcd refuses transactions of more than 128 operations, and a claim needs two.
pub const MAX_BATCH: usize = 64;

/// Number of a lease, as etcd gives it. Never used twice by one etcd; may recur by accident in one that came back empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A granted lease. Everything attached to it vanishes when it is not renewed within its time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// Time to live that was *granted*, in milliseconds: may be longer than what was asked.
    pub ttl_ms: u64,
}

/// What a process says of itself, under its lease. Fields that a newer version adds are ignored by an older one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// Name of its Pod.
    pub pod: Arc<str>,
    /// Uid of its Pod: a new container of the same Pod revokes its predecessor's lease.
    pub uid: Arc<str>,
    /// Where it answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// Where it answers HTTP (health, metrics; of a gateway also clients): `host:port`.
    pub http_address: Arc<str>,
    /// Revision of the cluster's spec that it runs.
    pub revision: Arc<str>,
    /// It is emptying: give it nothing new.
    #[serde(default)]
    pub draining: bool,
    /// It reaches Redis.
    #[serde(default)]
    pub redis_ok: bool,
    /// It can serve.
    #[serde(default)]
    pub ready: bool,
    /// When the process started, Unix time.
    #[serde(default)]
    pub started_ms: Millis,
}

/// A member as the registry holds it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Registered {
    /// The lease that it lives under: its claims have the same, and a planned move attaches claims to it.
    pub lease: LeaseId,
    /// What it says of itself.
    pub member: Member,
}

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKey {
    /// A slot of rooms, for a chatroom process.
    Rooms(Slot),
    /// A slot of users, for a message process.
    Users(Slot),
}

impl ClaimKey {
    /// The key of a role's slot; gateways own none.
    #[must_use]
    pub const fn slot(role: Role, slot: Slot) -> Option<Self> {
        match role {
            Role::Gateway => None,
            Role::Chatroom => Some(Self::Rooms(slot)),
            Role::Message => Some(Self::Users(slot)),
        }
    }
}

/// Who holds a claim: the value of its key. Shared by all claims of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Holder {
    /// The process.
    pub instance: InstanceId,
    /// Where it answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// Revision of the cluster's spec that it runs.
    pub revision: Arc<str>,
}

/// A claim as the registry holds it. It is the reader's own only if the *lease* is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it.
    pub holder: Arc<Holder>,
    /// The lease that it is attached to.
    pub lease: LeaseId,
    /// etcd's revision of its last write: with the incarnation it makes the epoch.
    pub mod_revision: u64,
}

/// A claim as its owner knows it: what a later write compares, so that it never touches anybody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// What is claimed.
    pub key: ClaimKey,
    /// Revision of the owner's last write.
    pub mod_revision: u64,
    /// The lease under which it was written.
    pub lease: LeaseId,
}

/// What became of one key of a write to claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written (or deleted, by giving up).
    Made {
        /// Revision of the write.
        mod_revision: u64,
    },
    /// It was not: the key is not what the writer took it for.
    Lost {
        /// Who holds it, none if nobody does.
        now: Option<Claim>,
    },
}

/// Claims read back, all at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimsRead {
    /// Revision of the registry at the reading.
    pub revision: u64,
    /// The incarnation, none in an etcd that came back empty.
    pub incarnation: Option<u64>,
    /// The claims, in the order asked.
    pub claims: Vec<Option<Claim>>,
}

/// What must still be true when a document of the leader is written: who leads, and what it follows.
///
/// The epoch alone lets a leader overwrite its own later document with one that it planned from an older view, when two
/// of its writes overtake each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The leader epoch, which must be the stored one.
    pub leader_epoch: u64,
    /// Revision of the document's last write as the writer read it; none: there was no document.
    pub after: Option<u64>,
}

/// A placement document: intent, opaque to the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its content.
    pub bytes: Bytes,
    /// Revision of its last write.
    pub mod_revision: u64,
}

/// The policy document as the registry holds it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredPolicy {
    /// What it says; none if it cannot be read.
    pub policy: Option<Arc<Policy>>,
    /// Revision of its last write.
    pub mod_revision: u64,
}
