//! The relay on real sockets: rooms from a chatroom Pod to gateways.

#[cfg(test)]
mod support;

use std::time::Duration;

use support::{Chatroom, Down, Follower, Gateway, KEY, Message};
use throng_message::Options;
use throng_proto::link::{self, chatroom_to_relay, gateway_to_message, relay_to_chatroom};

async fn follow(gateway: &mut Gateway, follower: &mut Follower, messages: usize) {
    while follower.got.len() < messages {
        let kind = gateway.next().await;
        follower.see(&kind);
    }
}

fn subscribes(heard: &[relay_to_chatroom::Kind]) -> usize {
    heard.iter().filter(|kind| matches!(kind, relay_to_chatroom::Kind::Subscribe(_))).count()
}

#[tokio::test]
async fn two_gateways_get_every_segment_in_order_from_one_subscription() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    message.owned_by(&owner, 7);
    let (mut one, mut two) = (message.gateway("g-1").await, message.gateway("g-2").await);
    let at = one.subscribed("final").await;
    assert_eq!((at.epoch, at.seq), (7, vec![0; 4]));
    two.subscribed("final").await;
    for _ in 0..50 {
        owner.publish("final", &[2, 2, 1, 3], b"1");
    }
    let start = || Follower { at: link::Cursor { epoch: 7, seq: vec![0; 4] }, ..Follower::default() };
    let (mut first, mut second) = (start(), start());
    follow(&mut one, &mut first, 200).await;
    follow(&mut two, &mut second, 200).await;
    assert_eq!(first.got, second.got);
    assert_eq!(subscribes(&owner.heard()), 1);
}

#[tokio::test]
async fn an_owner_that_dies_is_replaced_and_its_epoch_sealed_before_the_next() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    message.owned_by(&owner, 7);
    let mut gateway = message.gateway("g-1").await;
    let at = gateway.subscribed("final").await;
    let mut follower = Follower { at, ..Follower::default() };
    owner.publish("final", &[1, 2], b"1");
    follow(&mut gateway, &mut follower, 2).await;
    let owner = owner.taken_over(9);
    owner.publish("final", &[1], b"1");
    message.owned_by(&owner, 9);
    owner.publish("final", &[2], b"1");
    follow(&mut gateway, &mut follower, 4).await;
    assert_eq!(follower.sealed, [(7, 9)]);
    assert_eq!(follower.got, [(7, 1, 1), (7, 2, 1), (9, 1, 1), (9, 2, 1)]);
}

#[tokio::test]
async fn a_gateway_that_stalls_goes_on_from_its_cursor_and_misses_nothing() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options { gateway_bytes: 100_000, ..Options::default() }).await;
    message.owned_by(&owner, 7);
    let (mut stalled, mut quick) = (message.gateway("g-1").await, message.gateway("g-2").await);
    let start = Follower { at: stalled.subscribed("final").await, ..Follower::default() };
    quick.subscribed("final").await;
    let mut other = Follower { at: start.at.clone(), ..Follower::default() };
    let mut follower = start;
    for round in 0..150 {
        owner.publish("final", &[1], &vec![b'1'; 30_000]);
        if round % 10 == 9 {
            follow(&mut quick, &mut other, round + 1).await;
        }
    }
    assert_eq!(follower.got.len(), 0);
    follow(&mut stalled, &mut follower, 150).await;
    assert_eq!(follower.got, other.got);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &message.metrics).unwrap();
    assert!(!text.contains("throng_message_waited_total 0"), "{text}");
    assert!(text.contains("throng_message_deliveries_total 300"), "{text}");
}

