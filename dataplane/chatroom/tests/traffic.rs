//! Messages, members and moves over real streams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says so")]

mod common;

use std::time::Duration;

use common::{KEY, Pod, change, gateway, relay, text};
use throng_chatroom::Options;
use throng_core::routes::{Owner, SlotChange};
use throng_core::{Epoch, InstanceId, Lane, Seqs, Slot};
use throng_proto::link::{
    self, admin_request::Command, chatroom_to_gateway, chatroom_to_relay, gateway_to_chatroom, relay_to_chatroom,
};
use throng_store::MemoryDb;

const ROOM: &str = "final";

#[tokio::test]
async fn what_is_published_reaches_the_relay_in_order() {
    let pod = Pod::serving(&[ROOM]).await;
    pod.admin(ROOM, Command::Create(link::RoomSettings { user_messages_per_second: Some(0), ..Default::default() }))
        .await;
    let (mut gateway, mut relay) = (gateway(&pod, "g-0").await, relay(&pod, "m-0").await);
    gateway.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    let subscribed = relay.subscribe(ROOM, None).await;
    assert_eq!(subscribed.cursor.unwrap().epoch, 7);
    for request in 1..=60 {
        let reply = gateway.publish(text(request, ROOM, "ana", 1)).await;
        if reply.code == "limited" {
            assert!(reply.retry_ms > 0);
            tokio::time::sleep(Duration::from_millis(reply.retry_ms)).await;
        } else {
            assert_eq!((reply.code.as_str(), reply.lane, reply.epoch), ("", 2, 7));
        }
    }
    let last = pod.admin(ROOM, Command::Describe(true)).await.room.unwrap().seq;
    assert!(last[2] >= 40);
    let mut cursor = Seqs::ZERO;
    while cursor[Lane::Normal] < last[2] {
        let segment = relay.segment().await;
        assert_eq!((segment.after, segment.gaps.len()), (cursor, 0));
        cursor = segment.last();
    }
}

#[tokio::test]
async fn joins_count_and_a_repeated_batch_does_not() {
    let pod = Pod::serving(&[ROOM]).await;
    let mut first = gateway(&pod, "g-0").await;
    let joins = |from: u64| (from..from + 1000).map(|i| change(&format!("u{i}"), i + 1, true)).collect::<Vec<_>>();
    assert_eq!(first.batch(1, ROOM, false, joins(0)).await.members, 1000);
    let mut second = gateway(&pod, "g-1").await;
    assert_eq!(second.batch(1, ROOM, false, joins(1000)).await.members, 2000);
    assert_eq!(first.batch(1, ROOM, false, joins(5000)).await.members, 1000, "the answer of the first time");
    assert_eq!(first.batch(2, ROOM, false, vec![change("u3", 4, false)]).await.members, 1999);
    assert_eq!(pod.members(ROOM).await, 1999);
    let stats = pod.handle.stats();
    assert_eq!((stats.joins, stats.leaves, stats.repeated_batches), (2000, 1, 1));
    let event = second.wait(|heard| match &heard.kind {
        Some(chatroom_to_gateway::Kind::Event(event)) if event.members == 1999 => Some(event.clone()),
        _ => None,
    });
    assert!(event.await.joined.is_empty(), "a large room names nobody");
}

#[tokio::test]
async fn a_room_that_is_served_elsewhere_is_moved() {
    let pod = Pod::serving(&[ROOM]).await;
    let (mut gateway, mut relay) = (gateway(&pod, "g-0").await, relay(&pod, "m-0").await);
    gateway.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    relay.subscribe(ROOM, None).await;
    let owner = Owner { instance: InstanceId::new("c-1").unwrap(), address: "127.0.0.1:1".into(), epoch: Epoch(9) };
    let close = SlotChange::Close { slot: Slot::of(ROOM), moved_to: Some(owner) };
    pod.slots.send(close).await.unwrap();
    let moved = relay.wait(|heard| match &heard.kind {
        Some(chatroom_to_relay::Kind::Moved(moved)) => Some(moved.clone()),
        _ => None,
    });
    let moved = moved.await;
    assert_eq!((moved.room.as_str(), moved.epoch, moved.address.as_str()), (ROOM, 9, "127.0.0.1:1"));
    assert_eq!(gateway.publish(text(5, ROOM, "ana", 1)).await.code, "unavailable");
    let applied = gateway.batch(2, ROOM, false, vec![change("bob", 2, true)]).await;
    assert_eq!(applied.moved, Some(moved.clone()));
    assert_eq!(pod.admin(ROOM, Command::Describe(true)).await.moved, Some(moved));
}

