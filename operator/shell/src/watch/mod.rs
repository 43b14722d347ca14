//! What the API server tells: a watch of each kind, in each namespace that the operator looks after.
//!
//! [`table`] keeps what a watch told, without what [`slim`] takes out, [`hub`] wakes who is concerned. A connection that has died without a word is noticed
//! within 50 s, because each watch ends after 45 s and is opened again; when it was opened last is what liveness and the
//! metric `throng_operator_watch_age_seconds` go by.

pub mod hub;
mod pauses;
pub mod slim;
pub mod table;

use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
pub use hub::{ClusterKey, Hub};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource};
use pauses::Pauses;
use serde::de::DeserializeOwned;
use slim::Slim;
use table::{Changed, Key, Table, Unreadable};
use throng_crds::{ChatroomCluster, ChatroomOperation};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::names;
use crate::options::Scope;
use crate::snapshot::Objects;

/// A watch is opened anew after so long.
const REOPEN_S: u32 = 45;

/// Objects of one kind, in all namespaces that are looked after.
#[derive(Debug)]
pub struct Kept<K>(Arc<Vec<Place<K>>>);

/// A namespace that is watched, or all of them, with what is in it.
#[derive(Debug)]
struct Place<K> {
    namespace: Option<String>,
    table: Mutex<Table<K>>,
}

impl<K> Place<K> {
    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Kept<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Resource> Kept<K> {
    fn new(namespaces: impl Iterator<Item = Option<String>>) -> Self {
        Self(Arc::new(namespaces.map(|namespace| Place { namespace, table: Mutex::default() }).collect()))
    }

    fn tables(&self) -> impl Iterator<Item = MutexGuard<'_, Table<K>>> {
        self.0.iter().map(Place::lock)
    }

    /// Those that `which` says.
    fn filter(&self, which: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.tables()
            .flat_map(|table| table.all().filter(|object| which(object)).cloned().collect::<Vec<_>>())
            .collect()
    }

    fn of_cluster(&self, key: &ClusterKey) -> Vec<Arc<K>> {
        self.filter(|object| concerned(object).as_ref() == Some(key))
    }

    fn one(&self, key: &ClusterKey) -> Option<Arc<K>> {
        let key: Key = (key.namespace.clone(), key.name.clone());
        self.tables().find_map(|table| table.one(&key).cloned())
    }

    /// Notes what a write of this process answered.
    pub fn learn(&self, mut object: K)
    where
        K: Slim,
    {
        object.slim();
        let namespace = object.meta().namespace.as_ref();
        let here = |place: &&Place<K>| place.namespace.is_none() || place.namespace.as_ref() == namespace;
        if let Some(place) = self.0.iter().find(here) {
            place.lock().learn(object);
        }
    }

    fn is_synced(&self) -> bool {
        self.tables().all(|table| table.is_synced())
    }

    fn unreadable(&self) -> Vec<(Key, Unreadable)> {
        self.tables()
            .flat_map(|table| table.unreadable().map(|(k, u)| (k.clone(), u.clone())).collect::<Vec<_>>())
            .collect()
    }
}

/// All that is watched.
#[derive(Clone, Debug)]
pub struct Watches {
    /// The clusters.
    pub clusters: Kept<ChatroomCluster>,
    /// The operations.
    pub operations: Kept<ChatroomOperation>,
    /// Pods with the label of a cluster.
    pub pods: Kept<Pod>,
    /// Pods that were made with the label and have it no more.
    pub lost_pods: Kept<Pod>,
    /// All nodes.
    pub nodes: Kept<Node>,
    /// Services with the label.
    pub services: Kept<Service>,
    /// Budgets with the label.
    pub budgets: Kept<PodDisruptionBudget>,
    /// Network policies with the label.
    pub policies: Kept<NetworkPolicy>,
    /// Revisions with the label.
    pub revisions: Kept<ControllerRevision>,
    /// Revisions that were made with the label and have it no more.
    pub lost_revisions: Kept<ControllerRevision>,
}

