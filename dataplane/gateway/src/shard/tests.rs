//! The machine of a reactor over sockets that exist only here: slow ones, dead ones, ones that take a byte at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jsonwebtoken::{EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};
use throng_core::{Cursor, Epoch, Gap, Lane, Message, Millis, RoomId, Segment, Seqs, UserId};
use throng_proto::client::Sealed;

use super::*;
use crate::auth::{Signer, Verifier};
use crate::options::{Algorithm, Auth, JwtKey, ResumeKey, Secret};
use crate::traffic::{CaughtUp, Failure};

const KEY: &str = "a secret of at least thirty-two bytes";
const START: Millis = Millis(1_000_000);

/// A socket: what it takes now, and what came out.
#[derive(Default)]
struct Pipe {
    room: usize,
    out: Vec<u8>,
    finished: bool,
}

#[derive(Default)]
struct Pipes {
    open: BTreeMap<u32, Pipe>,
    closed: BTreeMap<u32, Pipe>,
    handed: Vec<Vec<u8>>,
}

impl Transport for Pipes {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        let Some(pipe) = self.open.get_mut(&conn) else { return Sent::Closed };
        let sent = bytes.len().min(pipe.room);
        if sent == 0 {
            return Sent::Blocked;
        }
        pipe.room -= sent;
        pipe.out.extend_from_slice(&bytes[..sent]);
        Sent::Bytes(sent)
    }

    fn finish(&mut self, conn: u32) {
        if let Some(pipe) = self.open.get_mut(&conn) {
            pipe.finished = true;
        }
    }

    fn close(&mut self, conn: u32) {
        if let Some(pipe) = self.open.remove(&conn) {
            self.closed.insert(conn, pipe);
        }
    }

    fn hand_over(&mut self, conn: u32, read: Vec<u8>) {
        self.open.remove(&conn);
        self.handed.push(read);
    }
}

fn options() -> Options {
    let mut options = Options {
        auth: Auth {
            jwt: vec![JwtKey { id: None, algorithm: Algorithm::HS256, key: Secret(KEY.into()) }],
            resume: vec![ResumeKey { id: "k".into(), secret: Secret(KEY.into()) }],
            ..Auth::default()
        },
        ..Options::default()
    };
    options.downstream.allow_unlimited = true;
    options.limits.frames_per_s = 1000;
    options
}

fn shard_with(options: Options) -> Shard<Pipes> {
    let common = Shared {
        verifier: Verifier::new(&options.auth).unwrap(),
        signer: Signer::new(&options.auth.resume),
        guard: Guard::new(&options.limits),
        origin: Origin { unix_ms: 1_795_000_000_000 },
        options,
    };
    let mut shard = Shard::new(Pipes::default(), Arc::new(common), 0, 42);
    shard.at(START);
    shard
}

fn token(user: &str, exp: u64) -> String {
    encode(&Header::default(), &json!({"sub": user, "exp": exp, "lane": 0}), &EncodingKey::from_secret(KEY.as_bytes()))
        .unwrap()
}

