//! Rooms, as their owner decides about them: everything a chatroom Pod does that needs no socket.
//!
//! [`Pod`] holds all rooms of one process. It takes what gateways, relays, the store and the server API say, with the
//! time, and leaves [`Output`]s to be sent and written. Its parts, one idea a file:
//!
//! - who may do what: [`lists`], [`publish`] (rights and lanes), [`quota`] and [`user_limit`], [`keys`] (retries);
//! - who is there: [`members`], in the order of [`index`], told by [`entries`];
//! - what was said: [`window`] (the ring), [`tick`] and `level` (when it leaves), [`seals`] (where older epochs ended);
//! - how a room lives: [`life`] (settings, end), [`state`] (what outlives its owner), [`room`] (all of it together);
//! - how a Pod serves it: [`pod`], [`open_slot`] (epoch, writes, who waits for them), [`output`].

pub mod entries;
mod index;
pub mod keys;
mod level;
pub mod life;
pub mod lists;
pub mod members;
pub mod now;
mod open_slot;
pub mod output;
pub mod pod;
pub mod publish;
pub mod quota;
#[expect(clippy::module_inception, reason = "the room among the things of a room")]
mod room;
pub mod seals;
pub mod state;
pub mod tick;
pub mod user_limit;
pub mod window;

pub use entries::{EVENT_EVERY_MS, MAX_NAMES, NAMED_UP_TO_MEMBERS, RoomEvent};
pub use keys::{KEY_MEMORY_MS, KnownKey, MAX_KEY_BYTES, MAX_KEYS};
pub use life::{EndReason, Overrides, Settings};
pub use lists::{ListChange, ListEntry, ListError, ListName, MAX_LIST_ENTRIES, Role};
pub use members::{Change, ChangeKind, GatewayNo, MAX_SESSIONS, MemberRow, OfflineRule};
pub use now::Now;
pub use output::{Asker, Output, Record, RelayNo, Write};
pub use pod::{Activity, Described, MemberPage, Pod, Refused, RoomApplied, RoomChanges, Stats, Subscription};
pub use publish::{Ack, MAX_KIND_BYTES, Moved, Publish, Receipt, Refusal};
pub use quota::{Quota, QuotaLimits};
pub use room::RoomOptions;
pub use seals::Sealed;
pub use state::RoomState;
pub use tick::Tick;
pub use user_limit::UserLimits;
pub use window::{MAX_SEGMENT_BYTES, MessageKey, Retention};
