//! What every store must do.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use throng_core::{Epoch, Lane, Message, Millis, RoomId, Seqs, SessionId, Slot, Stamp, UserId};
use throng_store::{
    AnySlot, Batch, Fence, GraceCreated, List, LogRange, Mark, Member, MemberCursor, Raised, Remembered, Renewal, Role,
    Sealed, Store, StoreError, Write, Written,
};

use crate::worlds::{GRACE_MS, World, instance};

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

async fn a_room_comes_back_as_it_was_written(world: &World) {
    let store = world.store("a").await;
    let stamp = Stamp { epoch: Epoch(7), lane: Lane::Normal, seq: 1 };
    let remembered = Remembered { user: user("ana"), key: "c-1".into(), stamp, until_ms: Millis(60_100) };
    let sealed = Sealed { epoch: Epoch(5), last: Seqs([0, 1, 9, 4]), next: Epoch(7) };
    let writes = vec![
        Write::PutRoom { room: room(), meta: Bytes::from_static(b"{\"a\":1}") },
        Write::SetEntry { room: room(), list: List::Mute, user: user("bob"), until_ms: Millis(99) },
        Write::SetEntry { room: room(), list: List::Role(Role::Owner), user: user("ana"), until_ms: Millis(0) },
        Write::SetEntry { room: room(), list: List::Block, user: user("eve"), until_ms: Millis(0) },
        Write::RemoveEntry { room: room(), list: List::Block, user: user("eve") },
        Write::Seal { room: room(), sealed },
        append(7, message(Lane::Normal, 1, 100, "\"hi\"")),
        append(7, message(Lane::Protected, 1, 100, "{}")),
        Write::End { room: room(), epoch: Epoch(7), lane: Lane::Low, seq: 12 },
        Write::Remember { room: room(), remembered: remembered.clone(), at_ms: Millis(100) },
    ];
    write(&store, 7, writes).await.unwrap();

    let image = world.store("b").await.load(room(), 10).await.unwrap().unwrap();
    assert_eq!(image.meta, Bytes::from_static(b"{\"a\":1}"));
    let lists = [((List::Mute, user("bob")), Millis(99)), ((List::Role(Role::Owner), user("ana")), Millis(0))];
    assert_eq!(image.lists, BTreeMap::from(lists));
    assert_eq!(image.sealed, [sealed]);
    assert_eq!(image.ends, BTreeMap::from([(Epoch(7), Seqs([0, 1, 1, 12]))]));
    assert_eq!(image.remembered, [remembered]);
    let tail =
        [(Epoch(7), message(Lane::Protected, 1, 100, "{}")), (Epoch(7), message(Lane::Normal, 1, 100, "\"hi\""))];
    assert_eq!(image.tail, tail);
}

async fn a_room_that_nobody_wrote_is_none(world: &World) {
    let store = world.store("a").await;
    assert_eq!(store.load(room(), 10).await, Ok(None));
    let freeing = vec![
        Write::RemoveEntry { room: room(), list: List::Mute, user: user("bob") },
        Write::DeleteMessage { room: room(), stamp: Stamp { epoch: Epoch(1), lane: Lane::Control, seq: 1 } },
        Write::ForgetEpochs { room: room(), before: Epoch(1) },
        Write::DeleteRoom { room: room() },
    ];
    write(&store, 1, freeing).await.unwrap();
    assert_eq!(store.load(room(), 10).await, Ok(None));
}

async fn rooms_of_a_slot_are_listed(world: &World) {
    let store = world.store("a").await;
    // A second room of the same slot.
    let other = (0..1_000_000).map(|n| format!("r{n}")).find(|id| Slot::of(id) == slot()).unwrap();
    let other = RoomId::new(&other).unwrap();
    let writes = vec![
        Write::PutRoom { room: room(), meta: Bytes::from_static(b"1") },
        Write::Append { room: other.clone(), epoch: Epoch(1), message: message(Lane::Control, 1, 1, "1") },
    ];
    write(&store, 1, writes).await.unwrap();
    let mut rooms: Vec<_> = store.rooms(slot()).await.unwrap().into_iter().map(|r| (r.room, r.meta)).collect();
    rooms.sort();
    assert_eq!(rooms, [(room(), Bytes::from_static(b"1")), (other, Bytes::new())]);
    let empty = Slot::new((slot().number() + 1) % 4096).unwrap();
    assert_eq!(store.rooms(empty).await.unwrap(), []);
}

