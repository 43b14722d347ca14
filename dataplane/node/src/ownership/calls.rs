//! The calls that the machine asks for, each as a future of the inputs that answer it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use throng_core::ownership::{Input, LeaseId, Me, Output, Own, StoreReply, Write, Wrote};
use throng_core::{Epoch, InstanceId, Millis, Role, Slot};
use throng_proto::key::PodKey;
use throng_registry::{self as registry, ClaimKey, Error, Holder, Lease, Member, Outcome, Registry, View};
use throng_store::Store;
use tracing::{debug, info, warn};

use super::peers::{self, Peers};
use super::refused::Refused;
use super::store::Asked;
use super::{Rooms, store, translate};

/// Longest wait for a renewal: well inside the time to live.
const RENEW_WITHIN: Duration = Duration::from_millis(900);
/// Between two attempts to write the member entry.
const ANNOUNCE_AGAIN: Duration = Duration::from_millis(300);
/// Attempts to write the member entry; after that the lease is gone, and a new one brings a new entry.
const ANNOUNCE_ATTEMPTS: u32 = 10;

/// A call under way.
pub(super) type Call = Pin<Box<dyn Future<Output = Vec<Input>> + Send>>;

/// Whom to ask, and as who.
pub(super) struct Calls {
    role: Role,
    me: Me,
    member: Member,
    holder: Holder,
    registry: Arc<dyn Registry>,
    /// Shared with the other processes of the role; none: the registry is all there is.
    store: Option<Arc<Asked>>,
    rooms: Option<Arc<dyn Rooms>>,
    peers: Option<Arc<Peers>>,
    view: Option<Arc<View>>,
    lease: Option<LeaseId>,
    announcement: Arc<AtomicU64>,
    /// What refuses this process.
    refused: Refused,
    /// One announcement is on its way at a time, or an older one might arrive last.
    announcing: Arc<tokio::sync::Mutex<()>>,
}

impl Calls {
    pub(super) fn new(role: Role, me: Me, member: Member, registry: Arc<dyn Registry>, refused: Refused) -> Self {
        let Me { instance, address, revision, .. } = me.clone();
        let holder = Holder { instance, address, revision };
        Self {
            role,
            me,
            member,
            holder,
            registry,
            store: None,
            rooms: None,
            peers: None,
            view: None,
            lease: None,
            announcement: Arc::default(),
            refused,
            announcing: Arc::default(),
        }
    }

    pub(super) fn use_store(&mut self, store: Arc<dyn Store>) {
        self.store = Some(Arc::new(Asked::new(store, self.refused.clone())));
    }

    pub(super) fn use_peers(&mut self, key: PodKey) {
        self.peers = Some(Arc::new(Peers::new(key)));
    }

    pub(super) fn use_rooms(&mut self, rooms: Arc<dyn Rooms>) {
        self.rooms = Some(rooms);
    }

    /// Remembers who lives.
    pub(super) fn look(&mut self, view: &Arc<View>) {
        self.view = Some(Arc::clone(view));
    }

