//! Pods that die or leave while people talk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;

/// Rooms enough that every chatroom Pod owns some.
const ROOMS: usize = 8;

struct Pair {
    ana: Client,
    ben: Client,
}

impl Pair {
    async fn in_rooms(dev: &Dev) -> Self {
        let (mut ana, _) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
        let (mut ben, _) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
        for room in 0..ROOMS {
            for client in [&mut ana, &mut ben] {
                client.ask(json!({"join": {"room": format!("r{room}")}})).await.unwrap();
            }
        }
        Self { ana, ben }
    }

    /// Ana says something in every room, again and again with the same key until it is stored; Ben hears each exactly once.
    /// Returns how long the slowest room took.
    async fn talk(&mut self, round: usize, within: Duration) -> Duration {
        let began = Instant::now();
        for room in 0..ROOMS {
            let key = format!("{round}-{room}");
            let publish =
                json!({"publish": {"room": format!("r{room}"), "data": key, "key": key, "lane": 1, "ack": "stored"}});
            loop {
                let answer = self.ana.try_ask(publish.clone()).await.unwrap();
                if answer.get("ok").is_some() {
                    break;
                }
                assert!(began.elapsed() < within, "room {room} after {:?}: {answer}", began.elapsed());
                let pause = answer["error"]["retry_ms"].as_u64().unwrap_or(200);
                tokio::time::sleep(Duration::from_millis(pause.min(300))).await;
            }
        }
        let mut heard = Vec::new();
        while heard.len() < ROOMS {
            let left = within.saturating_sub(began.elapsed());
            match self.ben.messages(left).await {
                Ok(more) => heard.extend(more),
                Err(error) => panic!("round {round}: only {heard:?} after {:?}: {error}", began.elapsed()),
            }
        }
        let mut keys: Vec<&str> = heard.iter().filter_map(|message| message["data"].as_str()).collect();
        keys.sort_unstable();
        let expected: Vec<String> = (0..ROOMS).map(|room| format!("{round}-{room}")).collect();
        assert_eq!(keys, expected, "each exactly once");
        began.elapsed()
    }
}