impl Watches {
    /// Starts all watches, as tasks of `tasks`; none of them ever ends by itself.
    #[must_use]
    pub fn start(client: &Client, scope: &Scope, hub: &Hub, tasks: &mut JoinSet<()>) -> Self {
        let start = Start { client, scope, hub };
        Self {
            clusters: start
                .namespaced(Labels::Any, tasks, |cluster: &ChatroomCluster| Concern::Cluster(own_key(cluster))),
            operations: start.namespaced(Labels::Any, tasks, |operation: &ChatroomOperation| {
                Concern::Of(Some(ClusterKey { name: operation.spec.cluster.clone(), ..own_key(operation) }))
            }),
            pods: start.namespaced(Labels::Has, tasks, |pod: &Pod| Concern::Of(concerned(pod))),
            lost_pods: start.namespaced(Labels::Lost, tasks, |pod: &Pod| Concern::Of(concerned(pod))),
            nodes: start.watch(vec![(None, Api::all(client.clone()))], Labels::Any, tasks, |_: &Node| Concern::All),
            services: start.namespaced(Labels::Has, tasks, |service: &Service| Concern::Of(concerned(service))),
            budgets: start
                .namespaced(Labels::Has, tasks, |budget: &PodDisruptionBudget| Concern::Of(concerned(budget))),
            policies: start.namespaced(Labels::Has, tasks, |policy: &NetworkPolicy| Concern::Of(concerned(policy))),
            revisions: start
                .namespaced(Labels::Has, tasks, |revision: &ControllerRevision| Concern::Of(concerned(revision))),
            lost_revisions: start
                .namespaced(Labels::Lost, tasks, |lost: &ControllerRevision| Concern::Of(concerned(lost))),
        }
    }

    /// Kinds that were not listed yet. Nothing is planned before all were: a node that is not known looks like one that is
    /// gone.
    #[must_use]
    pub fn unsynced(&self) -> Vec<&'static str> {
        let kinds = [
            ("chatroomclusters", self.clusters.is_synced()),
            ("chatroomoperations", self.operations.is_synced()),
            ("pods", self.pods.is_synced() && self.lost_pods.is_synced()),
            ("nodes", self.nodes.is_synced()),
            ("services", self.services.is_synced()),
            ("poddisruptionbudgets", self.budgets.is_synced()),
            ("networkpolicies", self.policies.is_synced()),
            ("controllerrevisions", self.revisions.is_synced() && self.lost_revisions.is_synced()),
        ];
        kinds.into_iter().filter(|(_, synced)| !synced).map(|(kind, _)| kind).collect()
    }

    /// How many objects of each kind cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("chatroomclusters", self.clusters.unreadable().len()),
            ("chatroomoperations", self.operations.unreadable().len()),
            ("pods", all(&self.pods, &self.lost_pods).len()),
            ("nodes", self.nodes.unreadable().len()),
            ("services", self.services.unreadable().len()),
            ("poddisruptionbudgets", self.budgets.unreadable().len()),
            ("networkpolicies", self.policies.unreadable().len()),
            ("controllerrevisions", all(&self.revisions, &self.lost_revisions).len()),
        ]
    }

    /// What is known of a cluster whose object cannot be read, if so.
    #[must_use]
    pub fn unreadable_cluster(&self, key: &ClusterKey) -> Option<Unreadable> {
        let mut all = self.clusters.unreadable().into_iter();
        all.find(|(k, _)| k.0 == key.namespace && k.1 == key.name).map(|(_, unreadable)| unreadable)
    }

    /// The first object of a cluster, or node, that cannot be read, and why. It counts as if it were not there: what is not
    /// seen is never deleted, and its name keeps a second one from being made.
    #[must_use]
    pub fn unreadable_of(&self, key: &ClusterKey) -> Option<String> {
        let mine = |(_, unreadable): &(Key, Unreadable)| belongs(&unreadable.metadata).as_ref() == Some(key);
        let parts = [
            ("Pod", all(&self.pods, &self.lost_pods)),
            ("Service", self.services.unreadable()),
            ("PodDisruptionBudget", self.budgets.unreadable()),
            ("NetworkPolicy", self.policies.unreadable()),
            ("ControllerRevision", all(&self.revisions, &self.lost_revisions)),
        ];
        let parts = parts.into_iter().flat_map(|(kind, all)| all.into_iter().filter(mine).map(move |one| (kind, one)));
        let nodes = self.nodes.unreadable().into_iter().map(|one| ("Node", one));
        parts.chain(nodes).next().map(|(kind, (k, unreadable))| format!("{kind} {}: {}", k.1, unreadable.error))
    }

    /// All clusters, those that cannot be read too.
    #[must_use]
    pub fn keys(&self) -> Vec<ClusterKey> {
        let readable = self.clusters.filter(|_| true);
        let unreadable = self.clusters.unreadable().into_iter();
        let unreadable = unreadable.map(|((namespace, name), _)| ClusterKey { namespace, name });
        readable.iter().map(|cluster| own_key(&**cluster)).chain(unreadable).collect()
    }

    /// The object of a cluster.
    #[must_use]
    pub fn cluster(&self, key: &ClusterKey) -> Option<Arc<ChatroomCluster>> {
        self.clusters.one(key)
    }

    /// An operation, by its own namespace and name.
    #[must_use]
    pub fn operation(&self, key: &ClusterKey) -> Option<Arc<ChatroomOperation>> {
        self.operations.one(key)
    }

    /// Operations of a cluster.
    #[must_use]
    pub fn operations_of(&self, key: &ClusterKey) -> Vec<Arc<ChatroomOperation>> {
        let mine = |operation: &ChatroomOperation| {
            operation.spec.cluster == key.name && operation.metadata.namespace.as_ref() == Some(&key.namespace)
        };
        self.operations.filter(mine)
    }

    /// Operations on clusters that are not among these.
    #[must_use]
    pub fn strays(&self, clusters: &[ClusterKey]) -> Vec<Arc<ChatroomOperation>> {
        let stray = |operation: &ChatroomOperation| {
            let key = ClusterKey { name: operation.spec.cluster.clone(), ..own_key(operation) };
            !clusters.contains(&key)
        };
        self.operations.filter(stray)
    }

    /// Operations that are not at their end.
    #[must_use]
    pub fn open_operations(&self) -> Vec<Arc<ChatroomOperation>> {
        self.operations.filter(|operation| operation.status.as_ref().is_none_or(|status| !status.phase.is_final()))
    }

    /// Operations that cannot be read.
    #[must_use]
    pub fn unreadable_operations(&self) -> Vec<Unreadable> {
        self.operations.unreadable().into_iter().map(|(_, unreadable)| unreadable).collect()
    }

    /// All nodes.
    #[must_use]
    pub fn all_nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.filter(|_| true)
    }

    /// Objects of a cluster.
    #[must_use]
    pub fn objects_of(&self, key: &ClusterKey) -> Objects {
        Objects {
            pods: both(self.pods.of_cluster(key), self.lost_pods.of_cluster(key)),
            revisions: both(self.revisions.of_cluster(key), self.lost_revisions.of_cluster(key)),
            services: self.services.of_cluster(key),
            policies: self.policies.of_cluster(key),
            budgets: self.budgets.of_cluster(key),
        }
    }
}

