//! The homes on real sockets: directed messages, kicks, one session a user, gateways that vanish.

#[cfg(test)]
mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Chatroom, Down, Gateway, KEY, Message};
use throng_core::routes::{Owner, Routes, SlotChange};
use throng_core::{Epoch, InstanceId, Slot};
use throng_message::{Options, SessionPolicy};
use throng_proto::link::{self, gateway_to_message, relay_to_chatroom};

async fn connect(gateway: &mut Gateway, number: u64, user: &str, session: u64, rooms: &[&str]) {
    let change = link::SessionChange {
        user: user.into(),
        session,
        conn_epoch: 1,
        online: true,
        joined: rooms.iter().map(|room| (*room).to_owned()).collect(),
        ..link::SessionChange::default()
    };
    let batch = link::SessionBatch { number, full: false, changes: vec![change] };
    gateway.say(gateway_to_message::Kind::Sessions(batch)).await;
    while gateway.next().await != Down::SessionsApplied(number) {}
}

#[tokio::test]
async fn a_directed_message_reaches_every_gateway_of_the_user() {
    let message = Message::start(Options::default()).await;
    let (mut one, mut two) = (message.gateway("g-1").await, message.gateway("g-2").await);
    connect(&mut one, 1, "ana", 1, &["final"]).await;
    connect(&mut two, 1, "ana", 2, &[]).await;
    let mut client = message.client(KEY).await;
    let directed = link::Directed { to: "ana".into(), data: "1".into(), ..link::Directed::default() };
    let reply = client.direct(directed.clone()).await.unwrap().into_inner();
    assert_eq!((reply.connections, reply.moved), (2, None));
    assert_eq!(one.next().await, Down::Directed(directed.clone()));
    assert_eq!(two.next().await, Down::Directed(directed));
    let nobody = link::Directed { to: "bob".into(), ..link::Directed::default() };
    assert_eq!(client.direct(nobody).await.unwrap().into_inner().connections, 0);
}

#[tokio::test]
async fn a_kick_reaches_one_session_or_all() {
    let message = Message::start(Options::default()).await;
    let (mut one, mut two) = (message.gateway("g-1").await, message.gateway("g-2").await);
    connect(&mut one, 1, "ana", 1, &[]).await;
    connect(&mut two, 1, "ana", 2, &[]).await;
    let mut client = message.client(KEY).await;
    let kick = |session| link::KickUser { user: "ana".into(), session, reason: "kicked".into() };
    assert_eq!(client.kick(kick(2)).await.unwrap().into_inner().connections, 1);
    assert_eq!(two.next().await, Down::Kick(kick(2)));
    assert_eq!(client.kick(kick(0)).await.unwrap().into_inner().connections, 2);
    assert_eq!(one.next().await, Down::Kick(kick(0)));
    assert_eq!(two.next().await, Down::Kick(kick(0)));
}

#[tokio::test]
async fn the_newest_session_wins_where_one_is_allowed() {
    let message = Message::start(Options { sessions: SessionPolicy::NewestWins, ..Options::default() }).await;
    let (mut one, mut two) = (message.gateway("g-1").await, message.gateway("g-2").await);
    connect(&mut one, 1, "ana", 1, &[]).await;
    connect(&mut two, 1, "ana", 2, &[]).await;
    let kick = link::KickUser { user: "ana".into(), session: 1, reason: "replaced".into() };
    assert_eq!(one.next().await, Down::Kick(kick));
}

#[tokio::test]
async fn a_user_whose_home_is_elsewhere_is_answered_with_moved() {
    let message = Message::start(Options::default()).await;
    let mut routes = Routes::default();
    let owner = Owner { instance: InstanceId::new("m-2").unwrap(), address: "127.0.0.1:9".into(), epoch: Epoch(44) };
    routes.users.set(Slot::of("ana"), Some(owner));
    message.routes.send_replace(Arc::new(routes));
    message.slots.send(SlotChange::Close { slot: Slot::of("ana"), moved_to: None }).await.unwrap();
    let mut client = message.client(KEY).await;
    let directed = link::Directed { to: "ana".into(), ..link::Directed::default() };
    for _ in 0..100 {
        let reply = client.direct(directed.clone()).await.unwrap().into_inner();
        if let Some(moved) = reply.moved.filter(|moved| moved.epoch == 44) {
            assert_eq!(moved.address, "127.0.0.1:9");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never moved");
}

#[tokio::test]
async fn the_members_of_a_gateway_that_vanished_are_reported_to_the_owner_of_their_room() {
    let owner = Chatroom::start(7);
    let message = Message::start(Options { gateway_lost_ms: 300, ..Options::default() }).await;
    message.owned_by(&owner, 7);
    let mut gone = message.gateway("g-1").await;
    let mut stays = message.gateway("g-2").await;
    stays.subscribed("final").await;
    connect(&mut gone, 1, "ana", 1, &["final"]).await;
    connect(&mut stays, 1, "bob", 2, &["final"]).await;
    drop(gone);
    let report = owner.hears(|kind| matches!(kind, relay_to_chatroom::Kind::Offline(_))).await;
    let relay_to_chatroom::Kind::Offline(batch) = report else { panic!() };
    let change = &batch.rooms[0].changes[0];
    assert_eq!((batch.rooms.len(), batch.rooms[0].changes.len()), (1, 1));
    assert_eq!((change.user.as_str(), change.session, change.join), ("ana", 1, true));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(u128::from(change.offline_since_ms).abs_diff(now) < 10_000);
}

#[tokio::test]
async fn the_handle_counts_users_slots_and_gateways() {
    let message = Message::start(Options::default()).await;
    let mut gateway = message.gateway("g-1").await;
    connect(&mut gateway, 1, "ana", 1, &["final"]).await;
    for _ in 0..300 {
        let sample = message.handle.sample();
        if (sample.users, sample.sessions, sample.gateways) == (1, 1, 1) {
            assert_eq!(message.handle.slots(), [(Slot::of("ana"), 1)]);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", message.handle.sample());
}
