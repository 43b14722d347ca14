//! The client's side of RFC 6455, as little of it as a load client needs: masked frames out, unmasked frames in.

use std::ops::Range;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Text,
    Close,
    Ping,
    Pong,
}

/// One frame of the server, as a place in the bytes it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) op: Op,
    pub(super) payload: Range<usize>,
}

/// Why bytes of the server are no frames that this client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("the server sent a masked frame")]
    Masked,
    #[error("the server sent a frame of a kind that nobody asked for (first byte {0:#04x})")]
    Unexpected(u8),
    #[error("the server sent a frame of {0} bytes; the bench takes {MAX_FRAME_BYTES}")]
    TooLarge(u64),
}

/// Largest frame that the client takes.
pub(super) const MAX_FRAME_BYTES: u64 = 4 << 20;

/// Reads the frame at the start of `bytes`: `None` if it is not complete yet.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let op = match first {
        0x81 => Op::Text,
        0x88 => Op::Close,
        0x89 => Op::Ping,
        0x8a => Op::Pong,
        other => return Err(WireError::Unexpected(other)),
    };
    if second & 0x80 != 0 {
        return Err(WireError::Masked);
    }
    let (header, length) = match second {
        126 => match bytes.get(2..4).and_then(|field| field.try_into().ok()) {
            Some(field) => (4, u64::from(u16::from_be_bytes(field))),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|field| field.try_into().ok()) {
            Some(field) => (10, u64::from_be_bytes(field)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    if length > MAX_FRAME_BYTES {
        return Err(WireError::TooLarge(length));
    }
    let end = header + usize::try_from(length).unwrap_or(usize::MAX);
    Ok((bytes.len() >= end).then_some(Frame { op, payload: header..end }))
}

/// Appends a masked frame.
pub(super) fn encode(op: Op, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(match op {
        Op::Text => 0x81,
        Op::Close => 0x88,
        Op::Ping => 0x89,
        Op::Pong => 0x8a,
    });
    length(payload.len(), 0x80, out);
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends an unmasked text frame, as a server writes it: for the bare loop.
pub(super) fn encode_unmasked(payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x81);
    length(payload.len(), 0, out);
    out.extend_from_slice(payload);
}

fn length(length: usize, mask_bit: u8, out: &mut Vec<u8>) {
    if let Some(short) = u8::try_from(length).ok().filter(|short| *short < 126) {
        out.push(mask_bit | short);
    } else if let Ok(middle) = u16::try_from(length) {
        out.push(mask_bit | 0x7e);
        out.extend_from_slice(&middle.to_be_bytes());
    } else {
        out.push(mask_bit | 0x7f);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// The request that opens a connection. The key is any 16 bytes in Base64; who measures does not check the answer to it.
pub(super) fn upgrade(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhyb25nIGJlbmNoIGtleQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: throng.v1.json\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_found_and_incomplete_ones_awaited() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            encode_unmasked(&payload, &mut bytes);
            let frame = decode(&bytes).unwrap().expect("complete");
            assert_eq!(frame.op, Op::Text);
            assert_eq!(frame.payload.len(), length);
            assert_eq!(frame.payload.end, bytes.len());
            for end in [0, 1, 2, 3, bytes.len() - 1] {
                assert_eq!(decode(&bytes[..end.min(bytes.len() - 1)]).unwrap(), None);
            }
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        assert_eq!(decode(&[0x81, 0x80, 0, 0, 0, 0]), Err(WireError::Masked));
        assert_eq!(decode(&[0x01, 0]), Err(WireError::Unexpected(0x01)));
        assert_eq!(decode(&[0x82, 0]), Err(WireError::Unexpected(0x82)));
        assert_eq!(decode(&[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]), Err(WireError::TooLarge(1 << 40)));
    }

    #[test]
    fn a_masked_frame_unmasks_to_what_was_said() {
        let mut bytes = Vec::new();
        encode(Op::Pong, b"hello", [1, 2, 3, 4], &mut bytes);
        assert_eq!(bytes[..6], [0x8a, 0x85, 1, 2, 3, 4]);
        let said: Vec<u8> = bytes[6..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        assert_eq!(said, b"hello");
    }
}
