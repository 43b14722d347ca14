//! Clients that never read: what waits for them is bounded, and they are closed with 4003.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;
use throng_e2e::raw::{Raw, tcp};
use throng_e2e::talk::Talk;
use throng_e2e::tokens::{claims, hs256};

use crate::{SOON, closes, hello, join, plain, quick};

const MIB: u64 = 1024 * 1024;
const READERS: usize = 100;
/// What waits for each at most by default, and what else a connection may cost while it is behind.
const QUEUE_BYTES: u64 = 256 * 1024;
const SLACK_BYTES: u64 = 96 * 1024;

/// What the kernel keeps for each of them.
const RECEIVE_BYTES: u32 = 32 * 1024;

/// Clients with hardly a buffer of their own, that have said hello and read the answer, and then no more.
async fn deaf(dev: &Dev, count: usize) -> Vec<Raw> {
    let mut all = Vec::new();
    for number in 0..count {
        let stream = tcp(&dev.ready.url, Ipv4Addr::new(127, 0, 0, 2), Some(RECEIVE_BYTES)).await.unwrap();
        let mut raw = Raw::over(stream, "").await.unwrap();
        let token = hs256(&dev.ready.token_secret, &claims(&format!("deaf-{number}"))).unwrap();
        raw.say_hello(&token).await.unwrap();
        all.push(raw);
    }
    all
}

async fn fill(speaker: &mut Client, room: &str, lane: u8, messages: usize) {
    let data = "x".repeat(30_000);
    for _ in 0..messages {
        loop {
            let publish = json!({"publish": {"room": room, "lane": lane, "data": data}});
            // It hears itself, and on a busy machine it may be closed as slow before it has said everything.
            let Ok(answer) = speaker.try_ask(publish).await else { return };
            match answer["error"]["retry_ms"].as_u64() {
                // It hears itself too: who waits without reading is closed like the others.
                Some(retry_ms) => {
                    let until = tokio::time::Instant::now() + Duration::from_millis(retry_ms);
                    while speaker.messages(until - tokio::time::Instant::now()).await.is_ok() {}
                }
                None => break assert!(answer["ok"].is_object(), "{answer}"),
            }
        }
    }
}

/// The most that the process grows while something happens.
async fn growth<T>(dev: &Dev, doing: impl Future<Output = T>) -> (u64, T) {
    let before = dev.rss_bytes().unwrap();
    let mut most = before;
    let mut look = tokio::time::interval(Duration::from_millis(20));
    tokio::pin!(doing);
    loop {
        tokio::select! {
            done = &mut doing => return (most.max(dev.rss_bytes().unwrap()) - before, done),
            _ = look.tick() => most = most.max(dev.rss_bytes().unwrap()),
        }
    }
}

