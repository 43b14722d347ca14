//! The machine of a reactor over sockets that exist only here: slow ones, dead ones, ones that take a byte at a time.

mod delivering;
mod ending;
mod following;
mod law;
mod leaving;
mod seats;

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
    handed: Vec<(Vec<u8>, AddressPlace)>,
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

    fn hand_over(&mut self, conn: u32, read: Vec<u8>, place: AddressPlace) {
        self.open.remove(&conn);
        self.handed.push((read, place));
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
    shard_of(&shared_with(options), 0)
}

/// What reactors of one gateway share.
fn shared_with(options: Options) -> Arc<Shared> {
    Arc::new(Shared {
        keys: Arc::new(Keys::new(&options.auth).unwrap()),
        guard: Guard::new(&options.limits),
        origin: Origin { unix_ms: 1_795_000_000_000 },
        options,
    })
}

fn shard_of(shared: &Arc<Shared>, number: u16) -> Shard<Pipes> {
    let mut reactor = Shard::new(Pipes::default(), Arc::clone(shared), number, 42 + u64::from(number));
    reactor.at(START);
    reactor
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
        let head = pipe.out.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        pipe.out.drain(..head);
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
