//! Objects beside Pods, and the finalizer.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{DeleteParams, Patch, Preconditions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use throng_core::Role;
use throng_plan::world::Object;

use super::taken::mended;
use super::{Failure, Hands, delete_same, merge_params, post};
use crate::names;
use crate::render::{Owner, budget, keys, policy, revision, service};
use crate::snapshot::whose;
use crate::watch::ClusterKey;

impl Hands<'_> {
    /// Writes an object as it should be.
    pub(super) async fn apply(&self, object: &Object) -> Result<(), Failure> {
        let owner = self.owner();
        match object {
            Object::PodKeySecret { name } => {
                let random = [rand::random(), rand::random()];
                // One that somebody put back is as good: it is read and told of by its name, and never written.
                self.create(&keys::secret(&owner, name, random)).await.map(|_: Option<Secret>| ())
            }
            Object::ControllerRevision { name, number, hash } => {
                // What a revision holds cannot be changed, so it is made or it is there.
                let revision = revision::revision(&owner, name, *number, hash);
                let made = match self.create(&revision).await? {
                    None => self.take_back(name, &revision.metadata).await?,
                    made => made,
                };
                if let Some(made) = made {
                    self.watches.revisions.learn(made);
                }
                Ok(())
            }
            Object::NetworkPolicy { name, .. } => {
                let role = Role::ALL.into_iter().find(|role| names::of_role(owner.name, *role) == *name);
                let role = role.ok_or_else(|| Failure::Stale(format!("no role has a network policy {name}")))?;
                let policy = policy::policy(&owner, role);
                let seen = seen(&self.objects.policies, name);
                self.watches.policies.learn(self.write(name, &policy, seen).await?);
                Ok(())
            }
            Object::Service { name, .. } => {
                let seen = seen(&self.objects.services, name);
                self.watches.services.learn(self.write(name, &service::gateway(&owner), seen).await?);
                Ok(())
            }
            Object::PodDisruptionBudget { name, role, min_available } => {
                let budget = budget::budget(&owner, name, *role, *min_available);
                let seen = seen(&self.objects.budgets, name);
                self.watches.budgets.learn(self.write(name, &budget, seen).await?);
                Ok(())
            }
        }
    }

    /// Deletes a stored revision, if it is still the one that was seen.
    pub(super) async fn delete_revision(&self, name: &str, number: u64) -> Result<(), Failure> {
        let owner = self.owner();
        let stored = self.watches.objects_of(&self.key()).revisions;
        let seen = stored.iter().find(|stored| {
            stored.metadata.name.as_deref() == Some(name)
                && revision::made_as(&owner, stored).is_some_and(|(of, _)| of == number)
                && whose(&owner, &stored.metadata).is_ours()
        });
        let Some(seen) = seen else { return Ok(()) };
        let same = Preconditions { uid: seen.metadata.uid.clone(), resource_version: None };
        let api = self.api::<ControllerRevision>();
        delete_same(&api, self.term, name, same, DeleteParams::default()).await.map(drop)
    }

    /// Writes on a stored revision the label, the number and the hash that it was made with, if it is still the same.
    pub(super) async fn restore_revision(&self, name: &str, uid: &str) -> Result<(), Failure> {
        let owner = self.owner();
        let mut stored = self.objects.revisions.iter();
        let stored = stored.find(|stored| stored.metadata.uid.as_deref() == Some(uid));
        let made = stored.and_then(|stored| Some((stored, revision::made_as(&owner, stored)?)));
        let Some((stored, (number, hash))) = made else { return Ok(()) };
        let mut metadata = mended(&owner, &stored.metadata, owner.labels(None));
        metadata.insert("annotations".to_owned(), json!({names::SHAPE: hash.as_str()}));
        let patch = Patch::Merge(json!({"metadata": metadata, "revision": number}));
        match self.call(self.api::<ControllerRevision>().patch(name, &merge_params(), &patch)).await {
            Ok(written) => {
                self.watches.revisions.learn(written);
                Ok(())
            }
            Err(Failure::Kube(error)) if is_not_found(&error) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Makes an object; none if there is one of its name.
    async fn create<K>(&self, object: &K) -> Result<Option<K>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        match self.call(self.api::<K>().create(&post(), object)).await {
            Ok(made) => Ok(Some(made)),
            Err(failure) if already_exists(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Puts the finalizer on the cluster, or takes it off; only if nobody has written the cluster since it was seen.
    pub(super) async fn set_finalizer(&self, on: bool) -> Result<(), Failure> {
        let metadata = &self.cluster.metadata;
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|finalizer| finalizer != names::FINALIZER);
        if on {
            finalizers.push(names::FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {
            "uid": metadata.uid, "resourceVersion": self.version(), "finalizers": finalizers,
        }});
        let name = self.owner().name;
        match self.call(self.api().patch(name, &merge_params(), &Patch::Merge(patch))).await {
            Ok(written) => {
                self.watches.clusters.learn(written);
                Ok(())
            }
            Err(Failure::Kube(error)) if !on && is_not_found(&error) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn key(&self) -> ClusterKey {
        let Owner { namespace, name, .. } = self.owner();
        ClusterKey { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Version of the cluster as it is known now: its status may have been written since it was planned for.
    fn version(&self) -> Option<String> {
        let known = self.watches.cluster(&self.key()).filter(|known| known.metadata.uid == self.cluster.metadata.uid);
        known.map_or_else(
            || self.cluster.metadata.resource_version.clone(),
            |known| known.metadata.resource_version.clone(),
        )
    }
}

/// What was seen under this name when it was planned.
fn seen<'o, K: Resource>(objects: &'o [Arc<K>], name: &str) -> Option<&'o ObjectMeta> {
    objects.iter().map(|object| object.meta()).find(|metadata| metadata.name.as_deref() == Some(name))
}

pub(super) fn already_exists(failure: &Failure) -> bool {
    matches!(failure, Failure::Kube(error) if matches!(&**error, kube::Error::Api(status) if status.is_already_exists()))
}

pub(super) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}
