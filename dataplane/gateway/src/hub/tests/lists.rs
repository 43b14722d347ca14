//! Full lists of members: who gets them, and when.

use super::*;

/// Batches that are complete lists: to whom, of which room, with how many people.
fn lists(actions: &[Action]) -> Vec<(String, String, usize)> {
    let rooms = |(to, batch): (Address, MemberBatch)| {
        let full = batch.rooms.into_iter().filter(|room| room.full);
        full.map(|room| (to.to_string(), room.room, room.changes.len())).collect::<Vec<_>>()
    };
    batches(actions).into_iter().flat_map(rooms).collect()
}

fn list(to: &str, room: &str, people: usize) -> (String, String, usize) {
    (to.to_owned(), room.to_owned(), people)
}

/// The reactor is asked who is in the room, and says so.
fn answered(world: &mut World, actions: Vec<Action>) -> Vec<(String, String, usize)> {
    let asked = answers(actions);
    assert!(matches!(asked.as_slice(), [ToShard::ListRoom(_)]), "{asked:?}");
    world.hub.from_shard(0, ToHub::RoomMembers(id("r"), vec![member(1), member(2), member(1)]));
    lists(&world.hub.take_actions())
}

fn now_owns(world: &mut World, owner: &str, epoch: u64) -> Vec<Action> {
    let mut routes = routes();
    let owner = Owner { instance: id(owner), address: address(owner), epoch: Epoch(epoch) };
    for slot in Slot::all() {
        routes.rooms.set(slot, Some(owner.clone()));
    }
    world.hub.routes(Arc::new(routes));
    world.hub.take_actions()
}

#[test]
fn who_asks_gets_everybody_although_the_routes_here_name_another_owner() {
    let mut world = World::new();
    world.open("r", cursor(7, [0; 4]));
    let asked = world.chatroom_says("b", chatroom_to_gateway::Kind::ListRoom("r".into()));
    assert_eq!(answered(&mut world, asked), [list("b", "r", 2)]);
    let nobody = world.chatroom_says("b", chatroom_to_gateway::Kind::ListRoom("nobody-here".into()));
    assert_eq!(lists(&nobody), [list("b", "nobody-here", 0)]);
}

#[test]
fn who_asks_while_a_list_is_collected_gets_the_next_one() {
    let mut world = World::new();
    world.open("r", cursor(7, [0; 4]));
    let first = world.chatroom_says("a", chatroom_to_gateway::Kind::ListRoom("r".into()));
    assert!(answers(world.chatroom_says("b", chatroom_to_gateway::Kind::ListRoom("r".into()))).is_empty());
    assert!(matches!(answers(first).as_slice(), [ToShard::ListRoom(_)]));
    world.hub.from_shard(0, ToHub::RoomMembers(id("r"), vec![member(1)]));
    let then = world.hub.take_actions();
    assert_eq!(lists(&then), [list("a", "r", 1)]);
    assert_eq!(
        answered(&mut world, then.into_iter().filter(|a| matches!(a, Action::Shard(..))).collect()),
        [list("b", "r", 2)]
    );
}

#[test]
fn a_reactor_that_never_answers_does_not_end_all_lists_of_a_room() {
    let mut world = World::new();
    world.open("r", cursor(7, [0; 4]));
    world.chatroom_says("a", chatroom_to_gateway::Kind::ListRoom("r".into()));
    world.wait(2000);
    let again = world.chatroom_says("b", chatroom_to_gateway::Kind::ListRoom("r".into()));
    assert_eq!(answered(&mut world, again), [list("a", "r", 2), list("b", "r", 2)]);
}

#[test]
fn a_new_owner_that_does_not_ask_gets_everybody_unasked() {
    let mut world = World::new();
    world.open("r", cursor(7, [0; 4]));
    assert!(answers(now_owns(&mut world, "b", 9)).is_empty());
    assert!(answers(world.wait(1900)).is_empty(), "it may still ask");
    let unasked = world.wait(100);
    assert_eq!(answered(&mut world, unasked), [list("b", "r", 2)]);
    assert!(answers(world.wait(10_000)).iter().all(|told| !matches!(told, ToShard::ListRoom(_))), "once");
}

#[test]
fn a_new_owner_that_has_asked_is_not_told_twice() {
    let mut world = World::new();
    world.open("r", cursor(7, [0; 4]));
    // It asks before the routes here name it.
    let asked = world.chatroom_says("b", chatroom_to_gateway::Kind::ListRoom("r".into()));
    assert_eq!(answered(&mut world, asked), [list("b", "r", 2)]);
    world.wait(300);
    now_owns(&mut world, "b", 9);
    assert!(answers(world.wait(3000)).iter().all(|told| !matches!(told, ToShard::ListRoom(_))));
    // The same Pod under another epoch knows nobody again.
    now_owns(&mut world, "b", 11);
    let unasked = world.wait(2000);
    assert_eq!(answered(&mut world, unasked), [list("b", "r", 2)]);
}

#[test]
fn an_owner_that_does_not_know_a_member_is_told_who_is_there() {
    let mut world = World::new();
    world.open("r", cursor(7, [0; 4]));
    let sent = publishes(&world.publish(None));
    let reply =
        link::PublishReply { request: sent[0].1.request, code: "not_joined".into(), ..link::PublishReply::default() };
    let told = world.chatroom_says("a", chatroom_to_gateway::Kind::Published(reply.clone()));
    let asked = told.into_iter().filter(|action| matches!(action, Action::Shard(_, ToShard::ListRoom(_)))).collect();
    assert_eq!(answered(&mut world, asked), [list("a", "r", 2)]);
    let again = publishes(&world.publish(None));
    let reply = link::PublishReply { request: again[0].1.request, ..reply };
    let told = answers(world.chatroom_says("a", chatroom_to_gateway::Kind::Published(reply)));
    assert!(matches!(told.as_slice(), [ToShard::Published(_, Err(_))]), "not for each message: {told:?}");
}
