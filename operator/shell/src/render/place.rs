//! Where a Pod runs: what people ask for, and the zone that the planner chose.

use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm, Taint, Toleration,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use throng_core::Role;
use throng_crds::cluster::template::{Spread, Template, Unsatisfiable};

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

/// Whether the scheduler may put Pods of a template on a node, by its labels and taints: room and affinity are not asked for.
pub(crate) fn takes(node: &Node, template: &Template) -> bool {
    let labels = node.metadata.labels.as_ref();
    let selected = template
        .node_selector
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)).is_some_and(|has| has == value));
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let tolerations = tolerations(&template.tolerations);
    selected && taints.all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)) || !repels(taint))
}

/// Whether a taint keeps Pods away; others only make a node less liked.
fn repels(taint: &Taint) -> bool {
    ["NoSchedule", "NoExecute"].contains(&taint.effect.as_str())
}

/// As the scheduler has it: what a toleration leaves out, it does not look at.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let whatever = |wanted: Option<&String>, is: &str| wanted.is_none_or(|wanted| wanted.is_empty() || wanted == is);
    let (given, has) = (toleration.value.as_deref().unwrap_or_default(), taint.value.as_deref().unwrap_or_default());
    let value = toleration.operator.as_deref() == Some("Exists") || given == has;
    value && whatever(toleration.key.as_ref(), &taint.key) && whatever(toleration.effect.as_ref(), &taint.effect)
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