async fn a_deleted_room_is_gone_with_everything(world: &World) {
    let store = world.store("a").await;
    let fill = vec![
        Write::SetEntry { room: room(), list: List::Mute, user: user("bob"), until_ms: Millis(0) },
        append(3, message(Lane::Control, 1, 1, "1")),
        append(4, message(Lane::Normal, 1, 1, "1")),
        Write::Seal { room: room(), sealed: Sealed { epoch: Epoch(3), last: Seqs::ZERO, next: Epoch(4) } },
    ];
    write(&store, 4, fill).await.unwrap();
    write(&store, 4, vec![Write::DeleteRoom { room: room() }]).await.unwrap();
    assert_eq!(store.load(room(), 10).await, Ok(None));
    // A room of the same name starts afresh.
    write(&store, 4, vec![Write::PutRoom { room: room(), meta: Bytes::new() }]).await.unwrap();
    let image = store.load(room(), 10).await.unwrap().unwrap();
    assert!(image.lists.is_empty() && image.ends.is_empty() && image.sealed.is_empty() && image.tail.is_empty());
    assert_eq!(seqs(&store, 3, Lane::Control).await, [0; 0]);
}

async fn writes_may_be_repeated(world: &World) {
    let store = world.store("a").await;
    let writes = vec![
        append(1, message(Lane::Protected, 1, 10, "1")),
        append(1, message(Lane::Protected, 2, 11, "2")),
        Write::SetEntry { room: room(), list: List::Allow, user: user("ana"), until_ms: Millis(0) },
    ];
    write(&store, 1, writes.clone()).await.unwrap();
    let once = store.load(room(), 10).await.unwrap();
    write(&store, 1, writes).await.unwrap();
    assert_eq!(store.load(room(), 10).await.unwrap(), once);
}

async fn writes_of_a_smaller_epoch_are_refused(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    write(&a, 5, vec![append(5, message(Lane::Control, 1, 1, "1"))]).await.unwrap();
    write(&b, 9, vec![append(9, message(Lane::Control, 1, 2, "2"))]).await.unwrap();
    let late = write(&a, 5, vec![append(5, message(Lane::Control, 2, 3, "3"))]).await;
    assert_eq!(late, Err(StoreError::Stale { epoch: Epoch(9) }));
    assert_eq!(seqs(&b, 5, Lane::Control).await, [1]);
    let member = Write::RemoveMember { room: room(), shard: 0, session: SessionId(1) };
    write(&b, 9, vec![member.clone()]).await.unwrap();
    assert_eq!(write(&a, 5, vec![member]).await, Err(StoreError::Stale { epoch: Epoch(9) }));
}

async fn a_raised_fence_stops_the_owner_before(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    let slot = AnySlot::Room(slot());
    a.raise_fence(slot, Epoch(5), None).await.unwrap();
    write(&a, 5, vec![append(5, message(Lane::Control, 1, 1, "1"))]).await.unwrap();
    let raised = b.raise_fence(slot, Epoch(6), Some(instance("a"))).await.unwrap();
    assert_eq!(raised, Raised::Mine { previous: Some(Fence { epoch: Epoch(5), instance: instance("a") }) });
    let late = write(&a, 5, vec![append(5, message(Lane::Control, 2, 2, "2"))]).await;
    assert_eq!(late, Err(StoreError::Stale { epoch: Epoch(6) }));
}

