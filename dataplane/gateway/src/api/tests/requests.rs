//! Callers without a key, and calls that are not as they should be. None of them reaches a Pod.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::get;
use throng_proto::link::AdminRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{MAX_BODY_BYTES, TABLE};
use super::cluster::{Gateway, KEY, Pod, Script, Seen, request, routes};

#[tokio::test]
async fn no_call_comes_through_without_a_key() {
    let pod = Pod::start(Script::default()).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[&pod.address]));
    let given = ["", "Bearer", "Bearer ", "Bearer wrong", "Basic test-key", "test-key", "Bearer test-key2"];
    for (method, path) in TABLE.iter().chain(&[("GET", "/v1"), ("GET", "/v1/nothing"), ("PATCH", "/v1/rooms")]) {
        for header in given {
            let request = Request::builder().method(*method).uri(path.replace(['{', '}'], "x"));
            let request = if header.is_empty() { request } else { request.header("authorization", header) };
            let answer = gateway.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.failure(), (401, "unauthorized"), "{method} {path} {header:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    assert!(pod.seen().is_empty());
}

#[tokio::test]
async fn without_configured_keys_the_answer_says_how_to_set_one() {
    for keys in [&[][..], &[""][..]] {
        let gateway = Gateway::with(routes(&[], &[]), keys, Duration::from_secs(1));
        let answer = gateway.call("GET", "/v1/rooms", "").await;
        assert_eq!(answer.failure(), (401, "unauthorized"));
        assert!(answer.message().contains("auth.api_keys"), "{answer:?}");
    }
}

#[tokio::test]
async fn each_of_the_configured_keys_opens_and_its_scheme_has_no_case() {
    let gateway = Gateway::with(routes(&[], &[]), &["old", "new"], Duration::from_secs(1));
    for header in ["Bearer old", "bearer new"] {
        let request = Request::builder().uri("/v1/nothing").header("authorization", header);
        assert_eq!(gateway.send(request.body(Body::empty()).unwrap()).await.status, 404);
    }
}

#[tokio::test]
async fn what_is_not_as_the_documents_say_is_refused_before_it_reaches_a_pod() {
    let pod = Pod::start(Script::default()).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[&pod.address]));
    let long = format!("/v1/rooms/{}", "x".repeat(129));
    let big = format!(r#"{{"data":"{}"}}"#, "x".repeat(40_000));
    for (method, path, body, failure) in [
        ("PUT", "/v1/rooms/final", r#"{"mute":true}"#, (400, "bad_request")),
        ("PUT", "/v1/rooms/final", r#"{"mute_all":"yes"}"#, (400, "bad_request")),
        ("PUT", "/v1/rooms/final", "{", (400, "bad_request")),
        ("PUT", "/v1/rooms/final", "[]", (400, "bad_request")),
        ("PUT", "/v1/rooms/final", "{} {}", (400, "bad_request")),
        ("PUT", "/v1/rooms/final?mute_all=true", "", (400, "bad_request")),
        ("GET", "/v1/rooms?limt=3", "", (400, "bad_request")),
        ("GET", "/v1/rooms?limit=0", "", (400, "bad_request")),
        ("GET", "/v1/rooms/final/members?limit=1001", "", (400, "bad_request")),
        ("GET", "/v1/rooms/final/members?limit=many", "", (400, "bad_request")),
        ("GET", "/v1/rooms?after=a%0Ab", "", (400, "bad_id")),
        ("GET", long.as_str(), "", (400, "bad_id")),
        ("GET", "/v1/rooms/a%0Ab", "", (400, "bad_id")),
        ("GET", "/v1/rooms//members", "", (400, "bad_id")),
        ("GET", "/v1/rooms/%FF", "", (400, "bad_id")),
        ("POST", "/v1/rooms/final/kick", "", (400, "bad_request")),
        ("POST", "/v1/rooms/final/kick", r#"{"user":""}"#, (400, "bad_id")),
        ("POST", "/v1/rooms/final/messages", r#"{"lane":4}"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/messages", r#"{"ack":"never"}"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/messages", r#"{"key":""}"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/messages", big.as_str(), (413, "too_large")),
        ("DELETE", "/v1/rooms/final/messages/7/4/1", "", (400, "bad_request")),
        ("DELETE", "/v1/rooms/final/messages/7/2/x", "", (400, "bad_request")),
        ("DELETE", "/v1/rooms/final?reason=", "", (400, "bad_request")),
        ("GET", "/v1/rooms/final/lists/friends", "", (404, "not_found")),
        ("POST", "/v1/rooms/final/lists/mute", r#"{"add":["ana"]}"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/lists/mute", r#"{"add":[["bob",null,null]]}"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/lists/mute", r#"[[{"user":"bob"}],["ana"]]"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/messages", r#"[null,"text",1,2,null,"accepted"]"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/messages", r#"{"ack":{"stored":null}}"#, (400, "bad_request")),
        ("POST", "/v1/rooms/final/kick", r#"["ana"]"#, (400, "bad_request")),
        ("POST", "/v1/users/ana/kick", r#"{"session":1}"#, (400, "bad_request")),
    ] {
        let answer = gateway.call(method, path, body).await;
        assert_eq!(answer.failure(), failure, "{method} {path} {body:.60}: {answer:?}");
        assert!(!answer.message().is_empty());
        let words = answer.message().to_lowercase();
        assert!(!words.contains("struct") && !words.contains("deserialize"), "{method} {path}: {words}");
    }
    assert!(pod.seen().is_empty());
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405_with_those_that_are_right() {
    let gateway = Gateway::new(routes(&[], &[]));
    for path in ["/v1", "/v1/", "/v1/nothing", "/v1/rooms/", "/v1/rooms/a/b/c", "/v1/users/ana"] {
        assert_eq!(gateway.call("GET", path, "").await.failure(), (404, "not_found"), "{path}");
    }
    let answer = gateway.call("PATCH", "/v1/rooms/final", "").await;
    assert_eq!(answer.failure(), (405, "bad_request"));
    let mut allowed: Vec<_> = answer.headers["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PUT"]);
}

#[tokio::test]
async fn ids_in_paths_are_percent_decoded() {
    let pod = Pod::start(Script::default()).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    for (path, room) in [("a%2Fb%20c", "a/b c"), ("%E6%B1%BA%E5%8B%9D", "決勝"), ("100%25", "100%"), ("a+b", "a+b")] {
        let answer = gateway.call("GET", &format!("/v1/rooms/{path}"), "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body["room"], room);
        assert!(matches!(pod.seen().last(), Some(Seen::Admin(AdminRequest { room: asked, .. })) if asked == room));
    }
}

#[tokio::test]
async fn a_body_is_limited_in_size_and_in_time() {
    let gateway = Gateway::with(routes(&[], &[]), &[KEY], Duration::from_millis(100));
    let answer = gateway.call("PUT", "/v1/rooms/final", &" ".repeat(MAX_BODY_BYTES + 1)).await;
    assert_eq!(answer.failure(), (413, "too_large"));
    let endless = tokio_stream::pending::<Result<Bytes, std::io::Error>>();
    let request = request("PUT", "/v1/rooms/final").body(Body::from_stream(endless)).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(2), gateway.send(request)).await.unwrap();
    assert_eq!(answer.failure(), (400, "bad_request"));
}

/// As the gateway serves it: beside other paths, over a socket.
#[tokio::test]
async fn the_router_merges_into_another_and_answers_over_tcp() {
    let pod = Pod::start(Script::default()).await;
    let gateway = Gateway::new(routes(&[&pod.address], &[]));
    let page = Router::new().route("/", get(|| async { "page" })).fallback(|| async { "elsewhere" });
    let app = page.merge(gateway.router.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (path, status, text) in [
        ("/", "200", "page"),
        ("/other", "200", "elsewhere"),
        ("/v1/rooms/final", "200", "\"members\":1042"),
        ("/v1/other", "404", "not_found"),
    ] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text), "{path}: {answer}");
    }
    server.abort();
}
