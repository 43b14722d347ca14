//! The frames of one segment: built once for each group of subscribers that get the same, when the first of them comes.

use bytes::Bytes;
use throng_core::fanout::select::offer;
use throng_core::fanout::{Chosen, Entry, RateClass, Selection, choose};
use throng_core::{Gap, Lane, Message, RoomId, Segment, UserId};
use throng_proto::client::{Body, Event, Format, Reply};
use throng_ws::frame::FrameBuilder;

use super::conn::Group;
use super::room::Room;
use throng_core::Millis;

/// A frame larger than this is cut into pieces by lane.
const LARGE_BYTES: usize = 64 << 10;
/// Content of such a piece, about: what a message of a more important lane waits for at most.
const PIECE_BYTES: usize = 16 << 10;

/// Puts a payload into a WebSocket frame of the format's kind.
pub(super) fn frame(format: Format, payload: &[u8]) -> Bytes {
    let mut builder = match format {
        Format::Json => FrameBuilder::text(payload.len()),
        Format::Protobuf => FrameBuilder::binary(payload.len()),
    };
    builder.extend(payload);
    builder.finish()
}

/// A frame with one reply.
pub(super) fn reply_frame(format: Format, reply: &Reply) -> Bytes {
    let mut payload = Vec::with_capacity(256);
    format.write(reply, &mut payload);
    frame(format, &payload)
}

/// A frame that only declares gaps of one epoch.
pub(super) fn gap_frame(format: Format, room: &RoomId, gaps: &[Gap]) -> Bytes {
    let mut payload = Vec::with_capacity(128);
    if let Some(first) = gaps.first() {
        format.write_segment(room, first.epoch, std::iter::empty::<&Message>(), gaps, &mut payload);
    }
    frame(format, &payload)
}

/// What one group gets of a segment.
pub(super) struct Built {
    format: Format,
    selection: Selection,
    /// Everything in one frame.
    pub(super) whole: Bytes,
    /// Messages in it, by lane.
    pub(super) messages: [u32; Lane::COUNT],
    /// Messages of the segment that are not in it, by lane.
    pub(super) left_out: [u32; Lane::COUNT],
    /// Subscribers that got it.
    pub(super) subscribers: u64,
    /// The same by lane, for connections that are behind; built when the first of them comes.
    split: Option<Vec<(Lane, Entry)>>,
}

/// All frames of one segment.
pub(super) struct Frames<'a> {
    segment: &'a Segment,
    event: Option<&'a Event>,
    now: Millis,
    /// How many messages of lanes 2-3 pass, by class.
    pass: [Option<u32>; RateClass::COUNT],
    /// Place in `built`, by group.
    places: [Option<u16>; Group::COUNT],
    /// Place in `built` of what is whole, by format.
    all: [Option<u16>; Format::ALL.len()],
    built: Vec<Built>,
}

impl<'a> Frames<'a> {
    /// Nothing built yet.
    pub(super) fn new(segment: &'a Segment, event: Option<&'a Event>, now: Millis) -> Self {
        Self {
            segment,
            event,
            now,
            pass: [None; RateClass::COUNT],
            places: [None; Group::COUNT],
            all: [None; Format::ALL.len()],
            built: Vec::new(),
        }
    }

    /// The place of a group's frames, for [`Self::at`]. `fresh` says whether it was built just now.
    #[expect(clippy::indexing_slicing, reason = "a group is a byte, a class and a format are inside their arrays")]
    pub(super) fn place(&mut self, group: Group, room: &mut Room) -> (u16, bool) {
        if let Some(place) = self.places[usize::from(group.0)] {
            return (place, false);
        }
        let class = group.class();
        let now = self.now;
        let segment = self.segment;
        let pass = *self.pass[class.index()].get_or_insert_with(|| room.pass(class, now, offer(segment)));
        let selection = choose(segment, pass, group.cohort());
        let format = group.format();
        let shared = &mut self.all[format.index()];
        let (place, fresh) = if let (Selection::All, Some(place)) = (&selection, *shared) {
            (place, false)
        } else {
            let place = u16::try_from(self.built.len()).unwrap_or(0);
            if selection == Selection::All {
                *shared = Some(place);
            }
            self.built.push(self.build(format, selection));
            (place, true)
        };
        self.places[usize::from(group.0)] = Some(place);
        (place, fresh)
    }

    /// The frames at a place.
    pub(super) fn at(&mut self, place: u16) -> Option<&mut Built> {
        self.built.get_mut(usize::from(place))
    }

    /// The part that the frames at a place hold, none if they hold everything.
    pub(super) fn chosen(&self, place: u16) -> Option<&Chosen> {
        match &self.built.get(usize::from(place))?.selection {
            Selection::All => None,
            Selection::Some(chosen) => Some(chosen),
        }
    }