    /// Where the live Pods of a role answer, this one left out.
    fn others(&self, role: Role) -> impl Iterator<Item = Arc<str>> + use<'_> {
        let members = self.view.iter().flat_map(move |view| view.members(role));
        members
            .filter(|(instance, _)| **instance != self.me.instance)
            .map(|(_, entry)| Arc::clone(&entry.member.address))
    }

    /// Remembers the process's lease, under which its member entry stands.
    pub(super) fn hear(&mut self, input: &Input) {
        if let Input::LeaseGranted { lease, .. } = input {
            self.lease = Some(*lease);
        }
    }

    /// Begins what the machine wants; none where there is nothing to wait for.
    pub(super) fn start(&self, output: Output) -> Option<Call> {
        let registry = Arc::clone(&self.registry);
        match output {
            Output::GrantLease { ttl_ms, asked } => one(grant(registry, ttl_ms, asked, self.refused.clone())),
            Output::RenewLease { lease, asked } => one(renew(registry, lease, asked, self.refused.clone())),
            Output::RevokeLease(lease) => one(revoke(registry, lease)),
            Output::Announce { draining, redis_ok } => self.announce(draining, redis_ok),
            Output::Write(write) => one(self.write(write)),
            Output::ReadClaim(slot) => self.read(slot),
            Output::Store(call) => match &self.store {
                Some(store) => one(store::call(Arc::clone(store), call)),
                None => one(std::future::ready(Input::Store { call, reply: StoreReply::Unreachable })),
            },
            Output::AskIncarnations => {
                let pods = self.others(Role::Chatroom).chain(self.others(Role::Message)).collect();
                one(peers::incarnations(self.store.as_ref().map(|asked| asked.store()), self.peers.clone(), pods))
            }
            Output::CreateIncarnation(to) => one(raise_incarnation(registry, None, to)),
            Output::RaiseIncarnation { from, to } => one(raise_incarnation(registry, Some(from), to)),
            Output::WarmUp { slot, to } => one(warm_up(self.rooms.clone(), slot, to)),
            _ => None,
        }
    }

    /// Begins to gather for several slots at once.
    pub(super) fn gather(&self, slots: &[(Slot, Epoch)]) -> Vec<Call> {
        let (Some(peers), Some(rooms)) = (&self.peers, &self.rooms) else {
            let nobody = slots.iter().map(|&(slot, epoch)| Input::Gathered { slot, epoch, stale: None }).collect();
            return vec![std::future::ready(nobody).boxed()];
        };
        let relays: Vec<_> = self.others(Role::Message).collect();
        let call = |slots: &[(Slot, Epoch)]| {
            peers::gather(Arc::clone(peers), relays.clone(), Arc::clone(rooms), slots.to_vec()).boxed()
        };
        slots.chunks(peers::SLOTS_A_CALL).map(call).collect()
    }

    fn announce(&self, draining: bool, redis_ok: bool) -> Option<Call> {
        let lease = registry::LeaseId(self.lease?.0);
        let member = Member { draining, redis_ok, ready: true, ..self.member.clone() };
        let (role, instance, registry) = (self.role, self.me.instance.clone(), Arc::clone(&self.registry));
        let (latest, turn) = (Arc::clone(&self.announcement), Arc::clone(&self.announcing));
        let mine = latest.fetch_add(1, Ordering::Relaxed) + 1;
        let call = async move {
            let _turn = turn.lock().await;
            for _ in 0..ANNOUNCE_ATTEMPTS {
                if latest.load(Ordering::Relaxed) != mine {
                    break;
                }
                match registry.put_member(role, &instance, lease, &member).await {
                    Ok(()) | Err(Error::LeaseGone(_)) => break,
                    Err(error) => debug!(%error, "the member entry was not written"),
                }
                tokio::time::sleep(ANNOUNCE_AGAIN).await;
            }
            Input::Timer
        };
        one(call)
    }

    fn write(&self, write: Write) -> impl Future<Output = Input> + Send + use<> {
        let (registry, holder, role) = (Arc::clone(&self.registry), self.holder.clone(), self.role);
        async move {
            let outcome =
                match &write {
                    Write::Claim { slots, lease, incarnation } => {
                        let keys: Vec<ClaimKey> = slots.iter().filter_map(|&slot| ClaimKey::slot(role, slot)).collect();
                        translate::wrote(registry.claim(&keys, &holder, registry::LeaseId(lease.0), *incarnation).await)
                    }
                    Write::Bump { own, incarnation } => {
                        translate::wrote(registry.bump(&theirs(role, own), &holder, *incarnation).await)
                    }
                    Write::GiveUp { own } => translate::wrote(registry.give_up(&theirs(role, own)).await),
                    Write::Move { own, to, address, revision, to_lease, incarnation } => {
                        let (address, revision) = (Arc::clone(address), Arc::clone(revision));
                        let to = Holder { instance: to.clone(), address, revision };
                        let to_lease = registry::LeaseId(to_lease.0);
                        match theirs(role, std::slice::from_ref(own)).first() {
                            Some(own) => translate::wrote(
                                registry.move_claim(own, &to, to_lease, *incarnation).await.map(|moved| match moved {
                                    Outcome::Known(change) => Outcome::Known(vec![change]),
                                    Outcome::Unknown => Outcome::Unknown,
                                }),
                            ),
                            None => Wrote::Refused,
                        }
                    }
                    _ => Wrote::Refused,
                };
            Input::Wrote { write, outcome }
        }
    }

    fn read(&self, slot: Slot) -> Option<Call> {
        let key = ClaimKey::slot(self.role, slot)?;
        let registry = Arc::clone(&self.registry);
        let call = async move {
            let read = registry.read_claims(std::slice::from_ref(&key)).await.ok();
            let read = read.map(|read| {
                let claim = read.claims.into_iter().next().flatten();
                (read.incarnation.unwrap_or(0), read.revision, claim.as_ref().map(translate::claim))
            });
            Input::ClaimRead { slot, read }
        };
        one(call)
    }
}

