//! Where a Pod runs: what people ask for, and the zone that the planner chose.

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use throng_core::Role;
use throng_crds::cluster::template::{Spread, Unsatisfiable};

use super::Owner;
use crate::names;

/// A Pod on a node that does not answer is given up by Kubernetes after so long; five minutes if nobody says so.
const GIVE_UP_S: i64 = 10;
/// The zone of the planner counts more than anything else that is preferred.
const MOST: i32 = 100;

/// Affinity of the template, and the zone as a preference: a zone without room must not stop a Pod.
pub(super) fn affinity(given: &Affinity, zone: &str) -> Option<Affinity> {
    let mut affinity = given.clone();
    if !zone.is_empty() {
        let requirement = NodeSelectorRequirement {
            key: names::NODE_ZONE.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![zone.to_owned()]),
        };
        let preference = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
        let node = affinity.node_affinity.get_or_insert_default();
        let preferred = node.preferred_during_scheduling_ignored_during_execution.get_or_insert_default();
        preferred.push(PreferredSchedulingTerm { preference, weight: MOST });
    }
    (affinity != Affinity::default()).then_some(affinity)
}

/// Tolerations of the template, and of nodes that do not answer, for a short time.
pub(super) fn tolerations(given: &[Toleration]) -> Vec<Toleration> {
    let own = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(|key| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(GIVE_UP_S),
        value: None,
    });
    let covered = |own: &Toleration| given.iter().any(|given| given.key == own.key && given.effect == own.effect);
    given.iter().cloned().chain(own.into_iter().filter(|own| !covered(own))).collect()
}

/// Spread of the template, over the Pods of the pool.
pub(super) fn spread(owner: &Owner<'_>, role: Role, given: &[Spread]) -> Option<Vec<TopologySpreadConstraint>> {
    let selector = LabelSelector { match_labels: Some(owner.selects(role)), match_expressions: None };
    let constraint = |spread: &Spread| TopologySpreadConstraint {
        topology_key: spread.topology_key.clone(),
        max_skew: i32::try_from(spread.max_skew).unwrap_or(i32::MAX),
        when_unsatisfiable: match spread.when_unsatisfiable {
            Unsatisfiable::ScheduleAnyway => "ScheduleAnyway".to_owned(),
            Unsatisfiable::DoNotSchedule => "DoNotSchedule".to_owned(),
        },
        label_selector: Some(selector.clone()),
        ..TopologySpreadConstraint::default()
    };
    (!given.is_empty()).then(|| given.iter().map(constraint).collect())
}