async fn a_forgotten_tag_is_told_to_its_writer(world: &World) {
    let store = world.store("a").await;
    store.raise_fence(AnySlot::Room(slot()), Epoch(1), None).await.unwrap();
    let put = vec![Write::PutRoom { room: room(), meta: Bytes::new() }];
    assert!(!write(&store, 1, put.clone()).await.unwrap().emptied, "the fence was there");
    assert!(!write(&store, 2, put).await.unwrap().emptied);
    let member = vec![Write::RemoveMember { room: room(), shard: 3, session: SessionId(1) }];
    assert!(write(&store, 2, member.clone()).await.unwrap().emptied, "a new shard is an empty one");
    assert!(!write(&store, 2, member).await.unwrap().emptied);
}

async fn a_room_of_another_slot_is_refused(world: &World) {
    let store = world.store("a").await;
    let other = Slot::new((slot().number() + 1) % 4096).unwrap();
    let put = Batch::of(vec![Write::PutRoom { room: room(), meta: Bytes::new() }]);
    assert!(matches!(store.write(other, Epoch(1), put).await, Err(StoreError::Refused { .. })));
}

async fn logs_are_read_from_a_number_on(world: &World) {
    let store = world.store("a").await;
    let writes = (1..=9).map(|seq| append(2, message(Lane::Normal, seq, seq, "1"))).collect();
    write(&store, 2, writes).await.unwrap();
    let range = LogRange { epoch: Epoch(2), lane: Lane::Normal, after: 3, limit: 4 };
    let page = store.log(room(), range).await.unwrap();
    assert_eq!(page.last, 9);
    assert_eq!(page.messages, (4..=7).map(|seq| message(Lane::Normal, seq, seq, "1")).collect::<Vec<_>>());
    let beyond = store.log(room(), LogRange { after: u64::MAX, ..range }).await.unwrap();
    assert_eq!((beyond.last, beyond.messages.len()), (9, 0));
    let unknown = store.log(room(), LogRange { epoch: Epoch(3), ..range }).await.unwrap();
    assert_eq!((unknown.last, unknown.messages.len()), (0, 0));
}

async fn a_deleted_message_leaves_a_hole(world: &World) {
    let store = world.store("a").await;
    let writes = (1..=3).map(|seq| append(2, message(Lane::Normal, seq, seq, "1"))).collect();
    write(&store, 2, writes).await.unwrap();
    let stamp = Stamp { epoch: Epoch(2), lane: Lane::Normal, seq: 2 };
    write(&store, 2, vec![Write::DeleteMessage { room: room(), stamp }]).await.unwrap();
    // Not even a repeat of the append brings it back.
    write(&store, 2, vec![append(2, message(Lane::Normal, 2, 2, "1"))]).await.unwrap();
    assert_eq!(seqs(&store, 2, Lane::Normal).await, [1, 3]);
}

async fn logs_forget_what_is_too_old(world: &World) {
    let store = world.store("a").await;
    // Lanes 0-1 are kept for 1,000 ms here, lane 2 for 500.
    let writes = vec![
        append(1, message(Lane::Protected, 1, 10_000, "1")),
        append(1, message(Lane::Normal, 1, 10_000, "1")),
        append(1, message(Lane::Normal, 2, 10_600, "1")),
    ];
    write(&store, 1, writes).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [1]);
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [2]);
    // A later epoch drops what an older one left.
    write(&store, 2, vec![append(2, message(Lane::Control, 1, 11_001, "1"))]).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [0; 0]);
    assert_eq!(store.load(room(), 1).await.unwrap().unwrap().ends[&Epoch(1)], Seqs([0, 1, 2, 0]));
}

