//! The server API: calls without a key, and calls that say nonsense.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use throng_e2e::dev::Dev;
use throng_e2e::raw::{host, rest, tcp};
use throng_e2e::talk::Talk;
use tokio::io::AsyncWriteExt as _;

use crate::{SOON, hello, join, plain};

/// Every call of `docs/server-api.md`, and two that are none.
const CALLS: &[(&str, &str)] = &[
    ("GET", "/v1/rooms"),
    ("PUT", "/v1/rooms/r"),
    ("GET", "/v1/rooms/r"),
    ("DELETE", "/v1/rooms/r"),
    ("GET", "/v1/rooms/r/members"),
    ("POST", "/v1/rooms/r/kick"),
    ("POST", "/v1/rooms/r/messages"),
    ("DELETE", "/v1/rooms/r/messages/1/2/3"),
    ("GET", "/v1/rooms/r/lists/mute"),
    ("POST", "/v1/rooms/r/lists/mute"),
    ("POST", "/v1/announce"),
    ("POST", "/v1/users/ana/messages"),
    ("POST", "/v1/users/ana/kick"),
    ("GET", "/v1/"),
    ("GET", "/v1/secrets"),
];

/// One request with any head; status and body.
async fn call(dev: &Dev, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = tcp(&dev.ready.url, Ipv4Addr::LOCALHOST, None).await.unwrap();
    let (host, length) = (host(&dev.ready.url).unwrap(), body.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    let _ = stream.write_all(request.as_bytes()).await;
    let answer = rest(&mut stream, SOON).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_nothing_is_told_and_nothing_is_done() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let mut ana = hello(dev, "ana").await;
    join(&mut ana, "r").await;
    let key = dev.ready.api_key.clone();
    let wrong = [
        String::new(),
        "Authorization: Bearer \r\n".to_owned(),
        "Authorization: Bearer wrong\r\n".to_owned(),
        format!("Authorization: Bearer {key}x\r\n"),
        format!("Authorization: Bearer {}\r\n", key.to_uppercase()),
        format!("Authorization: Basic {key}\r\n"),
        format!("Authorization: {key}\r\n"),
        format!("X-Api-Key: {key}\r\n"),
        format!("Authorization: Bearer {}\r\n", "x".repeat(6000)),
        format!("Authorization: Bearer {}\r\n", dev.token("ana").unwrap()),
    ];
    while !talk.is_enough() {
        for ((method, path), headers) in CALLS.iter().flat_map(|call| wrong.iter().map(move |headers| (call, headers)))
        {
            let (status, answer) = call(dev, method, path, headers, "{}").await;
            assert_eq!((status, &answer["error"]["code"]), (401, &json!("unauthorized")), "{method} {path} {headers}");
        }
    }
    // A key in the query is none, and a body is not read before the key.
    let (status, _) = call(dev, "GET", &format!("/v1/rooms?key={key}"), "", "").await;
    assert_eq!(status, 401);
    let (status, _) = call(dev, "POST", "/v1/announce", "", &"x".repeat(200_000)).await;
    assert!(status == 401 || status == 0, "{status}");
    // Ana was neither kicked nor muted, and the room is there.
    ana.ask(json!({"publish": {"room": "r", "data": "still here"}})).await.unwrap();
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_say_nonsense_get_their_code() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let key = format!("Authorization: Bearer {}\r\n", dev.ready.api_key);
    dev.api("PUT", "/v1/rooms/r", &json!({})).unwrap();
    let long = "r".repeat(129);
    let (long_room, long_user) = (format!("/v1/rooms/{long}"), format!("/v1/users/{long}/kick"));
    let (large, too_large) = (format!(r#"{{"data":"{}"}}"#, "x".repeat(33_000)), "x".repeat(70_000));
    let long_reason = format!("/v1/rooms/r?reason={long}");
    let cases: Vec<(&str, &str, &str, u16, &str)> = vec![
        ("GET", "/v1/secrets", "", 404, "not_found"),
        ("POST", "/v1/rooms/r", "{}", 405, "bad_request"),
        ("PATCH", "/v1/rooms/r", "{}", 405, "bad_request"),
        ("GET", "/v1/rooms/none", "", 404, "not_found"),
        ("GET", "/v1/rooms/%00", "", 400, "bad_id"),
        ("GET", "/v1/rooms/%ff", "", 400, "bad_id"),
        ("GET", &long_room, "", 400, "bad_id"),
        ("POST", &long_user, "{}", 400, "bad_id"),
        ("GET", "/v1/rooms?limit=0", "", 400, "bad_request"),
        ("GET", "/v1/rooms?limit=1001", "", 400, "bad_request"),
        ("GET", "/v1/rooms?limit=many", "", 400, "bad_request"),
        ("GET", "/v1/rooms?page=2", "", 400, "bad_request"),
        ("GET", "/v1/rooms/r/lists/friends", "", 404, "not_found"),
        ("PUT", "/v1/rooms/r", "{", 400, "bad_request"),
        ("PUT", "/v1/rooms/r", "[]", 400, "bad_request"),
        ("PUT", "/v1/rooms/r", r#"{"quota":1}"#, 400, "bad_request"),
        ("PUT", "/v1/rooms/r", r#"{"idle_ms":-1}"#, 400, "bad_request"),
        ("PUT", "/v1/rooms/r", r#"{"mute_all":"yes"}"#, 400, "bad_request"),
        ("PUT", "/v1/rooms/r", r#"{"protected_types":[]}"#, 400, "bad_request"),
        ("POST", "/v1/rooms/r/kick", "{}", 400, "bad_request"),
        ("POST", "/v1/rooms/r/kick", r#"["ana"]"#, 400, "bad_request"),
        ("POST", "/v1/rooms/r/lists/mute", r#"{"add":[["bob",null,null]]}"#, 400, "bad_request"),
        ("POST", "/v1/rooms/r/messages", r#"[null,null,null,null,null,"accepted"]"#, 400, "bad_request"),
        ("POST", "/v1/rooms/r/kick", r#"{"user":""}"#, 400, "bad_id"),
        ("POST", "/v1/rooms/r/kick", r#"{"user":"nobody"}"#, 404, "not_found"),
        ("POST", "/v1/rooms/r/messages", r#"{"lane":4}"#, 400, "bad_request"),
        ("POST", "/v1/rooms/r/messages", r#"{"from":""}"#, 400, "bad_id"),
        ("POST", "/v1/rooms/r/messages", &large, 413, "too_large"),
        ("POST", "/v1/rooms/r/messages", &too_large, 413, "too_large"),
        ("DELETE", "/v1/rooms/r/messages/1/2/x", "", 400, "bad_request"),
        ("DELETE", "/v1/rooms/r/messages/1/2/3", "", 404, "not_found"),
        ("DELETE", "/v1/rooms/r?why=x", "", 400, "bad_request"),
        ("DELETE", &long_reason, "", 400, "bad_request"),
        ("DELETE", "/v1/rooms/none", "", 404, "not_found"),
    ];
    while !talk.is_enough() {
        for (method, path, body, status, code) in &cases {
            let (got, answer) = call(dev, method, path, &key, body).await;
            assert_eq!((got, &answer["error"]["code"]), (*status, &json!(code)), "{method} {path} {body}: {answer}");
            crate::is_for_people(&answer);
        }
    }
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_ends_and_too_many_calls_at_once_leave_the_api_usable() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let (host, key) = (host(&dev.ready.url).unwrap(), &dev.ready.api_key);
    let head = format!(
        "POST /v1/announce HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Length: 500\r\n\r\n{{"
    );
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut stream = tcp(&dev.ready.url, Ipv4Addr::new(127, 0, 0, 2), None).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let (mut late, mut limited) = (0, 0);
    for mut stream in waiting {
        let answer = rest(&mut stream, SOON).await.unwrap();
        late += usize::from(answer.starts_with("HTTP/1.1 400"));
        limited += usize::from(answer.starts_with("HTTP/1.1 429"));
    }
    assert_eq!((late, limited), (64, 36));
    assert_eq!(dev.api("GET", "/v1/rooms", &Value::Null).unwrap().0, 200);
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_calls_without_a_key_leaves_the_api_and_the_chat_usable() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let host = host(&dev.ready.url).unwrap();
    let request = format!("GET /v1/rooms HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut floods = tokio::task::JoinSet::new();
    for number in 0..600u16 {
        let (url, request) = (dev.ready.url.clone(), request.clone());
        floods.spawn(async move {
            let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200).unwrap() + 1);
            let mut refused = 0;
            // The most that a client can do with one connection: it asks for another answer on it, without end.
            for _ in 0..3 {
                let Ok(mut stream) = tcp(&url, from, None).await else { continue };
                let _ = stream.write_all(request.repeat(20).as_bytes()).await;
                let answers = rest(&mut stream, SOON).await.unwrap_or_default();
                let count = answers.matches("HTTP/1.1 401").count();
                assert!(count <= 1, "the first refusal is the last answer: {count}");
                refused += count;
            }
            refused
        });
    }
    let mut served = 0;
    for _ in 0..20 {
        served += usize::from(dev.api("GET", "/v1/rooms", &Value::Null).unwrap().0 == 200);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(served, 20);
    let refused: usize = floods.join_all().await.into_iter().sum();
    assert!(refused > 600, "{refused}");
    println!("{refused} refused; {}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_a_rooms_end_is_told_to_its_members() {
    let dev = plain();
    let mut ana = hello(dev, "ana").await;
    for (path, reason) in
        [("/v1/rooms/over?reason=the%20show%20is%20over", "the show is over"), ("/v1/rooms/over", "destroyed")]
    {
        // The end of the room before may still be on its way.
        while !ana.try_ask(json!({"join": {"room": "over"}})).await.unwrap()["ok"].is_object() {}
        let (status, answer) = dev.api("DELETE", path, &Value::Null).unwrap();
        assert_eq!((status, &answer["reason"]), (200, &json!(reason)));
        let event = loop {
            let said = ana.next(SOON).await.unwrap();
            if said["event"]["kind"] == "closed" {
                break said;
            }
        };
        assert_eq!(event["event"]["reason"], reason);
        let publish = ana.try_ask(json!({"publish": {"room": "over"}})).await.unwrap();
        assert_eq!(crate::code(&publish), "not_joined");
    }
}
