//! The load client against a small server of the tests, which keeps the protocol or breaks it in one chosen way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use throng_core::Lane;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

use super::clock::now_us;
use super::conn::Identity;
use super::drive;
use super::fleet::{Endpoint, Fleet};
use super::notes::Opened;
use super::opening::{Opening, Pace};
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::verdict::Verdict;

/// What the server does wrong with the tenth message.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Drop,
    Declare,
    Double,
    Swap,
    Epoch,
    Close,
    /// Whoever resumes is told that all was recovered, and is not sent what it missed.
    Forget,
}

struct Room {
    seq: u64,
    history: Vec<String>,
    frames: broadcast::Sender<Frame>,
}

#[derive(Clone)]
enum Frame {
    Text(String),
    Close,
}

/// A gateway with one room; lives until the test ends.
fn serve(fault: Fault) -> Endpoint {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let room = Arc::new(Mutex::new(Room { seq: 0, history: Vec::new(), frames: broadcast::channel(1000).0 }));
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(client(stream, Arc::clone(&room), fault));
            }
        });
    });
    Endpoint::parse(&format!("ws://{address}/connect")).unwrap()
}

async fn client(stream: TcpStream, room: Arc<Mutex<Room>>, fault: Fault) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let mut frames = room.lock().unwrap().frames.subscribe();
    let mut joined = false;
    loop {
        let out = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let command: Value = serde_json::from_str(&text).unwrap();
                    joined |= command.get("join").is_some() || command["hello"].get("resume").is_some();
                    answer(&command, &room, fault)
                }
                Some(Ok(_)) => continue,
                _ => return,
            },
            Ok(frame) = frames.recv(), if joined => vec![frame],
        };
        for frame in out {
            let sent = match frame {
                Frame::Text(text) => socket.send(Message::text(text)).await,
                Frame::Close => socket.close(None).await,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

fn answer(command: &Value, room: &Mutex<Room>, fault: Fault) -> Vec<Frame> {
    let id = &command["id"];
    let say = |answer: Value| Frame::Text(answer.to_string());
    let mut room = room.lock().unwrap();
    let here = json!([0, 0, room.seq, 0]);
    if let Some(cursor) = command["hello"]["rooms"]["bench"]["seq"][2].as_u64() {
        let rooms = json!({"bench": {"epoch": 7, "seq": here, "recovered": true}});
        let mut frames = vec![say(json!({"id": id, "ok": {"resume": "r2", "rooms": rooms}}))];
        let missed = room.history.iter().skip(usize::try_from(cursor).unwrap()).cloned().map(Frame::Text);
        frames.extend(missed.filter(|_| fault != Fault::Forget));
        return frames;
    }
    if command.get("hello").is_some() {
        return vec![say(json!({"id": id, "ok": {"user": "u", "resume": "r", "ping_ms": 25000}}))];
    }
    if command.get("join").is_some() {
        // Everybody has joined before anything is published, so a frame under way is never older than the cursor.
        return vec![say(json!({"id": id, "ok": {"room": "bench", "epoch": 7, "seq": here, "members": 1}}))];
    }
    room.seq += 1;
    let seq = room.seq;
    for frame in frames(seq, &command["publish"]["data"], fault) {
        if let Frame::Text(text) = &frame {
            room.history.push(text.clone());
        }
        let _ = room.frames.send(frame);
    }
    vec![say(json!({"id": id, "ok": {"state": "accepted", "epoch": 7, "lane": 2, "seq": seq}}))]
}

fn frames(seq: u64, data: &Value, fault: Fault) -> Vec<Frame> {
    let segment = |epoch: u64, seq: u64| {
        // In the order of the gateway's own writer, which serde_json's maps do not keep.
        let data = format!(r#"{{"t":{},"n":{},"p":{}}}"#, data["t"], data["n"], data["p"]);
        Frame::Text(format!(
            r#"{{"segment":{{"room":"bench","epoch":{epoch},"messages":[{{"lane":2,"seq":{seq},"from":"u","type":"text","data":{data},"at_ms":1}}]}}}}"#
        ))
    };
    let gap =
        json!({"segment": {"room": "bench", "epoch": 7, "gaps": [{"epoch": 7, "lane": 2, "from": seq, "to": seq}]}});
    match (fault, seq) {
        (Fault::Drop | Fault::Swap, 10) => vec![],
        (Fault::Declare, 10) => vec![Frame::Text(gap.to_string())],
        (Fault::Double, 10) => vec![segment(7, 10), segment(7, 10)],
        (Fault::Swap, 11) => vec![segment(7, 11), segment(7, 10)],
        (Fault::Epoch, 10) => vec![segment(7, 10), segment(8, 1)],
        (Fault::Close, 10) => vec![segment(7, 10), Frame::Close],
        _ => vec![segment(7, seq)],
    }
}

struct Run {
    verdict: Verdict,
    delivered: u64,
    ended: usize,
    accepted: u64,
    fleet: Fleet,
}

/// 20 messages to 30 clients.
fn play(fault: Fault) -> Run {
    let progress = Progress::new();
    let mut fleet = Fleet::new(vec![serve(fault)]).unwrap();
    let room = fleet.shared.parser.room("bench");
    for _ in 0..30 {
        fleet.add(Identity { token: "t".into(), rooms: vec![room], viewer: true, ..Identity::default() });
    }
    let pace = Pace { per_s: 1_000, in_flight: 16, deadline: Duration::from_secs(10), tries: 5 };
    drive::connect(&mut fleet, 0..30, pace, &progress).unwrap();
    let stream = Stream { conns: vec![0, 1, 2], room, lane: Lane::Normal, rate_per_s: 200.0, payload_bytes: 100 };
    let mut publisher = Publisher::new(vec![stream], &fleet);
    let now = now_us();
    publisher.begin(now, 0.1, true, &mut fleet.shared);
    fleet.shared.window_us = Some(now);
    drive::run(&mut fleet, &mut publisher, now + 110_000, &progress).unwrap();
    let (quiet, most) = (Duration::from_millis(150), Duration::from_secs(5));
    drive::settle(&mut fleet, &mut publisher, quiet, most, |_, _| false).unwrap();
    Run {
        verdict: Verdict::of(&fleet, |_| true),
        delivered: fleet.shared.stats.delivered,
        ended: fleet.shared.ended.len(),
        accepted: publisher.total().accepted,
        fleet,
    }
}

#[test]
fn a_server_that_keeps_its_promises_is_without_fault() {
    let run = play(Fault::None);
    assert_eq!((run.accepted, run.delivered, run.ended), (20, 600, 0));
    assert_eq!((run.verdict.lost(), run.verdict.declared()), (0, 0));
    assert_eq!(run.verdict.faults, super::checker::Faults::default());
    assert_eq!(run.fleet.shared.parser.conflicts(), 0);
    let latency = run.fleet.shared.stats.all_lanes().percentiles().unwrap();
    assert!(latency.p50 > 0.0 && latency.max < 5_000.0, "{latency:?}");
    assert!(run.fleet.conns().iter().all(|conn| conn.tally.budgeted == 20 && conn.tally.bytes > 2_000));
}

#[test]
fn a_message_that_a_server_drops_is_lost_for_everybody() {
    let run = play(Fault::Drop);
    assert_eq!((run.verdict.lost(), run.verdict.declared(), run.delivered), (30, 0, 570));
}

#[test]
fn a_message_that_a_server_drops_and_declares_is_a_gap() {
    let run = play(Fault::Declare);
    assert_eq!((run.verdict.lost(), run.verdict.declared(), run.delivered), (0, 30, 570));
}

#[test]
fn a_message_that_a_server_sends_twice_is_a_duplicate() {
    let run = play(Fault::Double);
    assert_eq!((run.verdict.faults.duplicated, run.verdict.lost()), (30, 0));
}

#[test]
fn two_messages_that_a_server_swaps_are_reordered() {
    let run = play(Fault::Swap);
    assert_eq!((run.verdict.faults.reordered, run.verdict.faults.duplicated, run.verdict.lost()), (30, 0, 0));
}

#[test]
fn a_number_of_an_epoch_that_was_not_announced_is_held_against_the_server() {
    let run = play(Fault::Epoch);
    assert_eq!(run.verdict.faults.unannounced, 30);
    assert_eq!(run.fleet.shared.parser.conflicts(), 1, "the tenth message has two stamps");
}

#[test]
fn connections_that_a_server_ends_are_counted() {
    let run = play(Fault::Close);
    assert_eq!(run.ended, 30);
}

/// 20 clients are cut off, 20 messages are published, then they come back.
fn storm(fault: Fault) -> (Vec<Opened>, Verdict, Fleet) {
    let progress = Progress::new();
    let mut fleet = Fleet::new(vec![serve(fault)]).unwrap();
    let room = fleet.shared.parser.room("bench");
    for _ in 0..25 {
        fleet.add(Identity { token: "t".into(), rooms: vec![room], ..Identity::default() });
    }
    let pace = Pace { per_s: 10_000, in_flight: 100, deadline: Duration::from_secs(10), tries: 5 };
    drive::connect(&mut fleet, 0..25, pace, &progress).unwrap();
    let stream = Stream { conns: vec![0, 1], room, lane: Lane::Normal, rate_per_s: 400.0, payload_bytes: 100 };
    let mut publisher = Publisher::new(vec![stream], &fleet);
    publisher.begin(now_us(), 0.05, true, &mut fleet.shared);
    (5..25).for_each(|id| fleet.cut(id));
    drive::run(&mut fleet, &mut publisher, now_us() + 100_000, &progress).unwrap();
    assert_eq!(publisher.total().accepted, 20);
    let mut opening = Opening::new(5..25, pace, now_us());
    while !opening.is_done() {
        opening.pump(&mut fleet, now_us()).unwrap();
        fleet.turn(Duration::from_millis(1)).unwrap();
        for note in fleet.take_notes() {
            opening.note(&note, now_us()).unwrap();
        }
    }
    let (quiet, most) = (Duration::from_millis(150), Duration::from_secs(5));
    drive::settle(&mut fleet, &mut publisher, quiet, most, |_, _| false).unwrap();
    let how = opening.ready.iter().map(|(how, _)| *how).collect();
    (how, Verdict::of(&fleet, |_| true), fleet)
}

#[test]
fn whoever_resumes_gets_what_it_missed_and_the_law_spans_both_connections() {
    let (how, verdict, fleet) = storm(Fault::None);
    assert_eq!(how, [Opened::Recovered; 20]);
    assert_eq!((verdict.lost(), verdict.faults), (0, super::checker::Faults::default()));
    assert_eq!(fleet.shared.stats.delivered, 500);
    assert!(fleet.shared.ended.is_empty(), "a cut by the bench itself is nobody's fault");
}

#[test]
fn a_recovery_that_is_only_claimed_is_a_loss() {
    let (how, verdict, _) = storm(Fault::Forget);
    assert_eq!(how, [Opened::Recovered; 20]);
    assert_eq!(verdict.lost(), 400);
}

#[test]
fn a_server_that_is_not_there_is_an_error_with_a_reason() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut fleet = Fleet::new(vec![Endpoint::from(address)]).unwrap();
    fleet.add(Identity::default());
    let pace = Pace { per_s: 1_000, in_flight: 16, deadline: Duration::from_millis(300), tries: 5 };
    let error = drive::connect(&mut fleet, 0..1, pace, &Progress::new()).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}
