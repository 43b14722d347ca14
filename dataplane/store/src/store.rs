//! The trait.

use std::future::Future;
use std::pin::Pin;

use throng_core::{Epoch, InstanceId, RoomId, Slot};

use crate::StoreError;
use crate::image::{MemberCursor, MemberPage, RoomImage, StoredRoom};
use crate::ownership::{AnySlot, Birth, Fence, GraceCreated, Raised, Renewal};
use crate::write::{Batch, Written};
use crate::{LogPage, LogRange};

/// A boxed future, as an object-safe trait needs it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The memory of this process: gone with it.
    Memory,
    /// Redis.
    Redis,
}

/// What a store promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Which store it is.
    pub kind: Kind,
    /// What is `stored` survives a restart of the store: append-only file on. Last seen state.
    pub durable: bool,
    /// What an operator should know, each a sentence; empty: all well.
    pub warnings: Vec<String>,
}

/// The store as one instance sees it. Every call has a deadline and reconnects by itself; errors are typed by what the
/// caller does about them ([`StoreError`]). Nothing is kept in the handle that a restart would lose.
pub trait Store: Send + Sync + 'static {
    /// The instance that this handle acts for: fences and grace are in its name.
    fn instance(&self) -> &InstanceId;

    /// What the store promises, as last seen.
    fn description(&self) -> Description;

    /// Answers while the store serves this instance, every primary of a cluster included.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Applies a batch to rooms of `slot`, if no owner of a later epoch has written or raised the fence.
    ///
    /// Calls for one tag must not overlap if their order matters. A batch of several tags may be applied in part when it
    /// fails; repeating it is harmless. A room of another slot is [`StoreError::Refused`].
    fn write(&self, slot: Slot, epoch: Epoch, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>>;

    /// All rooms of a slot, in no order.
    fn rooms(&self, slot: Slot) -> BoxFuture<'_, Result<Vec<StoredRoom>, StoreError>>;

    /// One room, with at most `tail` messages a lane and epoch; none: unknown.
    fn load(&self, room: RoomId, tail: usize) -> BoxFuture<'_, Result<Option<RoomImage>, StoreError>>;

    /// Part of a room's log.
    fn log(&self, room: RoomId, range: LogRange) -> BoxFuture<'_, Result<LogPage, StoreError>>;

    /// Part of a shard of a room's members, a few thousand at a time.
    fn members(&self, room: RoomId, from: MemberCursor) -> BoxFuture<'_, Result<MemberPage, StoreError>>;

    /// Makes the fence of a slot mine, if its holder is `expected` or me already. For a room slot later writes of smaller
    /// epochs are refused from then on. Fails with [`StoreError::Stale`] if it has a larger epoch.
    fn raise_fence(
        &self,
        slot: AnySlot,
        epoch: Epoch,
        expected: Option<InstanceId>,
    ) -> BoxFuture<'_, Result<Raised, StoreError>>;

    /// The fence of a slot.
    fn fence(&self, slot: AnySlot) -> BoxFuture<'_, Result<Option<Fence>, StoreError>>;

    /// Rewrites the fences of my slots and creates my grace, in one step. Only with a confirmed lease.
    fn create_grace(&self, mine: Vec<(AnySlot, Epoch)>) -> BoxFuture<'_, Result<GraceCreated, StoreError>>;

    /// Prolongs my grace; never creates it.
    fn renew_grace(&self) -> BoxFuture<'_, Result<Renewal, StoreError>>;

    /// What is left of an instance's grace, milliseconds; zero: it has none.
    fn grace_left_ms(&self, instance: InstanceId) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Takes a slot from an instance's grace, for a taker of this epoch. Does not expire; a smaller epoch changes nothing.
    fn revoke(&self, instance: InstanceId, slot: AnySlot, epoch: Epoch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes the marks of an instance that will never come back, so that they do not pile up over the years. Only for
    /// one whose process is known to have ended.
    fn forget_instance(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The largest incarnation noted; zero: none.
    fn incarnation(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Notes an incarnation and answers the largest noted.
    fn raise_incarnation(&self, incarnation: u64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// How long the database remembers. Leaves a birth mark if there is none.
    fn birth(&self) -> BoxFuture<'_, Result<Birth, StoreError>>;
}
