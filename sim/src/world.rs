//! The cluster in the small; what must never be seen in it is in [`crate::promises`].
//!
//! A step is [`STEP_MS`] long. In it every process that runs reads its answers, looks at etcd, does what its machine
//! wants (requests are answered within the step unless a link is cut or slow), and orders a message if it serves; then
//! segments arrive and message Pods find their owner. Faults happen between steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::ownership::promise::Stale;
use throng_core::ownership::{GRACE_MS, Input, Member, Origin, Output, Rules, StoreReply, Wrote};
use throng_core::placement::{PlacedPod, Placement};
use throng_core::{Epoch, InstanceId, Millis, Slot};

use crate::etcd::Etcd;
use crate::process::{Process, Room, pod_name, the_slot};
use crate::promises::Violation;
use crate::redis::Redis;
use crate::relay::{Content, Relay, Taken, cursor};

/// Length of a step, in milliseconds.
pub const STEP_MS: u64 = 500;
/// Messages that an owner orders in one epoch: a fork needs no more to show.
const MESSAGES: u64 = 3;

/// A segment on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    relay: usize,
    from: InstanceId,
    pod: usize,
    epoch: Epoch,
    seq: u64,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The time, for everybody.
    pub now: Millis,
    /// etcd.
    pub etcd: Etcd,
    /// Redis.
    pub redis: Redis,
    /// One a Pod; none while it is down.
    pub processes: Vec<Option<Process>>,
    /// Message Pods.
    pub relays: Vec<Relay>,
    /// Segments to these message Pods stay on their way.
    pub held: BTreeSet<usize>,
    /// Owners order messages.
    pub talking: bool,
    /// The hand-over of the next move is lost.
    pub lose_hand_over: bool,
    /// An incarnation was founded when nobody who could be reached remembered the largest one: the stores empty, the
    /// processes restarted or out of reach. No protocol can help there.
    pub forgot: bool,
    /// What was seen that must never be.
    pub violations: BTreeSet<Violation>,
    flights: Vec<Flight>,
    rules: Rules,
    runs: u32,
    contents: Content,
    stamps: BTreeMap<(Epoch, u64), Content>,
    largest: Epoch,
    /// Epochs that were opened without the store when it had not answered for the time of a grace, and no member was seen
    /// to reach it: the known limit.
    pub(crate) blind: BTreeSet<Epoch>,
    pub(crate) served_since: Option<Millis>,
    placement: Arc<Placement>,
}

impl World {
    /// `pods` chatroom processes and two message Pods, started together, run until the slot is served.
    #[must_use]
    pub fn new(pods: usize, rules: Rules) -> Self {
        let table = (0..pods).map(|pod| PlacedPod { pod: pod_name(pod), revision: "r1".into() }).collect();
        let mut placement = Placement::over(table).unwrap_or_default();
        placement.version = 1;
        placement.set(the_slot(), 0..pods);
        let mut world = Self {
            // Long after Redis was born.
            now: Millis(10_000),
            etcd: Etcd::default(),
            redis: Redis::default(),
            processes: (0..pods).map(|_| None).collect(),
            relays: vec![Relay::new(), Relay::new()],
            held: BTreeSet::new(),
            talking: false,
            lose_hand_over: false,
            forgot: false,
            violations: BTreeSet::new(),
            flights: Vec::new(),
            rules,
            runs: 0,
            contents: 0,
            stamps: BTreeMap::new(),
            largest: Epoch::NONE,
            blind: BTreeSet::new(),
            served_since: None,
            placement: Arc::new(placement),
        };
        for pod in 0..pods {
            world.start(pod);
        }
        for _ in 0..8 {
            world.step(false);
        }
        world
    }

    /// Starts a process where none is.
    pub fn start(&mut self, pod: usize) {
        self.runs += 1;
        let mut process = Process::new(pod, self.runs, self.rules, self.now);
        if let Some(process) = &mut process {
            process.inbox.push(Input::Placement(Arc::clone(&self.placement)));
        }
        if let Some(place) = self.processes.get_mut(pod) {
            *place = process;
        }
    }

