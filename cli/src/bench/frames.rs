//! What the server says, read once for all clients that hear it.
//!
//! A gateway writes the same bytes to thousands of connections. The parser keeps the last frames with what they meant, so
//! that the second client costs a comparison of bytes; only what is new is scanned ([`super::scan`]), and only what is rare
//! goes through a JSON parser.

use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use throng_core::{Cursor, Epoch, Gap, Lane, Seqs, Stamp};

use super::scan::{self, Mark, Scanned, ScannedMessage};
use super::truth::Truth;

/// Publishes from this number on are probes: every receipt of one is told ([`super::notes::Receipt`]).
pub(super) const FIRST_PROBE: u64 = 1 << 40;
/// Frames kept. A gateway speaks to so many cohorts of a room between two ticks, and the order of sockets mixes them.
const KEPT_FRAMES: usize = 32;

/// A room of this bench, as a small number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RoomKey(pub(super) usize);

/// One object of the server.
#[derive(Debug)]
pub(super) enum Item {
    Segment(SegmentItem),
    Sealed { room: RoomKey, epoch: Epoch, last: Seqs, next_epoch: Epoch },
    Reply { id: u64, result: Result<Box<OkReply>, ErrorReply> },
    Event(EventLine),
    GoAway(GoAwayLine),
}

/// A segment, boiled down to what is counted.
#[derive(Debug)]
pub(super) struct SegmentItem {
    pub(super) room: RoomKey,
    pub(super) epoch: Epoch,
    /// Consecutive numbers of a lane, in the order of the frame.
    pub(super) runs: Vec<Run>,
    pub(super) gaps: Vec<Gap>,
    /// Messages in it.
    pub(super) messages: u64,
    /// Those on lanes 2 and 3.
    pub(super) budgeted: u64,
    /// Lane and send stamp (microseconds) of those that are measured.
    pub(super) measured: Vec<(Lane, u64)>,
    /// Probes in it: their stamps and numbers.
    pub(super) probes: Vec<(Stamp, u64)>,
}

/// Messages `from..=to` of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) lane: Lane,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A frame that is no frame of the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the server sent what is not JSON of the protocol: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the server sent an object that says nothing")]
    Empty,
}

/// Reads frames, and keeps what all clients together know of each room.
#[derive(Debug, Default)]
pub(super) struct Parser {
    rooms: HashMap<String, RoomKey>,
    names: Vec<String>,
    truths: Vec<Truth>,
    kept: Vec<(Vec<u8>, Rc<[Item]>)>,
    replace_next: usize,
    /// Publishes from this number on are measured; zero: none.
    measured_from: u64,
}

impl Parser {
    /// The key of a room, new or known.
    pub(super) fn room(&mut self, name: &str) -> RoomKey {
        if let Some(key) = self.rooms.get(name) {
            return *key;
        }
        let key = RoomKey(self.names.len());
        self.rooms.insert(name.to_owned(), key);
        self.names.push(name.to_owned());
        self.truths.push(Truth::default());
        key
    }

    /// The key of a room that is known by name.
    pub(super) fn find(&self, name: &str) -> Option<RoomKey> {
        self.rooms.get(name).copied()
    }

    /// The name of a room.
    pub(super) fn name(&self, room: RoomKey) -> &str {
        self.names.get(room.0).map_or("", String::as_str)
    }

    /// What is known of a room.
    #[expect(clippy::indexing_slicing, reason = "keys are made by this parser together with their truth")]
    pub(super) fn known(&self, room: RoomKey) -> &Truth {
        &self.truths[room.0]
    }

    /// What is known of a room, to learn more.
    #[expect(clippy::indexing_slicing, reason = "keys are made by this parser together with their truth")]
    pub(super) fn truth(&mut self, room: RoomKey) -> &mut Truth {
        &mut self.truths[room.0]
    }

    /// Stamps with two contents and publishes with two stamps, in all rooms.
    pub(super) fn conflicts(&self) -> u64 {
        self.truths.iter().map(Truth::conflicts).sum()
    }

    /// Stamps with two contents, in all rooms.
    pub(super) fn two_contents(&self) -> u64 {
        self.truths.iter().map(Truth::two_contents).sum()
    }

