//! The gateway over real sockets, with another library's client and Pods made for the test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "help for tests")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, options, start, token, token_with};
use throng_core::Lane;
use throng_proto::link::{Directed, KickUser, Removed, RoomEvent, chatroom_to_gateway, message_to_gateway};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn texts(line: &Value) -> Vec<String> {
    line["segment"]["messages"]
        .as_array()
        .unwrap_or_else(|| panic!("not a segment: {line}"))
        .iter()
        .map(|m| m["data"]["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn two_people_chat() {
    let running = start(options()).await;
    let mut ana = Client::hello(running.address, "ana").await;
    let mut bob = Client::hello(running.address, "bob").await;
    let joined = ana.call("join", json!({"room": "final"})).await;
    assert_eq!(joined["ok"]["room"], "final");
    assert_eq!(joined["ok"]["epoch"], 7);
    assert_eq!(joined["ok"]["seq"], json!([0, 0, 0, 0]));
    assert_eq!(bob.call("join", json!({"room": "final"})).await["ok"]["members"], 2);
    let said =
        ana.call("publish", json!({"room": "final", "type": "text", "data": {"text": "hi"}, "ack": "stored"})).await;
    assert_eq!(said["ok"], json!({"state": "stored", "epoch": 7, "lane": 2, "seq": 1}));
    for client in [&mut ana, &mut bob] {
        let line = client.next_of("segment").await;
        assert_eq!(texts(&line), ["hi"]);
        assert_eq!(line["segment"]["messages"][0]["from"], "ana");
    }
    assert_eq!(bob.call("leave", json!({"room": "final"})).await["ok"]["room"], "final");
    let refused = bob.call("publish", json!({"room": "final", "type": "text", "data": 1})).await;
    assert_eq!(refused["error"]["code"], "not_joined");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(running.world.with(|world| world.room("final").members.len()), 1);
    let sessions = running.world.with(|world| world.sessions.clone());
    assert!(sessions.iter().any(|change| change.user == "ana" && change.joined == ["final"]), "{sessions:?}");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_first_and_nothing_twice() {
    let running = start(options()).await;
    let mut ana = Client::connect(running.address).await;
    let hello = ana.call("hello", json!({"token": token("ana")})).await;
    let resume = hello["ok"]["resume"].as_str().unwrap().to_owned();
    ana.call("join", json!({"room": "final"})).await;
    running.world.with(|world| world.order("final", &[(Lane::Normal, "bob", r#"{"text":"1"}"#)]));
    assert_eq!(texts(&ana.next_of("segment").await), ["1"]);
    // Somebody who stays: what he has seen, the gateway has.
    let mut bob = Client::hello(running.address, "bob").await;
    bob.call("join", json!({"room": "final"})).await;
    drop(ana);
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.world.with(|world| world.order("final", &[(Lane::Normal, "bob", r#"{"text":"2"}"#)]));
    running.world.with(|world| world.seal("final", 9));
    running.world.with(|world| world.order("final", &[(Lane::Protected, "bob", r#"{"text":"3"}"#)]));
    assert_eq!(texts(&bob.next_of("segment").await), ["2"]);
    assert_eq!(texts(&bob.next_of("segment").await), ["3"]);

    let mut back = Client::connect(running.address).await;
    back.send(&json!({"id": 1, "hello": {"resume": resume, "rooms": {"final": {"epoch": 7, "seq": [0, 0, 1, 0]}}}}))
        .await;
    assert_eq!(texts(&back.next().await.unwrap()), ["2"]);
    assert_eq!(back.next().await.unwrap()["sealed"]["next_epoch"], 9);
    assert_eq!(texts(&back.next().await.unwrap()), ["3"]);
    let ok = back.next().await.unwrap();
    assert_eq!(ok["ok"]["user"], "ana");
    assert_eq!(ok["ok"]["rooms"]["final"], json!({"epoch": 9, "seq": [0, 1, 0, 0], "recovered": true}));
    running.world.with(|world| world.order("final", &[(Lane::Normal, "bob", r#"{"text":"4"}"#)]));
    assert_eq!(texts(&back.next().await.unwrap()), ["4"]);
}

#[tokio::test]
async fn history_comes_with_the_join_and_a_cursor_from_nowhere_is_refused() {
    let running = start(options()).await;
    running.world.with(|world| world.order("r", &[(Lane::Normal, "bob", r#"{"text":"1"}"#)]));
    running.world.with(|world| world.order("r", &[(Lane::Normal, "bob", r#"{"text":"2"}"#)]));
    let mut ana = Client::hello(running.address, "ana").await;
    let joined = ana.call("join", json!({"room": "r", "history": 1})).await;
    assert_eq!(joined["ok"]["messages"].as_array().unwrap().len(), 1, "{joined}");
    assert_eq!(joined["ok"]["seq"], json!([0, 0, 2, 0]));
    let pulled = ana.call("pull", json!({"room": "r", "lane": 2, "after": 0, "limit": 10})).await;
    assert_eq!(pulled["ok"]["messages"].as_array().unwrap().len(), 2, "{pulled}");
    let mut bob = Client::hello(running.address, "bob").await;
    let refused = bob.call("join", json!({"room": "r", "since": {"epoch": 99, "seq": [0, 0, 0, 0]}})).await;
    assert_eq!(refused["error"]["code"], "bad_cursor", "{refused}");
    // Ahead of the room, and of an epoch that it never had: neither gets better by itself.
    let never = bob.call("join", json!({"room": "r", "since": {"epoch": 3, "seq": [0, 0, 0, 0]}})).await;
    assert_eq!(never["error"]["code"], "bad_cursor", "{never}");
    for refused in [refused, never] {
        assert!(refused["error"].get("retry_ms").is_none(), "{refused}");
    }
    assert_eq!(bob.call("join", json!({"room": "r"})).await["ok"]["room"], "r");
}

#[tokio::test]
async fn what_is_not_allowed_has_its_code() {
    let mut options = options();
    options.limits.rooms_per_connection = 2;
    options.limits.connections_per_user = 2;
    options.origins = vec!["https://example.com".into()];
    let running = start(options).await;
    running.world.with(|world| {
        world.blocked.insert("eve".into());
        world.muted.insert("mallory".into());
    });
    let mut eve = Client::hello(running.address, "eve").await;
    assert_eq!(eve.call("join", json!({"room": "a"})).await["error"]["code"], "blocked");
    let mut mallory = Client::hello(running.address, "mallory").await;
    mallory.call("join", json!({"room": "a"})).await;
    let said = mallory.call("publish", json!({"room": "a", "type": "text", "data": 1})).await;
    assert_eq!(said["error"]["code"], "muted");
    for room in ["", "a\nb", &"r".repeat(129)] {
        for command in ["join", "leave", "publish", "pull"] {
            let mut fields = json!({"room": room});
            if command == "pull" {
                fields["lane"] = json!(2);
            }
            assert_eq!(mallory.call(command, fields).await["error"]["code"], "bad_id", "{command} {room}");
        }
    }
    for command in ["leave", "publish"] {
        assert_eq!(mallory.call(command, json!({"room": "z"})).await["error"]["code"], "not_joined", "{command}");
    }
    mallory.call("join", json!({"room": "b"})).await;
    assert_eq!(mallory.call("join", json!({"room": "c"})).await["error"]["code"], "too_many_rooms");
    assert_eq!(mallory.call("hello", json!({"token": token("x")})).await["error"]["code"], "bad_request");
    mallory.send(&json!({"id": 99, "dance": {}})).await;
    assert_eq!(mallory.next_of("error").await["error"]["code"], "bad_request");

    let mut limited = Client::connect(running.address).await;
    let claims = json!({"sub": "kim", "exp": 4_000_000_000_u64, "rooms": ["game-*"]});
    limited.call("hello", json!({"token": token_with(claims)})).await;
    assert_eq!(limited.call("join", json!({"room": "final"})).await["error"]["code"], "forbidden");
    assert_eq!(limited.call("join", json!({"room": "game-1"})).await["ok"]["room"], "game-1");

    let mut nobody = Client::connect(running.address).await;
    assert_eq!(nobody.call("join", json!({"room": "a"})).await["error"]["code"], "hello_first");
    let expired = token_with(json!({"sub": "old", "exp": 1}));
    assert_eq!(nobody.call("hello", json!({"token": expired})).await["error"]["code"], "token_expired");
    assert_eq!(nobody.next().await.unwrap()["close"], 4002);

    let _second = Client::hello(running.address, "mallory").await;
    let mut third = Client::connect(running.address).await;
    assert_eq!(third.call("hello", json!({"token": token("mallory")})).await["close"], 4006);
}

#[tokio::test]
async fn events_kicks_and_directed_messages_arrive() {
    let running = start(options()).await;
    let mut ana = Client::hello(running.address, "ana").await;
    ana.call("join", json!({"room": "a"})).await;
    ana.call("join", json!({"room": "b"})).await;
    let event = RoomEvent { room: "a".into(), members: 5, ..RoomEvent::default() };
    running.world.tell_from_chatroom(chatroom_to_gateway::Kind::Event(event));
    assert_eq!(ana.next_of("event").await["event"]["members"], 5);
    let directed = Directed {
        to: "ana".into(),
        from: "bob".into(),
        kind: "text".into(),
        data: "1".into(),
        at_ms: 1,
        sessions: vec![],
    };
    running.world.tell_gateways(message_to_gateway::Kind::Directed(directed));
    assert_eq!(ana.next_of("event").await["event"]["from"], "bob");
    let removed = Removed { room: "a".into(), users: vec!["ana".into()], reason: "kicked".into() };
    running.world.tell_from_chatroom(chatroom_to_gateway::Kind::Removed(removed));
    let event = ana.next_of("event").await;
    assert_eq!((event["event"]["kind"].as_str(), event["event"]["reason"].as_str()), (Some("removed"), Some("kicked")));
    let said = ana.call("publish", json!({"room": "a", "type": "text", "data": 1})).await;
    assert_eq!(said["error"]["code"], "not_joined");
    let kick = KickUser { user: "ana".into(), session: 0, reason: "kicked".into(), sessions: vec![] };
    running.world.tell_gateways(message_to_gateway::Kind::Kick(kick));
    assert_eq!(ana.next_of("close").await["close"], 4005);
}

#[tokio::test]
async fn a_drain_sends_clients_elsewhere_and_can_be_called_off() {
    let running = start(options()).await;
    let other =
        support::gateway(options(), running.world.clone(), running.pods, running.routes.clone(), running.key.clone())
            .await;
    let mut ana = Client::hello(running.address, "ana").await;
    ana.call("join", json!({"room": "a"})).await;
    running.handle.drain(Duration::from_secs(1), 0);
    let goaway = ana.next_of("goaway").await;
    let resume = goaway["goaway"]["resume"].as_str().unwrap().to_owned();
    let mut moved = Client::connect(other.address).await;
    let ok = moved.call("hello", json!({"resume": resume, "rooms": {"a": {"epoch": 7, "seq": [0, 0, 0, 0]}}})).await;
    assert_eq!(ok["ok"]["rooms"]["a"]["recovered"], true, "{ok}");
    ana.socket.close(None).await.unwrap();
    assert_eq!(ana.next().await.map(|line| line["close"].clone()), None);
    assert!(tokio::net::TcpStream::connect(running.address).await.is_err(), "it accepts no more");
    for _ in 0..100 {
        if running.handle.connections() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.handle.connections(), 0);
    running.handle.undrain();
    tokio::time::sleep(Duration::from_millis(400)).await;
    Client::hello(running.address, "ana").await;
}

#[tokio::test]
async fn plain_http_is_served_on_the_same_port() {
    let running = start(options()).await;
    let mut socket = tokio::net::TcpStream::connect(running.address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("a page"), "{answer}");
}

#[tokio::test]
async fn who_asks_for_no_websocket_where_it_is_spoken_is_told_so() {
    let running = start(options()).await;
    for path in ["/connect", "/connect?x=1"] {
        let mut socket = tokio::net::TcpStream::connect(running.address).await.unwrap();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nupgrade: websocket\r\n"), "{answer}");
        assert!(answer.contains("This path speaks WebSocket"), "{answer}");
    }
}

#[tokio::test]
async fn a_publish_that_nobody_answers_is_unavailable_in_time() {
    let mut options = options();
    options.limits.answer_ms = 300;
    let running = start(options).await;
    let mut ana = Client::hello(running.address, "ana").await;
    ana.call("join", json!({"room": "a"})).await;
    running.world.with(|world| world.deaf = true);
    let said = ana.call("publish", json!({"room": "a", "type": "text", "data": 1})).await;
    assert_eq!(said["error"]["code"], "unavailable");
    assert!(said["error"]["retry_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_silent_socket_is_closed_in_time() {
    let mut options = options();
    options.limits.hello_ms = 300;
    options.limits.header_ms = 300;
    let running = start(options).await;
    let mut silent = Client::connect(running.address).await;
    assert_eq!(silent.next().await.unwrap()["close"], 4000);
    let mut slow = tokio::net::TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET /conn").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut rest)).await.unwrap().unwrap();
}
