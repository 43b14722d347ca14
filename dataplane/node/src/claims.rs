//! Membership and claims of one process: keeps its lease, shows it as a member, claims the slots that are its to claim.
//!
//! A slot is open only while it is claimed under a lease that was confirmed within two thirds of its time to live. A view
//! of the registry never takes a slot away from its owner unless it is newer than the claim.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use throng_core::placement::{Electorate, Placement, Turn};
use throng_core::routes::{Owner, SlotChange};
use throng_core::{Epoch, InstanceId, Role, Slot};
use throng_registry::{Change, ClaimKey, Error, Holder, Lease, MAX_BATCH, Member, Outcome, Own, Registry, View};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Time to live that is asked for a lease. The granted one is used.
pub const LEASE_TTL_MS: u64 = 3000;
/// Longest wait for one call to the registry.
const CALL: Duration = Duration::from_millis(800);
/// Slots given up at once when their place is elsewhere: the rest follows at the next look, so that moves are paced.
const GIVE_UP_AT_ONCE: usize = MAX_BATCH;
/// Time between two looks when nothing changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a process is to the others.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its role.
    pub role: Role,
    /// This run of it.
    pub instance: InstanceId,
    /// What it says of itself. `draining` is set by [`Claims::run`].
    pub member: Member,
}

/// The keeper of a process's lease and claims. Owned by one task, [`Claims::run`].
pub struct Claims {
    identity: Identity,
    registry: Arc<dyn Registry>,
    slots: mpsc::Sender<SlotChange>,
    draining: watch::Receiver<bool>,
    lease: Option<Held>,
    incarnation: Option<u64>,
    own: BTreeMap<Slot, u64>,
    vacant: BTreeMap<Slot, Instant>,
}

#[derive(Clone, Copy)]
struct Held {
    lease: Lease,
    confirmed: Instant,
}

impl Held {
    fn right_until(&self) -> Instant {
        self.confirmed + Duration::from_millis(self.lease.ttl_ms * 2 / 3)
    }
}

impl Claims {
    /// A keeper that tells `slots` what opens and closes. A gateway's never says anything: it owns no slots.
    #[must_use]
    pub fn new(
        identity: Identity,
        registry: Arc<dyn Registry>,
        slots: mpsc::Sender<SlotChange>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self {
            identity,
            registry,
            slots,
            draining,
            lease: None,
            incarnation: None,
            own: BTreeMap::new(),
            vacant: BTreeMap::new(),
        }
    }

