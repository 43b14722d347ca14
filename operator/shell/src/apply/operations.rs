//! What became of operations, and those whose time to live is over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, Preconditions};
use serde_json::{Value, json};
use throng_crds::{ChatroomOperation, GROUP, VERSION};
use throng_plan::status::OperationStatus;

use super::objects::is_not_found;
use super::{Failure, Hands, apply_params, delete_same, in_term};
use crate::lease::Term;
use crate::watch::ClusterKey;

impl Hands<'_> {
    /// Writes what became of an operation. Nothing if it is gone.
    pub(super) async fn write_operation(&self, name: &str, uid: &str, status: &OperationStatus) -> Result<(), Failure> {
        let key = ClusterKey { namespace: self.owner().namespace.to_owned(), name: name.to_owned() };
        let seen = self.watches.operation(&key).filter(|seen| seen.metadata.uid.as_deref() == Some(uid));
        let Some(seen) = seen else { return Ok(()) };
        match write(&self.api(), self.term, &seen, status).await {
            Ok(written) => {
                self.watches.operations.learn(written);
                Ok(())
            }
            Err(Failure::Kube(error)) if is_not_found(&error) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes an operation, if it is still the same.
    pub(super) async fn delete_operation(&self, name: &str, uid: &str) -> Result<(), Failure> {
        delete(&self.api(), self.term, name, uid).await
    }
}

/// Deletes an operation, if it is still the one of this uid.
///
/// # Errors
/// Why it was not deleted.
pub async fn delete(api: &Api<ChatroomOperation>, term: Term, name: &str, uid: &str) -> Result<(), Failure> {
    let same = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    delete_same(api, term, name, same, DeleteParams::default()).await.map(drop)
}

/// Writes the status of an operation, if it is still as it was seen: one that ended is never written to be on its way by a
/// request that comes late.
///
/// # Errors
/// Why it was not written.
pub async fn write(
    api: &Api<ChatroomOperation>,
    term: Term,
    seen: &ChatroomOperation,
    status: &OperationStatus,
) -> Result<ChatroomOperation, Failure> {
    let metadata = &seen.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let same = json!({"name": name, "uid": metadata.uid, "resourceVersion": metadata.resource_version});
    in_term(term, api.patch_status(name, &apply_params(), &patch(&same, status))).await
}

/// Which operation is meant.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid: another of the same name is not meant.
    pub uid: &'a str,
}

impl<'a> Named<'a> {
    /// That of an object; none if it lacks one of the three.
    #[must_use]
    pub fn of(metadata: &'a ObjectMeta) -> Option<Self> {
        let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
        Some(Self { namespace, name, uid: metadata.uid.as_deref()? })
    }
}

/// Writes the status of an operation that may be such as cannot be read.
///
/// # Errors
/// Why it was not written.
pub async fn refuse(
    client: &Client,
    term: Term,
    named: &Named<'_>,
    status: &OperationStatus,
) -> Result<DynamicObject, Failure> {
    let resource = ApiResource::erase::<ChatroomOperation>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), named.namespace, &resource);
    let same = json!({"name": named.name, "uid": named.uid});
    in_term(term, api.patch_status(named.name, &apply_params(), &patch(&same, status))).await
}

fn patch(metadata: &Value, status: &OperationStatus) -> Patch<Value> {
    Patch::Apply(json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "ChatroomOperation",
        "metadata": metadata,
        "status": status,
    }))
}
