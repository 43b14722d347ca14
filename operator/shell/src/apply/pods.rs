//! Pods: made, labelled, deleted.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, Preconditions};
use serde_json::{Value, json};
use throng_plan::plan::Because;
use throng_plan::world::Pod as Planned;
use throng_plan::world::pod::of_name;

use super::objects::{already_exists, is_not_found};
use super::taken::mended;
use super::{Failure, Hands, delete_same, merge_params, post};
use crate::names;
use crate::render::pod::Birth;
use crate::render::{Owner, pod, revision};
use crate::snapshot::pod::lost_image;

/// A Pod of a cluster that goes may finish what it is at for so long, in seconds.
const LAST_WORDS_S: u32 = 10;

impl Hands<'_> {
    /// Makes a Pod of its revision. One of its name that is there is left as it is, but for what makes it ours.
    pub(super) async fn create_pod(&self, birth: &Birth<'_>) -> Result<(), Failure> {
        let present = self.owner();
        let of_number = |stored: &&Arc<ControllerRevision>| {
            revision::made_as(&present, stored).is_some_and(|(number, _)| number == birth.revision)
        };
        let stored = self.objects.revisions.iter().find(of_number);
        let known = self.world.revisions.get(&birth.revision);
        let restored = match (stored, known) {
            (Some(stored), Some(known)) if known.hash != self.world.spec.shape => {
                let data = stored.data.as_ref().map(|data| &data.0);
                let restored = data.and_then(|data| revision::restored(present.spec, data));
                Some(restored.ok_or_else(|| Failure::Stale(format!("revision {} cannot be read", birth.revision)))?)
            }
            _ => None,
        };
        let owner = Owner { spec: restored.as_ref().unwrap_or(present.spec), ..present };
        let wanted = pod::pod(&owner, birth);
        let made = match self.call(self.api().create(&post(), &wanted)).await {
            Err(failure) if already_exists(&failure) => {
                let labels = pod::labels(&owner, birth.role, birth.revision, birth.index);
                let wanted = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
                self.take_back(birth.name, &wanted).await?
            }
            made => Some(made?),
        };
        if let Some(made) = made {
            self.watches.pods.learn(made);
        }
        Ok(())
    }

    /// Deletes a Pod, if it is still the same and not more users would be cut off than stated.
    pub(super) async fn delete_pod(
        &self,
        name: &str,
        uid: &str,
        because: Because,
        most_users_cut: u64,
    ) -> Result<(), Failure> {
        let role = self.world.pods.get(name).map(|pod: &Planned| pod.role);
        if let (Some(sample), Some(role)) = (self.heard.sample(uid), role)
            && sample.users(role) > most_users_cut
        {
            let users = sample.users(role);
            return Err(Failure::Stale(format!(
                "{name} has {users} users, and at most {most_users_cut} may be cut off"
            )));
        }
        let resource_version = self.stored(uid).and_then(|pod| pod.metadata.resource_version.clone());
        let same = Preconditions { uid: Some(uid.to_owned()), resource_version };
        let mut params = DeleteParams::default();
        if because == Because::ClusterDeleted {
            // Nobody is left to whom it could hand over what it owns: it would wait for that until its own deadline.
            params.grace_period_seconds = Some(LAST_WORDS_S);
        }
        if let Some(going) = delete_same(&self.api::<Pod>(), self.term, name, same, params).await? {
            self.watches.pods.learn(going);
        }
        Ok(())
    }

    /// Gives a Pod back the labels that its name says, its owner and the image of its revision, if it is still the same.
    pub(super) async fn restore_pod(&self, name: &str, uid: &str) -> Result<(), Failure> {
        let owner = self.owner();
        let Some((role, revision, index)) = of_name(owner.name, name) else { return Ok(()) };
        let labels = pod::labels(&owner, role, revision, index);
        let Some(stored) = self.stored(uid) else { return Ok(()) };
        let metadata = mended(&owner, &stored.metadata, labels);
        let known = self.world.revisions.get(&revision);
        let patch = match known.and_then(|known| lost_image(stored, &known.image)) {
            Some(image) => {
                let container = json!({"name": pod::CONTAINER, "image": image});
                json!({"metadata": metadata, "spec": {"containers": [container]}})
            }
            None => json!({"metadata": metadata}),
        };
        // Containers are merged by their names.
        self.patch_pod(name, &Patch::Strategic(patch)).await
    }

    /// Labels a Pod, if it is still the same.
    pub(super) async fn label_serving(&self, name: &str, uid: &str, serving: bool) -> Result<(), Failure> {
        let metadata = json!({"uid": uid, "labels": {names::SERVING: serving.to_string()}});
        self.patch_pod(name, &Patch::Merge(json!({"metadata": metadata}))).await
    }

    async fn patch_pod(&self, name: &str, patch: &Patch<Value>) -> Result<(), Failure> {
        match self.call(self.api::<Pod>().patch(name, &merge_params(), patch)).await {
            Ok(labelled) => {
                self.watches.pods.learn(labelled);
                Ok(())
            }
            Err(Failure::Kube(error)) if is_not_found(&error) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The Pod of a uid, as it was planned with.
    pub(super) fn stored(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.objects.pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid))
    }
}
