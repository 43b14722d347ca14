//! The words between the machine and its shell.
//!
//! The shell answers *every* request (a [`Write`], a read, a [`StoreCall`], a lease call) exactly once, within a deadline
//! of its own choosing (1-2 s), echoing the request, so that the machine never guesses what an answer is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::placement::Placement;
use crate::routes::{Owner, SlotChange};
use crate::{Epoch, InstanceId, Millis, Slot};

/// Most claims in one write: etcd refuses transactions of more than 128 operations.
pub const MAX_BATCH: usize = 64;

/// Number of a lease in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A claim as etcd holds it. It is mine only if its *lease* is mine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The process that holds it.
    pub instance: InstanceId,
    /// Where that process answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// The lease that it is attached to.
    pub lease: LeaseId,
    /// etcd's revision of its last write.
    pub mod_revision: u64,
}

/// A claim as its owner knows it: what a write compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Own {
    /// The slot.
    pub slot: Slot,
    /// The lease under which it was claimed.
    pub lease: LeaseId,
    /// Revision of the last write.
    pub mod_revision: u64,
}

/// A live process of the role, as it registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Name of its Pod.
    pub pod: Arc<str>,
    /// Uid of its Pod.
    pub uid: Arc<str>,
    /// Where it answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// Revision of the cluster's spec that it runs.
    pub revision: Arc<str>,
    /// Its lease: a planned move attaches the claim to it.
    pub lease: LeaseId,
    /// It is emptying: it claims nothing.
    pub draining: bool,
    /// It reaches Redis.
    pub redis_ok: bool,
}

/// What the registry shows of one role, whole. Views of one process come in the order of their revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    /// etcd's revision that it shows.
    pub revision: u64,
    /// The incarnation; none in a new or emptied etcd.
    pub incarnation: Option<u64>,
    /// Live processes.
    pub members: BTreeMap<InstanceId, Member>,
    /// Claims of slots.
    pub claims: BTreeMap<Slot, Claim>,
}

/// What a slot's fence in the store says: whoever writes with a smaller epoch is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Epoch of the owner that raised it.
    pub epoch: Epoch,
    /// That owner.
    pub instance: InstanceId,
}

/// A transaction on claims. Every one compares the incarnation; all but `Claim` compare the claim's `mod_revision` and
/// lease, and touch nothing that is not the writer's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Write {
    /// Claim these slots if nobody holds them.
    Claim {
        /// At most [`MAX_BATCH`].
        slots: Vec<Slot>,
        /// To be attached to this lease.
        lease: LeaseId,
        /// The incarnation to compare.
        incarnation: u64,
    },
    /// Write these again, unchanged, so that they get a new epoch.
    Bump {
        /// At most [`MAX_BATCH`].
        own: Vec<Own>,
        /// The incarnation to compare.
        incarnation: u64,
    },
    /// Delete these.
    GiveUp {
        /// At most [`MAX_BATCH`].
        own: Vec<Own>,
    },
    /// Make this one another process's.
    Move {
        /// The claim.
        own: Own,
        /// Who gets it.
        to: InstanceId,
        /// Where it answers.
        address: Arc<str>,
        /// Its revision of the spec.
        revision: Arc<str>,
        /// Its lease, to which the claim is attached.
        to_lease: LeaseId,
        /// The incarnation to compare.
        incarnation: u64,
    },
}

/// What became of a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wrote {
    /// It was answered: one entry for each slot of the write, in its order.
    Done(Vec<Change>),
    /// Nothing was written: another incarnation, a lease that is gone, etcd out of reach before anything was sent.
    Refused,
    /// It was sent and no answer came: it may be in force, or come into force later.
    Unknown,
}

/// What became of one slot of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was written (or deleted).
    Made {
        /// Revision of the write.
        mod_revision: u64,
    },
    /// It was not what the writer took it for.
    Lost {
        /// Who holds it, none if nobody.
        now: Option<Claim>,
    },
}

