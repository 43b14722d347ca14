//! Planners that are broken on purpose.

mod broken;

use super::sim::Sim;
use super::*;

/// A cluster at rest, with users on each pool.
fn installed(sizes: [u32; 3], users: u64) -> Sim {
    let mut sim = Sim::new(7, sizes, Planner::Real);
    sim.rest();
    for role in throng_core::Role::ALL {
        *sim.ground.crowd.wanted.of_mut(role) = users;
    }
    sim.rest();
    assert_eq!(sim.broken, []);
    sim
}
