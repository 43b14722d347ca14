//! The chatroom role: owner of rooms.
//!
//! A thin shell around [`throng_core::room::Pod`], which takes every decision. [`Service`] serves the gRPC `Chatroom`
//! that gateways and message Pods call ([`link`](throng_proto::link)): their streams turn what they hear into
//! inputs of one task, the only owner of the rooms; what that task wants sent goes into a bounded [`outbox`] for each
//! stream, what it wants written goes to a [`Log`], usually
//! a [`StoredLog`].
//!
//! A relay that reads too slowly costs bounded memory: its stream pauses room by room and goes on from its cursor. A
//! gateway that does is cut off; it links again and lists its members.

mod actor;
mod admin;
mod convert;
mod deliver;
mod grpc;
mod handle;
mod handover;
mod input;
mod links;
mod loading;
mod log;
mod options;
pub mod outbox;
mod parked;
mod service;
mod stored;
mod stream;

pub use handle::{Handle, Rates};
pub use log::{BoxFuture, Log, LogEvent, NoLog, Unreachable};
pub use options::{Options, Rooms};
pub use service::{Error, Service, Start};
pub use stored::{StoredLog, StoredLogTask};
