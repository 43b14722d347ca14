//! What becomes of a message that asks to enter a room: its rights, and the lane they give it.

use std::sync::Arc;

use bytes::Bytes;

use super::keys::MAX_KEY_BYTES;
use super::life::Settings;
use super::lists::{ListName, Lists};
use crate::message::MAX_DATA_BYTES;
use crate::routes::Owner;
use crate::{Epoch, Lane, Millis, SessionId, Stamp, UserId};

/// Longest message type, in bytes.
pub const MAX_KIND_BYTES: usize = 64;

/// What the sender waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Ordered in memory.
    Accepted,
    /// In the store.
    Stored,
}

/// A message that asks to enter.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Who sends it.
    pub user: UserId,
    /// From which session; none: the server API, which no list and no per-user limit holds back.
    pub session: Option<SessionId>,
    /// The lane that the sender wishes.
    pub wish: Lane,
    /// The most important lane that the sender's token allows.
    pub best: Lane,
    /// Kind of message, for the application.
    pub kind: Arc<str>,
    /// Bytes of one JSON value.
    pub data: Bytes,
    /// Makes a retry harmless.
    pub key: Option<Arc<str>>,
    /// What to wait for.
    pub ack: Ack,
}

impl Publish {
    /// Whether content, kind and key keep to their limits.
    pub fn check_sizes(&self) -> Result<(), Refusal> {
        let key_bytes = self.key.as_ref().map_or(0, |key| key.len());
        let sizes = [
            ("the content of a message", self.data.len(), MAX_DATA_BYTES),
            ("a message type", self.kind.len(), MAX_KIND_BYTES),
            ("an idempotency key", key_bytes, MAX_KEY_BYTES),
        ];
        let too_large = sizes.into_iter().find(|(_, bytes, most_bytes)| bytes > most_bytes);
        too_large.map_or(Ok(()), |(what, _, most_bytes)| Err(Refusal::TooLarge { what, most_bytes }))
    }
}

/// A message that entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place.
    pub stamp: Stamp,
    /// The store has it.
    pub stored: bool,
}

/// Where a slot is served that is not served here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Who serves it, where known.
    pub owner: Option<Owner>,
}

impl Moved {
    /// Epoch of the owner, [`Epoch::NONE`] where unknown.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.owner.as_ref().map_or(Epoch::NONE, |owner| owner.epoch)
    }
}

/// Why something was refused. The texts are for people and say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The room has had its messages for this window.
    #[error("the room takes no more messages right now; try again in {retry_ms} ms")]
    RoomLimited {
        /// When to try again.
        retry_ms: u64,
    },
    /// The user has had its messages.
    #[error("you are writing too fast; try again in {retry_ms} ms")]
    UserLimited {
        /// When to try again.
        retry_ms: u64,
    },
    /// The user, or everybody, is muted.
    #[error("you may not write in this room now")]
    Muted,
    /// The user is blocked.
    #[error("you are blocked from this room")]
    Blocked,
    /// The session is not in the room.
    #[error("join the room before you write into it")]
    NotJoined,
    /// The user is in the room with as many sessions as it may be.
    #[error("you are in this room with too many sessions; leave with one of them first")]
    TooManySessions,
    /// The content, kind or key is too large.
    #[error("{what} has at most {most_bytes} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large it may be.
        most_bytes: usize,
    },
    /// The room's slot is not served here.
    #[error("the room is served by another Pod; try again")]
    Elsewhere(Moved),
    /// It was ordered, but the store did not confirm it.
    #[error("the message was delivered but the store did not confirm it; retry with the same key")]
    NotStored {
        /// Its place.
        stamp: Stamp,
    },
    /// There is no such room or message.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The change does not fit.
    #[error(transparent)]
    List(#[from] super::lists::ListError),
}

/// The lane that a message travels on: the sender's wish, capped by its rights. Allow-listed users and protected types
/// are lifted out of the normal lane; roles and allow-listed users may ask for lane 1.
#[must_use]
pub fn lane_of(publish: &Publish, lists: &Lists, settings: &Settings, unix: Millis) -> Lane {
    let is_protected = settings.protected_types.contains(&publish.kind);
    if publish.session.is_none() {
        let lane = publish.wish.max(publish.best);
        return if lane == Lane::Normal && is_protected { Lane::Protected } else { lane };
    }
    let allowed = lists.has(ListName::Allow, &publish.user, unix);
    let trusted = allowed || lists.role(&publish.user, unix).is_some();
    let best = if trusted { publish.best.min(Lane::Protected) } else { publish.best };
    let lane = publish.wish.max(best);
    if lane == Lane::Normal && (allowed || is_protected) { Lane::Protected } else { lane }
}