/// Whom a change concerns.
enum Concern {
    /// This cluster, which itself came, changed or went.
    Cluster(ClusterKey),
    /// The cluster that the object belongs to; none: nobody.
    Of(Option<ClusterKey>),
    /// All.
    All,
}

fn own_key<K: Resource>(object: &K) -> ClusterKey {
    let metadata = object.meta();
    ClusterKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// The cluster that an object belongs to: that which owns it, for labels can be edited; else that which its label names.
fn concerned<K: Resource>(object: &K) -> Option<ClusterKey> {
    belongs(object.meta())
}

fn belongs(metadata: &ObjectMeta) -> Option<ClusterKey> {
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true) && owner.kind == "ChatroomCluster");
    let named = || metadata.labels.as_ref()?.get(names::CLUSTER);
    let name = owner.map(|owner| &owner.name).or_else(named)?.clone();
    Some(ClusterKey { name, namespace: metadata.namespace.clone().unwrap_or_default() })
}

/// Those that cannot be read, of those with the label and of those that lost it, each once.
fn all<K: Resource>(found: &Kept<K>, lost: &Kept<K>) -> Vec<(Key, Unreadable)> {
    let mut all = found.unreadable();
    for one in lost.unreadable() {
        if all.iter().all(|(key, _)| *key != one.0) {
            all.push(one);
        }
    }
    all
}

/// Those with the label and those that lost it. One that both watches tell of for a moment is as the first says.
fn both<K: Resource>(mut found: Vec<Arc<K>>, lost: Vec<Arc<K>>) -> Vec<Arc<K>> {
    for one in lost {
        if found.iter().all(|known| known.meta().uid != one.meta().uid) {
            found.push(one);
        }
    }
    found
}

/// Which objects of a kind are watched.
#[derive(Clone, Copy)]
enum Labels {
    /// All.
    Any,
    /// Those with the label of a cluster.
    Has,
    /// Those that this operator made, and that have that label no more.
    Lost,
}

#[derive(Clone, Copy)]
struct Start<'a> {
    client: &'a Client,
    scope: &'a Scope,
    hub: &'a Hub,
}

