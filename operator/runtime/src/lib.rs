//! What carries out the planner's decisions, on whatever they are carried out.
//!
//! The same planner runs a cluster on Kubernetes and one on a laptop. Each runtime takes a [`World`](throng_plan::World) of what
//! it sees, asks [`plan`](throng_plan::plan()), and is a [`Runtime`]: it remembers a status and does actions. [`follow`] is what
//! they do alike: the status first, then the waves, and what a failure stops. [`registry`] and [`sample`] turn what etcd and
//! Pods say into what the planner sees, in one place for all.

pub mod registry;
mod runtime;
pub mod sample;

pub use runtime::{Failure, Runtime, carry_out, follow};