#[tokio::test]
async fn rooms_go_on_when_their_owner_is_killed() {
    let dev = Dev::start(&[]).unwrap();
    let mut pair = Pair::in_rooms(&dev).await;
    pair.talk(0, Duration::from_secs(3)).await;
    dev.act("kill", "dev-chatroom-1-0").unwrap();
    let took = pair.talk(1, Duration::from_secs(15)).await;
    println!("rooms of the killed chatroom Pod went on after {took:?}");
    pair.talk(2, Duration::from_secs(3)).await;
    // The new owner has heard of everybody: it stays so when it does not excuse strangers any more.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for room in 0..ROOMS {
        let (status, about) = dev.api("GET", &format!("/v1/rooms/r{room}"), &Value::Null).unwrap();
        assert_eq!(
            (status, &about["members"], &about["provisional"]),
            (200, &json!(2), &json!(false)),
            "r{room}: {about}"
        );
    }
    pair.talk(3, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn rooms_go_on_when_a_relay_is_killed() {
    let dev = Dev::start(&[]).unwrap();
    let mut pair = Pair::in_rooms(&dev).await;
    pair.talk(0, Duration::from_secs(3)).await;
    dev.act("kill", "dev-message-1-0").unwrap();
    let took = pair.talk(1, Duration::from_secs(15)).await;
    println!("rooms of the killed message Pod went on after {took:?}");
    pair.talk(2, Duration::from_secs(3)).await;
}

/// Connects as clients do: again after a failure. A listener that is dying may take a connection and drop it.
async fn open(url: &str) -> Client {
    for _ in 0..20 {
        if let Ok(client) = Client::open(url).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no connection within 2 s");
}

#[tokio::test]
async fn a_client_of_a_killed_gateway_resumes_and_misses_nothing() {
    let dev = Dev::start(&["--gateways", "1"]).unwrap();
    let (mut ana, _) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
    let (mut ben, hello) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
    ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    let joined = ben.ask(json!({"join": {"room": "r"}})).await.unwrap();
    dev.act("add", "gateway").unwrap();
    // The gateway that is asked is the one that dies: its answer may die with it.
    let _ = dev.act("kill", "dev-gateway-1-0");
    let mut ana = open(&dev.ready.url).await;
    ana.ask(json!({"hello": {"token": dev.token("ana").unwrap()}})).await.unwrap();
    ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    for number in 0..5 {
        ana.ask(json!({"publish": {"room": "r", "data": number, "lane": 1}})).await.unwrap();
    }
    let mut ben = open(&dev.ready.url).await;
    let cursor = json!({"epoch": joined["epoch"], "seq": joined["seq"]});
    let resumed = ben.ask(json!({"hello": {"resume": hello["resume"], "rooms": {"r": cursor}}})).await.unwrap();
    assert_eq!(resumed["rooms"]["r"]["recovered"], true, "{resumed}");
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < 5 {
        let more = ben.messages(Duration::from_secs(5)).await.unwrap();
        heard.extend(more.into_iter().filter(|message| message["lane"] == 1));
    }
    let said: Vec<&Value> = heard.iter().map(|message| &message["data"]).collect();
    assert_eq!(said, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_drained_chatroom_pod_cuts_nobody_off() {
    let dev = Dev::start(&[]).unwrap();
    let mut pair = Pair::in_rooms(&dev).await;
    dev.act("drain", "dev-chatroom-1-0").unwrap();
    let began = Instant::now();
    let mut round = 0;
    while slots(&dev, "dev-chatroom-1-0") > 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "{} slots are left", slots(&dev, "dev-chatroom-1-0"));
        pair.talk(round, Duration::from_secs(15)).await;
        round += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    pair.talk(round, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn an_added_chatroom_pod_gets_its_share_and_cuts_nobody_off() {
    let dev = Dev::start(&[]).unwrap();
    let mut pair = Pair::in_rooms(&dev).await;
    dev.act("add", "chatroom").unwrap();
    let began = Instant::now();
    let mut round = 0;
    while slots(&dev, "dev-chatroom-1-2") < 4096 / 3 {
        assert!(began.elapsed() < Duration::from_mins(1), "it has {} slots", slots(&dev, "dev-chatroom-1-2"));
        pair.talk(round, Duration::from_secs(15)).await;
        round += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("the added chatroom Pod had its share after {:?}", began.elapsed());
    pair.talk(round, Duration::from_secs(3)).await;
}

/// Slots that a Pod serves, as the page shows it.
fn slots(dev: &Dev, name: &str) -> u64 {
    let answer = dev.http("GET", "/dev/state", "").unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let state: Value = serde_json::from_str(body).unwrap();
    let pod = state["pods"].as_array().unwrap().iter().find(|pod| pod["name"] == name).unwrap();
    pod["slots"].as_u64().unwrap()
}

#[test]
fn the_server_api_answers_on_the_public_port() {
    let dev = Dev::start(&[]).unwrap();
    let made = dev.http("PUT", "/v1/rooms/final", "{\"messages_per_second\": 50}").unwrap();
    assert!(made.starts_with("HTTP/1.1 20"), "{made}");
    let listed = dev.http("GET", "/v1/rooms", "").unwrap();
    assert!(listed.contains("\"final\""), "{listed}");
}

#[test]
fn an_end_that_is_not_set_is_left_out_of_what_is_told_of_a_room() {
    let dev = Dev::start(&[]).unwrap();
    let end = |body: serde_json::Value| {
        let (status, room) = dev.api("PUT", "/v1/rooms/ending", &body).unwrap();
        assert_eq!((status, room["settings"]["idle_ms"].is_u64()), (200, true), "{room}");
        let (_, again) = dev.api("GET", "/v1/rooms/ending", &serde_json::Value::Null).unwrap();
        assert_eq!(room["settings"], again["settings"]);
        room["settings"].get("destroy_at_ms").cloned()
    };
    let far = 4_000_000_000_000_u64;
    assert_eq!(end(serde_json::json!({})), None);
    assert_eq!(end(serde_json::json!({"destroy_at_ms": far})), Some(far.into()));
    assert_eq!(end(serde_json::json!({"destroy_at_ms": 0})), None);
}
