//! What connections share, and what they tell the scenario that drives them.

use throng_core::Stamp;

use super::conn::{ConnId, Phase};
use super::frames::{ErrorReply, EventLine, OkReply, Parser, RoomKey};
use super::stats::{Latency, Stats};

/// Something that a scenario may want to act on. What is counted only is in [`Stats`].
#[derive(Debug)]
pub(super) enum Note {
    /// The connection is open and in its rooms.
    Ready { conn: ConnId, how: Opened },
    /// The answer to a command of the scenario, or the error.
    Reply { conn: ConnId, id: u64, result: Result<Answer, ErrorReply> },
    /// The connection went on with its session, but not in this room.
    Unjoined { conn: ConnId, room: RoomKey },
    /// Something in a room; counts only on watched connections.
    Event { conn: ConnId, event: EventLine },
    /// The gateway goes: the connection is to be replaced at a random moment within so many milliseconds.
    GoAway { conn: ConnId, after_ms: u64 },
    /// What should replace the connection did not become one.
    NotReplaced { conn: ConnId, closing: Closing },
    /// The connection ended, not by the scenario's wish.
    Closed { conn: ConnId, closing: Closing },
}

/// What the answer to a command said.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Of a publish.
    pub(super) stamp: Option<Stamp>,
    /// Whether a publish is in the store.
    pub(super) stored: bool,
    /// Numbers of the publishes that a pull brought.
    pub(super) publishes: Vec<u64>,
}

impl From<&OkReply> for Answer {
    fn from(ok: &OkReply) -> Self {
        let stored = ok.state.as_deref() == Some("stored");
        Self { stamp: ok.stamp(), stored, publishes: ok.publishes() }
    }
}

/// A probe arrived at a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) conn: ConnId,
    pub(super) publish: u64,
    /// Its stamp; none if it was pulled.
    pub(super) stamp: Option<Stamp>,
    pub(super) at_us: u64,
}

/// Times between two segments of one room at one connection.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// In this room; none: not measured.
    pub(super) room: Option<RoomKey>,
    /// Since then.
    pub(super) since_us: u64,
    pub(super) times: Latency,
    /// Of these, the one in which a client changed to another gateway.
    pub(super) moved: Latency,
    /// What counts as long.
    pub(super) bound_us: u64,
    /// So many were longer.
    pub(super) long: u64,
}

/// How a connection came into its rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// As a new session.
    Fresh,
    /// It went on with its session, and nothing was lost.
    Recovered,
    /// It went on with its session, and not all could be recovered.
    Partly,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    /// Close code of the server; 1006: none was given.
    pub(super) code: u16,
    /// For people.
    pub(super) reason: String,
}

impl Closing {
    pub(super) fn broken(reason: &str) -> Self {
        Self { code: 1006, reason: reason.to_owned() }
    }

    /// The answer to an upgrade is none.
    pub(super) fn refused(answer: &[u8]) -> Self {
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        Self::broken(&format!("the server refused the upgrade: {}", String::from_utf8_lossy(line)))
    }

    pub(super) fn from_frame(payload: &[u8]) -> Self {
        let (code, reason) = payload
            .split_first_chunk::<2>()
            .map_or((1005, &[][..]), |(code, reason)| (u16::from_be_bytes(*code), reason));
        Self { code, reason: String::from_utf8_lossy(reason).into_owned() }
    }

    /// The server asks to be tried again after so long (close code 1013).
    pub(super) fn retry_ms(&self) -> Option<u64> {
        let reason: serde_json::Value = serde_json::from_str(&self.reason).ok()?;
        reason.get("retry_ms")?.as_u64()
    }
}

impl std::fmt::Display for Closing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (close code {})", self.reason, self.code)
    }
}

/// What all connections of a fleet share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) parser: Parser,
    pub(super) stats: Stats,
    pub(super) notes: Vec<Note>,
    /// When the measured window began; none: outside of it.
    pub(super) window_us: Option<u64>,
    /// The other side is the bare loop, which speaks no protocol.
    pub(super) bare: bool,
    /// Connections whose gateway goes are replaced; else a goaway is a broken connection.
    pub(super) follows_goaway: bool,
    /// Connections that ended after a goaway before they were replaced.
    pub(super) late: u64,
    /// Connections that ended without a warning after they were ready, and why the first did.
    pub(super) ended: Vec<ConnId>,
    pub(super) first_end: Option<Closing>,
    /// Probes that arrived since they were last taken.
    pub(super) receipts: Vec<Receipt>,
    pub(super) silence: Silence,
}

impl Shared {
    /// A connection ended; `told`: after a goaway.
    pub(super) fn closed(&mut self, conn: ConnId, was: Phase, told: bool, closing: Closing) {
        if told {
            self.late += 1;
        } else if was == Phase::Ready {
            self.ended.push(conn);
            self.first_end.get_or_insert_with(|| closing.clone());
        }
        self.notes.push(Note::Closed { conn, closing });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_says_why_and_when_to_come_again() {
        let closing = Closing::from_frame(b"\x03\xf5{\"retry_ms\":750}");
        assert_eq!((closing.code, closing.retry_ms()), (1013, Some(750)));
        assert_eq!(Closing::from_frame(b"").code, 1005);
        assert_eq!(Closing::broken("gone").retry_ms(), None);
    }
}