fn masked(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = match length {
        0..=125 => vec![0x81, 0x80 | u8::try_from(length).unwrap()],
        _ => [&[0x81, 0xfe][..], &length.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

impl Shard<Pipes> {
    fn connect(&mut self) -> u32 {
        let conn = self.opened(IpAddr::from([127, 0, 0, 1])).unwrap();
        self.io.open.insert(conn, Pipe { room: usize::MAX, ..Pipe::default() });
        let mut request = b"GET /connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
        self.bytes(conn, &mut request);
        let pipe = self.io.open.get_mut(&conn).unwrap();
        assert!(pipe.out.starts_with(b"HTTP/1.1 101"));
        pipe.out.clear();
        conn
    }

    fn say(&mut self, conn: u32, value: &Value) {
        self.bytes(conn, &mut masked(&value.to_string()));
    }

    /// A member of a room, with everything answered by the hub.
    fn enter(&mut self, user: &str, room: &str, max_rate: u32) -> u32 {
        let conn = self.connect();
        self.say(conn, &json!({"id": 1, "hello": {"token": token(user, 4_000_000_000), "max_rate": max_rate}}));
        self.say(conn, &json!({"id": 2, "join": {"room": room}}));
        self.answer_hub();
        conn
    }

    /// Does what a hub would: opens rooms at their beginning and lets everybody in.
    fn answer_hub(&mut self) -> Vec<ToHub> {
        let news = self.take_for_hub();
        for message in &news {
            match message {
                ToHub::Wanted(room) => self.from_hub(ToShard::Open(room.clone(), cursor(7, [0; 4]))),
                ToHub::Join { ticket, .. } => self.from_hub(ToShard::Joined(ticket.number, Ok(1))),
                _ => {}
            }
        }
        news
    }

    fn lines(&mut self, conn: u32) -> Vec<Value> {
        let pipe = self.io.open.get_mut(&conn).or_else(|| self.io.closed.get_mut(&conn)).unwrap();
        let (lines, used) = parse(&pipe.out);
        pipe.out.drain(..used);
        lines
    }

    fn say_to_room(&mut self, messages: &[(Lane, u64, &str)], after: [u64; 4]) {
        self.from_hub(ToShard::Segment(Arc::new(segment(messages, after))));
        self.turn();
    }
}

/// Lines of all whole frames, a close as `{"close": code}`, and how many bytes they took.
fn parse(mut bytes: &[u8]) -> (Vec<Value>, usize) {
    let (mut lines, mut used) = (Vec::new(), 0);
    while bytes.len() >= 2 {
        let (head, length) = match bytes[1] {
            126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 if bytes.len() >= 10 => {
                (10, usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().unwrap())).unwrap())
            }
            126 | 127 => break,
            length => (2, usize::from(length)),
        };
        let Some(payload) = bytes.get(head..head + length) else { break };
        match bytes[0] & 15 {
            1 => lines.extend(
                std::str::from_utf8(payload).unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()),
            ),
            8 => lines.push(json!({"close": u16::from_be_bytes([payload[0], payload[1]])})),
            9 => lines.push(json!({"ping": true})),
            _ => {}
        }
        used += head + length;
        bytes = &bytes[head + length..];
    }
    (lines, used)
}

fn cursor(epoch: u64, seq: [u64; 4]) -> Cursor {
    Cursor { epoch: Epoch(epoch), seq: Seqs(seq) }
}

fn segment(messages: &[(Lane, u64, &str)], after: [u64; 4]) -> Segment {
    let mut messages: Vec<Message> = messages
        .iter()
        .map(|(lane, seq, from)| Message {
            lane: *lane,
            seq: *seq,
            from: UserId::new(from).unwrap(),
            kind: "text".into(),
            data: Bytes::from_static(b"1"),
            at_ms: Millis(1),
        })
        .collect();
    messages.sort_by_key(|message| message.lane);
    Segment { room: RoomId::new("r").unwrap(), epoch: Epoch(7), after: Seqs(after), messages, gaps: Vec::new() }
}

/// Everything a client saw of a lane, in order: numbers received and ranges declared.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    received: Vec<u64>,
    declared: Vec<(u64, u64)>,
}

fn seen(lines: &[Value], lane: u64) -> Seen {
    let mut seen = Seen::default();
    for segment in lines.iter().filter_map(|line| line.get("segment")) {
        for message in segment["messages"].as_array().into_iter().flatten().filter(|m| m["lane"] == lane) {
            seen.received.push(message["seq"].as_u64().unwrap());
        }
        for gap in segment["gaps"].as_array().into_iter().flatten().filter(|g| g["lane"] == lane) {
            seen.declared.push((gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap()));
        }
    }
    seen
}

/// The law: received and declared are all numbers up to `last`, received in order and once.
fn check_law(seen: &Seen, last: u64) -> Result<(), String> {
    if !seen.received.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err(format!("out of order or twice: {:?}", seen.received));
    }
    for number in 1..=last {
        let declared = seen.declared.iter().any(|(from, to)| (*from..=*to).contains(&number));
        if !declared && !seen.received.contains(&number) {
            return Err(format!("{number} is neither received nor declared: {seen:?}"));
        }
    }
    let beyond = seen.received.iter().chain(seen.declared.iter().map(|(_, to)| to)).find(|number| **number > last);
    beyond.map_or(Ok(()), |number| Err(format!("{number} was never sent")))
}

