//! The kube shell around the planner: watch, validate, plan, apply, status. It takes no decision.

pub mod lease;
pub mod names;
pub mod render;
pub mod snapshot;
