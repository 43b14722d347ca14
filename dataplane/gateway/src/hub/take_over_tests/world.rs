//! Owners, relays and a hub, with all that is on its way between them: each move carries one thing further.

use super::*;

impl World {
    /// A room that is taken through one of the relays, with a few messages said.
    pub(super) fn new(unstored: usize) -> Self {
        let now = Millis(10_000);
        let origin = Origin { unix_ms: 1_800_000_000_000 };
        let settings = Settings { instance: id("gateway"), shards: 1, answer_ms: 1000, origin };
        let relay = || RelayNode {
            relay: Relay::new(Options::default(), Body, now),
            view: 0,
            wires: BTreeMap::new(),
            asked: VecDeque::new(),
            told: VecDeque::new(),
        };
        let mut world = Self {
            now,
            chapter: Chapter::Talking,
            versions: [routes(Some(("a", OLD)), &OWNERS), routes(None, &["b"]), routes(Some(("b", NEW)), &["b"])],
            pods: std::array::from_fn(|_| Pod::new(RoomOptions::default())),
            relays: [relay(), relay()],
            hub: Hub::new(settings),
            hub_view: 0,
            held_ms: 0,
            stored: Vec::new(),
            unstored,
            inherited: Vec::new(),
            ledger: Ledger::default(),
        };
        let at = world.at();
        world.pods[0].open(at, Slot::of("r"), OLD, vec![]);
        world.hub.at(now);
        world.hub.routes(world.versions[0].clone());
        for (index, name) in RELAYS.iter().enumerate() {
            world.relays[index].relay.gateway_up(GATEWAY);
            world.relays[index].relay.set_routes(world.versions[0].clone(), now);
            world.hub.from_link(Role::Message, &(*name).into(), FromLink::Up);
        }
        world.hub.from_shard(0, ToHub::Wanted(the_room()));
        world.run();
        world.quiet();
        for _ in 0..2 {
            world.say(Lane::Protected);
            world.quiet();
        }
        assert!(world.ledger.since.is_some() && world.ledger.got.len() == 2);
        world
    }

    fn at(&self) -> Now {
        Now { mono: self.now, unix: self.now + 1_800_000_000_000 }
    }

    // ---- what machines want done

    fn run(&mut self) {
        for owner in 0..2 {
            for output in self.pods[owner].take_output() {
                self.carry_out(owner, output);
            }
        }
        for relay in 0..2 {
            loop {
                let effects: Vec<Effect> = self.relays[relay].relay.effects().collect();
                if effects.is_empty() {
                    break;
                }
                for effect in effects {
                    self.carry_out_relay(relay, effect);
                }
            }
        }
        for action in self.hub.take_actions() {
            match action {
                Action::Message(to, kind) => {
                    let relay = RELAYS.iter().position(|name| *name == &*to).unwrap();
                    self.relays[relay].asked.push_back(kind);
                }
                Action::Shard(_, message) => self.ledger.take(message),
                _ => {}
            }
        }
    }

    fn carry_out(&mut self, owner: usize, output: Output) {
        let (relays, said): (Vec<RelayNo>, Box<dyn Fn() -> FromOwner>) = match output {
            Output::Segment { relays, segment, .. } => {
                let Segment { room, epoch, after, .. } = segment.clone();
                let packed =
                    Packed { room, epoch, after, last: segment.last(), body: convert::to_segment(&segment).body };
                (relays, Box::new(move || FromOwner::Segment(packed.clone())))
            }
            Output::Sealed { relays, sealed } => (relays, Box::new(move || FromOwner::Sealed(end(&sealed)))),
            Output::Subscribed { relay, cursor, sealed, .. } => {
                (vec![relay], Box::new(move || FromOwner::Subscribed(cursor, sealed.iter().map(end).collect())))
            }
            Output::Moved { relays, moved, .. } => {
                let address = moved.owner.as_ref().map_or(String::new(), |owner| owner.address.to_string());
                (relays, Box::new(move || FromOwner::Moved(moved.epoch(), address.clone())))
            }
            Output::Persist { write, .. } => {
                if let Record::Message { epoch, message, .. } = write.record {
                    self.stored.push((epoch, message));
                }
                return;
            }
            _ => return,
        };
        for relay in relays {
            let node = &mut self.relays[usize::try_from(relay.0).unwrap()];
            if let Some(wire) = node.wires.get_mut(&owner) {
                wire.down.push_back(said());
            }
        }
    }

