//! The client's side, written from RFC 6455 and sharing nothing with the decoder under test.

use throng_ws::{Close, DecodeError, Decoder, Event, Flow, Limits};

/// A frame as a client sends it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    pub(crate) key: [u8; 4],
}

impl Frame {
    pub(crate) fn new(fin: bool, opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin, opcode, payload: payload.into(), key: [0x37, 0xfa, 0x21, 0x3d] }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.opcode];
        match self.payload.len() {
            len @ 0..=125 => bytes.push(0x80 + u8::try_from(len).expect("it is small")),
            len @ 126..=65_535 => {
                bytes.push(0x80 + 126);
                bytes.extend(u16::try_from(len).expect("it is small").to_be_bytes());
            }
            len => {
                bytes.push(0x80 + 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(self.key);
        bytes.extend(self.payload.iter().zip(self.key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// A server's frame as a client would have sent it: the mask bit set, a key inserted, the payload masked.
pub(crate) fn masked(server_frame: &[u8], key: [u8; 4]) -> Vec<u8> {
    let head_bytes = match server_frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let (head, payload) = server_frame.split_at(head_bytes);
    let mut bytes = head.to_vec();
    bytes[1] |= 0x80;
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// An event that outlives its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Ping(payload) => Self::Ping(payload.into()),
            Event::Pong(payload) => Self::Pong(payload.into()),
            Event::Close(close) => Self::Close(close.map(|Close { code, reason }| (code, reason.into()))),
        }
    }
}

/// All that came of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) said: Vec<Said>,
    pub(crate) error: Option<DecodeError>,
    pub(crate) open: bool,
}

/// A connection under test, which checks the bounds of memory after each read.
pub(crate) struct Connection {
    decoder: Decoder,
    limits: Limits,
    pub(crate) frames: u32,
    pub(crate) outcome: Outcome,
}

impl Connection {
    pub(crate) fn new(limits: Limits) -> Self {
        let outcome = Outcome { said: Vec::new(), error: None, open: true };
        Self { decoder: Decoder::default(), limits, frames: 0, outcome }
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let said = &mut self.outcome.said;
        let fed = self.decoder.feed(&mut bytes.to_vec(), &self.limits, &mut |event| {
            said.push(event.into());
            Flow::Continue
        });
        match fed {
            Ok(fed) => {
                self.frames += fed.frames;
                self.outcome.open = fed.open;
            }
            Err(error) => {
                assert_eq!(self.outcome.error.replace(error), None, "one error is the last");
                self.outcome.open = false;
            }
        }
        let held = self.decoder.held_bytes();
        assert!(held <= self.limits.message_bytes + 125 + 256, "{held} bytes are held");
        assert!(!self.decoder.is_idle() || held == 0, "idle, yet {held} bytes are held");
        assert!(self.outcome.open || held == 0, "closed, yet {held} bytes are held");
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.decoder.is_idle()
    }
}

/// Feeds a stream cut at the given places, in any order.
pub(crate) fn decode(stream: &[u8], cuts: &[usize], limits: Limits) -> Outcome {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    let mut connection = Connection::new(limits);
    for pair in places.windows(2) {
        connection.read(&stream[pair[0]..pair[1]]);
    }
    connection.outcome
}
