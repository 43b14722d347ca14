//! Messages on their way when owners are out of reach, move, or come back to find thousands waiting.

use super::publish::MAX_ON_LINK;
use super::tests::{World, address, answers, cursor, publishes};
use super::*;

fn reply(request: u64) -> link::PublishReply {
    link::PublishReply { request, epoch: 7, lane: 2, seq: 1, ..link::PublishReply::default() }
}

fn untaken(request: u64) -> link::PublishReply {
    link::PublishReply { untaken: true, code: "unavailable".into(), ..reply(request) }
}

#[test]
fn a_link_carries_so_many_unanswered_messages_and_the_rest_waits_its_turn() {
    let mut world = World::new();
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Down);
    let waiting = MAX_ON_LINK + 1_000;
    for _ in 0..waiting {
        assert!(publishes(&world.publish(Some("k"))).is_empty());
    }
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Up);
    let first = publishes(&world.hub.take_actions());
    assert_eq!(first.len(), MAX_ON_LINK, "an owner that comes back is not buried");
    assert!(publishes(&world.wait(50)).is_empty());
    for (_, publish) in first.iter().take(600) {
        world.chatroom_says("a", chatroom_to_gateway::Kind::Published(reply(publish.request)));
    }
    let more = publishes(&world.wait(50));
    assert_eq!(more.len(), 600, "each answer makes room for one");
    let requests: Vec<u64> = first.iter().chain(&more).map(|(_, publish)| publish.request).collect();
    assert!(requests.is_sorted(), "in the order of arrival");
}

#[test]
fn what_was_on_a_link_that_broke_goes_again_and_nothing_goes_twice() {
    let mut world = World::new();
    let sent: Vec<u64> = (0..10).flat_map(|_| publishes(&world.publish(Some("k")))).map(|(_, p)| p.request).collect();
    world.chatroom_says("a", chatroom_to_gateway::Kind::Published(reply(sent[3])));
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Down);
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Up);
    let again: Vec<u64> = publishes(&world.hub.take_actions()).iter().map(|(_, p)| p.request).collect();
    let due: Vec<u64> = sent.iter().copied().filter(|request| *request != sent[3]).collect();
    assert_eq!(again, due);
}

#[test]
fn what_nobody_took_waits_here_and_not_at_the_client() {
    let mut world = World::new();
    let sent = publishes(&world.publish(None)).remove(0).1.request;
    let told = world.chatroom_says("a", chatroom_to_gateway::Kind::Published(untaken(sent)));
    assert!(answers(told).is_empty(), "the client is told nothing yet");
    assert!(publishes(&world.wait(50)).is_empty(), "who did not take it is not asked again at once");
    let moved = link::Moved { room: "r".into(), epoch: 9, address: "b".into() };
    world.chatroom_says("a", chatroom_to_gateway::Kind::Moved(moved));
    let again = publishes(&world.wait(50));
    assert_eq!(again.iter().map(|(to, p)| (&**to, p.request)).collect::<Vec<_>>(), [("b", sent)]);
}

#[test]
fn a_late_refusal_of_one_owner_does_not_end_what_another_has() {
    let mut world = World::new();
    let sent = publishes(&world.publish(Some("k"))).remove(0).1.request;
    let moved = link::Moved { room: "r".into(), epoch: 9, address: "b".into() };
    assert_eq!(publishes(&world.chatroom_says("a", chatroom_to_gateway::Kind::Moved(moved))).len(), 1);
    let told = world.chatroom_says("a", chatroom_to_gateway::Kind::Published(untaken(sent)));
    assert!(told.is_empty());
    let told = answers(world.chatroom_says("b", chatroom_to_gateway::Kind::Published(reply(sent))));
    assert!(matches!(told.as_slice(), [ToShard::Published(_, Ok(_))]), "{told:?}");
}

#[test]
fn what_nobody_takes_is_given_up_at_its_deadline() {
    let mut world = World::new();
    let relay = world.open("r", cursor(7, [0; 4]));
    world.hub.from_link(Role::Chatroom, &address("a"), FromLink::Down);
    world.hub.take_actions();
    let mut asked = publishes(&world.publish(None));
    let mut tries = 0;
    while let Some((to, publish)) = asked.pop() {
        assert_eq!(to, relay);
        tries += 1;
        let refused = message_to_gateway::Kind::Published(untaken(publish.request));
        world.hub.from_link(Role::Message, &relay, FromLink::Message(refused));
        let done = world.wait(120);
        asked = publishes(&done);
        if asked.is_empty() {
            let told = answers(done);
            assert!(matches!(told.as_slice(), [ToShard::Published(_, Err(_))]), "{told:?}");
        }
    }
    assert!((5..=10).contains(&tries), "{tries} tries in the second that an answer may take");
}
