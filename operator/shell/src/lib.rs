//! The kube shell around the planner: watch, validate, plan, apply, status. It takes no decision.
//!
//! [`run()`] is the process. [`watch`] keeps what the API server tells; [`cluster`] is the loop of each cluster, which takes a
//! [`snapshot`] of it with what etcd says and what Pods say ([`pressure`]), asks `throng-plan`, writes the status and carries
//! the actions out ([`apply`]), with objects as they are rendered ([`render`]). Only the process that has the [`lease`] writes.
//! [`events`], [`metrics`] and [`health`] are what people and programs see of it; [`uninstall`] says whether it may go.
//!
//! Compile it with a version feature of `k8s-openapi`, which only binaries and tests choose.

pub mod apply;
pub mod cluster;
pub mod events;
#[cfg(test)]
mod example;
pub mod health;
pub mod kube_api;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod options;
pub mod pressure;
pub mod render;
mod run;
pub mod snapshot;
pub mod uninstall;
pub mod watch;

pub use options::{Options, Scope};
pub use run::{Error, run, run_with};
