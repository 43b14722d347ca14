//! The client protocol: one set of types for its two forms.
//!
//! [`Request`] is what a client says, [`Reply`] what the server says. [`json`] and [`protobuf`] read and write them;
//! [`Format`] picks one of the two at run time. A WebSocket message may hold several frames: lines in JSON,
//! length-delimited ones in protobuf.

mod format;
pub mod json;
pub mod protobuf;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use throng_core::{Cursor, Epoch, Gap, Lane, Message, Millis, RoomId, Seqs};

pub use format::{Format, ReadError};

use crate::codes::ErrorCode;

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Chosen by the client, echoed in the answer; 0 where the client gave none.
    pub id: u64,
    /// What it wants.
    pub command: Command,
}

/// What a client can want. Ids are texts here: the gateway checks them and answers `bad_id`.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a new command must be handled by every gateway")]
pub enum Command {
    /// First of all: who I am, or who I was.
    Hello(Hello),
    /// Enter a room.
    Join(Join),
    /// Leave a room.
    Leave {
        /// The room.
        room: String,
    },
    /// Send a message to a room.
    Publish(Publish),
    /// Read messages of a room again.
    Pull(Pull),
    /// A new token for this connection.
    Refresh {
        /// The token.
        token: String,
    },
    /// Are you there?
    Ping,
}

/// Opens a session, or resumes one: exactly one of `token` and `resume` is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hello {
    /// A signed token (JWT).
    pub token: Option<String>,
    /// A resume token that the server gave before.
    pub resume: Option<String>,
    /// With `resume`: the rooms to be in again, and how far the client has come in each.
    pub rooms: BTreeMap<String, Cursor>,
    /// Messages a second of lanes 2-3 that the client wants at most; `Some(0)` asks for no budget.
    pub max_rate: Option<u32>,
}

/// Enters a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Join {
    /// The room.
    pub room: String,
    /// Last so many messages of lanes 0-2, at most.
    pub history: u32,
    /// How far the client has come before.
    pub since: Option<Cursor>,
}

/// Sends a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The room.
    pub room: String,
    /// The lane it wishes.
    pub lane: Lane,
    /// Kind of message, for the application.
    pub kind: String,
    /// Bytes of one JSON value.
    pub data: Bytes,
    /// Makes a retry harmless.
    pub key: Option<String>,
    /// Answer only when the store has it.
    pub stored: bool,
}

/// Reads messages of one lane again.
#[derive(Clone, Debug, PartialEq)]
pub struct Pull {
    /// The room.
    pub room: String,
    /// Of which epoch; none: the current one.
    pub epoch: Option<Epoch>,
    /// The lane.
    pub lane: Lane,
    /// Numbers above this.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
}

/// One frame of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The id of the command that it answers; 0: none.
    pub id: u64,
    /// What it says.
    pub body: Body,
}

/// What the server can say.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a new frame must be written in both forms")]
pub enum Body {
    /// The command succeeded. Boxed: most frames are segments.
    Ok(Box<Ok>),
    /// The command failed.
    Error(Error),
    /// Messages of a room.
    Segment(SegmentFrame),
    /// An epoch of a room has ended.
    Sealed(Sealed),
    /// Something else happened in a room.
    Event(Box<Event>),
    /// Connect somewhere else.
    GoAway(GoAway),
}

/// Result of a command; only the fields of that command are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ok {
    /// `hello`: the user of the token.
    pub user: Option<String>,
    /// `hello`, `refresh`: what to resume the session with.
    pub resume: Option<String>,
    /// `hello`: the server pings after so long a silence.
    pub ping_ms: Option<u32>,
    /// `hello` with `resume`: what became of each room.
    pub rooms: BTreeMap<String, Recovered>,
    /// `join`, `leave`: the room.
    pub room: Option<String>,
    /// `join`, `publish`, `pull`: the epoch.
    pub epoch: Option<Epoch>,
    /// `join`: the cursor; what comes later is pushed.
    pub seq: Option<Seqs>,
    /// `join`: members of the room.
    pub members: Option<u64>,
    /// `join` with `since`: whether lanes 0-1 are complete and lanes 2-3 delivered or declared.
    pub recovered: Option<bool>,
    /// `publish`: what was reached.
    pub state: Option<PublishState>,
    /// `publish`: the lane it was given.
    pub lane: Option<Lane>,
    /// `publish`: its number. In JSON it is called `seq` too.
    pub number: Option<u64>,
    /// `pull`, `join` with `history`: the messages. `Some` where the command asked for some.
    pub messages: Option<Vec<Message>>,
    /// `pull`, `join`: numbers that cannot be had any more.
    pub gaps: Vec<Gap>,
}