/// All were closed with 4003: the gateway's own count has them all, and perhaps who spoke so much that it did not read in time
/// itself. Only then do they read, for what they read would make them fast enough: who does within two seconds is told why, the
/// others find the end of the stream.
async fn all_slow(dev: &Dev, readers: Vec<Raw>, closed_before: u64) {
    let count = readers.len() as u64;
    let until = Instant::now() + SOON;
    while closes(dev, 4003) < closed_before + count {
        assert!(Instant::now() < until, "{} of {count} were closed with 4003", closes(dev, 4003) - closed_before);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut standing = 0;
    for mut raw in readers {
        match raw.closed(Duration::from_secs(2)).await {
            Ok((code, reason)) => assert!(code == 4003 || code == 0, "{code} {reason}"),
            // A window that was shut for seconds: now and then the kernel brings nothing more, not even the end.
            Err(_) => standing += 1,
        }
    }
    assert!(standing * 4 <= count, "{standing} of {count} heard nothing of their end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_a_room_that_must_not_be_lost_is_closed_with_4003() {
    const MESSAGES: usize = 40;
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let closed_before = closes(dev, 4003);
    let mut speaker = hello(dev, "host").await;
    let mut deaf = deaf(dev, READERS).await;
    for raw in &mut deaf {
        raw.text(r#"{"id":2,"join":{"room":"loud"}}"#).await.unwrap();
    }
    join(&mut speaker, "loud").await;
    let (grown, ()) = growth(dev, fill(&mut speaker, "loud", 1, MESSAGES)).await;
    // Frames are shared by those who wait for them, and kept by the room and its relay.
    let bound = READERS as u64 * SLACK_BYTES + MESSAGES as u64 * 30_000 * 8 + 24 * MIB;
    assert!(grown < bound, "grew by {} MiB, at most {}", grown / MIB, bound / MIB);
    all_slow(dev, deaf, closed_before).await;
    println!("{} MiB for {READERS}; {}", grown / MIB, talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_chat_loses_it_and_learns_so_when_it_reads_again() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let mut speaker = hello(dev, "host").await;
    let mut deaf = deaf(dev, 1).await;
    let raw = &mut deaf[0];
    raw.text(r#"{"id":2,"join":{"room":"chat"}}"#).await.unwrap();
    raw.json(SOON).await.unwrap();
    join(&mut speaker, "chat").await;
    fill(&mut speaker, "chat", 2, 60).await;
    let (mut received, mut declared) = (0, 0);
    while received + declared < 60 {
        let said = raw.json(SOON).await.unwrap();
        let of = |path: &str| said.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        received += of("/segment/messages").len() as u64;
        let numbers = |gap: &Value| gap["to"].as_u64().unwrap() - gap["from"].as_u64().unwrap() + 1;
        declared += of("/segment/gaps").iter().map(numbers).sum::<u64>();
    }
    assert!(declared > 10, "{received} received, {declared} declared");
    assert_eq!(received + declared, 60);
    drop(deaf);
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_much_and_never_reads_it_costs_no_more_than_its_queue() {
    let dev = quick();
    let mut speaker = hello(dev, "host").await;
    join(&mut speaker, "full").await;
    fill(&mut speaker, "full", 2, 100).await;
    let talk = Talk::start(dev).unwrap();
    for command in [
        json!({"id": 9, "pull": {"room": "full", "lane": 2, "limit": 1000}}),
        json!({"id": 9, "join": {"room": "full", "history": 200}}),
    ] {
        let closed_before = closes(dev, 4003);
        let mut deaf = deaf(dev, READERS).await;
        let pulls = command.get("pull").is_some();
        let (grown, ()) = growth(dev, async {
            for raw in &mut deaf {
                if pulls {
                    raw.text(r#"{"id":2,"join":{"room":"full"}}"#).await.unwrap();
                    raw.json(SOON).await.unwrap();
                }
                for _ in 0..if pulls { 20 } else { 1 } {
                    raw.text(&command.to_string()).await.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        })
        .await;
        let bound = READERS as u64 * (QUEUE_BYTES + SLACK_BYTES) + 32 * MIB;
        println!("{command}: {} MiB for {READERS}", grown / MIB);
        assert!(grown < bound, "{command}: grew by {} MiB, at most {}", grown / MIB, bound / MIB);
        if pulls {
            all_slow(dev, deaf, closed_before).await;
        }
    }
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_in_pages_comes_whole_to_who_reads() {
    let dev = quick();
    let (mut speaker, mut reader) = (hello(dev, "host").await, hello(dev, "ana").await);
    join(&mut speaker, "pages").await;
    fill(&mut speaker, "pages", 2, 60).await;
    // Until the room is calm: what comes live while the past is fetched would wait beside it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let joined = reader.ask(json!({"join": {"room": "pages", "history": 200}})).await.unwrap();
    let history = joined["messages"].as_array().unwrap();
    // The newest, as many as fit; what is newer follows as segments.
    assert!(!history.is_empty() && history.last().unwrap()["seq"] == joined["seq"][2], "{} messages", history.len());
    let began = Instant::now();
    let (mut after, mut pages) = (0, 0);
    while after < 60 {
        let ok =
            reader.ask(json!({"pull": {"room": "pages", "lane": 2, "after": after, "limit": 1000}})).await.unwrap();
        for message in ok["messages"].as_array().unwrap() {
            assert_eq!(message["seq"].as_u64().unwrap(), after + 1, "page {pages}");
            after += 1;
        }
        pages += 1;
        assert!(pages <= 60 && began.elapsed() < SOON, "{after} numbers in {pages} pages");
    }
}
