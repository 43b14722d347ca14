//! What the reactors and the hub say to each other. All of it is small or shared by pointer.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use throng_core::{Cursor, Epoch, Gap, Lane, Message, Millis, RoomId, Segment, SessionId, Stamp, UserId};
use throng_proto::client::{self, Format};
use throng_proto::codes::ErrorCode;

use crate::auth::Keys;
use crate::options::Downstream;

/// One session as the other Pods know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// Grows with each connection of the session.
    pub conn_epoch: u64,
}

/// Who waits for an answer: a reactor, and its own number of the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The reactor.
    pub shard: u16,
    /// Its number.
    pub number: u64,
}

/// A connection that waits for an answer to one of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The reactor.
    pub shard: u16,
    /// Its number of the connection.
    pub conn: u32,
    /// Which of the connections that had this number.
    pub generation: u32,
    /// The client's id of the command.
    pub id: u64,
}

/// When to try again what a Pod could not answer.
const AGAIN_MS: u64 = 500;

/// Why something failed, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: ErrorCode,
    /// What to do.
    pub message: String,
    /// When to try again.
    pub retry_ms: Option<u64>,
}

impl Failure {
    /// A failure without a time to try again.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_ms: None }
    }

    /// The room's owner or relay cannot be reached.
    #[must_use]
    pub fn unavailable(what: &str) -> Self {
        Self { code: ErrorCode::Unavailable, message: what.to_owned(), retry_ms: Some(AGAIN_MS) }
    }

    /// What a room's relay answered to a read; an empty code is success. Only what may change by itself is worth another
    /// try: a cursor from nowhere stays one.
    pub fn check_read(code: &str, message: String) -> Result<(), Self> {
        let again_ms = if code == ErrorCode::Unavailable.as_str() { AGAIN_MS } else { 0 };
        Self::check(code, message, again_ms)
    }

    /// What another Pod answered; an empty code is success.
    pub fn check(code: &str, message: String, retry_ms: u64) -> Result<(), Self> {
        match code {
            "" => Ok(()),
            code => Err(Self {
                code: ErrorCode::parse(code).unwrap_or(ErrorCode::Internal),
                message,
                retry_ms: (retry_ms > 0).then_some(retry_ms),
            }),
        }
    }
}

/// From a reactor to the hub.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "both ends are in this crate")]
pub enum ToHub {
    /// The reactor has somebody in this room, or somebody who wants to be: open it here.
    Wanted(RoomId),
    /// Nobody any more.
    Unwanted(RoomId),
    /// A member comes; answered by [`ToShard::Joined`].
    Join {
        /// The room.
        room: RoomId,
        /// Who.
        member: Member,
        /// Who waits.
        ticket: Ticket,
        /// It was never in the room before, so that a leave in the same batch undoes it.
        fresh: bool,
    },
    /// A member leaves.
    Leave {
        /// The room.
        room: RoomId,
        /// Who.
        member: Member,
    },
    /// A member is not in a room after all, and the room's owner knows.
    NotIn {
        /// The room.
        room: RoomId,
        /// Who.
        member: Member,
    },
    /// A connection said hello.
    Online(Member),
    /// A connection is gone.
    Gone {
        /// Who.
        member: Member,
        /// Where it was.
        rooms: Vec<RoomId>,
        /// It said goodbye: it leaves its rooms and does not come back.
        ended: bool,
    },
    /// A message to order; answered by [`ToShard::Published`].
    Publish(Box<Order>),
    /// Messages to read again; answered by [`ToShard::Pulled`].
    Pull {
        /// The room.
        room: RoomId,
        /// What.
        pull: client::Pull,
        /// Who waits.
        asker: Asker,
    },
    /// What a client missed; answered by [`ToShard::CaughtUp`].
    CatchUp {
        /// The room.
        room: RoomId,
        /// After which numbers; none: the last `limit` messages.
        since: Option<Cursor>,
        /// At most so many, without `since`.
        limit: u32,
        /// From here on the reactor keeps everything for the client.
        held_from: Cursor,
        /// Who waits.
        ticket: Ticket,
    },
    /// Answer to [`ToShard::ListRoom`].
    RoomMembers(RoomId, Vec<Member>),
    /// Answer to [`ToShard::ListSessions`]: sessions with their rooms.
    Sessions(Vec<(Member, Vec<RoomId>)>),
}

