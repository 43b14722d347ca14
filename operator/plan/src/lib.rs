//! The pure planner: what should be, decided from what was seen.
//!
//! Nothing here reads a clock, draws randomness or does I/O, and nothing iterates over a hash map: the same world gives
//! the same plan on a cluster, on a laptop and in simulation. [`spec`] is what a person asked for, [`status`] what is known
//! and remembered; [`placement`] says which Pod should own each slot; [`moves`] says by which steps they get there, idle
//! ones first.

pub mod moves;
pub mod placement;
pub mod pools;
pub mod spec;
pub mod status;
