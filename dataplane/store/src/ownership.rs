//! The few keys by which owners of slots make sure that they are alone.
//!
//! A *fence* names the owner of a slot to later owners. *Grace* lets an owner go on while etcd is away: a key of the
//! instance that lives only while it is renewed. A *mark* takes grace from an instance for one slot. The *birth* of the
//! database tells an emptied one from one that remembers. The *incarnation* outranks an etcd that came back empty.

use std::fmt;

use throng_core::{Epoch, InstanceId, Slot};

/// A slot of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnySlot {
    /// Of rooms: owned by chatroom Pods.
    Room(Slot),
    /// Of users: owned by message Pods.
    User(Slot),
}

impl fmt::Display for AnySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(slot) => write!(f, "r:{slot}"),
            Self::User(slot) => write!(f, "u:{slot}"),
        }
    }
}

impl AnySlot {
    /// The slot of its text form: `r:12`, `u:12`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let slot = Slot::new(number.parse().ok()?)?;
        match kind {
            "r" => Some(Self::Room(slot)),
            "u" => Some(Self::User(slot)),
            _ => None,
        }
    }
}

/// Who owns a slot, for those who want to take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Epoch of its claim.
    pub epoch: Epoch,
    /// The owner.
    pub instance: InstanceId,
}

/// Answer to raising a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raised {
    /// The fence is mine.
    Mine {
        /// What it was before.
        previous: Option<Fence>,
    },
    /// Nothing was changed: the holder is not the expected one. Revoke that one, wait out its grace, try again.
    Held {
        /// The holder; none: there is no fence, which was not expected either.
        by: Option<Fence>,
    },
}

/// A slot taken from an instance's grace, by a taker of this epoch. Revokes claims of smaller epochs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The slot.
    pub slot: AnySlot,
    /// Epoch of the taker.
    pub epoch: Epoch,
}

/// Answer to creating grace. The right counts from the moment of *sending*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraceCreated {
    /// Slots that have a fence of a later epoch: theirs were not rewritten, they are lost.
    pub stale: Vec<Mark>,
    /// All marks of this instance.
    pub revoked: Vec<Mark>,
}

/// Answer to renewing grace. The right counts from the moment of *sending*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Grace goes on, but not for slots with a mark of a larger epoch than mine.
    Renewed {
        /// All marks of this instance.
        revoked: Vec<Mark>,
    },
    /// There is no grace: it ran out, or the store was emptied.
    Missing,
}

/// How long the database remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Age of its birth mark by the store's own clock, milliseconds; zero if this call made the mark.
    pub age_ms: u64,
}
