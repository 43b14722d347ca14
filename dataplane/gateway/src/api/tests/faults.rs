//! Pods that moved, are gone, hang, refuse, or do not know the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use throng_proto::link::{AdminReply, DirectReply, PublishReply};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tonic::Status;

use super::super::MAX_CALLS;
use super::cluster::{Answer, Gateway, KEY, Pod, Script, request, routes};

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A way to a Pod whose first connections break as soon as something was said on them: its address.
async fn breaks_at_first(pod: &Pod, connections: usize) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, pod) = (listener.local_addr().unwrap().to_string(), pod.address.clone());
    tokio::spawn(async move {
        for number in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            if number < connections {
                // The call is on its way, and nobody will answer it.
                let mut said = [0; 4096];
                let heard = near.read(&mut said).await.unwrap();
                assert!(heard > 0);
                continue;
            }
            let mut far = tokio::net::TcpStream::connect(&pod).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    address
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_made_again_once_where_that_is_harmless() {
    let pod = Pod::start(Script::default()).await;
    for (method, path, body) in [
        ("GET", "/v1/rooms/final", ""),
        ("GET", "/v1/rooms", ""),
        ("PUT", "/v1/rooms/final", "{}"),
        ("GET", "/v1/rooms/final/members", ""),
        ("POST", "/v1/rooms/final/messages", r#"{"key":"k"}"#),
    ] {
        let once = breaks_at_first(&pod, 1).await;
        let answer = Gateway::new(routes(&[&once], &[])).call(method, path, body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        let twice = breaks_at_first(&pod, 2).await;
        assert_unavailable(&Gateway::new(routes(&[&twice], &[])).call(method, path, body).await);
    }
    assert_eq!(pod.seen().len(), 5);
}

#[tokio::test]
async fn what_could_be_heard_twice_is_not_made_again() {
    let pod = Pod::start(Script::default()).await;
    for (method, path) in [
        ("POST", "/v1/rooms/final/messages"),
        ("POST", "/v1/users/ana/messages"),
        ("POST", "/v1/users/ana/kick"),
        ("POST", "/v1/announce"),
    ] {
        let once = breaks_at_first(&pod, 1).await;
        assert_unavailable(&Gateway::new(routes(&[&once], &[&once])).call(method, path, "{}").await);
    }
    assert!(pod.seen().is_empty());
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.failure(), (503, "unavailable"), "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.body["error"]["retry_ms"], 1000);
}

#[tokio::test]
async fn moved_is_followed_three_times() {
    let owner = Pod::start(Script::default()).await;
    let third = Pod::start(Script::moved(&owner.address)).await;
    let second = Pod::start(Script::moved(&third.address)).await;
    let first = Pod::start(Script::moved(&second.address)).await;
    let gateway = Gateway::new(routes(&[&first.address], &[&first.address]));
    assert_eq!(gateway.call("GET", "/v1/rooms/final", "").await.status, 200);
    assert_eq!(gateway.call("POST", "/v1/users/ana/messages", "{}").await.body["connections"], 2);
    assert_eq!([&first, &second, &third, &owner].map(|pod| pod.seen().len()), [2; 4]);

    let further = Pod::start(Script::moved(&first.address)).await;
    let gateway = Gateway::new(routes(&[&further.address], &[&further.address]));
    assert_unavailable(&gateway.call("GET", "/v1/rooms/final", "").await);
    assert_eq!(owner.seen().len(), 2);
}

#[tokio::test]
async fn moved_without_an_address_looks_at_the_claims_again() {
    let owner = Pod::start(Script::default()).await;
    let former = Pod::start(Script::moved("")).await;
    let gateway = Gateway::new(routes(&[&former.address], &[]));
    assert_unavailable(&gateway.call("GET", "/v1/rooms/final", "").await);
    assert_eq!(former.seen().len(), 1, "the same Pod is not asked twice");

    let slow = Pod::start(Script { after: Duration::from_millis(200), ..Script::moved("") }).await;
    gateway.routes.send_replace(Arc::new(routes(&[&slow.address], &[])));
    let later = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        gateway.routes.send_replace(Arc::new(routes(&[&owner.address], &[])));
    };
    let (answer, ()) = tokio::join!(gateway.call("GET", "/v1/rooms/final", ""), later);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn without_an_owner_everything_is_unavailable() {
    let gateway = Gateway::new(routes(&[], &[]));
    for (method, path) in [
        ("GET", "/v1/rooms"),
        ("GET", "/v1/rooms/final"),
        ("POST", "/v1/rooms/final/messages"),
        ("POST", "/v1/announce"),
        ("POST", "/v1/users/ana/messages"),
        ("POST", "/v1/users/ana/kick"),
    ] {
        assert_unavailable(&gateway.call(method, path, "").await);
    }
}

#[tokio::test]
async fn a_dead_owner_is_unavailable_until_the_claims_name_another() {
    let dead = nowhere().await;
    let gateway = Gateway::new(routes(&[&dead], &[&dead]));
    assert_unavailable(&gateway.call("GET", "/v1/rooms/final", "").await);
    assert_unavailable(&gateway.call("POST", "/v1/users/ana/kick", "").await);
    let pod = Pod::start(Script::default()).await;
    gateway.routes.send_replace(Arc::new(routes(&[&pod.address], &[&pod.address])));
    assert_eq!(gateway.call("GET", "/v1/rooms/final", "").await.status, 200);
}

#[tokio::test]
async fn a_pod_that_hangs_costs_a_caller_the_deadline_and_no_more() {
    let pod = Pod::start(Script { after: Duration::from_mins(1), ..Script::default() }).await;
    let routes = routes(&[&pod.address], &[&pod.address]);
    let gateway = Gateway::with(routes, &[KEY], Duration::from_millis(200));
    for (method, path) in [("GET", "/v1/rooms/final"), ("GET", "/v1/rooms"), ("POST", "/v1/users/ana/kick")] {
        let start = Instant::now();
        let answer = gateway.call(method, path, "").await;
        assert_unavailable(&answer);
        assert!(start.elapsed() < Duration::from_secs(2), "{path}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_pod_with_another_key_is_a_fault_that_says_so() {
    let pod = Pod::start_with_key(Script::default(), "another").await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    let answer = gateway.call("GET", "/v1/rooms/final", "").await;
    assert_eq!(answer.failure(), (500, "internal"));
    assert!(answer.message().contains("podKey"), "{answer:?}");
    assert!(pod.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_keeps_its_code_its_words_and_its_time() {
    let refused = |code: &str| AdminReply { code: code.into(), message: "so".into(), ..AdminReply::default() };
    for (code, status) in [("not_found", 404), ("bad_request", 400), ("not_stored", 503)] {
        let pod = Pod::start(Script::admin(refused(code))).await;
        let gateway = Gateway::new(routes(&[&pod.address], &[]));
        let answer = gateway.call("GET", "/v1/rooms/final", "").await;
        assert_eq!((answer.failure(), answer.message()), ((status, code), "so"));
    }
    let published = PublishReply { code: "limited".into(), retry_ms: 1180, ..PublishReply::default() };
    let pod = Pod::start(Script::admin(AdminReply { published: Some(published), ..AdminReply::default() })).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    let answer = gateway.call("POST", "/v1/rooms/final/messages", "{}").await;
    assert_eq!(answer.failure(), (429, "limited"));
    assert_eq!(
        (&answer.body["error"]["retry_ms"], &answer.headers["retry-after"]),
        (&json!(1180), &"2".parse().unwrap())
    );
}

#[tokio::test]
async fn a_refusal_of_a_users_home_is_told_too() {
    let direct = DirectReply { code: "unavailable".into(), ..DirectReply::default() };
    let pod = Pod::start(Script { direct, ..Script::default() }).await;
    let gateway = Gateway::new(routes(&[], &[&pod.address]));
    assert_unavailable(&gateway.call("POST", "/v1/users/ana/messages", "{}").await);
}

#[tokio::test]
async fn an_answer_without_its_content_is_a_fault() {
    let pod = Pod::start(Script::admin(AdminReply::default())).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    for (method, path) in [
        ("GET", "/v1/rooms/final"),
        ("PUT", "/v1/rooms/final"),
        ("GET", "/v1/rooms/final/members"),
        ("GET", "/v1/rooms/final/lists/mute"),
        ("POST", "/v1/rooms/final/messages"),
    ] {
        assert_eq!(gateway.call(method, path, "").await.failure(), (500, "internal"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_list_of_rooms_is_whole_or_unavailable_and_an_announcement_tells_whom_it_missed() {
    let (pod, dead) = (Pod::start(Script::default()).await, nowhere().await);
    let gateway = Gateway::new(routes(&[&pod.address, &dead], &[]));
    assert_unavailable(&gateway.call("GET", "/v1/rooms", "").await);
    let answer = gateway.call("POST", "/v1/announce", "{}").await;
    assert_eq!(answer.body, json!({"rooms": 12, "unreached": ["pod-1"]}));
    let gateway = Gateway::new(routes(&[&dead], &[]));
    assert_unavailable(&gateway.call("POST", "/v1/announce", "{}").await);
}

#[tokio::test]
async fn a_status_of_a_pod_becomes_a_code() {
    let admin = Arc::new(|_: &_| Err(Status::resource_exhausted("too much")));
    let pod = Pod::start(Script { admin, ..Script::default() }).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    assert_eq!(gateway.call("GET", "/v1/rooms/final", "").await.failure(), (429, "limited"));
}

#[tokio::test]
async fn one_call_too_many_is_limited_and_does_not_wait() {
    let pod = Pod::start(Script { after: Duration::from_mins(1), ..Script::default() }).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    let mut calls = JoinSet::new();
    for _ in 0..MAX_CALLS {
        let router = gateway.router.clone();
        let request = request("GET", "/v1/rooms/final").body(axum::body::Body::empty()).unwrap();
        calls.spawn(async move { tower::ServiceExt::oneshot(router, request).await });
    }
    while pod.seen().len() < MAX_CALLS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = gateway.call("GET", "/v1/rooms/final", "").await;
    assert_eq!(answer.failure(), (429, "limited"));
    assert!(answer.headers.contains_key("retry-after"));
    calls.shutdown().await;
    let answer = gateway.call("GET", "/v1/nothing", "").await;
    assert_eq!(answer.failure(), (404, "not_found"), "abandoned calls give their places back");
}