/// Whether the lists let a user write.
pub fn may_write(user: &UserId, lists: &Lists, settings: &Settings, unix: Millis) -> Result<(), Refusal> {
    let has = |list| lists.has(list, user, unix);
    if has(ListName::Block) {
        return Err(Refusal::Blocked);
    }
    let excepted = || has(ListName::Except) || has(ListName::Allow) || lists.role(user, unix).is_some();
    if has(ListName::Mute) || (settings.mute_all && !excepted()) {
        return Err(Refusal::Muted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::lists::{ListChange, ListEntry, Role};
    use super::*;

    const UNIX: Millis = Millis(1_000);

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn listed(entries: &[(ListName, &str)]) -> Lists {
        let mut lists = Lists::default();
        for (list, name) in entries {
            let add = vec![ListEntry { user: user(name), until: None }];
            lists.change(&ListChange { list: *list, add, remove: vec![] }).unwrap();
        }
        lists
    }

    fn publish(name: &str, wish: Lane, best: Lane, kind: &str) -> Publish {
        Publish {
            user: user(name),
            session: Some(SessionId(1)),
            wish,
            best,
            kind: kind.into(),
            data: Bytes::from_static(b"1"),
            key: None,
            ack: Ack::Accepted,
        }
    }

    #[test]
    fn a_lane_is_a_wish_capped_by_rights() {
        let lists = listed(&[(ListName::Allow, "vip"), (ListName::Role(Role::Speaker), "host")]);
        let settings = Settings { protected_types: [Arc::from("gift")].into(), ..Settings::default() };
        let lane = |name, wish, best, kind| lane_of(&publish(name, wish, best, kind), &lists, &settings, UNIX);
        assert_eq!(lane("ana", Lane::Control, Lane::Normal, "text"), Lane::Normal);
        assert_eq!(lane("ana", Lane::Control, Lane::Protected, "text"), Lane::Protected);
        assert_eq!(lane("ana", Lane::Normal, Lane::Normal, "gift"), Lane::Protected);
        assert_eq!(lane("ana", Lane::Low, Lane::Control, "like"), Lane::Low);
        assert_eq!(lane("ana", Lane::Low, Lane::Control, "gift"), Lane::Low);
        assert_eq!(lane("vip", Lane::Normal, Lane::Normal, "text"), Lane::Protected);
        assert_eq!(lane("vip", Lane::Low, Lane::Normal, "like"), Lane::Low);
        assert_eq!(lane("host", Lane::Protected, Lane::Normal, "text"), Lane::Protected);
        assert_eq!(lane("host", Lane::Normal, Lane::Normal, "text"), Lane::Normal);
        assert_eq!(lane("host", Lane::Control, Lane::Normal, "text"), Lane::Protected);
    }

    #[test]
    fn what_a_backend_says_has_the_lane_that_it_asks_for_and_protected_types_theirs() {
        let settings = Settings { protected_types: [Arc::from("gift")].into(), ..Settings::default() };
        let lane = |wish, kind| {
            let publish = Publish { session: None, ..publish("shop", wish, Lane::Control, kind) };
            lane_of(&publish, &Lists::default(), &settings, UNIX)
        };
        assert_eq!(Lane::ALL.map(|wish| lane(wish, "text")), Lane::ALL);
        assert_eq!(
            Lane::ALL.map(|wish| lane(wish, "gift")),
            [Lane::Control, Lane::Protected, Lane::Protected, Lane::Low]
        );
    }

    #[test]
    fn the_muted_do_not_write_and_exceptions_hold_only_against_a_mute_of_all() {
        let everybody = [
            (ListName::Mute, "bob"),
            (ListName::Except, "bob"),
            (ListName::Except, "guest"),
            (ListName::Block, "eve"),
            (ListName::Role(Role::Admin), "host"),
        ];
        let lists = listed(&everybody);
        let (open, muted) = (Settings::default(), Settings { mute_all: true, ..Settings::default() });
        let may = |name: &str, settings| may_write(&user(name), &lists, settings, UNIX);
        assert_eq!(may("ana", &open), Ok(()));
        assert_eq!(may("bob", &open), Err(Refusal::Muted));
        assert_eq!(may("eve", &open), Err(Refusal::Blocked));
        assert_eq!(may("ana", &muted), Err(Refusal::Muted));
        assert_eq!(may("bob", &muted), Err(Refusal::Muted));
        assert_eq!(may("guest", &muted), Ok(()));
        assert_eq!(may("host", &muted), Ok(()));
    }
}
