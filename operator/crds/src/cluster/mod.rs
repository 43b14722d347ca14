//! `ChatroomCluster`: three pools of Pods, what they stand on, and how they change.
//!
//! Every doc comment of a field is its text in `kubectl explain`. Bounds stand here, rules in [`crate::rules`], defaults in
//! the `Default` of each type; an API server knows all three. [`stores`] and [`auth`] are what Pods stand on, [`pools`] and
//! [`template`] the Pods, [`scaling`] their number, [`policy`] how they change.

#![expect(clippy::duplicated_attributes, reason = "two columns of a table may have the same type")]

pub mod auth;
pub(crate) mod maps;
pub mod policy;
pub mod pools;
pub mod scaling;
pub mod stores;
pub mod template;

use auth::Auth;
use kube::CustomResource;
use policy::{Drain, Event, Rollout, Rooms};
use pools::{ChatroomPool, GatewayPool, MessagePool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stores::{Etcd, Redis};
use throng_plan::status::ClusterStatus;

/// What the cluster should be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "throng.dev",
    version = "v1alpha1",
    kind = "ChatroomCluster",
    namespaced,
    status = "ClusterStatus",
    shortname = "crc",
    category = "throng",
    derive = "PartialEq",
    doc = "A cluster of live chatrooms: three pools of Pods that scale from pressure, are emptied before they go, and roll back on command.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.ready",
        description = "Pods that serve, of those wanted"
    ),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users", description = "Users connected"),
    printcolumn(
        name = "Pressure",
        type_ = "string",
        json_path = ".status.pressure",
        description = "Of the pool that has most of it"
    ),
    printcolumn(
        name = "Draining",
        type_ = "integer",
        json_path = ".status.draining",
        description = "Pods that are being emptied"
    ),
    printcolumn(
        name = "Revision",
        type_ = "integer",
        json_path = ".status.revision",
        description = "The revision that has the users"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.why[0]",
        priority = 1,
        description = "Why the cluster is as it is"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ChatroomClusterSpec {
    /// Image of all Pods, with a tag or a digest, such as `throng:0.1.0`. A change makes a new revision.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// When nodes pull the image: `Always`, `IfNotPresent` or `Never`.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// The Redis that rooms are written to.
    pub redis: Redis,
    /// The etcd that Pods find each other by, and that says who owns what.
    pub etcd: Etcd,
    /// Who may connect, and who may use the server API.
    pub auth: Auth,
    /// Pool of gateways: they hold the connections of clients.
    #[serde(default)]
    pub gateway: GatewayPool,
    /// Pool of chatroom Pods: they own the rooms and order what is said.
    #[serde(default)]
    pub chatroom: ChatroomPool,
    /// Pool of message Pods: they relay rooms to gateways and are the home of users.
    #[serde(default)]
    pub message: MessagePool,
    /// Policy of rooms. Running Pods follow it within seconds, without a restart.
    #[serde(default)]
    pub rooms: Rooms,
    /// How Pods are emptied before they go.
    #[serde(default)]
    pub drain: Drain,
    /// How a new revision takes over, and what halts it.
    #[serde(default)]
    pub rollout: Rollout,
    /// When many people are expected: Pods stand ready before they come. Several at a time combine by the largest floor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub events: Vec<Event>,
    /// The operator goes on to report, and changes nothing. Pods run on; drains that are on their way go on inside the Pods.
    #[serde(default)]
    pub paused: bool,
}

/// When nodes pull an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At each start of a container.
    Always,
    /// If the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// A Secret in the namespace of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