    fn carry_out_relay(&mut self, relay: usize, effect: Effect) {
        let node = &mut self.relays[relay];
        match effect {
            Effect::Open { link, address } => {
                let owner = OWNERS.iter().position(|name| *name == &*address).unwrap();
                let cut = owner == 0 && self.chapter > Chapter::Talking;
                let down = if cut { VecDeque::new() } else { [FromOwner::Up].into() };
                node.wires.insert(owner, Wire { link, cut, up: VecDeque::new(), down });
            }
            Effect::Close(link) => node.wires.retain(|_, wire| wire.link != link),
            Effect::Up(link, message) => {
                let wire = node.wires.values_mut().find(|wire| wire.link == link).unwrap();
                if !wire.cut {
                    wire.up.push_back(message);
                }
            }
            Effect::Down(_, message) => {
                let weight = message.weight();
                node.told.extend(to_hub(message).map(|kind| (kind, weight)));
            }
            Effect::Drop(_) => panic!("nothing is dropped here"),
        }
    }

    // ---- moves

    pub(super) fn make(&mut self, next: Move) {
        match next {
            Move::Ask(relay) => drop(self.ask(relay)),
            Move::Tell(relay) => drop(self.tell(relay)),
            Move::AskOwner(relay, owner) => drop(self.ask_owner(relay, owner)),
            Move::TellRelay(relay, owner) => drop(self.tell_relay(relay, owner)),
            Move::See(node) => self.see(node),
            Move::Next => self.next_chapter(),
            Move::Say(lane) => self.say(lane),
            Move::Wait(ms) => self.wait(ms),
        }
        self.run();
    }

    fn ask(&mut self, relay: usize) -> bool {
        let node = &mut self.relays[relay];
        let Some(kind) = node.asked.pop_front() else { return false };
        match kind {
            gateway_to_message::Kind::Subscribe(wish) => {
                let told = wish.told.iter().map(|sealed| convert::sealed(sealed).unwrap());
                let told = told.map(|s| Sealed { epoch: s.epoch, last: s.last, next: s.next_epoch });
                let wish = Subscription {
                    room: the_room(),
                    cursor: wish.cursor.as_ref().map(|cursor| convert::cursor(cursor).unwrap()),
                    older: wish.older.iter().map(|cursor| convert::cursor(cursor).unwrap()).collect(),
                    told: told.collect(),
                };
                node.relay.subscribe(GATEWAY, &wish, self.now);
            }
            gateway_to_message::Kind::Unsubscribe(room) => node.relay.unsubscribe(GATEWAY, &id(&room), self.now),
            gateway_to_message::Kind::Audit(list) => {
                let rooms: Vec<RoomId> = list.rooms.iter().map(|room| id(room)).collect();
                node.relay.audit(GATEWAY, &rooms, self.now);
            }
            _ => {}
        }
        true
    }

    fn tell(&mut self, relay: usize) -> bool {
        let Some((kind, weight)) = self.relays[relay].told.pop_front() else { return false };
        self.relays[relay].relay.credit(GATEWAY, weight, self.now);
        self.hub.at(self.now);
        self.hub.from_link(Role::Message, &RELAYS[relay].into(), FromLink::Message(kind));
        true
    }

    fn ask_owner(&mut self, relay: usize, owner: usize) -> bool {
        let (now, no) = (self.at(), RelayNo(relay as u64));
        let wire = self.relays[relay].wires.get_mut(&owner);
        let Some(message) = wire.and_then(|wire| wire.up.pop_front()) else { return false };
        match message {
            Upstream::Subscribe(Subscription { room, cursor, older, told }) => {
                let told = told.into_iter().map(|Sealed { epoch, last, next }| room::Sealed {
                    room: room.clone(),
                    epoch,
                    last,
                    next_epoch: next,
                });
                let told = told.collect();
                self.pods[owner].subscribe(now, no, room::Subscription { room, cursor, older, told });
            }
            Upstream::Unsubscribe(room) => self.pods[owner].unsubscribe(now, no, &room),
            Upstream::Audit(rooms) => self.pods[owner].audit(now, no, &rooms.into_iter().collect()),
            Upstream::Stale { slot, epoch } => drop(self.pods[owner].stale(slot, epoch)),
            // These owners have no log: a pull is answered from rings.
            Upstream::ReadLog(..) => {}
        }
        true
    }

