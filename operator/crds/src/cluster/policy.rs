//! How a cluster behaves and changes: rooms, drains, rollouts, events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::span::Span;

/// Policy of rooms. Running Pods follow it within seconds, without a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rooms {
    /// What rooms take in.
    pub upstream: Upstream,
    /// What clients get.
    pub downstream: Downstream,
    /// When users who are offline leave their rooms.
    pub offline: Offline,
    /// A room without members and messages ends after so long. `0s`: never.
    pub idle: Span,
    /// Message types that travel on lane 1, which is not sampled: gifts, for example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub protected_types: Vec<String>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self {
            upstream: Upstream::default(),
            downstream: Downstream::default(),
            offline: Offline::default(),
            idle: Span::new("1h"),
            protected_types: Vec::new(),
        }
    }
}

/// What rooms take in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Upstream {
    /// Messages a second of a room, on lanes 2-3. The server API may set another number for a single room.
    #[schemars(range(min = 1, max = 10_000))]
    pub messages_per_second: u32,
    /// Messages a second of one user in one room. 0: no limit.
    #[schemars(range(min = 0, max = 10_000))]
    pub user_messages_per_second: u32,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { messages_per_second: 200, user_messages_per_second: 10 }
    }
}

/// What clients get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Downstream {
    /// Messages a second of lanes 2-3 for a client that asks for no other number. What it does not get is declared to it.
    #[schemars(range(min = 1, max = 10_000))]
    pub messages_per_second: u32,
    /// The most that a client may ask for.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_messages_per_second: u32,
}

impl Default for Downstream {
    fn default() -> Self {
        Self { messages_per_second: 20, max_messages_per_second: 400 }
    }
}

/// When users who are offline leave their rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Offline {
    /// After so many seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub after_seconds: u32,
    /// Or after so many missed messages, but not before half that time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub after_messages: u32,
}

impl Default for Offline {
    fn default() -> Self {
        Self { after_seconds: 30, after_messages: 30 }
    }
}

/// How Pods are emptied before they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Drain {
    /// Longest time from the start of a drain to the end of the Pod; users who are still on it then are cut off. From 10s to
    /// 24h. Load balancers should wait as long before they cut connections. A Pod keeps the deadline it was started with
    /// where Kubernetes ends it: `terminationGracePeriodSeconds` is 60 seconds more.
    pub deadline: Span,
    /// Most users moved in a second: the gateways that the operator drains at one time share it. One that others end, by an
    /// eviction for example, keeps to it by itself. Without it, as many as the other gateways can take in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub users_per_second: Option<u32>,
    /// Keys of node taints that start a drain of the Pods on the node before anything evicts them.
    #[schemars(length(max = 32), inner(length(min = 1, max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub taints: Vec<String>,
}

impl Default for Drain {
    fn default() -> Self {
        let taints = ["node.kubernetes.io/unschedulable", "karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler"];
        Self { deadline: Span::new("30m"), users_per_second: None, taints: taints.map(String::from).to_vec() }
    }
}

/// How a new revision takes over. The three pools are one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Shares of users that get the new revision, in percent and rising, one step each, such as `[5, 25]`. After the last one
    /// everybody gets it. Empty: no canary.
    #[schemars(length(max = 10), inner(range(min = 1, max = 99)))]
    pub canary_percent: Vec<u8>,
    /// How long each step is watched before the next one.
    pub hold: Span,
    /// A new revision whose Pods are not ready after so long is halted. From 10s on.
    pub progress_deadline: Span,
    /// How long the last good revision stays warm after a rollout, so that a rollback takes seconds. `0s`: not at all.
    pub warm_rollback: Span,
    /// How many Pods of each pool of the last good revision stay warm.
    #[schemars(range(min = 1, max = 100))]
    pub warm_floor: u32,
    /// What halts a rollout on its own. A halted one moves no further users; it goes on by a `Resume`, a new spec or a `Rollback`.
    pub halt_when: HaltWhen,
    /// How many revisions are remembered.
    #[schemars(range(min = 2, max = 50))]
    pub history: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            canary_percent: vec![5, 25],
            hold: Span::new("5m"),
            progress_deadline: Span::new("10m"),
            warm_rollback: Span::new("1h"),
            warm_floor: 1,
            halt_when: HaltWhen::default(),
            history: 10,
        }
    }
}

/// What halts a rollout on its own. One of them is enough. 0 turns one off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HaltWhen {
    /// Share of failed requests on the new revision, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub error_percent: u8,
    /// Time from a message's order to its delivery on the new revision, p99, in milliseconds.
    #[schemars(range(min = 0, max = 600_000))]
    pub p99_ms: u32,
    /// Restarts of its containers.
    #[schemars(range(min = 0, max = 1000))]
    pub restarts: u32,
}

impl Default for HaltWhen {
    fn default() -> Self {
        Self { error_percent: 1, p99_ms: 500, restarts: 1 }
    }
}

/// When many people are expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// When people are expected: local time in `timeZone` without an offset, such as `2026-12-31T20:00:00`. A time that
    /// daylight saving skips means the later instant, one that it repeats the earlier. The status shows it in UTC.
    #[schemars(length(min = 1, max = 64))]
    pub start: String,
    /// Name of the time zone, such as `Asia/Shanghai` or `UTC`. An unknown one shows as a condition.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// How long before `start` the floor begins to count, so that nodes and Pods are there in time.
    #[serde(default = "quarter_of_an_hour")]
    pub ramp: Span,
    /// How long after `start` the floor ends. Pods then go as pressure lets them.
    pub hold: Span,
    /// Fewest Pods while it lasts, at most `replicas.max` of the pool.
    pub floor: Floor,
}

fn quarter_of_an_hour() -> Span {
    Span::new("15m")
}

/// Fewest Pods of each pool while an event lasts. A pool that is not named has no floor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Floor {
    /// Gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5000))]
    pub gateway: Option<u32>,
    /// Chatroom Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5000))]
    pub chatroom: Option<u32>,
    /// Message Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5000))]
    pub message: Option<u32>,
}