async fn logs_forget_the_oldest_when_there_is_too_much(world: &World) {
    let store = world.store("a").await;
    // 4,000 bytes of lanes 0-1 together; a message weighs 1,000 - 71 + 7 + 64 = 1,000.
    let data = "x".repeat(1_000 - 64 - "ana".len() - "text".len());
    for (lane, seq, at_ms) in [(0, 1, 1), (1, 1, 2), (0, 2, 3), (1, 2, 4), (1, 3, 5)] {
        let lane = Lane::from_number(lane).unwrap();
        write(&store, 1, vec![append(1, message(lane, seq, at_ms, &data))]).await.unwrap();
    }
    assert_eq!(seqs(&store, 1, Lane::Control).await, [2], "the oldest of both lanes went");
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [1, 2, 3]);
    // Lane 2 has a bound of its own, 2,000 bytes.
    let writes = (1..=5).map(|seq| append(1, message(Lane::Normal, seq, 6, &data))).collect();
    write(&store, 1, writes).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [4, 5]);
    assert_eq!(seqs(&store, 1, Lane::Protected).await, [1, 2, 3]);
    // What is deleted makes room.
    let stamp = Stamp { epoch: Epoch(1), lane: Lane::Protected, seq: 1 };
    write(&store, 1, vec![Write::DeleteMessage { room: room(), stamp }]).await.unwrap();
    write(&store, 1, vec![append(1, message(Lane::Protected, 4, 7, &data))]).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Control).await, [2]);
}

async fn logs_that_nobody_appends_to_vanish(world: &World) {
    let store = world.store("a").await;
    let writes = vec![append(1, message(Lane::Normal, 1, 1, "1")), append(1, message(Lane::Control, 1, 1, "1"))];
    write(&store, 1, writes).await.unwrap();
    world.pass(650).await;
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [0; 0]);
    assert_eq!(seqs(&store, 1, Lane::Control).await, [1]);
    // The numbers go on.
    write(&store, 1, vec![append(1, message(Lane::Normal, 2, 2, "1"))]).await.unwrap();
    assert_eq!(seqs(&store, 1, Lane::Normal).await, [2]);
    assert_eq!(store.load(room(), 9).await.unwrap().unwrap().ends[&Epoch(1)], Seqs([1, 0, 2, 0]));
}

async fn lane_3_leaves_only_its_numbers(world: &World) {
    let store = world.store("a").await;
    let writes = (1..=7).map(|seq| append(1, message(Lane::Low, seq, seq, "1"))).collect();
    write(&store, 1, writes).await.unwrap();
    let image = store.load(room(), 10).await.unwrap().unwrap();
    assert_eq!(image.ends[&Epoch(1)], Seqs([0, 0, 0, 7]));
    assert!(image.tail.is_empty());
    let smaller = Write::End { room: room(), epoch: Epoch(1), lane: Lane::Low, seq: 3 };
    write(&store, 1, vec![smaller]).await.unwrap();
    assert_eq!(store.load(room(), 1).await.unwrap().unwrap().ends[&Epoch(1)], Seqs([0, 0, 0, 7]));
}

async fn the_tail_is_the_newest_of_each_lane_and_epoch(world: &World) {
    let store = world.store("a").await;
    let of = |epoch, lane, seqs: std::ops::RangeInclusive<u64>| {
        seqs.map(move |seq| append(epoch, message(lane, seq, seq, "1"))).collect::<Vec<_>>()
    };
    let writes = [of(1, Lane::Normal, 1..=5), of(2, Lane::Protected, 1..=1), of(2, Lane::Normal, 1..=3)].concat();
    write(&store, 2, writes).await.unwrap();
    let tail = store.load(room(), 2).await.unwrap().unwrap().tail;
    let stamps: Vec<_> = tail.iter().map(|(epoch, message)| (epoch.0, message.lane.number(), message.seq)).collect();
    assert_eq!(stamps, [(1, 2, 4), (1, 2, 5), (2, 1, 1), (2, 2, 2), (2, 2, 3)]);
    assert!(store.load(room(), 0).await.unwrap().unwrap().tail.is_empty());
}

