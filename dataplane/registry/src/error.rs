//! Why a call to the registry failed.

use crate::model::{LeaseId, MAX_BATCH};

/// Why a call failed. After any of these nothing was written, except where [`Error::Unavailable`] says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry did not answer in time or cannot be reached. Try again later. Calls that can be repeated without
    /// harm (a renewal, a member's entry, the placement) answer this also when they may have been applied; claims answer
    /// [`Outcome::Unknown`](crate::Outcome::Unknown) then.
    #[error("the registry is out of reach: {reason}; it is tried again")]
    Unavailable {
        /// What was seen.
        reason: String,
    },
    /// The registry refuses this caller or this call; trying again changes nothing until somebody acts.
    #[error("the registry refuses: {reason}")]
    Refused {
        /// What it said, and what to do.
        reason: String,
    },
    /// The lease is gone, and with it everything attached to it: take a new one and begin again.
    #[error("lease {0} is gone")]
    LeaseGone(LeaseId),
    /// The world is not the one that the caller knew.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// More than [`MAX_BATCH`] keys in one call, or the same key twice.
    #[error("a batch has 1 to {MAX_BATCH} different keys, this one has {0}, or one of them twice")]
    Batch(usize),
}

impl Error {
    /// Whether the same call may succeed later without anybody acting.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// Which number of the caller was not the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// The incarnation changed, or is missing: an etcd that came back empty.
    #[error("the incarnation is {found:?}, not {expected}")]
    Incarnation {
        /// What the caller named.
        expected: u64,
        /// What is stored.
        found: Option<u64>,
    },
    /// Another leader has taken over.
    #[error("the leader epoch is {found:?}, not {expected}: another operator leads")]
    LeaderEpoch {
        /// What the caller named.
        expected: u64,
        /// What is stored.
        found: Option<u64>,
    },
    /// The document was written by somebody else since it was read.
    #[error("the document was last written at revision {found:?}, not {expected:?}: it is read again")]
    Document {
        /// Revision of its last write when the caller read it, none if there was none.
        expected: Option<u64>,
        /// Revision of its last write.
        found: Option<u64>,
    },
}
