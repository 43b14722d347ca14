//! The gateway role: connections, lanes, fan-out.
//!
//! A process has a few reactors and one hub. A [`reactor`] is a thread with an epoll and a [`shard`]: the machine of all
//! its connections, which costs an idle one a record of 200 bytes and no task, channel or buffer. The [`hub`] is the
//! machine that speaks with the other Pods over [`links`]; a reactor tells it who joins what and gets segments from it,
//! by pointer. Both machines are without I/O: simulations drive the same code.
//!
//! The way of a segment: a relay's link, the hub (decodes it once, checks it against the cursor), the shards that have
//! members of the room (build each frame once for all that get the same), one `write` a member.
//!
//! Tokens are JSON Web Tokens, see [`auth::jwt`] for the claims; resume tokens are signed here, see [`auth::resume`].
//! Everything that can be configured is in [`Options`]. [`Service::run`] is the whole role; [`Handle`] is how others see it.

pub mod api;
pub mod auth;
pub mod counters;
mod gauge;
pub mod guard;
mod handle;
pub mod health;
mod http;
pub mod hub;
mod links;
pub mod metrics;
pub mod options;
mod reactor;
mod runner;
mod seats;
mod service;
pub mod shard;
pub mod traffic;

pub use handle::{Handle, Load, Sample};
pub use options::Options;
pub use reactor::bind;
pub use service::{Deps, Error, Service};
