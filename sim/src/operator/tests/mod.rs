//! Stories by name, each with every fault at every place, those of [`releases`] among them; random worlds; planners that are
//! broken on purpose.

mod broken;
mod random;
mod releases;
mod stories;

use super::ground::spec::{CLUSTER, path};
use super::sim::Sim;
use super::*;
use crate::operator::api::{Expected, Kind};

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

fn resize(sim: &mut Sim, sizes: [u32; 3]) {
    let key = (Kind::Cluster, CLUSTER.to_owned());
    let change = |cluster: &mut api::Object| {
        for (role, size) in throng_core::Role::ALL.into_iter().zip(sizes) {
            cluster.set_field(&path(role), size);
        }
    };
    sim.ground.api.edit(&key, &Expected::default(), change).unwrap();
}

fn reshape(sim: &mut Sim, shape: &str) {
    let key = (Kind::Cluster, CLUSTER.to_owned());
    sim.ground.api.edit(&key, &Expected::default(), |cluster| cluster.set_field("spec.shape", shape)).unwrap();
}