async fn epochs_are_forgotten_on_request(world: &World) {
    let store = world.store("a").await;
    let seal = |epoch| Write::Seal {
        room: room(),
        sealed: Sealed { epoch: Epoch(epoch), last: Seqs([1, 0, 0, 0]), next: Epoch(epoch + 1) },
    };
    let mut writes: Vec<_> = (8..=11).map(|epoch| append(epoch, message(Lane::Control, 1, 1, "1"))).collect();
    writes.extend((8..=10).map(seal));
    write(&store, 11, writes).await.unwrap();
    write(&store, 11, vec![Write::ForgetEpochs { room: room(), before: Epoch(10) }]).await.unwrap();
    let image = store.load(room(), 9).await.unwrap().unwrap();
    assert_eq!(image.ends.keys().copied().collect::<Vec<_>>(), [Epoch(10), Epoch(11)]);
    assert_eq!(image.sealed.iter().map(|sealed| sealed.epoch).collect::<Vec<_>>(), [Epoch(10)]);
    assert_eq!(image.tail.len(), 2);
}

async fn older_epochs_can_be_written_later(world: &World) {
    let store = world.store("a").await;
    write(&store, 9, vec![append(9, message(Lane::Protected, 1, 20, "9"))]).await.unwrap();
    write(&store, 9, vec![append(7, message(Lane::Protected, 4, 10, "7"))]).await.unwrap();
    assert_eq!(seqs(&store, 7, Lane::Protected).await, [4]);
    assert_eq!(seqs(&store, 9, Lane::Protected).await, [1]);
}

async fn remembered_keys_go_when_their_time_has_passed(world: &World) {
    let store = world.store("a").await;
    let remember = |key: &str, at_ms, until_ms| Write::Remember {
        room: room(),
        remembered: Remembered {
            user: user("ana"),
            key: key.into(),
            stamp: Stamp { epoch: Epoch(1), lane: Lane::Normal, seq: at_ms },
            until_ms: Millis(until_ms),
        },
        at_ms: Millis(at_ms),
    };
    write(&store, 1, vec![remember("1", 1_000, 61_000), remember("2", 2_000, 90_000)]).await.unwrap();
    write(&store, 1, vec![remember("3", 61_000, 99_000)]).await.unwrap();
    let remembered = store.load(room(), 0).await.unwrap().unwrap().remembered;
    let mut keys: Vec<_> = remembered.iter().map(|remembered| &*remembered.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["2", "3"]);
}

fn member(session: u64) -> Member {
    Member {
        session: SessionId(session),
        conn_epoch: 3,
        user: user(&format!("u{session}")),
        joined_ms: Millis(session),
        offline_since_ms: session.is_multiple_of(2).then_some(Millis(7)),
    }
}

