//! The calls that the machine asks for, each as a future of the input that answers it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use throng_core::ownership::{Input, LeaseId, Me, Output, Own, Write, Wrote};
use throng_core::{Millis, Role, Slot};
use throng_registry::{self as registry, ClaimKey, Error, Holder, Lease, Member, Outcome, Registry};
use tracing::{debug, info, warn};

use super::translate;

/// Longest wait for a renewal: well inside the time to live.
const RENEW_WITHIN: Duration = Duration::from_millis(900);
/// Between two attempts to write the member entry.
const ANNOUNCE_AGAIN: Duration = Duration::from_millis(300);
/// Attempts to write the member entry; after that the lease is gone, and a new one brings a new entry.
const ANNOUNCE_ATTEMPTS: u32 = 10;

/// A call under way.
pub(super) type Call = Pin<Box<dyn Future<Output = Input> + Send>>;

/// Whom to ask, and as who.
pub(super) struct Calls {
    role: Role,
    me: Me,
    member: Member,
    holder: Holder,
    registry: Arc<dyn Registry>,
    lease: Option<LeaseId>,
    announcement: Arc<AtomicU64>,
}

impl Calls {
    pub(super) fn new(role: Role, me: Me, member: Member, registry: Arc<dyn Registry>) -> Self {
        let Me { instance, address, revision, .. } = me.clone();
        let holder = Holder { instance, address, revision };
        Self { role, me, member, holder, registry, lease: None, announcement: Arc::default() }
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
            Output::GrantLease { ttl_ms, asked } => Some(grant(registry, ttl_ms, asked).boxed()),
            Output::RenewLease { lease, asked } => Some(renew(registry, lease, asked).boxed()),
            Output::RevokeLease(lease) => Some(revoke(registry, lease).boxed()),
            Output::Announce { draining, redis_ok } => self.announce(draining, redis_ok),
            Output::Write(write) => Some(self.write(write)),
            Output::ReadClaim(slot) => self.read(slot),
            // Without a shared store nobody but the registry remembers.
            Output::AskIncarnations => Some(ready(Input::Incarnations { store: Some(0), pods: 0 })),
            Output::CreateIncarnation(to) => Some(raise_incarnation(registry, None, to).boxed()),
            Output::RaiseIncarnation { from, to } => Some(raise_incarnation(registry, Some(from), to).boxed()),
            Output::Gather { slot, epoch } => Some(ready(Input::Gathered { slot, epoch, stale: None })),
            Output::WarmUp { slot, to } => Some(ready(Input::Warm { slot, to })),
            _ => None,
        }
    }

    fn announce(&self, draining: bool, redis_ok: bool) -> Option<Call> {
        let lease = registry::LeaseId(self.lease?.0);
        let member = Member { draining, redis_ok, ready: true, ..self.member.clone() };
        let (role, instance, registry) = (self.role, self.me.instance.clone(), Arc::clone(&self.registry));
        let latest = Arc::clone(&self.announcement);
        let mine = latest.fetch_add(1, Ordering::Relaxed) + 1;
        let call = async move {
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
        Some(call.boxed())
    }

    fn write(&self, write: Write) -> Call {
        let (registry, holder, role) = (Arc::clone(&self.registry), self.holder.clone(), self.role);
        let call = async move {
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
        };
        call.boxed()
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
        Some(call.boxed())
    }
}

fn ready(input: Input) -> Call {
    std::future::ready(input).boxed()
}

fn theirs(role: Role, own: &[Own]) -> Vec<registry::Own> {
    let one = |own: &Own| {
        let key = ClaimKey::slot(role, own.slot)?;
        Some(registry::Own { key, mod_revision: own.mod_revision, lease: registry::LeaseId(own.lease.0) })
    };
    own.iter().filter_map(one).collect()
}

async fn grant(registry: Arc<dyn Registry>, ttl_ms: u64, asked: Millis) -> Input {
    match registry.grant(ttl_ms).await {
        Ok(Lease { id, ttl_ms }) => Input::LeaseGranted { lease: LeaseId(id.0), ttl_ms, asked },
        Err(error) => {
            debug!(%error, "no lease yet");
            Input::LeaseUnanswered
        }
    }
}

async fn renew(registry: Arc<dyn Registry>, lease: LeaseId, asked: Millis) -> Input {
    let held = Lease { id: registry::LeaseId(lease.0), ttl_ms: throng_core::ownership::LEASE_TTL_MS };
    match registry.keep_alive(held, RENEW_WITHIN).await {
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
