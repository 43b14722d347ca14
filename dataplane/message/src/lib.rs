//! The message role: relay of segments, home of user sessions.
//!
//! The decisions are in `throng_core::relay`; here are the sockets around them. [`Service`] serves the gRPC `Relay` to
//! gateways and keeps one link to each chatroom Pod that has rooms of interest. One task, the actor, owns the machines;
//! streams only translate (`wire`) and carry (`outbox`), and no body of a segment is opened or copied between them.
//!
//! A restart loses everything here and nothing of the rooms: gateways subscribe again with their cursors and list their
//! sessions, owners send what is missing.

mod actor;
mod forward;
mod handle;
mod options;
mod outbox;
mod server;
mod service;
mod uplink;
mod wire;

pub use handle::{Handle, Sample};
pub use options::Options;
pub use service::{Dependencies, Error, Identity, Service};
pub use throng_core::relay::SessionPolicy;
