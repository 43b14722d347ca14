//! What owners write.
//!
//! Every write may be repeated: a second time changes nothing. So a call whose answer was lost is simply sent again.

use std::sync::Arc;

use bytes::Bytes;
use throng_core::{Epoch, Lane, Message, Millis, RoomId, Seqs, SessionId, Slot, Stamp, UserId};

use crate::StoreError;

/// A list of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// May read, not publish.
    Mute,
    /// May not be in the room.
    Block,
    /// Publishes on lane 1, and stays when offline.
    Allow,
    /// May publish while all are muted.
    Except,
    /// Has a role.
    Role(Role),
}

/// Rank of a user in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Owns the room.
    Owner,
    /// Governs it.
    Admin,
    /// May speak where few may.
    Speaker,
}

impl List {
    /// All lists.
    pub const ALL: [Self; 7] = [
        Self::Mute,
        Self::Block,
        Self::Allow,
        Self::Except,
        Self::Role(Role::Owner),
        Self::Role(Role::Admin),
        Self::Role(Role::Speaker),
    ];

    /// Its name, as the protocols say it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Block => "block",
            Self::Allow => "allow",
            Self::Except => "except",
            Self::Role(Role::Owner) => "role:owner",
            Self::Role(Role::Admin) => "role:admin",
            Self::Role(Role::Speaker) => "role:speaker",
        }
    }

    /// The list of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.as_str() == name)
    }
}

/// The end of an older epoch of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The epoch that ended.
    pub epoch: Epoch,
    /// Its last number, a lane. A later `Sealed` of the same epoch may only raise it; that is the writer's duty.
    pub last: Seqs,
    /// The epoch in which the room went on.
    pub next: Epoch,
}

/// A publish that carried a key: a retry with the key gets the same stamp.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remembered {
    /// Whose key it is.
    pub user: UserId,
    /// The key.
    pub key: Arc<str>,
    /// What the first publish got.
    pub stamp: Stamp,
    /// When it may be forgotten, Unix time.
    pub until_ms: Millis,
}

/// One session in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The session.
    pub session: SessionId,
    /// Connection epoch of its newest join.
    pub conn_epoch: u64,
    /// Whose session it is.
    pub user: UserId,
    /// When it joined, Unix time.
    pub joined_ms: Millis,
    /// Since when it has no connection, Unix time; none: it has one.
    pub offline_since_ms: Option<Millis>,
}

/// One change of what the store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The room exists, with these settings.
    PutRoom {
        /// The room.
        room: RoomId,
        /// Settings and whatever else its owner wants back: bytes that the store never looks into.
        meta: Bytes,
    },
    /// The room and all that is kept of it is gone. Its members are cleared shard by shard with [`Write::ClearMembers`].
    DeleteRoom {
        /// The room.
        room: RoomId,
    },
    /// A user is on a list.
    SetEntry {
        /// The room.
        room: RoomId,
        /// The list.
        list: List,
        /// The user.
        user: UserId,
        /// Until when, Unix time; zero: until removed. The store does not remove it: the owner does when the time comes.
        until_ms: Millis,
    },
    /// A user is no longer on a list.
    RemoveEntry {
        /// The room.
        room: RoomId,
        /// The list.
        list: List,
        /// The user.
        user: UserId,
    },
    /// A message was ordered. Numbers of a lane and epoch arrive in order; one not above the last is taken as a repeat.
    Append {
        /// The room.
        room: RoomId,
        /// Epoch of its stamp, which may be older than that of the writer.
        epoch: Epoch,
        /// The message. Only its number is kept where [`crate::LogLimits`] say so.
        message: Message,
    },
    /// The last number of a lane and epoch, for messages that are not kept.
    End {
        /// The room.
        room: RoomId,
        /// The epoch.
        epoch: Epoch,
        /// The lane.
        lane: Lane,
        /// The number; a smaller one than known changes nothing.
        seq: u64,
    },
    /// A message was deleted: its content goes, its number stays used.
    DeleteMessage {
        /// The room.
        room: RoomId,
        /// The message.
        stamp: Stamp,
    },
    /// An older epoch ended.
    Seal {
        /// The room.
        room: RoomId,
        /// Its end.
        sealed: Sealed,
    },
    /// Nobody asks for epochs older than this one any more: their logs, ends and seals go.
    ForgetEpochs {
        /// The room.
        room: RoomId,
        /// The oldest epoch that stays.
        before: Epoch,
    },
    /// A publish carried a key. At most 20,000 a room are kept, those with the latest `until_ms`.
    Remember {
        /// The room.
        room: RoomId,
        /// What was published.
        remembered: Remembered,
        /// Now, Unix time: keys whose time has passed are dropped.
        at_ms: Millis,
    },
    /// A session is in the room.
    SetMember {
        /// The room.
        room: RoomId,
        /// Its shard: see [`crate::shards`].
        shard: u16,
        /// The session.
        member: Member,
    },
    /// A session is not in the room.
    RemoveMember {
        /// The room.
        room: RoomId,
        /// Its shard.
        shard: u16,
        /// The session.
        session: SessionId,
    },
    /// Nobody is in this shard of the room.
    ClearMembers {
        /// The room.
        room: RoomId,
        /// The shard.
        shard: u16,
    },
}