    /// Keeps lease and claims until stopped, then gives them up. Dropping it instead is a crash: the lease expires.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut views = self.registry.watch();
        let mut renew = tokio::time::interval(Duration::from_millis(LEASE_TTL_MS / 5));
        let mut look = tokio::time::interval(LOOK_EVERY);
        for timer in [&mut renew, &mut look] {
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        let mut placement = Intent::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.leave().await,
                _ = renew.tick() => self.renew().await,
                changed = self.draining.changed() => {
                    if changed.is_ok() { self.show().await }
                }
                _ = look.tick() => {
                    let view = Arc::clone(&views.borrow_and_update());
                    placement.read(self.identity.role, &view);
                    self.look(&view, &placement.document).await;
                }
            }
        }
    }

    async fn renew(&mut self) {
        match self.lease {
            None => self.enter().await,
            Some(held) => {
                let asked = Instant::now();
                match self.registry.keep_alive(held.lease, CALL).await {
                    Ok(ttl_ms) => {
                        self.lease = Some(Held { lease: Lease { ttl_ms, ..held.lease }, confirmed: asked });
                    }
                    Err(Error::LeaseGone(_)) => {
                        warn!("the lease is gone: closing every slot and beginning again");
                        self.close_all().await;
                        self.lease = None;
                    }
                    Err(error) => debug!(%error, "the lease was not confirmed"),
                }
            }
        }
        if self.lease.is_some_and(|held| Instant::now() > held.right_until()) && !self.own.is_empty() {
            warn!("no right to serve without a confirmed lease: closing every slot");
            self.close_all().await;
        }
    }

    async fn enter(&mut self) {
        let asked = Instant::now();
        match self.registry.grant(LEASE_TTL_MS).await {
            Ok(lease) => {
                self.lease = Some(Held { lease, confirmed: asked });
                self.show().await;
            }
            Err(error) => debug!(%error, "no lease yet"),
        }
    }

    /// Writes what the process says of itself.
    async fn show(&mut self) {
        let Some(held) = self.lease else { return };
        let Identity { role, instance, member } = &self.identity;
        let member = Member { draining: *self.draining.borrow(), ready: true, ..member.clone() };
        if let Err(error) = self.registry.put_member(*role, instance, held.lease.id, &member).await {
            debug!(%error, "the member entry was not written");
            if matches!(error, Error::LeaseGone(_)) {
                self.lease = None;
            }
        }
    }

    async fn look(&mut self, view: &View, placement: &Placement) {
        let Some(held) = self.lease.filter(|_| self.identity.role != Role::Gateway) else { return };
        if !view.health.is_healthy() || Instant::now() > held.right_until() {
            return;
        }
        let Some(incarnation) = self.known_incarnation(view).await else { return };
        if !view.members(self.identity.role).contains_key(&self.identity.instance) {
            self.show().await;
            return;
        }
        self.drop_lost(view).await;
        let electorate = electorate(view, self.identity.role, placement);
        self.give_up_misplaced(&electorate, placement).await;
        let due = self.due(view, &electorate, placement);
        for batch in due.chunks(MAX_BATCH) {
            if !self.claim(batch, held.lease, incarnation).await {
                break;
            }
        }
    }

    async fn known_incarnation(&mut self, view: &View) -> Option<u64> {
        if view.incarnation.is_none() {
            let wanted = self.incarnation.map_or(1, |last| last + 1);
            match self.registry.create_incarnation(wanted).await {
                Ok(incarnation) => info!(incarnation, "the registry was empty: a new incarnation"),
                Err(error) => debug!(%error, "no incarnation yet"),
            }
            return None;
        }
        self.incarnation = view.incarnation;
        view.incarnation
    }

    /// Slots that the view shows with somebody else, in a revision later than our claim.
    async fn drop_lost(&mut self, view: &View) {
        let lost: Vec<(Slot, Option<Owner>)> = self
            .own
            .iter()
            .filter(|(_, revision)| view.revision > **revision)
            .filter_map(|(slot, revision)| {
                let claim = view.claim(&self.key(*slot)?);
                let mine = claim.is_some_and(|claim| {
                    claim.holder.instance == self.identity.instance && claim.mod_revision == *revision
                });
                let owner = claim.and_then(|claim| {
                    let Holder { instance, address, .. } = &*claim.holder;
                    Some(Owner { instance: instance.clone(), address: Arc::clone(address), epoch: view.epoch(claim)? })
                });
                (!mine).then_some((*slot, owner))
            })
            .collect();
        for (slot, moved_to) in lost {
            self.own.remove(&slot);
            self.tell(SlotChange::Close { slot, moved_to }).await;
        }
    }

    /// Slots whose place is on another live Pod: closed first, then given up, some at a time.
    async fn give_up_misplaced(&mut self, electorate: &Electorate, placement: &Placement) {
        let me = &*self.identity.member.pod;
        let misplaced: Vec<(Slot, u64)> = self
            .own
            .iter()
            .filter(|(slot, _)| electorate.heir(placement, **slot).is_some_and(|heir| heir != me))
            .take(GIVE_UP_AT_ONCE)
            .map(|(slot, revision)| (*slot, *revision))
            .collect();
        self.give_up(&misplaced).await;
    }

    async fn give_up(&mut self, slots: &[(Slot, u64)]) {
        let Some(held) = self.lease else { return };
        let mut own = Vec::with_capacity(slots.len());
        for (slot, mod_revision) in slots {
            self.own.remove(slot);
            self.tell(SlotChange::Close { slot: *slot, moved_to: None }).await;
            own.extend(self.key(*slot).map(|key| Own { key, mod_revision: *mod_revision, lease: held.lease.id }));
        }
        if own.is_empty() {
            return;
        }
        if let Err(error) = self.registry.give_up(&own).await {
            debug!(%error, "claims were not given up; they go with the lease");
        }
    }

    /// Vacant slots whose turn is ours now.
    fn due(&mut self, view: &View, electorate: &Electorate, placement: &Placement) -> Vec<Slot> {
        let now = Instant::now();
        let mut due = Vec::new();
        for slot in Slot::all() {
            let vacant = self.key(slot).is_some_and(|key| view.claim(&key).is_none()) && !self.own.contains_key(&slot);
            if !vacant {
                self.vacant.remove(&slot);
                continue;
            }
            let since = *self.vacant.entry(slot).or_insert(now);
            if let Turn::After(ms) = electorate.turn(placement, slot, &self.identity.member.pod)
                && now.duration_since(since) >= Duration::from_millis(ms)
            {
                due.push(slot);
            }
        }
        due
    }

    /// Claims a batch; false if the rest must wait.
    async fn claim(&mut self, slots: &[Slot], lease: Lease, incarnation: u64) -> bool {
        let keys: Vec<ClaimKey> = slots.iter().filter_map(|slot| self.key(*slot)).collect();
        let Identity { instance, member, .. } = &self.identity;
        let holder = Holder {
            instance: instance.clone(),
            address: Arc::clone(&member.address),
            revision: Arc::clone(&member.revision),
        };
        match self.registry.claim(&keys, &holder, lease.id, incarnation).await {
            Ok(Outcome::Known(changes)) => {
                for (slot, change) in slots.iter().zip(changes) {
                    if let Change::Made { mod_revision } = change {
                        self.own.insert(*slot, mod_revision);
                        let epoch = Epoch::of_claim(incarnation, mod_revision);
                        self.tell(SlotChange::Open { slot: *slot, epoch }).await;
                    }
                }
                true
            }
            Ok(Outcome::Unknown) => {
                // Whatever was written goes with the lease: begin again under a new one rather than guess.
                warn!("a claim has an unknown outcome: beginning again under a new lease");
                self.close_all().await;
                let _ = self.registry.revoke(lease.id).await;
                self.lease = None;
                false
            }
            Err(error) => {
                debug!(%error, "nothing was claimed");
                false
            }
        }
    }

    async fn close_all(&mut self) {
        for slot in std::mem::take(&mut self.own).into_keys() {
            self.tell(SlotChange::Close { slot, moved_to: None }).await;
        }
    }

    async fn leave(&mut self) {
        self.close_all().await;
        if let Some(held) = self.lease.take() {
            let _ = self.registry.revoke(held.lease.id).await;
        }
    }

    async fn tell(&self, change: SlotChange) {
        // The role is gone only when the process ends.
        let _ = self.slots.send(change).await;
    }

    fn key(&self, slot: Slot) -> Option<ClaimKey> {
        ClaimKey::slot(self.identity.role, slot)
    }
}

fn electorate(view: &View, role: Role, placement: &Placement) -> Electorate {
    let able = view.members(role).values().map(|entry| &entry.member).filter(|m| m.ready && !m.draining);
    Electorate::new(able.map(|member| (&*member.pod, &*member.revision)), placement)
}

/// The placement document, decoded once a change.
#[derive(Default)]
struct Intent {
    revision: u64,
    document: Placement,
}

impl Intent {
    fn read(&mut self, role: Role, view: &View) {
        let Some(stored) = view.placement(role).filter(|stored| stored.mod_revision != self.revision) else { return };
        self.revision = stored.mod_revision;
        match Placement::decode(&stored.bytes) {
            Ok(document) => self.document = document,
            Err(error) => warn!(%error, "a placement document that does not read; the last one stays"),
        }
    }
}
