//! Where rooms outlive their owner.

use std::future::Future;
use std::pin::Pin;

use throng_core::relay::{LogPage, LogRange};
use throng_core::room::{RoomState, Write};
use throng_core::{Epoch, RoomId, Slot};

/// A boxed future, as an object-safe trait needs it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Rooms could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot be reached: {0}")]
pub struct Unreachable(pub String);

/// What became of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// All writes of the slot and epoch up to the ticket are safe, but those told as failed before.
    Stored {
        /// The slot.
        slot: Slot,
        /// The epoch of the writes.
        epoch: Epoch,
        /// The last of them.
        ticket: u64,
    },
    /// One write did not happen, or it is not known in time whether it did. Must not get lost.
    Failed {
        /// The slot.
        slot: Slot,
        /// The epoch of the writes.
        epoch: Epoch,
        /// Which.
        ticket: u64,
    },
    /// The store came back without what it should hold of the slot: write its rooms again.
    Rewrite {
        /// The slot.
        slot: Slot,
    },
    /// A later owner writes: stop serving the slot.
    Stale {
        /// The slot.
        slot: Slot,
        /// The later epoch.
        epoch: Epoch,
    },
}

/// A store as the owner of rooms sees it. What became of the writes is told through the channel that the implementation
/// was made with ([`crate::Start::log_events`]).
pub trait Log: Send + Sync + 'static {
    /// Takes a write, behind the traffic: never waits. Writes of a slot and epoch come in order of their tickets. Its
    /// queue is bounded: what does not fit is told as [`LogEvent::Failed`].
    fn push(&self, slot: Slot, epoch: Epoch, ticket: u64, write: Write);

    /// All rooms of a slot. Its fence is the owner's already: nobody else writes.
    fn load(&self, slot: Slot) -> BoxFuture<'_, Result<Vec<RoomState>, Unreachable>>;

    /// Part of a room's log, for readers of what no ring holds any more.
    fn read(&self, room: RoomId, range: LogRange) -> BoxFuture<'_, Result<LogPage, Unreachable>>;
}

/// No store at all: nothing outlives the process, nothing is ever `stored`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl Log for NoLog {
    fn push(&self, _: Slot, _: Epoch, _: u64, _: Write) {}

    fn load(&self, _: Slot) -> BoxFuture<'_, Result<Vec<RoomState>, Unreachable>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn read(&self, _: RoomId, _: LogRange) -> BoxFuture<'_, Result<LogPage, Unreachable>> {
        Box::pin(std::future::ready(Ok(LogPage::default())))
    }
}
