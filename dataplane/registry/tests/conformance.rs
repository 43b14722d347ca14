//! One suite of promises, kept by memory and by a real etcd.

mod support;

use std::sync::Arc;

use support::cases::{ALL, Case};
use support::etcd_server::EtcdServer;
use throng_registry::{EtcdOptions, EtcdRegistry, MemoryRegistry, Registry};

/// Runs every case on a registry of its own, all at once, and names those that failed.
async fn keeps_all(open: impl Fn(usize) -> Arc<dyn Registry>) {
    let run = |(number, (name, case)): (usize, &(&'static str, Case))| (*name, tokio::spawn(case(open(number))));
    let running: Vec<_> = ALL.iter().enumerate().map(run).collect();
    let mut broken = Vec::new();
    for (name, case) in running {
        if let Err(error) = case.await {
            broken.push(format!("{name}: {error}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test]
async fn memory_keeps_every_promise() {
    keeps_all(|_| Arc::new(MemoryRegistry::new())).await;
}

/// One server, a cluster name for each case: what one cluster does, another never sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_keeps_every_promise() {
    let server = EtcdServer::start();
    keeps_all(|number| {
        let options = EtcdOptions::new(vec![server.url()], "test", &format!("case-{number}"));
        Arc::new(EtcdRegistry::new(options).unwrap())
    })
    .await;
}
