//! What waits for a client that does not read fast enough.
//!
//! Frames wait by lane and leave the most important lane first; within a lane the order is kept. Over its bounds an
//! outbox drops lane 3, then lane 2, and declares what it dropped before anything later of that lane. Lanes 0 and 1 are
//! never dropped: if they do not fit, the client is too slow and must come back.
//!
//! A barrier (the end of an epoch) overtakes nothing and is overtaken by nothing.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::fanout::gaps::Pending;
use crate::{Gap, Lane, Millis};

/// Bounds of one outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all waiting frames.
    pub bytes: usize,
    /// Milliseconds that a frame may wait.
    pub age_ms: u64,
}

/// Lanes 0-1 do not fit any more: close the connection as too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// A frame that waits.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The bytes, shared with other connections.
    pub frame: Bytes,
    /// The caller's number of the room, where it belongs to one.
    pub room: Option<u32>,
    /// Numbers that are lost if it is dropped; none: nothing that is numbered.
    pub covers: Option<Gap>,
}

/// What to write next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the caller writes either")]
pub enum Next {
    /// These bytes; say with [`Outbox::wrote`] how many went out.
    Write(Bytes),
    /// Build a frame that declares these gaps of a room and give it to [`Outbox::declare`].
    Declare {
        /// The caller's number of the room.
        room: u32,
        /// What to declare: one epoch, sorted.
        gaps: Vec<Gap>,
    },
}

/// Waiting frames of one connection; exists only while there are some. Lost with the connection.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The frame on its way, what is left of it, and since when.
    head: Bytes,
    /// Some of the frame on its way is out already, so that nothing may come between.
    begun: bool,
    head_since: Millis,
    blocks: VecDeque<Block>,
    bytes: usize,
    dropped: u64,
}

/// What waits between two barriers.
#[derive(Debug, Default)]
struct Block {
    gaps: Pending,
    lanes: [VecDeque<(Millis, Entry)>; Lane::COUNT],
    barrier: Option<Bytes>,
}

impl Block {
    fn is_empty(&self) -> bool {
        self.gaps.is_empty() && self.lanes.iter().all(VecDeque::is_empty)
    }
}

impl Outbox {
    /// An outbox that starts with the unsent rest of a frame.
    #[must_use]
    pub fn with_rest(rest: Bytes, now: Millis) -> Self {
        Self { bytes: rest.len(), head: rest, begun: true, head_since: now, ..Self::default() }
    }

    /// Whether everything is out, declarations included.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.blocks.iter().all(|block| block.is_empty() && block.barrier.is_none())
    }

    /// Bytes of all waiting frames.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a part of a frame is out and its rest is not: nothing else may be written before it.
    #[must_use]
    pub fn in_frame(&self) -> bool {
        self.begun && !self.head.is_empty()
    }

    /// Frames that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds a frame. Makes room by dropping lanes 3 and 2; `Err` if lanes 0-1 alone are too much.
    pub fn push(&mut self, lane: Lane, entry: Entry, now: Millis, limits: &Limits) -> Result<(), Overflow> {
        self.bytes += entry.frame.len();
        lane_of(self.open_block(), lane).push_back((now, entry));
        self.make_room(limits)
    }

    /// Adds a frame that overtakes nothing and is overtaken by nothing.
    pub fn barrier(&mut self, frame: Bytes, limits: &Limits) -> Result<(), Overflow> {
        self.bytes += frame.len();
        self.open_block().barrier = Some(frame);
        self.make_room(limits)
    }

    /// Drops what has waited too long; `Err` if that is something which must not be lost.
    pub fn expire(&mut self, now: Millis, limits: &Limits) -> Result<(), Overflow> {
        if !self.head.is_empty() && now.since(self.head_since) > limits.age_ms {
            return Err(Overflow);
        }
        for block in &mut self.blocks {
            for lane in Lane::ALL.into_iter().rev() {
                while lane_of(block, lane).front().is_some_and(|(at, _)| now.since(*at) > limits.age_ms) {
                    if lane.is_lossless() {
                        return Err(Overflow);
                    }
                    let gone = lane_of(block, lane).pop_front();
                    if let Some((_, entry)) = gone {
                        self.bytes -= entry.frame.len();
                        self.dropped += 1;
                        note(block, &entry);
                    }
                }
            }
        }
        Ok(())
    }

    /// Forgets what waits of a room that was left, except what must stay in order with other rooms.
    pub fn forget(&mut self, room: u32) {
        for block in &mut self.blocks {
            block.gaps.forget(room);
            for lane in &mut block.lanes {
                lane.retain(|(_, entry)| {
                    let keep = entry.room != Some(room);
                    if !keep {
                        self.bytes -= entry.frame.len();
                    }
                    keep
                });
            }
        }
    }

    /// What to write next, none if everything is out.
    pub fn next(&mut self, now: Millis) -> Option<Next> {
        if !self.head.is_empty() {
            return Some(Next::Write(self.head.clone()));
        }
        loop {
            let block = self.blocks.front_mut()?;
            if let Some((room, gaps)) = block.gaps.take_some() {
                return Some(Next::Declare { room, gaps });
            }
            let waiting = block.lanes.iter_mut().find_map(VecDeque::pop_front).map(|(_, entry)| entry.frame);
            let frame = match waiting {
                Some(frame) => frame,
                None => match self.blocks.pop_front().and_then(|block| block.barrier) {
                    Some(barrier) => barrier,
                    None => continue,
                },
            };
            if frame.is_empty() {
                continue;
            }
            self.head = frame;
            self.begun = false;
            self.head_since = now;
            return Some(Next::Write(self.head.clone()));
        }
    }

    /// Takes the frame that [`Next::Declare`] asked for; it leaves next.
    pub fn declare(&mut self, frame: Bytes, now: Millis) {
        self.bytes += frame.len();
        self.head = frame;
        self.begun = false;
        self.head_since = now;
    }

    /// So many bytes of the last [`Next::Write`] went out.
    pub fn wrote(&mut self, bytes: usize) {
        let bytes = bytes.min(self.head.len());
        self.head = self.head.slice(bytes..);
        self.begun |= bytes > 0;
        self.bytes -= bytes;
    }

    #[expect(clippy::indexing_slicing, reason = "the last place of a queue that is not empty")]
    fn open_block(&mut self) -> &mut Block {
        if self.blocks.back().is_none_or(|block| block.barrier.is_some()) {
            self.blocks.push_back(Block::default());
        }
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    fn make_room(&mut self, limits: &Limits) -> Result<(), Overflow> {
        for lane in [Lane::Low, Lane::Normal] {
            if self.bytes <= limits.bytes {
                return Ok(());
            }
            for block in &mut self.blocks {
                for (_, entry) in std::mem::take(lane_of(block, lane)) {
                    self.bytes -= entry.frame.len();
                    self.dropped += 1;
                    note(block, &entry);
                }
            }
        }
        if self.bytes <= limits.bytes { Ok(()) } else { Err(Overflow) }
    }
}

