//! The promises of the relay, as properties and as stories: subscriptions and links here, the rest by subject.

mod every_number_once;
mod owners;
mod past;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::packed::{Codec, gaps, reached};
use super::testing::{Feed, Plain, room};
use super::*;
use crate::routes::{Owner, Routes};
use crate::{Cursor, Epoch, Gap, InstanceId, Lane, Millis, Seqs, Slot};

fn at(epoch: u64, seq: [u64; 4]) -> Cursor {
    Cursor { epoch: Epoch(epoch), seq: Seqs(seq) }
}

/// What a reader got, number by number: how often delivered, and whether declared.
#[derive(Debug, Default)]
struct Ledger(BTreeMap<(Epoch, Lane, u64), (u32, bool)>);

impl Ledger {
    fn add(&mut self, packed: &Packed) {
        let content = Plain.open(&packed.body).unwrap();
        for message in content.messages {
            self.0.entry((packed.epoch, message.lane, message.seq)).or_default().0 += 1;
        }
        self.declare(&content.gaps);
    }

    fn declare(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            for seq in gap.from..=gap.to {
                self.0.entry((gap.epoch, gap.lane, seq)).or_default().1 = true;
            }
        }
    }

    /// Every number of the epoch behind `after` and up to `last` once, delivered or declared, and nothing else of it.
    fn holds_exactly(&self, epoch: Epoch, after: Seqs, last: Seqs) -> Result<(), TestCaseError> {
        let wanted: Vec<_> = gaps(epoch, after, last)
            .flat_map(|gap| (gap.from..=gap.to).map(move |seq| (epoch, gap.lane, seq)))
            .collect();
        let have: Vec<_> = self.0.keys().filter(|(e, _, _)| *e == epoch).copied().collect();
        prop_assert_eq!(&have, &wanted);
        for (stamp, (times, declared)) in self.0.iter().filter(|((e, _, _), _)| *e == epoch) {
            prop_assert!(*times == 1 || (*times == 0 && *declared), "{:?} came {} times", stamp, times);
        }
        Ok(())
    }
}

/// What a gateway does with its stream: keeps its place, and insists that nothing is skipped in silence.
fn follow(down: &Downstream, place: &mut Cursor, ledger: &mut Ledger) {
    match down {
        Downstream::Subscribed { cursor, gaps, sealed, .. } => {
            ledger.declare(gaps);
            assert!(cursor.epoch == place.epoch || sealed.last().is_some_and(|end| end.next == cursor.epoch));
            *place = *cursor;
        }
        Downstream::Segment(packed) => {
            assert_eq!((packed.epoch, packed.after), (place.epoch, place.seq), "a hole or a repetition");
            ledger.add(packed);
            place.seq = packed.last;
        }
        Downstream::Sealed(_, sealed) => {
            assert!(sealed.epoch < place.epoch || reached(place.seq, sealed.last), "sealed before it was complete");
            if sealed.epoch == place.epoch {
                *place = Cursor { epoch: sealed.next, seq: Seqs::ZERO };
            }
        }
        _ => {}
    }
}

/// A relay with its shell: links by the name of the Pod, queues by gateway.
struct World {
    relay: Relay<Plain>,
    now: Millis,
    links: BTreeMap<String, LinkId>,
    ups: Vec<(LinkId, Upstream)>,
    queues: BTreeMap<GatewayId, std::collections::VecDeque<Downstream>>,
    dropped: Vec<GatewayId>,
    closed: Vec<LinkId>,
}

