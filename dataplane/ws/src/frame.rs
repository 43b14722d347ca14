//! Frames to clients (RFC 6455 section 5.2): no mask, always whole, so the same bytes serve any number of connections.

use std::io;

use bytes::{BufMut, Bytes};

use crate::Close;
use crate::head::Opcode;

/// Longest head of a server's frame: two bytes and a 64-bit length.
pub const MAX_HEAD_BYTES: usize = 10;

/// Most payload of a ping or pong.
pub const MAX_CONTROL_BYTES: usize = 125;

/// Most reason in a close frame; the code takes the other two bytes.
pub const MAX_REASON_BYTES: usize = MAX_CONTROL_BYTES - 2;

/// A text message.
#[must_use]
pub fn text(payload: &str) -> Bytes {
    whole(Opcode::Text, payload.as_bytes())
}

/// A binary message.
#[must_use]
pub fn binary(payload: &[u8]) -> Bytes {
    whole(Opcode::Binary, payload)
}

/// A ping; the client must send its payload back. What goes beyond [`MAX_CONTROL_BYTES`] is cut off.
#[must_use]
pub fn ping(payload: &[u8]) -> Bytes {
    whole(Opcode::Ping, payload.get(..MAX_CONTROL_BYTES).unwrap_or(payload))
}

/// The answer to a ping with this payload. What goes beyond [`MAX_CONTROL_BYTES`] is cut off; no ping has more.
#[must_use]
pub fn pong(payload: &[u8]) -> Bytes {
    whole(Opcode::Pong, payload.get(..MAX_CONTROL_BYTES).unwrap_or(payload))
}

/// Closes with a code of RFC 6455 section 7.4 and words, which are cut at a character if over [`MAX_REASON_BYTES`].
#[must_use]
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or_default();
    let mut payload = Vec::with_capacity(MAX_CONTROL_BYTES);
    payload.put_u16(code);
    payload.put_slice(reason.as_bytes());
    whole(Opcode::Close, &payload)
}

/// Answers a client's close frame in kind: with its code, without its words.
#[must_use]
pub fn close_reply(received: Option<Close<'_>>) -> Bytes {
    received.map_or_else(|| whole(Opcode::Close, b""), |received| close(received.code, ""))
}

fn whole(opcode: Opcode, payload: &[u8]) -> Bytes {
    let (head, start) = head(opcode, payload.len());
    let head = head.get(start..).unwrap_or_default();
    let mut frame = Vec::with_capacity(head.len() + payload.len());
    frame.extend_from_slice(head);
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

/// A head, written against the end of its room, and where it starts: the payload then follows without a hole.
fn head(opcode: Opcode, payload_bytes: usize) -> ([u8; MAX_HEAD_BYTES], usize) {
    let first = 0x80 | opcode.number();
    let len = (payload_bytes as u64).to_be_bytes();
    let [.., high, low] = len;
    match payload_bytes {
        0..=125 => ([0, 0, 0, 0, 0, 0, 0, 0, first, low], 8),
        126..=0xffff => ([0, 0, 0, 0, 0, 0, first, 126, high, low], 6),
        _ => {
            let mut room = [first, 127, 0, 0, 0, 0, 0, 0, 0, 0];
            if let Some(tail) = room.last_chunk_mut() {
                *tail = len;
            }
            (room, 0)
        }
    }
}

/// Builds one frame out of parts, in place: the payload is written behind room for the longest head, which is filled in
/// at the end. Nothing is copied when it is finished.
///
/// Several JSON objects go into one text frame with a newline between them ([`line`](Self::line)). A serializer writes
/// into it as into any [`io::Write`]; such writes never fail. Who writes anything but UTF-8 into a text frame makes clients
/// close with 1007.
#[derive(Debug)]
pub struct FrameBuilder {
    opcode: Opcode,
    /// The room for the head, and the payload.
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// A text frame that will likely have `payload_bytes`; more is fine.
    #[must_use]
    pub fn text(payload_bytes: usize) -> Self {
        Self::with_capacity(Opcode::Text, payload_bytes)
    }

    /// A binary frame that will likely have `payload_bytes`; more is fine.
    #[must_use]
    pub fn binary(payload_bytes: usize) -> Self {
        Self::with_capacity(Opcode::Binary, payload_bytes)
    }

    fn with_capacity(opcode: Opcode, payload_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(MAX_HEAD_BYTES.saturating_add(payload_bytes));
        bytes.extend_from_slice(&[0; MAX_HEAD_BYTES]);
        Self { opcode, bytes }
    }

    /// Adds payload as it is.
    pub fn extend(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
    }

    /// Adds a newline, unless nothing was written yet: what is written next is a line of its own.
    pub fn next_line(&mut self) {
        if !self.is_empty() {
            self.bytes.push(b'\n');
        }
    }

    /// Adds one line. It must hold no newline itself, as compact JSON does not.
    pub fn line(&mut self, payload: &[u8]) {
        self.next_line();
        self.extend(payload);
    }

    /// Payload written so far, in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len() - MAX_HEAD_BYTES
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload_bytes() == 0
    }

    /// The frame. It keeps the builder's allocation, whose slack lives as long as the frame.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let (head, start) = head(self.opcode, self.payload_bytes());
        for (to, from) in self.bytes.iter_mut().zip(head) {
            *to = from;
        }
        let mut frame = Bytes::from(self.bytes);
        bytes::Buf::advance(&mut frame, start);
        frame
    }
}

impl io::Write for FrameBuilder {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        self.extend(payload);
        Ok(payload.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn the_unmasked_frames_of_the_rfc_come_out() {
        assert_eq!(text("Hello")[..], [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(ping(b"Hello")[..], [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(binary(&[7; 256])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(binary(&vec![7; 65_536])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(pong(b"")[..], [0x8a, 0x00]);
    }

    #[test]
    fn lengths_at_the_borders_take_the_shortest_form() {
        for (payload_bytes, head_bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(binary(&vec![1; payload_bytes]).len(), head_bytes + payload_bytes);
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        assert_eq!(close(1000, "bye")[..], [0x88, 5, 0x03, 0xe8, b'b', b'y', b'e']);
        let long = close(4000, &"é".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122, "61 characters of two bytes; half of one would be no UTF-8");
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn a_close_is_answered_in_kind() {
        assert_eq!(close_reply(None)[..], [0x88, 0]);
        assert_eq!(close_reply(Some(Close { code: 3000, reason: "mine" }))[..], [0x88, 2, 0x0b, 0xb8]);
    }

    #[test]
    fn control_payloads_never_exceed_what_a_client_accepts() {
        assert_eq!(ping(&[0; 300])[..2], [0x89, 125]);
        assert_eq!(pong(&[0; 300]).len(), 127);
    }

    #[test]
    fn lines_share_a_frame_with_a_newline_between_them() {
        let mut builder = FrameBuilder::text(0);
        assert!(builder.is_empty());
        builder.line(b"{}");
        builder.next_line();
        write!(builder, "[{}]", 1).expect("memory takes it");
        assert_eq!(builder.payload_bytes(), 6);
        assert_eq!(builder.finish(), text("{}\n[1]"));
    }

    #[test]
    fn a_built_frame_equals_a_frame_made_at_once_whatever_its_length() {
        for payload_bytes in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let payload = vec![42; payload_bytes];
            let mut builder = FrameBuilder::binary(payload_bytes / 2);
            builder.extend(&payload);
            assert_eq!(builder.finish(), binary(&payload));
        }
    }
}
