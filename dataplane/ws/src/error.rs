//! What a client can do wrong in its frames, and the close code that tells it.

use thiserror::Error;

/// A rule of RFC 6455 or a limit that a client broke. The connection is over: send a close frame with
/// [`close_code`](Self::close_code) and these words, then close. The words fit into a close frame and hold nothing of
/// what the client sent but single numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A bit that only an extension may set; none is ever agreed.
    #[error("reserved bits are set, but no extension was agreed")]
    ReservedBits,
    /// An opcode that RFC 6455 leaves undefined.
    #[error("opcode {0:#x} is not defined; use text, binary, close, ping or pong")]
    UnknownOpcode(u8),
    /// A frame without a mask.
    #[error("a frame came without a mask; a client must mask every frame")]
    Unmasked,
    /// A control frame without the final bit.
    #[error("a control frame was fragmented; send it whole")]
    ControlFragmented,
    /// A control frame of more than 125 bytes.
    #[error("a control frame carries at most 125 bytes")]
    ControlTooLong,
    /// A length in more bytes than it needs.
    #[error("a frame's length was not written in its shortest form")]
    LengthNotShortest,
    /// A continuation while no message is open.
    #[error("a continuation came, but no message was begun")]
    NothingToContinue,
    /// A text or binary frame while a fragmented message is open.
    #[error("a new message began before the fragmented one ended")]
    MessageInsideMessage,
    /// A close frame of exactly one byte.
    #[error("a close frame carries nothing, or a code of two bytes and a reason")]
    CloseTruncated,
    /// A close code that is undefined or must never be sent.
    #[error("close code {0} must not be sent; use 1000 or 3000-4999")]
    CloseCode(u16),
    /// A text message or the reason of a close frame that is not UTF-8.
    #[error("text was not UTF-8; send binary, or encode it")]
    BadUtf8,
    /// A message over [`Limits::message_bytes`](crate::Limits::message_bytes).
    #[error("a message may have at most {limit_bytes} bytes")]
    TooBig {
        /// The limit, in bytes of payload.
        limit_bytes: usize,
    },
    /// A message over [`Limits::fragments`](crate::Limits::fragments).
    #[error("a message may come in at most {limit} frames; send larger fragments")]
    TooManyFragments {
        /// The limit, in frames.
        limit: u32,
    },
}

impl DecodeError {
    /// The number for the close frame: 1002, 1007 or 1009 (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::BadUtf8 => 1007,
            Self::TooBig { .. } | Self::TooManyFragments { .. } => 1009,
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::Unmasked
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::LengthNotShortest
            | Self::NothingToContinue
            | Self::MessageInsideMessage
            | Self::CloseTruncated
            | Self::CloseCode(_) => 1002,
        }
    }
}
