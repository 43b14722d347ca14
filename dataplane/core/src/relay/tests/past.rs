//! What was said before: from the rings, from the owner, from its log; and how long it is kept.

use super::*;

#[test]
fn a_link_that_comes_back_goes_on_and_what_the_owner_no_longer_has_is_declared() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[2]));
    world.relay.link_down(world.link("a"), world.now);
    world.wait(1_100);
    assert!(world.got(1).contains(&Downstream::Lost(room("r"))));
    world.relay.link_up(world.link("a"), world.now);
    world.run();
    assert_eq!(world.asked(), [(world.link("a"), Some(at(1, [0, 0, 1, 0])))]);
    world.answer("a", at(1, [0, 0, 5, 0]), &[]);
    let Some(Downstream::Segment(declared)) = world.got(1).pop() else { panic!() };
    assert_eq!(Plain.open(&declared.body).unwrap().gaps, [Gap { epoch: Epoch(1), lane: Lane::Normal, from: 2, to: 5 }]);
}

#[test]
fn what_lies_before_the_ring_is_fetched_from_the_owner_once() {
    let mut world = World::new(Options::default());
    let mut feed = Feed::new(1);
    let past: Vec<Packed> = (0..4).map(|_| feed.next(&[1, 2])).collect();
    world.routes(&[("a", 1)]);
    world.gateway(1, None);
    world.answer("a", Cursor { epoch: Epoch(1), seq: feed.head }, &[]);
    world.ups.clear();
    let read = |since| Read::CatchUp { request: 7, since, until: None };
    world.relay.read(GatewayId(1), &room("r"), read(at(1, [0, 1, 1, 0])), world.now);
    world.run();
    assert_eq!(world.asked(), [(world.link("a"), Some(at(1, [0; 4])))]);
    world.answer("a", at(1, [0; 4]), &[]);
    world.got(1);
    for packed in past {
        world.send("a", packed);
    }
    let got = world.got(1);
    let [Downstream::CaughtUp { room: _, request: 7, answer: Ok(found) }] = &got[..] else { panic!("{got:?}") };
    assert!(found.recovered && found.segments.len() == 3, "{found:?}");
    world.send("a", feed.next(&[2]));
    assert_eq!(segments(&world.got(1)).len(), 1, "the live stream went on untouched");
    world.relay.read(GatewayId(1), &room("r"), read(at(1, [0, 0, 0, 0])), world.now);
    world.run();
    assert_eq!(world.asked(), []);
}

#[test]
fn history_goes_back_over_a_take_over() {
    let mut world = World::new(Options::default());
    world.routes(&[("b", 5)]);
    world.gateway(1, None);
    let mut old = Feed::new(1);
    let said = old.next(&[1, 2]);
    let sealed = Sealed { epoch: Epoch(1), last: old.head, next: Epoch(5) };
    world.answer("b", at(5, [0; 4]), &[sealed]);
    world.got(1);
    world.ups.clear();
    world.relay.read(GatewayId(1), &room("r"), Read::History { request: 1, limit: 50, until: None }, world.now);
    world.run();
    assert_eq!(world.asked(), [(world.link("b"), Some(at(1, [0; 4])))]);
    world.answer("b", at(1, [0; 4]), &[]);
    world.send("b", said.clone());
    world.relay.sealed(world.link("b"), &room("r"), sealed, world.now);
    world.run();
    let got = world.got(1);
    let [Downstream::CaughtUp { answer: Ok(found), .. }] = &got[..] else { panic!("{got:?}") };
    assert_eq!(found.segments.iter().map(|packed| packed.last).collect::<Vec<_>>(), [said.last]);
}