impl Start<'_> {
    fn namespaced<K>(self, labels: Labels, tasks: &mut JoinSet<()>, concern: fn(&K) -> Concern) -> Kept<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Slim + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let apis = match self.scope {
            Scope::All => vec![(None, Api::all(self.client.clone()))],
            Scope::Namespaces(names) => {
                let api = |name: &String| (Some(name.clone()), Api::namespaced(self.client.clone(), name));
                names.iter().map(api).collect()
            }
        };
        self.watch(apis, labels, tasks, concern)
    }

    fn watch<K>(
        self,
        apis: Vec<(Option<String>, Api<DeserializeGuard<K>>)>,
        labels: Labels,
        tasks: &mut JoinSet<()>,
        concern: fn(&K) -> Concern,
    ) -> Kept<K>
    where
        K: Resource<DynamicType = ()> + Slim + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let kept = Kept::new(apis.iter().map(|(namespace, _)| namespace.clone()));
        let config = watcher::Config::default().timeout(REOPEN_S);
        let config = match labels {
            Labels::Any => config,
            Labels::Has => config.labels(names::CLUSTER),
            Labels::Lost => config.labels(&names::lost()),
        };
        for (place, (_, api)) in apis.into_iter().enumerate() {
            let (kept, hub, config) = (kept.clone(), self.hub.clone(), config.clone());
            tasks.spawn(async move {
                let events = watcher(api, config).modify(|object| {
                    if let Ok(object) = &mut object.0 {
                        object.slim();
                    }
                });
                let mut events = pin!(events.backoff(Pauses::default()));
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            let Some(place) = kept.0.get(place) else { continue };
                            let changed = place.lock().note(event);
                            tell(&hub, changed, concern);
                        }
                        Err(error) => warn!(kind = %K::plural(&()), %error, "a watch was interrupted; it goes on"),
                    }
                }
            });
        }
        kept
    }
}

fn tell<K: Resource<DynamicType = ()>>(hub: &Hub, changed: Changed<K>, concern: fn(&K) -> Concern) {
    match changed {
        Changed::Nothing => {}
        Changed::All => hub.ring_all(),
        Changed::Unreadable((namespace, name)) => {
            debug!(kind = %K::plural(&()), namespace, name, "an object cannot be read");
            hub.ring_all();
        }
        Changed::One(object) => match concern(&object) {
            Concern::All => hub.ring_all(),
            Concern::Of(Some(key)) => hub.ring(&key),
            Concern::Of(None) => {}
            Concern::Cluster(key) => {
                hub.ring(&key);
                hub.ring_fleet();
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, labels: &Value, owner: &str) -> Arc<Pod> {
        let owner = json!({"apiVersion": "throng.dev/v1alpha1", "kind": owner, "name": "live", "uid": "c1", "controller": true});
        let metadata =
            json!({"name": "p", "namespace": "show", "uid": uid, "labels": labels, "ownerReferences": [owner]});
        Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    #[test]
    fn an_object_concerns_the_cluster_that_owns_it_whatever_its_labels_say() {
        let of = |labels: Value, owner| concerned(&*pod("u", &labels, owner)).map(|key| key.to_string());
        assert_eq!(of(json!({}), "ChatroomCluster").as_deref(), Some("show/live"));
        assert_eq!(of(json!({"throng.dev/cluster": "other"}), "ChatroomCluster").as_deref(), Some("show/live"));
        assert_eq!(of(json!({"throng.dev/cluster": "other"}), "ReplicaSet").as_deref(), Some("show/other"));
        assert_eq!(of(json!({}), "ReplicaSet"), None);
    }

    #[test]
    fn one_that_cannot_be_read_is_counted_once_and_concerns_its_cluster_though_it_lost_the_label() {
        let kept = |labels: Value, names: &[&str]| {
            let kept = Kept::<Pod>::new([None].into_iter());
            let mut table = kept.0[0].lock();
            table.note(Event::Init);
            for name in names {
                let owner = json!({"apiVersion": "throng.dev/v1alpha1", "kind": "ChatroomCluster", "name": "live",
                    "uid": "c1", "controller": true});
                let bad = json!({"metadata": {"namespace": "show", "name": name, "labels": labels,
                    "ownerReferences": [owner]}, "spec": {"containers": "no list"}});
                table.note(Event::InitApply(serde_json::from_value(bad).unwrap()));
            }
            table.note(Event::InitDone);
            drop(table);
            kept
        };
        let (found, lost) = (kept(json!({"throng.dev/cluster": "live"}), &["a"]), kept(json!({}), &["a", "b"]));
        let both = all(&found, &lost);
        assert_eq!(both.iter().map(|(key, _)| key.1.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let whose = both.iter().map(|(_, one)| belongs(&one.metadata).unwrap().to_string());
        assert_eq!(whose.collect::<Vec<_>>(), ["show/live"; 2]);
    }

    #[test]
    fn who_lost_the_label_is_seen_and_nobody_twice() {
        let (none, labels) = (json!({}), json!({"throng.dev/cluster": "live"}));
        let found = vec![pod("a", &labels, "ChatroomCluster")];
        let lost = vec![pod("a", &none, "ChatroomCluster"), pod("b", &none, "ChatroomCluster")];
        let both = both(found, lost);
        let seen: Vec<_> = both
            .iter()
            .map(|pod| (pod.metadata.uid.as_deref().unwrap(), pod.metadata.labels.as_ref().unwrap().len()))
            .collect();
        assert_eq!(seen, [("a", 1), ("b", 0)]);
    }
}
