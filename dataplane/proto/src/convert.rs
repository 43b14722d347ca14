//! Between the messages of [`crate::link`] and the types of `throng-core`.
//!
//! What comes from another Pod is checked like any input: ids, lanes and lengths. What fails is a [`BadFrame`], which
//! ends the stream it came on: two Pods that disagree about the format must not guess.

use bytes::Bytes;
use prost::Message as _;
use throng_core::{Cursor, Epoch, Gap, IdError, Lane, Message, Millis, RoomId, Segment, Seqs, UserId};

use crate::link;

/// A frame between Pods that does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A lane above 3.
    #[error("{0} is not a lane")]
    Lane(u32),
    /// Not four numbers.
    #[error("{0} numbers where there is one for each of four lanes")]
    Seqs(usize),
    /// The body of a segment is not a `SegmentBody`.
    #[error("a segment body that does not read: {0}")]
    Body(#[from] prost::DecodeError),
    /// A message type that is not text of a sensible length.
    #[error("a message type has at most {MAX_KIND_BYTES} bytes")]
    Kind,
    /// A field that must be there is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
}

/// Longest message type, in bytes.
pub const MAX_KIND_BYTES: usize = 64;

/// Reads a lane.
pub fn lane(number: u32) -> Result<Lane, BadFrame> {
    u8::try_from(number).ok().and_then(Lane::from_number).ok_or(BadFrame::Lane(number))
}

/// Reads a room's id.
pub fn room(text: &str) -> Result<RoomId, BadFrame> {
    Ok(RoomId::new(text)?)
}

/// Reads a user's id.
pub fn user(text: &str) -> Result<UserId, BadFrame> {
    Ok(UserId::new(text)?)
}

/// Reads four numbers; none at all stands for four zeros.
pub fn seqs(numbers: &[u64]) -> Result<Seqs, BadFrame> {
    if numbers.is_empty() {
        return Ok(Seqs::ZERO);
    }
    numbers.try_into().map(Seqs).map_err(|_| BadFrame::Seqs(numbers.len()))
}

/// Reads a cursor.
pub fn cursor(from: &link::Cursor) -> Result<Cursor, BadFrame> {
    Ok(Cursor { epoch: Epoch(from.epoch), seq: seqs(&from.seq)? })
}

/// Writes a cursor.
#[must_use]
pub fn to_cursor(cursor: Cursor) -> link::Cursor {
    link::Cursor { epoch: cursor.epoch.0, seq: cursor.seq.0.to_vec() }
}

/// Reads a gap.
pub fn gap(from: &link::Gap) -> Result<Gap, BadFrame> {
    Ok(Gap { epoch: Epoch(from.epoch), lane: lane(from.lane)?, from: from.from, to: from.to })
}

/// Writes a gap.
#[must_use]
pub fn to_gap(gap: Gap) -> link::Gap {
    link::Gap { epoch: gap.epoch.0, lane: u32::from(gap.lane.number()), from: gap.from, to: gap.to }
}

/// Reads a message.
pub fn message(from: link::Message) -> Result<Message, BadFrame> {
    if from.kind.len() > MAX_KIND_BYTES {
        return Err(BadFrame::Kind);
    }
    Ok(Message {
        lane: lane(from.lane)?,
        seq: from.seq,
        from: user(&from.from)?,
        kind: from.kind.into(),
        data: from.data,
        at_ms: Millis(from.at_ms),
    })
}

/// Writes a message.
#[must_use]
pub fn to_message(message: &Message) -> link::Message {
    link::Message {
        lane: u32::from(message.lane.number()),
        seq: message.seq,
        from: message.from.as_str().to_owned(),
        kind: message.kind.as_ref().to_owned(),
        data: message.data.clone(),
        at_ms: message.at_ms.0,
    }
}

/// Reads the body of a segment: its messages and gaps.
pub fn body(from: link::SegmentBody) -> Result<(Vec<Message>, Vec<Gap>), BadFrame> {
    let messages = from.messages.into_iter().map(message).collect::<Result<_, _>>()?;
    let gaps = from.gaps.iter().map(gap).collect::<Result<_, _>>()?;
    Ok((messages, gaps))
}

