//! The planner as a whole: stories by name, every state of one Pod, random worlds in a small model of a cluster, a pool that
//! pressure makes larger and smaller, rollouts, and what people ask for beside the spec.

#[cfg(test)]
mod departures;
#[cfg(test)]
mod enumeration;
#[cfg(test)]
mod model;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod scaling;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod waiting;
