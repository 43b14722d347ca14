//! Who leads: one process at a time, by a Lease of Kubernetes.
//!
//! [`decide`] says what to do about a Lease as it is seen, pure; [`keeper`] sees and does. The times are those of
//! Kubernetes' own components: a Lease is valid for 15 s, its holder renews it every 2 s and stops to write 10 s after the
//! last renewal that succeeded, others take it when it has not changed for 15 s by *their* clocks. So the clocks of two
//! machines never need to agree, and 5 s lie between the last write of one leader and the first of the next. Who waits looks four
//! times as often, because a Lease that is given back is free at once.

pub mod decide;
pub mod keeper;

pub use keeper::{Keeper, Leadership, Term};
