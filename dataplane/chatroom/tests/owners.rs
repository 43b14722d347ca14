//! What outlives an owner: the store, a hand-over, keys and ends of epochs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says so")]

mod common;

use std::time::Duration;

use common::{KEY, Pod, change, gateway, relay, text};
use throng_chatroom::Options;
use throng_core::routes::{Owner, SlotChange};
use throng_core::{Epoch, InstanceId, Slot};
use throng_proto::link::{self, admin_request::Command, chatroom_to_gateway, chatroom_to_relay};
use throng_store::MemoryDb;

const ROOM: &str = "final";

#[tokio::test]
async fn stored_is_said_when_the_store_has_it_and_not_otherwise() {
    let database = MemoryDb::default();
    let pod = Pod::start(Options::default(), &database);
    pod.open(&[ROOM], 7).await;
    let mut gateway = gateway(&pod, "g-0").await;
    gateway.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    let stored = |request| link::Publish { stored: true, key: "k".into(), ..text(request, ROOM, "ana", 1) };
    let reply = gateway.publish(stored(1)).await;
    assert!(reply.stored && reply.code.is_empty());
    pod.store.set_away(true);
    let again = gateway.publish(stored(2)).await;
    assert_eq!((again.seq, again.stored), (reply.seq, true));
    let other = link::Publish { key: "other".into(), ..stored(3) };
    assert_eq!(gateway.publish(other).await.code, "not_stored");
}

#[tokio::test]
async fn a_new_owner_starts_from_the_store_and_the_relay_goes_on_across_epochs() {
    let database = MemoryDb::default();
    let keyed = |request| link::Publish { key: "k".into(), ..text(request, ROOM, "ana", 1) };
    let first = {
        let pod = Pod::start(Options::default(), &database);
        pod.open(&[ROOM], 7).await;
        let mut gateway = gateway(&pod, "g-0").await;
        let entry = link::ListEntry { user: "eve".into(), until_ms: 0 };
        let block = link::ListChange { list: "block".into(), add: vec![entry], remove: vec![] };
        pod.admin(ROOM, Command::List(block)).await;
        gateway.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
        gateway.publish(keyed(1)).await
    };
    let pod = Pod::start(Options::default(), &database);
    pod.open(&[ROOM], 9).await;
    let (mut gateway, mut relay) = (gateway(&pod, "g-0").await, relay(&pod, "m-0").await);
    let asked = gateway.wait(|heard| match &heard.kind {
        Some(chatroom_to_gateway::Kind::ListRoom(room)) => Some(room.clone()),
        _ => None,
    });
    assert_eq!(asked.await, ROOM);
    let applied = gateway.batch(1, ROOM, true, vec![change("ana", 1, true), change("eve", 2, true)]).await;
    assert_eq!((applied.members, applied.refused.len()), (1, 1));
    let again = gateway.publish(keyed(2)).await;
    assert_eq!((again.epoch, again.seq), (first.epoch, first.seq), "a retry gets the first stamp");
    relay.subscribe(ROOM, Some(link::Cursor { epoch: 7, seq: vec![0; 4] })).await;
    let history = relay.segment().await;
    assert_eq!((history.epoch, history.messages.len()), (Epoch(7), 1));
    let sealed = relay.wait(|heard| match &heard.kind {
        Some(chatroom_to_relay::Kind::Sealed(sealed)) => Some(sealed.clone()),
        _ => None,
    });
    let sealed = sealed.await;
    assert_eq!((sealed.epoch, sealed.last, sealed.next_epoch), (7, vec![0, 0, 1, 0], 9));
    gateway.publish(text(3, ROOM, "ana", 1)).await;
    let next = relay.segment().await;
    assert_eq!((next.epoch, next.messages[0].seq), (Epoch(9), 1));
}

#[tokio::test]
async fn a_store_that_comes_back_empty_is_written_again() {
    let database = MemoryDb::default();
    let pod = Pod::start(Options::default(), &database);
    pod.open(&[ROOM], 7).await;
    let mut at_first = gateway(&pod, "g-0").await;
    at_first.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    let stored = |request| link::Publish { stored: true, key: "k".into(), ..text(request, ROOM, "ana", 1) };
    let first = at_first.publish(stored(1)).await;
    database.clear();
    // The owner learns of the loss with its next write.
    let next = link::Publish { key: "next".into(), ..stored(2) };
    assert!(at_first.publish(next).await.stored);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let later = Pod::start(Options::default(), &database);
    later.open(&[ROOM], 9).await;
    let again = gateway(&later, "g-0").await.publish(stored(3)).await;
    assert_eq!((again.epoch, again.seq, again.stored), (first.epoch, first.seq, true));
}