    /// Forgets what clients together knew of the rooms.
    pub(super) fn forget_past(&mut self) {
        self.truths.fill_with(Truth::default);
    }

    /// From now on publishes from this number on are measured. Frames read before keep what they meant then.
    pub(super) fn measure_from(&mut self, publish: u64) {
        self.measured_from = publish;
    }

    /// Reads the payload of one text frame: one object or several, one a line.
    pub(super) fn parse(&mut self, payload: &[u8]) -> Result<Rc<[Item]>, FrameError> {
        if let Some((_, items)) = self.kept.iter().find(|(bytes, _)| bytes == payload) {
            return Ok(Rc::clone(items));
        }
        let lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let items = lines.map(|line| self.line(line)).collect::<Result<Rc<[Item]>, _>>()?;
        if items.iter().all(|item| matches!(item, Item::Segment(_) | Item::Sealed { .. } | Item::Event(_))) {
            self.keep(payload, &items);
        }
        Ok(items)
    }

    fn keep(&mut self, payload: &[u8], items: &Rc<[Item]>) {
        if let Some((bytes, old)) = self.kept.get_mut(self.replace_next) {
            bytes.clear();
            bytes.extend_from_slice(payload);
            *old = Rc::clone(items);
        } else {
            self.kept.push((payload.to_vec(), Rc::clone(items)));
        }
        self.replace_next = (self.replace_next + 1) % KEPT_FRAMES;
    }

    fn line(&mut self, line: &[u8]) -> Result<Item, FrameError> {
        if let Some(scanned) = scan::segment(line) {
            return Ok(Item::Segment(self.segment(scanned)));
        }
        let line: Line<'_> = serde_json::from_slice(line)?;
        if let Some(ok) = line.ok {
            Ok(Item::Reply { id: line.id, result: Ok(Box::new(ok)) })
        } else if let Some(error) = line.error {
            Ok(Item::Reply { id: line.id, result: Err(error) })
        } else if let Some(segment) = line.segment {
            Ok(Item::Segment(self.segment(segment.scanned())))
        } else if let Some(sealed) = line.sealed {
            let room = self.room(&sealed.room);
            self.truth(room).sealed(sealed.epoch, sealed.next_epoch);
            Ok(Item::Sealed { room, epoch: sealed.epoch, last: sealed.last, next_epoch: sealed.next_epoch })
        } else if let Some(event) = line.event {
            Ok(Item::Event(event))
        } else {
            line.goaway.map(Item::GoAway).ok_or(FrameError::Empty)
        }
    }

    fn segment(&mut self, scanned: Scanned<'_>) -> SegmentItem {
        let room = self.room(scanned.room);
        let epoch = scanned.epoch;
        let measured_from = self.measured_from;
        let truth = self.truth(room);
        let mut item = SegmentItem {
            room,
            epoch,
            runs: Vec::new(),
            gaps: scanned.gaps,
            messages: scanned.messages.len() as u64,
            budgeted: 0,
            measured: Vec::new(),
            probes: Vec::new(),
        };
        for ScannedMessage { lane, seq, mark } in scanned.messages {
            match item.runs.last_mut() {
                Some(run) if run.lane == lane && run.to + 1 == seq => run.to = seq,
                _ => item.runs.push(Run { lane, from: seq, to: seq }),
            }
            item.budgeted += u64::from(!lane.is_lossless());
            truth.saw(epoch, lane, seq);
            let Some(Mark { sent_us, publish }) = mark else { continue };
            truth.carries(Stamp { epoch, lane, seq }, publish);
            if publish >= FIRST_PROBE {
                item.probes.push((Stamp { epoch, lane, seq }, publish));
            }
            if measured_from > 0 && publish >= measured_from {
                item.measured.push((lane, sent_us));
            }
        }
        item
    }
}

// ---- the rare forms

#[derive(Deserialize)]
struct Line<'f> {
    #[serde(default)]
    id: u64,
    ok: Option<OkReply>,
    error: Option<ErrorReply>,
    #[serde(borrow)]
    segment: Option<SegmentLine<'f>>,
    sealed: Option<SealedLine>,
    event: Option<EventLine>,
    goaway: Option<GoAwayLine>,
}

