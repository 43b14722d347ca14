//! The server's side of WebSocket (RFC 6455) without sockets: bytes go in, values come out.
//!
//! A connection passes through three readers, each a function of the bytes alone: [`proxy`] takes the source address that
//! a load balancer put in front, [`handshake`] takes the HTTP request and answers it, [`Decoder`] takes the frames.
//! [`frame`] makes what is sent; a frame to a client carries no mask, so one [`bytes::Bytes`] serves every connection.
//!
//! Made for hundreds of thousands of connections of which few speak: an idle [`Decoder`] is 16 bytes and no heap, whole
//! frames are handed out as slices of the caller's read buffer, and what a peer makes the server keep is bounded by
//! [`Limits`]. There is no compression: a frame that many share is cheaper to send than to squeeze for each.
//!
//! Nothing here reads a clock or opens a socket. Deadlines (head within 5 s, frames a second) belong to the caller, who
//! learns from [`Decoder::is_idle`] and [`Fed::frames`] what they need.

mod assembly;
mod close;
mod decode;
mod error;
pub mod frame;
pub mod handshake;
mod head;
mod limits;
mod mask;
pub mod proxy;
pub mod response;
mod utf8;

pub use close::Close;
pub use decode::{Decoder, Event, Fed, Flow};
pub use error::DecodeError;
pub use handshake::{Opening, Upgrade};
pub use limits::Limits;
pub use response::{Refusal, Status};
