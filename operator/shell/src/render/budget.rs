//! The budget of a pool: how many serving Pods evictions must leave.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use throng_core::Role;

use super::Owner;

/// Renders a budget. It counts Pods that serve, and matches no Pod that another budget of the cluster matches.
#[must_use]
pub fn budget(owner: &Owner<'_>, name: &str, role: Role, min_available: u32) -> PodDisruptionBudget {
    let mut metadata = owner.meta(name);
    metadata.labels = Some(owner.labels(Some(role)));
    PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(i32::try_from(min_available).unwrap_or(i32::MAX))),
            selector: Some(LabelSelector {
                match_labels: Some(owner.selects_serving(role)),
                ..LabelSelector::default()
            }),
            // A Pod that is broken has nobody: it may always be evicted, or a bad revision would block every drain of a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