#[expect(clippy::indexing_slicing, reason = "a lane is always inside an array by lane")]
fn lane_of(block: &mut Block, lane: Lane) -> &mut VecDeque<(Millis, Entry)> {
    &mut block.lanes[lane.index()]
}

fn note(block: &mut Block, entry: &Entry) {
    if let (Some(room), Some(gap)) = (entry.room, entry.covers) {
        block.gaps.note(room, gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { bytes: 1000, age_ms: 10_000 };

    fn entry(lane: Lane, from: u64, to: u64, bytes: usize) -> Entry {
        let text = format!("{} {from} {to} ", lane.number());
        let frame = Bytes::from(format!("{text:x<bytes$}"));
        Entry { frame, room: Some(0), covers: Some(Gap { epoch: Epoch(1), lane, from, to }) }
    }

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        let mut out = Vec::new();
        while let Some(next) = outbox.next(Millis(5)) {
            match next {
                Next::Write(bytes) => {
                    outbox.wrote(bytes.len());
                    out.push(String::from_utf8(bytes.to_vec()).unwrap().trim_end_matches('x').trim().to_owned());
                }
                Next::Declare { gaps, .. } => {
                    let text: Vec<_> =
                        gaps.iter().map(|g| format!("{}:{}-{}", g.lane.number(), g.from, g.to)).collect();
                    outbox.declare(Bytes::from(format!("gap {}", text.join(" "))), Millis(5));
                }
            }
        }
        out
    }

    #[test]
    fn important_lanes_leave_first_and_each_keeps_its_order() {
        let mut outbox = Outbox::with_rest(Bytes::from_static(b"rest"), Millis(0));
        for (lane, from) in
            [(Lane::Low, 1), (Lane::Normal, 1), (Lane::Protected, 1), (Lane::Normal, 2), (Lane::Control, 1)]
        {
            outbox.push(lane, entry(lane, from, from, 10), Millis(1), &LIMITS).unwrap();
        }
        assert_eq!(drain(&mut outbox), ["rest", "0 1 1", "1 1 1", "2 1 1", "2 2 2", "3 1 1"]);
        assert!(outbox.is_empty());
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn likes_go_first_then_chat_and_both_are_declared() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Low, entry(Lane::Low, 1, 4, 300), Millis(1), &LIMITS).unwrap();
        outbox.push(Lane::Normal, entry(Lane::Normal, 1, 2, 400), Millis(1), &LIMITS).unwrap();
        outbox.push(Lane::Protected, entry(Lane::Protected, 1, 1, 500), Millis(1), &LIMITS).unwrap();
        assert_eq!(outbox.dropped(), 1);
        outbox.push(Lane::Protected, entry(Lane::Protected, 2, 2, 200), Millis(1), &LIMITS).unwrap();
        assert_eq!(outbox.dropped(), 2);
        assert_eq!(outbox.push(Lane::Control, entry(Lane::Control, 1, 1, 400), Millis(1), &LIMITS), Err(Overflow));
        assert_eq!(drain(&mut outbox), ["gap 2:1-2 3:1-4", "0 1 1", "1 1 1", "1 2 2"]);
    }

    #[test]
    fn what_waited_too_long_is_dropped_or_ends_the_connection() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Normal, entry(Lane::Normal, 1, 2, 50), Millis(1), &LIMITS).unwrap();
        outbox.expire(Millis(10_002), &LIMITS).unwrap();
        assert_eq!(drain(&mut outbox), ["gap 2:1-2"]);
        outbox.push(Lane::Protected, entry(Lane::Protected, 1, 1, 50), Millis(1), &LIMITS).unwrap();
        assert_eq!(outbox.expire(Millis(10_002), &LIMITS), Err(Overflow));
    }

    #[test]
    fn the_end_of_an_epoch_keeps_its_place() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Low, entry(Lane::Low, 1, 1, 10), Millis(1), &LIMITS).unwrap();
        outbox.barrier(Bytes::from_static(b"sealed"), &LIMITS).unwrap();
        outbox.push(Lane::Control, entry(Lane::Control, 1, 1, 10), Millis(1), &LIMITS).unwrap();
        assert_eq!(drain(&mut outbox), ["3 1 1", "sealed", "0 1 1"]);
    }

    #[test]
    fn a_room_that_was_left_is_forgotten() {
        let mut outbox = Outbox::default();
        outbox.push(Lane::Low, entry(Lane::Low, 1, 1, 10), Millis(1), &LIMITS).unwrap();
        outbox.push(Lane::Low, Entry { room: Some(1), ..entry(Lane::Low, 7, 7, 10) }, Millis(1), &LIMITS).unwrap();
        outbox.forget(0);
        assert_eq!(drain(&mut outbox), ["3 7 7"]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8, usize),
        Write(usize),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (2_u8..4, 10_usize..300).prop_map(|(lane, bytes)| Step::Push(lane, bytes)),
            4 => (1_usize..400).prop_map(Step::Write),
            1 => (1_u64..6000).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..150)
    }

    fn record(line: &str, seen: &mut BTreeMap<u8, Vec<(u64, u64)>>) {
        for part in line.split('|').filter(|part| !part.is_empty()) {
            let numbers: Vec<u64> = part.split(' ').map(|word| word.parse().unwrap()).collect();
            seen.entry(u8::try_from(numbers[0]).unwrap()).or_default().push((numbers[1], numbers[2]));
        }
    }

    proptest! {
        /// However a client reads: what it got and what was declared to it are, lane by lane, all numbers, in order.
        #[test]
        fn received_and_declared_are_everything_in_order(steps in steps()) {
            let mut outbox = Outbox::default();
            let mut now = Millis(1);
            let mut next_seq = [1_u64; 4];
            let mut stream: Vec<u8> = Vec::new();
            let mut write = |outbox: &mut Outbox, mut room: usize, now: Millis| {
                while room > 0 {
                    match outbox.next(now) {
                        None => break,
                        Some(Next::Write(bytes)) => {
                            let sent = bytes.len().min(room);
                            stream.extend_from_slice(&bytes[..sent]);
                            outbox.wrote(sent);
                            room -= sent;
                        }
                        Some(Next::Declare { gaps, .. }) => {
                            let lines = gaps.iter().map(|gap| format!("|{} {} {}", gap.lane.number(), gap.from, gap.to));
                            let text = lines.collect::<Vec<_>>().concat();
                            outbox.declare(Bytes::from(text), now);
                        }
                    }
                }
            };
            for step in steps {
                match step {
                    Step::Push(number, bytes) => {
                        let lane = Lane::from_number(number).unwrap();
                        let seq = next_seq[lane.index()];
                        next_seq[lane.index()] += 2;
                        let frame = Bytes::from(format!("|{number} {seq} {}", seq + 1).into_bytes());
                        let pad = Entry { frame, room: Some(0), covers: Some(Gap { epoch: Epoch(1), lane, from: seq, to: seq + 1 }) };
                        let limits = Limits { bytes: 1000_usize.saturating_sub(bytes), ..LIMITS };
                        // A frame on its way cannot be dropped; a limit below it means "too slow" and nothing else.
                        let _ = outbox.push(lane, pad, now, &limits);
                    }
                    Step::Write(bytes) => write(&mut outbox, bytes, now),
                    Step::Wait(ms) => {
                        now = now + ms;
                        if outbox.expire(now, &LIMITS).is_err() {
                            return Ok(());
                        }
                    }
                }
                prop_assert!(outbox.bytes() <= 1010);
            }
            write(&mut outbox, usize::MAX, now);
            prop_assert!(outbox.is_empty());
            prop_assert_eq!(outbox.bytes(), 0);
            let mut seen = BTreeMap::new();
            record(&String::from_utf8(stream).unwrap(), &mut seen);
            for (lane, ranges) in seen {
                let mut next = 1;
                for (from, to) in ranges {
                    prop_assert_eq!(from, next, "lane {}", lane);
                    next = to + 1;
                }
                prop_assert_eq!(next, next_seq[usize::from(lane)]);
            }
        }
    }
}
