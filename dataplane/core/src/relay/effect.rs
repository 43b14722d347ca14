//! What a relay is asked and what it wants done, as values. The shell carries them out and decides nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::packed::{Packed, Sealed};
use super::read::{CaughtUp, Page, ReadError};
use super::ring::Limits;
use crate::{Cursor, Epoch, Gap, Lane, Message, RoomId, Slot};

/// A stream to a chatroom Pod. Numbers are never used twice by one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A stream of a gateway. A gateway that connects again has another number; the shell chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u32);

/// A wish to receive a room, of a gateway from the relay or of the relay from the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The room.
    pub room: RoomId,
    /// Go on behind this; none: from now on.
    pub cursor: Option<Cursor>,
    /// Where subscribers stand in older epochs.
    pub older: Vec<Cursor>,
    /// Ends of epochs that subscribers were told.
    pub told: Vec<Sealed>,
}

/// What a gateway asks of a ring. Answered in any order, with the number it chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Everything between two cursors.
    CatchUp {
        /// Number of the question.
        request: u64,
        /// From here.
        since: Cursor,
        /// Up to here, where the gateway's own stream stands; none: up to the head.
        until: Option<Cursor>,
    },
    /// The last messages of lanes 0-2.
    History {
        /// Number of the question.
        request: u64,
        /// How many at most.
        limit: usize,
        /// Up to here; none: up to the head.
        until: Option<Cursor>,
    },
    /// A page of one lane.
    Pull {
        /// Number of the question.
        request: u64,
        /// Zero: the current epoch.
        epoch: Epoch,
        /// The lane.
        lane: Lane,
        /// Messages behind this number.
        after: u64,
        /// How many at most.
        limit: usize,
    },
}

/// Which part of a room's stored log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Messages behind this number.
    pub after: u64,
    /// How many at most.
    pub limit: usize,
}

/// Part of a room's stored log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The messages, in order. Numbers that are missing were deleted, have left the window, or were never kept.
    pub messages: Vec<Message>,
    /// Last number known of this lane and epoch; zero: none. More may follow if the last message is below it.
    pub last: u64,
}

/// To a chatroom Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Send this room; a second time: go on from another cursor.
    Subscribe(Subscription),
    /// Stop sending it.
    Unsubscribe(RoomId),
    /// All rooms that are taken from this Pod.
    Audit(Vec<RoomId>),
    /// Read what no ring holds any more.
    ReadLog(RoomId, LogRange),
    /// More was promised: the Pod does not own the slot any more.
    Stale {
        /// The slot.
        slot: Slot,
        /// What was promised.
        epoch: Epoch,
    },
}

/// To a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downstream {
    /// The room's stream goes on behind `cursor`. Comes again when the ring no longer reaches back to where the gateway is.
    Subscribed {
        /// The room.
        room: RoomId,
        /// What follows comes after this.
        cursor: Cursor,
        /// Numbers between the gateway's cursor and this one that are not here.
        gaps: Vec<Gap>,
        /// Ends of the epochs between them.
        sealed: Vec<Sealed>,
    },
    /// The next segment.
    Segment(Packed),
    /// An epoch ended, or its end was raised: what that adds is the receiver's to declare.
    Sealed(RoomId, Sealed),
    /// The room ended.
    Closed {
        /// The room.
        room: RoomId,
        /// Why.
        reason: Arc<str>,
    },
    /// The room's owner cannot be reached for a while.
    Lost(RoomId),
    /// A message was deleted.
    Deleted {
        /// The room.
        room: RoomId,
        /// Epoch of the message.
        epoch: Epoch,
        /// Its lane.
        lane: Lane,
        /// Its number.
        seq: u64,
    },
    /// Answer to a pull.
    Pulled {
        /// Number of the question.
        request: u64,
        /// The page.
        answer: Result<Page, ReadError>,
    },
    /// Answer to a catch-up or history.
    CaughtUp {
        /// The room.
        room: RoomId,
        /// Number of the question.
        request: u64,
        /// What was missed.
        answer: Result<CaughtUp, ReadError>,
    },
}

impl Downstream {
    /// What it takes of a gateway's window, in bytes. The shell gives as much back when it has left.
    #[must_use]
    pub fn weight(&self) -> usize {
        const SMALL: usize = 128;
        match self {
            Self::Segment(packed) => packed.weight(),
            Self::CaughtUp { answer: Ok(found), .. } => {
                SMALL + found.segments.iter().map(Packed::weight).sum::<usize>() + 32 * found.gaps.len()
            }
            Self::Pulled { answer: Ok(page), .. } => {
                SMALL + page.content.messages.iter().map(crate::Message::weight).sum::<usize>()
            }
            _ => SMALL,
        }
    }
}

/// What is to be done now, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect to a chatroom Pod and stay connected.
    Open {
        /// The new link.
        link: LinkId,
        /// `host:port`.
        address: Arc<str>,
    },
    /// The link is no longer needed.
    Close(LinkId),
    /// Send to a chatroom Pod.
    Up(LinkId, Upstream),
    /// Send to a gateway.
    Down(GatewayId, Downstream),
    /// End a gateway's stream: it takes nothing although it asks. It will come again with its cursors.
    Drop(GatewayId),
}

/// Figures of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What a room's ring keeps.
    pub limits: Limits,
    /// Bytes of all rings together.
    pub ring_bytes: usize,
    /// Bytes on the way to one gateway; beyond that it waits and goes on from its cursor.
    pub window_bytes: usize,
    /// How long a room without interested gateways stays subscribed.
    pub linger_ms: u64,
    /// How long a room is without its owner before its gateways are told.
    pub lost_ms: u64,
    /// How long an answer of the owner is waited for before the question is asked again.
    pub ask_ms: u64,
    /// How long a reader waits for what only the owner can add.
    pub read_ms: u64,
    /// Time between two audits of each hop, and between two visits of quiet rings.
    pub audit_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            ring_bytes: 512 << 20,
            window_bytes: 8 << 20,
            linger_ms: 5_000,
            lost_ms: 1_000,
            ask_ms: 2_000,
            read_ms: 1_000,
            audit_ms: 10_000,
        }
    }
}

/// What happened so far. Counts only grow, except the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments taken from owners.
    pub segments: u64,
    /// Segments handed to gateways.
    pub sent: u64,
    /// Messages handed to gateways, by the numbers of those segments: one message to three gateways is three.
    pub deliveries: u64,
    /// Segments that were known already.
    pub duplicates: u64,
    /// Segments of an ended epoch, or of an owner whose time is over.
    pub stale: u64,
    /// Times that a room was asked for again because numbers were missing.
    pub mended: u64,
    /// Times that a gateway had to wait for its window.
    pub waited: u64,
    /// Gauge: rooms with interest.
    pub rooms: u64,
    /// Gauge: bytes in rings.
    pub ring_bytes: u64,
}

/// Credit of one gateway, and the rooms that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) left: i64,
    pub(crate) behind: BTreeSet<RoomId>,
    pub(crate) rooms: BTreeSet<RoomId>,
    /// Questions that came while the window was full.
    pub(crate) reads: VecDeque<(RoomId, Read)>,
    pub(crate) dropped: bool,
}
