//! A cluster that is to be deleted: gateways send their users away within the deadline of drains, then the rest goes, then
//! its keys in the registry and the finalizer.
//!
//! Being deleted counts more than being paused: it is the last word of a person, and a finalizer that waits for nobody
//! would be a trap.

use throng_core::Role;

use super::census::{Census, Seat, State};
use super::words::{are, pods};
use super::{Action, Because, Draft, Look};
use crate::status::{DrainCause, DrainStatus, MAX_COUNT, Utc};

/// Pods that were told to end have so long beyond the deadline until the finalizer waits for them no more.
const GRACE_MS: u64 = 60_000;

/// What a Pod without connections says counts this long after its end began: moves of slots that were under way then are over, and
/// the users that came with them are counted.
const SETTLED_MS: u64 = 5_000;

/// The finalizer waits so long for a registry that does not answer, counted from the deletion.
const REGISTRY_MS: u64 = 300_000;

/// Plans the end of a cluster.
pub(super) fn plan(look: &Look<'_>, census: &mut Census<'_>, draft: &mut Draft) {
    let cluster = &look.world.cluster;
    let Some(since) = cluster.deleted_at.filter(|_| cluster.finalizer) else { return };
    let deadline = Utc(since.0 + look.world.spec.drain.deadline_ms);
    if cluster.let_go {
        draft.why.push("the cluster is let go without a drain, as asked".to_owned());
        draft.last.push(Action::RemoveFinalizer);
        return;
    }
    let gateways = census.of(Role::Gateway).iter().any(|seat| seat.state != State::Lost);
    let pace = pace(look, census.of(Role::Gateway));
    for role in Role::ALL {
        for seat in census.pools.of_mut(role) {
            let first = role == Role::Gateway;
            end(seat, look, (since, pace), first || !gateways, draft);
        }
    }
    let waits = census.all().any(|seat| !matches!(seat.state, State::Going | State::Lost));
    if census.all().next().is_none() || !waits && look.world.now.0 >= deadline.0 + GRACE_MS {
        let over = Utc(deadline.0 + GRACE_MS);
        go(look, Utc(since.0 + REGISTRY_MS).max(over), since, draft);
    } else {
        let left = census.all().count() as u64;
        draft.why.push(format!("the cluster is deleted: {} {} left", pods(left), are(left)));
    }
}

/// The last act: the keys of the cluster go, then the finalizer. A registry that does not answer is waited for, and one that
/// refuses until `over`, when the keys are left behind: a finalizer that waits for ever would be a trap.
fn go(look: &Look<'_>, over: Utc, since: Utc, draft: &mut Draft) {
    let world = look.world;
    let (answers, patient) = (world.registry.is_some(), world.now.0.since(since.0) < REGISTRY_MS);
    if answers && world.now < over {
        draft.last.push(Action::ForgetKeys { leader_epoch: world.leader_epoch });
    } else if patient {
        draft.why.push("the cluster is drained, and waits for etcd to remove its keys from it".to_owned());
        return;
    } else {
        draft.why.push("the keys of the cluster stay in etcd: it did not remove them in time".to_owned());
    }
    draft.why.push("the cluster is drained and goes".to_owned());
    draft.last.push(Action::RemoveFinalizer);
}

/// Users that each gateway may send away in a second: together they keep to what the spec says.
fn pace(look: &Look<'_>, gateways: &[Seat<'_>]) -> Option<u32> {
    let draining = gateways.iter().filter(|seat| matches!(seat.state, State::Live | State::Going)).count();
    let draining = u32::try_from(draining).unwrap_or(u32::MAX).max(1);
    look.world.spec.drain.users_per_s.map(|users| users.div_ceil(draining).max(1))
}

/// Ends one Pod: a gateway is drained at a pace, another waits until nobody can use it.
fn end(seat: &mut Seat<'_>, look: &Look<'_>, (since, pace): (Utc, Option<u32>), turn: bool, draft: &mut Draft) {
    let world = look.world;
    let (name, uid) = (seat.name.to_owned(), seat.pod.uid.clone());
    let delete =
        |because, most_users_cut| Action::DeletePod { name: name.clone(), uid: uid.clone(), because, most_users_cut };
    match seat.state {
        State::Going => return,
        State::Over | State::Lost => {
            if seat.member.is_none() && world.registry.is_some() {
                draft.deletes.push(delete(Because::ClusterDeleted, 0));
            }
            return;
        }
        State::Live => {}
    }
    let (told, healthy, load) = (seat.is_told(), seat.healthy(), seat.load);
    let drain = seat.drain.get_or_insert_with(|| DrainStatus {
        pod: name.clone(),
        uid: uid.clone(),
        cause: DrainCause::Deleted,
        why: "the cluster is deleted".to_owned(),
        since,
        deadline: since,
        users_at_start: load.users.min(MAX_COUNT),
        users_left: 0,
        operation: None,
    });
    drain.deadline = Utc(drain.since.0 + world.spec.drain.deadline_ms);
    drain.users_left = load.users.min(MAX_COUNT);
    let gateway = seat.pod.role == Role::Gateway;
    let settled = drain.since.0 + SETTLED_MS;
    let heard = world.samples.get(&seat.pod.uid).is_none_or(|sample| sample.at.0 > settled);
    let nobody = load.known && load.users == 0;
    if world.now >= drain.deadline {
        draft.deletes.push(delete(Because::Deadline, if load.known { load.users } else { MAX_COUNT }));
    } else if turn && nobody && (told && load.closed || !gateway && heard || !healthy) {
        draft.deletes.push(delete(Because::ClusterDeleted, 0));
    } else if gateway {
        if seat.pod.serving {
            let (name, uid) = (name.clone(), uid.clone());
            draft.leaves.push(Action::LabelServing { name, uid, serving: false });
        }
        if seat.member.is_some() && !told {
            let users_per_s = pace;
            draft.leaves.push(Action::DrainPod {
                name: name.clone(),
                uid: uid.clone(),
                deadline: drain.deadline,
                users_per_s,
            });
        }
    }
}
