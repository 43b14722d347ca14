//! The status of a cluster: what people see and what the planner remembers.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use throng_crds::{ChatroomCluster, GROUP, VERSION};
use throng_plan::status::{ClusterStatus, Condition};

use super::{Failure, apply_params, in_term};
use crate::lease::Term;
use crate::names;
use crate::watch::ClusterKey;

/// Writes a status, if the cluster is still as it was seen: what another leader remembered is never written over.
///
/// # Errors
/// Why it was not written.
pub async fn write(
    api: &Api<ChatroomCluster>,
    term: Term,
    cluster: &ChatroomCluster,
    status: &ClusterStatus,
) -> Result<ChatroomCluster, Failure> {
    let metadata = &cluster.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "ChatroomCluster",
        "metadata": {"name": name, "uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": status,
    });
    in_term(term, api.patch_status(name, &apply_params(), &Patch::Apply(patch))).await
}

/// Writes one condition of a cluster that cannot be read, as a manager of its own: the rest of its status stays.
///
/// # Errors
/// Why it was not written.
pub async fn write_condition(
    client: &Client,
    term: Term,
    key: &ClusterKey,
    condition: &Condition,
) -> Result<(), Failure> {
    let resource = ApiResource::erase::<ChatroomCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource);
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "ChatroomCluster",
        "metadata": {"name": key.name},
        "status": {"conditions": [condition]},
    });
    let params = PatchParams::apply(&format!("{}/unreadable", names::MANAGER)).force();
    in_term(term, api.patch_status(&key.name, &params, &Patch::Apply(patch))).await.map(drop)
}