/// What lives together under one fence, and in Redis under one hash tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// Everything of the rooms of a slot, but their members.
    Slot(Slot),
    /// One shard of the members of a room.
    Shard(RoomId, u16),
}

impl Write {
    /// The room that it changes.
    #[must_use]
    pub const fn room(&self) -> &RoomId {
        match self {
            Self::PutRoom { room, .. }
            | Self::DeleteRoom { room }
            | Self::SetEntry { room, .. }
            | Self::RemoveEntry { room, .. }
            | Self::Append { room, .. }
            | Self::End { room, .. }
            | Self::DeleteMessage { room, .. }
            | Self::Seal { room, .. }
            | Self::ForgetEpochs { room, .. }
            | Self::Remember { room, .. }
            | Self::SetMember { room, .. }
            | Self::RemoveMember { room, .. }
            | Self::ClearMembers { room, .. } => room,
        }
    }

    /// Where it belongs, for a room of `slot`.
    #[must_use]
    pub fn tag(&self, slot: Slot) -> Tag {
        match self {
            Self::SetMember { room, shard, .. }
            | Self::RemoveMember { room, shard, .. }
            | Self::ClearMembers { room, shard } => Tag::Shard(room.clone(), *shard),
            _ => Tag::Slot(slot),
        }
    }

    /// Whether it only frees memory: such writes are taken by a full store.
    #[must_use]
    pub const fn frees(&self) -> bool {
        matches!(
            self,
            Self::DeleteRoom { .. }
                | Self::RemoveEntry { .. }
                | Self::DeleteMessage { .. }
                | Self::ForgetEpochs { .. }
                | Self::RemoveMember { .. }
                | Self::ClearMembers { .. }
        )
    }

    /// What it costs to hold, in bytes: its content and a fixed share for the rest.
    #[must_use]
    pub fn weight(&self) -> usize {
        let content = match self {
            Self::PutRoom { meta, .. } => meta.len(),
            Self::Append { message, .. } => message.weight(),
            Self::Remember { remembered, .. } => remembered.key.len(),
            _ => 0,
        };
        content + self.room().as_str().len() + 128
    }
}

/// Writes of one slot under one epoch, applied in order within each [`Tag`]. All of a tag is applied, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writes. None: the fence of the slot's tag is raised, nothing else.
    pub writes: Vec<Write>,
    /// Wait for as many replicas as the store is configured for.
    pub confirm: bool,
}

impl Batch {
    /// Writes that wait for no replica.
    #[must_use]
    pub const fn of(writes: Vec<Write>) -> Self {
        Self { writes, confirm: false }
    }
}

/// The tags of writes, each once, in the order of their first write; that of the slot if there are none.
pub(crate) fn tags(slot: Slot, writes: &[Write]) -> Result<Vec<Tag>, StoreError> {
    let mut tags = Vec::new();
    for write in writes {
        if Slot::of(write.room().as_str()) != slot {
            return Err(StoreError::refused(format!("room {} does not belong to slot {slot}", write.room())));
        }
        let tag = write.tag(slot);
        // Few tags a batch: a search of the list is cheaper than a set.
        if tags.last() != Some(&tag) && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.is_empty() {
        tags.push(Tag::Slot(slot));
    }
    Ok(tags)
}

/// What became of a batch that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The store had forgotten this tag: its owner must write everything of it again.
    pub emptied: bool,
    /// It is as safe as the batch asked for. False only if replicas were asked for and too few have it.
    pub confirmed: bool,
}