#[test]
fn a_pull_of_what_no_ring_holds_is_read_in_the_owners_log() {
    let mut world = World::running();
    let limits = Limits { room_bytes: 700, ..Limits::default() };
    world.relay = Relay::new(Options { limits, ..Options::default() }, Plain, world.now);
    world.routes(&[("a", 1)]);
    world.gateway(1, None);
    world.answer("a", at(1, [0; 4]), &[]);
    let mut feed = Feed::new(1);
    (0..6).for_each(|_| world.send("a", feed.next(&[1])));
    let held = world.relay.ring(&room("r")).unwrap().start().seq[Lane::Protected];
    assert_eq!(held, 2, "the first have left the ring");
    world.got(1);
    world.ups.clear();
    let pull = |request, limit| Read::Pull { request, epoch: Epoch(0), lane: Lane::Protected, after: 0, limit };
    for (request, limit) in [(1, 9), (2, 9), (3, 2)] {
        world.relay.read(GatewayId(1), &room("r"), pull(request, limit), world.now);
        world.run();
    }
    let range = |limit| LogRange { epoch: Epoch(1), lane: Lane::Protected, after: 0, limit };
    let asked = |limit| (world.link("a"), Upstream::ReadLog(room("r"), range(limit)));
    assert_eq!(world.ups, [asked(9), asked(2)], "the same question is asked once");
    assert_eq!(world.got(1), []);

    let stored = |numbers: &[u64]| LogPage {
        messages: numbers.iter().map(|seq| super::testing::message(Lane::Protected, *seq)).collect(),
        last: 5,
    };
    world.relay.log_read(world.link("a"), &room("r"), range(9), &stored(&[1, 3, 4, 5]), world.now);
    world.run();
    let got = world.got(1);
    let [Downstream::Pulled { request: 1, answer: Ok(one) }, Downstream::Pulled { request: 2, answer: Ok(two) }] =
        &got[..]
    else {
        panic!("{got:?}")
    };
    let numbers = |page: &Page| page.content.messages.iter().map(|message| message.seq).collect::<Vec<_>>();
    assert_eq!((numbers(one), one), (vec![1, 3, 4, 5, 6], two), "2 was deleted; 6 is not stored yet");
    assert_eq!(one.content.gaps, [Gap { epoch: Epoch(1), lane: Lane::Protected, from: 2, to: 2 }]);

    // The log does not answer the other question: the reader gets what the ring has.
    world.wait(1_001);
    let got = world.got(1);
    let [Downstream::Pulled { request: 3, answer: Ok(page) }] = &got[..] else { panic!("{got:?}") };
    assert_eq!(numbers(page)[0], held + 1);
}

#[test]
fn what_an_owner_does_not_fetch_in_time_is_declared() {
    let mut world = World::new(Options::default());
    world.routes(&[("b", 5)]);
    world.gateway(1, None);
    let sealed = Sealed { epoch: Epoch(1), last: Seqs([0, 2, 0, 0]), next: Epoch(5) };
    world.answer("b", at(5, [0, 1, 0, 0]), &[sealed]);
    world.gateway(2, Some(at(1, [0, 1, 0, 0])));
    world.wait(1_990);
    assert_eq!(world.got(2), []);
    world.wait(20);
    let gap = |epoch, seq| Gap { epoch: Epoch(epoch), lane: Lane::Protected, from: seq, to: seq };
    let gaps = vec![gap(1, 2), gap(5, 1)];
    let expected = Downstream::Subscribed { room: room("r"), cursor: at(5, [0, 1, 0, 0]), gaps, sealed: vec![sealed] };
    assert_eq!(world.got(2), [expected]);
}

#[test]
fn an_answer_of_the_owner_is_not_waited_for_longer_than_a_second() {
    let mut world = World::new(Options::default());
    world.routes(&[("a", 1)]);
    world.gateway(1, None);
    world.answer("a", at(1, [0, 5, 5, 0]), &[]);
    world.got(1);
    let read = Read::CatchUp { request: 7, since: at(1, [0, 3, 5, 0]), until: None };
    world.relay.read(GatewayId(1), &room("r"), read, world.now);
    world.run();
    world.wait(1_001);
    let got = world.got(1);
    let [Downstream::CaughtUp { answer: Ok(found), .. }] = &got[..] else { panic!("{got:?}") };
    assert!(!found.recovered);
    assert_eq!(found.gaps, [Gap { epoch: Epoch(1), lane: Lane::Protected, from: 4, to: 5 }]);
}

#[test]
fn a_cursor_that_cannot_be_is_a_typed_error() {
    let mut world = World::running();
    world.send("a", Feed::new(1).next(&[2]));
    for (since, error) in [
        (at(1, [0, 0, 2, 0]), ReadError::Future),
        (at(3, [0; 4]), ReadError::Future),
        (at(0, [1; 4]), ReadError::UnknownEpoch),
    ] {
        world.got(1);
        let read = Read::CatchUp { request: 1, since, until: None };
        world.relay.read(GatewayId(1), &room("r"), read, world.now);
        world.run();
        world.wait(1_001);
        assert_eq!(world.got(1), [Downstream::CaughtUp { room: room("r"), request: 1, answer: Err(error) }]);
    }
    for (epoch, after, error) in [(0, 9, ReadError::Future), (3, 0, ReadError::NoEpoch)] {
        let pull = Read::Pull { request: 2, epoch: Epoch(epoch), lane: Lane::Normal, after, limit: 5 };
        world.relay.read(GatewayId(1), &room("r"), pull, world.now);
        world.run();
        assert_eq!(world.got(1), [Downstream::Pulled { request: 2, answer: Err(error) }]);
    }
}

