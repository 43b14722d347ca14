//! What the Pods of a pool are like: what platform teams need to set, and nothing that the operator must decide.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretRef, maps};

/// What the Pods of a pool are like. The operator adds what *restricted* Pod security asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Template {
    /// CPU and memory of the container, as in `kubectl explain pod.spec.containers.resources`.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the Pods tolerate, as in `kubectl explain pod.spec.tolerations`. The operator adds those of unreachable nodes, for 10 seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// Rules of scheduling, as in `kubectl explain pod.spec.affinity`.
    #[serde(skip_serializing_if = "is_default")]
    pub affinity: Affinity,
    /// How Pods of the pool are spread. At first over zones and over nodes, as well as it goes.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["topologyKey"]))]
    pub topology_spread: Vec<Spread>,
    /// Name of their `PriorityClass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets to pull the image with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretRef>,
    /// Labels of the Pods, beside those of the operator.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "maps::annotations")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Template {
    fn default() -> Self {
        Self {
            resources: ResourceRequirements::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: Affinity::default(),
            // Whoever names one spread loses those that the scheduler has on its own, over nodes among them.
            topology_spread: ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(Spread::over).into(),
            priority_class_name: None,
            image_pull_secrets: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How Pods are spread over the values of one node label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// The node label, such as `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// By how many Pods two values may differ.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: u32,
    /// What to do with a Pod that would differ more: `ScheduleAnyway` or `DoNotSchedule`.
    #[serde(default)]
    pub when_unsatisfiable: Unsatisfiable,
}

impl Spread {
    /// As even as it goes over the values of a node label.
    #[must_use]
    pub fn over(label: &str) -> Self {
        Self { topology_key: label.into(), max_skew: 1, when_unsatisfiable: Unsatisfiable::ScheduleAnyway }
    }
}

const fn one() -> u32 {
    1
}

/// What to do with a Pod that cannot be spread well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unsatisfiable {
    /// Schedule it all the same.
    #[default]
    ScheduleAnyway,
    /// Let it wait.
    DoNotSchedule,
}