impl World {
    fn new(options: Options) -> Self {
        Self {
            relay: Relay::new(options, Plain, Millis(1_000)),
            now: Millis(1_000),
            links: BTreeMap::new(),
            ups: Vec::new(),
            queues: BTreeMap::new(),
            dropped: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// The last named Pod owns every slot.
    fn routes(&mut self, owners: &[(&str, u64)]) {
        let mut routes = Routes::default();
        for (name, epoch) in owners {
            for slot in Slot::all() {
                let owner =
                    Owner { instance: InstanceId::new(name).unwrap(), address: (*name).into(), epoch: Epoch(*epoch) };
                routes.rooms.set(slot, Some(owner));
            }
        }
        self.relay.set_routes(Arc::new(routes), self.now);
        self.run();
    }

    /// Carries out effects; every link comes up at once.
    fn run(&mut self) {
        loop {
            let effects: Vec<Effect> = self.relay.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Open { link, address } => {
                        self.links.insert(address.to_string(), link);
                        self.relay.link_up(link, self.now);
                    }
                    Effect::Close(link) => self.closed.push(link),
                    Effect::Up(link, message) => self.ups.push((link, message)),
                    Effect::Down(gateway, message) => self.queues.entry(gateway).or_default().push_back(message),
                    Effect::Drop(gateway) => self.dropped.push(gateway),
                }
            }
        }
    }

    fn link(&self, name: &str) -> LinkId {
        self.links[name]
    }

    fn gateway(&mut self, id: u32, cursor: Option<Cursor>) {
        self.relay.gateway_up(GatewayId(id));
        let wish = Subscription { room: room("r"), cursor, older: vec![], told: vec![] };
        self.relay.subscribe(GatewayId(id), &wish, self.now);
        self.run();
    }

    fn answer(&mut self, name: &str, cursor: Cursor, sealed: &[Sealed]) {
        self.relay.subscribed(self.link(name), &room("r"), cursor, sealed.to_vec(), self.now);
        self.run();
    }

    fn send(&mut self, name: &str, packed: Packed) {
        self.relay.segment(self.link(name), packed, self.now);
        self.run();
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.relay.next_due() <= end {
            self.now = self.now.max(self.relay.next_due());
            self.relay.tick(self.now);
            self.run();
        }
        self.now = end;
    }

    /// A gateway reads up to so many bytes; what it read is free again.
    fn drain(&mut self, id: u32, mut bytes: usize, seen: &mut dyn FnMut(&Downstream)) {
        while let Some(down) = self.queues.entry(GatewayId(id)).or_default().pop_front() {
            seen(&down);
            self.relay.credit(GatewayId(id), down.weight(), self.now);
            self.run();
            let Some(left) = bytes.checked_sub(down.weight()) else { return };
            bytes = left;
        }
    }

    fn got(&mut self, id: u32) -> Vec<Downstream> {
        let mut got = Vec::new();
        self.drain(id, usize::MAX, &mut |down| got.push(down.clone()));
        got
    }

    fn asked(&mut self) -> Vec<(LinkId, Option<Cursor>)> {
        let asked = self.ups.iter().filter_map(|(link, up)| match up {
            Upstream::Subscribe(wish) => Some((*link, wish.cursor)),
            _ => None,
        });
        let asked = asked.collect();
        self.ups.clear();
        asked
    }

    /// A room `r` that gateway 1 takes from Pod `a` in epoch 1.
    fn running() -> Self {
        let mut world = Self::new(Options::default());
        world.routes(&[("a", 1)]);
        world.gateway(1, None);
        world.answer("a", at(1, [0; 4]), &[]);
        world.got(1);
        world.ups.clear();
        world
    }
}

fn segments(got: &[Downstream]) -> Vec<Seqs> {
    got.iter()
        .filter_map(|down| if let Downstream::Segment(packed) = down { Some(packed.last) } else { None })
        .collect()
}

#[test]
fn two_gateways_cost_one_subscription_upstream() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[2]));
    world.gateway(2, None);
    assert_eq!(world.asked(), []);
    let expected =
        Downstream::Subscribed { room: room("r"), cursor: at(1, [0, 0, 1, 0]), gaps: vec![], sealed: vec![] };
    assert_eq!(world.got(2), [expected]);
    world.send("a", feed.next(&[2]));
    assert_eq!(segments(&world.got(1)).len(), 2);
    assert_eq!(segments(&world.got(2)), [Seqs([0, 0, 2, 0])]);
}

