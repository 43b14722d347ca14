//! Who looks again when something changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A cluster by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Bells of all clusters. A bell that rings while nobody listens is heard by the next who does.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    bells: Arc<Mutex<BTreeMap<ClusterKey, Arc<Notify>>>>,
    fleet: Arc<Notify>,
}

impl Hub {
    fn bells(&self) -> MutexGuard<'_, BTreeMap<ClusterKey, Arc<Notify>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bell of a cluster, as long as somebody keeps it.
    #[must_use]
    pub fn bell(&self, key: &ClusterKey) -> Arc<Notify> {
        Arc::clone(self.bells().entry(key.clone()).or_default())
    }

    /// Forgets a cluster.
    pub fn forget(&self, key: &ClusterKey) {
        self.bells().remove(key);
    }

    /// Rings for one cluster.
    pub fn ring(&self, key: &ClusterKey) {
        if let Some(bell) = self.bells().get(key) {
            bell.notify_one();
        }
    }

    /// Rings for all of them.
    pub fn ring_all(&self) {
        self.bells().values().for_each(|bell| bell.notify_one());
        self.fleet.notify_one();
    }

    /// Says that clusters came or went.
    pub fn ring_fleet(&self) {
        self.fleet.notify_one();
    }

    /// Waits until clusters came or went.
    pub async fn fleet(&self) {
        self.fleet.notified().await;
    }
}
