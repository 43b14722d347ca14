//! The hub between reactors and Pods that are only noted down here.

mod lists;
mod order;

use throng_core::routes::Owner;
use throng_core::{Cursor, Lane, Seqs};
use throng_proto::link::{MemberBatch, Subscribed};

use super::*;
use crate::traffic::{Asker, Member, Order, Ticket};

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn address(text: &str) -> Address {
    text.into()
}

/// Two chatroom and two message Pods; `a` owns all rooms, `m1` is home of all users.
fn routes() -> Routes {
    let mut routes = Routes::default();
    let peer = |text: &str| Peer { pod: text.into(), address: address(text), draining: false };
    let owner = |text: &str, epoch| Owner { instance: id(text), address: address(text), epoch: Epoch(epoch) };
    for name in ["a", "b"] {
        routes.chatroom.insert(id(name), peer(name));
    }
    for name in ["m1", "m2"] {
        routes.message.insert(id(name), peer(name));
    }
    for slot in Slot::all() {
        routes.rooms.set(slot, Some(owner("a", 7)));
        routes.users.set(slot, Some(owner("m1", 7)));
    }
    routes
}

pub(super) struct World {
    pub(super) hub: Hub,
    now: Millis,
}

impl World {
    pub(super) fn new() -> Self {
        let settings =
            Settings { instance: id("gateway"), shards: 1, answer_ms: 1000, origin: Origin { unix_ms: 1_000_000 } };
        let mut world = Self { hub: Hub::new(settings), now: Millis(1000) };
        world.hub.at(world.now);
        world.hub.routes(Arc::new(routes()));
        for (role, name) in [(Role::Chatroom, "a"), (Role::Chatroom, "b"), (Role::Message, "m1"), (Role::Message, "m2")]
        {
            world.hub.from_link(role, &address(name), FromLink::Up);
        }
        world.hub.take_actions();
        world
    }

    pub(super) fn wait(&mut self, ms: u64) -> Vec<Action> {
        self.now = self.now + ms;
        self.hub.at(self.now);
        self.hub.tick();
        self.hub.take_actions()
    }

    /// Opens a room; the relay that was asked.
    pub(super) fn open(&mut self, room: &str, at: Cursor) -> Address {
        self.hub.from_shard(0, ToHub::Wanted(id(room)));
        let relay = subscriptions(&self.hub.take_actions()).pop().unwrap().0;
        self.subscribed(&relay, room, at);
        self.hub.take_actions();
        relay
    }

    fn subscribed(&mut self, relay: &Address, room: &str, at: Cursor) {
        let subscribed =
            Subscribed { room: room.into(), cursor: Some(convert::to_cursor(at)), ..Subscribed::default() };
        let kind = message_to_gateway::Kind::Subscribed(subscribed);
        self.hub.from_link(Role::Message, relay, FromLink::Message(kind));
    }

    fn join(&mut self, room: &str, session: u64) {
        self.hub.from_shard(
            0,
            ToHub::Join {
                room: id(room),
                member: member(session),
                ticket: Ticket { shard: 0, number: session },
                fresh: true,
            },
        );
    }

    pub(super) fn chatroom_says(&mut self, from: &str, kind: chatroom_to_gateway::Kind) -> Vec<Action> {
        self.hub.from_link(Role::Chatroom, &address(from), FromLink::Chatroom(kind));
        self.hub.take_actions()
    }

    pub(super) fn publish(&mut self, key: Option<&str>) -> Vec<Action> {
        self.hub.from_shard(
            0,
            ToHub::Publish(Box::new(Order {
                asker: Asker { shard: 0, conn: 1, generation: 1, id: 5 },
                room: id("r"),
                user: id("ana"),
                session: SessionId(1),
                lane: Lane::Normal,
                best_lane: Lane::Normal,
                kind: "text".into(),
                data: "1".into(),
                key: key.map(str::to_owned),
                stored: false,
            })),
        );
        self.hub.take_actions()
    }
}

fn member(session: u64) -> Member {
    Member { user: id(&format!("u{session}")), session: SessionId(session), conn_epoch: 1 }
}

pub(super) fn cursor(epoch: u64, seq: [u64; 4]) -> Cursor {
    Cursor { epoch: Epoch(epoch), seq: Seqs(seq) }
}

