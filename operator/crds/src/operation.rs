//! `ChatroomOperation`: what live-event staff ask for beside the spec.
//!
//! Who may create these needs no right on the cluster itself, and a manifest that is applied again cannot undo one.

#![expect(clippy::duplicated_attributes, reason = "two columns of a table may have the same type")]

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use throng_plan::status::{MAX_COUNT, OperationStatus};

use crate::cluster::maps;
use crate::span::Span;

/// What is to be done, once. It cannot be changed: create another operation instead.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "throng.dev",
    version = "v1alpha1",
    kind = "ChatroomOperation",
    namespaced,
    status = "OperationStatus",
    shortname = "cro",
    category = "throng",
    derive = "PartialEq",
    doc = "One thing to do with a ChatroomCluster, once: Rollback, Pause, Resume, Promote, Drain or Rebalance.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Action", type_ = "string", json_path = ".status.action"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Left",
        type_ = "integer",
        json_path = ".status.usersLeft",
        description = "Users that it has still to move"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Note", type_ = "string", json_path = ".spec.note", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct ChatroomOperationSpec {
    /// Name of the cluster, in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,
    /// Back to a revision before. The present one gets no users until the spec asks for other Pods than now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// Hold the rollout where it is: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Nothing>,
    /// Go on with a rollout that was held or halted: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Nothing>,
    /// End the canary now and give everybody the new revision: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Nothing>,
    /// Empty Pods and replace them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainPods>,
    /// Place all rooms and users anew, and move those whose Pod changes, idle ones first: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<Nothing>,
    /// Who asks for it and why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub note: Option<String>,
    /// How long the object is kept after its end. From 0s to 720h.
    #[serde(default = "a_day")]
    pub ttl: Span,
}

fn a_day() -> Span {
    Span::new("24h")
}

/// Nothing more to say: write `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

/// Back to a revision before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollback {
    /// Number of the revision. Without it, the last good one, which may still be warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_COUNT))]
    pub to: Option<u64>,
    /// How fast users move back: `Fast`, as fast as the fleet takes them in, or `Gentle`, as in any other drain.
    #[serde(default)]
    pub pace: Pace,
}

/// How fast users move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pace {
    /// As fast as the fleet takes them in.
    #[default]
    Fast,
    /// As in any other drain.
    Gentle,
}

/// Which Pods to empty: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainPods {
    /// Names of Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    pub pods: Option<Vec<String>>,
    /// Labels of nodes: Pods on nodes that have all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "maps::selector")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// A zone: Pods on nodes whose label `topology.kubernetes.io/zone` has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
}
