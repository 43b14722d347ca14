//! What was read of one cluster, at one instant: all that an overview is made of.

use k8s_openapi::api::core::v1::{Node, Pod};
use throng_crds::{ChatroomCluster, ChatroomOperation};
use throng_plan::status::Utc;

/// Objects of a kind; or, in words for people, why they could not be read.
pub type Readable<T> = Result<Vec<T>, String>;

/// What was read of one cluster.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub now: Utc,
    /// The cluster as stored.
    pub cluster: ChatroomCluster,
    /// Objects with its label.
    pub pods: Readable<Pod>,
    /// Operations of its namespace that name it.
    pub operations: Readable<ChatroomOperation>,
    /// All nodes: they say in which zone a Pod runs.
    pub nodes: Readable<Node>,
}

impl Seen {
    /// Of everything in a namespace, what belongs to `cluster`.
    #[must_use]
    pub fn of(
        cluster: &ChatroomCluster,
        pods: &Readable<Pod>,
        operations: &Readable<ChatroomOperation>,
        nodes: &Readable<Node>,
        now: Utc,
    ) -> Self {
        let metadata = &cluster.metadata;
        let labelled = |pod: &&Pod| {
            let labels = pod.metadata.labels.as_ref();
            pod.metadata.namespace == metadata.namespace
                && labels.and_then(|labels| labels.get(throng_operator::names::CLUSTER)) == metadata.name.as_ref()
        };
        let named = |operation: &&ChatroomOperation| {
            operation.metadata.namespace == metadata.namespace
                && Some(&operation.spec.cluster) == metadata.name.as_ref()
        };
        Self {
            now,
            cluster: cluster.clone(),
            pods: pods.as_ref().map(|pods| pods.iter().filter(labelled).cloned().collect()).map_err(Clone::clone),
            operations: operations
                .as_ref()
                .map(|operations| operations.iter().filter(named).cloned().collect())
                .map_err(Clone::clone),
            nodes: nodes.clone(),
        }
    }
}
