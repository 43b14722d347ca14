//! Who owns a slot: claims, epochs, the right to serve, grace, take-over and planned moves, as one machine a process.
//!
//! Placement is intent, claims are truth. A process takes a *lease* ([`lease`]), claims slots whose turn is its own
//! ([`claiming`]), and serves each under the *epoch* of its claim, for as long as it has a *right* to ([`right`]): the
//! lease, or the *grace* that outlives it ([`grace`]). Between a claim and serving lies the take-over ([`take_over`]):
//! revoke whoever the fence names, wait for the rest of its grace, raise the fence, gather promises, open. A planned
//! move ([`moving`]) hands a slot over without that, and falls back on it. An emptied etcd gets a new incarnation, so
//! that epochs only grow ([`founding`]). [`sealing`] says where older epochs of a room end, [`promise`] is the memory of
//! a message Pod that makes the *law* hold: who has seen e' > e takes nothing more from e's owner.
//!
//! The machine is sans-IO: [`Ownership::handle`] takes an [`Input`] and the time, and adds [`Output`]s. The shell answers
//! each request once and calls again at [`Ownership::wake_at`]. A shell that has only a lease, claims and a placement
//! ([`Config::store`] false) gets `Open` and `Close` right with these inputs: `Reactors`, the lease answers, `View`,
//! `Placement`, `Wrote`, `ClaimRead`, `Gathered`, `Timer`.
//!
//! A restart loses everything here on purpose: a restarted process is another instance, and takes over like any other.

mod claiming;
mod founding;
mod grace;
mod lease;
mod leaving;
mod moving;
mod pace;
mod place;
pub mod promise;
mod right;
mod rules;
pub mod sealing;
mod take_over;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::placement::{Electorate, Placement};
use crate::routes::Owner;
use crate::{Epoch, InstanceId, Millis, Slot};

pub use grace::{DRIFT_MS, GRACE_MS, RENEW_MS};
pub use lease::REACTOR_MS;
pub use rules::Rules;
pub use words::{
    Change, Claim, Fence, Input, LeaseId, MAX_BATCH, Member, Origin, Output, Own, StoreCall, StoreReply, View, Write,
    Wrote,
};

use founding::Founding;
use grace::GraceState;
use lease::LeaseState;
use leaving::Leaving;
use place::Place;

/// Time to live asked for a lease, in milliseconds. What is *granted* counts.
pub const LEASE_TTL_MS: u64 = 3000;
/// After a failed write or call, in milliseconds.
const RETRY_MS: u64 = 300;

/// What is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Room slots: fences, grace, promises, sealed epochs.
    Rooms,
    /// User slots: claims and the lease only, since everything about users is told again by gateways.
    Users,
}

/// This process, as it registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Me {
    /// This run of the process.
    pub instance: InstanceId,
    /// Name of its Pod.
    pub pod: Arc<str>,
    /// Uid of its Pod: a predecessor under the same uid loses its lease first.
    pub uid: Arc<str>,
    /// Where it answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// Revision of the cluster's spec that it runs.
    pub revision: Arc<str>,
}

/// Fixed for the life of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This process.
    pub me: Me,
    /// What it owns.
    pub duty: Duty,
    /// There is a shared store that holds fences and grace. False: the lease is the only right.
    pub store: bool,
    /// Time to live to ask for a lease, in milliseconds.
    pub lease_ttl_ms: u64,
    /// Slots that move away at one time; more where a drain's deadline asks for it.
    pub moves_at_once: usize,
    /// The slots that exist; fewer than all of them in a model.
    pub slots: Vec<Slot>,
    /// All, outside the model.
    pub rules: Rules,
}

impl Config {
    /// Everything as in production, with or without a shared store.
    #[must_use]
    pub fn new(me: Me, duty: Duty, store: bool) -> Self {
        Self {
            me,
            duty,
            store,
            lease_ttl_ms: LEASE_TTL_MS,
            moves_at_once: 8,
            slots: Slot::all().collect(),
            rules: Rules::ALL,
        }
    }