async fn members_come_back_page_by_page(world: &World) {
    let store = world.store("a").await;
    let all: BTreeMap<u64, Member> = (1..=12_000).map(|session| (session, member(session))).collect();
    for chunk in all.values().cloned().collect::<Vec<_>>().chunks(2_000) {
        let set = |member: &Member| Write::SetMember { room: room(), shard: 1, member: member.clone() };
        write(&store, 1, chunk.iter().map(set).collect()).await.unwrap();
    }
    let gone = Write::RemoveMember { room: room(), shard: 1, session: SessionId(5) };
    write(&store, 1, vec![gone]).await.unwrap();
    let mut found = BTreeMap::new();
    let (mut from, mut pages) = (MemberCursor { shard: 1, position: 0 }, 0);
    loop {
        let page = store.members(room(), from).await.unwrap();
        pages += 1;
        found.extend(page.members.into_iter().map(|member| (member.session.0, member)));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert!(pages > 1, "12,000 members are not read at once");
    let mut expected = all;
    expected.remove(&5);
    assert!(found == expected, "{} members", found.len());
    assert!(store.members(room(), MemberCursor::default()).await.unwrap().members.is_empty());
}

async fn cleared_members_are_gone_and_late_writers_refused(world: &World) {
    let store = world.store("a").await;
    let set = Write::SetMember { room: room(), shard: 0, member: member(1) };
    write(&store, 5, vec![set.clone()]).await.unwrap();
    write(&store, 5, vec![Write::ClearMembers { room: room(), shard: 0 }]).await.unwrap();
    assert!(store.members(room(), MemberCursor::default()).await.unwrap().members.is_empty());
    assert_eq!(write(&store, 4, vec![set]).await, Err(StoreError::Stale { epoch: Epoch(5) }));
}

async fn any_text_is_kept(world: &World) {
    let store = world.store("a").await;
    for name in ["{a}:b", "決勝/%7B", "}{", "a:1:2"] {
        let room = RoomId::new(name).unwrap();
        let slot = Slot::of(name);
        let user = UserId::new("x/y:{z}").unwrap();
        let mut message = message(Lane::Protected, 1, 5, "\u{0}\r\n\"ß\"");
        message.from = user.clone();
        message.kind = "ge/schenk".into();
        let entry = Write::SetEntry { room: room.clone(), list: List::Except, user: user.clone(), until_ms: Millis(1) };
        let shard = Write::SetMember { room: room.clone(), shard: 2, member: member(9) };
        let append = Write::Append { room: room.clone(), epoch: Epoch(3), message: message.clone() };
        store.write(slot, Epoch(3), Batch::of(vec![append, entry, shard])).await.unwrap();
        let image = store.load(room.clone(), 5).await.unwrap().unwrap();
        assert_eq!(image.tail, [(Epoch(3), message)], "{name}");
        assert_eq!(image.lists, BTreeMap::from([((List::Except, user), Millis(1))]), "{name}");
        let members = store.members(room, MemberCursor { shard: 2, position: 0 }).await.unwrap().members;
        assert_eq!(members, [member(9)], "{name}");
    }
}

async fn a_fence_is_raised_only_against_the_expected_holder(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    for slot in [AnySlot::Room(slot()), AnySlot::User(slot())] {
        assert_eq!(a.fence(slot).await, Ok(None));
        assert_eq!(a.raise_fence(slot, Epoch(5), Some(instance("z"))).await, Ok(Raised::Held { by: None }));
        assert_eq!(a.raise_fence(slot, Epoch(5), None).await, Ok(Raised::Mine { previous: None }));
        let of_a = Fence { epoch: Epoch(5), instance: instance("a") };
        assert_eq!(b.fence(slot).await, Ok(Some(of_a.clone())));
        for wrong in [None, Some(instance("z"))] {
            let held = b.raise_fence(slot, Epoch(6), wrong).await;
            assert_eq!(held, Ok(Raised::Held { by: Some(of_a.clone()) }));
        }
        assert_eq!(b.fence(slot).await, Ok(Some(of_a.clone())), "nothing was changed");
        let too_small = b.raise_fence(slot, Epoch(4), Some(instance("a"))).await;
        assert_eq!(too_small, Err(StoreError::Stale { epoch: Epoch(5) }));
        let raised = b.raise_fence(slot, Epoch(6), Some(instance("a"))).await;
        assert_eq!(raised, Ok(Raised::Mine { previous: Some(of_a) }));
        // Once more, as if the answer had been lost.
        let of_b = Fence { epoch: Epoch(6), instance: instance("b") };
        let again = b.raise_fence(slot, Epoch(6), Some(instance("a"))).await;
        assert_eq!(again, Ok(Raised::Mine { previous: Some(of_b) }));
    }
}

async fn two_instances_that_fight_over_a_fence_have_one_winner(world: &World) {
    let (dead, a, b) = (world.store("dead").await, world.store("a").await, world.store("b").await);
    for round in 0..20 {
        let slot = AnySlot::Room(Slot::new(round).unwrap());
        dead.raise_fence(slot, Epoch(1), None).await.unwrap();
        let (of_a, of_b) = tokio::join!(
            a.raise_fence(slot, Epoch(2), Some(instance("dead"))),
            b.raise_fence(slot, Epoch(3), Some(instance("dead"))),
        );
        let won = |raised: &Result<Raised, StoreError>| matches!(raised, Ok(Raised::Mine { .. }));
        assert!(won(&of_a) != won(&of_b), "{of_a:?} {of_b:?}");
        let winner = if won(&of_a) { "a" } else { "b" };
        assert_eq!(a.fence(slot).await.unwrap().unwrap().instance, instance(winner));
    }
}

async fn grace_lasts_while_it_is_renewed(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    assert_eq!(b.grace_left_ms(instance("a")).await, Ok(0));
    assert_eq!(a.create_grace(vec![]).await, Ok(GraceCreated::default()));
    for _ in 0..4 {
        world.pass(GRACE_MS / 2).await;
        assert_eq!(a.renew_grace().await, Ok(Renewal::Renewed { revoked: vec![] }));
    }
    let left_ms = b.grace_left_ms(instance("a")).await.unwrap();
    assert!((1..=GRACE_MS).contains(&left_ms), "{left_ms}");
    world.pass(GRACE_MS + 50).await;
    assert_eq!(b.grace_left_ms(instance("a")).await, Ok(0));
    assert_eq!(a.renew_grace().await, Ok(Renewal::Missing));
}

async fn a_renewal_never_creates_grace(world: &World) {
    let a = world.store("a").await;
    assert_eq!(a.renew_grace().await, Ok(Renewal::Missing));
    assert_eq!(a.renew_grace().await, Ok(Renewal::Missing));
    assert_eq!(a.grace_left_ms(instance("a")).await, Ok(0));
}

async fn marks_stay_and_only_grow(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    let (one, two) = (AnySlot::Room(Slot::new(1).unwrap()), AnySlot::User(Slot::new(2).unwrap()));
    a.create_grace(vec![]).await.unwrap();
    b.revoke(instance("a"), one, Epoch(8)).await.unwrap();
    b.revoke(instance("a"), one, Epoch(7)).await.unwrap();
    b.revoke(instance("a"), two, Epoch(9)).await.unwrap();
    let marks = vec![Mark { slot: one, epoch: Epoch(8) }, Mark { slot: two, epoch: Epoch(9) }];
    assert_eq!(a.renew_grace().await, Ok(Renewal::Renewed { revoked: marks.clone() }));
    world.pass(GRACE_MS + 50).await;
    // Longer than any grace: the mark is still there when the next one begins.
    assert_eq!(a.create_grace(vec![]).await.unwrap().revoked, marks);
    assert_eq!(b.renew_grace().await, Ok(Renewal::Missing), "marks are those of one instance");
    b.forget_instance(instance("a")).await.unwrap();
    assert_eq!(a.create_grace(vec![]).await.unwrap().revoked, []);
}

async fn creating_grace_rewrites_the_fences_that_are_still_mine(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    let slots: Vec<AnySlot> = (0..3).map(|n| AnySlot::Room(Slot::new(n).unwrap())).collect();
    a.raise_fence(slots[0], Epoch(4), None).await.unwrap();
    b.raise_fence(slots[1], Epoch(9), None).await.unwrap();
    let created = a.create_grace(slots.iter().map(|slot| (*slot, Epoch(5))).collect()).await.unwrap();
    assert_eq!(created.stale, [Mark { slot: slots[1], epoch: Epoch(9) }]);
    for (slot, epoch, holder) in [(slots[0], 5, "a"), (slots[1], 9, "b"), (slots[2], 5, "a")] {
        let fence = Fence { epoch: Epoch(epoch), instance: instance(holder) };
        assert_eq!(a.fence(slot).await, Ok(Some(fence)));
    }
}

async fn the_incarnation_only_grows(world: &World) {
    let store = world.store("a").await;
    assert_eq!(store.incarnation().await, Ok(0));
    assert_eq!(store.raise_incarnation(3).await, Ok(3));
    assert_eq!(store.raise_incarnation(2).await, Ok(3));
    assert_eq!(world.store("b").await.incarnation().await, Ok(3));
}

async fn a_database_has_an_age(world: &World) {
    let store = world.store("a").await;
    assert_eq!(store.birth().await.unwrap().age_ms, 0);
    world.pass(60).await;
    let age_ms = store.birth().await.unwrap().age_ms;
    assert!((50..5_000).contains(&age_ms), "{age_ms}");
}
