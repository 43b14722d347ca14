//! The three pools.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::maps;
use super::scaling::{Behavior, Replicas};
use super::template::Template;

/// Pool of gateways: they hold the connections of clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayPool {
    /// How many Pods it may have.
    pub replicas: Replicas,
    /// What one Pod should carry at most. The pool grows so that the highest of these is met.
    pub pressure: GatewayPressure,
    /// How fast it grows and shrinks.
    pub behavior: Behavior,
    /// The Service that clients reach it by.
    pub service: GatewayService,
    /// What its Pods are like. A change makes a new revision.
    pub template: Template,
    /// Settings of the role by their key in the configuration reference, such as `limits.frames_per_s: "50"`. A change makes
    /// a new revision; an unknown key stops its Pods at the start, and with them the rollout.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::settings")]
    pub settings: BTreeMap<String, String>,
}

/// What one gateway should carry at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayPressure {
    /// Connections.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: u32,
    /// Traffic to clients, in megabits a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub egress_mbps: u32,
    /// Use of the CPU that it may use, in percent: of its CPU limit, or without one of the cores of its node.
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: u32,
}

impl Default for GatewayPressure {
    fn default() -> Self {
        Self { connections: 40_000, egress_mbps: 800, cpu_percent: 70 }
    }
}

/// Pool of chatroom Pods: they own the rooms and order what is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatroomPool {
    /// How many Pods it may have.
    pub replicas: Replicas,
    /// What one Pod should carry at most. The pool grows so that the highest of these is met.
    pub pressure: ChatroomPressure,
    /// How fast it grows and shrinks.
    pub behavior: Behavior,
    /// What its Pods are like. A change makes a new revision.
    pub template: Template,
    /// Settings of the role by their key in the configuration reference, such as `keep_lossless_ms: "600000"`. A change makes a
    /// new revision; an unknown key stops its Pods at the start, and with them the rollout.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::settings")]
    pub settings: BTreeMap<String, String>,
}

/// What one chatroom Pod should carry at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatroomPressure {
    /// Members of all its rooms.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub members: u32,
    /// Joins and leaves a second.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub joins_per_second: u32,
    /// Use of the CPU that it may use, in percent: of its CPU limit, but at most of the one core that it has work for.
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: u32,
}

impl Default for ChatroomPressure {
    fn default() -> Self {
        Self { members: 1_500_000, joins_per_second: 20_000, cpu_percent: 70 }
    }
}

/// Pool of message Pods: they relay rooms to gateways and are the home of users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MessagePool {
    /// How many Pods it may have.
    pub replicas: Replicas,
    /// What one Pod should carry at most. The pool grows so that the highest of these is met.
    pub pressure: MessagePressure,
    /// How fast it grows and shrinks.
    pub behavior: Behavior,
    /// What its Pods are like. A change makes a new revision.
    pub template: Template,
    /// Settings of the role by their key in the configuration reference, such as `sessions: newest_wins`. A change makes a new
    /// revision; an unknown key stops its Pods at the start, and with them the rollout.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::settings")]
    pub settings: BTreeMap<String, String>,
}

/// What one message Pod should carry at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MessagePressure {
    /// Users whose home it is.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub users: u32,
    /// Messages a second that it passes on, counted once for each client that gets one.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub deliveries_per_second: u32,
    /// Use of the CPU that it may use, in percent: of its CPU limit, but at most of the one core that it has work for.
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: u32,
}

impl Default for MessagePressure {
    fn default() -> Self {
        Self { users: 500_000, deliveries_per_second: 2_000_000, cpu_percent: 70 }
    }
}

/// The Service that clients reach gateways by. It selects the Pods that serve, and no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayService {
    /// `ClusterIP` (inside the cluster, behind an Ingress or a Gateway), `NodePort` or `LoadBalancer`.
    #[serde(rename = "type")]
    pub kind: ServiceKind,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Port on every node, of the range that the API server was started with: 30000-32767 where nobody chose another. Without
    /// it Kubernetes chooses one. Not for `ClusterIP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<u16>,
    /// Which load balancer provides it. Only for `LoadBalancer`; cannot be set, changed or removed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Addresses that may connect, such as `203.0.113.0/24`. Only for `LoadBalancer`. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub load_balancer_source_ranges: Vec<String>,
    /// `Local` keeps the addresses of clients and one hop less; `Cluster` spreads connections over all nodes.
    pub external_traffic_policy: TrafficPolicy,
    /// Annotations of the Service, for load balancers that read them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::labels")]
    pub labels: BTreeMap<String, String>,
}

impl Default for GatewayService {
    fn default() -> Self {
        Self {
            kind: ServiceKind::ClusterIP,
            port: 80,
            node_port: None,
            load_balancer_class: None,
            load_balancer_source_ranges: Vec::new(),
            external_traffic_policy: TrafficPolicy::Local,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceKind {
    /// Inside the cluster.
    ClusterIP,
    /// On a port of every node.
    NodePort,
    /// By a load balancer from outside.
    LoadBalancer,
}

/// Where traffic from outside goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficPolicy {
    /// To Pods on the node it arrives at.
    Local,
    /// To any Pod.
    Cluster,
}