    /// Whether fences and grace are used.
    fn fences(&self) -> bool {
        self.store && self.duty == Duty::Rooms
    }
}

/// The ownership of one role's slots, as one process sees and decides it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ownership {
    config: Config,
    lease: LeaseState,
    grace: GraceState,
    reactors: Millis,
    store_ok: bool,
    members: BTreeMap<InstanceId, Member>,
    incarnation: u64,
    /// When this incarnation was first seen.
    incarnation_since: Millis,
    /// The largest incarnation ever heard of.
    known_incarnation: u64,
    founding: Founding,
    /// Leases of former containers of this Pod; none: not looked yet.
    predecessors: Option<BTreeSet<LeaseId>>,
    placement: Arc<Placement>,
    electorate: Electorate,
    heat: BTreeMap<Slot, u64>,
    places: BTreeMap<Slot, Place>,
    /// To be claimed now; those in `first` before the others.
    wanted: BTreeSet<Slot>,
    first: BTreeSet<Slot>,
    claims_under_way: usize,
    announced: Option<(LeaseId, bool, bool)>,
    leaving: Leaving,
    /// No right ends before this.
    lapse_at: Millis,
    wake: Option<Millis>,
}

/// What is served and what is not, for `/readyz`, metrics and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Slots served.
    pub open: usize,
    /// Slots on their way from a claim to serving.
    pub taking: usize,
    /// Slots that nobody is known to own.
    pub unowned: usize,
    /// Slots served without a fence, because nobody reached the store.
    pub blind: usize,
    /// Planned moves away under way.
    pub moving: usize,
    /// The lease is confirmed.
    pub lease: bool,
    /// The grace is held.
    pub grace: bool,
    /// The store answers: it did when it was last asked, and when it was last asked for the grace. Not before its first
    /// answer, then. Without one that all processes share, always.
    pub store: bool,
    /// The largest incarnation that is known, 0 if none.
    pub incarnation: u64,
}

impl Ownership {
    /// A process that owns nothing yet. `now` counts as the first time that its reactors answered.
    #[must_use]
    pub fn new(config: Config, now: Millis) -> Self {
        Self {
            places: config.slots.iter().map(|&slot| (slot, Place::default())).collect(),
            config,
            lease: LeaseState::default(),
            grace: GraceState::default(),
            reactors: now,
            store_ok: true,
            members: BTreeMap::new(),
            incarnation: 0,
            incarnation_since: now,
            known_incarnation: 0,
            founding: Founding::default(),
            predecessors: None,
            placement: Arc::default(),
            electorate: Electorate::default(),
            heat: BTreeMap::new(),
            wanted: BTreeSet::new(),
            first: BTreeSet::new(),
            claims_under_way: 0,
            announced: None,
            leaving: Leaving::default(),
            lapse_at: Millis::ZERO,
            wake: None,
        }
    }

