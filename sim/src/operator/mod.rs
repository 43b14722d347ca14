//! The operator in a model of Kubernetes: the planner that clusters run, and everything around it that can go wrong.
//!
//! [`api`] is a model of the API server, `etcd` of the registry, `ground` of the rest of the world: nodes, kubelets,
//! processes, users, slots. `see` turns what was seen into the planner's world and `request` its actions into requests, as the
//! real shell does; `hand` is the runtime that follows a plan; `replica` is a process of the operator, `sim` lets two of them work, through the `weather` of watches
//! and requests and the `chaos` of everything else,
//! of `releases` and of what people ask for; `steps` are the steps of a rollout that a status tells of. [`invariants`] is what must never be seen, in one registry; `outcome` what
//! the final world must be. [`planner`] holds planners that are broken on purpose. [`run_seed`] is a random run; the same seed
//! gives the same run, on every machine.

pub mod api;
mod chaos;
mod dice;
mod digest;
mod etcd;
mod ground;
mod hand;
pub mod invariants;
mod outcome;
pub mod planner;
mod releases;
mod replica;
mod request;
mod run;
mod see;
mod sim;
mod steps;
pub mod tally;
mod weather;

pub use invariants::{Broken, INVARIANTS};
pub use planner::Planner;
pub use run::{Report, run_seed};
pub use tally::Tally;

#[cfg(test)]
mod tests;
