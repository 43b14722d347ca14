//! What a room carries.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Epoch, Lane, Millis, RoomId, Seqs, UserId};

/// Largest `data` of a message, in bytes of JSON; the frame around it is limited too.
pub const MAX_DATA_BYTES: usize = 32 * 1024;

/// Deepest nesting of `data`: readers of JSON give up or crash at some depth, and what one says all others read.
pub const MAX_DATA_DEPTH: usize = 64;

/// How deep arrays and objects are nested in a JSON text.
#[must_use]
pub fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// One ordered message. Its stamp is (epoch of its segment, `lane`, `seq`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Priority class that it was given, after the rights of its sender.
    pub lane: Lane,
    /// Number within the lane and epoch, from 1.
    pub seq: u64,
    /// Who sent it.
    pub from: UserId,
    /// What kind of message it is, for the application: `text`, `gift`, `like` ...
    pub kind: Arc<str>,
    /// The application's content: the bytes of one JSON value, never looked into.
    pub data: Bytes,
    /// When it was ordered, Unix time.
    pub at_ms: Millis,
}

impl Message {
    /// What it costs to keep, in bytes: its content and a fixed share for the rest.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.data.len() + self.from.as_str().len() + self.kind.len() + 64
    }
}

/// What one tick of a room carries: consecutive messages of one epoch, ordered by lane and then by `seq`.
///
/// For each lane it holds all numbers `after[lane] + 1 ..= last(lane)` except those inside `gaps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The room.
    pub room: RoomId,
    /// The claim under which all of it was ordered.
    pub epoch: Epoch,
    /// The numbers before the first of each lane.
    pub after: Seqs,
    /// The messages.
    pub messages: Vec<Message>,
    /// Numbers of this epoch that a hop before could not deliver.
    pub gaps: Vec<Gap>,
}

impl Segment {
    /// The last number of each lane, delivered or declared; `after` where the segment has none.
    #[must_use]
    pub fn last(&self) -> Seqs {
        let mut last = self.after;
        for message in &self.messages {
            last[message.lane] = last[message.lane].max(message.seq);
        }
        for gap in self.gaps.iter().filter(|gap| gap.epoch == self.epoch) {
            last[gap.lane] = last[gap.lane].max(gap.to);
        }
        last
    }
}

/// Numbers `from..=to` of a lane and epoch that were not delivered. Every message is delivered or inside a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Epoch of the numbers.
    pub epoch: Epoch,
    /// Lane of the numbers.
    pub lane: Lane,
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_ends_with_its_last_message_or_gap() {
        let segment = Segment {
            room: RoomId::new("r").unwrap(),
            epoch: Epoch(7),
            after: Seqs([0, 3, 118, 9]),
            messages: vec![Message {
                lane: Lane::Normal,
                seq: 119,
                from: UserId::new("ana").unwrap(),
                kind: "text".into(),
                data: Bytes::from_static(b"1"),
                at_ms: Millis(1),
            }],
            gaps: vec![Gap { epoch: Epoch(7), lane: Lane::Low, from: 10, to: 14 }],
        };
        assert_eq!(segment.last(), Seqs([0, 3, 119, 14]));
    }

    #[test]
    fn depth_counts_brackets_but_not_those_inside_of_text() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[1,[2]],"b":[]}"#, 3),
            (r#""[[[""#, 0),
            (r#"["\"[[[",{}]"#, 2),
            (r#"["\\",[]]"#, 2),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
