//! The two forms behind one name.

use throng_core::{Gap, Message, RoomId};

use super::{Reply, Request, json, protobuf};
use crate::codes::ErrorCode;

/// Which form a connection speaks; agreed on in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a connection speaks one of these two")]
pub enum Format {
    /// Text messages: one JSON object a line.
    Json,
    /// Binary messages: length-delimited protobuf.
    Protobuf,
}

/// A frame of a client that does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ReadError {
    /// The id that the frame carried, where that could be read; else 0.
    pub id: u64,
    /// `bad_request`, or `too_large`.
    pub code: ErrorCode,
    /// What is wrong with it, for people.
    pub message: String,
}

impl ReadError {
    pub(super) fn bad(id: u64, message: impl Into<String>) -> Self {
        Self { id, code: ErrorCode::BadRequest, message: message.into() }
    }
}

impl Format {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];

    /// Its place in an array by format.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name of the WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "throng.v1.json",
            Self::Protobuf => "throng.v1.proto",
        }
    }

    /// The form of a subprotocol's name.
    #[must_use]
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.subprotocol() == name)
    }

    /// Whether its WebSocket messages are binary.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::Protobuf)
    }

    /// Reads all frames of one WebSocket message, in order. A frame that does not read is an error of its own; reading
    /// goes on with the next where the form allows that (JSON), else it ends.
    pub fn read(self, message: &[u8], mut each: impl FnMut(Result<Request, ReadError>)) {
        match self {
            Self::Json => json::read(message, &mut each),
            Self::Protobuf => protobuf::read(message, &mut each),
        }
    }

    /// Appends one frame to a WebSocket message; several may stand in one message.
    pub fn write(self, reply: &Reply, message: &mut Vec<u8>) {
        match self {
            Self::Json => json::write(reply, message),
            Self::Protobuf => protobuf::write(reply, message),
        }
    }

    /// Appends one segment frame. The same bytes as [`Self::write`] gives for a [`super::SegmentFrame`], without
    /// owning the messages: this is what a gateway does for every tick.
    pub fn write_segment<'m>(
        self,
        room: &RoomId,
        epoch: throng_core::Epoch,
        messages: impl Iterator<Item = &'m Message>,
        gaps: &[Gap],
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Json => json::write_segment(room, epoch, messages, gaps, out),
            Self::Protobuf => protobuf::write_segment(room, epoch, messages, gaps, out),
        }
    }
}