    /// Time passes, and everybody does what is due. `turned`: processes run in the other order.
    pub fn step(&mut self, turned: bool) {
        self.now = self.now + STEP_MS;
        self.etcd.expire(self.now);
        let pods = self.processes.len();
        for turn in 0..pods {
            let pod = if turned { pods - 1 - turn } else { turn };
            self.run(pod);
            self.count_owners();
        }
        self.deliver();
        self.subscribe();
        self.count_owners();
        self.watch_service();
    }

    /// A transaction whose answer was lost arrives at etcd. Only moves straggle, and they name their new owner themselves.
    pub fn arrive(&mut self) {
        let nobody = self.processes.iter().flatten().next().map(|process| process.instance.clone());
        if let Some(sender) = nobody {
            self.etcd.arrive(&sender, "");
        }
    }

    /// Who serves at this instant.
    pub fn owners(&self) -> impl Iterator<Item = (usize, Epoch)> {
        let serving = |p: &Process| Some((p.pod, p.machine.serves(the_slot(), self.now)?));
        self.processes.iter().flatten().filter_map(serving)
    }

    /// One process does everything that it can do now.
    fn run(&mut self, pod: usize) {
        let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut).filter(|p| !p.paused) else { return };
        let mut inputs = std::mem::take(&mut process.inbox);
        inputs.push(Input::Reactors(self.now));
        if self.etcd.up && !process.no_etcd && !process.no_watch {
            inputs.push(Input::View(Box::new(self.etcd.view(the_slot()))));
        }
        inputs.push(Input::Timer);
        let slow = std::mem::take(&mut process.slow);
        // Answers in the order of the questions.
        let mut inputs = std::collections::VecDeque::from(inputs);
        let mut patience = 300;
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut) else { return };
            process.machine.handle(input, self.now, &mut out);
            for output in out {
                let Some(answer) = self.answer(pod, output) else { continue };
                match self.processes.get_mut(pod).and_then(Option::as_mut) {
                    Some(process) if slow => process.inbox.push(answer),
                    _ => inputs.push_back(answer),
                }
            }
            patience -= 1;
            if patience == 0 {
                self.violations.insert(Violation::Restless);
                return;
            }
        }
        self.publish(pod);
    }

    /// Does what a machine wants, and says what comes of it.
    fn answer(&mut self, pod: usize, output: Output) -> Option<Input> {
        let now = self.now;
        let process = self.processes.get_mut(pod)?.as_mut()?;
        let etcd = self.etcd.up && !process.no_etcd;
        let redis = self.redis.up && !process.no_redis;
        let me = process.instance.clone();
        match output {
            Output::GrantLease { ttl_ms, asked } if etcd => {
                let lease = self.etcd.grant(ttl_ms, now);
                process.lease = Some(lease);
                Some(Input::LeaseGranted { lease, ttl_ms, asked })
            }
            Output::RenewLease { lease, asked } if etcd => Some(match self.etcd.keep_alive(lease, now) {
                Some(ttl_ms) => Input::LeaseRenewed { lease, ttl_ms, asked },
                None => Input::LeaseGone(lease),
            }),
            Output::GrantLease { .. } | Output::RenewLease { .. } => Some(Input::LeaseUnanswered),
            Output::RevokeLease(lease) if etcd => {
                self.etcd.revoke(lease);
                Some(Input::LeaseGone(lease))
            }
            Output::Announce { draining, redis_ok } if etcd => {
                let member = process.member(process.lease?, draining, redis_ok);
                self.etcd.put_member(&me, member);
                None
            }
            Output::Write(write) => {
                let outcome =
                    if etcd { self.etcd.write(&write, &me, &format!("{}:1", pod_name(pod))) } else { Wrote::Refused };
                Some(Input::Wrote { write, outcome })
            }
            Output::ReadClaim(slot) => Some(Input::ClaimRead { slot, read: etcd.then(|| self.etcd.read()) }),
            Output::Store(call) => {
                process.unanswered_since = if redis { None } else { process.unanswered_since.or(Some(now)) };
                let reply = if redis {
                    self.redis.call(&me, the_slot(), &call, now, self.rules)
                } else {
                    StoreReply::Unreachable
                };
                Some(Input::Store { call, reply })
            }
            Output::AskIncarnations => {
                let store = redis.then(|| self.redis.incarnation());
                let others = self.processes.iter().flatten().filter(|p| !p.paused);
                let relays = self.relays.iter().filter(|relay| relay.reachable).map(Relay::known_incarnation);
                let pods = others.map(|p| p.machine.known_incarnation()).chain(relays).max().unwrap_or(0);
                self.forgot |= store.is_some_and(|store| store.max(pods) < self.largest.0 >> 40);
                Some(Input::Incarnations { store, pods })
            }
            Output::CreateIncarnation(incarnation) => {
                if etcd {
                    self.etcd.create_incarnation(incarnation);
                }
                Some(Input::IncarnationWritten)
            }
            Output::RaiseIncarnation { from, to } => {
                if etcd {
                    self.etcd.raise_incarnation(from, to);
                }
                Some(Input::IncarnationWritten)
            }
            Output::Gather { slot, epoch } => Some(self.gather(pod, slot, epoch, redis)),
            output => self.serve(pod, output),
        }
    }

    /// What concerns the room and other processes.
    fn serve(&mut self, pod: usize, output: Output) -> Option<Input> {
        match output {
            Output::Open { epoch, origin, .. } => self.open(pod, epoch, origin),
            Output::ReadLog { .. } => {
                let log: Vec<_> = self.redis.log().collect();
                let room = self.processes.get_mut(pod)?.as_mut()?.room.as_mut()?;
                for (epoch, last) in log {
                    room.ends.found(cursor(epoch, last));
                }
                self.publish_ends(pod);
            }
            Output::WarmUp { slot, to } => {
                let reached = self.processes.iter().flatten().any(|p| p.instance == to && !p.paused);
                return Some(if reached { Input::Warm { slot, to } } else { Input::Cold { slot } });
            }
            Output::HandOver { slot, next, to, .. } => {
                let room = self.processes.get(pod)?.as_ref()?.room.clone()?;
                let lost = std::mem::take(&mut self.lose_hand_over);
                let taker = self.processes.iter_mut().flatten().find(|p| p.instance == to && !lost)?;
                taker.handed = Some((next, room));
                taker.inbox.push(Input::HandedOver { slot, epoch: next });
            }
            _ => {}
        }
        None
    }

    fn gather(&mut self, pod: usize, slot: Slot, epoch: Epoch, redis: bool) -> Input {
        let mut stale = None;
        let mut found = Vec::new();
        for relay in self.relays.iter_mut().filter(|relay| relay.reachable) {
            match relay.gather(slot, epoch, self.rules.gather_promises) {
                Ok(known) => found.extend(known),
                Err(Stale(seen)) => stale = stale.max(Some(seen)),
            }
        }
        if redis {
            found.extend(self.redis.log().map(|(epoch, last)| cursor(epoch, last)));
        }
        if let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut) {
            for cursor in found {
                process.gathered.found(cursor);
            }
        }
        Input::Gathered { slot, epoch, stale }
    }

    fn open(&mut self, pod: usize, epoch: Epoch, origin: Origin) {
        if epoch <= self.largest {
            self.violations.insert(Violation::EpochNotLarger);
        }
        self.largest = self.largest.max(epoch);
        let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut) else { return };
        if process.machine.status(self.now).blind > 0 {
            let told = |(instance, member): (&InstanceId, &Member)| *instance != process.instance && member.redis_ok;
            let members = self.etcd.view(the_slot()).members;
            let unanswered = process.unanswered_since.is_some_and(|since| self.now.since(since) >= GRACE_MS);
            if unanswered && (process.no_watch || !members.iter().any(told)) {
                self.blind.insert(epoch);
            }
        }
        let mut room = match origin {
            Origin::Own => process.room.take().unwrap_or_default(),
            Origin::HandedOver => process.handed.take().map(|(_, room)| room).unwrap_or_default(),
            _ => Room { ends: std::mem::take(&mut process.gathered), ..Room::default() },
        };
        if room.seq > 0 {
            room.ends.found(cursor(room.epoch, room.seq));
        }
        room.epoch = epoch;
        room.seq = 0;
        room.subscribers.clear();
        process.room = Some(room);
    }

    /// An owner orders a message, writes it to the log and sends it to its message Pods.
    fn publish(&mut self, pod: usize) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut) else { return };
        let serving = process.machine.serves(the_slot(), now);
        let Some(room) = process.room.as_mut().filter(|room| Some(room.epoch) == serving) else { return };
        if !self.talking || room.seq >= MESSAGES {
            return;
        }
        room.seq += 1;
        let (epoch, seq) = (room.epoch, room.seq);
        self.contents += 1;
        if self.stamps.insert((epoch, seq), self.contents).is_some() {
            self.violations.insert(Violation::StampTwice);
        }
        let from = process.instance.clone();
        if self.redis.up
            && !process.no_redis
            && let Err(epoch) = self.redis.append(&from, epoch, seq)
        {
            process.inbox.push(Input::Stale { slot: the_slot(), epoch });
        }
        for &relay in &room.subscribers {
            self.flights.push(Flight { relay, from: from.clone(), pod, epoch, seq });
        }
    }

    /// Segments arrive, except those that are held up or whose way is cut.
    fn deliver(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            let Some(relay) = self.relays.get_mut(flight.relay) else { continue };
            if !relay.reachable || self.held.contains(&flight.relay) {
                self.flights.push(flight);
                continue;
            }
            match relay.take(the_slot(), &flight.from, flight.epoch, flight.seq) {
                Taken::Yes | Taken::Ignored => {}
                Taken::Unlawfully => {
                    self.violations.insert(Violation::LawBroken);
                }
                Taken::Stale(epoch) => {
                    let sender = self.processes.get_mut(flight.pod).and_then(Option::as_mut);
                    if let Some(process) = sender.filter(|p| p.instance == flight.from) {
                        process.inbox.push(Input::Stale { slot: the_slot(), epoch });
                    }
                }
            }
        }
    }

    /// Message Pods without an owner find the one that serves, and tell it what they know.
    fn subscribe(&mut self) {
        for at in 0..self.relays.len() {
            let owners: BTreeMap<Epoch, usize> = self.owners().map(|(pod, epoch)| (epoch, pod)).collect();
            let Some(relay) = self.relays.get_mut(at).filter(|relay| relay.reachable) else { continue };
            let present = relay.owner.as_ref().is_some_and(|(instance, epoch)| {
                let pod = owners.get(epoch).and_then(|pod| self.processes.get(*pod)?.as_ref());
                pod.is_some_and(|process| process.instance == *instance)
            });
            let Some((&epoch, &pod)) = owners.last_key_value().filter(|_| !present) else { continue };
            let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut).filter(|p| !p.paused) else {
                continue;
            };
            let Some(room) = process.room.as_mut().filter(|room| room.epoch == epoch) else { continue };
            if let Err(Stale(epoch)) = relay.subscribe(the_slot(), process.instance.clone(), epoch) {
                process.inbox.push(Input::Stale { slot: the_slot(), epoch });
                continue;
            }
            room.subscribers.insert(at);
            if self.rules.raise_last {
                room.ends.subscribed(epoch, relay.known());
            }
            self.publish_ends(pod);
            self.tell_all_ends(at, pod);
        }
    }

    /// What is new of older epochs goes to every subscriber.
    fn publish_ends(&mut self, pod: usize) {
        let Some(process) = self.processes.get_mut(pod).and_then(Option::as_mut) else { return };
        let Some(room) = process.room.as_mut() else { return };
        let (news, owner) = (room.ends.seal(room.epoch), (process.instance.clone(), room.epoch));
        for relay in self.relays.iter_mut().filter(|relay| relay.reachable && relay.owner.as_ref() == Some(&owner)) {
            relay.sealed(&news);
        }
    }

    /// A new subscriber hears of every older epoch.
    fn tell_all_ends(&mut self, at: usize, pod: usize) {
        let Some(room) = self.processes.get(pod).and_then(Option::as_ref).and_then(|p| p.room.as_ref()) else { return };
        let all: Vec<_> = room.ends.sealed().collect();
        if let Some(relay) = self.relays.get_mut(at) {
            relay.sealed(&all);
        }
    }
}