#[test]
fn a_gateway_with_a_cursor_goes_on_behind_it() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    for _ in 0..3 {
        world.send("a", feed.next(&[2, 1]));
    }
    world.gateway(2, Some(at(1, [0, 1, 2, 0])));
    let got = world.got(2);
    assert!(
        matches!(&got[0], Downstream::Subscribed { cursor, gaps, .. } if *cursor == at(1, [0, 1, 2, 0]) && gaps.is_empty())
    );
    let Downstream::Segment(first) = &got[1] else { panic!("{got:?}") };
    assert_eq!((first.after, first.last), (Seqs([0, 1, 2, 0]), Seqs([0, 2, 2, 0])));
}

#[test]
fn a_hole_is_mended_by_asking_again() {
    let mut world = World::running();
    let mut feed = Feed::new(1);
    world.send("a", feed.next(&[2]));
    let lost = feed.next(&[1]);
    let after = feed.next(&[2]);
    world.wait(300);
    world.send("a", after.clone());
    assert_eq!(world.asked(), [(world.link("a"), Some(at(1, [0, 0, 1, 0])))]);
    world.answer("a", at(1, [0, 0, 1, 0]), &[]);
    world.send("a", lost);
    world.send("a", after);
    assert_eq!(segments(&world.got(1)).len(), 3);
}

#[test]
fn a_room_without_gateways_is_given_up_after_a_linger() {
    let mut world = World::running();
    world.relay.unsubscribe(GatewayId(1), &room("r"), world.now);
    world.wait(4_900);
    assert_eq!(world.relay.counters().rooms, 1);
    world.wait(200);
    assert_eq!(world.ups, [(world.link("a"), Upstream::Unsubscribe(room("r")))]);
    assert_eq!((world.relay.counters().rooms, world.relay.counters().ring_bytes), (0, 0));
    world.wait(20_000);
    assert_eq!(world.closed, [world.link("a")]);
}

#[test]
fn audits_mend_both_hops() {
    let mut world = World::running();
    world.wait(10_000);
    assert!(world.ups.contains(&(world.link("a"), Upstream::Audit(vec![room("r")]))));
    world.relay.audit(GatewayId(1), &[room("other")], world.now);
    world.run();
    world.wait(5_001);
    assert!(world.relay.ring(&room("r")).is_none());
    world.relay.subscribed(world.link("a"), &room("other"), at(1, [0; 4]), vec![], world.now);
    world.run();
    assert!(matches!(&world.got(1)[..], [.., Downstream::Subscribed { room: id, .. }] if *id == room("other")));
}

#[test]
fn a_closed_room_is_forgotten_and_everybody_told() {
    let mut world = World::running();
    world.relay.closed(world.link("a"), &room("r"), &"idle".into(), world.now);
    world.run();
    assert_eq!(world.got(1), [Downstream::Closed { room: room("r"), reason: "idle".into() }]);
    assert_eq!(world.relay.counters().rooms, 0);
}

#[test]
fn a_gateway_that_takes_nothing_but_asks_is_dropped() {
    let mut world = World::running();
    world.relay = Relay::new(Options { window_bytes: 1_000, ..Options::default() }, Plain, world.now);
    world.routes(&[("a", 1)]);
    world.gateway(1, None);
    world.answer("a", at(1, [0; 4]), &[]);
    for request in 0..40 {
        let read = Read::Pull { request, epoch: Epoch(0), lane: Lane::Low, after: 0, limit: 1 };
        world.relay.read(GatewayId(1), &room("r"), read, world.now);
    }
    world.run();
    assert_eq!(world.dropped, [], "its questions wait until it reads the answers");
    assert_eq!(world.got(1).len(), 41);
    for seq in 1..40 {
        world.relay.deleted(world.link("a"), &room("r"), Epoch(1), Lane::Normal, seq, world.now);
    }
    world.run();
    assert_eq!(world.dropped, [GatewayId(1)]);
}