#[tokio::test]
async fn the_kicked_and_the_blocked_are_removed_and_told_so() {
    let pod = Pod::serving(&[ROOM]).await;
    let mut gateway = gateway(&pod, "g-0").await;
    gateway.batch(1, ROOM, false, vec![change("ana", 1, true), change("eve", 2, true)]).await;
    assert_eq!(pod.admin(ROOM, Command::Kick("ana".into())).await.code, "");
    let entry = link::ListEntry { user: "eve".into(), until_ms: 0 };
    let block = link::ListChange { list: "block".into(), add: vec![entry], remove: vec![] };
    assert_eq!(pod.admin(ROOM, Command::List(block)).await.code, "");
    for (user, reason) in [("ana", "kicked"), ("eve", "blocked")] {
        let removed = gateway.wait(|heard| match &heard.kind {
            Some(chatroom_to_gateway::Kind::Removed(removed)) => Some(removed.clone()),
            _ => None,
        });
        let removed = removed.await;
        assert_eq!((removed.users, removed.reason.as_str()), (vec![user.to_owned()], reason));
    }
    assert_eq!(gateway.publish(text(1, ROOM, "ana", 1)).await.code, "not_joined");
    assert_eq!(gateway.publish(text(2, ROOM, "eve", 2)).await.code, "blocked");
    let refused = gateway.batch(2, ROOM, false, vec![change("eve", 2, true)]).await.refused;
    assert_eq!(refused[0].code, "blocked");
    assert_eq!(pod.admin(ROOM, Command::Kick("nobody".into())).await.code, "not_found");
    assert_eq!(pod.admin(ROOM, Command::ReadList("ban".into())).await.code, "bad_request");
    assert_eq!(pod.admin("", Command::Describe(true)).await.code, "bad_id");
}