/// How safe a published message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two promises of the protocol")]
pub enum PublishState {
    /// Ordered, in memory.
    Accepted,
    /// On the store.
    Stored,
}

/// What became of a room on resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the room goes on.
    pub cursor: Cursor,
    /// Lanes 0-1 complete, lanes 2-3 delivered or declared.
    pub recovered: bool,
    /// The room could not be joined again.
    pub error: Option<ErrorCode>,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which.
    pub code: ErrorCode,
    /// What to do, for people.
    pub message: String,
    /// When to try again; none: not the same.
    pub retry_ms: Option<u64>,
}

/// Messages and gaps of a room, as one subscriber gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFrame {
    /// The room.
    pub room: RoomId,
    /// The epoch of the messages.
    pub epoch: Epoch,
    /// The messages, by lane and number.
    pub messages: Vec<Message>,
    /// Numbers that this subscriber does not get.
    pub gaps: Vec<Gap>,
}

/// The end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The room.
    pub room: RoomId,
    /// The epoch that ended.
    pub epoch: Epoch,
    /// Its last numbers.
    pub last: Seqs,
    /// The epoch that follows, from number 1 in each lane.
    pub next_epoch: Epoch,
}

/// Something in a room beside its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The room; none for a directed message.
    pub room: Option<RoomId>,
    /// `count`, `removed`, `deleted`, `closed`, `direct`.
    pub kind: &'static str,
    /// `count`: members now.
    pub members: Option<u64>,
    /// `count`: it may still grow.
    pub provisional: bool,
    /// `count`: at most 20 who joined.
    pub joined: Vec<String>,
    /// `count`: how many more joined.
    pub joined_others: u64,
    /// `count`: at most 20 who left.
    pub left: Vec<String>,
    /// `count`: how many more left.
    pub left_others: u64,
    /// `removed`, `closed`: why.
    pub reason: Option<String>,
    /// `deleted`: the message.
    pub stamp: Option<throng_core::Stamp>,
    /// `direct`: who sent it.
    pub from: Option<String>,
    /// `direct`: kind of message.
    pub message_type: Option<Arc<str>>,
    /// `direct`: bytes of one JSON value.
    pub data: Option<Bytes>,
    /// `direct`: Unix time.
    pub at_ms: Option<Millis>,
}

/// The gateway wants the connection to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Connect elsewhere within so long; the connection is closed then.
    pub after_ms: u64,
    /// What to resume with.
    pub resume: String,
    /// `draining`.
    pub reason: String,
}

/// Longest `type` of a message, in bytes.
pub const MAX_KIND_BYTES: usize = crate::convert::MAX_KIND_BYTES;

fn check_hello(hello: Hello) -> Result<Command, (ErrorCode, String)> {
    match (&hello.token, &hello.resume) {
        (Some(_), Some(_)) => Err((ErrorCode::BadRequest, "hello takes a token or a resume token, not both".into())),
        (None, None) => Err((ErrorCode::BadRequest, "hello needs a token or a resume token".into())),
        (Some(_), None) if !hello.rooms.is_empty() => {
            Err((ErrorCode::BadRequest, "rooms of a hello go with a resume token; join them otherwise".into()))
        }
        _ => Result::Ok(Command::Hello(hello)),
    }
}

/// Whether `stored` is asked for.
fn read_ack(ack: Option<&str>) -> Result<bool, (ErrorCode, String)> {
    match ack {
        None | Some("accepted") => Result::Ok(false),
        Some("stored") => Result::Ok(true),
        _ => Err((ErrorCode::BadRequest, "ack is accepted or stored".into())),
    }
}

fn check_publish(publish: Publish) -> Result<Command, (ErrorCode, String)> {
    if publish.data.len() > throng_core::message::MAX_DATA_BYTES {
        let most = throng_core::message::MAX_DATA_BYTES;
        return Err((ErrorCode::TooLarge, format!("data has {} bytes, {most} are allowed", publish.data.len())));
    }
    let deepest = throng_core::message::MAX_DATA_DEPTH;
    if throng_core::message::depth(&publish.data) > deepest {
        return Err((ErrorCode::BadRequest, format!("data is nested more than {deepest} levels deep")));
    }
    if publish.kind.is_empty() || publish.kind.len() > MAX_KIND_BYTES {
        return Err((ErrorCode::BadRequest, format!("type has 1 to {MAX_KIND_BYTES} bytes")));
    }
    if publish.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > json::MAX_KEY_BYTES) {
        return Err((ErrorCode::BadRequest, format!("key has 1 to {} bytes", json::MAX_KEY_BYTES)));
    }
    Result::Ok(Command::Publish(publish))
}

#[cfg(test)]
mod tests;
