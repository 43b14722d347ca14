//! Who lives, who owns what, and who *should*: the data plane's view of etcd.
//!
//! A process gets a lease, shows itself as a member under it, and claims slots under it; when it dies, all of that goes
//! with the lease. Claims are truth, the placement document is intent, and the incarnation is what lets epochs grow even
//! when an etcd came back empty. This crate stores and shows these things; it decides nothing: when to renew, to claim, to
//! give up or to move is the business of the ownership machine in `throng-core`.
//!
//! [`Registry`] is the trait ([`api`]), its words are in [`model`], its failures in [`error`]. What a process sees of the
//! others is a [`View`], replaced whole at every change ([`view`]). Three registries keep the same promises:
//! [`EtcdRegistry`], [`MemoryRegistry`] (one process: `throng dev`, simulation, tests) and [`PipedRegistry`] (a gateway
//! that another process feeds). The first two share everything but storage: [`ledger`] writes each operation once, as a
//! transaction of [`kv`].

pub mod api;
pub mod error;
pub mod etcd;
mod keys;
mod kv;
mod ledger;
pub mod memory;
pub mod model;
pub mod piped;
pub mod view;

pub use api::{Call, Outcome, Registry};
pub use error::{Conflict, Error};
pub use etcd::{Credentials, EtcdOptions, EtcdRegistry, Pem, Tls};
pub use memory::MemoryRegistry;
pub use model::{
    Change, Claim, ClaimKey, ClaimsRead, Fence, Holder, Lease, LeaseId, MAX_BATCH, Member, Own, Placement, Registered,
    StoredPolicy,
};
pub use piped::{PipedRegistry, feed};
pub use throng_core::Role;
pub use throng_core::policy::Policy;
pub use view::{Health, View};