    fn tell_relay(&mut self, relay: usize, owner: usize) -> bool {
        let (now, room) = (self.now, the_room());
        let RelayNode { relay, wires, .. } = &mut self.relays[relay];
        let Some(wire) = wires.get_mut(&owner) else { return false };
        let Some(said) = wire.down.pop_front() else { return false };
        match said {
            FromOwner::Up => relay.link_up(wire.link, now),
            FromOwner::Down => relay.link_down(wire.link, now),
            FromOwner::Subscribed(cursor, sealed) => relay.subscribed(wire.link, &room, cursor, sealed, now),
            FromOwner::Segment(packed) => relay.segment(wire.link, packed, now),
            FromOwner::Sealed(sealed) => relay.sealed(wire.link, &room, sealed, now),
            FromOwner::Moved(epoch, address) => relay.moved(wire.link, &room, epoch, &address, now),
        }
        true
    }

    /// The picture that is newest: the claim shows before the slot is open.
    fn newest(&self) -> usize {
        match self.chapter {
            Chapter::Talking | Chapter::Killed => 0,
            Chapter::Unclaimed => 1,
            Chapter::Claimed | Chapter::Open => 2,
        }
    }

    fn see(&mut self, node: usize) {
        let newest = self.newest();
        if let Some(node) = self.relays.get_mut(node) {
            if node.view < newest {
                node.view += 1;
                node.relay.set_routes(self.versions[node.view].clone(), self.now);
            }
        } else if self.hub_view < newest {
            self.hub_view += 1;
            self.hub.at(self.now);
            self.hub.routes(self.versions[self.hub_view].clone());
        }
    }

    fn next_chapter(&mut self) {
        self.chapter = match self.chapter {
            Chapter::Talking => {
                self.stored.truncate(self.stored.len().saturating_sub(self.unstored));
                for wire in self.relays.iter_mut().filter_map(|node| node.wires.get_mut(&0)) {
                    wire.cut = true;
                    wire.up.clear();
                    // What the last of it was on its way is lost with the sender, or not.
                    if self.unstored.is_multiple_of(2) {
                        wire.down.clear();
                    }
                    wire.down.push_back(FromOwner::Down);
                }
                Chapter::Killed
            }
            Chapter::Killed => Chapter::Unclaimed,
            Chapter::Unclaimed => Chapter::Claimed,
            Chapter::Claimed => {
                let mut ends: BTreeMap<Epoch, Seqs> = BTreeMap::new();
                for (epoch, message) in &self.stored {
                    let end = ends.entry(*epoch).or_default();
                    end[message.lane] = end[message.lane].max(message.seq);
                }
                self.inherited =
                    self.stored.iter().map(|(epoch, message)| (*epoch, message.lane, message.seq)).collect();
                let ends: Vec<_> = ends.into_iter().collect();
                let state = RoomState {
                    created: Some(Millis(1)),
                    stored: ends.clone(),
                    ends,
                    messages: self.stored.clone(),
                    ..RoomState::new(the_room())
                };
                let now = self.at();
                self.pods[1].open(now, Slot::of("r"), NEW, vec![state]);
                Chapter::Open
            }
            Chapter::Open => Chapter::Open,
        };
    }

    fn say(&mut self, lane: Lane) {
        let owner = match self.chapter {
            Chapter::Talking => 0,
            Chapter::Open => 1,
            _ => return,
        };
        let publish = Publish {
            user: id("ana"),
            session: None,
            wish: lane,
            best: lane,
            kind: "text".into(),
            data: Bytes::from_static(b"1"),
            key: None,
            ack: Ack::Accepted,
        };
        let now = self.at();
        self.pods[owner].publish(now, Asker::Nobody, &the_room(), &publish);
    }

