//! The part of etcd that the registry needs: leases, and transactions over keys. Implemented twice, over the network and
//! in memory; the rest of the crate is written once, on top.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::api::Outcome;
use crate::error::Error;
use crate::model::{Lease, LeaseId};
use crate::view::View;

/// A value and what etcd knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) value: Bytes,
    /// Revision of its last write.
    pub(crate) mod_revision: u64,
    /// What it is attached to.
    pub(crate) lease: Option<LeaseId>,
}

/// A condition of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum When {
    Absent(String),
    Value(String, Bytes),
    /// Its last write was at this revision, under whatever lease.
    Revision(String, u64),
    /// Its last write was this one, under this lease.
    Written {
        key: String,
        mod_revision: u64,
        lease: LeaseId,
    },
}

/// A step of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put {
        key: String,
        value: Bytes,
        lease: Option<LeaseId>,
    },
    Delete(String),
    /// Every key that begins so.
    DeleteAll(String),
    Get(String),
    Branch(Txn),
}

/// If all conditions hold then the one list of steps, else the other: as one, at one revision. All conditions, nested ones
/// too, are judged before the first step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Txn {
    pub(crate) when: Vec<When>,
    pub(crate) then: Vec<Op>,
    pub(crate) otherwise: Vec<Op>,
}

/// Answer to a step.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Written,
    Got(Option<Record>),
    Branch(TxnReply),
}

/// Answer to a transaction.
#[derive(Clone, Debug)]
pub(crate) struct TxnReply {
    /// Whether the conditions held.
    pub(crate) held: bool,
    /// Revision of its writes, or of the store if there were none.
    pub(crate) revision: u64,
    /// One for each step that was taken.
    pub(crate) replies: Vec<Reply>,
}

impl Txn {
    /// Whether it could write: then a missing answer leaves its outcome unknown.
    pub(crate) fn writes(&self) -> bool {
        self.then.iter().chain(&self.otherwise).any(|op| match op {
            Op::Put { .. } | Op::Delete(_) | Op::DeleteAll(_) => true,
            Op::Get(_) => false,
            Op::Branch(txn) => txn.writes(),
        })
    }
}

impl TxnReply {
    /// What the n-th step read, none if it read nothing.
    pub(crate) fn got(&self, step: usize) -> Option<&Record> {
        match self.replies.get(step) {
            Some(Reply::Got(record)) => record.as_ref(),
            _ => None,
        }
    }
}

/// Storage with the semantics of etcd. Every call ends within a deadline of the implementation.
pub(crate) trait Kv: Send + Sync + 'static {
    fn grant(&self, ttl_ms: u64) -> impl Future<Output = Result<Lease, Error>> + Send;
    fn keep_alive(&self, lease: Lease, within: Duration) -> impl Future<Output = Result<u64, Error>> + Send;
    fn revoke(&self, lease: LeaseId) -> impl Future<Output = Result<(), Error>> + Send;
    /// Answers [`Outcome::Unknown`] only of a transaction that could write.
    fn txn(&self, txn: Txn) -> impl Future<Output = Result<Outcome<TxnReply>, Error>> + Send;
    fn watch(&self) -> watch::Receiver<Arc<View>>;
}
