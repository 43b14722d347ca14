//! The planner as a whole: stories by name, every state of one Pod, and random worlds in a small model of a cluster.

#[cfg(test)]
mod enumeration;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;