fn subscriptions(actions: &[Action]) -> Vec<(Address, link::SubscribeRoom)> {
    let of = |action: &Action| match action {
        Action::Message(to, gateway_to_message::Kind::Subscribe(subscribe)) => {
            Some((Arc::clone(to), subscribe.clone()))
        }
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

fn batches(actions: &[Action]) -> Vec<(Address, MemberBatch)> {
    let of = |action: &Action| match action {
        Action::Chatroom(to, gateway_to_chatroom::Kind::Members(batch)) => Some((Arc::clone(to), batch.clone())),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

pub(super) fn publishes(actions: &[Action]) -> Vec<(Address, link::Publish)> {
    let of = |action: &Action| match action {
        Action::Chatroom(to, gateway_to_chatroom::Kind::Publish(publish))
        | Action::Message(to, gateway_to_message::Kind::Publish(publish)) => Some((Arc::clone(to), publish.clone())),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

pub(super) fn answers(actions: Vec<Action>) -> Vec<ToShard> {
    let of = |action| match action {
        Action::Shard(_, message) => Some(message),
        _ => None,
    };
    actions.into_iter().filter_map(of).collect()
}

fn applied(batch: &MemberBatch) -> chatroom_to_gateway::Kind {
    let room = |changes: &link::RoomChanges| link::RoomApplied {
        room: changes.room.clone(),
        epoch: 7,
        members: 1,
        ..link::RoomApplied::default()
    };
    let rooms = batch.rooms.iter().map(room).collect();
    chatroom_to_gateway::Kind::Applied(link::MembersApplied { number: batch.number, rooms })
}

#[test]
fn joins_of_a_window_are_one_batch_and_a_join_with_its_leave_is_none() {
    let mut world = World::new();
    for session in 1..4 {
        world.join("r", session);
    }
    world.hub.from_shard(0, ToHub::Leave { room: id("r"), member: member(2) });
    assert!(batches(&world.wait(10)).is_empty());
    let sent = batches(&world.wait(60));
    let [(to, batch)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(&**to, "a");
    let sessions: Vec<u64> = batch.rooms[0].changes.iter().map(|change| change.session).collect();
    assert_eq!(sessions, [1, 3]);
    let answers = answers(world.chatroom_says("a", applied(batch)));
    assert_eq!(answers.iter().filter(|answer| matches!(answer, ToShard::Joined(_, Ok(1)))).count(), 2);
}

#[test]
fn what_a_lost_link_or_a_former_owner_did_not_apply_is_sent_again_once() {
    let mut world = World::new();
    world.join("r", 1);
    world.join("r", 2);
    let sent = batches(&world.wait(60));
    assert_eq!(sent.len(), 1);
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Down);
    world.hub.from_shard(0, ToHub::Leave { room: id("r"), member: member(2) });
    assert!(batches(&world.wait(60)).is_empty(), "there is nobody to tell");
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Up);
    let sent = batches(&world.wait(60));
    let changes: Vec<(u64, bool)> = sent[0].1.rooms[0].changes.iter().map(|c| (c.session, c.join)).collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes.contains(&(1, true)) && changes.contains(&(2, false)), "the newer change holds: {changes:?}");

    let moved = link::Moved { room: "r".into(), epoch: 9, address: "b".into() };
    let room = link::RoomApplied { room: "r".into(), moved: Some(moved), ..link::RoomApplied::default() };
    let kind = chatroom_to_gateway::Kind::Applied(link::MembersApplied { number: sent[0].1.number, rooms: vec![room] });
    world.chatroom_says("a", kind);
    let sent = batches(&world.wait(60));
    assert_eq!((&*sent[0].0, sent[0].1.rooms[0].changes.len()), ("b", 2));
    assert!(batches(&world.wait(60)).is_empty());
}

#[test]
fn a_refused_join_says_why() {
    let mut world = World::new();
    world.join("r", 1);
    let sent = batches(&world.wait(60));
    let refused = vec![link::Refused { session: 1, code: "blocked".into(), message: "no".into() }];
    let room = link::RoomApplied { room: "r".into(), refused, ..link::RoomApplied::default() };
    let kind = chatroom_to_gateway::Kind::Applied(link::MembersApplied { number: sent[0].1.number, rooms: vec![room] });
    let answers = answers(world.chatroom_says("a", kind));
    let [ToShard::Joined(1, Err(failure))] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(failure.code.as_str(), "blocked");
}

#[test]
fn a_message_takes_the_way_there_is() {
    let mut world = World::new();
    let relay = world.open("r", cursor(7, [0; 4]));
    assert_eq!(&*publishes(&world.publish(None))[0].0, "a");
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Down);
    let lost = answers(world.hub.take_actions());
    assert!(matches!(lost.as_slice(), [ToShard::Published(_, Err(_))]), "without a key it is not repeated: {lost:?}");
    let sent = publishes(&world.publish(Some("k")));
    assert_eq!(sent[0].0, relay, "the owner is out of reach: through the relay");
    world.hub.from_link(Role::Message, &relay, FromLink::Down);
    assert!(publishes(&world.hub.take_actions()).is_empty());
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Up);
    let again = publishes(&world.hub.take_actions());
    assert_eq!((&*again[0].0, again[0].1.request), ("a", sent[0].1.request));
    let moved = link::Moved { room: "r".into(), epoch: 9, address: "b".into() };
    let moved = publishes(&world.chatroom_says("a", chatroom_to_gateway::Kind::Moved(moved)));
    assert_eq!(&*moved[0].0, "b");
    let reply =
        link::PublishReply { request: sent[0].1.request, epoch: 9, lane: 2, seq: 4, ..link::PublishReply::default() };
    let answers = answers(world.chatroom_says("b", chatroom_to_gateway::Kind::Published(reply)));
    assert!(matches!(answers.as_slice(), [ToShard::Published(_, Ok(ordered))] if ordered.stamp.seq == 4));
}

#[test]
fn nothing_waits_without_a_deadline() {
    let mut world = World::new();
    world.publish(None);
    let answers = answers(world.wait(1500));
    let [ToShard::Published(_, Err(failure))] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(failure.retry_ms.is_some());
    assert!(!world.hub.publishes.is_waiting());
}

#[test]
fn a_relay_that_fails_is_followed_by_the_next_from_the_cursor() {
    let mut world = World::new();
    let relay = world.open("r", cursor(7, [0, 0, 5, 0]));
    world.hub.from_link(Role::Message, &relay, FromLink::Down);
    let asked = subscriptions(&world.hub.take_actions());
    let [(next, subscribe)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_ne!(*next, relay);
    assert_eq!(subscribe.cursor, Some(convert::to_cursor(cursor(7, [0, 0, 5, 0]))));
    world.hub.from_link(Role::Message, &relay, FromLink::Up);
    world.hub.take_actions();
    let again = subscriptions(&world.wait(2000));
    assert_eq!(again[0].0, relay, "one that does not answer is passed over");
}

#[test]
fn those_who_missed_the_same_share_one_answer() {
    let mut world = World::new();
    world.open("r", cursor(7, [0, 0, 9, 0]));
    let ask = |number, held_from| ToHub::CatchUp {
        room: id("r"),
        since: Some(cursor(7, [0, 0, 1, 0])),
        limit: 0,
        held_from,
        ticket: Ticket { shard: 0, number },
    };
    world.hub.from_shard(0, ask(1, cursor(7, [0, 0, 9, 0])));
    world.hub.from_shard(0, ask(2, cursor(7, [0, 0, 8, 0])));
    let asked: Vec<Action> = world.hub.take_actions();
    let asks = asked.iter().filter(|action| matches!(action, Action::Message(_, gateway_to_message::Kind::CatchUp(_))));
    assert_eq!(asks.count(), 1);
    let Some(Action::Message(relay, gateway_to_message::Kind::CatchUp(wire))) = asked.last() else {
        panic!("{asked:?}")
    };
    let past = link::CaughtUp {
        request: wire.request,
        recovered: true,
        cursor: wire.until.clone(),
        ..link::CaughtUp::default()
    };
    let kind = message_to_gateway::Kind::CaughtUp(past);
    world.hub.from_link(Role::Message, relay, FromLink::Message(kind));
    let answers = answers(world.hub.take_actions());
    assert_eq!(answers.iter().filter(|answer| matches!(answer, ToShard::CaughtUp(_, Ok(_)))).count(), 2);
}

#[test]
fn owners_that_are_linked_hear_how_busy_the_gateway_is() {
    let mut world = World::new();
    world.hub.from_link(Role::Chatroom, &address("b"), FromLink::Down);
    world.hub.take_actions();
    world.hub.load(42);
    let told = world.hub.take_actions();
    let [Action::Chatroom(to, gateway_to_chatroom::Kind::LoadPercent(42))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(&**to, "a");
}

#[test]
fn homes_are_told_how_long_a_session_has_been_connected() {
    let told = |actions: &[Action]| {
        let of = |action: &Action| match action {
            Action::Message(_, gateway_to_message::Kind::Sessions(batch)) => Some(batch.clone()),
            _ => None,
        };
        actions.iter().filter_map(of).collect::<Vec<_>>()
    };
    let mut world = World::new();
    let hello = |world: &mut World, session, conn_epoch| {
        world.hub.from_shard(0, ToHub::Online(Member { conn_epoch, ..member(session) }));
    };
    // Unix time is 1,001,000: it said hello 7 ms ago, and goes at once.
    hello(&mut world, 1, 1_000_993);
    let sent = told(&world.wait(0));
    assert_eq!((sent[0].sent_ms, sent[0].changes[0].age_ms), (1_000, Some(7)));
    // Its number is from a gateway whose clock is ahead: what counts is when it was heard of.
    hello(&mut world, 2, 1_009_999);
    assert!(told(&world.wait(60)).is_empty());
    hello(&mut world, 3, 1_001_060);
    let gone = Member { conn_epoch: 1_001_060, ..member(3) };
    world.hub.from_shard(0, ToHub::Gone { member: gone, rooms: vec![], ended: false });
    let sent = told(&world.wait(40));
    let ages: Vec<_> = sent[0].changes.iter().map(|change| (change.session, change.age_ms)).collect();
    assert_eq!((sent[0].sent_ms, ages), (1_100, vec![(2, Some(100)), (3, None)]));
}
