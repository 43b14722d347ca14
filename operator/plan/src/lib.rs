//! The pure planner: what should be, decided from what was seen.
//!
//! Nothing here reads a clock, draws randomness or does I/O, and nothing iterates over a hash map: the same world gives
//! the same plan on a cluster, on a laptop and in simulation. [`world`] is what was seen, with [`spec`], what a person asked
//! for, and [`status`], what is known and remembered. [`plan()`] says what to do about it. Of its parts, [`placement`] says
//! which Pod should own each slot, [`division`] which slots a canary gets, and [`moves`] by which steps they get there, idle ones first. [`waves`] says
//! in which order whoever carries out a plan does its actions.

pub mod division;
pub mod moves;
pub mod placement;
pub mod plan;
pub mod pools;
mod slot_set;
pub mod spec;
pub mod status;
pub mod waves;
pub mod world;

pub use plan::{Action, Plan, plan};
pub use world::World;
