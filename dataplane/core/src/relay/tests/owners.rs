//! Owners change: what is taken from whom, and where an epoch ends.

use super::*;

#[test]
fn a_new_owner_is_asked_from_where_the_log_ends_and_its_seal_comes_first() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[2, 1]));
    world.routes(&[("b", 5)]);
    assert_eq!(world.ups[0], (world.link("a"), Upstream::Unsubscribe(room("r"))));
    assert_eq!(world.asked(), [(world.link("b"), Some(at(1, [0, 1, 1, 0])))]);
    world.send("a", feed.next(&[2]));
    let sealed = Sealed { epoch: Epoch(1), last: Seqs([0, 1, 3, 0]), next: Epoch(5) };
    world.answer("b", at(5, [0; 4]), &[sealed]);
    world.send("b", Feed::new(5).next(&[2]));
    let got = world.got(1);
    assert_eq!(segments(&got), [Seqs([0, 1, 1, 0]), Seqs([0, 1, 3, 0]), Seqs([0, 0, 1, 0])]);
    assert_eq!(got[2], Downstream::Sealed(room("r"), sealed));
    assert_eq!(world.relay.counters().stale, 1, "the straggler of the owner before");
}

#[test]
fn history_of_the_old_epoch_from_the_new_owner_is_taken_before_the_seal() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[1]));
    world.routes(&[("b", 5)]);
    world.answer("b", at(1, [0, 1, 0, 0]), &[]);
    world.send("b", feed.next(&[1]));
    world.relay.sealed(
        world.link("b"),
        &room("r"),
        Sealed { epoch: Epoch(1), last: feed.head, next: Epoch(5) },
        world.now,
    );
    world.run();
    let mut ledger = Ledger::default();
    let mut place = at(1, [0; 4]);
    world.got(1).iter().for_each(|down| follow(down, &mut place, &mut ledger));
    assert!(ledger.0.values().all(|got| *got == (1, false)), "{ledger:?}");
    assert_eq!(place, at(5, [0; 4]));
}

#[test]
fn an_owner_that_never_says_how_an_epoch_ended_is_asked_three_times_and_then_believed() {
    let mut world = World::running();
    world.send("a", Feed::new(1).next(&[2]));
    world.routes(&[("a", 5)]);
    for _ in 0..5 {
        world.answer("a", at(5, [0; 4]), &[]);
        world.wait(250);
    }
    let sealed = Sealed { epoch: Epoch(1), last: Seqs([0, 0, 1, 0]), next: Epoch(5) };
    assert!(world.got(1).contains(&Downstream::Sealed(room("r"), sealed)));
    world.send("a", Feed::new(5).next(&[2]));
    assert_eq!(segments(&world.got(1)).len(), 1);
}

#[test]
fn after_a_promise_nothing_is_taken_from_an_older_owner() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[2]));
    let slot = Slot::of("r");
    let gathered = world.relay.gather(&[(slot, Epoch(9))], 1 << 20, world.now).rooms;
    world.run();
    assert_eq!(gathered[0].seen, [at(1, [0, 0, 1, 0])]);
    assert_eq!(gathered[0].tail.len(), 1);
    assert!(world.ups.contains(&(world.link("a"), Upstream::Stale { slot, epoch: Epoch(9) })));
    world.got(1);
    world.send("a", feed.next(&[2]));
    assert_eq!(segments(&world.got(1)), []);
    assert_eq!(world.relay.gather(&[(slot, Epoch(8))], 1 << 20, world.now).stale, [(slot, Epoch(9))]);
    world.routes(&[("b", 8)]);
    assert_eq!(world.asked(), [], "its epoch is below the promise");
    world.routes(&[("b", 9)]);
    assert_eq!(world.asked(), [(world.link("b"), Some(at(1, [0, 0, 1, 0])))]);
    // A room that nobody took at the time of the promise is bound by it too.
    world.routes(&[("b", 7)]);
    let other = (0..1 << 20).map(|n| room(&format!("r{n}"))).find(|id| Slot::of(id.as_str()) == slot).unwrap();
    let wish = Subscription { room: other, cursor: None, older: vec![], told: vec![] };
    world.relay.subscribe(GatewayId(1), &wish, world.now);
    world.run();
    assert_eq!(world.asked(), []);
}

