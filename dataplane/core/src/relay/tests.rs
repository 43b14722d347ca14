//! The promises of the relay, as properties and as stories.

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

/// Owner events of a room: segments (lanes of their messages), or the next epoch.
fn story() -> impl Strategy<Value = Vec<Option<Vec<u8>>>> {
    let segment = prop::collection::vec(0u8..4, 1..4).prop_map(Some);
    prop::collection::vec(prop_oneof![9 => segment, 1 => Just(None)], 1..60)
}

fn tell(ring: &mut Ring, feed: &mut Feed, event: Option<&Vec<u8>>, now: Millis) {
    if let Some(lanes) = event {
        assert_eq!(ring.take(feed.next(lanes), now, &Plain), Taken::New);
    } else {
        let sealed = Sealed { epoch: Epoch(feed.epoch), last: feed.head, next: Epoch(feed.epoch + 1) };
        assert_eq!(ring.seal(sealed, now, &Plain), Some(true));
        *feed = Feed::new(feed.epoch + 1);
    }
}

proptest! {
    /// Whatever was dropped, stripped or deleted meanwhile: what lies between two cursors comes exactly once.
    #[test]
    fn a_catch_up_holds_every_number_once(
        events in story(), step in 0u64..9_000, picks in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        skew in prop::array::uniform4(0u64..3), deleted in 0u64..20, small in any::<bool>(),
    ) {
        let limits = if small { Limits { room_bytes: 3_000, quiet_bytes: 0, catch_up_bytes: 100, ..Limits::default() } } else { Limits::default() };
        let mut feed = Feed::new(1);
        let mut ring = Ring::new(room("r"), at(1, [0; 4]), limits);
        let mut heads = vec![ring.head()];
        let mut ends: BTreeMap<Epoch, Seqs> = BTreeMap::new();
        for (i, event) in events.iter().enumerate() {
            tell(&mut ring, &mut feed, event.as_ref(), Millis(i as u64 * step));
            heads.push(ring.head());
            ends.insert(Epoch(feed.epoch), feed.head);
            if event.is_none() { ends.insert(Epoch(feed.epoch - 1), heads[heads.len() - 2].seq); }
            if deleted == i as u64 { ring.delete(Epoch(feed.epoch), Lane::Normal, feed.head[Lane::Normal], &Plain); }
        }
        let (a, b) = (picks.0.index(heads.len()), picks.1.index(heads.len()));
        let (mut since, until) = (heads[a.min(b)], heads[a.max(b)]);
        for lane in Lane::ALL { since.seq[lane] = since.seq[lane].saturating_sub(skew[lane.index()]); }
        let found = ring.catch_up(since, Some(until), &Plain).unwrap();
        prop_assert_eq!(found.cursor, until);
        let mut ledger = Ledger::default();
        found.segments.iter().for_each(|packed| ledger.add(packed));
        ledger.declare(&found.gaps);
        for epoch in since.epoch.0..=until.epoch.0 {
            let epoch = Epoch(epoch);
            let after = if epoch == since.epoch { since.seq } else { Seqs::ZERO };
            let last = if epoch == until.epoch { until.seq } else { ends[&epoch] };
            ledger.holds_exactly(epoch, after, last)?;
        }
        prop_assert_eq!(found.sealed.iter().map(|s| s.epoch.0).collect::<Vec<_>>(), (since.epoch.0..until.epoch.0).collect::<Vec<_>>());
        let lossless_lost = ledger.0.iter().any(|((_, lane, _), (times, _))| lane.is_lossless() && *times == 0);
        prop_assert_eq!(found.recovered, !lossless_lost);
    }

    /// A gateway that reads when it likes, and a client that comes back through it: live and caught up, every number once.
    #[test]
    fn live_and_caught_up_together_hold_every_number_once(
        events in story(), reads in prop::collection::vec(0usize..3_000, 60), away in 0usize..60, window in 300usize..3_000, tiny in any::<bool>(),
    ) {
        let limits = Limits { room_bytes: if tiny { 2_000 } else { 1 << 20 }, ..Limits::default() };
        let mut world = World::new(Options { limits, window_bytes: window, ..Options::default() });
        world.routes(&[("a", 1)]);
        world.gateway(1, None);
        world.answer("a", at(1, [0; 4]), &[]);
        let mut feed = Feed::new(1);
        let mut live = Ledger::default();
        let mut client = Ledger::default();
        let (mut place, mut client_at, mut ends) = (at(1, [0; 4]), None, BTreeMap::new());
        for (i, event) in events.iter().enumerate() {
            world.now = world.now + 10;
            if let Some(lanes) = event {
                world.relay.segment(world.link("a"), feed.next(lanes), world.now);
            } else {
                let sealed = Sealed { epoch: Epoch(feed.epoch), last: feed.head, next: Epoch(feed.epoch + 1) };
                ends.insert(sealed.epoch, sealed.last);
                world.relay.sealed(world.link("a"), &room("r"), sealed, world.now);
                feed = Feed::new(feed.epoch + 1);
            }
            world.run();
            let budget = if i + 1 == events.len() { usize::MAX } else { reads[i % reads.len()] };
            world.drain(1, budget, &mut |down| follow(down, &mut place, &mut live));
            if i == away { client_at = Some(place); }
        }
        // The gateway reads on until nothing is left.
        world.drain(1, usize::MAX, &mut |down| follow(down, &mut place, &mut live));
        ends.insert(Epoch(feed.epoch), feed.head);
        prop_assert_eq!(place, Cursor { epoch: Epoch(feed.epoch), seq: feed.head });
        for (epoch, last) in &ends { live.holds_exactly(*epoch, Seqs::ZERO, *last)?; }
        if let Some(since) = client_at {
            world.relay.read(GatewayId(1), &room("r"), Read::CatchUp { request: 1, since, until: Some(place) }, world.now);
            world.run();
            let mut answered = false;
            world.drain(1, usize::MAX, &mut |down| if let Downstream::CaughtUp { answer: Ok(found), .. } = down {
                answered = true;
                found.segments.iter().for_each(|packed| client.add(packed));
                client.declare(&found.gaps);
            });
            prop_assert!(answered);
            for (epoch, last) in ends.range(since.epoch..) {
                let after = if *epoch == since.epoch { since.seq } else { Seqs::ZERO };
                client.holds_exactly(*epoch, after, *last)?;
            }
        }
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
    let pull = Read::Pull { request: 2, epoch: Epoch(0), lane: Lane::Normal, after: 9, limit: 5 };
    world.relay.read(GatewayId(1), &room("r"), pull, world.now);
    world.run();
    assert_eq!(world.got(1), [Downstream::Pulled { request: 2, answer: Err(ReadError::Future) }]);
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

#[test]
fn a_closed_room_is_forgotten_and_everybody_told() {
    let mut world = World::running();
    world.relay.closed(world.link("a"), &room("r"), &"idle".into(), world.now);
    world.run();
    assert_eq!(world.got(1), [Downstream::Closed { room: room("r"), reason: "idle".into() }]);
    assert_eq!(world.relay.counters().rooms, 0);
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