/// What a successful command answers; only the fields that the bench uses.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OkReply {
    pub(super) resume: Option<String>,
    #[serde(default)]
    pub(super) rooms: HashMap<String, RecoveredLine>,
    pub(super) epoch: Option<Epoch>,
    pub(super) lane: Option<Lane>,
    pub(super) seq: Option<SeqField>,
    /// Of a publish: `accepted` or `stored`.
    pub(super) state: Option<String>,
    /// Of a pull.
    #[serde(default)]
    pub(super) messages: Vec<PulledLine>,
    /// Of a join with a cursor, and of a pull.
    #[serde(default)]
    pub(super) gaps: Vec<Gap>,
}

/// A message that was pulled; only what the bench wrote into it.
#[derive(Debug, Deserialize)]
pub(super) struct PulledLine {
    data: serde_json::Value,
}

impl OkReply {
    /// Numbers of this bench's publishes among the messages.
    pub(super) fn publishes(&self) -> Vec<u64> {
        self.messages.iter().filter_map(|message| message.data.get("n")?.as_u64()).collect()
    }

    /// The cursor of a join.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        match (self.epoch, &self.seq) {
            (Some(epoch), Some(SeqField::Cursor(seq))) => Some(Cursor { epoch, seq: *seq }),
            _ => None,
        }
    }

    /// The stamp of a publish.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        match (self.epoch, self.lane, &self.seq) {
            (Some(epoch), Some(lane), Some(SeqField::Number(seq))) => Some(Stamp { epoch, lane, seq: *seq }),
            _ => None,
        }
    }
}

/// `seq` is four numbers in the answer to a join and one in the answer to a publish.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SeqField {
    Number(u64),
    Cursor(Seqs),
}

/// What became of one room on resume.
#[derive(Debug, Deserialize)]
pub(super) struct RecoveredLine {
    #[serde(default)]
    pub(super) recovered: bool,
    pub(super) code: Option<String>,
}

/// Why a command failed.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ErrorReply {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) retry_ms: Option<u64>,
}

#[derive(Deserialize)]
struct SegmentLine<'f> {
    room: String,
    epoch: Epoch,
    #[serde(borrow, default)]
    messages: Vec<MessageLine<'f>>,
    #[serde(default)]
    gaps: Vec<Gap>,
}

#[derive(Deserialize)]
struct MessageLine<'f> {
    lane: Lane,
    seq: u64,
    #[serde(borrow)]
    data: &'f RawValue,
}

impl SegmentLine<'_> {
    fn scanned(&self) -> Scanned<'_> {
        let message = |line: &MessageLine<'_>| ScannedMessage {
            lane: line.lane,
            seq: line.seq,
            mark: serde_json::from_str(line.data.get()).ok(),
        };
        Scanned {
            room: &self.room,
            epoch: self.epoch,
            messages: self.messages.iter().map(message).collect(),
            gaps: self.gaps.clone(),
        }
    }
}

#[derive(Deserialize)]
struct SealedLine {
    room: String,
    epoch: Epoch,
    last: Seqs,
    next_epoch: Epoch,
}

/// Something in a room beside its messages; only the fields that the bench uses.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EventLine {
    pub(super) kind: String,
    pub(super) members: Option<u64>,
}

