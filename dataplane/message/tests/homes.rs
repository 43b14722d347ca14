//! The homes on real sockets: directed messages, kicks, one session a user, gateways that vanish.

#[cfg(test)]
mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Chatroom, Down, Gateway, KEY, Message};
use throng_core::ownership::Input as News;
use throng_core::routes::{Owner, Routes, SlotChange};
use throng_core::{Epoch, InstanceId, Slot};
use throng_message::{Options, SessionPolicy};
use throng_proto::link::{self, gateway_to_message, relay_to_chatroom};
use tokio::sync::mpsc;
use tokio::time::timeout;

async fn connect(gateway: &mut Gateway, number: u64, user: &str, session: u64, rooms: &[&str]) {
    let change = link::SessionChange {
        user: user.into(),
        session,
        conn_epoch: 1,
        online: true,
        joined: rooms.iter().map(|room| (*room).to_owned()).collect(),
        ..link::SessionChange::default()
    };
    let batch = link::SessionBatch { number, full: false, changes: vec![change], sent_ms: 0 };
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
    assert_eq!(one.next().await, Down::Directed(link::Directed { sessions: vec![1], ..directed.clone() }));
    assert_eq!(two.next().await, Down::Directed(link::Directed { sessions: vec![2], ..directed }));
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
    let kick = |session| link::KickUser { user: "ana".into(), session, reason: "kicked".into(), sessions: vec![] };
    let told = |session, of| Down::Kick(link::KickUser { sessions: vec![of], ..kick(session) });
    assert_eq!(client.kick(kick(2)).await.unwrap().into_inner().connections, 1);
    assert_eq!(two.next().await, told(2, 2));
    assert_eq!(client.kick(kick(0)).await.unwrap().into_inner().connections, 2);
    assert_eq!(one.next().await, told(0, 1));
    assert_eq!(two.next().await, told(0, 2));
}

#[tokio::test]
async fn what_was_said_before_a_session_was_reported_reaches_it_if_it_was_connected_by_then() {
    let message = Message::start(Options::default()).await;
    let mut gateway = message.gateway("g-1").await;
    let mut client = message.client(KEY).await;
    let kick = link::KickUser { user: "ana".into(), session: 0, reason: "kicked".into(), sessions: vec![] };
    assert_eq!(client.kick(kick.clone()).await.unwrap().into_inner().connections, 0);
    let directed = link::Directed { to: "ana".into(), data: "1".into(), ..link::Directed::default() };
    assert_eq!(client.direct(directed.clone()).await.unwrap().into_inner().connections, 0);
    // Times are compared by the millisecond.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let change = |session, age_ms| link::SessionChange {
        user: "ana".into(),
        session,
        conn_epoch: 1,
        online: true,
        age_ms,
        ..link::SessionChange::default()
    };
    let changes = vec![change(1, Some(60_000)), change(2, Some(0)), change(3, None)];
    let batch = link::SessionBatch { number: 1, full: false, changes, sent_ms: 100_000 };
    gateway.say(gateway_to_message::Kind::Sessions(batch)).await;
    let mut heard = vec![];
    for _ in 0..3 {
        heard.push(gateway.next().await);
    }
    let late = [
        Down::SessionsApplied(1),
        Down::Kick(link::KickUser { sessions: vec![1], ..kick }),
        Down::Directed(link::Directed { sessions: vec![1], ..directed }),
    ];
    assert_eq!(heard, late);
    let batch = link::SessionBatch { number: 2, full: false, changes: vec![], sent_ms: 100_100 };
    gateway.say(gateway_to_message::Kind::Sessions(batch)).await;
    assert_eq!(gateway.next().await, Down::SessionsApplied(2), "nobody else is told");
}

#[tokio::test]
async fn the_newest_session_wins_where_one_is_allowed() {
    let message = Message::start(Options { sessions: SessionPolicy::NewestWins, ..Options::default() }).await;
    let (mut one, mut two) = (message.gateway("g-1").await, message.gateway("g-2").await);
    connect(&mut one, 1, "ana", 1, &[]).await;
    connect(&mut two, 1, "ana", 2, &[]).await;
    let kick = link::KickUser { user: "ana".into(), session: 1, reason: "replaced".into(), sessions: vec![] };
    assert_eq!(one.next().await, Down::Kick(kick));
}

#[tokio::test]
async fn ownership_hears_how_many_users_a_slot_has_so_that_idle_ones_can_move_first() {
    let (news, mut heard) = mpsc::channel(1);
    let message = Message::start_with(Options::default(), |service| service.tell_ownership(news)).await;
    let mut gateway = message.gateway("g-1").await;
    connect(&mut gateway, 1, "ana", 1, &[]).await;
    let told = timeout(Duration::from_secs(10), async {
        loop {
            let News::Heat(heat) = heard.recv().await.expect("a service that runs") else { panic!("other news") };
            if !heat.is_empty() {
                return heat;
            }
        }
    });
    let told: Vec<_> = told.await.expect("news in time").into_iter().collect();
    assert_eq!(told, [(Slot::of("ana"), 1)]);
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
