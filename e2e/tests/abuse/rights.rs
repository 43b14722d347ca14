//! What a token allows, and what a room's lists and quotas do not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;
use throng_e2e::talk::Talk;
use throng_e2e::tokens::{hs256, in_seconds};

use crate::{SOON, code, hello, join, plain, strict};

async fn with_claims(dev: &Dev, user: &str, more: Value) -> (Client, Value) {
    let mut claims = json!({"sub": user, "exp": in_seconds(600)});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Client::hello(&dev.ready.url, &hs256(&dev.ready.token_secret, &claims).unwrap()).await.unwrap()
}

async fn publish(client: &mut Client, room: &str, lane: u8) -> Value {
    client.try_ask(json!({"publish": {"room": room, "lane": lane, "data": "x"}})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_limit_rooms_and_lanes_also_after_a_resume_and_a_refresh() {
    let dev = plain();
    let (mut ana, ok) = with_claims(dev, "ana", json!({"rooms": ["final", "game-*"], "lane": 3})).await;
    for room in ["final", "game-", "game-7"] {
        join(&mut ana, room).await;
    }
    for room in ["finals", "fina", "game", "x"] {
        assert_eq!(code(&ana.try_ask(json!({"join": {"room": room}})).await.unwrap()), "forbidden", "{room}");
    }
    for (lane, got) in [(0, 3), (2, 3), (3, 3)] {
        assert_eq!(publish(&mut ana, "final", lane).await["ok"]["lane"], got);
    }
    let mut again = Client::open(&dev.ready.url).await.unwrap();
    let rooms = json!({"final": {"epoch": 0, "seq": [0, 0, 0, 0]}, "x": {"epoch": 0, "seq": [0, 0, 0, 0]}});
    let resumed = again.ask(json!({"hello": {"resume": ok["resume"], "rooms": rooms}})).await.unwrap();
    assert_eq!(resumed["rooms"]["x"]["code"], "forbidden", "{resumed}");
    assert_eq!(code(&again.try_ask(json!({"join": {"room": "x"}})).await.unwrap()), "forbidden");
    let wider = hs256(&dev.ready.token_secret, &json!({"sub": "ana", "exp": in_seconds(600), "lane": 1})).unwrap();
    again.ask(json!({"refresh": {"token": wider}})).await.unwrap();
    join(&mut again, "x").await;
    assert_eq!(publish(&mut again, "x", 0).await["ok"]["lane"], 1);
    // A token that names no lane allows 2; an empty list of rooms allows none.
    let (mut ben, _) = with_claims(dev, "ben", json!({})).await;
    join(&mut ben, "x").await;
    assert_eq!(publish(&mut ben, "x", 0).await["ok"]["lane"], 2);
    let (mut eve, _) = with_claims(dev, "eve", json!({"rooms": []})).await;
    assert_eq!(code(&eve.try_ask(json!({"join": {"room": "x"}})).await.unwrap()), "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_muted_the_blocked_and_those_outside_are_told_why_and_nobody_hears_them() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let list = |list: &str, change: Value| {
        let (status, answer) = dev.api("POST", &format!("/v1/rooms/guarded/lists/{list}"), &change).unwrap();
        assert_eq!(status, 200, "{answer}");
    };
    let (mut bob, mut eve) = (hello(dev, "bob").await, hello(dev, "eve").await);
    join(&mut eve, "guarded").await;
    assert_eq!(code(&publish(&mut bob, "guarded", 2).await), "not_joined");
    assert_eq!(code(&publish(&mut bob, "never-heard-of", 2).await), "not_joined");
    assert_eq!(code(&bob.try_ask(json!({"leave": {"room": "guarded"}})).await.unwrap()), "not_joined");
    assert_eq!(code(&bob.try_ask(json!({"pull": {"room": "guarded", "lane": 2}})).await.unwrap()), "not_joined");
    join(&mut bob, "guarded").await;
    list("mute", json!({"add": [{"user": "bob", "for_ms": 1500}]}));
    for lane in [2, 1, 0, 3] {
        assert_eq!(code(&publish(&mut bob, "guarded", lane).await), "muted");
    }
    list("block", json!({"add": [{"user": "bob"}]}));
    let removed = loop {
        let said = bob.next(SOON).await.unwrap();
        if said["event"]["kind"] == "removed" {
            break said;
        }
    };
    assert_eq!(removed["event"]["reason"], "blocked");
    assert_eq!(code(&publish(&mut bob, "guarded", 2).await), "not_joined");
    assert_eq!(code(&bob.try_ask(json!({"join": {"room": "guarded"}})).await.unwrap()), "blocked");
    list("block", json!({"remove": ["bob"]}));
    join(&mut bob, "guarded").await;
    tokio::time::sleep(Duration::from_millis(1600)).await;
    bob.ask(json!({"publish": {"room": "guarded", "data": "free again"}})).await.unwrap();
    // All that Eve heard is what was allowed.
    assert_eq!(eve.messages(SOON).await.unwrap()[0]["data"], "free again");
    let (status, _) = dev.api("PUT", "/v1/rooms/guarded", &json!({"mute_all": true})).unwrap();
    assert_eq!(status, 200);
    assert_eq!(code(&publish(&mut eve, "guarded", 2).await), "muted");
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_over_a_quota_is_told_when_to_come_again_and_disturbs_no_other_room() {
    let dev = strict();
    // The two speak 4 times a second in each room: below this quota.
    let talk = Talk::start(dev).unwrap();
    let mut eve = hello(dev, "eve").await;
    join(&mut eve, "of-a-user").await;
    let (mut taken, mut limited, mut retry_ms) = (0, 0, 0);
    let began = Instant::now();
    for _ in 0..300 {
        let answer = publish(&mut eve, "of-a-user", 2).await;
        if answer["ok"].is_object() {
            taken += 1;
        } else {
            assert_eq!(code(&answer), "limited");
            retry_ms = answer["error"]["retry_ms"].as_u64().expect("when to come again");
            limited += 1;
        }
    }
    // A burst, and ten a second after it.
    let most = 30 + 10 * began.elapsed().as_secs();
    assert!((1..=most).contains(&taken) && limited > 0, "{taken} taken of at most {most}, {limited} limited");
    assert!((1..=2000).contains(&retry_ms), "come again in {retry_ms} ms");
    tokio::time::sleep(Duration::from_millis(retry_ms + 50)).await;
    assert!(publish(&mut eve, "of-a-user", 2).await["ok"].is_object(), "after {retry_ms} ms");

    let settings = json!({"messages_per_second": 20, "user_messages_per_second": 0});
    dev.api("PUT", "/v1/rooms/of-a-room", &settings).unwrap();
    join(&mut eve, "of-a-room").await;
    let mut codes = Vec::new();
    for _ in 0..100 {
        let answer = publish(&mut eve, "of-a-room", 3).await;
        if answer["error"].is_object() {
            codes.push(code(&answer).to_owned());
        }
    }
    assert!(!codes.is_empty() && codes.iter().all(|code| code == "limited"), "{codes:?}");
    println!("{}", talk.undisturbed().unwrap());
}