/// The gateway wants the connection to end.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct GoAwayLine {
    pub(super) after_ms: u64,
    /// What to go on with elsewhere.
    pub(super) resume: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: &str = r#"{"segment":{"room":"a","epoch":7,"messages":[{"lane":0,"seq":4,"from":"u","type":"text","data":{"t":5,"n":1,"p":"x"},"at_ms":9},{"lane":2,"seq":7,"from":"u","type":"text","data":{"t":6,"n":2,"p":"x"},"at_ms":9},{"lane":2,"seq":8,"from":"u","type":"text","data":{"t":7,"n":3,"p":"x"},"at_ms":9},{"lane":2,"seq":10,"from":"u","type":"text","data":{"t":8,"n":4,"p":"x"},"at_ms":9}],"gaps":[{"epoch":7,"lane":2,"from":9,"to":9}]}}"#;

    fn one(parser: &mut Parser, payload: &str) -> Rc<[Item]> {
        parser.parse(payload.as_bytes()).unwrap()
    }

    fn segment(items: &[Item]) -> &SegmentItem {
        let [Item::Segment(segment)] = items else { panic!("{items:?}") };
        segment
    }

    #[test]
    fn consecutive_numbers_are_one_run_and_only_measured_messages_are_timed() {
        let mut parser = Parser::default();
        parser.measure_from(3);
        let items = one(&mut parser, SEGMENT);
        let segment = segment(&items);
        let run = |lane, from, to| Run { lane, from, to };
        assert_eq!(segment.runs, [run(Lane::Control, 4, 4), run(Lane::Normal, 7, 8), run(Lane::Normal, 10, 10)]);
        assert_eq!((segment.messages, segment.budgeted, segment.gaps.len()), (4, 3, 1));
        assert_eq!(segment.measured, [(Lane::Normal, 7), (Lane::Normal, 8)]);
        assert_eq!(parser.truth(RoomKey(0)).last(Epoch(7)), Seqs([4, 0, 10, 0]));
    }

    #[test]
    fn the_same_bytes_are_read_once() {
        let mut parser = Parser::default();
        let first = one(&mut parser, SEGMENT);
        assert!(Rc::ptr_eq(&first, &one(&mut parser, SEGMENT)));
        for n in 0..KEPT_FRAMES {
            one(&mut parser, &SEGMENT.replace("\"epoch\":7", &format!("\"epoch\":{}", 100 + n)));
        }
        assert!(!Rc::ptr_eq(&first, &one(&mut parser, SEGMENT)));
        assert_eq!(parser.kept.len(), KEPT_FRAMES);
    }

    #[test]
    fn a_frame_of_another_form_means_the_same() {
        let mut parser = Parser::default();
        let usual = one(&mut parser, SEGMENT);
        let spaced = one(&mut parser, &SEGMENT.replace("\"lane\":", "\"lane\": "));
        assert_eq!(segment(&usual).runs, segment(&spaced).runs);
        assert_eq!(parser.conflicts(), 0);
    }

    #[test]
    fn replies_are_never_kept_and_several_lines_are_several_items() {
        let mut parser = Parser::default();
        let items = one(
            &mut parser,
            "{\"id\":2,\"ok\":{\"room\":\"a\",\"epoch\":7,\"seq\":[0,3,120,9],\"members\":1042}}\n{\"id\":3,\"ok\":{\"state\":\"accepted\",\"epoch\":7,\"lane\":2,\"seq\":121}}\n{\"id\":4,\"error\":{\"code\":\"limited\",\"message\":\"m\",\"retry_ms\":180}}\n{\"sealed\":{\"room\":\"a\",\"epoch\":7,\"last\":[0,3,131,14],\"next_epoch\":9}}\n{\"event\":{\"room\":\"a\",\"kind\":\"count\",\"members\":1043}}\n{\"goaway\":{\"after_ms\":8300,\"resume\":\"t\",\"reason\":\"draining\"}}",
        );
        assert!(parser.kept.is_empty());
        let [
            Item::Reply { id: 2, result: Ok(join) },
            Item::Reply { id: 3, result: Ok(publish) },
            Item::Reply { id: 4, result: Err(limited) },
            Item::Sealed { .. },
            Item::Event(event),
            Item::GoAway(goaway),
        ] = &*items
        else {
            panic!("{items:?}")
        };
        assert_eq!(join.cursor(), Some(Cursor { epoch: Epoch(7), seq: Seqs([0, 3, 120, 9]) }));
        assert_eq!(publish.stamp(), Some(Stamp { epoch: Epoch(7), lane: Lane::Normal, seq: 121 }));
        assert_eq!(limited.retry_ms, Some(180));
        assert_eq!((event.members, goaway.after_ms), (Some(1043), 8300));
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let mut parser = Parser::default();
        assert!(matches!(parser.parse(b"{}"), Err(FrameError::Empty)));
        assert!(matches!(parser.parse(b"hello"), Err(FrameError::Json(_))));
    }
}
