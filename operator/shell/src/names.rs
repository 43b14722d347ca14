//! Words that objects carry, so that the operator, Services, budgets and people find them.

/// Label: who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: name of the cluster that an object belongs to. What has it is watched.
pub const CLUSTER: &str = "throng.dev/cluster";
/// Label of a Pod: its role.
pub const ROLE: &str = "throng.dev/role";
/// Label of a Pod: number of its revision.
pub const REVISION: &str = "throng.dev/revision";
/// Label of a Pod: its index among the Pods of its role and revision.
pub const INDEX: &str = "throng.dev/index";
/// Label of a Pod: the zone that it was made for.
pub const ZONE: &str = "throng.dev/zone";
/// Label of a Pod: `true` while it serves. Services and budgets select it.
pub const SERVING: &str = "throng.dev/serving";
/// Annotation of a `ControllerRevision`: hash of the shape that it holds.
pub const SHAPE: &str = "throng.dev/shape";
/// Finalizer of a cluster: its Pods are drained before it goes.
pub const FINALIZER: &str = "throng.dev/drain";
/// Annotation of a cluster that is deleted: `true` lets it go without a drain.
pub const LET_GO: &str = "throng.dev/let-go";
/// Who writes: the field manager of server-side apply, and the controller of Events.
pub const MANAGER: &str = "throng-operator";
/// Label of the operator's own Pods: network policies let them reach the Pods of clusters.
pub const OPERATOR: (&str, &str) = ("app.kubernetes.io/name", "throng-operator");
/// Label of nodes: their zone.
pub const NODE_ZONE: &str = "topology.kubernetes.io/zone";

/// Selects what the operator made and what lost [`CLUSTER`]: the other watch does not tell of it.
#[must_use]
pub fn lost() -> String {
    format!("{MANAGED_BY}={MANAGER},!{CLUSTER}")
}

/// Name of the Secret that holds the keys of a cluster, as the planner asks for it.
#[must_use]
pub fn key_secret(cluster: &str) -> String {
    format!("{cluster}-pod-key")
}

/// Name of what a role has one of: its Service, its budget, its network policy.
#[must_use]
pub fn of_role(cluster: &str, role: throng_core::Role) -> String {
    format!("{cluster}-{role}")
}
