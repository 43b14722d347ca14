//! What the tests of this folder share: a plain body format, and a room that numbers messages as its owner does.

use bytes::Bytes;

use super::packed::{Codec, Content, Packed};
use crate::{Epoch, Gap, Lane, Message, Millis, RoomId, Seqs, UserId};

/// Bodies as text: one `m lane seq`, `g epoch lane from to` or `k lane seq #key` a line.
#[derive(Debug)]
pub(crate) struct Plain;

impl Codec for Plain {
    fn open(&self, body: &Bytes) -> Option<Content> {
        let mut content = Content::default();
        for line in std::str::from_utf8(body).ok()?.lines() {
            let (kind, rest) = line.split_once(' ')?;
            let (rest, key) = rest.split_once(" #").unwrap_or((rest, ""));
            let n: Vec<u64> = rest.split(' ').map(|n| n.parse().unwrap()).collect();
            let lane = |n: u64| Lane::from_number(u8::try_from(n).unwrap()).unwrap();
            match kind {
                "m" => content.messages.push(message(lane(n[0]), n[1])),
                "k" => content.keys.push((lane(n[0]), n[1], key.to_owned())),
                _ => content.gaps.push(Gap { epoch: Epoch(n[0]), lane: lane(n[1]), from: n[2], to: n[3] }),
            }
        }
        if body.starts_with(b"?") { None } else { Some(content) }
    }

    fn close(&self, content: &Content) -> Bytes {
        let messages = content.messages.iter().map(|m| format!("m {} {}\n", m.lane.number(), m.seq));
        let gaps = content.gaps.iter().map(|g| format!("g {} {} {} {}\n", g.epoch, g.lane.number(), g.from, g.to));
        let keys = content.keys.iter().map(|(lane, seq, key)| format!("k {} {seq} #{key}\n", lane.number()));
        Bytes::from(messages.chain(gaps).chain(keys).collect::<String>())
    }
}

pub(crate) fn message(lane: Lane, seq: u64) -> Message {
    let data = Bytes::from_static(b"1");
    Message { lane, seq, from: UserId::new("ana").unwrap(), kind: "text".into(), data, at_ms: Millis(1) }
}

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

/// A segment of room `r` from its beginning with these (lane, seq).
pub(crate) fn packed(epoch: u64, numbers: &[(u8, u64)]) -> Packed {
    let mut last = Seqs::ZERO;
    let messages: Vec<Message> =
        numbers.iter().map(|(lane, seq)| message(Lane::from_number(*lane).unwrap(), *seq)).collect();
    for message in &messages {
        last[message.lane] = last[message.lane].max(message.seq);
    }
    let body = Plain.close(&Content { messages, ..Content::default() });
    Packed { room: room("r"), epoch: Epoch(epoch), after: Seqs::ZERO, last, body }
}

/// Numbers messages as the owner of a room does.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    pub(crate) room: RoomId,
    pub(crate) epoch: u64,
    pub(crate) head: Seqs,
}

impl Feed {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { room: room("r"), epoch, head: Seqs::ZERO }
    }

    /// The next segment, with one message for each lane given.
    pub(crate) fn next(&mut self, lanes: &[u8]) -> Packed {
        let after = self.head;
        let mut messages = Vec::new();
        for lane in lanes {
            let lane = Lane::from_number(*lane).unwrap();
            self.head[lane] += 1;
            messages.push(message(lane, self.head[lane]));
        }
        messages.sort_by_key(|m| (m.lane, m.seq));
        let body = Plain.close(&Content { messages, ..Content::default() });
        Packed { room: self.room.clone(), epoch: Epoch(self.epoch), after, last: self.head, body }
    }
}
