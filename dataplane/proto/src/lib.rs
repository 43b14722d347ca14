//! The two languages of the data plane: what clients speak ([`client`]) and what Pods speak among themselves ([`link`]).
//!
//! [`client`] has one set of types for both forms, JSON and protobuf, and one table of [`codes`]. [`link`] is generated
//! from `proto/link.proto`; [`convert`] turns its messages into the types of `throng-core` and back. [`key`] is the
//! shared key that every call between Pods carries.

pub mod by_name;
pub mod client;
pub mod codes;
pub mod convert;
pub mod key;
pub mod words;

/// The gRPC between Pods, generated from `proto/link.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery, unreachable_pub)]
pub mod link {
    tonic::include_proto!("throng.link.v1");
}

/// The protobuf form of the client protocol, generated from `proto/client.proto`; [`client`] is the way to use it.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery, unreachable_pub)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/throng.v1.rs"));
}

/// Time between two beats of a stream between Pods.
pub const BEAT_MS: u64 = 500;
/// A stream that was silent for so long is dead.
pub const DEAD_MS: u64 = 1500;
