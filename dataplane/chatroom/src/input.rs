//! What streams and calls tell the task that owns the rooms.

use std::collections::BTreeSet;

use throng_core::relay::LogRange;
use throng_core::room::{GatewayNo, Publish, RelayNo, RoomChanges, RoomState, Subscription};
use throng_core::{Epoch, InstanceId, RoomId, Slot};
use throng_proto::link::{self, ChatroomToGateway, ChatroomToRelay};
use tokio::sync::oneshot;

use crate::links::LinkNo;
use crate::outbox::Outbox;

/// Waits in a bounded queue; whoever cannot queue in time gives up.
#[derive(Debug)]
pub(crate) enum Input {
    GatewayOpened {
        link: LinkNo,
        instance: InstanceId,
        outbox: Outbox<ChatroomToGateway>,
        number: oneshot::Sender<GatewayNo>,
    },
    GatewayLost {
        link: LinkNo,
        gateway: GatewayNo,
    },
    Members {
        gateway: GatewayNo,
        number: u64,
        rooms: Vec<RoomChanges>,
    },
    GatewayPublish {
        gateway: GatewayNo,
        request: u64,
        room: RoomId,
        publish: Publish,
    },
    RelayOpened {
        relay: RelayNo,
        outbox: Outbox<ChatroomToRelay>,
    },
    RelayLost(RelayNo),
    Subscribe(RelayNo, Subscription),
    Unsubscribe(RelayNo, RoomId),
    Audit(RelayNo, BTreeSet<RoomId>),
    RelayPublish {
        relay: RelayNo,
        request: u64,
        room: RoomId,
        publish: Publish,
    },
    /// What no ring holds any more.
    ReadLog(RelayNo, RoomId, LogRange),
    /// From session homes.
    Away(Vec<RoomChanges>),
    /// Somebody promised a later epoch.
    Stale(Slot, Epoch),
    Admin(Box<link::AdminRequest>, oneshot::Sender<link::AdminReply>),
    Announce(Publish, oneshot::Sender<u64>),
    ListRooms(Option<RoomId>, usize, oneshot::Sender<link::ListRoomsReply>),
    GatewayLoad(GatewayNo, u8),
    /// What message Pods knew of the rooms of slots that are about to open.
    Gathered(Vec<(Slot, Vec<RoomState>)>),
    HandOver {
        slot: Slot,
        epoch: Epoch,
        next_epoch: Epoch,
        rooms: Vec<RoomState>,
        taken: oneshot::Sender<()>,
    },
}
