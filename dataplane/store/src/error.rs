//! What can go wrong, sorted by what the caller does about it.

use throng_core::Epoch;

/// Why a call to the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The slot has a later owner: stop serving it. Nothing was written.
    #[error("the slot is fenced by epoch {epoch}: its owner is another, stop")]
    Stale {
        /// Epoch of the later owner.
        epoch: Epoch,
    },
    /// The store did not answer in time, or said that it cannot serve now. A write may or may not have happened; every
    /// write may be repeated. Try again later.
    #[error("the store is out of reach, try again: {reason}")]
    Unavailable {
        /// What was seen.
        reason: String,
    },
    /// The store answers, but not to us or not like this: wrong password, missing rights, a set-up that would lose data.
    /// Somebody has to change the configuration.
    #[error("the store cannot be used as it is configured: {reason}")]
    Refused {
        /// What to change.
        reason: String,
    },
    /// The store has no memory or no disk left. Fences, grace and deletions still work.
    #[error("the store is full: {reason}")]
    Full {
        /// What the store said.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody doing anything about the configuration.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// Why a write is not known to be stored. It may still be stored later, unless [`NotStored::Stale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStored {
    /// The slot has a later owner.
    #[error("the slot has a later owner, of epoch {0}")]
    Stale(Epoch),
    /// The store did not take it within the time that an acknowledgement waits.
    #[error("the store did not take it in time")]
    TooLate,
    /// Too much is waiting already.
    #[error("too many writes are waiting for the store")]
    QueueFull,
    /// The primary has it, but not as many replicas as asked for.
    #[error("too few replicas have it")]
    Replicas,
    /// The process is ending, or the slot was given up.
    #[error("the writer was closed")]
    Closed,
}
