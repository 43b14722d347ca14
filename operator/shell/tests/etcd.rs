//! The way to a real etcd: opened once, opened anew when what it is opened with changes, and what it shows in a snapshot.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, though not tests themselves")]

#[path = "../../../dataplane/registry/tests/support/etcd_server.rs"]
#[allow(dead_code, unreachable_pub, reason = "a helper of tests")]
mod etcd_server;

use std::sync::Arc;
use std::time::Duration;

use etcd_server::EtcdServer;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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

fn open(owner: &Owner<'_>, bell: &Arc<Notify>) -> Etcd {
    let mut open = None;
    Etcd::keep(&mut open, owner, &Secrets::default(), bell).unwrap();
    open.unwrap()
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
    let bell = Arc::new(Notify::new());
    let etcd = open(&owner(&cluster), &bell);
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
    let bell = Arc::new(Notify::new());
    let etcd = open(&owner(&cluster), &bell);
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
    let mut etcd = Some(open(&owner(&cluster), &bell));
    let views = etcd.as_ref().unwrap().views();
    Etcd::keep(&mut etcd, &owner(&cluster), &secrets, &bell).unwrap();
    assert!(etcd.as_ref().unwrap().views().same_channel(&views));
    cluster.spec.etcd.endpoints = vec!["http://127.0.0.1:2".to_owned()];
    Etcd::keep(&mut etcd, &owner(&cluster), &secrets, &bell).unwrap();
    assert!(!etcd.as_ref().unwrap().views().same_channel(&views));
    cluster.spec.etcd.endpoints = vec!["https://etcd:2379".to_owned()];
    assert!(
        Etcd::keep(&mut None, &owner(&cluster), &secrets, &bell).is_ok(),
        "the authorities of the image are trusted"
    );
    cluster.spec.etcd.endpoints.push("http://etcd:2379".to_owned());
    let error = Etcd::keep(&mut etcd, &owner(&cluster), &secrets, &bell).unwrap_err();
    assert!(error.contains("begin all of them alike"), "{error}");
    assert!(etcd.is_none(), "a way to another etcd is closed");
}

/// Spoils the Secret that is read.
type Spoil<'a> = &'a dyn Fn(&mut Secrets);

#[tokio::test]
async fn what_becomes_of_a_secret_closes_no_way_that_is_open() {
    fn user(entries: &[(&str, &str)]) -> Secret {
        let data = entries.iter().map(|(name, text)| ((*name).to_owned(), ByteString(text.as_bytes().to_vec())));
        let metadata = ObjectMeta { name: Some("etcd-user".into()), ..ObjectMeta::default() };
        Secret { metadata, data: Some(data.collect()), ..Secret::default() }
    }
    let bell = Arc::new(Notify::new());
    let mut cluster = cluster("http://127.0.0.1:1");
    cluster.spec.etcd.credentials_secret_ref = Some(throng_crds::cluster::SecretRef { name: "etcd-user".into() });
    let mut secrets = Secrets::default();
    let mut etcd = None;
    let keep = |etcd: &mut Option<Etcd>, secrets: &Secrets| Etcd::keep(etcd, &owner(&cluster), secrets, &bell);
    let error = keep(&mut etcd, &secrets).unwrap_err();
    assert!(error.contains("of the Secret etcd-user was not read yet") && etcd.is_none(), "{error}");
    secrets.learn_unreadable("etcd-user", "403 Forbidden".into());
    let error = keep(&mut etcd, &secrets).unwrap_err();
    assert!(error.contains("names etcd-user, which cannot be read: 403 Forbidden"), "{error}");
    assert!(!error.contains("stays in force"), "nothing was read before: {error}");

    let good = user(&[("username", "throng"), ("password", "tangerine")]);
    secrets.learn(good.clone());
    keep(&mut etcd, &secrets).unwrap();
    let views = etcd.as_ref().unwrap().views();
    let missing = |secrets: &mut Secrets| secrets.learn_missing("etcd-user");
    let incomplete = |secrets: &mut Secrets| secrets.learn(user(&[("password", "tangerine")]));
    let empty = |secrets: &mut Secrets| secrets.learn(user(&[("username", "throng"), ("password", "")]));
    let spoils: [(Spoil<'_>, &str); 3] = [
        (&missing, "names etcd-user: create that Secret"),
        (&incomplete, "names etcd-user, which lacks the entry username: add it"),
        (&empty, "names etcd-user, whose entry password is empty"),
    ];
    for (spoil, says) in spoils {
        spoil(&mut secrets);
        let error = keep(&mut etcd, &secrets).unwrap_err();
        assert!(error.contains(says) && error.contains("what was read before stays in force"), "{error}");
        assert!(etcd.as_ref().unwrap().views().same_channel(&views), "{says}");
        secrets.learn(good.clone());
        keep(&mut etcd, &secrets).unwrap();
        assert!(etcd.as_ref().unwrap().views().same_channel(&views), "mended as it was: {says}");
    }
    secrets.learn(user(&[("username", "throng"), ("password", "another")]));
    keep(&mut etcd, &secrets).unwrap();
    assert!(!etcd.as_ref().unwrap().views().same_channel(&views), "what can be used is");
}

#[tokio::test]
async fn a_cluster_that_goes_leaves_no_key_and_its_neighbours_are_not_touched() {
    let server = EtcdServer::start();
    let cluster = cluster(&server.url());
    let bell = Arc::new(Notify::new());
    let etcd = open(&owner(&cluster), &bell);
    // Its name begins like that of the one that goes.
    let other = Owner { namespace: "show", name: "live-2", uid: "c2", spec: &cluster.spec };
    let other = open(&other, &bell);
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
