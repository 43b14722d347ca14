//! Size and growth of pools. Names of loads are those of pressure samples.

use throng_plan::spec::PoolSpec;
use throng_plan::spec::pool::{Change, Policy, Scaling, Select, Target};

use super::{Flaw, not_admitted};
use crate::cluster::pools::{ChatroomPool, GatewayPool, MessagePool};
use crate::cluster::scaling::{Behavior, PolicyKind, Replicas, ScalingPolicy, SelectPolicy};

pub(super) fn gateway(pool: &GatewayPool, refused: &mut Vec<Flaw>) -> PoolSpec {
    let pressure = &pool.pressure;
    let targets = [
        ("connections", pressure.connections),
        ("egress_mbps", pressure.egress_mbps),
        ("cpu_percent", pressure.cpu_percent),
    ];
    convert("gateway", &pool.replicas, &pool.behavior, targets, refused)
}

pub(super) fn chatroom(pool: &ChatroomPool, refused: &mut Vec<Flaw>) -> PoolSpec {
    let pressure = &pool.pressure;
    let targets = [
        ("members", pressure.members),
        ("joins_per_second", pressure.joins_per_second),
        ("cpu_percent", pressure.cpu_percent),
    ];
    convert("chatroom", &pool.replicas, &pool.behavior, targets, refused)
}

pub(super) fn message(pool: &MessagePool, refused: &mut Vec<Flaw>) -> PoolSpec {
    let pressure = &pool.pressure;
    let targets = [
        ("users", pressure.users),
        ("deliveries_per_second", pressure.deliveries_per_second),
        ("cpu_percent", pressure.cpu_percent),
    ];
    convert("message", &pool.replicas, &pool.behavior, targets, refused)
}

fn convert(
    pool: &str,
    replicas: &Replicas,
    behavior: &Behavior,
    targets: [(&'static str, u32); 3],
    refused: &mut Vec<Flaw>,
) -> PoolSpec {
    if replicas.min == 0 || replicas.min > replicas.max {
        let path = format!("spec.{pool}.replicas");
        refused.push(not_admitted(&path, "write a min of at least 1 and a max that is not smaller"));
    }
    for (load, per_pod) in targets {
        if per_pod == 0 {
            let path = format!("spec.{pool}.pressure");
            refused.push(not_admitted(&path, format!("{load} is 0: write at least 1")));
        }
    }
    let (up, down) = (&behavior.scale_up, &behavior.scale_down);
    if up.policies.is_empty() || down.policies.is_empty() {
        refused.push(not_admitted(&format!("spec.{pool}.behavior"), "write at least one policy for each direction"));
    }
    PoolSpec {
        min: replicas.min,
        max: replicas.max,
        targets: targets.map(|(load, per_pod)| Target { load, per_pod: f64::from(per_pod) }).to_vec(),
        scale_up: scaling(up.stabilization_window_seconds, up.tolerance, up.select_policy, &up.policies),
        scale_down: scaling(down.stabilization_window_seconds, down.tolerance, down.select_policy, &down.policies),
    }
}

fn scaling(window_s: u32, tolerance: f64, select: SelectPolicy, policies: &[ScalingPolicy]) -> Scaling {
    let policy = |policy: &ScalingPolicy| Policy {
        change: match policy.kind {
            PolicyKind::Pods => Change::Pods(policy.value),
            PolicyKind::Percent => Change::Percent(policy.value),
        },
        period_ms: u64::from(policy.period_seconds) * 1000,
    };
    Scaling {
        window_ms: u64::from(window_s) * 1000,
        tolerance,
        select: match select {
            SelectPolicy::Max => Select::Max,
            SelectPolicy::Min => Select::Min,
            SelectPolicy::Disabled => Select::Disabled,
        },
        policies: policies.iter().map(policy).collect(),
    }
}