/// A call to the store (Redis). Fences and grace are Functions that never refuse for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreCall {
    /// `stored epoch > epoch`: [`StoreReply::Stale`]. `holder` is neither me, nor `over`, nor missing:
    /// [`StoreReply::Held`], nothing changed. Else the fence becomes `{epoch, me}`.
    RaiseFence {
        /// The slot.
        slot: Slot,
        /// The new epoch.
        epoch: Epoch,
        /// The holder that has been revoked, and may be replaced.
        over: Option<InstanceId>,
        /// A take-over: if the store was emptied less than 1.5 s ago (its birth mark is missing or younger), it answers
        /// [`StoreReply::Emptied`] and changes nothing but the mark. False: an owner writes its fence again.
        taking: bool,
    },
    /// Mark that `epoch` revokes `instance` in this slot; a smaller mark is overwritten, a larger one stays. Answers the
    /// time left to the instance's grace: [`StoreReply::Revoked`].
    Revoke {
        /// The slot.
        slot: Slot,
        /// The revoking epoch.
        epoch: Epoch,
        /// Who is revoked.
        instance: InstanceId,
    },
    /// Prolong my grace to 1.5 s, if it exists, and answer all marks against me: [`StoreReply::Grace`]; else
    /// [`StoreReply::Missing`].
    RenewGrace {
        /// When it was asked for: deadlines count from sending.
        asked: Millis,
    },
    /// Write the fences of my slots again, *then* create my grace for 1.5 s, and answer all marks against me; a slot whose
    /// fence has a larger epoch is answered like a mark of that epoch. Fails ([`StoreReply::Unreachable`]) as a whole.
    CreateGrace {
        /// When it was asked for.
        asked: Millis,
        /// The slots that I serve, with their epochs.
        mine: Vec<(Slot, Epoch)>,
    },
    /// End my grace at once: I serve nothing any more.
    DropGrace,
    /// Raise the store's copy of the incarnation to this, if it is smaller: [`StoreReply::Incarnation`].
    RaiseIncarnation {
        /// The least that it must be.
        to: u64,
    },
}

/// What the store answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreReply {
    /// The fence is mine.
    Raised,
    /// Another process holds the fence, under a smaller epoch.
    Held(Fence),
    /// The fence has a larger epoch.
    Stale(Epoch),
    /// The store was emptied: wait so long and ask again, in milliseconds.
    Emptied(u64),
    /// The mark is set; so long may the revoked one still serve by its grace, in milliseconds.
    Revoked(u64),
    /// My grace lasts, and these slots are revoked in it, each by the largest epoch that revoked it.
    Grace(Vec<(Slot, Epoch)>),
    /// There is no grace of mine: it ran out, or the store was emptied.
    Missing,
    /// The store's incarnation after the call.
    Incarnation(u64),
    /// Done; nothing to tell.
    Done,
    /// No answer, or an error.
    Unreachable,
}

/// How an owner came to its slot, and so what it has to do before it serves rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// It took over: what it knows comes from the gathered tails and the store. Seal what they hold of older epochs.
    Gathered,
    /// The owner before handed everything over and stopped. Seal its epoch where it stopped.
    HandedOver,
    /// It is its own successor: seal its own epoch at its last numbers and go on.
    Own,
}

