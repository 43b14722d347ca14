//! One cluster: what it stands on is kept open, and again and again it is looked at: see, plan, write the status, act.
//!
//! [`worker`] is that loop. [`secrets`] and [`etcd`] are what it reads beside the watches, [`statements`] the conditions that
//! the shell states itself, [`fleet`] the loop over all clusters, [`strays`] answers operations that no cluster does.

pub mod etcd;
pub mod fleet;
pub mod secrets;
pub mod statements;
pub mod strays;
pub mod worker;
