//! etcd, as far as ownership sees it: leases, one claim, members, the incarnation, and a revision that counts writes.

use std::collections::BTreeMap;

use throng_core::ownership::{Change, Claim, LeaseId, Member, Own, View, Write, Wrote};
use throng_core::{InstanceId, Millis, Slot};

/// One life of etcd after another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Etcd {
    /// It answers.
    pub up: bool,
    /// How often it came back empty.
    pub life: u32,
    revision: u64,
    incarnation: Option<u64>,
    leases: BTreeMap<LeaseId, Lease>,
    claim: Option<Claim>,
    members: BTreeMap<InstanceId, (LeaseId, Member)>,
    leases_granted: i64,
    /// The fate of the next move.
    pub next_move: Fate,
    straggler: Option<Write>,
}

/// What becomes of a transaction whose answer is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is answered.
    #[default]
    Answered,
    /// It is applied at once.
    Applied,
    /// It is applied later, or never.
    Straggles,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lease {
    ttl_ms: u64,
    expires: Millis,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            up: true,
            life: 0,
            revision: 10,
            incarnation: None,
            leases: BTreeMap::new(),
            claim: None,
            members: BTreeMap::new(),
            leases_granted: 0,
            next_move: Fate::Answered,
            straggler: None,
        }
    }
}

impl Etcd {
    /// It comes back with nothing. Revisions start again; numbers of leases do not recur here.
    pub fn empty(&mut self) {
        *self = Self { life: self.life + 1, leases_granted: self.leases_granted, up: self.up, ..Self::default() };
    }

    /// It restarts with its data: a restarted etcd gives every lease its full time again.
    pub fn restart(&mut self, now: Millis) {
        self.up = true;
        for lease in self.leases.values_mut() {
            lease.expires = now + lease.ttl_ms;
        }
    }

    /// Leases that were not renewed in time vanish, with all that is attached.
    pub fn expire(&mut self, now: Millis) {
        if !self.up {
            return;
        }
        let dead: Vec<LeaseId> = self.leases.iter().filter(|(_, l)| l.expires <= now).map(|(id, _)| *id).collect();
        for id in dead {
            self.revoke(id);
        }
    }

    /// A new lease.
    pub fn grant(&mut self, ttl_ms: u64, now: Millis) -> LeaseId {
        self.leases_granted += 1;
        let id = LeaseId(self.leases_granted);
        self.leases.insert(id, Lease { ttl_ms, expires: now + ttl_ms });
        id
    }

    /// Renews a lease: its time to live, or none if it is gone.
    pub fn keep_alive(&mut self, id: LeaseId, now: Millis) -> Option<u64> {
        let lease = self.leases.get_mut(&id)?;
        lease.expires = now + lease.ttl_ms;
        Some(lease.ttl_ms)
    }

    /// Ends a lease.
    pub fn revoke(&mut self, id: LeaseId) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        self.revision += 1;
        self.members.retain(|_, (lease, _)| *lease != id);
        if self.claim.as_ref().is_some_and(|claim| claim.lease == id) {
            self.claim = None;
        }
    }

    /// Writes a member's entry, if its lease lives.
    pub fn put_member(&mut self, instance: &InstanceId, member: Member) {
        if self.leases.contains_key(&member.lease) {
            self.revision += 1;
            self.members.insert(instance.clone(), (member.lease, member));
        }
    }

    /// Stores the incarnation if there is none.
    pub fn create_incarnation(&mut self, incarnation: u64) {
        if self.incarnation.is_none() {
            self.revision += 1;
            self.incarnation = Some(incarnation);
        }
    }

    /// Raises the incarnation from one value to another.
    pub fn raise_incarnation(&mut self, from: u64, to: u64) {
        if self.incarnation == Some(from) && to > from {
            self.revision += 1;
            self.incarnation = Some(to);
        }
    }

    /// What a watcher sees.
    #[must_use]
    pub fn view(&self, slot: Slot) -> View {
        View {
            revision: self.revision,
            incarnation: self.incarnation,
            members: self.members.iter().map(|(id, (_, member))| (id.clone(), member.clone())).collect(),
            claims: self.claim.iter().map(|claim| (slot, claim.clone())).collect(),
        }
    }

    /// What a read past every cache answers.
    #[must_use]
    pub fn read(&self) -> (u64, u64, Option<Claim>) {
        (self.incarnation.unwrap_or(0), self.revision, self.claim.clone())
    }

    /// Whether a claim is held, and by whom.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// Whether a lost transaction is still on its way.
    #[must_use]
    pub const fn has_straggler(&self) -> bool {
        self.straggler.is_some()
    }

    /// A lost transaction arrives after all.
    pub fn arrive(&mut self, me: &InstanceId, address: &str) {
        if let Some(write) = self.straggler.take() {
            self.apply(&write, me, address);
        }
    }

    /// A transaction, with the fate that was chosen for a move.
    pub fn write(&mut self, write: &Write, me: &InstanceId, address: &str) -> Wrote {
        if let Write::Move { .. } = write {
            match std::mem::take(&mut self.next_move) {
                Fate::Answered => {}
                Fate::Applied => {
                    self.apply(write, me, address);
                    return Wrote::Unknown;
                }
                Fate::Straggles => {
                    self.straggler = Some(write.clone());
                    return Wrote::Unknown;
                }
            }
        }
        self.apply(write, me, address)
    }

    fn apply(&mut self, write: &Write, me: &InstanceId, address: &str) -> Wrote {
        let (incarnation, lease) = match write {
            Write::Claim { lease, incarnation, .. } => (Some(*incarnation), Some(*lease)),
            Write::Bump { incarnation, own } => (Some(*incarnation), own.first().map(|own| own.lease)),
            Write::Move { incarnation, to_lease, .. } => (Some(*incarnation), Some(*to_lease)),
            _ => (None, None),
        };
        if incarnation.is_some() && incarnation != self.incarnation {
            return Wrote::Refused;
        }
        if lease.is_some_and(|lease| !self.leases.contains_key(&lease)) {
            return Wrote::Refused;
        }
        let still = |own: &Own| {
            self.claim.as_ref().is_some_and(|claim| (claim.lease, claim.mod_revision) == (own.lease, own.mod_revision))
        };
        let mod_revision = self.revision + 1;
        let mine = |lease| Claim { instance: me.clone(), address: address.into(), lease, mod_revision };
        let next = match write {
            Write::Claim { lease, .. } if self.claim.is_none() => Some(mine(*lease)),
            Write::Bump { own, .. } if own.first().is_some_and(still) => own.first().map(|own| mine(own.lease)),
            Write::GiveUp { own } if own.first().is_some_and(still) => None,
            Write::Move { own, to, address, to_lease, .. } if still(own) => {
                Some(Claim { instance: to.clone(), address: address.clone(), lease: *to_lease, mod_revision })
            }
            _ => return Wrote::Done(vec![Change::Lost { now: self.claim.clone() }]),
        };
        self.revision = mod_revision;
        self.claim = next;
        Wrote::Done(vec![Change::Made { mod_revision }])
    }
}
