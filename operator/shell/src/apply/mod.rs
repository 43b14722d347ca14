//! Carries out what a plan asks for. Every action names what must still be true, and every call ends before the right to
//! make it does.
//!
//! [`throng_runtime`] says what is done at the same time and what a failure stops; [`objects`], [`pods`], [`documents`], [`operations`] and [`node`] do it, [`taken`] if the name is free; [`failure`] says why
//! something could not be done.

mod documents;
pub mod failure;
mod node;
mod objects;
pub mod operations;
pub mod parting;
mod pods;
pub mod status;
mod taken;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

pub use failure::Failure;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::{Api, DeleteParams, PatchParams, PostParams, Preconditions};
use serde::de::DeserializeOwned;
use throng_crds::ChatroomCluster;
use throng_plan::status::ClusterStatus;
use throng_plan::world::Edited;
use throng_plan::{Action, World, waves};
use throng_registry::{EtcdRegistry, View};
use throng_runtime::Runtime;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::events::{self, Before, Told};
use crate::kube_api::{CALL, Clients};
use crate::lease::Term;
use crate::metrics::Metrics;
use crate::names;
use crate::pressure::Heard;
use crate::render::Owner;
use crate::snapshot::{Objects, owner};
use crate::watch::Watches;

/// Actions on Pods that are under way at the same time.
const AT_ONCE: usize = 8;

/// All that an action may need: the world that it was planned for, and the ways to change it.
pub struct Hands<'a> {
    /// To the API server.
    pub clients: &'a Clients,
    /// What learns of the answers.
    pub watches: &'a Watches,
    /// The right to act.
    pub term: Term,
    /// The cluster.
    pub cluster: &'a ChatroomCluster,
    /// Its objects as they were planned with.
    pub objects: &'a Objects,
    /// The world that was planned with.
    pub world: &'a World,
    /// Its registry and what that showed.
    pub registry: Option<(&'a EtcdRegistry, Arc<View>)>,
    /// The key of its Pods.
    pub pod_key: Option<&'a str>,
    /// What its Pods said last.
    pub heard: &'a Heard,
    /// What counts.
    pub metrics: &'a Metrics,
    /// What was there before: what an action means to people depends on it.
    pub before: Before<'a>,
    /// What there is to tell of the actions that were done.
    pub told: Vec<Told>,
}

/// What was not done, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {failure}")]
pub struct Undone {
    /// What was to be done, for people.
    pub what: String,
    /// Why it was not.
    pub failure: Failure,
}

impl throng_runtime::Failure for Undone {
    fn ends_the_pass(&self) -> bool {
        self.failure.ends_the_pass()
    }
}

impl Runtime for Hands<'_> {
    type Failure = Undone;

    async fn remember(&mut self, status: &ClusterStatus) -> Result<(), Undone> {
        let written = status::write(&self.api(), self.term, self.cluster, status).await;
        let written = written.map_err(|failure| Undone { what: "write the status".to_owned(), failure })?;
        self.watches.clusters.learn(written);
        Ok(())
    }

    async fn together(&mut self, actions: &[&Action]) -> Vec<Result<(), Undone>> {
        let hands = &*self;
        let acts: Vec<BoxFuture<'_, _>> = actions.iter().map(|action| hands.act(action).boxed()).collect();
        let results: Vec<Result<(), Undone>> = futures::stream::iter(acts).buffered(AT_ONCE).collect().await;
        let before = self.before;
        let done = actions.iter().zip(&results).filter(|(_, result)| result.is_ok());
        self.told.extend(done.filter_map(|(action, _)| events::of_action(action, before)));
        results
    }
}

impl Hands<'_> {
    async fn act(&self, action: &Action) -> Result<(), Undone> {
        let result = self.attempt(action).await;
        let (kind, what) = (waves::kind(action), waves::describe(action));
        let outcome = if result.is_ok() { "done" } else { "failed" };
        self.metrics.actions.get_or_create(&[("kind", kind), ("result", outcome)]).inc();
        match result {
            Ok(()) => {
                info!(cluster = %self.owner().name, kind, what, "done");
                Ok(())
            }
            Err(failure) => {
                warn!(cluster = %self.owner().name, kind, what, error = %failure, "not done; it is tried again");
                Err(Undone { what, failure })
            }
        }
    }

    async fn attempt(&self, action: &Action) -> Result<(), Failure> {
        match action {
            Action::SetFinalizer => self.set_finalizer(true).await,
            Action::RemoveFinalizer => self.set_finalizer(false).await,
            Action::Apply(object) => self.apply(object).await,
            Action::Restore(Edited::Pod { name, uid }) => self.restore_pod(name, uid).await,
            Action::Restore(Edited::Revision { name, uid }) => self.restore_revision(name, uid).await,
            Action::CreatePod { name, role, revision, index, zone } => {
                let birth = crate::render::pod::Birth { name, role: *role, revision: *revision, index: *index, zone };
                self.create_pod(&birth).await
            }
            Action::DeletePod { name, uid, because, most_users_cut } => {
                self.delete_pod(name, uid, *because, *most_users_cut).await
            }
            Action::LabelServing { name, uid, serving } => self.label_serving(name, uid, *serving).await,
            Action::DrainPod { uid, deadline, users_per_s, .. } => self.drain(uid, *deadline, *users_per_s).await,
            Action::UndrainPod { uid, .. } => self.undrain(uid).await,
            Action::ShedUsers { uid, users, users_per_s, .. } => self.shed(uid, *users, *users_per_s).await,
            Action::WriteOperation { name, uid, status } => self.write_operation(name, uid, status).await,
            Action::DeleteOperation { name, uid } => self.delete_operation(name, uid).await,
            Action::DeleteRevision { name, number } => self.delete_revision(name, *number).await,
            Action::WriteTarget { role, document } => self.write_target(*role, document).await,
            Action::WritePlacement { role, document } => self.write_placement(*role, document).await,
            Action::ForgetKeys { leader_epoch } => self.forget_keys(*leader_epoch).await,
            Action::WritePolicy { policy } => self.write_policy(policy).await,
        }
    }

    fn owner(&self) -> Owner<'_> {
        owner(self.cluster)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.clients.usual.clone(), self.owner().namespace)
    }

    /// A call to the API server, within its deadline and within the term.
    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        in_term(self.term, call).await
    }
}

/// A call to the API server, within its deadline and within a term.
pub(crate) async fn in_term<T>(term: Term, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let within = term.within(CALL).ok_or(Failure::Deposed)?;
    Ok(late_as(within, timeout(within, call).await)??)
}

/// Deletes an object, if it still has this uid and, if one is named, this version. What is left of it: none if it is gone.
pub(crate) async fn delete_same<K>(
    api: &Api<K>,
    term: Term,
    name: &str,
    same: Preconditions,
    params: DeleteParams,
) -> Result<Option<K>, Failure>
where
    K: Clone + Debug + DeserializeOwned,
{
    match in_term(term, api.delete(name, &params.preconditions(same))).await {
        Ok(answer) => Ok(answer.left()),
        Err(Failure::Kube(error)) if objects::is_not_found(&error) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn late_as<T>(within: Duration, result: Result<T, tokio::time::error::Elapsed>) -> Result<T, Failure> {
    result.map_err(|_| Failure::Late(within))
}

fn post() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(names::MANAGER.to_owned()) }
}

/// An apply that changes no field of others.
fn create_params() -> PatchParams {
    PatchParams::apply(names::MANAGER)
}

fn apply_params() -> PatchParams {
    create_params().force()
}

fn merge_params() -> PatchParams {
    PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests;
