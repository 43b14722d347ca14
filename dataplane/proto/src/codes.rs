//! Error codes and close codes: the whole list, documented in `docs/protocol.md` (a test compares them).

/// Why a command failed. The text is stable; the message beside it is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// Not a frame of the protocol: not JSON or protobuf, no or several commands, unknown fields, wrong types.
    BadRequest,
    /// The command needs a `hello` first.
    HelloFirst,
    /// The token is missing, forged, of a wrong algorithm, or not for this service.
    Unauthorized,
    /// The token has expired.
    TokenExpired,
    /// The token's rights do not cover this.
    Forbidden,
    /// An id is empty, too long or holds control characters.
    BadId,
    /// The content is too large.
    TooLarge,
    /// Over a quota; `retry_ms` says when to try again.
    Limited,
    /// The sender is muted in the room.
    Muted,
    /// The user is blocked from the room.
    Blocked,
    /// The room was not joined on this connection.
    NotJoined,
    /// The connection is in as many rooms as it may be.
    TooManyRooms,
    /// There is no such room, message or epoch.
    NotFound,
    /// The room was destroyed, or its time came, while it was joined.
    RoomClosed,
    /// The cursor is ahead of the room or of an epoch that it never had.
    BadCursor,
    /// The resume token is unknown, expired or of another cluster.
    BadResume,
    /// The owner cannot be reached now; `retry_ms` says when to try again.
    Unavailable,
    /// The store cannot be reached: ordered, but not stored.
    NotStored,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// All codes, as documented.
    pub const ALL: [Self; 19] = [
        Self::BadRequest,
        Self::HelloFirst,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::Forbidden,
        Self::BadId,
        Self::TooLarge,
        Self::Limited,
        Self::Muted,
        Self::Blocked,
        Self::NotJoined,
        Self::TooManyRooms,
        Self::NotFound,
        Self::RoomClosed,
        Self::BadCursor,
        Self::BadResume,
        Self::Unavailable,
        Self::NotStored,
        Self::Internal,
    ];

    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::HelloFirst => "hello_first",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "forbidden",
            Self::BadId => "bad_id",
            Self::TooLarge => "too_large",
            Self::Limited => "limited",
            Self::Muted => "muted",
            Self::Blocked => "blocked",
            Self::NotJoined => "not_joined",
            Self::TooManyRooms => "too_many_rooms",
            Self::NotFound => "not_found",
            Self::RoomClosed => "room_closed",
            Self::BadCursor => "bad_cursor",
            Self::BadResume => "bad_resume",
            Self::Unavailable => "unavailable",
            Self::NotStored => "not_stored",
            Self::Internal => "internal",
        }
    }

    /// The code of a text, none if it is not one of [`Self::ALL`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the server closed a connection: the code of the WebSocket close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The client closed; answered in kind.
    Normal,
    /// The gateway stops; connect again, with the resume token of the goaway.
    GoingAway,
    /// Not WebSocket as RFC 6455 has it: unmasked frames, reserved bits, broken fragments.
    ProtocolError,
    /// A text frame on a protobuf connection or the reverse.
    Unsupported,
    /// A text message that is not UTF-8.
    BadUtf8,
    /// A message or frame over the limit, or of too many fragments.
    TooBig,
    /// Too busy; the reason is `{"retry_ms":N}`.
    TryAgain,
    /// No `hello` in time.
    HelloTimeout,
    /// The token or resume token was refused.
    Unauthorized,
    /// The token expired during the connection.
    TokenExpired,
    /// The client reads too slowly for what must not be lost; resume with the token.
    Slow,
    /// Too many frames a second, or too many malformed ones.
    TooManyFrames,
    /// Removed by an administrator.
    Kicked,
    /// The user or address has as many connections as it may.
    TooManyConnections,
    /// Nothing was heard, not even a pong.
    Silent,
    /// A newer session of the user took over.
    Replaced,
}

impl CloseCode {
    /// All codes, as documented.
    pub const ALL: [Self; 16] = [
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::Unsupported,
        Self::BadUtf8,
        Self::TooBig,
        Self::TryAgain,
        Self::HelloTimeout,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::Slow,
        Self::TooManyFrames,
        Self::Kicked,
        Self::TooManyConnections,
        Self::Silent,
        Self::Replaced,
    ];

    /// The number in the close frame.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::Unsupported => 1003,
            Self::BadUtf8 => 1007,
            Self::TooBig => 1009,
            Self::TryAgain => 1013,
            Self::HelloTimeout => 4000,
            Self::Unauthorized => 4001,
            Self::TokenExpired => 4002,
            Self::Slow => 4003,
            Self::TooManyFrames => 4004,
            Self::Kicked => 4005,
            Self::TooManyConnections => 4006,
            Self::Silent => 4007,
            Self::Replaced => 4008,
        }
    }

    /// The name in metrics, logs and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::Unsupported => "unsupported",
            Self::BadUtf8 => "bad_utf8",
            Self::TooBig => "too_big",
            Self::TryAgain => "try_again",
            Self::HelloTimeout => "hello_timeout",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::Slow => "slow",
            Self::TooManyFrames => "too_many_frames",
            Self::Kicked => "kicked",
            Self::TooManyConnections => "too_many_connections",
            Self::Silent => "silent",
            Self::Replaced => "replaced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_reads_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
        assert_eq!(ErrorCode::parse("nonsense"), None);
    }

    /// A code that the documents do not explain is of no use to who gets it.
    #[test]
    fn every_code_stands_in_the_documents() {
        let text = include_str!("../../../docs/protocol.md");
        for code in ErrorCode::ALL {
            assert!(text.contains(&format!("\n| `{code}` |")), "{code}");
        }
        for code in CloseCode::ALL {
            assert!(text.contains(&format!("\n| {} | `{}` |", code.number(), code.as_str())), "{}", code.as_str());
        }
    }

    #[test]
    fn close_codes_are_distinct_and_allowed_on_the_wire() {
        let mut numbers: Vec<u16> = CloseCode::ALL.iter().map(|code| code.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CloseCode::ALL.len());
        assert!(numbers.iter().all(|n| (1000..1015).contains(n) || (4000..5000).contains(n)));
    }
}