#[tokio::test]
async fn a_relay_that_stops_reading_costs_bounded_memory_and_misses_nothing() {
    let options = Options { relay_queue_bytes: 128 * 1024, lists_within_ms: 0, ..Options::default() };
    let pod = Pod::start(options, &MemoryDb::default());
    pod.open(&[ROOM], 7).await;
    let unlimited = link::RoomSettings {
        user_messages_per_second: Some(0),
        messages_per_second: Some(1_000_000),
        ..Default::default()
    };
    pod.admin(ROOM, Command::Create(unlimited)).await;
    let (mut gateway, mut relay) = (gateway(&pod, "g-0").await, relay(&pod, "m-0").await);
    gateway.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    relay.subscribe(ROOM, None).await;
    // More than the flow-control windows and the queue hold together, but not more than the room keeps of lane 1.
    for request in 1..=5_000u64 {
        let large =
            link::Publish { data: vec![b'1'; 600].into(), lane: 1, best_lane: 1, ..text(request, ROOM, "ana", 1) };
        gateway.say(gateway_to_chatroom::Kind::Publish(large)).await;
        if request % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut cursor = Seqs::ZERO;
    let mut received = 0;
    while cursor[Lane::Protected] < 5_000 {
        let segment = relay.segment().await;
        assert_eq!((segment.after, segment.gaps.len()), (cursor, 0));
        received += segment.messages.len();
        cursor = segment.last();
    }
    assert_eq!(received, 5_000);
}

#[tokio::test]
async fn a_call_without_the_key_is_refused() {
    let pod = Pod::serving(&[ROOM]).await;
    let request = link::ListRoomsRequest::default();
    let refused = pod.client("guess").await.list_rooms(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(pod.client(KEY).await.list_rooms(request).await.is_ok());
}

#[tokio::test]
async fn a_gateway_that_falls_silent_is_cut_and_one_that_beats_is_not() {
    let pod = Pod::serving(&[ROOM]).await;
    let (mut silent, mut beating) = (gateway(&pod, "g-0").await, gateway(&pod, "g-1").await);
    silent.fall_silent();
    let started = std::time::Instant::now();
    silent.wait_end().await;
    let after = started.elapsed();
    assert!(after > Duration::from_secs(1) && after < Duration::from_secs(3), "{after:?}");
    assert_eq!(beating.batch(1, ROOM, false, vec![change("ana", 1, true)]).await.members, 1);
}

#[tokio::test]
async fn a_new_stream_of_a_gateway_replaces_the_old_one() {
    let pod = Pod::serving(&[ROOM]).await;
    let mut old = gateway(&pod, "g-0").await;
    old.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    let mut new = gateway(&pod, "g-0").await;
    old.wait_end().await;
    assert_eq!(new.batch(2, ROOM, false, vec![change("bob", 2, true)]).await.members, 2);
    assert_eq!(new.publish(text(1, ROOM, "ana", 1)).await.code, "");
}

/// A room that talks, and gateways that tell their load: the tick grows with it and comes back.
#[tokio::test]
async fn the_tick_grows_while_a_gateway_is_overloaded_and_returns() {
    let pod = Pod::serving(&[ROOM]).await;
    pod.admin(ROOM, Command::Create(link::RoomSettings { user_messages_per_second: Some(0), ..Default::default() }))
        .await;
    let (mut busy, mut idle) = (gateway(&pod, "g-0").await, gateway(&pod, "g-1").await);
    busy.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    idle.batch(1, ROOM, false, vec![change("bob", 2, true)]).await;
    let began = std::time::Instant::now();
    let mut request = 0;
    let (mut first, mut longest, mut back) = (0, 0, None);
    while back.is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "{first} ms, {longest} ms, and not back");
        request += 1;
        busy.publish(text(request, ROOM, "ana", 1)).await;
        // The largest load of both counts.
        let overloaded = began.elapsed() < Duration::from_secs(3);
        busy.say(gateway_to_chatroom::Kind::LoadPercent(if overloaded { 95 } else { 30 })).await;
        idle.say(gateway_to_chatroom::Kind::LoadPercent(5)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let tick_ms = pod.admin(ROOM, Command::Describe(true)).await.room.unwrap().tick_ms;
        if first == 0 {
            first = tick_ms;
        }
        longest = longest.max(tick_ms);
        back = (!overloaded && tick_ms == 100).then_some(tick_ms);
    }
    assert!(first == 100 && longest >= 150, "{first} ms, then {longest} ms");
}

#[tokio::test]
async fn what_no_ring_holds_any_more_is_read_in_the_log() {
    let pod = Pod::serving(&[ROOM]).await;
    let (mut gateway, mut relay) = (gateway(&pod, "g-0").await, relay(&pod, "m-0").await);
    gateway.batch(1, ROOM, false, vec![change("ana", 1, true)]).await;
    for request in 1..=3 {
        let reply = gateway.publish(link::Publish { stored: true, ..text(request, ROOM, "ana", 1) }).await;
        assert_eq!((reply.code.as_str(), reply.seq), ("", request));
    }
    let of = link::ReadLog { room: ROOM.into(), epoch: 7, lane: 2, after: 1, limit: 1 };
    relay.say(relay_to_chatroom::Kind::ReadLog(of.clone())).await;
    let page = relay.wait(|heard| match &heard.kind {
        Some(chatroom_to_relay::Kind::LogPage(page)) => Some(page.clone()),
        _ => None,
    });
    let page = page.await;
    assert_eq!((page.of, page.last), (Some(of), 3));
    assert_eq!(page.body.unwrap().messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [2]);
}
