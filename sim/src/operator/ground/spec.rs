//! The cluster that is asked for.

use throng_core::{Millis, Role};
use throng_plan::pools::Pools;
use throng_plan::spec::event::Event;
use throng_plan::spec::pool::{Change, Policy, Scaling, Select, Target};
use throng_plan::spec::rollout::HaltWhen;
use throng_plan::spec::{ClusterSpec, Drain, PoolSpec, Rollout, Rooms, ShapeHash};
use throng_plan::world::sample::users_load;

use super::super::api::Object;

/// Name of the cluster.
pub(crate) const CLUSTER: &str = "live";
/// Users that one Pod should carry.
pub(crate) const PER_POD: u64 = 100;
/// How long a drain may last.
pub(crate) const DEADLINE_MS: u64 = 30_000;
/// The taint that starts drains.
pub(crate) const TAINT: &str = "karpenter.sh/disrupted";
/// The operator's finalizer.
pub(crate) const FINALIZER: &str = "throng.dev/operator";

/// Path of the seconds that a pool keeps its size for before it shrinks.
pub(crate) const WINDOW: &str = "spec.window";
/// Path of the largest size of a pool.
pub(crate) const MAX: &str = "spec.max";
/// Path of the shape of Pods.
pub(crate) const SHAPE: &str = "spec.shape";
/// Path of the users that a drain moves in a second; empty: no bound.
pub(crate) const PACE: &str = "spec.pace";
/// Path of the shares of a canary, such as `5,25`; empty: none.
pub(crate) const CANARY: &str = "spec.canary";
/// Path of the seconds that a share is watched.
pub(crate) const HOLD: &str = "spec.hold";
/// Path of the seconds that the revision before stays warm.
pub(crate) const WARM: &str = "spec.warm";
/// Path of the seconds within which new Pods must be ready.
pub(crate) const PROGRESS: &str = "spec.progress";
/// Path of the restarts that halt a rollout; empty: signs are not looked at.
pub(crate) const HALT: &str = "spec.halt";
/// Path of an event: when its floor begins and ends to count, in milliseconds, and the gateways that it asks for; empty: none.
pub(crate) const EVENT: &str = "spec.event";
/// Messages that take so long are too slow, in milliseconds.
pub(crate) const SLOW_MS: u32 = 500;

/// The object that asks for it.
pub(crate) fn object(sizes: [u32; 3]) -> Object {
    let sizes = Role::ALL.into_iter().zip(sizes).map(|(role, size)| (path(role), size.to_string()));
    let rest = [("spec.shape", "shape-1"), ("spec.paused", "false"), (WINDOW, "10"), (MAX, "1000")];
    let mut object = Object::new(None, rest.map(|(path, value)| (path, value.to_owned())));
    object.fields.extend(sizes);
    object
}

/// Path of the size of a pool.
pub(crate) fn path(role: Role) -> String {
    format!("spec.{role}")
}

/// The size of a pool.
pub(crate) fn size(cluster: &Object, role: Role) -> u32 {
    cluster.field(&path(role)).parse().unwrap_or(1)
}

/// What it asks for, as the planner knows it.
pub(crate) fn read(cluster: &Object) -> ClusterSpec {
    let scaling = |window_s: u64| Scaling {
        window_ms: 1000 * window_s,
        tolerance: 0.1,
        select: Select::Max,
        policies: vec![Policy { change: Change::Pods(4), period_ms: 15_000 }],
    };
    let pool = |role: Role| PoolSpec {
        min: size(cluster, role),
        max: cluster.field(MAX).parse().unwrap_or(1000),
        targets: vec![Target { load: users_load(role), per_pod: PER_POD as f64 }],
        scale_up: scaling(0),
        scale_down: scaling(cluster.field(WINDOW).parse().unwrap_or(300)),
    };
    ClusterSpec {
        shape: ShapeHash::new(cluster.field("spec.shape")),
        paused: cluster.field("spec.paused") == "true",
        pools: Pools::from_fn(pool),
        drain: Drain {
            deadline_ms: DEADLINE_MS,
            users_per_s: cluster.field(PACE).parse().ok(),
            taints: vec![TAINT.to_owned()],
        },
        rollout: rollout(cluster),
        events: event(cluster).into_iter().collect(),
        rooms: Rooms {
            messages_per_s: 200,
            user_messages_per_s: 10,
            downstream_per_s: 20,
            max_downstream_per_s: 50,
            offline_after_ms: 30_000,
            offline_after_messages: 30,
            idle_ms: 0,
            protected_types: vec![],
        },
    }
}

/// When many people are expected.
fn event(cluster: &Object) -> Option<Event> {
    let numbers: Vec<u64> = cluster.field(EVENT).split(',').filter_map(|number| number.parse().ok()).collect();
    let [ramp_at, ends_at, gateways] = numbers[..] else { return None };
    let gateway = u32::try_from(gateways).ok()?;
    let (ramp_at, ends_at) = (Millis(ramp_at), Millis(ends_at));
    let floor = Pools { gateway, chatroom: 0, message: 0 };
    Some(Event { name: "final".to_owned(), ramp_at, starts_at: ramp_at, ends_at, floor })
}

/// How a new revision takes over.
fn rollout(cluster: &Object) -> Rollout {
    let ms = |path: &str, otherwise_s: u64| 1000 * cluster.field(path).parse().unwrap_or(otherwise_s);
    let restarts = cluster.field(HALT).parse().ok();
    Rollout {
        canary_percent: cluster.field(CANARY).split(',').filter_map(|percent| percent.parse().ok()).collect(),
        hold_ms: ms(HOLD, 0),
        progress_deadline_ms: ms(PROGRESS, 600),
        warm_ms: ms(WARM, 0),
        warm_floor: 1,
        halt: HaltWhen { error_percent: restarts.map(|_: u32| 1), p99_ms: restarts.map(|_| SLOW_MS), restarts },
        history: 3,
    }
}