#[test]
fn a_deleted_message_is_served_to_nobody_and_does_not_spoil_a_recovery() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    (0..3).for_each(|_| world.send("a", feed.next(&[1])));
    world.relay.deleted(world.link("a"), &room("r"), Epoch(1), Lane::Protected, 2, world.now);
    world.run();
    assert!(matches!(world.got(1).last(), Some(Downstream::Deleted { seq: 2, .. })));
    let numbers = |content: Content| content.messages.iter().map(|m| m.seq).collect::<Vec<_>>();
    let mut ring = world.relay.ring(&room("r")).unwrap().pull(Epoch(1), Lane::Protected, 0, 9, &Plain).unwrap();
    assert_eq!(ring.content.gaps.pop(), Some(Gap { epoch: Epoch(1), lane: Lane::Protected, from: 2, to: 2 }));
    assert_eq!(numbers(ring.content), [1, 3]);
    for read in [
        Read::CatchUp { request: 1, since: at(1, [0; 4]), until: None },
        Read::History { request: 1, limit: 9, until: None },
    ] {
        world.relay.read(GatewayId(1), &room("r"), read, world.now);
        world.run();
        let got = world.got(1);
        let [Downstream::CaughtUp { answer: Ok(found), .. }] = &got[..] else { panic!("{got:?}") };
        let all: Vec<u64> = found.segments.iter().flat_map(|p| numbers(Plain.open(&p.body).unwrap())).collect();
        assert_eq!(all, [1, 3]);
        assert!(found.recovered);
    }
}

#[test]
fn history_is_the_last_messages_of_lanes_0_to_2_up_to_the_gateways_place() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    (0..6).for_each(|_| world.send("a", feed.next(&[2, 3])));
    let read = Read::History { request: 1, limit: 3, until: Some(at(1, [0, 0, 5, 5])) };
    world.got(1);
    world.relay.read(GatewayId(1), &room("r"), read, world.now);
    world.run();
    let got = world.got(1);
    let [Downstream::CaughtUp { answer: Ok(found), .. }] = &got[..] else { panic!("{got:?}") };
    let messages = Plain.open(&found.segments[0].body).unwrap().messages;
    assert_eq!(messages.iter().map(|m| (m.lane, m.seq)).collect::<Vec<_>>(), [3, 4, 5].map(|seq| (Lane::Normal, seq)));
}

#[test]
fn all_rings_together_stay_inside_the_bound_of_the_pod() {
    let mut world = World::running();
    world.relay = Relay::new(Options { ring_bytes: 20_000, ..Options::default() }, Plain, world.now);
    world.routes(&[("a", 1)]);
    world.relay.gateway_up(GatewayId(1));
    let mut feeds: Vec<Feed> = (0..10).map(|n| Feed { room: room(&format!("r{n}")), ..Feed::new(1) }).collect();
    for feed in &feeds {
        let wish = Subscription { room: feed.room.clone(), cursor: None, older: vec![], told: vec![] };
        world.relay.subscribe(GatewayId(1), &wish, world.now);
        world.run();
        world.relay.subscribed(world.link("a"), &feed.room, at(1, [0; 4]), vec![], world.now);
    }
    for round in 0..300 {
        let packed = feeds[round % 10].next(&[1]);
        world.send("a", packed);
        assert!(world.relay.counters().ring_bytes <= 20_000);
    }
    let kept: usize = feeds.iter().map(|feed| world.relay.ring(&feed.room).unwrap().bytes()).sum();
    assert_eq!(kept as u64, world.relay.counters().ring_bytes);
}

#[test]
fn lanes_2_and_3_are_kept_a_minute_and_lanes_0_and_1_ten() {
    let mut world = World::running();
    let limits = Limits { quiet_bytes: 0, ..Limits::default() };
    world.relay = Relay::new(Options { limits, ..Options::default() }, Plain, world.now);
    world.routes(&[("a", 1)]);
    world.gateway(1, None);
    world.answer("a", at(1, [0; 4]), &[]);
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[1, 2]));
    world.wait(61_000);
    world.send("a", feed.next(&[2]));
    let ring = world.relay.ring(&room("r")).unwrap();
    assert_eq!(ring.pull(Epoch(1), Lane::Normal, 0, 9, &Plain).unwrap().content.messages.len(), 1);
    assert_eq!(ring.pull(Epoch(1), Lane::Protected, 0, 9, &Plain).unwrap().content.messages.len(), 1);
    world.wait(600_000);
    let ring = world.relay.ring(&room("r")).unwrap();
    assert_eq!((ring.bytes(), ring.start()), (0, at(1, [0, 1, 2, 0])));
}

#[test]
fn a_quiet_room_keeps_its_history() {
    let mut world = World::running();
    world.send("a", Feed::new(1).next(&[2]));
    world.wait(590_000);
    let ring = world.relay.ring(&room("r")).unwrap();
    assert_eq!(ring.pull(Epoch(1), Lane::Normal, 0, 9, &Plain).unwrap().content.messages.len(), 1);
}
