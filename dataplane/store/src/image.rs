//! What a new owner finds.

use std::collections::BTreeMap;

use bytes::Bytes;
use throng_core::{Epoch, Message, Millis, RoomId, Seqs, UserId};

use crate::write::{List, Member, Remembered, Sealed};

/// A room of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// The room.
    pub room: RoomId,
    /// What its owner gave with `PutRoom`; empty if only messages, lists or seals were written.
    pub meta: Bytes,
}

/// A room as the store keeps it, without its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomImage {
    /// What its owner gave with `PutRoom`; empty if it never did.
    pub meta: Bytes,
    /// Who is on which list, until when (Unix time; zero: until removed). Entries whose time has passed are included.
    pub lists: BTreeMap<(List, UserId), Millis>,
    /// Ended epochs, oldest first.
    pub sealed: Vec<Sealed>,
    /// Last number known, for each epoch that was written and not forgotten.
    pub ends: BTreeMap<Epoch, Seqs>,
    /// Keys of recent publishes, in no order.
    pub remembered: Vec<Remembered>,
    /// The newest messages, at most as many as asked for a lane and epoch: by epoch, lane and number.
    pub tail: Vec<(Epoch, Message)>,
}

/// Where to go on reading the members of a room. Start with the default of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberCursor {
    /// The shard.
    pub shard: u16,
    /// The store's own position; zero: the start.
    pub position: u64,
}

/// Part of the members of a shard. While others write, a member may come twice; without writers each comes at least once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPage {
    /// The members, in no order.
    pub members: Vec<Member>,
    /// Where to go on in this shard; none: that was all of it.
    pub next: Option<MemberCursor>,
}
