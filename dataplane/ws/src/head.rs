//! The head of a frame (RFC 6455 section 5.2), read byte by byte so that a wrong one is refused as soon as it shows.
//!
//! Checks run in the order of the bytes they look at. So however a stream is cut into reads, the same error is found.

use crate::DecodeError;

/// Longest head of a client's frame: two bytes, a 64-bit length, the mask.
pub(crate) const MAX_BYTES: usize = 14;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn parse(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(DecodeError::UnknownOpcode(number)),
        })
    }

    /// The number on the wire.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Control frames may stand between the fragments of a message.
    pub(crate) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A head that was read and found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last frame of its message.
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    /// Payload bytes.
    pub(crate) len: usize,
    pub(crate) mask: [u8; 4],
}

/// What the frames before allow this one to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// A fragmented message is open, and holds so many bytes.
    pub(crate) open_message_bytes: Option<usize>,
    /// Most bytes of a message.
    pub(crate) limit_bytes: usize,
}

/// Reads a head from the start of `bytes`: the head and its size, or nothing yet.
pub(crate) fn parse(bytes: &[u8], context: Context) -> Result<Option<(Head, usize)>, DecodeError> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let (fin, opcode) = parse_first(first, context)?;
    let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(DecodeError::Unmasked);
    }
    let short = second & 0x7f;
    if opcode.is_control() && short > 125 {
        return Err(DecodeError::ControlTooLong);
    }
    let Some((len, rest)) = parse_length(short, rest)? else { return Ok(None) };
    let room_bytes = context.limit_bytes.saturating_sub(context.open_message_bytes.unwrap_or(0));
    let len = match usize::try_from(len) {
        Ok(len) if len <= room_bytes || opcode.is_control() => len,
        _ => return Err(DecodeError::TooBig { limit_bytes: context.limit_bytes }),
    };
    let Some((&mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    Ok(Some((Head { fin, opcode, len, mask }, bytes.len() - rest.len())))
}

fn parse_first(first: u8, context: Context) -> Result<(bool, Opcode), DecodeError> {
    if first & 0x70 != 0 {
        return Err(DecodeError::ReservedBits);
    }
    let fin = first & 0x80 != 0;
    let opcode = Opcode::parse(first & 0x0f)?;
    let in_message = context.open_message_bytes.is_some();
    match opcode {
        Opcode::Continuation if !in_message => Err(DecodeError::NothingToContinue),
        Opcode::Text | Opcode::Binary if in_message => Err(DecodeError::MessageInsideMessage),
        _ if opcode.is_control() && !fin => Err(DecodeError::ControlFragmented),
        _ => Ok((fin, opcode)),
    }
}

/// The payload length, which the RFC wants in the shortest of its three forms, and the bytes after it.
fn parse_length(short: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, DecodeError> {
    let (len, least, rest) = match short {
        126 => match bytes.split_first_chunk::<2>() {
            Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), 126, rest),
            None => return Ok(None),
        },
        127 => match bytes.split_first_chunk::<8>() {
            Some((len, rest)) => (u64::from_be_bytes(*len), 1 << 16, rest),
            None => return Ok(None),
        },
        _ => (u64::from(short), 0, bytes),
    };
    if len < least { Err(DecodeError::LengthNotShortest) } else { Ok(Some((len, rest))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Context = Context { open_message_bytes: None, limit_bytes: 1 << 20 };
    const WITHIN: Context = Context { open_message_bytes: Some(10), limit_bytes: 20 };

    fn refusal(bytes: &[u8], context: Context) -> DecodeError {
        parse(bytes, context).expect_err("the head is wrong")
    }

    #[test]
    fn a_head_is_read_in_each_of_its_three_lengths() {
        let mask = [9, 8, 7, 6];
        for (length, len, size) in [
            (vec![0x80 + 125], 125, 6),
            (vec![0x80 + 126, 0, 126], 126, 8),
            (vec![0x80 + 126, 255, 255], 65_535, 8),
            (vec![0x80 + 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536, 14),
        ] {
            let bytes = [&[0x82][..], &length, &mask, b"payload"].concat();
            let head = Head { fin: true, opcode: Opcode::Binary, len, mask };
            assert_eq!(parse(&bytes, FRESH), Ok(Some((head, size))));
            for cut in 0..size {
                assert_eq!(parse(&bytes[..cut], FRESH), Ok(None), "{cut} bytes are not enough");
            }
        }
    }

    #[test]
    fn the_first_byte_alone_is_enough_to_refuse_it() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(refusal(&[0x81 | bit], FRESH), DecodeError::ReservedBits);
        }
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            assert_eq!(refusal(&[0x80 | opcode], FRESH), DecodeError::UnknownOpcode(opcode));
        }
        for control in [0x8, 0x9, 0xa] {
            assert_eq!(refusal(&[control], WITHIN), DecodeError::ControlFragmented);
        }
        assert_eq!(refusal(&[0x80], FRESH), DecodeError::NothingToContinue);
        assert_eq!(refusal(&[0x00], FRESH), DecodeError::NothingToContinue);
        assert_eq!(refusal(&[0x81], WITHIN), DecodeError::MessageInsideMessage);
        assert_eq!(refusal(&[0x02], WITHIN), DecodeError::MessageInsideMessage);
    }

    #[test]
    fn the_second_byte_must_carry_a_mask_and_keep_control_frames_short() {
        assert_eq!(refusal(&[0x81, 5], FRESH), DecodeError::Unmasked);
        assert_eq!(refusal(&[0x89, 0x80 + 126], FRESH), DecodeError::ControlTooLong);
        assert_eq!(refusal(&[0x88, 0x80 + 127], WITHIN), DecodeError::ControlTooLong);
    }

    #[test]
    fn lengths_in_longer_forms_than_needed_are_refused() {
        assert_eq!(refusal(&[0x82, 0x80 + 126, 0, 125], FRESH), DecodeError::LengthNotShortest);
        assert_eq!(refusal(&[0x82, 0x80 + 127, 0, 0, 0, 0, 0, 0, 255, 255], FRESH), DecodeError::LengthNotShortest);
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_the_mask_has_come() {
        let too_big = |limit_bytes| DecodeError::TooBig { limit_bytes };
        let endless = [0x82, 0x80 + 127, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(refusal(&endless, FRESH), too_big(1 << 20));
        assert_eq!(refusal(&[0x80, 0x80 + 11], WITHIN), too_big(20));
        assert!(parse(&[0x80, 0x80 + 10], WITHIN).is_ok(), "exactly the limit fits");
        assert!(parse(&[0x89, 0x80 + 125], WITHIN).is_ok(), "control frames are no part of a message");
    }
}