/// Writes the body of a segment.
#[must_use]
pub fn to_body(messages: &[Message], gaps: &[Gap]) -> link::SegmentBody {
    link::SegmentBody {
        messages: messages.iter().map(to_message).collect(),
        gaps: gaps.iter().copied().map(to_gap).collect(),
        keys: Vec::new(),
    }
}

/// Reads a segment, its body included.
pub fn segment(from: &link::Segment) -> Result<Segment, BadFrame> {
    let (messages, gaps) = body(link::SegmentBody::decode(from.body.clone())?)?;
    Ok(Segment { room: room(&from.room)?, epoch: Epoch(from.epoch), after: seqs(&from.after)?, messages, gaps })
}

/// Writes a segment; its body is encoded once here and passed on as bytes from then on.
#[must_use]
pub fn to_segment(segment: &Segment) -> link::Segment {
    link::Segment {
        room: segment.room.as_str().to_owned(),
        epoch: segment.epoch.0,
        after: segment.after.0.to_vec(),
        last: segment.last().0.to_vec(),
        body: Bytes::from(to_body(&segment.messages, &segment.gaps).encode_to_vec()),
    }
}

/// The end of an epoch, as it travels between Pods: (room, epoch, last, next epoch).
pub fn sealed(from: &link::Sealed) -> Result<crate::client::Sealed, BadFrame> {
    Ok(crate::client::Sealed {
        room: room(&from.room)?,
        epoch: Epoch(from.epoch),
        last: seqs(&from.last)?,
        next_epoch: Epoch(from.next_epoch),
    })
}

/// Writes the end of an epoch.
#[must_use]
pub fn to_sealed(sealed: &crate::client::Sealed) -> link::Sealed {
    link::Sealed {
        room: sealed.room.as_str().to_owned(),
        epoch: sealed.epoch.0,
        last: sealed.last.0.to_vec(),
        next_epoch: sealed.next_epoch.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_message() -> impl Strategy<Value = Message> {
        (0u8..4, 1u64..1 << 53, "[a-z]{1,9}", "[a-z]{0,9}", 0u64..1 << 50).prop_map(|(lane, seq, from, kind, at)| {
            Message {
                lane: Lane::from_number(lane).unwrap(),
                seq,
                from: UserId::new(&from).unwrap(),
                kind: kind.into(),
                data: Bytes::from_static(b"{\"a\":1}"),
                at_ms: Millis(at),
            }
        })
    }

    proptest! {
        #[test]
        fn a_segment_crosses_the_wire_unchanged(
            messages in prop::collection::vec(any_message(), 0..20),
            after in prop::array::uniform4(0u64..1 << 40),
            gaps in prop::collection::vec((0u64..9, 0u8..4, 1u64..99, 0u64..9), 0..4),
        ) {
            let gaps = gaps.into_iter().map(|(epoch, lane, from, more)| Gap {
                epoch: Epoch(epoch), lane: Lane::from_number(lane).unwrap(), from, to: from + more,
            }).collect();
            let sent = Segment { room: RoomId::new("r").unwrap(), epoch: Epoch(7), after: Seqs(after), messages, gaps };
            let bytes = to_segment(&sent).encode_to_vec();
            let got = segment(&link::Segment::decode(&*bytes).unwrap()).unwrap();
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn bytes_of_another_make_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(read) = link::Segment::decode(&*bytes) {
                let _ = segment(&read);
            }
        }
    }

    #[test]
    fn a_frame_that_does_not_read_says_why() {
        assert_eq!(lane(4), Err(BadFrame::Lane(4)));
        assert_eq!(seqs(&[1, 2]), Err(BadFrame::Seqs(2)));
        assert_eq!(seqs(&[]), Ok(Seqs::ZERO));
        assert!(matches!(room(""), Err(BadFrame::Id(_))));
    }
}