#[tokio::test]
async fn live_and_caught_up_hold_every_number_once() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    for _ in 0..20 {
        owner.publish("final", &[1, 2], b"1");
    }
    message.owned_by(&owner, 7);
    let mut gateway = message.gateway("g-1").await;
    let at = gateway.subscribed("final").await;
    let mut follower = Follower { at, ..Follower::default() };
    for _ in 0..5 {
        owner.publish("final", &[1, 2], b"1");
    }
    follow(&mut gateway, &mut follower, 10).await;
    // A client that saw 3 and 4 comes back: most of what it missed is older than this relay.
    let since = link::Cursor { epoch: 7, seq: vec![0, 3, 4, 0] };
    let until = Some(follower.at.clone());
    let ask = link::CatchUp { request: 1, room: "final".into(), since: Some(since), until, limit: 0 };
    gateway.say(gateway_to_message::Kind::CatchUp(ask)).await;
    for _ in 0..5 {
        owner.publish("final", &[1, 2], b"1");
    }
    let (mut found, mut last) = (None, 0);
    let live = gateway.until(|kind| {
        match kind {
            Down::CaughtUp(answer) => found = Some(answer.clone()),
            Down::Segment(segment) => last = segment.last[1],
            _ => {}
        }
        found.is_some() && last == 30
    });
    let live = live.await;
    let found = found.unwrap();
    assert!(found.recovered && found.gaps.is_empty() && found.code.is_empty(), "{found:?}");
    let mut client = Follower::default();
    found.segments.iter().for_each(|segment| client.add(segment));
    for kind in &live {
        if let Down::Segment(segment) = kind {
            client.add(segment);
        }
    }
    client.got.sort_unstable();
    let wanted: Vec<_> = (4..=30).map(|seq| (7, 1, seq)).chain((5..=30).map(|seq| (7, 2, seq))).collect();
    assert_eq!(client.got, wanted);
}

#[tokio::test]
async fn pulls_and_histories_are_served_and_impossible_cursors_refused() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    message.owned_by(&owner, 7);
    let mut gateway = message.gateway("g-1").await;
    let at = gateway.subscribed("final").await;
    let mut follower = Follower { at, ..Follower::default() };
    (0..9).for_each(|_| owner.publish("final", &[2, 3], b"1"));
    follow(&mut gateway, &mut follower, 18).await;
    let past = || link::Pull { room: "final".into(), lane: 2, limit: 3, ..link::Pull::default() };
    let pull = |request, after| gateway_to_message::Kind::Pull(link::Pull { request, after, ..past() });
    gateway.say(pull(1, 4)).await;
    let Down::Pulled(page) = gateway.next().await else { panic!() };
    assert_eq!(page.body.unwrap().messages.iter().map(|m| m.seq).collect::<Vec<_>>(), [5, 6, 7]);
    gateway.say(pull(2, 10)).await;
    let Down::Pulled(page) = gateway.next().await else { panic!() };
    assert_eq!((page.request, page.code.as_str()), (2, "bad_cursor"));
    for (request, epoch) in [(5, 6), (6, 8), (7, u64::MAX)] {
        gateway.say(gateway_to_message::Kind::Pull(link::Pull { request, epoch, ..past() })).await;
        let Down::Pulled(page) = gateway.next().await else { panic!() };
        assert_eq!((page.request, page.code.as_str()), (request, "not_found"), "epoch {epoch}");
        assert!(!page.message.contains("join"), "{}", page.message);
    }
    let history = link::CatchUp { request: 3, room: "final".into(), limit: 2, ..link::CatchUp::default() };
    gateway.say(gateway_to_message::Kind::CatchUp(history)).await;
    let Down::CaughtUp(found) = gateway.next().await else { panic!() };
    let mut history = Follower::default();
    history.add(&found.segments[0]);
    assert_eq!(history.got, [(7, 2, 8), (7, 2, 9)]);
    let delete = link::DeleteMessage { room: "final".into(), epoch: 7, lane: 2, seq: 9 };
    owner.tell("final", &chatroom_to_relay::Kind::Delete(delete.clone()));
    assert_eq!(gateway.next().await, Down::Delete(delete));
    gateway.say(pull(4, 8)).await;
    let Down::Pulled(page) = gateway.next().await else { panic!() };
    assert_eq!(page.body.unwrap().messages, []);
}

