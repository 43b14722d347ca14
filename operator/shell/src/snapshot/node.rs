//! Nodes as the planner sees them.

use k8s_openapi::api::core::v1 as k8s;
use throng_crds::ChatroomClusterSpec;
use throng_plan::pools::Pools;
use throng_plan::world::Node;

use super::{instant_or_epoch, label};
use crate::names;
use crate::render::{place, pod};

/// A node with its name, as it is for the Pods of a spec; none if it has no name.
#[must_use]
pub fn node(node: &k8s::Node, spec: &ChatroomClusterSpec) -> Option<(String, Node)> {
    let metadata = &node.metadata;
    let said = node.spec.as_ref();
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    // A node that never said anything is as old as it is silent.
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref()).or(metadata.creation_timestamp.as_ref());
    let taints = said.iter().flat_map(|said| said.taints.iter().flatten()).map(|taint| taint.key.clone());
    let converted = Node {
        zone: label(metadata, names::NODE_ZONE).unwrap_or_default().to_owned(),
        labels: metadata.labels.clone().unwrap_or_default(),
        cordoned: said.and_then(|said| said.unschedulable).unwrap_or(false),
        taints: taints.collect(),
        refuses: Pools::from_fn(|role| !place::takes(node, pod::template(spec, role))),
        ready: ready.is_some_and(|ready| ready.status == "True"),
        since: instant_or_epoch(since),
    };
    Some((metadata.name.clone()?, converted))
}
