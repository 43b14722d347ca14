//! The spec of a model.

use throng_core::Role;
use throng_plan::pools::Pools;
use throng_plan::spec::pool::{Change, Policy, Scaling, Select, Target};
use throng_plan::spec::rollout::HaltWhen;
use throng_plan::spec::{ClusterSpec, Drain, PoolSpec, Rollout, Rooms, ShapeHash};
use throng_plan::world::sample::users_load;

use super::{DEADLINE_MS, PER_POD};

pub(crate) fn spec(sizes: [u32; 3]) -> ClusterSpec {
    // Pressure makes no pool larger here and keeps none that the spec wants smaller: sizes are those that a test writes.
    let scaling = |select| Scaling {
        window_ms: 0,
        tolerance: 0.0,
        select,
        policies: vec![Policy { change: Change::Percent(100), period_ms: 1000 }],
    };
    let pool = |role: Role, min: u32| PoolSpec {
        min,
        max: 4000,
        targets: vec![Target { load: users_load(role), per_pod: PER_POD as f64 }],
        scale_up: scaling(Select::Disabled),
        scale_down: scaling(Select::Max),
    };
    let [gateway, chatroom, message] = sizes;
    ClusterSpec {
        shape: ShapeHash::new("shape-1"),
        paused: false,
        pools: Pools {
            gateway: pool(Role::Gateway, gateway),
            chatroom: pool(Role::Chatroom, chatroom),
            message: pool(Role::Message, message),
        },
        drain: Drain { deadline_ms: DEADLINE_MS, users_per_s: None, taints: vec!["karpenter.sh/disrupted".into()] },
        rollout: Rollout {
            canary_percent: vec![],
            hold_ms: 0,
            progress_deadline_ms: 600_000,
            warm_ms: 0,
            warm_floor: 1,
            halt: HaltWhen { error_percent: None, p99_ms: None, restarts: None },
            history: 5,
        },
        events: vec![],
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
