//! What the owner of rooms wants done.

use std::sync::Arc;

use super::entries::RoomEvent;
use super::life::{EndReason, Overrides};
use super::lists::ListChange;
use super::members::GatewayNo;
use super::publish::{Moved, Receipt, Refusal};
use super::seals::Sealed;
use super::window::MessageKey;
use crate::{Cursor, Epoch, Message, Millis, RoomId, Segment, Seqs, Slot, Stamp, UserId};

/// A relay's stream, numbered by the Pod that speaks with it. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayNo(pub u64);

/// Who published and waits for an answer; the number is the asker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A gateway.
    Gateway(GatewayNo, u64),
    /// A relay, for a gateway that cannot reach this Pod.
    Relay(RelayNo, u64),
    /// A call of the server API.
    Server(u64),
    /// Nobody waits.
    Nobody,
}

/// Something to send or to write. In order.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a shell that overlooks one breaks a promise")]
pub enum Output {
    /// Answer a publish.
    Published {
        /// Whom.
        to: Asker,
        /// With what.
        result: Result<Receipt, Refusal>,
    },
    /// Pass messages on.
    Segment {
        /// To these.
        relays: Vec<RelayNo>,
        /// The messages.
        segment: Segment,
        /// Idempotency keys of those that had one.
        keys: Vec<MessageKey>,
    },
    /// Answer a subscription: the stream goes on after `cursor`.
    Subscribed {
        /// Whom.
        relay: RelayNo,
        /// The room.
        room: RoomId,
        /// Where the stream goes on.
        cursor: Cursor,
        /// Ends of epochs before the cursor's.
        sealed: Vec<Sealed>,
    },
    /// Tell the end of an older epoch.
    Sealed {
        /// To these.
        relays: Vec<RelayNo>,
        /// The end.
        sealed: Sealed,
    },
    /// Tell that a message was deleted.
    Deleted {
        /// To these.
        relays: Vec<RelayNo>,
        /// The room.
        room: RoomId,
        /// The message.
        stamp: Stamp,
    },
    /// Tell that a room ended.
    Closed {
        /// To these.
        relays: Vec<RelayNo>,
        /// The room.
        room: RoomId,
        /// Why.
        reason: EndReason,
    },
    /// Tell that a room is served elsewhere.
    Moved {
        /// These relays.
        relays: Vec<RelayNo>,
        /// And these gateways.
        gateways: Vec<GatewayNo>,
        /// The room.
        room: RoomId,
        /// Where.
        moved: Moved,
    },
    /// Tell of coming and going.
    Event {
        /// To these.
        gateways: Vec<GatewayNo>,
        /// What.
        event: RoomEvent,
    },
    /// Members were taken out.
    Removed {
        /// Tell these.
        gateways: Vec<GatewayNo>,
        /// The room.
        room: RoomId,
        /// Who; empty: everybody.
        users: Vec<UserId>,
        /// `kicked`, `blocked`, `offline`, `idle`, `expired`, or what was said when the room was destroyed.
        reason: Arc<str>,
    },
    /// Ask for the complete list of members.
    ListRoom {
        /// These.
        gateways: Vec<GatewayNo>,
        /// The room.
        room: RoomId,
    },
    /// Write to the store, behind the traffic. Writes of one slot in order of their tickets. Say with
    /// [`super::Pod::not_stored`] which did not happen, and then with [`super::Pod::stored`] up to which all others did.
    Persist {
        /// The slot, whose fence covers the write.
        slot: Slot,
        /// The epoch to write under.
        epoch: Epoch,
        /// 1, 2, 3 ... within the slot and epoch.
        ticket: u64,
        /// What.
        write: Write,
    },
}

/// A write to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The room.
    pub room: RoomId,
    /// What to write.
    pub record: Record,
}

/// What is written of a room.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a store that overlooks one loses data")]
pub enum Record {
    /// The room exists, with these settings of its own.
    Meta {
        /// Since when, Unix time.
        created: Millis,
        /// A join made it, and nothing was listed or set since, nor said when this was written.
        fleeting: bool,
        /// Its settings.
        overrides: Overrides,
    },
    /// A list changed.
    List(ListChange),
    /// A message was ordered.
    Message {
        /// Under which epoch.
        epoch: Epoch,
        /// The message.
        message: Message,
        /// Its idempotency key.
        key: Option<Arc<str>>,
    },
    /// A message was deleted.
    Deleted(Stamp),
    /// An older epoch ended.
    Sealed {
        /// Which.
        epoch: Epoch,
        /// Its last numbers.
        last: Seqs,
        /// The epoch that followed.
        next_epoch: Epoch,
    },
    /// Epochs before this one say nothing to anyone any more: drop what is kept of them.
    Forgotten {
        /// The oldest that stays.
        before: Epoch,
    },
    /// The room ended: drop all of it.
    Ended(EndReason),
}
