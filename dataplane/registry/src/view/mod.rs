//! What a process sees of the cluster: members, claims, placement and incarnation, as one value that is replaced whole.
//!
//! A view is built by [`table`](self) from a full listing and then from changes; after any interruption from a full
//! listing again. It is never patched by its readers. Its tables are shared: a copy costs some reference counts, and a
//! change copies only the table that it touches (4,096 claims: about 100 KB).

pub(crate) mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use throng_core::routes::{Claims, Owner, Peer, Routes};
use throng_core::slot::SLOTS;
use throng_core::{Epoch, InstanceId, Millis, Role, Slot};

use crate::model::{Claim, ClaimKey, Placement, Registered, StoredPolicy};

/// Least time between two views, so that a burst of changes is shown at most 20 times a second.
pub(crate) const VIEW_PAUSE_MS: u64 = 50;

/// Unix time, for people.
pub(crate) fn unix_now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whether a view is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Changes arrive as they happen.
    Live,
    /// The registry is out of reach, or is being listed again; this is the last that was seen.
    Stale {
        /// Since when, Unix time; for people and metrics, never for a deadline. In a driven
        /// [`MemoryRegistry`](crate::MemoryRegistry) its own time.
        since_ms: Millis,
    },
}

impl Health {
    /// Whether the view is current.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Live)
    }
}

/// Everything in the registry, at one revision.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) members: [Arc<BTreeMap<InstanceId, Arc<Registered>>>; Role::ALL.len()],
    pub(crate) rooms: Arc<Vec<Option<Claim>>>,
    pub(crate) users: Arc<Vec<Option<Claim>>>,
    pub(crate) placements: [Option<Placement>; Role::ALL.len()],
    pub(crate) targets: [Option<Placement>; Role::ALL.len()],
    pub(crate) policy: Option<StoredPolicy>,
    /// The incarnation; none in a new registry, or in one that came back empty.
    pub incarnation: Option<u64>,
    /// The leader epoch; none before the first leader.
    pub leader_epoch: Option<u64>,
    /// Revision of the listing or of the last change seen. Smaller than before after an etcd came back empty.
    pub revision: u64,
    /// Whether it is current.
    pub health: Health,
    routes: OnceLock<Arc<Routes>>,
}

impl View {
    /// Nothing, not yet current.
    pub(crate) fn empty(since_ms: Millis) -> Self {
        let nobody = Arc::new(vec![None; usize::from(SLOTS)]);
        Self {
            members: std::array::from_fn(|_| Arc::default()),
            rooms: Arc::clone(&nobody),
            users: nobody,
            placements: [const { None }; Role::ALL.len()],
            targets: [const { None }; Role::ALL.len()],
            policy: None,
            incarnation: None,
            leader_epoch: None,
            revision: 0,
            health: Health::Stale { since_ms },
            routes: OnceLock::new(),
        }
    }

    /// The same, as a value of its own to be changed.
    pub(crate) fn fork(&self) -> Self {
        Self { routes: OnceLock::new(), ..self.clone() }
    }

    /// The same, no longer current since `since_ms`, or longer if it was stale before.
    pub(crate) fn stale(&self, since_ms: Millis) -> Self {
        let mut view = self.clone();
        if view.health.is_healthy() {
            view.health = Health::Stale { since_ms };
        }
        view
    }

    /// The live members of a role.
    #[must_use]
    pub fn members(&self, role: Role) -> &BTreeMap<InstanceId, Arc<Registered>> {
        let [gateway, chatroom, message] = &self.members;
        match role {
            Role::Gateway => gateway,
            Role::Chatroom => chatroom,
            Role::Message => message,
        }
    }

    /// Who holds a claim.
    #[must_use]
    pub fn claim(&self, key: ClaimKey) -> Option<&Claim> {
        match key {
            ClaimKey::Rooms(slot) => self.rooms.get(slot.index())?.as_ref(),
            ClaimKey::Users(slot) => self.users.get(slot.index())?.as_ref(),
        }
    }

    /// All claimed slots of a role, in order; a gateway has none.
    pub fn claims(&self, role: Role) -> impl Iterator<Item = (Slot, &Claim)> {
        let table: &[Option<Claim>] = match role {
            Role::Gateway => &[],
            Role::Chatroom => &self.rooms,
            Role::Message => &self.users,
        };
        Slot::all().zip(table).filter_map(|(slot, claim)| Some((slot, claim.as_ref()?)))
    }

    /// The placement document of a role.
    #[must_use]
    pub fn placement(&self, role: Role) -> Option<&Placement> {
        of_role(&self.placements, role)
    }

    /// Where the steps of a role's placement lead.
    #[must_use]
    pub fn target(&self, role: Role) -> Option<&Placement> {
        of_role(&self.targets, role)
    }

    /// The policy that all Pods follow.
    #[must_use]
    pub const fn policy(&self) -> Option<&StoredPolicy> {
        self.policy.as_ref()
    }

    /// The epoch of a claim of this view: none without an incarnation, when a claim gives no right.
    #[must_use]
    pub fn epoch(&self, claim: &Claim) -> Option<Epoch> {
        self.incarnation.map(|incarnation| Epoch::of_claim(incarnation, claim.mod_revision))
    }

    /// The view as roles see it. Made once for all readers of this view. A member that is not ready is shown as draining:
    /// it gets nothing new. Without an incarnation no claim counts.
    #[must_use]
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(self.routes.get_or_init(|| Arc::new(self.build_routes())))
    }

    fn build_routes(&self) -> Routes {
        Routes {
            rooms: self.owners(Role::Chatroom),
            users: self.owners(Role::Message),
            chatroom: self.peers(Role::Chatroom),
            message: self.peers(Role::Message),
            gateway: self.peers(Role::Gateway),
        }
    }

    fn owners(&self, role: Role) -> Claims {
        let mut owners = Claims::default();
        for (slot, claim) in self.claims(role) {
            owners.set(slot, self.epoch(claim).map(|epoch| owner(claim, epoch)));
        }
        owners
    }

    fn peers(&self, role: Role) -> BTreeMap<InstanceId, Peer> {
        let peer = |member: &crate::Member| Peer {
            pod: Arc::clone(&member.pod),
            address: Arc::clone(&member.address),
            draining: member.draining || !member.ready,
        };
        self.members(role).iter().map(|(instance, entry)| (instance.clone(), peer(&entry.member))).collect()
    }
}

fn of_role(documents: &[Option<Placement>; Role::ALL.len()], role: Role) -> Option<&Placement> {
    let [gateway, chatroom, message] = documents;
    match role {
        Role::Gateway => gateway.as_ref(),
        Role::Chatroom => chatroom.as_ref(),
        Role::Message => message.as_ref(),
    }
}

fn owner(claim: &Claim, epoch: Epoch) -> Owner {
    let holder = &claim.holder;
    Owner { instance: holder.instance.clone(), address: Arc::clone(&holder.address), epoch }
}

/// Two views are equal if they show the same; what was computed from them does not count.
impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
            && self.rooms == other.rooms
            && self.users == other.users
            && self.placements == other.placements
            && self.targets == other.targets
            && self.policy == other.policy
            && (self.incarnation, self.leader_epoch) == (other.incarnation, other.leader_epoch)
            && (self.revision, self.health) == (other.revision, other.health)
    }
}
