//! The trait that roles and the operator use.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use throng_core::policy::Policy;
use throng_core::{InstanceId, Role};
use tokio::sync::watch;

use crate::error::Error;
use crate::model::{Change, ClaimKey, ClaimsRead, Fence, Holder, Lease, LeaseId, Member, Own, Placement};
use crate::view::View;

/// An answer on its way. Never takes longer than the deadline of the call: the one given, or else the registry's own
/// (2 s unless configured).
pub type Call<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// What is known of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It was answered.
    Known(T),
    /// It was sent and no answer came. It may be in force, or *come* into force later: read back with
    /// [`Registry::read_claims`], and write again under a new revision ([`Registry::bump`]) before relying on what is
    /// still one's own: after that a straggler's comparison fails. A claim of a free key has nothing to compare: while its
    /// lease lives, a key that reads as free may yet turn out to be claimed.
    Unknown,
}

/// Leases, members, claims, incarnation, placement, and a view of them all.
///
/// Shared as `Arc<dyn Registry>`. It starts no renewals: a lease lives only as long as its owner calls
/// [`Registry::keep_alive`], because it must not be renewed for a process whose reactors have stopped answering.
pub trait Registry: Send + Sync + 'static {
    /// Takes a lease for `ttl_ms`. The granted time may be longer (etcd counts whole seconds).
    fn grant(&self, ttl_ms: u64) -> Call<'_, Lease>;

    /// Renews a lease, one round, within a deadline. Answers the confirmed time to live, which the caller counts from when
    /// it *called*. [`Error::LeaseGone`]: too late. [`Error::Unavailable`]: not confirmed, though it may have been renewed.
    fn keep_alive(&self, lease: Lease, within: Duration) -> Call<'_, u64>;

    /// Ends a lease, one's own or a predecessor's; everything attached to it vanishes at once. Fine if it is gone already.
    fn revoke(&self, lease: LeaseId) -> Call<'_, ()>;

    /// Writes what a process says of itself, under its lease; again at every change.
    fn put_member(&self, role: Role, instance: &InstanceId, lease: LeaseId, member: &Member) -> Call<'_, ()>;

    /// Claims those of up to [`MAX_BATCH`](crate::MAX_BATCH) keys that nobody holds; answers in their order. All of one
    /// call get the same revision. Nothing is claimed unless the incarnation is the stored one and the lease lives.
    fn claim(
        &self,
        keys: &[ClaimKey],
        holder: &Holder,
        lease: LeaseId,
        incarnation: u64,
    ) -> Call<'_, Outcome<Vec<Change>>>;

    /// Gives up claims that are still the caller's own, up to [`MAX_BATCH`](crate::MAX_BATCH).
    fn give_up(&self, own: &[Own]) -> Call<'_, Outcome<Vec<Change>>>;

    /// Rewrites claims that are still the caller's own, under new revisions and so new epochs; up to
    /// [`MAX_BATCH`](crate::MAX_BATCH).
    fn bump(&self, own: &[Own], holder: &Holder, incarnation: u64) -> Call<'_, Outcome<Vec<Change>>>;

    /// Hands a claim over in one transaction: if it is still the caller's own and the incarnation is the stored one, it
    /// becomes `to`'s, attached to the lease `to_lease` (of its member entry). [`Error::LeaseGone`] if that one is gone.
    fn move_claim(&self, own: &Own, to: &Holder, to_lease: LeaseId, incarnation: u64) -> Call<'_, Outcome<Change>>;

    /// Reads claims and the incarnation at one revision, past every cache: the way to learn an unknown outcome. Up to
    /// [`MAX_BATCH`](crate::MAX_BATCH).
    fn read_claims(&self, keys: &[ClaimKey]) -> Call<'_, ClaimsRead>;

    /// The stored incarnation, none in a new or emptied registry.
    fn incarnation(&self) -> Call<'_, Option<u64>>;

    /// Stores the incarnation if there is none; answers the one in force. Safe to repeat.
    fn create_incarnation(&self, incarnation: u64) -> Call<'_, u64>;

    /// Raises the incarnation from one value to a larger one; answers the one in force, which is not `to` if it was not
    /// `from`. Safe to repeat. [`Error::Refused`] if it would not grow.
    fn raise_incarnation(&self, from: u64, to: u64) -> Call<'_, u64>;

    /// Takes the next leader epoch, larger than the stored one and than `above` (what the caller knows from elsewhere, so
    /// that epochs grow past an emptied registry). Repeating it wastes a number, no more.
    fn next_leader_epoch(&self, above: u64) -> Call<'_, u64>;

    /// The stored leader epoch, none before the first leader.
    fn leader_epoch(&self) -> Call<'_, Option<u64>>;

    /// The placement document of a role.
    fn placement(&self, role: Role) -> Call<'_, Option<Placement>>;

    /// Writes the placement document of a role, if the fence holds; answers its revision. After
    /// [`Error::Unavailable`] it may have been written: the same call is a [`Conflict::Document`](crate::Conflict) then.
    fn put_placement(&self, role: Role, bytes: Bytes, fence: Fence) -> Call<'_, u64>;

    /// Writes where the steps of a role's placement lead, as [`Registry::put_placement`] does. A view shows it; nobody but
    /// the operator reads it.
    fn put_target(&self, role: Role, bytes: Bytes, fence: Fence) -> Call<'_, u64>;

    /// Writes the policy that all Pods follow, under the leader epoch that it names and after the revision that its writer
    /// read, as [`Registry::put_placement`] does.
    fn put_policy(&self, policy: &Policy, after: Option<u64>) -> Call<'_, u64>;

    /// Removes every key of the cluster, the leader epoch too, if that is still `leader_epoch`: the end of the cluster. Fine if
    /// it is repeated; a process that still lives may write its own keys again.
    fn forget_cluster(&self, leader_epoch: u64) -> Call<'_, ()>;

    /// Everything, and every change of it, at most about 20 times a second. The first view may be empty and unhealthy:
    /// `wait_for(|view| view.health.is_healthy())`. While the registry is out of reach the last view stays, marked stale.
    fn watch(&self) -> watch::Receiver<Arc<View>>;
}
