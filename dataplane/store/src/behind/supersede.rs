//! Which later write replaces an earlier one that still waits.
//!
//! Only writes that say all there is to say of one thing: whatever the earlier one said, the later one says anew. Replacing
//! takes the earlier out and leaves the later in its own place, so nothing in between is overtaken.

use throng_core::{Epoch, Lane, RoomId, SessionId, UserId};

use crate::write::{List, Write};

/// A thing that is said anew as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Meta(RoomId),
    Entry(RoomId, List, UserId),
    End(RoomId, Epoch, Lane),
    Seal(RoomId, Epoch),
    Member(RoomId, u16, SessionId),
}

/// What a write says anew; none: it adds to what was said before.
pub(super) fn key_of(write: &Write) -> Option<Key> {
    match write {
        Write::PutRoom { room, .. } => Some(Key::Meta(room.clone())),
        Write::SetEntry { room, list, user, .. } | Write::RemoveEntry { room, list, user } => {
            Some(Key::Entry(room.clone(), *list, user.clone()))
        }
        Write::End { room, epoch, lane, .. } => Some(Key::End(room.clone(), *epoch, *lane)),
        Write::Seal { room, sealed } => Some(Key::Seal(room.clone(), sealed.epoch)),
        Write::SetMember { room, shard, member } => Some(Key::Member(room.clone(), *shard, member.session)),
        Write::RemoveMember { room, shard, session } => Some(Key::Member(room.clone(), *shard, *session)),
        Write::Append { .. }
        | Write::DeleteRoom { .. }
        | Write::DeleteMessage { .. }
        | Write::ForgetEpochs { .. }
        | Write::Remember { .. }
        | Write::ClearMembers { .. } => None,
    }
}

/// The write that says what both say, of the same key: the later one. Ends only grow.
pub(super) fn merged(earlier: &Write, mut later: Write) -> Write {
    if let (Write::End { seq: before, .. }, Write::End { seq, .. }) = (earlier, &mut later) {
        *seq = (*seq).max(*before);
    }
    later
}
