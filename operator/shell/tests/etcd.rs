//! The way to a real etcd: opened once, opened anew when what it is opened with changes, and what it shows in a snapshot.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, though not tests themselves")]

#[path = "../../../dataplane/registry/tests/support/etcd_server.rs"]
#[allow(dead_code, unreachable_pub, reason = "a helper of tests")]
mod etcd_server;

use std::sync::Arc;
use std::time::Duration;

use etcd_server::EtcdServer;
use throng_core::Role;
use throng_core::placement::{PlacedPod, Placement};
use throng_crds::ChatroomCluster;
use throng_operator::cluster::etcd::Etcd;
use throng_operator::cluster::secrets::Secrets;
use throng_operator::render::Owner;
use throng_registry::{Fence, Registry as _};
use throng_runtime::registry::{Activities, known_epoch, registry};
use tokio::sync::Notify;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn cluster(endpoint: &str) -> ChatroomCluster {
    let text = include_str!("../../../examples/minimal.yaml");
    let stored = throng_crds::admit::admit(serde_saphyr::from_str(text).unwrap(), None).unwrap();
    let mut cluster: ChatroomCluster = serde_json::from_value(stored).unwrap();
    cluster.spec.etcd.endpoints = vec![endpoint.to_owned()];
    cluster
}

fn owner(cluster: &ChatroomCluster) -> Owner<'_> {
    Owner { namespace: "show", name: "live", uid: "c1", spec: &cluster.spec }
}

const fn fence(leader_epoch: u64, after: Option<u64>) -> Fence {
    Fence { leader_epoch, after }
}

fn document(leader_epoch: u64, pod: &str) -> Placement {
    let mut placement = Placement::over(vec![PlacedPod { pod: pod.into(), revision: "1".into() }]).unwrap();
    placement.leader_epoch = leader_epoch;
    placement
}

#[tokio::test]
async fn documents_are_written_under_the_epoch_of_the_leader_and_seen() {
    let server = EtcdServer::start();
    let cluster = cluster(&server.url());
    let (bell, secrets) = (Arc::new(Notify::new()), Secrets::default());
    let etcd = Etcd::keep(None, &owner(&cluster), &secrets, &bell).unwrap();
    let mut views = etcd.views();
    timeout(PATIENCE, views.wait_for(|view| view.health.is_healthy())).await.unwrap().unwrap();
    let epoch = etcd.registry.next_leader_epoch(known_epoch(&etcd.view())).await.unwrap();
    assert_eq!(epoch, 1);
    let (target, step) = (document(epoch, "a"), document(epoch, "b"));
    etcd.registry.put_target(Role::Message, target.encode(), fence(epoch, None)).await.unwrap();
    let first = etcd.registry.put_placement(Role::Message, step.encode(), fence(epoch, None)).await.unwrap();
    timeout(PATIENCE, views.wait_for(|view| view.placement(Role::Message).is_some())).await.unwrap().unwrap();
    let seen = registry(&etcd.view(), &Activities::default());
    assert_eq!(seen.documents.message.target.map(|document| (*document.0).clone()), Some(target));
    assert_eq!(seen.documents.message.in_force.map(|document| (*document.0).clone()), Some(step));
    assert_eq!(seen.documents.chatroom.target, None);
    timeout(PATIENCE, bell.notified()).await.expect("a change of the view wakes the worker");

    // Another leader: what the first one still writes is refused, whatever it believes.
    let next = etcd.registry.next_leader_epoch(known_epoch(&etcd.view())).await.unwrap();
    assert!(next > epoch);
    let put = |epoch, pod| {
        etcd.registry.put_placement(Role::Message, document(epoch, pod).encode(), fence(epoch, Some(first)))
    };
    assert!(put(epoch, "c").await.is_err());
    put(next, "d").await.unwrap();
    timeout(PATIENCE, views.wait_for(|view| known_epoch(view) == next)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_document_that_cannot_be_read_counts_as_none() {
    let server = EtcdServer::start();
    let cluster = cluster(&server.url());
    let (bell, secrets) = (Arc::new(Notify::new()), Secrets::default());
    let etcd = Etcd::keep(None, &owner(&cluster), &secrets, &bell).unwrap();
    let epoch = etcd.registry.next_leader_epoch(0).await.unwrap();
    etcd.registry.put_placement(Role::Chatroom, "of a later version".into(), fence(epoch, None)).await.unwrap();
    let mut views = etcd.views();
    timeout(PATIENCE, views.wait_for(|view| view.placement(Role::Chatroom).is_some())).await.unwrap().unwrap();
    assert_eq!(registry(&etcd.view(), &Activities::default()).documents.chatroom.in_force, None);
    assert_eq!(known_epoch(&etcd.view()), 0);
}

#[tokio::test]
async fn the_way_is_kept_until_it_changes_and_a_wrong_one_says_what_to_write() {
    let bell = Arc::new(Notify::new());
    let mut cluster = cluster("http://127.0.0.1:1");
    let secrets = Secrets::default();
    let first = Etcd::keep(None, &owner(&cluster), &secrets, &bell).unwrap();
    let views = first.views();
    let same = Etcd::keep(Some(first), &owner(&cluster), &secrets, &bell).unwrap();
    assert!(same.views().same_channel(&views));
    cluster.spec.etcd.endpoints = vec!["http://127.0.0.1:2".to_owned()];
    let other = Etcd::keep(Some(same), &owner(&cluster), &secrets, &bell).unwrap();
    assert!(!other.views().same_channel(&views));
    let name = throng_crds::cluster::SecretRef { name: "etcd-user".into() };
    cluster.spec.etcd.credentials_secret_ref = Some(name);
    let error = Etcd::keep(None, &owner(&cluster), &secrets, &bell).err().unwrap();
    assert!(error.contains("etcd-user") && error.contains("username"), "{error}");
    cluster.spec.etcd.credentials_secret_ref = None;
    cluster.spec.etcd.endpoints = vec!["https://etcd:2379".to_owned()];
    assert!(Etcd::keep(None, &owner(&cluster), &secrets, &bell).is_ok(), "the authorities of the image are trusted");
    cluster.spec.etcd.endpoints.push("http://etcd:2379".to_owned());
    let error = Etcd::keep(None, &owner(&cluster), &secrets, &bell).err().unwrap();
    assert!(error.contains("begin all of them alike"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_goes_leaves_no_key_and_its_neighbours_are_not_touched() {
    let server = EtcdServer::start();
    let cluster = cluster(&server.url());
    let (bell, secrets) = (Arc::new(Notify::new()), Secrets::default());
    let etcd = Etcd::keep(None, &owner(&cluster), &secrets, &bell).unwrap();
    // Its name begins like that of the one that goes.
    let other = Owner { namespace: "show", name: "live-2", uid: "c2", spec: &cluster.spec };
    let other = Etcd::keep(None, &other, &secrets, &bell).unwrap();
    for etcd in [&etcd, &other] {
        let epoch = etcd.registry.next_leader_epoch(0).await.unwrap();
        etcd.registry.put_placement(Role::Message, document(epoch, "a").encode(), fence(epoch, None)).await.unwrap();
    }
    etcd.registry.forget_cluster(1).await.unwrap();
    assert_eq!(etcd.registry.leader_epoch().await, Ok(None));
    assert_eq!(etcd.registry.placement(Role::Message).await, Ok(None));
    assert_eq!(other.registry.leader_epoch().await, Ok(Some(1)));
    assert!(other.registry.placement(Role::Message).await.unwrap().is_some());
}
