//! The log of one room: what `functions.lua` does with streams, in memory.

use std::collections::BTreeMap;

use throng_core::{Epoch, Lane, Message, Millis, Seqs};

use crate::limits::LogLimits;
use crate::{LogPage, LogRange};

/// Messages of one lane and epoch.
#[derive(Debug, Default)]
struct Stream {
    last: u64,
    messages: BTreeMap<u64, Message>,
    weight: u64,
    /// By the store's clock: a log that nobody appends to vanishes.
    appended: Millis,
}

impl Stream {
    fn remove(&mut self, seq: u64) {
        if let Some(message) = self.messages.remove(&seq) {
            self.weight -= message.weight() as u64;
        }
    }

    fn oldest(&self) -> Option<(u64, Millis)> {
        self.messages.iter().next().map(|(seq, message)| (*seq, message.at_ms))
    }
}

/// Bounded log of a room, over all lanes and epochs.
#[derive(Debug, Default)]
pub(super) struct RoomLog {
    streams: BTreeMap<(Epoch, Lane), Stream>,
}

impl RoomLog {
    /// Keeps a message, or only its number if its lane is not kept. A number not above the last is a repeat.
    pub(super) fn append(&mut self, epoch: Epoch, message: &Message, limits: &LogLimits, now: Millis) {
        if limits.keep_ms(message.lane).is_none() {
            self.end(epoch, message.lane, message.seq);
            return;
        }
        let stream = self.streams.entry((epoch, message.lane)).or_default();
        if message.seq <= stream.last {
            return;
        }
        if vanished(message.lane, stream, limits, now) {
            stream.messages.clear();
            stream.weight = 0;
        }
        stream.last = message.seq;
        stream.weight += message.weight() as u64;
        stream.appended = now;
        stream.messages.insert(message.seq, message.clone());
    }

    /// Notes the last number of a lane.
    pub(super) fn end(&mut self, epoch: Epoch, lane: Lane, seq: u64) {
        let stream = self.streams.entry((epoch, lane)).or_default();
        stream.last = stream.last.max(seq);
    }

    /// Deletes a message.
    pub(super) fn delete(&mut self, epoch: Epoch, lane: Lane, seq: u64) {
        if let Some(stream) = self.streams.get_mut(&(epoch, lane)) {
            stream.remove(seq);
        }
    }

    /// Drops what is older than `newest` allows, and the oldest while there is too much.
    pub(super) fn trim(&mut self, newest: Millis, limits: &LogLimits) {
        for ((_, lane), stream) in &mut self.streams {
            let oldest_kept = newest - limits.keep_ms(*lane).unwrap_or(0);
            while let Some((seq, at_ms)) = stream.oldest() {
                if at_ms >= oldest_kept {
                    break;
                }
                stream.remove(seq);
            }
        }
        for lane in [Lane::Control, Lane::Normal] {
            self.trim_bytes(lane.is_lossless(), limits.cap_bytes(lane));
        }
    }

    fn trim_bytes(&mut self, lossless: bool, cap_bytes: u64) {
        let shares = |lane: Lane| lane.is_lossless() == lossless;
        let weight = |log: &Self| -> u64 {
            log.streams.iter().filter(|((_, lane), _)| shares(*lane)).map(|(_, stream)| stream.weight).sum()
        };
        while weight(self) > cap_bytes {
            let oldest = self
                .streams
                .iter_mut()
                .filter(|((_, lane), _)| shares(*lane))
                .filter_map(|(_, stream)| Some((stream.oldest()?, stream)))
                .min_by_key(|((_, at_ms), _)| *at_ms);
            let Some(((seq, _), stream)) = oldest else { return };
            stream.remove(seq);
        }
    }

    /// Forgets epochs before this one.
    pub(super) fn forget(&mut self, before: Epoch) {
        self.streams.retain(|(epoch, _), _| *epoch >= before);
    }

    /// Last number known of each lane and epoch.
    pub(super) fn ends(&self) -> BTreeMap<Epoch, Seqs> {
        let mut ends: BTreeMap<Epoch, Seqs> = BTreeMap::new();
        for ((epoch, lane), stream) in &self.streams {
            ends.entry(*epoch).or_default()[*lane] = stream.last;
        }
        ends
    }

    /// The newest `count` messages of each lane and epoch.
    pub(super) fn tail(&self, count: usize, limits: &LogLimits, now: Millis) -> Vec<(Epoch, Message)> {
        let mut tail = Vec::new();
        for ((epoch, lane), stream) in &self.streams {
            if !vanished(*lane, stream, limits, now) {
                let skip = stream.messages.len().saturating_sub(count);
                tail.extend(stream.messages.values().skip(skip).map(|message| (*epoch, message.clone())));
            }
        }
        tail
    }

    /// Part of a lane and epoch.
    pub(super) fn page(&self, range: LogRange, limits: &LogLimits, now: Millis) -> LogPage {
        let Some(stream) = self.streams.get(&(range.epoch, range.lane)) else { return LogPage::default() };
        let mut page = LogPage { messages: Vec::new(), last: stream.last };
        if !vanished(range.lane, stream, limits, now) {
            let from = range.after.saturating_add(1);
            page.messages =
                stream.messages.range(from..).take(range.limit).map(|(_, message)| message.clone()).collect();
        }
        page
    }
}

fn vanished(lane: Lane, stream: &Stream, limits: &LogLimits, now: Millis) -> bool {
    now.since(stream.appended) > limits.keep_ms(lane).unwrap_or(0)
}
