//! The planner as a whole: stories by name, every state of one Pod, random worlds in a small
//! model of a cluster, and a pool that pressure makes larger and smaller.

#[cfg(test)]
mod enumeration;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scaling;
#[cfg(test)]
mod stories;