    /// Takes one input at a monotonic time and adds what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Millis, out: &mut Vec<Output>) {
        self.handle_all([input], now, out);
    }

    /// Takes several inputs that arrived by the same time. A take-over of thousands of slots is as many answers, and what
    /// follows from all of them is worked out once.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>, now: Millis, out: &mut Vec<Output>) {
        // First: rights that ended while nothing was called. No answer that arrives now may save them.
        self.lapse(now, out);
        for input in inputs {
            self.take(input, now, out);
            self.lapse(now, out);
        }
        self.flush(now, out);
    }

    fn take(&mut self, input: Input, now: Millis, out: &mut Vec<Output>) {
        match input {
            Input::Timer => self.pursue_all(now, out),
            Input::Reactors(at) => self.reactors = self.reactors.max(at),
            Input::LeaseGranted { lease, ttl_ms, asked } => {
                self.lease.granted(lease, ttl_ms, asked, now);
                self.pursue_all(now, out);
            }
            Input::LeaseRenewed { lease, ttl_ms, asked } => {
                let lapsed = self.lease.until() <= now;
                self.lease.renewed(lease, ttl_ms, asked, now);
                if lapsed {
                    self.pursue_all(now, out);
                }
            }
            Input::LeaseGone(lease) => self.lease_gone(lease, now, out),
            Input::LeaseUnanswered => self.lease.unanswered(now),
            Input::View(view) => self.viewed(*view, now, out),
            Input::Placement(placement) => self.placed(placement, now, out),
            Input::Wrote { write, outcome } => self.wrote(&write, outcome, now, out),
            Input::ClaimRead { slot, read } => self.read(slot, read, now, out),
            Input::Store { call, reply } => self.stored(call, reply, now, out),
            Input::Gathered { slot, epoch, stale } => self.gathered(slot, epoch, stale, now, out),
            Input::Stale { slot, epoch } => self.stale(slot, epoch, now, out),
            Input::Wanted(slot) => drop(self.first.insert(slot)),
            Input::Heat(heat) => self.heat = heat,
            Input::Move { slot, to } => self.start_move(slot, to, now, out),
            Input::Warm { slot, to } => self.warm(slot, &to, now, out),
            Input::Cold { slot } => self.end_move(slot, now, out),
            Input::HandedOver { slot, epoch } => self.handed_over(slot, epoch, now, out),
            Input::Incarnations { store, pods } => self.incarnations(store, pods, now, out),
            Input::IncarnationWritten => self.founding.rest(now),
            Input::Drain { by } => self.drain(by, now, out),
            Input::Undrain => self.undrain(now, out),
            Input::Stop => self.stop(now, out),
        }
    }

    /// What does not belong to one slot: lease, member entry, incarnation, grace, fences, batches, the end.
    fn flush(&mut self, now: Millis, out: &mut Vec<Output>) {
        if !self.leaving.has_left() {
            out.extend(self.lease.due(self.config.lease_ttl_ms, self.reactors, now));
        }
        self.announce(out);
        self.found(now, out);
        self.keep_fences(now, out);
        self.keep_grace(now, out);
        self.claim_wanted(now, out);
        self.leave(now, out);
    }

    fn announce(&mut self, out: &mut Vec<Output>) {
        let Some(lease) = self.lease.id() else { return };
        let announced = (lease, self.leaving.is_leaving(), self.store_ok);
        if self.announced != Some(announced) {
            self.announced = Some(announced);
            out.push(Output::Announce { draining: announced.1, redis_ok: announced.2 });
        }
    }

    fn viewed(&mut self, view: View, now: Millis, out: &mut Vec<Output>) {
        let incarnation = view.incarnation.unwrap_or(0);
        if incarnation != self.incarnation {
            self.incarnation = incarnation;
            self.incarnation_since = now;
            self.known_incarnation = self.known_incarnation.max(incarnation);
            // Revisions of another etcd say nothing of this one.
            self.places.values_mut().for_each(|place| place.known_at = 0);
        }
        self.members = view.members;
        self.find_predecessors(out);
        self.elect();
        let mut claims = view.claims;
        for (slot, place) in &mut self.places {
            if place.learn(claims.remove(slot), view.revision, &self.config.me.instance, now) {
                self.lapse_at = Millis::ZERO;
            }
        }
        self.pursue_all(now, out);
    }

    fn placed(&mut self, placement: Arc<Placement>, now: Millis, out: &mut Vec<Output>) {
        if placement.supersedes(&self.placement) {
            self.placement = placement;
            self.elect();
            self.pursue_all(now, out);
        }
    }

    fn find_predecessors(&mut self, out: &mut Vec<Output>) {
        let me = &self.config.me;
        let mine = |(instance, member): (&InstanceId, &Member)| {
            (member.uid == me.uid && *instance != me.instance).then_some(member.lease)
        };
        let now: BTreeSet<LeaseId> = self.members.iter().filter_map(mine).collect();
        match &mut self.predecessors {
            // Only those of the first look: whoever comes later is a successor.
            None => {
                out.extend(now.iter().map(|&lease| Output::RevokeLease(lease)));
                self.predecessors = Some(now);
            }
            Some(predecessors) => predecessors.retain(|lease| now.contains(lease)),
        }
    }

    fn elect(&mut self) {
        let me = &self.config.me.instance;
        let fences = self.config.fences() && self.config.rules.leave_it_to_who_reaches_the_store;
        let reaches = |(instance, member): &(&InstanceId, &Member)| {
            if *instance == me { self.store_ok } else { member.redis_ok }
        };
        let able: Vec<_> = self
            .members
            .iter()
            .filter(|(instance, member)| !if *instance == me { self.leaving.is_leaving() } else { member.draining })
            .collect();
        let somebody = fences && able.iter().any(reaches);
        let electorate = able.iter().filter(|member| !somebody || reaches(member));
        let pods = electorate.map(|(_, member)| (&*member.pod, &*member.revision));
        self.electorate = Electorate::new(pods, &self.placement);
    }

    fn store_answers(&mut self, ok: bool) {
        if self.store_ok != ok {
            self.store_ok = ok;
            self.elect();
        }
    }

    fn wake_by(&mut self, at: Millis) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn epoch_of(&self, mod_revision: u64) -> Epoch {
        Epoch::of_claim(self.incarnation, mod_revision)
    }

    /// Who a claim names, for answers MOVED.
    fn owner_of(&self, claim: &Claim) -> Owner {
        Owner {
            instance: claim.instance.clone(),
            address: claim.address.clone(),
            epoch: self.epoch_of(claim.mod_revision),
        }
    }

    /// When to send [`Input::Timer`] at the latest.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        let lapse = (self.lapse_at != Millis(u64::MAX)).then_some(self.lapse_at);
        let grace = if self.config.fences() { self.grace.wake_at() } else { None };
        [self.wake, self.lease.wake_at(), grace, lapse, self.leaving.wake_at()].into_iter().flatten().min()
    }

    /// The epoch under which a slot may be served at this instant. To be asked on the way of every message: a timer may
    /// be late, a right is not.
    #[must_use]
    pub fn serves(&self, slot: Slot, now: Millis) -> Option<Epoch> {
        let tenure = self.places.get(&slot)?.tenure.as_ref()?;
        (now < self.rights().until(tenure)).then_some(tenure.epoch)
    }

    /// Until when a slot may be served, as things are.
    #[must_use]
    pub fn right_until(&self, slot: Slot) -> Option<Millis> {
        let tenure = self.places.get(&slot)?.tenure.as_ref()?;
        Some(self.rights().until(tenure))
    }

    /// The largest incarnation that this process knows, 0 if none: answered to other Pods that ask.
    #[must_use]
    pub const fn known_incarnation(&self) -> u64 {
        self.known_incarnation
    }

    /// The process that is known to hold a slot's claim.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<Owner> {
        self.places.get(&slot)?.claim.as_ref().map(|claim| self.owner_of(claim))
    }

    /// What is served and what is not.
    #[must_use]
    pub fn status(&self, now: Millis) -> Status {
        let count = |holds: fn(&Place) -> bool| self.places.values().filter(|place| holds(place)).count();
        Status {
            open: count(|place| place.tenure.is_some()),
            taking: count(|place| place.next.is_some()),
            unowned: count(|place| place.claim.is_none()),
            blind: count(|place| place.tenure.as_ref().is_some_and(|tenure| tenure.blind)),
            moving: count(|place| place.tenure.as_ref().is_some_and(|tenure| tenure.moving.is_some())),
            lease: now < self.lease.until(),
            grace: now < self.grace.until(),
            store: self.store_ok && (self.grace.answered || !self.config.fences()),
            incarnation: self.known_incarnation,
        }
    }
}
