//! A store, whatever it is, and how to let time pass in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use throng_core::{InstanceId, Millis};
use throng_store::{Clock, LogLimits, MemoryDb, RedisMode, RedisOptions, RedisStore, Store};

use crate::servers::{RedisCluster, RedisServer};

/// Short enough to be waited for.
pub(crate) const GRACE_MS: u64 = 300;
pub(crate) const LIMITS: LogLimits =
    LogLimits { lossless_keep_ms: 1_000, lossless_bytes: 4_000, sampled_keep_ms: 500, sampled_bytes: 2_000 };

pub(crate) fn instance(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

/// A database and the handles of the instances that use it.
pub(crate) enum World {
    Memory { db: MemoryDb, clock: Arc<Hand> },
    Redis { options: Box<RedisOptions>, _server: Option<RedisServer> },
}

/// A clock that is moved by hand.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

impl World {
    pub(crate) fn memory() -> Self {
        let clock = Arc::new(Hand::default());
        Self::Memory { db: MemoryDb::new(clock.clone(), LIMITS, GRACE_MS), clock }
    }

    pub(crate) fn standalone() -> Self {
        let server = RedisServer::start(&[]);
        let options = options(&server, "suite");
        Self::Redis { options: Box::new(options), _server: Some(server) }
    }

    /// Part of a cluster that is shared: `name` keeps the cases apart.
    pub(crate) fn of_cluster(cluster: &RedisCluster, name: &str) -> Self {
        let mut options = options(&cluster.nodes[0], name);
        options.urls = cluster.nodes.iter().map(RedisServer::url).collect();
        options.mode = RedisMode::Cluster;
        Self::Redis { options: Box::new(options), _server: None }
    }

    /// The store as an instance of this name sees it.
    pub(crate) async fn store(&self, name: &str) -> Arc<dyn Store> {
        match self {
            Self::Memory { db, .. } => Arc::new(db.store(instance(name))),
            Self::Redis { options, .. } => {
                connected(RedisOptions { instance: instance(name), ..RedisOptions::clone(options) }).await
            }
        }
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        match self {
            Self::Memory { clock, .. } => {
                clock.0.fetch_add(ms, Ordering::Relaxed);
            }
            Self::Redis { .. } => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
    }
}

pub(crate) fn options(server: &RedisServer, cluster: &str) -> RedisOptions {
    RedisOptions {
        limits: LIMITS,
        grace_ms: GRACE_MS,
        ..RedisOptions::standalone(&server.url(), "test", cluster, instance("a"))
    }
}

pub(crate) async fn connected(options: RedisOptions) -> Arc<RedisStore> {
    let store = RedisStore::open(options).unwrap();
    store.ready(Duration::from_secs(10)).await.unwrap();
    Arc::new(store)
}
