//! Secrets that change while processes run: followed without a restart, and a refusal is told as what it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test says so by failing")]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::cluster::{Cluster, Pod};
use throng_e2e::{tokens, until, until_async};
use throng_proto::key::PodKey;
use throng_proto::link::DescribeRequest;
use throng_proto::link::node_client::NodeClient;
use tonic::transport::Channel;

/// What is mounted is followed by then; in a cluster the kubelet's time comes on top.
const SOON: Duration = Duration::from_secs(20);

const OLD: &str = "an old secret of the tests, of 32 bytes or more";
const NEW: &str = "a new secret of the tests, of 32 bytes or more";

async fn lets_in(gateway: &Pod, secret: &str) -> bool {
    let token = tokens::hs256(secret, &tokens::claims("ana")).unwrap();
    Client::hello(&gateway.url(), &token).await.is_ok()
}

/// Whether a Pod takes a key for that of another.
async fn takes(pod: &Pod, key: &str) -> bool {
    let channel = Channel::from_shared(format!("http://{}", pod.grpc)).unwrap().connect().await.unwrap();
    let mut node = NodeClient::with_interceptor(channel, PodKey::new(key).unwrap().attach());
    match node.describe(DescribeRequest {}).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), tonic::Code::Unauthenticated, "{status}");
            false
        }
    }
}

#[tokio::test]
async fn a_gateway_follows_the_keys_of_its_mounted_secret() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let keys = cluster.folder("jwt").unwrap();
    fs::write(keys.join("old"), OLD).unwrap();
    let sets = [
        format!("gateway.auth.jwt_dir={:?}", keys.display().to_string()),
        "gateway.auth.jwt_algorithms=[\"HS256\"]".to_owned(),
    ];
    let gateway = cluster.start_with("gateway", "gateway", &sets).unwrap();
    gateway.wait_ready(SOON).unwrap();
    assert!(lets_in(&gateway, OLD).await && !lets_in(&gateway, NEW).await);
    // Both for a while, as tokens of both are on their way.
    fs::write(keys.join("new"), NEW).unwrap();
    until_async("a new key of tokens is taken", async || lets_in(&gateway, NEW).await).await;
    assert!(lets_in(&gateway, OLD).await);
    fs::remove_file(keys.join("old")).unwrap();
    until_async("a key that is gone is refused", async || !lets_in(&gateway, OLD).await).await;
    assert!(lets_in(&gateway, NEW).await);
}

#[test]
fn keys_of_the_server_api_count_while_they_are_mounted_and_not_longer() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let keys = cluster.folder("api-keys").unwrap();
    fs::write(keys.join("old"), OLD).unwrap();
    let sets =
        [format!("gateway.auth.api_keys_dir={:?}", keys.display().to_string()), "gateway.auth.api_keys=[]".to_owned()];
    let gateway = cluster.start_with("gateway", "gateway", &sets).unwrap();
    gateway.wait_ready(SOON).unwrap();
    // A path that does not exist: only who has a key hears that.
    let knows = |key: &str| match gateway.api_with(key, "GET", "/v1/nowhere", &Value::Null).unwrap() {
        (404, _) => true,
        (401, _) => false,
        answer => panic!("{answer:?}"),
    };
    assert!(knows(OLD) && !knows(NEW));
    fs::write(keys.join("new"), NEW).unwrap();
    until("a new key of the API is taken", || knows(NEW));
    assert!(knows(OLD), "both for a while");
    fs::remove_file(keys.join("old")).unwrap();
    until("a key of the API that is gone is refused", || !knows(OLD));
    assert!(knows(NEW));
}

#[tokio::test]
async fn a_resume_token_of_a_key_that_was_replaced_is_taken_still() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let keys = cluster.folder("resume").unwrap();
    fs::write(keys.join("1"), OLD).unwrap();
    let sets =
        [format!("gateway.auth.resume_dir={:?}", keys.display().to_string()), "gateway.auth.resume=[]".to_owned()];
    let gateway = cluster.start_with("gateway", "gateway", &sets).unwrap();
    gateway.wait_ready(SOON).unwrap();
    let token = cluster.token("ana").unwrap();
    let resume_of_now = async || {
        let (_, hello) = Client::hello(&gateway.url(), &token).await.unwrap();
        hello["resume"].as_str().unwrap().to_owned()
    };
    let old = resume_of_now().await;
    assert!(old.starts_with("1."), "signed with the only key");
    // A folder without keys changes nothing, so the two steps are followed as one.
    fs::remove_file(keys.join("1")).unwrap();
    fs::write(keys.join("2"), NEW).unwrap();
    until_async("the new key signs", async || resume_of_now().await.starts_with("2.")).await;
    let resumes = async |token: &str| {
        let mut client = Client::open(&gateway.url()).await.unwrap();
        client.ask(json!({"hello": {"resume": token}})).await.is_ok()
    };
    assert!(resumes(&old).await, "for an hour");
    assert!(!resumes(&old.replacen("1.", "3.", 1)).await, "of a key that never was");
}

#[tokio::test]
async fn a_pod_takes_a_new_key_between_pods_at_once_and_the_old_one_still() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let file = cluster.folder("pod-key").unwrap().join("pod-key");
    fs::write(&file, OLD).unwrap();
    cluster.read_pod_key(&file).unwrap();
    let pod = cluster.start_ready("chatroom", "chatroom").unwrap();
    assert!(takes(&pod, OLD).await && !takes(&pod, NEW).await);
    fs::write(&file, NEW).unwrap();
    until_async("a new key between Pods is taken", async || takes(&pod, NEW).await).await;
    assert!(takes(&pod, OLD).await, "others send it for two minutes more");
}

#[test]
fn a_wrong_password_of_redis_is_told_and_the_right_one_followed() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let (_redis, url) = cluster.start_redis("right").unwrap();
    let credentials = cluster.folder("redis-credentials").unwrap();
    fs::write(credentials.join("password"), "hunter2").unwrap();
    let sets = [
        format!("node.redis=[{url:?}]"),
        format!("node.redis_credentials_dir={:?}", credentials.display().to_string()),
    ];
    let pod = cluster.start_with("chatroom", "chatroom", &sets).unwrap();
    let end = Instant::now() + SOON;
    loop {
        match pod.get("/readyz") {
            Ok((503, why)) if why.contains("Redis refuses it") && why.contains("password") => break,
            answer => assert!(Instant::now() < end, "{answer:?}\n{}", cluster.log("chatroom")),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!cluster.log("chatroom").contains("hunter2"), "a password is never shown");
    fs::write(credentials.join("password"), "right").unwrap();
    pod.wait_ready(SOON).unwrap();
}
