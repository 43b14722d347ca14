//! Pools as people see them: sizes, users, and the number that makes the pressure.

use std::collections::BTreeMap;

use serde::Serialize;
use throng_core::Role;
use throng_crds::ChatroomClusterSpec;
use throng_operator::snapshot::node;
use throng_plan::pools::Pools;
use throng_plan::status::{ClusterStatus, PoolStatus};
use throng_plan::world::sample::users_load;

use super::pods::{PodView, pods};
use crate::seen::Seen;

/// A pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Fewest Pods that the spec allows.
    pub min: u32,
    /// Most Pods that it allows.
    pub max: u32,
    /// Pods that there should be.
    pub wanted: u32,
    /// Pods that serve.
    pub ready: u32,
    /// Pods that are emptied.
    pub draining: u32,
    /// Users on them.
    pub users: u64,
    /// Mean pressure of its serving Pods, percent.
    pub pressure_percent: u32,
    /// How many users a Pod has, of how many it should have.
    pub per_pod: PerPod,
    /// Why it has this size.
    pub why: String,
    /// Its Pods; those that are drained, if Pods may not be listed.
    pub pods: Vec<PodView>,
}

/// Users of a serving Pod in the mean, of those that it should carry at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PerPod {
    /// What they are called: `connections`, `members` or `users`.
    pub load: &'static str,
    /// In the mean.
    pub mean: u64,
    /// At most.
    pub target: u64,
    /// They make the pressure of the pool: no other load asks for more.
    pub binds: bool,
}

/// All three pools.
pub(super) fn pools(seen: &Seen, status: &ClusterStatus) -> Pools<PoolView> {
    let name = seen.cluster.metadata.name.as_deref().unwrap_or_default();
    let listed = seen.pods.as_ref().ok().map(Vec::as_slice);
    let nodes: BTreeMap<_, _> =
        seen.nodes.iter().flatten().filter_map(|node| node::node(node, &seen.cluster.spec)).collect();
    Pools::from_fn(|role| {
        let pool = status.pools.of(role);
        let (min, max) = bounds(&seen.cluster.spec, role);
        PoolView {
            min,
            max,
            wanted: pool.wanted,
            ready: pool.ready,
            draining: pool.draining,
            users: pool.users,
            pressure_percent: pool.pressure_percent,
            per_pod: per_pod(pool, role, users_target(&seen.cluster.spec, role)),
            why: pool.why.clone(),
            pods: pods(name, role, listed, &nodes, &status.drains),
        }
    })
}

/// Bounds of a pool.
#[must_use]
pub fn bounds(spec: &ChatroomClusterSpec, role: Role) -> (u32, u32) {
    let replicas = match role {
        Role::Gateway => &spec.gateway.replicas,
        Role::Chatroom => &spec.chatroom.replicas,
        Role::Message => &spec.message.replicas,
    };
    (replicas.min, replicas.max)
}

/// Users that one Pod should carry at most.
#[must_use]
pub fn users_target(spec: &ChatroomClusterSpec, role: Role) -> u64 {
    u64::from(match role {
        Role::Gateway => spec.gateway.pressure.connections,
        Role::Chatroom => spec.chatroom.pressure.members,
        Role::Message => spec.message.pressure.users,
    })
}

/// Users count for the pressure if they alone explain it, to a percent: each Pod has as many as the mean only about.
fn per_pod(pool: &PoolStatus, role: Role, target: u64) -> PerPod {
    let mean = pool.users / u64::from(pool.ready.max(1));
    let percent = mean.saturating_mul(100) / target.max(1);
    PerPod { load: users_load(role), mean, target, binds: percent + 1 >= u64::from(pool.pressure_percent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_bind_if_they_alone_explain_the_pressure() {
        let pool = |users, pressure_percent| PoolStatus { ready: 4, users, pressure_percent, ..PoolStatus::default() };
        let of = |pool: &PoolStatus| {
            let found = per_pod(pool, Role::Gateway, 1000);
            (found.mean, found.binds)
        };
        assert_eq!(of(&pool(2400, 60)), (600, true));
        assert_eq!(of(&pool(2400, 75)), (600, false), "something else is nearer to its bound");
        assert_eq!(of(&PoolStatus::default()), (0, true));
    }
}
