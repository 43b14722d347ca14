//! A worker for each cluster there is.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::strays;
use super::worker::{Shared, Worker};
use crate::watch::{ClusterKey, Hub};

/// A worker that has died is noticed after so long.
const AT_LEAST: Duration = Duration::from_secs(10);

/// Starts and ends workers as clusters come and go, until stopped; then all of them have ended.
pub async fn run(shared: Shared, hub: Hub, stop: CancellationToken) {
    let mut workers: BTreeMap<ClusterKey, (CancellationToken, JoinHandle<()>)> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    loop {
        let keys = shared.watches.keys();
        workers.retain(|key, (stop, worker)| {
            let stays = keys.contains(key) && !worker.is_finished();
            if !stays {
                if worker.is_finished() {
                    error!(cluster = %key, "its worker has died; another takes its place");
                } else {
                    info!(cluster = %key, "it is gone");
                }
                stop.cancel();
                hub.forget(key);
            }
            stays
        });
        strays::answer(&shared, &keys, &mut refused).await;
        for key in keys {
            if let Entry::Vacant(vacant) = workers.entry(key) {
                info!(cluster = %vacant.key(), "looks after it");
                let (own, bell) = (stop.child_token(), hub.bell(vacant.key()));
                let worker = Worker::new(shared.clone(), vacant.key().clone(), bell);
                let task = tokio::spawn(worker.run(own.clone()));
                vacant.insert((own, task));
            }
        }
        shared.metrics.clusters.set(i64::try_from(workers.len()).unwrap_or(i64::MAX));
        tokio::select! {
            () = stop.cancelled() => break,
            () = hub.fleet() => {}
            () = sleep(AT_LEAST) => {}
        }
    }
    let mut ends: JoinSet<()> = JoinSet::new();
    for (_, (_, worker)) in workers {
        let abort = worker.abort_handle();
        ends.spawn(async move {
            let _end = AbortOnDrop(abort);
            let _ = worker.await;
        });
    }
    while ends.join_next().await.is_some() {}
}

/// A worker does not outlive whoever waits for it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
