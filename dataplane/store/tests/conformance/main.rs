//! One suite for every store: each case runs against memory, a real Redis, and a real Redis Cluster of three primaries.
//! What only a real Redis can do wrong is in `faults`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it meets something unexpected"
)]

mod behind;
mod cluster;
mod faults;
mod figures;
mod servers;
mod suite;
mod tls;
mod twins;
mod worlds;
