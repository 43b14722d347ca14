//! Whose an object is that has a name of a cluster's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use throng_crds::GROUP;

use super::label;
use crate::names;
use crate::render::Owner;

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The cluster's, which controls it.
    Ours,
    /// Nobody controls it, and its labels say that it was made for a cluster of this name: somebody took its owner away, or
    /// left it behind on purpose (`kubectl delete --cascade=orphan`). As with the workloads of Kubernetes, it is taken back.
    Released,
    /// That of an earlier cluster of the same name: it goes by itself.
    Earlier,
    /// Somebody else's, who is named if one controls it: never touched.
    Foreign(Option<String>),
}

impl Whose {
    /// Whether it counts as the cluster's, and may be written.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Ours | Self::Released)
    }
}

/// Whose an object is, by what controls it; by its labels if nothing does.
#[must_use]
pub fn whose(owner: &Owner<'_>, metadata: &ObjectMeta) -> Whose {
    let says = |key, value| label(metadata, key) == Some(value);
    match controller(metadata) {
        Some(by) if by.uid == owner.uid => Whose::Ours,
        Some(by) if is_cluster(by) && by.name == owner.name => Whose::Earlier,
        Some(by) => Whose::Foreign(Some(format!("{} {}", by.kind, by.name))),
        None if says(names::CLUSTER, owner.name) && says(names::MANAGED_BY, names::MANAGER) => Whose::Released,
        None => Whose::Foreign(None),
    }
}

/// Owners of an object as they should be: the cluster, and beside it whoever does not control it.
#[must_use]
pub fn owners(owner: &Owner<'_>, metadata: &ObjectMeta) -> Vec<OwnerReference> {
    let others = metadata.owner_references.iter().flatten();
    let others = others.filter(|one| one.controller != Some(true) && one.uid != owner.uid).cloned();
    others.chain([owner.reference()]).collect()
}

fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn is_cluster(owner: &OwnerReference) -> bool {
    owner.kind == "ChatroomCluster" && owner.api_version.split('/').next() == Some(GROUP)
}