#[test]
fn members_of_a_room_share_frames_and_a_leaver_gets_no_more() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    let bob = shard.enter("bob", "r", 0);
    shard.say_to_room(&[(Lane::Normal, 1, "ana")], [0; 4]);
    for conn in [ana, bob] {
        assert_eq!(seen(&shard.lines(conn), 2).received, [1]);
    }
    shard.say(bob, &json!({"id": 3, "leave": {"room": "r"}}));
    shard.say_to_room(&[(Lane::Normal, 2, "ana")], [0, 0, 1, 0]);
    assert_eq!(seen(&shard.lines(ana), 2).received, [2]);
    assert_eq!(seen(&shard.lines(bob), 2), Seen::default());
}

#[test]
fn a_sender_gets_its_own_message_in_order_however_small_its_budget() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 1);
    let bob = shard.enter("bob", "r", 1);
    let messages: Vec<_> = (1..=30).map(|seq| (Lane::Normal, seq, if seq % 10 == 0 { "ana" } else { "eve" })).collect();
    shard.say_to_room(&messages, [0; 4]);
    let hers = seen(&shard.lines(ana), 2);
    assert!([10, 20, 30].iter().all(|own| hers.received.contains(own)), "{hers:?}");
    check_law(&hers, 30).unwrap();
    let his = seen(&shard.lines(bob), 2);
    assert!(his.received.len() <= 1, "{his:?}");
    check_law(&his, 30).unwrap();
}

#[test]
fn several_segments_of_one_turn_are_one_write() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    shard.take_counts();
    shard.from_hub(ToShard::Segment(Arc::new(segment(&[(Lane::Normal, 1, "x"), (Lane::Control, 1, "x")], [0; 4]))));
    shard.from_hub(ToShard::Segment(Arc::new(segment(
        &[(Lane::Normal, 2, "x"), (Lane::Control, 2, "x")],
        [1, 0, 1, 0],
    ))));
    shard.turn();
    assert_eq!(shard.take_counts().writes, 1);
    let lines = shard.lines(ana);
    assert_eq!((seen(&lines, 0).received, seen(&lines, 2).received), (vec![1, 2], vec![1, 2]));
}

#[test]
fn the_end_of_an_epoch_comes_between_its_last_number_and_the_next_first() {
    let mut shard = shard_with(options());
    let ana = shard.enter("ana", "r", 0);
    let room = RoomId::new("r").unwrap();
    shard.from_hub(ToShard::Segment(Arc::new(segment(&[(Lane::Normal, 1, "x")], [0; 4]))));
    let sealed =
        Arc::new(Sealed { room: room.clone(), epoch: Epoch(7), last: Seqs([0, 0, 2, 0]), next_epoch: Epoch(9) });
    let gaps = vec![Gap { epoch: Epoch(7), lane: Lane::Normal, from: 2, to: 2 }];
    shard.from_hub(ToShard::Sealed { sealed, gaps, at: Some(cursor(9, [0; 4])) });
    shard.from_hub(ToShard::Segment(Arc::new(Segment {
        epoch: Epoch(9),
        ..segment(&[(Lane::Normal, 1, "y")], [0; 4])
    })));
    shard.turn();
    let lines: Vec<Value> = shard.lines(ana).into_iter().filter(|line| line.get("id").is_none()).collect();
    assert_eq!(lines[0]["segment"]["epoch"], 7);
    assert_eq!(lines[1]["segment"]["gaps"][0]["from"], 2);
    assert_eq!(lines[2]["sealed"]["next_epoch"], 9);
    assert_eq!(lines[3]["segment"]["epoch"], 9);
}

#[test]
fn what_goes_on_while_the_past_is_fetched_follows_it() {
    let mut shard = shard_with(options());
    let _ana = shard.enter("ana", "r", 0);
    shard.say_to_room(&[(Lane::Normal, 1, "x"), (Lane::Normal, 2, "x")], [0; 4]);
    let bob = shard.connect();
    shard.say(bob, &json!({"id": 1, "hello": {"token": token("bob", 4_000_000_000), "max_rate": 0}}));
    shard.say(bob, &json!({"id": 2, "join": {"room": "r", "since": {"epoch": 7, "seq": [0, 0, 1, 0]}}}));
    shard.answer_hub();
    let news = shard.take_for_hub();
    let [ToHub::CatchUp { held_from, ticket, .. }] = news.as_slice() else { panic!("{news:?}") };
    assert_eq!(*held_from, cursor(7, [0, 0, 2, 0]));
    shard.say_to_room(&[(Lane::Normal, 3, "x")], [0, 0, 2, 0]);
    shard.say_to_room(&[(Lane::Normal, 4, "x")], [0, 0, 3, 0]);
    let past = CaughtUp {
        room: RoomId::new("r").unwrap(),
        segments: vec![segment(&[(Lane::Normal, 2, "x"), (Lane::Normal, 3, "x")], [0, 0, 1, 0])],
        sealed: Vec::new(),
        recovered: true,
        until: cursor(7, [0, 0, 3, 0]),
        frames: throng_proto::client::Format::ALL.map(|_| std::sync::OnceLock::new()),
    };
    shard.from_hub(ToShard::CaughtUp(ticket.number, Ok(Arc::new(past))));
    shard.say_to_room(&[(Lane::Normal, 5, "x")], [0, 0, 4, 0]);
    let lines = shard.lines(bob);
    assert_eq!(seen(&lines, 2).received, [2, 3, 4, 5]);
    let ok = lines.iter().find(|line| line["id"] == 2).unwrap();
    assert_eq!((&ok["ok"]["seq"], &ok["ok"]["recovered"]), (&json!([0, 0, 3, 0]), &json!(true)));
}

