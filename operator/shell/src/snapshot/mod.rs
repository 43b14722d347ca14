//! From what was seen to the world of the planner. Pure: the same sight gives the same world.
//!
//! Nothing that an API server lets through makes a conversion fail: what is missing has a careful meaning, what is strange
//! is left out and counted. [`pod`], [`node`] and [`owned`] convert objects, of those that are the cluster's ([`whose`]); what etcd says, `throng_runtime::registry` does.

pub mod node;
pub mod owned;
pub mod pod;
mod whose;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use throng_crds::validate::{self, Validated};
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_plan::World;
use throng_plan::status::{Condition, Utc, set_condition};
use throng_plan::world::{Cluster, Sample};
use throng_registry::View;
use throng_runtime::registry::{self, Activities};

pub use whose::{Whose, owners, whose};

use crate::names;
use crate::render::Owner;

/// Everything that was seen of one cluster at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The instant.
    pub now: Utc,
    /// The object that asks for the cluster.
    pub cluster: &'a ChatroomCluster,
    /// What it asks for, checked.
    pub validated: &'a Validated,
    /// Epoch of this leader; 0 while none could be taken.
    pub leader_epoch: u64,
    /// Objects of the cluster.
    pub objects: &'a Objects,
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
    /// Operations of the cluster.
    pub operations: &'a [Arc<ChatroomOperation>],
    /// The Secret with the keys of the cluster is there.
    pub has_keys: bool,
    /// What etcd said last.
    pub view: Option<&'a View>,
    /// What slots carry, as their owners said last.
    pub activities: &'a Activities,
    /// The latest sample of each Pod, by uid.
    pub samples: &'a BTreeMap<String, Sample>,
    /// Conditions that the shell states itself.
    pub conditions: &'a [Condition],
}

/// Objects of one cluster, those that lost its label among them.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Its Pods.
    pub pods: Vec<Arc<Pod>>,
    /// Its revisions.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Its Services.
    pub services: Vec<Arc<Service>>,
    /// Its network policies.
    pub policies: Vec<Arc<NetworkPolicy>>,
    /// Its budgets.
    pub budgets: Vec<Arc<PodDisruptionBudget>>,
}

/// Takes the snapshot.
#[must_use]
pub fn world(sight: &Sight<'_>) -> World {
    let metadata = &sight.cluster.metadata;
    let owner = owner(sight.cluster);
    let mine = |metadata: &ObjectMeta| whose(&owner, metadata).is_ours();
    let objects = sight.objects;
    let nodes: BTreeMap<_, _> = sight.nodes.iter().filter_map(|node| node::node(node, owner.spec)).collect();
    let pods = objects.pods.iter().filter(|pod| mine(&pod.metadata));
    let pods = pods.filter_map(|pod| pod::pod(pod, owner.name, &nodes)).collect();
    let revisions = objects.revisions.iter().filter(|revision| mine(&revision.metadata));
    let revisions = revisions.filter_map(|revision| owned::revision(&owner, revision)).collect();
    let edited = owned::edited(&owner, objects, &revisions);
    let operations = sight.operations.iter().filter_map(|operation| validate::operation(operation).ok());
    let mut status = sight.cluster.status.clone().unwrap_or_default();
    for condition in sight.conditions {
        set_condition(&mut status.conditions, condition.clone());
    }
    World {
        now: sight.now,
        cluster: Cluster {
            name: owner.name.to_owned(),
            generation: metadata.generation.unwrap_or(0),
            deleted_at: metadata.deletion_timestamp.as_ref().map(instant),
            finalizer: metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER),
            let_go: annotation(metadata, names::LET_GO) == Some("true"),
        },
        spec: sight.validated.spec.clone(),
        leader_epoch: sight.leader_epoch,
        status,
        revisions,
        pods,
        nodes,
        registry: sight
            .view
            .filter(|view| view.health.is_healthy())
            .map(|view| registry::registry(view, sight.activities)),
        samples: sight.samples.clone(),
        operations: operations.map(|operation| (operation.name.clone(), operation)).collect(),
        owned: owned::owned(&owner, objects, sight.has_keys),
        edited,
        rendered: owned::rendered(&owner),
    }
}

/// Whose the objects of a cluster are.
#[must_use]
pub fn owner(cluster: &ChatroomCluster) -> Owner<'_> {
    let metadata = &cluster.metadata;
    Owner {
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        name: metadata.name.as_deref().unwrap_or_default(),
        uid: metadata.uid.as_deref().unwrap_or_default(),
        spec: &cluster.spec,
    }
}

fn instant(time: &Time) -> Utc {
    Utc::of(time.0)
}

/// A time that may be missing: the epoch.
fn instant_or_epoch(time: Option<&Time>) -> Utc {
    Utc::of(time.map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

fn label<'m>(metadata: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn annotation<'m>(metadata: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;