/// A call that has one answer.
#[expect(clippy::unnecessary_wraps, reason = "beside outputs that are no calls")]
fn one(call: impl Future<Output = Input> + Send + 'static) -> Option<Call> {
    Some(call.map(|input| vec![input]).boxed())
}

/// The next owner starts from what is handed over, so all it needs is that nothing waits for the store.
async fn warm_up(rooms: Option<Arc<dyn Rooms>>, slot: Slot, to: InstanceId) -> Input {
    let settled = match rooms {
        Some(rooms) => rooms.settled(slot).await,
        None => true,
    };
    if settled { Input::Warm { slot, to } } else { Input::Cold { slot } }
}

fn theirs(role: Role, own: &[Own]) -> Vec<registry::Own> {
    let one = |own: &Own| {
        let key = ClaimKey::slot(role, own.slot)?;
        Some(registry::Own { key, mod_revision: own.mod_revision, lease: registry::LeaseId(own.lease.0) })
    };
    own.iter().filter_map(one).collect()
}

async fn grant(registry: Arc<dyn Registry>, ttl_ms: u64, asked: Millis, refused: Refused) -> Input {
    let granted = registry.grant(ttl_ms).await;
    refused.note_registry(&granted);
    match granted {
        Ok(Lease { id, ttl_ms }) => Input::LeaseGranted { lease: LeaseId(id.0), ttl_ms, asked },
        Err(error) => {
            debug!(%error, "no lease yet");
            Input::LeaseUnanswered
        }
    }
}

async fn renew(registry: Arc<dyn Registry>, lease: LeaseId, asked: Millis, refused: Refused) -> Input {
    let held = Lease { id: registry::LeaseId(lease.0), ttl_ms: throng_core::ownership::LEASE_TTL_MS };
    let renewed = registry.keep_alive(held, RENEW_WITHIN).await;
    refused.note_registry(&renewed);
    match renewed {
        Ok(ttl_ms) => Input::LeaseRenewed { lease, ttl_ms, asked },
        Err(Error::LeaseGone(_)) => {
            warn!("the lease is gone: nothing is served until there is a new one");
            Input::LeaseGone(lease)
        }
        Err(error) => {
            debug!(%error, "the lease was not confirmed");
            Input::LeaseUnanswered
        }
    }
}

async fn revoke(registry: Arc<dyn Registry>, lease: LeaseId) -> Input {
    match registry.revoke(registry::LeaseId(lease.0)).await {
        Ok(()) => Input::LeaseGone(lease),
        Err(error) => {
            debug!(%error, "a lease was not revoked");
            Input::LeaseUnanswered
        }
    }
}

async fn raise_incarnation(registry: Arc<dyn Registry>, from: Option<u64>, to: u64) -> Input {
    let written = match from {
        None => registry.create_incarnation(to).await,
        Some(from) => registry.raise_incarnation(from, to).await,
    };
    match written {
        Ok(incarnation) => info!(incarnation, "incarnation"),
        Err(error) => debug!(%error, "the incarnation was not written"),
    }
    Input::IncarnationWritten
}
