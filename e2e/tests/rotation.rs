//! Secrets that change while processes run: followed without a restart, and a refusal is told as what it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test says so by failing")]

use std::fs;
use std::time::{Duration, Instant};

use throng_e2e::client::Client;
use throng_e2e::cluster::{Cluster, Pod};
use throng_e2e::tokens;

/// What is mounted is followed by then; in a cluster the kubelet's time comes on top.
const SOON: Duration = Duration::from_secs(20);

const OLD: &str = "an old secret of the tests, of 32 bytes or more";
const NEW: &str = "a new secret of the tests, of 32 bytes or more";

async fn lets_in(gateway: &Pod, secret: &str) -> bool {
    let token = tokens::hs256(secret, &tokens::claims("ana")).unwrap();
    Client::hello(&gateway.url(), &token).await.is_ok()
}

/// Waits until a gateway lets in who has one secret, and not who has another.
async fn until(gateway: &Pod, secret: &str, is_let_in: bool) {
    let end = Instant::now() + SOON;
    while lets_in(gateway, secret).await != is_let_in {
        assert!(Instant::now() < end, "{secret}");
        tokio::time::sleep(Duration::from_millis(200)).await;
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
    until(&gateway, NEW, true).await;
    assert!(lets_in(&gateway, OLD).await);
    fs::remove_file(keys.join("old")).unwrap();
    until(&gateway, OLD, false).await;
    assert!(lets_in(&gateway, NEW).await);
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
