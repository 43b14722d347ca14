//! What relays say comes to the reactors once and in order, whatever is lost, repeated or cut.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// So many messages are ordered on lanes 1 and 2, and reach the relay.
    Order(u64, u64),
    /// So many of the relay's segments are lost on the way.
    Lose,
    /// The last segment comes twice.
    Repeat,
    /// The relay's link breaks.
    Break,
    /// The owner changes.
    Seal,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..3, 0_u64..4).prop_map(|(a, b)| Step::Order(a, b)),
        1 => Just(Step::Lose),
        1 => Just(Step::Repeat),
        1 => Just(Step::Break),
        1 => Just(Step::Seal),
    ];
    prop::collection::vec(step, 1..40)
}

/// A relay that keeps everything.
struct Ring {
    log: Vec<link::Segment>,
    sealed: Vec<link::Sealed>,
    at: Cursor,
}

impl Ring {
    /// What it sends to a subscriber.
    fn answer(&self, subscribe: &link::SubscribeRoom) -> Vec<message_to_gateway::Kind> {
        let from = subscribe.cursor.as_ref().map_or(self.at, |cursor| convert::cursor(cursor).unwrap());
        let subscribed =
            Subscribed { room: "r".into(), cursor: Some(convert::to_cursor(from)), ..Subscribed::default() };
        let mut out = vec![message_to_gateway::Kind::Subscribed(subscribed)];
        let mut epoch = from.epoch.0;
        loop {
            // Whole segments, even where they begin before the cursor.
            let news = self.log.iter().filter(|segment| segment.epoch == epoch);
            let news =
                news.filter(|s| epoch > from.epoch.0 || s.last.iter().zip(from.seq.0).any(|(last, seq)| *last > seq));
            out.extend(news.cloned().map(message_to_gateway::Kind::Segment));
            let Some(sealed) = self.sealed.iter().find(|sealed| sealed.epoch == epoch) else { return out };
            out.push(message_to_gateway::Kind::Sealed(sealed.clone()));
            epoch = sealed.next_epoch;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is lost, repeated or cut: the reactors get every number once, in order, or its declaration, and the end
    /// of each epoch before the next begins.
    #[test]
    fn reactors_get_everything_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        let mut ring = Ring { log: Vec::new(), sealed: Vec::new(), at: cursor(7, [0; 4]) };
        world.open("r", ring.at);
        let mut got: Vec<ToShard> = Vec::new();
        let run = |world: &mut World, ring: &Ring, mut kinds: Vec<message_to_gateway::Kind>, got: &mut Vec<ToShard>| {
            for _ in 0..20 {
                let relay = world.hub.rooms.get(&id::<RoomId>("r")).and_then(|room| room.live_relay().cloned());
                for kind in kinds.drain(..) {
                    for name in ["m1", "m2"] {
                        if relay.as_ref().is_none_or(|relay| **relay == *name) || matches!(kind, message_to_gateway::Kind::Subscribed(_)) {
                            world.hub.from_link(Role::Message, &address(name), FromLink::Message(kind.clone()));
                        }
                    }
                }
                let actions = world.hub.take_actions();
                for (_, subscribe) in subscriptions(&actions) {
                    kinds.extend(ring.answer(&subscribe));
                }
                got.extend(answers(actions));
                if kinds.is_empty() {
                    return;
                }
            }
            panic!("it asks again and again");
        };
        for step in steps {
            let mut kinds = Vec::new();
            match step {
                Step::Order(protected, normal) => {
                    let after = ring.at.seq;
                    let mut messages = Vec::new();
                    for (lane, count) in [(Lane::Protected, protected), (Lane::Normal, normal)] {
                        for _ in 0..count {
                            ring.at.seq[lane] += 1;
                            messages.push(throng_core::Message {
                                lane, seq: ring.at.seq[lane], from: id("x"), kind: "t".into(), data: "1".into(), at_ms: Millis(1),
                            });
                        }
                    }
                    if !messages.is_empty() {
                        let segment = throng_core::Segment { room: id("r"), epoch: ring.at.epoch, after, messages, gaps: Vec::new() };
                        ring.log.push(convert::to_segment(&segment));
                        kinds.push(message_to_gateway::Kind::Segment(convert::to_segment(&segment)));
                    }
                }
                Step::Lose => {
                    ring.at.seq[Lane::Normal] += 1;
                    let after = Seqs([0, 0, ring.at.seq[Lane::Normal] - 1, 0]).max(Seqs([0, ring.at.seq[Lane::Protected], 0, 0]));
                    let lost = throng_core::Message {
                        lane: Lane::Normal, seq: ring.at.seq[Lane::Normal], from: id("x"), kind: "t".into(), data: "1".into(), at_ms: Millis(1),
                    };
                    let segment = throng_core::Segment { room: id("r"), epoch: ring.at.epoch, after, messages: vec![lost], gaps: Vec::new() };
                    ring.log.push(convert::to_segment(&segment));
                }
                Step::Repeat => kinds.extend(ring.log.last().cloned().map(message_to_gateway::Kind::Segment)),
                Step::Break => {
                    let relay = world.hub.rooms.get(&id::<RoomId>("r")).and_then(|room| room.live_relay().cloned());
                    if let Some(relay) = relay {
                        world.hub.from_link(Role::Message, &relay, FromLink::Down);
                        world.hub.from_link(Role::Message, &relay, FromLink::Up);
                    }
                }
                Step::Seal => {
                    let next = ring.at.epoch.0 + 2;
                    let sealed = link::Sealed { room: "r".into(), epoch: ring.at.epoch.0, last: ring.at.seq.0.to_vec(), next_epoch: next };
                    ring.sealed.push(sealed.clone());
                    ring.at = cursor(next, [0; 4]);
                    kinds.push(message_to_gateway::Kind::Sealed(sealed));
                }
            }
            run(&mut world, &ring, kinds, &mut got);
        }
        let mut at = cursor(7, [0; 4]);
        for message in got {
            match message {
                ToShard::Segment(segment) => {
                    prop_assert_eq!(segment.epoch, at.epoch);
                    prop_assert_eq!(segment.after, at.seq);
                    for message in &segment.messages {
                        prop_assert_eq!(message.seq, at.seq[message.lane] + 1);
                        at.seq[message.lane] = message.seq;
                    }
                    at.seq = at.seq.max(segment.last());
                }
                ToShard::Sealed { sealed, gaps, at: next } => {
                    prop_assert_eq!(sealed.epoch, at.epoch);
                    for gap in gaps {
                        prop_assert_eq!(gap.from, at.seq[gap.lane] + 1);
                        at.seq[gap.lane] = gap.to;
                    }
                    prop_assert_eq!(at.seq, sealed.last);
                    at = next.unwrap();
                }
                ToShard::Declared { gaps, at: next, .. } => {
                    for gap in gaps {
                        prop_assert_eq!(gap.from, at.seq[gap.lane] + 1);
                        at.seq[gap.lane] = gap.to;
                    }
                    prop_assert_eq!(at, next);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_a_relay_said_before_it_was_asked_again_is_passed_over_with_the_end_that_followed() {
    let mut world = World::new();
    let relay = world.open("r", cursor(7, [0, 2, 0, 0]));
    let other = if &*relay == "m1" { address("m2") } else { address("m1") };
    for lost in [&relay, &other] {
        world.wait(300);
        let kind = message_to_gateway::Kind::Lost("r".into());
        world.hub.from_link(Role::Message, lost, FromLink::Message(kind));
    }
    assert_eq!(subscriptions(&world.hub.take_actions()).pop().unwrap().0, relay);
    let sealed = link::Sealed { room: "r".into(), epoch: 7, last: vec![0, 3, 0, 0], next_epoch: 9 };
    let kind = message_to_gateway::Kind::Sealed(sealed.clone());
    world.hub.from_link(Role::Message, &relay, FromLink::Message(kind.clone()));
    assert!(world.hub.take_actions().is_empty(), "number 3 comes again after the answer");
    world.subscribed(&relay, "r", cursor(7, [0, 2, 0, 0]));
    world.hub.take_actions();
    world.hub.from_link(Role::Message, &relay, FromLink::Message(kind));
    let [Action::Shard(0, ToShard::Sealed { .. })] = &world.hub.take_actions()[..] else { panic!("the end") };
}

#[test]
fn a_relay_that_goes_on_in_a_later_epoch_without_an_end_of_the_one_before_leaves_no_hole() {
    let mut world = World::new();
    let relay = world.open("r", cursor(7, [0, 2, 0, 0]));
    world.subscribed(&relay, "r", cursor(9, [0, 1, 0, 0]));
    let actions = world.hub.take_actions();
    let [Action::Shard(0, ToShard::Sealed { sealed, .. }), Action::Shard(0, ToShard::Declared { gaps, .. }), ..] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((sealed.epoch, sealed.last, sealed.next_epoch), (Epoch(7), Seqs([0, 2, 0, 0]), Epoch(9)));
    assert_eq!(gaps[..], [throng_core::Gap { epoch: Epoch(9), lane: Lane::Protected, from: 1, to: 1 }]);
}
