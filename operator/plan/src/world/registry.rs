//! What etcd says: who lives, who owns which slot, where slots should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use throng_core::Role;
use throng_core::policy::Policy;

use super::{Claims, Document};
use crate::pools::Pools;

/// The registry of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Living processes, by uid of their Pod.
    pub members: BTreeMap<String, Member>,
    /// Uids of Pods that have not said lately what their slots carry: those count as the hottest.
    #[serde(default)]
    pub silent: BTreeSet<Arc<str>>,
    /// Who owns each slot that somebody owns. That of gateways is empty.
    pub claims: Pools<Claims>,
    /// Where slots should be. That of gateways is empty.
    pub documents: Pools<Documents>,
    /// The policy that Pods follow; none if there is none, or none that can be read.
    #[serde(default)]
    pub policy: Option<Policy>,
}

/// A living process, under its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name of its Pod.
    pub pod: String,
    /// Its pool.
    pub role: Role,
    /// It can serve.
    pub ready: bool,
    /// It is emptying.
    pub draining: bool,
}

/// A slot that somebody owns, with what it carries as its owner said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Uid of the Pod.
    pub uid: Arc<str>,
    /// Rooms in it; zero for a slot of users.
    pub rooms: u64,
    /// Members of those rooms, or users who have their home in it.
    pub users: u64,
}

/// The placement of one role, and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// The placement that Pods follow now.
    pub in_force: Option<Document>,
    /// Where its steps lead. Kept beside it, because planned anew from each step the target would move.
    pub target: Option<Document>,
}
