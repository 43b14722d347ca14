//! How many Pods each pool wants: the smallest number of the spec.
//!
//! Autoscaling takes its place here: it answers with another number between `min` and `max`, from pressure, events and its
//! memo, and says why.

use throng_core::Role;

use crate::pools::Pools;
use crate::world::World;
use crate::world::sample::users_load;

/// Size that a pool should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Pods, draining ones not counted.
    pub(super) pods: u32,
    /// Why so many.
    pub(super) why: String,
}

/// The sizes of all pools.
pub(super) fn wanted(world: &World) -> Pools<Wanted> {
    world.spec.pools.map(|_, pool| {
        let pods = pool.min.clamp(1, pool.max.max(1));
        Wanted { pods, why: format!("{pods} wanted: the smallest number of the spec") }
    })
}

/// Fewest serving Pods that so many users need, as far as the pool may grow. Own actions never go below.
pub(super) fn needed(world: &World, role: Role, users: u64) -> u32 {
    let pool = world.spec.pools.of(role);
    let per_pod = pool.targets.iter().find(|target| target.load == users_load(role)).map(|target| target.per_pod);
    let Some(per_pod) = per_pod.filter(|per_pod| *per_pod > 0.0) else { return 0 };
    let pods = (users as f64 / per_pod).ceil();
    if pods >= f64::from(pool.max) {
        return pool.max;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between zero and max")]
    let pods = pods as u32;
    pods
}
