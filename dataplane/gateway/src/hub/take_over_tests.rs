//! A take-over between real owners, relays and a hub. What is on its way waits in queues, and chance decides which moves
//! next, who hears of the new owner when, and how much time passes. Nothing may be skipped in silence.

mod world;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use throng_core::relay::{
    Codec, Content, Downstream, Effect, GatewayId, LinkId, Options, Packed, Relay, Sealed, Subscription, Upstream,
};
use throng_core::room::{self, Ack, Asker, Now, Output, Pod, Publish, Record, RelayNo, RoomOptions, RoomState};
use throng_core::routes::Owner;
use throng_core::{Cursor, Gap, Lane, Message, Segment, Seqs};

use super::*;

const OLD: Epoch = Epoch(1);
const NEW: Epoch = Epoch(5);
const GATEWAY: GatewayId = GatewayId(1);
const OWNERS: [&str; 2] = ["a", "b"];
const RELAYS: [&str; 2] = ["m1", "m2"];

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn the_room() -> RoomId {
    id("r")
}

/// Bodies as they are between Pods, keys aside.
#[derive(Debug)]
struct Body;

impl Codec for Body {
    fn open(&self, body: &Bytes) -> Option<Content> {
        let wire = link::Segment { room: "r".into(), body: body.clone(), ..link::Segment::default() };
        let Segment { messages, gaps, .. } = convert::segment(&wire).ok()?;
        Some(Content { messages, gaps, keys: Vec::new() })
    }

    fn close(&self, content: &Content) -> Bytes {
        let Content { messages, gaps, .. } = content.clone();
        convert::to_segment(&Segment { room: the_room(), epoch: OLD, after: Seqs::ZERO, messages, gaps }).body
    }
}

/// From an owner to a relay.
#[derive(Debug)]
enum FromOwner {
    Up,
    Down,
    Subscribed(Cursor, Vec<Sealed>),
    Segment(Packed),
    Sealed(Sealed),
    Moved(Epoch, String),
}

/// Between one relay and one owner.
#[derive(Debug)]
struct Wire {
    link: LinkId,
    cut: bool,
    up: VecDeque<Upstream>,
    down: VecDeque<FromOwner>,
}

struct RelayNode {
    relay: Relay<Body>,
    view: usize,
    wires: BTreeMap<usize, Wire>,
    asked: VecDeque<gateway_to_message::Kind>,
    told: VecDeque<(message_to_gateway::Kind, usize)>,
}

/// What a subscriber got of the room.
#[derive(Debug, Default)]
struct Ledger {
    since: Option<Cursor>,
    got: BTreeMap<(Epoch, Lane, u64), u32>,
    declared: std::collections::BTreeSet<(Epoch, Lane, u64)>,
    ends: BTreeMap<Epoch, Seqs>,
}

impl Ledger {
    fn take(&mut self, message: ToShard) {
        match message {
            ToShard::Open(_, at) => drop(self.since.get_or_insert(at)),
            ToShard::Segment(segment) => {
                let from = self.since.unwrap().epoch;
                assert!(segment.epoch == from || self.ends.contains_key(&from), "an epoch before the end of another");
                for message in &segment.messages {
                    *self.got.entry((segment.epoch, message.lane, message.seq)).or_default() += 1;
                }
                self.declare(&segment.gaps);
            }
            ToShard::Declared { gaps, .. } => self.declare(&gaps),
            ToShard::Sealed { sealed, gaps, .. } => {
                self.declare(&gaps);
                self.ends.insert(sealed.epoch, sealed.last);
            }
            _ => {}
        }
    }

    fn declare(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            self.declared.extend((gap.from..=gap.to).map(|seq| (gap.epoch, gap.lane, seq)));
        }
    }

    fn holds(&self, epoch: Epoch, after: Seqs, last: Seqs) -> Result<(), TestCaseError> {
        for lane in Lane::ALL {
            for seq in after[lane] + 1..=last[lane] {
                let stamp = (epoch, lane, seq);
                prop_assert!(
                    self.got.contains_key(&stamp) || self.declared.contains(&stamp),
                    "{stamp:?} was neither delivered nor declared"
                );
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Move {
    /// The hub is heard by a relay, and a relay by the hub.
    Ask(usize),
    Tell(usize),
    /// The same between a relay and an owner.
    AskOwner(usize, usize),
    TellRelay(usize, usize),
    /// A relay, or the hub, sees a newer picture of who owns what.
    See(usize),
    /// The next thing of the story happens.
    Next,
    Say(Lane),
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    let lane = prop_oneof![2 => Just(Lane::Protected), 1 => Just(Lane::Normal)];
    prop_oneof![
        4 => (0..2usize).prop_map(Move::Ask),
        4 => (0..2usize).prop_map(Move::Tell),
        4 => (0..2usize, 0..2usize).prop_map(|(relay, owner)| Move::AskOwner(relay, owner)),
        4 => (0..2usize, 0..2usize).prop_map(|(relay, owner)| Move::TellRelay(relay, owner)),
        3 => (0..3usize).prop_map(Move::See),
        1 => Just(Move::Next),
        1 => lane.prop_map(Move::Say),
        2 => prop_oneof![Just(1u64), Just(60), Just(310), Just(1_010)].prop_map(Move::Wait),
    ]
}

/// How the story goes: `a` dies, its claim ends, `b` claims the slot and opens it with what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chapter {
    Talking,
    Killed,
    Unclaimed,
    Claimed,
    Open,
}

struct World {
    now: Millis,
    chapter: Chapter,
    versions: [Arc<Routes>; 3],
    pods: [Pod; 2],
    relays: [RelayNode; 2],
    hub: Hub,
    hub_view: usize,
    /// Time since links to owners were empty.
    held_ms: u64,
    stored: Vec<(Epoch, Message)>,
    /// Writes of `a` that its death undid.
    unstored: usize,
    inherited: Vec<(Epoch, Lane, u64)>,
    ledger: Ledger,
}

fn routes(owner: Option<(&str, Epoch)>, pods: &[&str]) -> Arc<Routes> {
    let mut routes = Routes::default();
    let peer = |text: &str| Peer { pod: text.into(), address: text.into(), draining: false };
    routes.chatroom.extend(pods.iter().map(|name| (id(name), peer(name))));
    routes.message.extend(RELAYS.iter().map(|name| (id(name), peer(name))));
    let slot = Slot::of("r");
    routes.rooms.set(slot, owner.map(|(name, epoch)| Owner { instance: id(name), address: name.into(), epoch }));
    Arc::new(routes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Received and declared together are everything, each number once; what the new owner has on lanes 0-1 is delivered.
    #[test]
    fn whatever_the_order_of_a_take_over_nothing_is_skipped_in_silence(
        unstored in 0usize..4, story in prop::collection::vec(moves(), 1..160),
    ) {
        let mut world = World::new(unstored);
        for next in story {
            world.make(next);
        }
        world.end();
        world.holds_the_law()?;
    }
}
