//! Too many connections, and too many rooms.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::json;
use throng_e2e::dev::Dev;
use throng_e2e::raw::{Raw, tcp};
use throng_e2e::talk::Talk;
use throng_e2e::tokens::{claims, hs256};

use crate::{SOON, closes, hello, one_of_each, plain, quick};

const MIB: u64 = 1024 * 1024;
const CROWD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_5000_connections_from_one_address_1000_stay_and_the_others_are_told() {
    const CONNECTIONS: usize = 5000;
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let before = dev.rss_bytes().unwrap();
    let secret = dev.ready.token_secret.as_str();
    let enter = |number: usize| {
        let url = dev.ready.url.as_str();
        async move {
            let mut raw = Raw::over(tcp(url, CROWD, None).await.unwrap(), "").await.unwrap();
            let token = hs256(secret, &claims(&format!("user-{number}"))).unwrap();
            match raw.say_hello(&token).await {
                Ok(ok) => {
                    assert!(ok["ok"].is_object(), "{ok}");
                    Some(raw)
                }
                Err(error) => {
                    assert!(error.to_string().contains("4006"), "{error}");
                    None
                }
            }
        }
    };
    let crowd = futures::stream::iter(0..CONNECTIONS).map(enter).buffer_unordered(32);
    let inside: Vec<Raw> = crowd.filter_map(std::future::ready).collect().await;
    assert_eq!(inside.len(), 1000);
    let grown = dev.rss_bytes().unwrap().saturating_sub(before);
    assert!(grown < 48 * MIB, "grew by {} MiB", grown / MIB);
    // Who is at another address is not affected, and places are free as soon as somebody leaves.
    drop(hello(dev, "ana").await);
    talk.enough().await;
    drop(inside);
    let began = Instant::now();
    let again: Vec<bool> = futures::stream::iter(0..1000)
        .map(|number| async move { enter(number).await.is_some() })
        .buffer_unordered(32)
        .collect()
        .await;
    let entered = again.iter().filter(|entered| **entered).count();
    assert!(entered >= 990, "{entered} of 1000 found a place {:?} after the others left", began.elapsed());
    println!("{} MiB for 1,000; {}", grown / MIB, talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_20_connections_and_a_place_is_free_when_one_ends() {
    let dev = plain();
    let token = dev.token("many").unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(Raw::hello(&dev.ready.url, &token).await.unwrap().0);
    }
    for _ in 0..30 {
        let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
        let error = raw.say_hello(&token).await.unwrap_err();
        assert!(error.to_string().contains("4006"), "{error}");
    }
    drop(hello(dev, "ben").await);
    held.pop();
    let until = Instant::now() + SOON;
    while Raw::hello(&dev.ready.url, &token).await.is_err() {
        assert!(Instant::now() < until, "no place for the one that left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_10000_rooms_is_in_100_and_told_so_9900_times() {
    const ROOMS: usize = 10_000;
    let dev = quick();
    let talk = Talk::start(dev).unwrap();
    let (mut raw, _) = Raw::hello(&dev.ready.url, &dev.token("mallory").unwrap()).await.unwrap();
    let before = dev.rss_bytes().unwrap();
    let (mut joined, mut refused) = (0, 0);
    for batch in 0..ROOMS / 100 {
        for room in 0..100 {
            let number = batch * 100 + room;
            raw.text(&json!({"id": number + 2, "join": {"room": format!("room-{number}")}}).to_string()).await.unwrap();
        }
        for _ in 0..100 {
            let answer = loop {
                let said = raw.json(SOON).await.unwrap();
                if said["id"].is_u64() {
                    break said;
                }
            };
            if answer["ok"].is_object() {
                joined += 1;
            } else {
                assert_eq!(answer["error"]["code"], "too_many_rooms", "{answer}");
                refused += 1;
            }
        }
    }
    assert_eq!((joined, refused), (100, ROOMS - 100));
    let grown = dev.rss_bytes().unwrap().saturating_sub(before);
    assert!(grown < 16 * MIB, "grew by {} MiB", grown / MIB);
    let (status, rooms) = dev.api("GET", "/v1/rooms?limit=1000", &json!(null)).unwrap();
    let theirs =
        rooms["rooms"].as_array().unwrap().iter().filter(|room| room["room"].as_str().unwrap().starts_with("room-"));
    assert_eq!((status, theirs.count()), (200, 100), "rooms that nobody is in were made");
    // Who leaves one may join another.
    raw.text(r#"{"id":90001,"leave":{"room":"room-0"}}"#).await.unwrap();
    raw.text(r#"{"id":90002,"join":{"room":"another"}}"#).await.unwrap();
    answered(&mut raw, 2).await;
    println!("{}", talk.undisturbed().unwrap());
}

/// Reads on until so many commands are answered, each with success.
async fn answered(raw: &mut Raw, count: usize) {
    let mut answers = 0;
    while answers < count {
        let said = raw.json(SOON).await.unwrap();
        if said["id"].is_u64() {
            assert!(said["ok"].is_object(), "{said}");
            answers += 1;
        }
    }
}

/// How many rooms there are whose names begin so.
fn rooms_named(dev: &Dev, start: &str) -> usize {
    let (mut count, mut after) = (0, String::new());
    loop {
        let (status, page) = dev.api("GET", &format!("/v1/rooms?limit=1000{after}"), &json!(null)).unwrap();
        assert_eq!(status, 200, "{page}");
        let rooms = page["rooms"].as_array().unwrap();
        count += rooms.iter().filter(|room| room["room"].as_str().unwrap().starts_with(start)).count();
        let Some(next) = page["next"].as_str() else { return count };
        after = format!("&after={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_and_leaves_10000_rooms_leaves_none_of_them_behind() {
    const ROOMS: usize = 10_000;
    const BATCH: usize = 50;
    let dev = quick();
    let talk = Talk::start(dev).unwrap();
    let (mut raw, _) = Raw::hello(&dev.ready.url, &dev.token("mallory").unwrap()).await.unwrap();
    let before = dev.rss_bytes().unwrap();
    let mut beat = tokio::time::interval(Duration::from_millis(70));
    for batch in 0..ROOMS / BATCH {
        beat.tick().await;
        for what in ["join", "leave"] {
            for number in batch * BATCH..(batch + 1) * BATCH {
                raw.text(&json!({"id": number + 2, what: {"room": format!("glance-{number}")}}).to_string())
                    .await
                    .unwrap();
            }
            answered(&mut raw, BATCH).await;
        }
    }
    let (began, seen) = (Instant::now(), rooms_named(dev, "glance-"));
    assert!(seen > 0, "nothing was made, so nothing is shown");
    while rooms_named(dev, "glance-") > 0 {
        let left = rooms_named(dev, "glance-");
        assert!(began.elapsed() < Duration::from_secs(10) + SOON, "{left} rooms are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let grown = dev.rss_bytes().unwrap().saturating_sub(before);
    println!(
        "{seen} rooms at the end, none {:?} later; {} MiB; {}",
        began.elapsed(),
        grown / MIB,
        talk.undisturbed().unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_as_fast_as_it_can_is_closed_with_4004_and_may_come_again() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let (mut raw, ok) = Raw::hello(&dev.ready.url, &dev.token("mallory").unwrap()).await.unwrap();
    for room in 0..10_000 {
        if raw.text(&format!(r#"{{"id":{},"join":{{"room":"room-{room}"}}}}"#, room + 2)).await.is_err() {
            break;
        }
    }
    assert_eq!(raw.closed(SOON).await.unwrap().0, 4004);
    let mut again = Raw::connect(&dev.ready.url).await.unwrap();
    again.text(&json!({"id": 1, "hello": {"resume": ok["ok"]["resume"]}}).to_string()).await.unwrap();
    assert!(again.json(SOON).await.unwrap()["ok"].is_object());
    println!("{}", talk.undisturbed().unwrap());
}

/// The close code and `retry_ms` of who was turned away.
async fn turned_away(raw: &mut Raw) -> (u16, u64) {
    let (code, reason) = raw.closed(SOON).await.unwrap();
    let retry: serde_json::Value = serde_json::from_str(&reason).unwrap_or_default();
    (code, retry["retry_ms"].as_u64().unwrap_or_else(|| panic!("{code} {reason}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hellos_beyond_what_the_gateway_takes_in_are_closed_with_1013_and_told_when_to_come_again() {
    let dev = one_of_each(&["gateway.limits.accepts_per_s=4"]);
    let token = dev.token("ana").unwrap();
    let command = json!({"id": 1, "hello": {"token": token}}).to_string();
    let mut refused = Vec::new();
    for _ in 0..12 {
        let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
        raw.text(&command).await.unwrap();
        if let Err(error) = raw.json(SOON).await {
            assert!(error.to_string().contains("1013"), "{error}");
            let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
            raw.text(&command).await.unwrap();
            refused.push(turned_away(&mut raw).await);
            break;
        }
    }
    let [(1013, retry_ms @ 1..=2000)] = refused[..] else { panic!("{refused:?}") };
    assert!(closes(&dev, 1013) >= 2);
    tokio::time::sleep(Duration::from_millis(retry_ms)).await;
    drop(hello(&dev, "ben").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_those_of_the_gateway_are_closed_with_1013_until_a_place_is_free() {
    let dev = one_of_each(&["gateway.limits.connections=3"]);
    let mut inside = Vec::new();
    for user in ["ana", "ben", "eve"] {
        inside.push(hello(&dev, user).await);
    }
    let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
    let (code, retry_ms) = turned_away(&mut raw).await;
    assert!(code == 1013 && retry_ms > 0, "{code}, {retry_ms} ms");
    inside.pop();
    tokio::time::sleep(Duration::from_millis(retry_ms)).await;
    drop(hello(&dev, "eve").await);
}