#[tokio::test]
async fn a_planned_move_hands_over_what_no_store_has() {
    let (old, new) =
        (Pod::start(Options::default(), &MemoryDb::default()), Pod::start(Options::default(), &MemoryDb::default()));
    old.open(&[ROOM], 7).await;
    let mut at_old = gateway(&old, "g-0").await;
    at_old.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    let keyed = |request| link::Publish { key: "k".into(), ..text(request, ROOM, "ana", 1) };
    let first = at_old.publish(keyed(1)).await;
    let owner = Owner {
        instance: InstanceId::new(&new.address).unwrap(),
        address: new.address.as_str().into(),
        epoch: Epoch(9),
    };
    let close = SlotChange::Close { slot: Slot::of(ROOM), moved_to: Some(owner) };
    old.slots.send(close).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    new.open(&[ROOM], 9).await;
    let mut at_new = gateway(&new, "g-0").await;
    at_new.batch(1, ROOM, true, vec![change("ana", 1, true)]).await;
    let again = at_new.publish(keyed(2)).await;
    assert_eq!((again.epoch, again.seq), (first.epoch, first.seq));
    let mut relay = relay(&new, "m-0").await;
    relay.subscribe(ROOM, Some(link::Cursor { epoch: 7, seq: vec![0; 4] })).await;
    assert_eq!(relay.segment().await.messages.len(), 1);
}

#[tokio::test]
async fn the_server_api_makes_lists_announces_and_destroys() {
    let pod = Pod::serving(&[ROOM, "other"]).await;
    let created =
        pod.admin(ROOM, Command::Create(link::RoomSettings { mute_all: Some(true), ..Default::default() })).await;
    assert_eq!(created.room.unwrap().settings.unwrap().mute_all, Some(true));
    pod.admin("other", Command::Create(link::RoomSettings::default())).await;
    let mut gateway = gateway(&pod, "g-0").await;
    let joins = (1..=25).map(|i| change(&format!("u{i}"), i, true)).collect();
    gateway.batch(1, ROOM, false, joins).await;
    assert_eq!(gateway.publish(text(1, ROOM, "u1", 1)).await.code, "muted");
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = pod.admin(ROOM, Command::Members(link::MembersPage { after, limit: 10 })).await.members.unwrap();
        assert_eq!(page.total, 25);
        listed.extend(page.members.into_iter().map(|member| member.user));
        after = page.next;
        if after.is_empty() {
            break;
        }
    }
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 25);
    let published = pod.admin(ROOM, Command::Publish(text(0, ROOM, "server", 0))).await.published.unwrap();
    assert_eq!((published.lane, published.seq), (2, 1));
    let announce = link::AnnounceRequest { from: "server".into(), kind: "text".into(), data: "1".into(), lane: 0 };
    assert_eq!(pod.client(KEY).await.announce(announce).await.unwrap().into_inner().rooms, 2);
    let rooms = pod.client(KEY).await.list_rooms(link::ListRoomsRequest::default()).await.unwrap().into_inner();
    assert_eq!(rooms.rooms.iter().map(|room| room.room.as_str()).collect::<Vec<_>>(), [ROOM, "other"]);
    assert_eq!(pod.admin(ROOM, Command::Destroy("destroyed".into())).await.code, "");
    let removed = gateway.wait(|heard| match &heard.kind {
        Some(chatroom_to_gateway::Kind::Removed(removed)) => Some(removed.clone()),
        _ => None,
    });
    let removed = removed.await;
    assert_eq!((removed.users.len(), removed.reason.as_str()), (0, "destroyed"));
    assert_eq!(pod.admin(ROOM, Command::Describe(true)).await.code, "not_found");
}

#[tokio::test]
async fn lists_that_the_store_did_not_deliver_in_time_are_in_force_when_it_does() {
    let database = MemoryDb::default();
    {
        let pod = Pod::start(Options::default(), &database);
        pod.open(&[ROOM], 7).await;
        let entry = link::ListEntry { user: "eve".into(), until_ms: 0 };
        let mute = link::ListChange { list: "mute".into(), add: vec![entry], remove: vec![] };
        pod.admin(ROOM, Command::List(mute)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let pod = Pod::start(Options { load_within_ms: 250, ..Options::default() }, &database);
    pod.store.set_away(true);
    pod.open(&[ROOM], 9).await;
    let mut gateway = gateway(&pod, "g-0").await;
    gateway.batch(1, ROOM, true, vec![change("eve", 2, true)]).await;
    assert_eq!(gateway.publish(text(1, ROOM, "eve", 2)).await.code, "", "nobody can know");
    pod.store.set_away(false);
    let began = std::time::Instant::now();
    let mut request = 1;
    while gateway
        .publish(text(
            {
                request += 1;
                request
            },
            ROOM,
            "eve",
            2,
        ))
        .await
        .code
        != "muted"
    {
        assert!(began.elapsed() < Duration::from_secs(5), "the list is not read again");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}
