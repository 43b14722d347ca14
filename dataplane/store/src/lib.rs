//! Where rooms are kept when nobody holds them in memory: Redis, or the memory of one process.
//!
//! Owners keep the truth of their rooms in memory; the store is what a later owner starts from. So three kinds of calls
//! meet in [`Store`]: *writes* of rooms, fenced by the epoch of the owner ([`write`]); *loads* by a new owner
//! ([`image`]); and the few keys by which owners of slots make sure that they are alone ([`ownership`]).
//!
//! Two implementations, one conformance suite (`tests/conformance`): [`MemoryStore`] for `throng dev` and simulation,
//! [`RedisStore`] for everything that has to outlive a process. Owners do not call [`Store::write`] on the way of a
//! message: they push into a [`WriteBehind`], which batches, bounds, retries and tells who asked when a write is stored.
//!
//! [`Store`] is object-safe with boxed futures ([`BoxFuture`]) written out: the roles hold an `Arc<dyn Store>`, a box a
//! call is nothing beside a round trip, and what the signatures say is what the documentation shows.

pub mod behind;
pub mod error;
pub mod image;
pub mod limits;
pub mod memory;
pub mod ownership;
pub mod redis;
pub mod shards;
mod store;
pub mod write;

pub use behind::{Ack, BehindOptions, Metrics, Notice, Notices, Runner, WriteBehind};
pub use error::{NotStored, StoreError};
pub use image::{MemberCursor, MemberPage, RoomImage, StoredRoom};
pub use limits::LogLimits;
pub use memory::{Clock, MemoryDb, MemoryStore};
pub use ownership::{AnySlot, Birth, Fence, GraceCreated, Mark, Raised, Renewal};
pub use redis::{RedisMode, RedisOptions, RedisStore};
pub use store::{BoxFuture, Description, Kind, Store};
/// What pulls read: the same words from the store to the relay that answers.
pub use throng_core::relay::{LogPage, LogRange};
pub use write::{Batch, List, Member, Remembered, Role, Sealed, Tag, Write, Written};