#[test]
fn a_join_that_fails_is_answered_and_can_be_tried_again() {
    let mut shard = shard_with(options());
    let ana = shard.connect();
    shard.say(ana, &json!({"id": 1, "hello": {"token": token("ana", 4_000_000_000)}}));
    for id in 2..4 {
        shard.say(ana, &json!({"id": id, "join": {"room": "r"}}));
        let news = shard.take_for_hub();
        let ticket = news.iter().find_map(|news| match news {
            ToHub::Join { ticket, .. } => Some(*ticket),
            _ => None,
        });
        shard.from_hub(ToShard::Joined(ticket.unwrap().number, Err(Failure::unavailable("later"))));
        let line = shard.lines(ana).pop().unwrap();
        assert_eq!((&line["id"], &line["error"]["code"]), (&json!(id), &json!("unavailable")));
    }
}

#[test]
fn time_pings_the_silent_and_closes_the_dead_and_the_expired() {
    let mut shard = shard_with(options());
    let silent = shard.enter("silent", "r", 0);
    let alive = shard.enter("alive", "r", 0);
    let expiring = shard.connect();
    let soon = 1_795_000_000 + START.0 / 1000 + 40;
    shard.say(expiring, &json!({"id": 1, "hello": {"token": token("late", soon)}}));
    for conn in [silent, alive, expiring] {
        shard.lines(conn);
    }
    let (mut pings, mut closes) = (0, BTreeMap::new());
    for ms in (0..120_000).step_by(200) {
        shard.at(START + ms);
        for conn in [silent, alive, expiring] {
            if !shard.io.open.contains_key(&conn) && !shard.io.closed.contains_key(&conn) {
                continue;
            }
            for line in shard.lines(conn) {
                if let Some(code) = line.get("close") {
                    closes.insert(conn, (code.clone(), ms));
                } else if conn != silent && line.get("ping").is_some() {
                    pings += 1;
                    shard.bytes(conn, &mut [0x8a, 0x80, 0, 0, 0, 0]);
                }
            }
        }
        shard.turn();
    }
    assert!(pings >= 4, "{pings}");
    assert_eq!(closes[&silent].0, 4007);
    assert_eq!(closes[&expiring].0, 4002);
    assert!((40_000..41_000).contains(&closes[&expiring].1), "{closes:?}");
    assert!(!closes.contains_key(&alive));
    assert_eq!(shard.connections(), 1);
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_is_closed_as_slow() {
    let mut options = options();
    options.limits.queue_bytes = 4000;
    let mut shard = shard_with(options);
    let reader = shard.enter("reader", "r", 0);
    let stalled = shard.enter("stalled", "r", 0);
    shard.io.open.get_mut(&stalled).unwrap().room = 0;
    for seq in 1..=1000 {
        shard.say_to_room(&[(Lane::Low, seq, "x"), (Lane::Normal, seq, "x")], [0, 0, seq - 1, seq - 1]);
        let queued = shard.conn(stalled).and_then(|conn| conn.outbox.as_ref()).map_or(0, |outbox| outbox.bytes());
        assert!(queued <= 4000, "{queued}");
    }
    assert!(shard.conn(stalled).is_some_and(Conn::is_open), "chat alone closes nobody");
    assert_eq!(seen(&shard.lines(reader), 2).received.len(), 1000);
    for seq in 1..=100 {
        shard.say_to_room(&[(Lane::Protected, seq, "x")], [0, seq - 1, 1000, 1000]);
    }
    assert!(!shard.conn(stalled).is_some_and(Conn::is_open));
    assert_eq!(seen(&shard.lines(reader), 1).received.len(), 100);
}

#[test]
fn a_flood_is_closed_and_idle_users_drain_before_speakers() {
    let mut options = options();
    options.limits.frames_per_s = 10;
    options.drain_per_s = 10;
    let mut shard = shard_with(options);
    let flood = shard.enter("flood", "r", 0);
    for id in 0..20 {
        shard.say(flood, &json!({"id": id, "ping": {}}));
    }
    assert_eq!(shard.lines(flood).pop().unwrap()["close"], 4004);
    let speaker = shard.enter("speaker", "r", 0);
    shard.say(speaker, &json!({"id": 5, "publish": {"room": "r", "type": "text", "data": 1}}));
    let idle: Vec<u32> = (0..9).map(|n| shard.enter(&format!("idle{n}"), "r", 0)).collect();
    shard.from_hub(ToShard::Drain { within_ms: 60_000 });
    let mut told = Vec::new();
    for ms in (0..3000).step_by(50) {
        shard.at(START + ms);
        shard.turn();
        for conn in idle.iter().copied().chain([speaker]) {
            if shard.lines(conn).iter().any(|line| line.get("goaway").is_some()) {
                told.push((conn, ms));
            }
        }
    }
    assert_eq!(told.len(), 10);
    assert_eq!(told.last().unwrap().0, speaker);
    assert!(told.last().unwrap().1 >= 800, "at ten a second: {told:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Say([u8; 4]),
    Read(u8, usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::array::uniform4(0_u8..6).prop_map(|counts| Step::Say([counts[0] / 4, counts[1] / 3, counts[2], counts[3]])),
        3 => (0_u8..3, 1_usize..3000).prop_map(|(conn, bytes)| Step::Read(conn, bytes)),
        1 => (1_u64..4000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However slowly clients read, whatever their budget: while they are not closed, the law holds for each lane, and
    /// lanes 0 and 1 are received whole.
    #[test]
    fn the_law_holds_for_every_subscriber(steps in steps(), rates in prop::array::uniform3(prop_oneof![Just(0_u32), 1_u32..40])) {
        let mut options = options();
        options.limits.queue_bytes = 3000;
        let mut shard = shard_with(options);
        let conns: Vec<u32> = rates.iter().enumerate().map(|(n, rate)| shard.enter(&format!("u{n}"), "r", *rate)).collect();
        for conn in &conns {
            shard.lines(*conn);
            shard.io.open.get_mut(conn).unwrap().room = 500;
        }
        let (mut last, mut now) = ([0_u64; 4], START);
        for step in steps {
            match step {
                Step::Say(counts) => {
                    let after = last;
                    let mut messages = Vec::new();
                    for lane in Lane::ALL {
                        for _ in 0..counts[lane.index()] {
                            last[lane.index()] += 1;
                            messages.push((lane, last[lane.index()], ["u0", "u1", "x", "y"][messages.len() % 4]));
                        }
                    }
                    if !messages.is_empty() {
                        shard.say_to_room(&messages, after);
                    }
                }
                Step::Read(conn, bytes) => {
                    let conn = conns[usize::from(conn)];
                    if let Some(pipe) = shard.io.open.get_mut(&conn) {
                        pipe.room += bytes;
                        shard.writable(conn);
                    }
                }
                Step::Wait(ms) => {
                    now = now + ms;
                    shard.at(now);
                    shard.turn();
                }
            }
        }
        for conn in conns {
            let Some(pipe) = shard.io.open.get_mut(&conn) else { continue };
            pipe.room = usize::MAX / 2;
            if !shard.conn(conn).is_some_and(Conn::is_open) {
                continue;
            }
            shard.writable(conn);
            let lines = shard.lines(conn);
            for lane in Lane::ALL {
                let seen = seen(&lines, u64::from(lane.number()));
                let result = check_law(&seen, last[lane.index()]);
                prop_assert!(result.is_ok(), "lane {:?}: {:?}", lane, result);
                if lane.is_lossless() {
                    prop_assert_eq!(seen.received.len() as u64, last[lane.index()]);
                }
            }
        }
    }
}
