//! What a client missed, as frames.

use bytes::Bytes;
use throng_core::{Cursor, Epoch, Gap, Lane, Message, Segment};
use throng_proto::client::{Body, Format, Reply};

use super::frames::{frame, reply_frame};
use crate::traffic::CaughtUp;

/// Of lanes 2-3, so many of the last missed messages are sent; the rest is declared.
const MAX_MISSED_CHAT: usize = 100;

/// What of a segment comes after a cursor; none if nothing does.
pub(super) fn after(segment: &Segment, from: Cursor) -> Option<Segment> {
    if segment.epoch < from.epoch {
        return None;
    }
    if segment.epoch > from.epoch {
        return Some(segment.clone());
    }
    let messages: Vec<Message> =
        segment.messages.iter().filter(|message| message.seq > from.seq[message.lane]).cloned().collect();
    let gaps: Vec<Gap> = segment
        .gaps
        .iter()
        .filter(|gap| gap.to > from.seq[gap.lane])
        .map(|gap| Gap { from: gap.from.max(from.seq[gap.lane] + 1), ..*gap })
        .collect();
    let after = segment.after.max(from.seq);
    (!messages.is_empty() || !gaps.is_empty()).then(|| Segment {
        room: segment.room.clone(),
        epoch: segment.epoch,
        after,
        messages,
        gaps,
    })
}

/// The messages alone.
pub(super) fn history(past: &CaughtUp) -> Vec<Message> {
    past.segments.iter().flat_map(|segment| segment.messages.iter().cloned()).collect()
}

/// Frames of what was missed: all of lanes 0-1, the last of lanes 2-3, the rest declared, epochs sealed between.
pub(super) fn past_frames(format: Format, past: &CaughtUp) -> Vec<(Lane, Bytes)> {
    let chat = past.segments.iter().flat_map(|segment| &segment.messages).filter(|message| !message.lane.is_lossless());
    let mut skip = chat.count().saturating_sub(MAX_MISSED_CHAT);
    let mut frames = Vec::new();
    let mut seals = past.sealed.iter().peekable();
    let mut seal_until = |epoch: Option<Epoch>, frames: &mut Vec<_>| {
        while let Some(sealed) = seals.next_if(|sealed| epoch.is_none_or(|epoch| sealed.epoch < epoch)) {
            let reply = Reply { id: 0, body: Body::Sealed(sealed.clone()) };
            frames.push((Lane::Control, reply_frame(format, &reply)));
        }
    };
    for segment in &past.segments {
        seal_until(Some(segment.epoch), &mut frames);
        let mut gaps = segment.gaps.clone();
        let mut kept = Vec::with_capacity(segment.messages.len());
        for message in &segment.messages {
            if !message.lane.is_lossless() && skip > 0 {
                skip -= 1;
                gaps.push(Gap { epoch: segment.epoch, lane: message.lane, from: message.seq, to: message.seq });
            } else {
                kept.push(message);
            }
        }
        throng_core::fanout::gaps::merge(&mut gaps);
        let mut payload = Vec::new();
        format.write_segment(&past.room, segment.epoch, kept.into_iter(), &gaps, &mut payload);
        frames.push((Lane::Control, frame(format, &payload)));
    }
    seal_until(None, &mut frames);
    frames
}
