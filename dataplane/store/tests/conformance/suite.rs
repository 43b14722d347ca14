//! What every store must do.

mod logs;
mod members;
mod ownership;
mod rooms;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use throng_core::{Epoch, Lane, Message, Millis, RoomId, Seqs, SessionId, Slot, Stamp, UserId};
use throng_store::{
    AnySlot, Batch, Fence, GraceCreated, List, LogRange, Mark, Member, MemberCursor, Raised, Remembered, Renewal, Role,
    Sealed, Store, StoreError, Write, Written,
};

use crate::worlds::{GRACE_MS, World, instance};
use logs::*;
use members::*;
use ownership::*;
use rooms::*;

pub(crate) const ROOM: &str = "final";

pub(crate) fn room() -> RoomId {
    RoomId::new(ROOM).unwrap()
}

pub(crate) fn slot() -> Slot {
    Slot::of(ROOM)
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn message(lane: Lane, seq: u64, at_ms: u64, data: &str) -> Message {
    Message {
        lane,
        seq,
        from: user("ana"),
        kind: "text".into(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        at_ms: Millis(at_ms),
    }
}

pub(crate) fn append(epoch: u64, message: Message) -> Write {
    Write::Append { room: room(), epoch: Epoch(epoch), message }
}

pub(crate) async fn write(store: &Arc<dyn Store>, epoch: u64, writes: Vec<Write>) -> Result<Written, StoreError> {
    store.write(slot(), Epoch(epoch), Batch::of(writes)).await
}

async fn seqs(store: &Arc<dyn Store>, epoch: u64, lane: Lane) -> Vec<u64> {
    let range = LogRange { epoch: Epoch(epoch), lane, after: 0, limit: 1_000 };
    store.log(room(), range).await.unwrap().messages.iter().map(|message| message.seq).collect()
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        type Case = for<'a> fn(&'a World) -> throng_store::BoxFuture<'a, ()>;

        /// Every case, for stores that are too dear to start once a case.
        pub(crate) const CASES: &[(&str, Case)] = &[$((stringify!($name), |world| Box::pin($name(world)))),*];

        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(&super::World::memory()).await; })*
        }

        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(&super::World::standalone()).await; })*
        }
    };
}

suite![
    a_room_comes_back_as_it_was_written,
    a_room_that_nobody_wrote_is_none,
    rooms_of_a_slot_are_listed,
    a_deleted_room_is_gone_with_everything,
    writes_may_be_repeated,
    writes_of_a_smaller_epoch_are_refused,
    a_raised_fence_stops_the_owner_before,
    a_forgotten_tag_is_told_to_its_writer,
    a_room_of_another_slot_is_refused,
    logs_are_read_from_a_number_on,
    a_deleted_message_leaves_a_hole,
    logs_forget_what_is_too_old,
    logs_forget_the_oldest_when_there_is_too_much,
    logs_that_nobody_appends_to_vanish,
    lane_3_leaves_only_its_numbers,
    the_tail_is_the_newest_of_each_lane_and_epoch,
    epochs_are_forgotten_on_request,
    older_epochs_can_be_written_later,
    remembered_keys_go_when_their_time_has_passed,
    members_come_back_page_by_page,
    cleared_members_are_gone_and_late_writers_refused,
    any_text_is_kept,
    a_fence_is_raised_only_against_the_expected_holder,
    two_instances_that_fight_over_a_fence_have_one_winner,
    grace_lasts_while_it_is_renewed,
    a_renewal_never_creates_grace,
    marks_stay_and_only_grow,
    creating_grace_rewrites_the_fences_that_are_still_mine,
    the_incarnation_only_grows,
    a_database_has_an_age,
];

fn member(session: u64) -> Member {
    Member {
        session: SessionId(session),
        conn_epoch: 3,
        user: user(&format!("u{session}")),
        joined_ms: Millis(session),
        offline_since_ms: session.is_multiple_of(2).then_some(Millis(7)),
    }
}
