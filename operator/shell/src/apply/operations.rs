//! What became of operations, and those whose time to live is over.

use kube::api::{Api, DeleteParams, Patch, Preconditions};
use serde_json::json;
use throng_crds::{ChatroomOperation, GROUP, VERSION};
use throng_plan::status::OperationStatus;

use super::objects::is_not_found;
use super::{Failure, Hands, apply_params, in_term};
use crate::lease::Term;

impl Hands<'_> {
    /// Writes what became of an operation. Nothing if it is gone.
    pub(super) async fn write_operation(&self, name: &str, uid: &str, status: &OperationStatus) -> Result<(), Failure> {
        match write(&self.api(), self.term, name, uid, status).await {
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
    let params = DeleteParams::default().preconditions(same);
    match in_term(term, api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        Err(Failure::Kube(error)) if is_not_found(&error) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Writes the status of an operation, if it is still the one of this uid.
///
/// # Errors
/// Why it was not written.
pub async fn write(
    api: &Api<ChatroomOperation>,
    term: Term,
    name: &str,
    uid: &str,
    status: &OperationStatus,
) -> Result<ChatroomOperation, Failure> {
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "ChatroomOperation",
        "metadata": {"name": name, "uid": uid},
        "status": status,
    });
    in_term(term, api.patch_status(name, &apply_params(), &Patch::Apply(patch))).await
}
