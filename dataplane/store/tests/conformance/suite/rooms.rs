//! Rooms and who may write them.

use super::*;

pub(super) async fn a_room_comes_back_as_it_was_written(world: &World) {
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

pub(super) async fn a_room_that_nobody_wrote_is_none(world: &World) {
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

pub(super) async fn rooms_of_a_slot_are_listed(world: &World) {
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

pub(super) async fn a_deleted_room_is_gone_with_everything(world: &World) {
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

pub(super) async fn writes_may_be_repeated(world: &World) {
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

pub(super) async fn writes_of_a_smaller_epoch_are_refused(world: &World) {
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

pub(super) async fn a_raised_fence_stops_the_owner_before(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    let slot = AnySlot::Room(slot());
    a.raise_fence(slot, Epoch(5), None).await.unwrap();
    write(&a, 5, vec![append(5, message(Lane::Control, 1, 1, "1"))]).await.unwrap();
    let raised = b.raise_fence(slot, Epoch(6), Some(instance("a"))).await.unwrap();
    assert_eq!(raised, Raised::Mine { previous: Some(Fence { epoch: Epoch(5), instance: instance("a") }) });
    let late = write(&a, 5, vec![append(5, message(Lane::Control, 2, 2, "2"))]).await;
    assert_eq!(late, Err(StoreError::Stale { epoch: Epoch(6) }));
}

pub(super) async fn a_forgotten_tag_is_told_to_its_writer(world: &World) {
    let store = world.store("a").await;
    store.raise_fence(AnySlot::Room(slot()), Epoch(1), None).await.unwrap();
    let put = vec![Write::PutRoom { room: room(), meta: Bytes::new() }];
    assert!(!write(&store, 1, put.clone()).await.unwrap().emptied, "the fence was there");
    assert!(!write(&store, 2, put).await.unwrap().emptied);
    let member = vec![Write::RemoveMember { room: room(), shard: 3, session: SessionId(1) }];
    assert!(write(&store, 2, member.clone()).await.unwrap().emptied, "a new shard is an empty one");
    assert!(!write(&store, 2, member).await.unwrap().emptied);
}

pub(super) async fn a_room_of_another_slot_is_refused(world: &World) {
    let store = world.store("a").await;
    let other = Slot::new((slot().number() + 1) % 4096).unwrap();
    let put = Batch::of(vec![Write::PutRoom { room: room(), meta: Bytes::new() }]);
    assert!(matches!(store.write(other, Epoch(1), put).await, Err(StoreError::Refused { .. })));
}

pub(super) async fn any_text_is_kept(world: &World) {
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
