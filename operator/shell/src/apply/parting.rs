//! A cluster that is to be deleted and cannot be read: nobody can drain it, but it must not stay for ever either.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch};
use serde_json::json;
use throng_crds::ChatroomCluster;
use throng_plan::status::Utc;

use super::{Failure, in_term, merge_params};
use crate::lease::Term;
use crate::names;
use crate::watch::ClusterKey;

/// The deadline of its drain cannot be read; so it has what a spec has that says nothing.
const DEADLINE_MS: u64 = 30 * 60 * 1000;

/// Since when it is to be deleted, if the operator's finalizer keeps it.
#[must_use]
pub fn deleted_since(metadata: &ObjectMeta) -> Option<Utc> {
    let kept = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER);
    metadata.deletion_timestamp.as_ref().filter(|_| kept).map(|time| Utc::of(time.0))
}

/// Whether it may go: somebody asks for that, or it had its time.
#[must_use]
pub fn is_due(metadata: &ObjectMeta, now: Utc) -> bool {
    let asked = metadata.annotations.as_ref().and_then(|all| all.get(names::LET_GO)).is_some_and(|text| text == "true");
    deleted_since(metadata).is_some_and(|since| asked || now.0.since(since.0) >= DEADLINE_MS)
}

/// Takes the finalizer off. What the cluster owns goes with it; its keys in etcd stay.
///
/// # Errors
/// Why it was not taken off.
pub async fn let_go(client: &Client, term: Term, key: &ClusterKey, metadata: &ObjectMeta) -> Result<(), Failure> {
    let others: Vec<&String> =
        metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != names::FINALIZER).collect();
    let resource = ApiResource::erase::<ChatroomCluster>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource);
    let patch = json!({"metadata": {
        "uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": others,
    }});
    in_term(term, api.patch(&key.name, &merge_params(), &Patch::Merge(patch))).await.map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn due(metadata: Value, minutes_later: u64) -> bool {
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
        let at = Utc::of("2026-11-22T12:00:00Z".parse().unwrap());
        is_due(&metadata, Utc(at.0 + minutes_later * 60_000))
    }

    #[test]
    fn a_cluster_that_cannot_be_read_goes_when_asked_or_after_half_an_hour_and_not_before_it_is_deleted() {
        let deleted = "2026-11-22T12:00:00Z";
        let kept = json!(["throng.dev/drain", "example.com/other"]);
        let asks = json!({"throng.dev/let-go": "true"});
        assert!(!due(json!({"finalizers": kept, "annotations": asks}), 60), "it is not deleted");
        let plain = json!({"finalizers": kept, "deletionTimestamp": deleted});
        assert!(!due(plain.clone(), 29) && due(plain, 30));
        assert!(due(json!({"finalizers": kept, "deletionTimestamp": deleted, "annotations": asks}), 0));
        let others = json!({"finalizers": ["example.com/other"], "deletionTimestamp": deleted, "annotations": asks});
        assert!(!due(others, 60), "it waits for somebody else");
    }
}