    /// The same for one user, with all its own messages.
    pub(super) fn with_own(&self, place: u16, user: &UserId) -> Option<Built> {
        let format = self.built.get(usize::from(place))?.format;
        let chosen = self.chosen(place)?.with_own(self.segment, user);
        Some(self.build(format, Selection::Some(chosen)))
    }

    fn build(&self, format: Format, selection: Selection) -> Built {
        let segment = self.segment;
        let mut payload = Vec::with_capacity(64 + segment.messages.len() * 192);
        let messages = match &selection {
            Selection::All => {
                format.write_segment(
                    &segment.room,
                    segment.epoch,
                    segment.messages.iter(),
                    &segment.gaps,
                    &mut payload,
                );
                by_lane(segment.messages.iter())
            }
            Selection::Some(chosen) => {
                let messages = chosen.messages(segment);
                format.write_segment(&segment.room, segment.epoch, messages, chosen.gaps(), &mut payload);
                by_lane(chosen.messages(segment))
            }
        };
        if let Some(event) = self.event {
            format.write(&Reply { id: 0, body: Body::Event(Box::new(event.clone())) }, &mut payload);
        }
        let mut left_out = by_lane(segment.messages.iter());
        for (left_out, messages) in left_out.iter_mut().zip(messages) {
            *left_out = left_out.saturating_sub(messages);
        }
        Built { format, selection, whole: frame(format, &payload), messages, left_out, subscribers: 0, split: None }
    }
}

impl Built {
    /// Too much to be written in one piece: what is begun must be ended before anything more important.
    pub(super) fn is_large(&self) -> bool {
        self.whole.len() > LARGE_BYTES
    }

    /// The frames by lane, most important first, for a connection that is behind.
    pub(super) fn split(&mut self, frames_of: &Segment, room: u32) -> &[(Lane, Entry)] {
        let (format, selection) = (self.format, &self.selection);
        self.split.get_or_insert_with(|| {
            Lane::ALL
                .into_iter()
                .flat_map(|lane| entries(format, selection, frames_of, lane, room).into_iter().map(move |e| (lane, e)))
                .collect()
        })
    }
}

/// How many messages there are of each lane.
pub(super) fn by_lane<'m>(messages: impl Iterator<Item = &'m Message>) -> [u32; Lane::COUNT] {
    let mut counts = [0; Lane::COUNT];
    for message in messages {
        if let Some(count) = counts.get_mut(message.lane.index()) {
            *count += 1;
        }
    }
    counts
}

impl<'a> Frames<'a> {
    /// All that were built.
    pub(super) fn all(&self) -> impl Iterator<Item = &Built> {
        self.built.iter()
    }

    /// The segment.
    pub(super) fn segment(&self) -> &'a Segment {
        self.segment
    }

    /// Whether a group gets the frames at a place.
    pub(super) fn is_for(&self, place: u16, group: Group) -> bool {
        self.places.get(usize::from(group.0)) == Some(&Some(place))
    }
}

/// One lane of a segment, in frames of about [`PIECE_BYTES`] each.
fn entries(format: Format, selection: &Selection, segment: &Segment, lane: Lane, room: u32) -> Vec<Entry> {
    let (messages, gaps): (Vec<&Message>, &[Gap]) = match selection {
        Selection::All => (segment.messages.iter().collect(), &segment.gaps),
        Selection::Some(chosen) => (chosen.messages(segment).collect(), chosen.gaps()),
    };
    let messages: Vec<&Message> = messages.into_iter().filter(|message| message.lane == lane).collect();
    let mut gaps: Vec<Gap> = gaps.iter().copied().filter(|gap| gap.lane == lane).collect();
    if messages.is_empty() && gaps.is_empty() {
        return Vec::new();
    }
    let (mut from, mut rest) = (segment.after[lane] + 1, messages.as_slice());
    let mut entries = Vec::new();
    loop {
        let (piece, later) = rest.split_at(piece(rest));
        let to = if later.is_empty() { segment.last()[lane] } else { piece.last().map_or(from, |message| message.seq) };
        // A gap goes with the messages before which it lies; the last piece takes what is left.
        let here: Vec<Gap> = gaps.extract_if(.., |gap| later.is_empty() || gap.from <= to).collect();
        let mut payload = Vec::with_capacity(64 + piece.len() * 192);
        format.write_segment(&segment.room, segment.epoch, piece.iter().copied(), &here, &mut payload);
        let covers = (!lane.is_lossless()).then_some(Gap { epoch: segment.epoch, lane, from, to });
        entries.push(Entry { frame: frame(format, &payload), room: Some(room), covers });
        if later.is_empty() {
            return entries;
        }
        (from, rest) = (to + 1, later);
    }
}

/// How many of these messages go into one frame: at least one, if there is one.
fn piece(messages: &[&Message]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&&Message| {
        bytes += message.data.len();
        bytes <= PIECE_BYTES
    };
    messages.iter().take_while(fits).count().max(1).min(messages.len())
}
