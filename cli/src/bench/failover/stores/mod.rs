//! The real Redis and etcd of a bench, and what is done to them.
//!
//! [`redis`] and [`etcd`] are one server each, or several of which one leads; [`server`] is one of them; [`kept`] reads what
//! the store has.

mod etcd;
mod kept;
mod redis;
mod server;

use anyhow::Context as _;

pub(super) use etcd::Etcd;
pub(super) use kept::{Kept, Wanted};
pub(super) use redis::{PRIMARY, Redis};

/// What is done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// SIGKILL, to all of it.
    Kill,
    /// SIGSTOP, to all of it.
    Stall,
    /// It takes no more writes.
    Full,
    /// SIGKILL, and what it had is gone.
    Empty,
    /// SIGKILL, to the one of several servers that leads.
    Leader,
}

/// The program of a server is there, or what to install.
pub(super) fn installed(program: &str, package: &str) -> anyhow::Result<()> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    found.then_some(()).with_context(|| format!("{program} is needed: apt-get install {package}"))
}