/// What happens to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Input {
    /// Time passed; see [`super::Ownership::wake_at`].
    Timer,
    /// Every reactor of the process has answered; the slowest one at this time. Without it the lease is not renewed.
    Reactors(Millis),
    /// Answer to [`Output::GrantLease`].
    LeaseGranted {
        /// The lease.
        lease: LeaseId,
        /// What was granted, in milliseconds.
        ttl_ms: u64,
        /// Of the request.
        asked: Millis,
    },
    /// Answer to [`Output::RenewLease`].
    LeaseRenewed {
        /// The lease.
        lease: LeaseId,
        /// What was granted, in milliseconds.
        ttl_ms: u64,
        /// Of the request.
        asked: Millis,
    },
    /// etcd says that the lease does not exist (any more), or it was revoked.
    LeaseGone(LeaseId),
    /// A grant or a renewal got no answer.
    LeaseUnanswered,
    /// The registry as it is now.
    View(Box<View>),
    /// The placement document of the role. An older one than that in force is ignored.
    Placement(Arc<Placement>),
    /// A write was answered, or was not.
    Wrote {
        /// The write.
        write: Write,
        /// What became of it.
        outcome: Wrote,
    },
    /// Answer to [`Output::ReadClaim`], past every cache; `None`: no answer.
    ClaimRead {
        /// The slot.
        slot: Slot,
        /// Incarnation and revision at the reading, and the claim.
        read: Option<(u64, u64, Option<Claim>)>,
    },
    /// The store answered, or did not.
    Store {
        /// The call.
        call: StoreCall,
        /// The answer.
        reply: StoreReply,
    },
    /// Every live message Pod has promised, or was given time enough.
    Gathered {
        /// The slot.
        slot: Slot,
        /// The epoch that was promised.
        epoch: Epoch,
        /// Some Pod had promised this larger epoch.
        stale: Option<Epoch>,
    },
    /// Somebody answered STALE: it has seen this epoch, larger than mine.
    Stale {
        /// The slot.
        slot: Slot,
        /// What it has seen.
        epoch: Epoch,
    },
    /// Rooms or users of this slot are waiting: it is taken over first.
    Wanted(Slot),
    /// How much a move of each slot is felt; slots that are missing are idle.
    Heat(BTreeMap<Slot, u64>),
    /// Move a slot, whatever the placement says.
    Move {
        /// The slot.
        slot: Slot,
        /// Who shall have it.
        to: InstanceId,
    },
    /// The new owner follows closely: hand over now. Answer to [`Output::WarmUp`].
    Warm {
        /// The slot.
        slot: Slot,
        /// The new owner.
        to: InstanceId,
    },
    /// The new owner cannot have it. Answer to [`Output::WarmUp`].
    Cold {
        /// The slot.
        slot: Slot,
    },
    /// The owner before has stopped and handed over everything, in favour of my claim with this epoch.
    HandedOver {
        /// The slot.
        slot: Slot,
        /// Epoch of my claim.
        epoch: Epoch,
    },
    /// Answer to [`Output::AskIncarnations`].
    Incarnations {
        /// The store's: `None` if it cannot be reached, else 0 if it holds none.
        store: Option<u64>,
        /// The largest that any reachable Pod knows, chatroom or message; 0 if none knows one.
        pods: u64,
    },
    /// Answer to [`Output::CreateIncarnation`] and [`Output::RaiseIncarnation`]; the next view tells the outcome.
    IncarnationWritten,
    /// Empty this process. Of several deadlines the nearest counts.
    Drain {
        /// When everything should be elsewhere; none: in its own time.
        by: Option<Millis>,
    },
    /// Take part again.
    Undrain,
    /// Leave now: give up everything.
    Stop,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Output {
    /// Take a lease.
    GrantLease {
        /// Time to live to ask for, in milliseconds.
        ttl_ms: u64,
        /// To be echoed.
        asked: Millis,
    },
    /// Renew it, within about a second.
    RenewLease {
        /// The lease.
        lease: LeaseId,
        /// To be echoed.
        asked: Millis,
    },
    /// End a lease: mine, or my predecessor's in the same Pod. Answered by [`Input::LeaseGone`] when done, else by
    /// [`Input::LeaseUnanswered`].
    RevokeLease(LeaseId),
    /// Put my member entry under my lease, with these.
    Announce {
        /// I am emptying.
        draining: bool,
        /// I reach the store.
        redis_ok: bool,
    },
    /// Write claims.
    Write(Write),
    /// Read one claim, past every cache.
    ReadClaim(Slot),
    /// Call the store.
    Store(StoreCall),
    /// Ask the store and every reachable chatroom and message Pod for the largest incarnation that they know.
    AskIncarnations,
    /// Store this incarnation if there is none.
    CreateIncarnation(u64),
    /// Raise the incarnation from one value to a larger one.
    RaiseIncarnation {
        /// The stored value.
        from: u64,
        /// The new one.
        to: u64,
    },
    /// Ask every live message Pod for a promise and the tails of this slot's rooms, for a second at most.
    Gather {
        /// The slot.
        slot: Slot,
        /// What they promise.
        epoch: Epoch,
    },
    /// Serve the slot from now on. `Origin` says what is known of its rooms.
    Open {
        /// The slot.
        slot: Slot,
        /// The epoch of the claim: numbers start at 1 in it.
        epoch: Epoch,
        /// How it came here.
        origin: Origin,
    },
    /// Stop serving it under this epoch, at once: take nothing more, keep connections.
    Close {
        /// The slot.
        slot: Slot,
        /// The epoch that ends.
        epoch: Epoch,
        /// Who serves it now, where known: answer MOVED with it.
        moved_to: Option<Owner>,
    },
    /// Let this process follow the slot: a snapshot, then everything that happens.
    WarmUp {
        /// The slot.
        slot: Slot,
        /// Who gets it.
        to: InstanceId,
    },
    /// It has stopped here: send the last numbers, ring, quotas, unflushed writes and pending acks.
    HandOver {
        /// The slot.
        slot: Slot,
        /// The epoch that ended here.
        epoch: Epoch,
        /// The epoch of the new owner's claim.
        next: Epoch,
        /// The new owner.
        to: InstanceId,
    },
    /// The planned move did not happen: what was prepared may be forgotten.
    MoveEnded {
        /// The slot.
        slot: Slot,
    },
    /// The store is back after a take-over without it: read the log's older entries and publish `sealed` again.
    ReadLog {
        /// The slot.
        slot: Slot,
        /// The epoch that it is served under.
        epoch: Epoch,
    },
    /// Everything was moved away: nothing is owned here any more.
    Drained,
    /// Everything was given up: the process may end.
    Stopped,
}

impl Output {
    /// What it means to whoever serves rooms or users, if anything.
    #[must_use]
    pub fn slot_change(&self) -> Option<SlotChange> {
        match self {
            Self::Open { slot, epoch, origin } => {
                Some(SlotChange::Open { slot: *slot, epoch: *epoch, origin: *origin })
            }
            Self::ReadLog { slot, epoch } => Some(SlotChange::ReadLog { slot: *slot, epoch: *epoch }),
            Self::Close { slot, moved_to, .. } => Some(SlotChange::Close { slot: *slot, moved_to: moved_to.clone() }),
            _ => None,
        }
    }
}
