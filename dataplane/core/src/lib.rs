//! The decisions of the data plane as sans-IO state machines.
//!
//! Nothing in this crate reads a clock, draws randomness, sleeps, opens a socket or logs. Time comes in as [`Millis`],
//! everything else as arguments; what is to be done comes out as values. So the same code runs on a cluster, in
//! `throng dev`, in a model checker and under a simulated network.
//!
//! The words: [`ids`] and [`lane`]; what a room orders: [`stamp`] and [`message`]; which Pod it belongs to: [`slot`].
//! What the operator says to running Pods: [`placement`] of slots and [`policy`] of rooms;
//! what it knows of each [`gateway`]. What [`secrets`] must hold, both ask.

pub mod fanout;
pub mod gateway;
pub mod ids;
pub mod lane;
pub mod message;
pub mod ownership;
pub mod placement;
pub mod policy;
pub mod relay;
pub mod rendezvous;
pub mod role;
pub mod room;
pub mod routes;
pub mod secrets;
pub mod slot;
pub mod stamp;
pub mod time;

pub use ids::{IdError, InstanceId, RoomId, SessionId, UserId};
pub use lane::Lane;
pub use message::{Gap, Message, Segment};
pub use role::Role;
pub use slot::Slot;
pub use stamp::{Cursor, Epoch, Seqs, Stamp};
pub use time::Millis;