#[test]
fn what_was_seen_of_a_later_owner_binds_its_whole_slot() {
    let mut world = World::running();
    let slot = Slot::of("r");
    world.routes(&[("b", 9)]);
    assert_eq!(world.relay.gather(&[(slot, Epoch(8))], 1 << 20, world.now).stale, [], "a claim is not seen");
    world.answer("b", at(1, [0; 4]), &[]);
    world.send("b", Feed::new(9).next(&[2]));
    assert_eq!(world.relay.gather(&[(slot, Epoch(8))], 1 << 20, world.now).stale, [(slot, Epoch(9))]);
}

#[test]
fn an_end_told_by_another_relay_stops_the_old_owner_and_reaches_the_new_one() {
    let mut world = World::running();
    let told = Sealed { epoch: Epoch(1), last: Seqs([0, 0, 7, 0]), next: Epoch(5) };
    world.relay.gateway_up(GatewayId(2));
    let wish = Subscription { room: room("r"), cursor: Some(at(5, [0; 4])), older: vec![], told: vec![told] };
    world.relay.subscribe(GatewayId(2), &wish, world.now);
    world.run();
    world.send("a", Feed::new(1).next(&[2]));
    assert_eq!(segments(&world.got(1)), []);
    world.routes(&[("b", 5)]);
    let Some((_, Upstream::Subscribe(wish))) = world.ups.last() else { panic!("{:?}", world.ups) };
    assert_eq!((wish.cursor, &wish.told), (Some(at(1, [0; 4])), &vec![told]));
}

/// A relay that nobody asked anything subscribes at the new owner from now on; a gateway that stands in the epoch before
/// then comes to it.
#[test]
fn a_relay_that_came_late_to_a_new_owner_fetches_what_a_gateway_of_the_old_epoch_lacks() {
    let mut world = World::new(Options::default());
    world.routes(&[("b", 5)]);
    world.gateway(1, None);
    let (mut old, mut new) = (Feed::new(1), Feed::new(5));
    let seen = old.next(&[1]);
    let (unseen, first) = (old.next(&[1, 2]), new.next(&[1]));
    let sealed = Sealed { epoch: Epoch(1), last: old.head, next: Epoch(5) };
    world.answer("b", Cursor { epoch: Epoch(5), seq: new.head }, &[sealed]);
    world.ups.clear();

    let since = Cursor { epoch: Epoch(1), seq: seen.last };
    world.gateway(2, Some(since));
    assert_eq!(world.asked(), [(world.link("b"), Some(at(1, [0; 4])))]);
    world.answer("b", at(1, [0; 4]), &[]);
    world.send("b", seen);
    world.send("b", unseen);
    assert_eq!(world.got(2), []);
    world.relay.sealed(world.link("b"), &room("r"), sealed, world.now);
    world.send("b", first);
    world.send("b", new.next(&[1]));

    let (mut ledger, mut place) = (Ledger::default(), since);
    world.got(2).iter().for_each(|down| follow(down, &mut place, &mut ledger));
    assert!(ledger.0.values().all(|got| *got == (1, false)), "{ledger:?}");
    assert_eq!(place, Cursor { epoch: Epoch(5), seq: new.head });
    let got = world.got(1);
    assert_eq!(segments(&got), [new.head], "who was there before hears nothing of it: {got:?}");
    // What was fetched is here for the next one, history included.
    world.relay.read(GatewayId(1), &room("r"), Read::History { request: 1, limit: 50, until: None }, world.now);
    world.gateway(3, Some(at(1, [0; 4])));
    assert_eq!(world.asked(), []);
    let (mut ledger, mut place) = (Ledger::default(), at(1, [0; 4]));
    world.got(3).iter().for_each(|down| follow(down, &mut place, &mut ledger));
    assert!(ledger.0.values().all(|got| *got == (1, false)) && ledger.0.len() == 5, "{ledger:?}");
}

#[test]
fn moved_leads_to_the_new_owner_before_the_routes_know() {
    let mut world = World::running();
    world.relay.moved(world.link("a"), &room("r"), Epoch(5), "b", world.now);
    world.run();
    assert_eq!(world.asked(), [(world.link("b"), Some(at(1, [0; 4])))]);
    world.relay.moved(world.link("b"), &room("r"), Epoch(0), "", world.now);
    world.run();
    assert_eq!(world.asked(), []);
    world.wait(301);
    assert_eq!(
        world.asked(),
        [(world.link("b"), Some(at(1, [0; 4])))],
        "the claim may be ahead of the Pod that made it"
    );
}