    /// Links to owners hold nothing back for a second: else relays give up on them, and may.
    fn wait(&mut self, ms: u64) {
        self.held_ms += ms;
        while self.held_ms >= 1_000 && (0..4).any(|at| self.ask_owner(at % 2, at / 2) | self.tell_relay(at % 2, at / 2))
        {
            self.run();
        }
        self.held_ms %= 1_000;
        self.now = self.now + ms;
        let now = self.at();
        self.pods.iter_mut().for_each(|pod| pod.run_due(now));
        self.relays.iter_mut().for_each(|node| node.relay.tick(self.now));
        self.hub.at(self.now);
        self.hub.tick();
    }

    /// Everything on its way arrives.
    fn quiet(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for relay in 0..2 {
                moved |= self.ask(relay) | self.tell(relay);
                moved |= self.ask_owner(relay, 0) | self.ask_owner(relay, 1);
                moved |= self.tell_relay(relay, 0) | self.tell_relay(relay, 1);
                self.run();
            }
        }
    }

    /// The story goes to its end, everybody sees the new owner, and all that waits for time gets it.
    pub(super) fn end(&mut self) {
        while self.chapter != Chapter::Open {
            self.next_chapter();
            self.run();
        }
        for node in [0, 1, 2, 0, 1, 2] {
            self.see(node);
            self.run();
        }
        for _ in 0..60 {
            self.quiet();
            self.wait(100);
            self.run();
        }
        self.say(Lane::Protected);
        self.run();
        self.quiet();
    }

    fn last(&mut self) -> Seqs {
        let (_, rooms) = self.pods[1].slot_state(self.at(), Slot::of("r")).unwrap();
        rooms[0].ends.iter().find(|(epoch, _)| *epoch == NEW).unwrap().1
    }

    pub(super) fn holds_the_law(&mut self) -> Result<(), TestCaseError> {
        let last = self.last();
        let ledger = &self.ledger;
        let since = ledger.since.unwrap();
        prop_assert!(ledger.ends.contains_key(&OLD), "nobody was told the end of the old epoch");
        ledger.holds(OLD, since.seq, ledger.ends[&OLD])?;
        ledger.holds(NEW, Seqs::ZERO, last)?;
        prop_assert!(ledger.got.values().all(|times| *times == 1), "something came twice");
        let new = (1..=last[Lane::Protected]).map(|seq| (NEW, Lane::Protected, seq));
        for stamp in self.inherited.iter().copied().chain(new).filter(|(_, lane, _)| lane.is_lossless()) {
            prop_assert!(ledger.got.contains_key(&stamp), "{stamp:?} was declared although its owner has it");
        }
        Ok(())
    }
}

fn end(sealed: &room::Sealed) -> Sealed {
    Sealed { epoch: sealed.epoch, last: sealed.last, next: sealed.next_epoch }
}

fn to_hub(message: Downstream) -> Option<message_to_gateway::Kind> {
    use message_to_gateway::Kind;
    let wire = |sealed: &Sealed| link::Sealed {
        room: "r".into(),
        epoch: sealed.epoch.0,
        last: sealed.last.0.to_vec(),
        next_epoch: sealed.next.0,
    };
    Some(match message {
        Downstream::Subscribed { cursor, gaps, sealed, .. } => Kind::Subscribed(link::Subscribed {
            room: "r".into(),
            cursor: Some(convert::to_cursor(cursor)),
            gaps: gaps.into_iter().map(convert::to_gap).collect(),
            sealed: sealed.iter().map(wire).collect(),
        }),
        Downstream::Segment(packed) => Kind::Segment(link::Segment {
            room: "r".into(),
            epoch: packed.epoch.0,
            after: packed.after.0.to_vec(),
            last: packed.last.0.to_vec(),
            body: packed.body,
        }),
        Downstream::Sealed(_, sealed) => Kind::Sealed(wire(&sealed)),
        Downstream::Lost(room) => Kind::Lost(room.as_str().to_owned()),
        _ => return None,
    })
}
