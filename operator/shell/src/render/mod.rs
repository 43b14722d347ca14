//! From a spec to the objects that Kubernetes is asked for. Pure, and it cannot fail: validation came before.
//!
//! [`owner`] is whose they are; [`pod`] a Pod, made of its [`container`], its [`settings`], its [`mounts`] and its [`place`];
//! [`service`], [`budget`], [`policy`], [`revision`] and [`keys`] what stands beside Pods. [`drift`] tells whether an
//! object is still as it was written.

pub mod budget;
mod container;
pub mod drift;
pub mod keys;
mod mounts;
pub mod owner;
pub(crate) mod place;
pub mod pod;
pub mod policy;
pub mod revision;
pub mod service;
mod settings;

pub use mounts::{Entry, Holds, Named, OWN_KEYS, secrets};
pub use owner::Owner;
pub use settings::behavior;

#[cfg(test)]
mod tests;