#[tokio::test]
async fn a_silent_owner_is_given_up_and_asked_again_where_the_log_ends() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    message.owned_by(&owner, 7);
    let mut gateway = message.gateway("g-1").await;
    let at = gateway.subscribed("final").await;
    let mut follower = Follower { at, ..Follower::default() };
    owner.publish("final", &[1], b"1");
    follow(&mut gateway, &mut follower, 1).await;
    owner.heard();
    owner.fall_silent();
    assert_eq!(gateway.next().await, Down::Lost("final".into()));
    let again = owner.hears(|kind| matches!(kind, relay_to_chatroom::Kind::Subscribe(_))).await;
    let relay_to_chatroom::Kind::Subscribe(wish) = again else { panic!() };
    assert_eq!(wish.cursor, Some(link::Cursor { epoch: 7, seq: vec![0, 1, 0, 0] }));
}

#[tokio::test]
async fn a_publish_goes_through_the_relay_when_the_gateway_cannot_reach_the_owner() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    let mut gateway = message.gateway("g-1").await;
    let publish = link::Publish { request: 77, room: "final".into(), ..link::Publish::default() };
    gateway.say(gateway_to_message::Kind::Publish(publish.clone())).await;
    let Down::Published(reply) = gateway.next().await else { panic!() };
    assert_eq!((reply.request, reply.code.as_str()), (77, "unavailable"), "nobody owns the room");
    message.owned_by(&owner, 7);
    gateway.subscribed("final").await;
    gateway.say(gateway_to_message::Kind::Publish(publish)).await;
    let sent = owner.hears(|kind| matches!(kind, relay_to_chatroom::Kind::Publish(_))).await;
    let relay_to_chatroom::Kind::Publish(sent) = sent else { panic!() };
    let reply = link::PublishReply { request: sent.request, seq: 5, ..link::PublishReply::default() };
    owner.tell("final", &chatroom_to_relay::Kind::Published(reply));
    let Down::Published(reply) = gateway.next().await else { panic!() };
    assert_eq!((reply.request, reply.seq), (77, 5));
}

#[tokio::test]
async fn a_gather_is_a_promise_and_answers_with_what_is_known() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    message.owned_by(&owner, 7);
    let mut gateway = message.gateway("g-1").await;
    let at = gateway.subscribed("final").await;
    let mut follower = Follower { at, ..Follower::default() };
    owner.publish("final", &[1], b"1");
    follow(&mut gateway, &mut follower, 1).await;
    let slot = u32::from(throng_core::Slot::of("final").number());
    let mut client = message.client(KEY).await;
    let promise = |slot, epoch| link::GatherRequest { slots: vec![link::SlotEpoch { slot, epoch }] };
    let reply = client.gather(promise(slot, 12)).await.unwrap().into_inner();
    assert_eq!((reply.stale.len(), reply.rooms.len()), (0, 1));
    assert_eq!(reply.rooms[0].seen, [link::Cursor { epoch: 7, seq: vec![0, 1, 0, 0] }]);
    assert_eq!(reply.rooms[0].tail.len(), 1);
    let stale = owner.hears(|kind| matches!(kind, relay_to_chatroom::Kind::Stale(_))).await;
    assert_eq!(stale, relay_to_chatroom::Kind::Stale(link::Stale { slot, epoch: 12 }));
    let reply = client.gather(promise(slot, 11)).await.unwrap().into_inner();
    assert_eq!(reply.stale, [link::SlotEpoch { slot, epoch: 12 }]);
    let error = client.gather(promise(4096, 1)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn without_the_key_nobody_gets_in() {
    let message = Message::start(Options::default()).await;
    let mut client = message.client("guess").await;
    let error = client.gather(link::GatherRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    let error = client.gateway(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn a_frame_that_does_not_read_ends_its_stream_and_disturbs_nobody() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options::default()).await;
    message.owned_by(&owner, 7);
    let (mut bad, mut good) = (message.gateway("g-1").await, message.gateway("g-2").await);
    good.subscribed("final").await;
    bad.subscribe("", None).await;
    while let Ok(Some(_)) = bad.stream.message().await {}
    owner.publish("final", &[2], b"1");
    assert!(matches!(good.next().await, Down::Segment(_)));
}
