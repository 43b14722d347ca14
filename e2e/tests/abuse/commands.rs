//! Text that is no command of the protocol, and commands with wrong contents.

use std::time::Duration;

use serde_json::json;
use throng_e2e::raw::{Raw, TEXT, masked};
use throng_e2e::talk::Talk;

use crate::{SOON, code, hello, join, plain, quick};

/// What a client says after hello, and the code that answers it.
fn wrong() -> Vec<(String, &'static str)> {
    let long = "r".repeat(129);
    let mut all = vec![
        (r#"{"id":7,"publish":{"room":"r","data":"#.to_owned() + &"[".repeat(60_000) + "}}", "bad_request"),
        (r#"{"id":7,"join":"#.to_owned() + &"[".repeat(60_000), "bad_request"),
        (format!(r#"{{"id":7,"join":{{"room":"{long}"}}}}"#), "bad_id"),
        (format!(r#"{{"id":7,"publish":{{"room":"{long}"}}}}"#), "bad_id"),
        (format!(r#"{{"id":7,"leave":{{"room":"{long}"}}}}"#), "bad_id"),
        (format!(r#"{{"id":7,"pull":{{"room":"{long}","lane":2}}}}"#), "bad_id"),
        (format!(r#"{{"id":7,"publish":{{"room":"r","type":"{}"}}}}"#, "t".repeat(65)), "bad_request"),
        (format!(r#"{{"id":7,"publish":{{"room":"r","key":"{long}"}}}}"#), "bad_request"),
        (format!(r#"{{"id":7,"publish":{{"room":"r","data":"{}"}}}}"#, "x".repeat(32 * 1024)), "too_large"),
    ];
    let bad_request = [
        "hello",
        "{",
        "",
        "null",
        "7",
        "[]",
        r#""ping""#,
        "{}",
        r#"{"id":7}"#,
        r#"{"id":7,"dance":{}}"#,
        r#"{"id":7,"Ping":{}}"#,
        r#"{"id":7,"ping":{},"pong":{}}"#,
        r#"{"id":7,"ping":{"x":1}}"#,
        r#"{"id":7,"ping":{},"join":{"room":"r"}}"#,
        r#"{"id":7,"ping":{},"ping":{}}"#,
        r#"{"id":7,"ping":7}"#,
        r#"{"id":"7","ping":{}}"#,
        r#"{"id":-7,"ping":{}}"#,
        r#"{"id":7.5,"ping":{}}"#,
        r#"{"id":18446744073709551616,"ping":{}}"#,
        r#"{"id":7,"join":{}}"#,
        r#"{"id":7,"join":"r"}"#,
        r#"{"id":7,"join":["r"]}"#,
        r#"{"id":7,"join":{"room":7}}"#,
        r#"{"id":7,"join":{"room":null}}"#,
        r#"{"id":7,"join":{"room":"r","rooms":["s"]}}"#,
        r#"{"id":7,"join":{"room":"r","history":-1}}"#,
        r#"{"id":7,"join":{"room":"r","history":"all"}}"#,
        r#"{"id":7,"join":{"room":"r","since":7}}"#,
        r#"{"id":7,"join":{"room":"r","since":{"epoch":1,"seq":[0,0,0]}}}"#,
        r#"{"id":7,"join":{"room":"r","since":{"epoch":1,"seq":[0,0,0,-1]}}}"#,
        r#"{"id":7,"join":{"room":"r","since":{"epoch":1}}}"#,
        "[7,null,null,null,null,null,null,{}]",
        r#"[7,null,null,null,{"room":"r"},null,null,null]"#,
        r#"{"id":7,"join":["r",0,null]}"#,
        r#"{"id":7,"join":{"room":"r","since":[1,[0,0,0,0]]}}"#,
        r#"{"id":7,"leave":["r"]}"#,
        r#"{"id":7,"publish":["r",2,"text",{"a":1},"k","accepted"]}"#,
        r#"{"id":7,"publish":{"room":"r","ack":{"stored":null}}}"#,
        r#"{"id":7,"pull":["r",null,2,0,100]}"#,
        r#"{"id":7,"refresh":["x"]}"#,
        r#"{"id":7,"ping":[]}"#,
        r#"{"id":7,"leave":{}}"#,
        r#"{"id":7,"publish":{"data":1}}"#,
        r#"{"id":7,"publish":{"room":"r","lane":4}}"#,
        r#"{"id":7,"publish":{"room":"r","lane":"2"}}"#,
        r#"{"id":7,"publish":{"room":"r","lane":-1}}"#,
        r#"{"id":7,"publish":{"room":"r","type":""}}"#,
        r#"{"id":7,"publish":{"room":"r","type":"a\nb"}}"#,
        r#"{"id":7,"publish":{"room":"r","type":7}}"#,
        r#"{"id":7,"publish":{"room":"r","key":""}}"#,
        r#"{"id":7,"publish":{"room":"r","ack":"maybe"}}"#,
        r#"{"id":7,"publish":{"room":"r","from":"admin"}}"#,
        r#"{"id":7,"publish":{"room":"r","data":{"a":}}}"#,
        r#"{"id":7,"pull":{"room":"r"}}"#,
        r#"{"id":7,"pull":{"room":"r","lane":9}}"#,
        r#"{"id":7,"pull":{"room":"r","lane":2,"limit":-1}}"#,
        r#"{"id":7,"refresh":{}}"#,
        r#"{"id":7,"hello":{"token":"x"}}"#,
        r#"{"id":7,"hello":{}}"#,
        r#"{"id":7,"hello":{"token":"x","resume":"y"}}"#,
        r#"{"id":7,"hello":{"max_rate":-1}}"#,
    ];
    all.extend(bad_request.map(|text| (text.to_owned(), "bad_request")));
    let bad_id = [
        r#"{"id":7,"join":{"room":""}}"#,
        "{\"id\":7,\"join\":{\"room\":\"a\\u0000b\"}}",
        r#"{"id":7,"join":{"room":"a\nb"}}"#,
        r#"{"id":7,"publish":{"room":""}}"#,
        r#"{"id":7,"leave":{"room":""}}"#,
        r#"{"id":7,"pull":{"room":"","lane":2}}"#,
    ];
    all.extend(bad_id.map(|text| (text.to_owned(), "bad_id")));
    let not_joined = [
        r#"{"id":7,"publish":{"room":"s"}}"#,
        r#"{"id":7,"leave":{"room":"s"}}"#,
        r#"{"id":7,"pull":{"room":"s","lane":2}}"#,
    ];
    all.extend(not_joined.map(|text| (text.to_owned(), "not_joined")));
    all
}

async fn joined(raw: &mut Raw, room: &str) {
    raw.text(&json!({"id": 2, "join": {"room": room}}).to_string()).await.unwrap();
    while raw.json(SOON).await.unwrap()["id"] != 2 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_command_is_answered_with_its_code_and_the_connection_goes_on() {
    let dev = quick();
    let talk = Talk::start(dev).unwrap();
    let (mut raw, _) = Raw::hello(&dev.ready.url, &dev.token("mallory").unwrap()).await.unwrap();
    joined(&mut raw, "r").await;
    while !talk.is_enough() {
        for (text, code) in wrong() {
            raw.text(&text).await.unwrap();
            let short: String = text.chars().take(80).collect();
            let answer = loop {
                let said = raw.json(SOON).await.unwrap_or_else(|error| panic!("{short}: {error}"));
                if said.get("event").is_none() {
                    break said;
                }
            };
            assert_eq!(answer["error"]["code"], code, "{short}: {answer}");
            crate::is_for_people(&answer);
            assert!(
                answer["error"]["message"].as_str().is_some_and(|message| message.len() < 300),
                "{short}: {answer}"
            );
            // The answer finds its way wherever an id could be read.
            if code != "bad_request" {
                assert_eq!(answer["id"], 7, "{short}: {answer}");
            }
        }
    }
    raw.text(r#"{"id":8,"publish":{"room":"r","data":"still here"}}"#).await.unwrap();
    while raw.json(SOON).await.unwrap()["id"] != 8 {}
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_before_hello() {
    let dev = plain();
    for command in [
        json!({"join": {"room": "r"}}),
        json!({"leave": {"room": "r"}}),
        json!({"publish": {"room": "r"}}),
        json!({"pull": {"room": "r", "lane": 2}}),
        json!({"refresh": {"token": "x"}}),
    ] {
        let mut client = throng_e2e::client::Client::open(&dev.ready.url).await.unwrap();
        assert_eq!(code(&client.try_ask(command.clone()).await.unwrap()), "hello_first", "{command}");
        client.ask(json!({"ping": {}})).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_and_contents_at_their_limits_are_taken() {
    let dev = plain();
    let (user, room) = ("é".repeat(64), "日".repeat(42) + "ab");
    let mut ana = hello(dev, &user).await;
    join(&mut ana, &room).await;
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let data = serde_json::from_str::<serde_json::Value>(&deep).unwrap();
    let publish = json!({"publish": {"room": room, "type": "t".repeat(64), "key": "k".repeat(128), "data": data}});
    ana.ask(publish).await.unwrap();
    let message = ana.messages(SOON).await.unwrap().remove(0);
    assert_eq!((message["from"].as_str(), &message["data"]), (Some(user.as_str()), &data));
    let large = "x".repeat(32 * 1024 - 2);
    ana.ask(json!({"publish": {"room": room, "data": large}})).await.unwrap();
    assert_eq!(ana.messages(SOON).await.unwrap()[0]["data"], large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_nested_so_deeply_that_readers_would_fail_is_refused_and_disturbs_nobody() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let (mut ana, mut ben) = (hello(dev, "ana").await, hello(dev, "ben").await);
    join(&mut ben, "deep").await;
    join(&mut ana, "deep").await;
    for nested in ["[".repeat(15_000) + &"]".repeat(15_000), r#"{"a":"#.repeat(5000) + "1" + &"}".repeat(5000)] {
        let text = format!(r#"{{"id":900,"publish":{{"room":"deep","data":{nested}}}}}"#);
        let (mut raw, _) = Raw::hello(&dev.ready.url, &dev.token("mallory").unwrap()).await.unwrap();
        joined(&mut raw, "deep").await;
        raw.write(&masked(TEXT, text.as_bytes())).await;
        let answer = loop {
            let said = raw.json(SOON).await.unwrap();
            if said["id"] == 900 {
                break said;
            }
        };
        assert_eq!(code(&answer), "bad_request");
        let (status, _) = dev.api("POST", "/v1/rooms/deep/messages", &json!({"data": 1})).unwrap();
        assert_eq!(status, 200);
        let body = format!(r#"{{"data":{nested}}}"#);
        let answer = dev.http("POST", "/v1/rooms/deep/messages", &body).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    // Ben, whose JSON reader allows 128 levels, has heard all that was said and is there.
    assert_eq!(ben.messages(SOON).await.unwrap()[0]["data"], 1);
    tokio::time::sleep(Duration::from_millis(200)).await;
    ben.ask(json!({"ping": {}})).await.unwrap();
    println!("{}", talk.undisturbed().unwrap());
}