/// A message to order.
#[derive(Debug)]
pub struct Order {
    /// Who waits.
    pub asker: Asker,
    /// The room.
    pub room: RoomId,
    /// Who sends.
    pub user: UserId,
    /// From which session.
    pub session: SessionId,
    /// The lane that it wishes.
    pub lane: Lane,
    /// The most important lane that it may have.
    pub best_lane: Lane,
    /// Kind of message.
    pub kind: String,
    /// Bytes of one JSON value.
    pub data: Bytes,
    /// Makes a retry harmless.
    pub key: Option<String>,
    /// Answer only when the store has it.
    pub stored: bool,
}

/// An ordered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Where it stands.
    pub stamp: Stamp,
    /// The store has it.
    pub stored: bool,
}

/// Everything that a client missed. Made once for all that miss the same.
#[derive(Debug)]
pub struct CaughtUp {
    /// The room.
    pub room: RoomId,
    /// Messages and gaps, oldest first.
    pub segments: Vec<Segment>,
    /// The ends of the epochs between them.
    pub sealed: Vec<client::Sealed>,
    /// Lanes 0-1 complete, lanes 2-3 delivered or declared.
    pub recovered: bool,
    /// Up to here.
    pub until: Cursor,
    /// Frames, by format, built by the first reactor that needs them.
    pub frames: [OnceLock<Vec<(Lane, Bytes)>>; Format::ALL.len()],
}

/// From the hub to a reactor.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "both ends are in this crate")]
pub enum ToShard {
    /// The room's stream begins here.
    Open(RoomId, Cursor),
    /// The next segment.
    Segment(Arc<Segment>),
    /// The room goes on at `at`; the numbers before it that did not come are declared.
    Declared {
        /// The room.
        room: RoomId,
        /// What did not come.
        gaps: Vec<Gap>,
        /// Where it goes on.
        at: Cursor,
    },
    /// An epoch ended.
    Sealed {
        /// Its end.
        sealed: Arc<client::Sealed>,
        /// Its numbers that did not come.
        gaps: Vec<Gap>,
        /// Where the room goes on; none where it has long gone on.
        at: Option<Cursor>,
    },
    /// Answer to a join: members of the room.
    Joined(u64, Result<u64, Failure>),
    /// Answer to a publish.
    Published(Asker, Result<Ordered, Failure>),
    /// Answer to a pull: epoch, messages, gaps.
    Pulled(Asker, Result<(Epoch, Vec<Message>, Vec<Gap>), Failure>),
    /// Answer to a catch-up.
    CaughtUp(u64, Result<Arc<CaughtUp>, Failure>),
    /// Something for everybody in a room.
    Event(RoomId, Arc<client::Event>),
    /// Members taken out of a room; none named: all of them.
    Removed(RoomId, Vec<UserId>, Arc<str>),
    /// Something for one user, on the connections of these sessions; none named: on all.
    Direct(UserId, Arc<[SessionId]>, Arc<client::Event>),
    /// End a user's connections, those of these sessions; none named: all.
    Kick(UserId, Arc<[SessionId]>, Arc<str>),
    /// Say who is in a room.
    ListRoom(RoomId),
    /// Say which sessions there are of users whose slot is in this set.
    ListSessions(Arc<Slots>),
    /// Move all connections away within so long.
    Drain {
        /// When the last one is asked to go, at the latest.
        within_ms: u64,
    },
    /// Stay after all.
    Undrain,
    /// Ask some to connect anew, the idle ones first; the others stay.
    Shed {
        /// How many of this shard.
        users: u64,
        /// How many of this shard in a second; 0: as in a drain.
        per_s: u32,
    },
    /// Clients get another share from now on.
    Downstream(Downstream),
    /// Tokens are taken by other keys from now on.
    Keys(Arc<Keys>),
}

/// A set of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(Vec<bool>);

impl Slots {
    /// Adds a slot.
    pub fn insert(&mut self, slot: throng_core::Slot) {
        self.0.resize(usize::from(throng_core::slot::SLOTS), false);
        if let Some(entry) = self.0.get_mut(slot.index()) {
            *entry = true;
        }
    }

    /// Whether a slot is in it.
    #[must_use]
    pub fn contains(&self, slot: throng_core::Slot) -> bool {
        self.0.get(slot.index()).is_some_and(|entry| *entry)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the hub knows of the time: monotonic milliseconds since the process began, and Unix time then.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Unix time of [`Millis::ZERO`].
    pub unix_ms: u64,
}

impl Origin {
    /// Unix time of a moment.
    #[must_use]
    pub fn unix(self, now: Millis) -> Millis {
        Millis(self.unix_ms) + now.0
    }
}
