//! The promises of a registry, each a case that any implementation must pass on an empty cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use throng_core::policy::Rooms;
use throng_core::{Role, Slot};
use throng_registry::{Conflict, Error, Fence, Lease, MAX_BATCH, Own, Policy, Registry};

use super::*;

pub type Case = fn(Arc<dyn Registry>) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All cases with their names.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), |registry| Box::pin($name(registry)))),*];
    };
}

cases!(
    a_member_is_seen_while_its_lease_lives_and_gone_within_its_time_to_live,
    a_renewed_lease_keeps_what_is_attached_to_it,
    revoking_a_lease_removes_everything_at_once_and_twice_is_fine,
    a_lease_that_is_gone_is_neither_renewed_nor_written_under,
    of_a_batch_each_key_is_won_or_held,
    a_claim_under_another_incarnation_is_refused_whole,
    what_is_given_up_can_be_claimed_again_and_nothing_of_others_is,
    a_bumped_claim_has_a_larger_epoch_and_its_old_revision_is_worthless,
    a_move_changes_owner_and_lease_in_one_step,
    a_move_to_a_lease_that_is_gone_changes_nothing,
    claims_are_read_back_at_one_revision,
    a_batch_is_one_to_64_different_keys,
    the_incarnation_is_created_once_and_only_grows,
    a_placement_is_written_only_under_the_current_leader_epoch,
    a_document_follows_the_one_that_its_writer_read_or_is_refused,
    a_target_stands_beside_the_placement_under_the_same_leader_epoch,
    a_policy_is_written_like_a_placement_and_seen_by_all,
    a_cluster_that_is_forgotten_leaves_nothing,
    leader_epochs_only_grow_and_are_never_taken_twice,
    a_view_shows_claims_of_all_slots_and_its_routes_agree,
    a_burst_of_changes_becomes_few_views,
);

const TTL_MS: u64 = 1000;

const fn fence(leader_epoch: u64, after: Option<u64>) -> Fence {
    Fence { leader_epoch, after }
}

async fn lease(registry: &Arc<dyn Registry>) -> Lease {
    let lease = registry.grant(60_000).await.unwrap();
    assert!(lease.ttl_ms >= 60_000);
    lease
}

/// A cluster with incarnation 1 and two leases.
async fn two(registry: &Arc<dyn Registry>) -> (Lease, Lease) {
    assert_eq!(registry.create_incarnation(1).await, Ok(1));
    (lease(registry).await, lease(registry).await)
}

async fn a_member_is_seen_while_its_lease_lives_and_gone_within_its_time_to_live(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    assert_eq!(registry.create_incarnation(1).await, Ok(1));
    let asked = Instant::now();
    let short = registry.grant(TTL_MS).await.unwrap();
    let name = instance("g-0");
    registry.put_member(Role::Gateway, &name, short.id, &member("g-0")).await.unwrap();
    take(&*registry, rooms(9), "g-0", short.id, 1).await;
    let view = seen(&mut views, "the member and its claim", |view| {
        view.members(Role::Gateway).contains_key(&name) && view.claim(rooms(9)).is_some()
    })
    .await;
    let entry = &view.members(Role::Gateway)[&name];
    assert_eq!((entry.lease, &entry.member), (short.id, &member("g-0")));

    let mut draining = member("g-0");
    draining.draining = true;
    registry.put_member(Role::Gateway, &name, short.id, &draining).await.unwrap();
    seen(&mut views, "the change", |view| view.routes().gateway.get(&name).is_some_and(|peer| peer.draining)).await;

    let late = Duration::from_millis(short.ttl_ms + 1500).saturating_sub(asked.elapsed());
    seen_within(&mut views, late, "the end of the lease", |view| {
        view.members(Role::Gateway).is_empty() && view.claim(rooms(9)).is_none()
    })
    .await;
    let lived_ms = asked.elapsed().as_millis() + 1;
    assert!(lived_ms >= u128::from(short.ttl_ms), "gone before its time");
}

async fn a_renewed_lease_keeps_what_is_attached_to_it(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let short = registry.grant(TTL_MS).await.unwrap();
    let name = instance("m-0");
    registry.put_member(Role::Message, &name, short.id, &member("m-0")).await.unwrap();
    seen(&mut views, "the member", |view| view.members(Role::Message).contains_key(&name)).await;
    let until = Instant::now() + Duration::from_millis(short.ttl_ms * 2);
    while Instant::now() < until {
        assert_eq!(registry.keep_alive(short, Duration::from_secs(1)).await, Ok(short.ttl_ms));
        tokio::time::sleep(Duration::from_millis(short.ttl_ms / 4)).await;
        assert!(views.borrow().members(Role::Message).contains_key(&name));
    }
}

async fn revoking_a_lease_removes_everything_at_once_and_twice_is_fine(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let (one, other) = two(&registry).await;
    registry.put_member(Role::Chatroom, &instance("c-0"), one.id, &member("c-0")).await.unwrap();
    take(&*registry, rooms(1), "c-0", one.id, 1).await;
    take(&*registry, rooms(2), "c-1", other.id, 1).await;
    registry.revoke(one.id).await.unwrap();
    registry.revoke(one.id).await.unwrap();
    let read = registry.read_claims(&[rooms(1), rooms(2)]).await.unwrap();
    assert!(read.claims[0].is_none() && read.claims[1].is_some());
    seen(&mut views, "one owner left", |view| {
        view.members(Role::Chatroom).is_empty() && view.claims(Role::Chatroom).count() == 1
    })
    .await;
}

async fn a_lease_that_is_gone_is_neither_renewed_nor_written_under(registry: Arc<dyn Registry>) {
    let (gone, _) = two(&registry).await;
    registry.revoke(gone.id).await.unwrap();
    let error = Error::LeaseGone(gone.id);
    assert_eq!(registry.keep_alive(gone, Duration::from_secs(1)).await, Err(error.clone()));
    let put = registry.put_member(Role::Message, &instance("m-0"), gone.id, &member("m-0")).await;
    assert_eq!(put, Err(error.clone()));
    assert_eq!(registry.claim(&[rooms(1), rooms(2)], &holder("c-0"), gone.id, 1).await, Err(error));
    assert_eq!(registry.read_claims(&[rooms(1), rooms(2)]).await.unwrap().claims, [None, None]);
}

async fn of_a_batch_each_key_is_won_or_held(registry: Arc<dyn Registry>) {
    let (one, other) = two(&registry).await;
    let held = take(&*registry, rooms(5), "c-0", one.id, 1).await;
    let keys: Vec<_> = (0..64).map(rooms).collect();
    let changes = known(registry.claim(&keys, &holder("c-1"), other.id, 1).await.unwrap());
    assert_eq!(changes.len(), 64);
    let claim = lost(&changes[5]).unwrap();
    assert_eq!((&*claim.holder, claim.lease, claim.mod_revision), (&holder("c-0"), one.id, held.mod_revision));
    let revision = made(&changes[0]);
    assert!(revision > held.mod_revision);
    assert!(changes.iter().enumerate().all(|(slot, change)| slot == 5 || made(change) == revision));
}

async fn a_claim_under_another_incarnation_is_refused_whole(registry: Arc<dyn Registry>) {
    let one = lease(&registry).await;
    let conflict = |found| Err(Error::Conflict(Conflict::Incarnation { expected: 2, found }));
    assert_eq!(registry.claim(&[rooms(1)], &holder("c-0"), one.id, 2).await, conflict(None));
    registry.create_incarnation(3).await.unwrap();
    assert_eq!(registry.claim(&[rooms(1)], &holder("c-0"), one.id, 2).await, conflict(Some(3)));
    let own = take(&*registry, rooms(1), "c-0", one.id, 3).await;
    assert_eq!(registry.bump(std::slice::from_ref(&own), &holder("c-0"), 2).await, conflict(Some(3)));
    assert_eq!(
        registry.move_claim(&own, &holder("c-1"), one.id, 2).await,
        Err(Error::Conflict(Conflict::Incarnation { expected: 2, found: Some(3) }))
    );
    let claim = registry.read_claims(&[rooms(1)]).await.unwrap().claims[0].clone().unwrap();
    assert_eq!(claim.mod_revision, own.mod_revision);
}

async fn what_is_given_up_can_be_claimed_again_and_nothing_of_others_is(registry: Arc<dyn Registry>) {
    let (one, other) = two(&registry).await;
    let mine = take(&*registry, users(1), "m-0", one.id, 1).await;
    let theirs = take(&*registry, users(2), "m-1", other.id, 1).await;
    let old = Own { mod_revision: theirs.mod_revision - 1, ..theirs.clone() };
    let under_my_lease = Own { lease: one.id, ..theirs.clone() };
    for wrong in [old, under_my_lease] {
        let changes = known(registry.give_up(&[wrong]).await.unwrap());
        assert_eq!(lost(&changes[0]).unwrap().holder.instance, instance("m-1"));
    }
    let changes = known(registry.give_up(&[mine.clone(), theirs.clone()]).await.unwrap());
    assert!(changes.iter().all(|change| made(change) > theirs.mod_revision));
    assert_eq!(lost(&known(registry.give_up(std::slice::from_ref(&mine)).await.unwrap())[0]), None);
    assert!(take(&*registry, users(1), "m-1", other.id, 1).await.mod_revision > mine.mod_revision);
}

async fn a_bumped_claim_has_a_larger_epoch_and_its_old_revision_is_worthless(registry: Arc<dyn Registry>) {
    let (one, _) = two(&registry).await;
    let old = take(&*registry, rooms(4), "c-0", one.id, 1).await;
    let bumped = known(registry.bump(std::slice::from_ref(&old), &holder("c-0"), 1).await.unwrap());
    let new = Own { mod_revision: made(&bumped[0]), ..old.clone() };
    assert!(new.mod_revision > old.mod_revision);
    let again = known(registry.bump(std::slice::from_ref(&old), &holder("c-0"), 1).await.unwrap());
    assert_eq!(lost(&again[0]).unwrap().mod_revision, new.mod_revision);
    let moved = known(registry.move_claim(&old, &holder("c-1"), one.id, 1).await.unwrap());
    assert_eq!(lost(&moved).unwrap().holder.instance, instance("c-0"));
    registry.revoke(one.id).await.unwrap();
    let gone = registry.read_claims(&[rooms(4)]).await.unwrap();
    assert_eq!(gone.claims, [None], "a bumped claim stays under its lease");
}

async fn a_move_changes_owner_and_lease_in_one_step(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let (one, other) = two(&registry).await;
    let own = take(&*registry, rooms(4), "c-0", one.id, 1).await;
    let revision = made(&known(registry.move_claim(&own, &holder("c-1"), other.id, 1).await.unwrap()));
    assert!(revision > own.mod_revision);
    registry.revoke(one.id).await.unwrap();
    let view = seen(&mut views, "the new owner", |view| {
        view.claim(rooms(4)).is_some_and(|claim| claim.holder.instance == instance("c-1"))
    })
    .await;
    let claim = view.claim(rooms(4)).unwrap();
    assert_eq!((claim.lease, claim.mod_revision), (other.id, revision));
    let read = registry.read_claims(&[rooms(4)]).await.unwrap();
    assert_eq!(read.claims[0].as_ref(), Some(claim), "the old lease takes nothing along");
}

async fn a_move_to_a_lease_that_is_gone_changes_nothing(registry: Arc<dyn Registry>) {
    let (one, gone) = two(&registry).await;
    registry.revoke(gone.id).await.unwrap();
    let own = take(&*registry, rooms(4), "c-0", one.id, 1).await;
    assert_eq!(registry.move_claim(&own, &holder("c-1"), gone.id, 1).await, Err(Error::LeaseGone(gone.id)));
    let claim = registry.read_claims(&[rooms(4)]).await.unwrap().claims[0].clone().unwrap();
    assert_eq!((claim.lease, claim.mod_revision), (one.id, own.mod_revision));
}

async fn claims_are_read_back_at_one_revision(registry: Arc<dyn Registry>) {
    let empty = registry.read_claims(&[rooms(0)]).await.unwrap();
    assert_eq!((empty.incarnation, empty.claims), (None, vec![None]));
    let (one, _) = two(&registry).await;
    let own = take(&*registry, users(3), "m-0", one.id, 1).await;
    let keys: Vec<_> = (0..64).map(users).collect();
    let read = registry.read_claims(&keys).await.unwrap();
    assert_eq!((read.incarnation, read.claims.len()), (Some(1), 64));
    assert!(read.revision >= own.mod_revision && read.revision > empty.revision);
    let found: Vec<_> = read.claims.iter().enumerate().filter_map(|(at, claim)| Some((at, claim.as_ref()?))).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.mod_revision, found[0].1.lease), (3, own.mod_revision, one.id));
}

async fn a_batch_is_one_to_64_different_keys(registry: Arc<dyn Registry>) {
    let (one, _) = two(&registry).await;
    let keys: Vec<_> = (0..65).map(rooms).collect();
    assert_eq!(MAX_BATCH, 64);
    assert_eq!(registry.claim(&keys, &holder("c-0"), one.id, 1).await, Err(Error::Batch(65)));
    assert_eq!(registry.claim(&[], &holder("c-0"), one.id, 1).await, Err(Error::Batch(0)));
    assert_eq!(registry.claim(&[rooms(1), rooms(1)], &holder("c-0"), one.id, 1).await, Err(Error::Batch(2)));
    assert_eq!(registry.read_claims(&keys).await, Err(Error::Batch(65)));
    assert_eq!(registry.give_up(&[]).await, Err(Error::Batch(0)));
    known(registry.claim(&keys[..64], &holder("c-0"), one.id, 1).await.unwrap());
}

async fn the_incarnation_is_created_once_and_only_grows(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    assert_eq!(registry.incarnation().await, Ok(None));
    assert!(matches!(registry.raise_incarnation(1, 2).await, Err(Error::Refused { .. })), "there is none to raise");
    assert_eq!(registry.create_incarnation(4).await, Ok(4));
    assert_eq!(registry.create_incarnation(9).await, Ok(4), "the first one stays");
    assert_eq!(registry.raise_incarnation(3, 9).await, Ok(4), "it was not 3");
    assert!(matches!(registry.raise_incarnation(4, 4).await, Err(Error::Refused { .. })));
    assert_eq!(registry.raise_incarnation(4, 6).await, Ok(6));
    assert_eq!(registry.raise_incarnation(4, 6).await, Ok(6), "safe to repeat");
    assert_eq!(registry.incarnation().await, Ok(Some(6)));
    seen(&mut views, "the incarnation", |view| view.incarnation == Some(6)).await;
}

async fn a_placement_is_written_only_under_the_current_leader_epoch(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    assert_eq!(registry.placement(Role::Chatroom).await, Ok(None));
    let document = Bytes::from(vec![0xFF; 24 * 1024]);
    let conflict = |expected, found| Err(Error::Conflict(Conflict::LeaderEpoch { expected, found }));
    assert_eq!(registry.put_placement(Role::Chatroom, document.clone(), fence(1, None)).await, conflict(1, None));
    let old = registry.next_leader_epoch(0).await.unwrap();
    let first = registry.put_placement(Role::Chatroom, document.clone(), fence(old, None)).await.unwrap();
    let new = registry.next_leader_epoch(0).await.unwrap();
    let late = registry.put_placement(Role::Chatroom, Bytes::new(), fence(old, Some(first))).await;
    assert_eq!(late, conflict(old, Some(new)));
    let stored = registry.placement(Role::Chatroom).await.unwrap().unwrap();
    assert_eq!((stored.bytes, stored.mod_revision), (document.clone(), first));
    let other = registry.put_placement(Role::Message, Bytes::from_static(b"{}"), fence(new, None)).await.unwrap();
    assert!(other > first);
    let view = seen(&mut views, "both placements", |view| view.placement(Role::Message).is_some()).await;
    assert_eq!(view.placement(Role::Chatroom).map(|placement| &placement.bytes), Some(&document));
    assert_eq!(view.leader_epoch, Some(new));
}

async fn a_document_follows_the_one_that_its_writer_read_or_is_refused(registry: Arc<dyn Registry>) {
    let epoch = registry.next_leader_epoch(0).await.unwrap();
    let document = |text: &'static str| Bytes::from_static(text.as_bytes());
    let conflict = |expected, found| Err(Error::Conflict(Conflict::Document { expected, found }));
    let put = |text, after| registry.put_placement(Role::Chatroom, document(text), fence(epoch, after));
    assert_eq!(put("of nothing", Some(1)).await, conflict(Some(1), None), "there is none that it could follow");
    let first = put("first", None).await.unwrap();
    assert_eq!(put("first again", None).await, conflict(None, Some(first)));
    let second = put("second", Some(first)).await.unwrap();
    // A request of the same leader that was held up on its way, and one that was sent twice.
    assert_eq!(put("from an older view", Some(first)).await, conflict(Some(first), Some(second)));
    assert_eq!(registry.placement(Role::Chatroom).await.unwrap().map(|stored| stored.bytes), Some(document("second")));
    let target = registry.put_target(Role::Chatroom, document("t"), fence(epoch, None)).await.unwrap();
    let late = registry.put_target(Role::Chatroom, document("u"), fence(epoch, Some(second))).await;
    assert_eq!(late, conflict(Some(second), Some(target)), "each document has revisions of its own");
}

async fn a_target_stands_beside_the_placement_under_the_same_leader_epoch(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let (step, target) = (Bytes::from_static(b"step"), Bytes::from_static(b"target"));
    let conflict = |expected, found| Err(Error::Conflict(Conflict::LeaderEpoch { expected, found }));
    assert_eq!(registry.put_target(Role::Chatroom, target.clone(), fence(1, None)).await, conflict(1, None));
    let old = registry.next_leader_epoch(0).await.unwrap();
    let first = registry.put_target(Role::Chatroom, target.clone(), fence(old, None)).await.unwrap();
    assert!(registry.put_placement(Role::Chatroom, step.clone(), fence(old, None)).await.unwrap() > first);
    let new = registry.next_leader_epoch(0).await.unwrap();
    let late = registry.put_target(Role::Chatroom, Bytes::new(), fence(old, Some(first))).await;
    assert_eq!(late, conflict(old, Some(new)));
    let view = seen(&mut views, "both documents", |view| view.placement(Role::Chatroom).is_some()).await;
    assert_eq!(view.placement(Role::Chatroom).map(|stored| &stored.bytes), Some(&step));
    assert_eq!(view.target(Role::Chatroom).map(|stored| &stored.bytes), Some(&target));
    assert_eq!(view.target(Role::Message), None);
    assert_eq!(registry.placement(Role::Chatroom).await.unwrap().map(|stored| stored.bytes), Some(step));
}

async fn a_policy_is_written_like_a_placement_and_seen_by_all(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let policy = |leader_epoch, version, per_s| {
        let rooms = Rooms { messages_per_s: per_s, protected_types: vec!["gift".into()], ..Rooms::default() };
        Policy { leader_epoch, version, rooms }
    };
    let by_epoch = |expected, found| Err(Error::Conflict(Conflict::LeaderEpoch { expected, found }));
    assert_eq!(registry.put_policy(&policy(1, 1, 200), None).await, by_epoch(1, None));
    let old = registry.next_leader_epoch(0).await.unwrap();
    let first = registry.put_policy(&policy(old, 1, 200), None).await.unwrap();
    let view = seen(&mut views, "the policy", |view| view.policy().is_some()).await;
    let stored = view.policy().unwrap();
    assert_eq!((stored.policy.as_deref(), stored.mod_revision), (Some(&policy(old, 1, 200)), first));
    let second = registry.put_policy(&policy(old, 2, 50), Some(first)).await.unwrap();
    let late = registry.put_policy(&policy(old, 2, 400), Some(first)).await;
    assert_eq!(late, Err(Error::Conflict(Conflict::Document { expected: Some(first), found: Some(second) })));
    let new = registry.next_leader_epoch(0).await.unwrap();
    assert_eq!(registry.put_policy(&policy(old, 3, 400), Some(second)).await, by_epoch(old, Some(new)));
    let view = seen(&mut views, "its change", |view| view.policy().is_some_and(|stored| stored.mod_revision > first));
    assert_eq!(
        view.await.policy().and_then(|stored| stored.policy.clone()).map(|read| read.rooms.messages_per_s),
        Some(50)
    );
}

async fn a_cluster_that_is_forgotten_leaves_nothing(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let (one, _) = two(&registry).await;
    registry.put_member(Role::Chatroom, &instance("c-0"), one.id, &member("c-0")).await.unwrap();
    take(&*registry, rooms(4), "c-0", one.id, 1).await;
    let old = registry.next_leader_epoch(0).await.unwrap();
    let epoch = registry.next_leader_epoch(0).await.unwrap();
    for role in [Role::Chatroom, Role::Message] {
        registry.put_target(role, Bytes::from_static(b"t"), fence(epoch, None)).await.unwrap();
        registry.put_placement(role, Bytes::from_static(b"p"), fence(epoch, None)).await.unwrap();
    }
    registry.put_policy(&Policy { leader_epoch: epoch, ..Policy::default() }, None).await.unwrap();
    let conflict = Conflict::LeaderEpoch { expected: old, found: Some(epoch) };
    assert_eq!(registry.forget_cluster(old).await, Err(Error::Conflict(conflict)));
    seen(&mut views, "everything", |view| view.policy().is_some() && view.target(Role::Message).is_some()).await;
    registry.forget_cluster(epoch).await.unwrap();
    registry.forget_cluster(epoch).await.unwrap();
    let view = seen(&mut views, "nothing", |view| view.leader_epoch.is_none() && view.policy().is_none()).await;
    assert!(Role::ALL.into_iter().all(|role| view.members(role).is_empty() && view.placement(role).is_none()));
    assert_eq!((view.incarnation, view.claims(Role::Chatroom).count()), (None, 0));
    assert_eq!(registry.incarnation().await, Ok(None));
}

async fn leader_epochs_only_grow_and_are_never_taken_twice(registry: Arc<dyn Registry>) {
    assert_eq!(registry.leader_epoch().await, Ok(None));
    assert_eq!(registry.next_leader_epoch(0).await, Ok(1));
    assert_eq!(registry.next_leader_epoch(40).await, Ok(41), "it outgrows what the caller knew");
    let (one, other) = tokio::join!(registry.next_leader_epoch(0), registry.next_leader_epoch(0));
    let mut taken = [one.unwrap(), other.unwrap()];
    taken.sort_unstable();
    assert_eq!(taken, [42, 43]);
    assert_eq!(registry.leader_epoch().await, Ok(Some(43)));
}

async fn a_view_shows_claims_of_all_slots_and_its_routes_agree(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let (one, other) = two(&registry).await;
    registry.put_member(Role::Chatroom, &instance("c-0"), one.id, &member("c-0")).await.unwrap();
    for batch in Slot::all().map(Slot::number).collect::<Vec<_>>().chunks(64) {
        let (room_keys, user_keys): (Vec<_>, Vec<_>) = batch.iter().map(|&slot| (rooms(slot), users(slot))).unzip();
        known(registry.claim(&room_keys, &holder("c-0"), one.id, 1).await.unwrap());
        known(registry.claim(&user_keys, &holder("m-0"), other.id, 1).await.unwrap());
    }
    let view = seen(&mut views, "8,192 claims", |view| {
        view.claims(Role::Chatroom).count() + view.claims(Role::Message).count() == 8192
    })
    .await;
    let routes = view.routes();
    assert_eq!(routes.rooms.iter().count(), 4096);
    for (slot, claim) in view.claims(Role::Message) {
        let owner = routes.users.owner(slot).unwrap();
        assert_eq!((&owner.instance, Some(owner.epoch)), (&claim.holder.instance, view.epoch(claim)));
    }
    assert_eq!(routes.chatroom[&instance("c-0")].address, member("c-0").address);
    assert!(Arc::ptr_eq(&routes, &view.routes()), "made once");
    registry.revoke(other.id).await.unwrap();
    seen(&mut views, "no claims of users", |view| view.claims(Role::Message).count() == 0).await;
    assert_eq!(view.claims(Role::Message).count(), 4096, "a view that was handed out never changes");
}

async fn a_burst_of_changes_becomes_few_views(registry: Arc<dyn Registry>) {
    let mut views = registry.watch();
    let (one, _) = two(&registry).await;
    seen(&mut views, "a live view", |view| view.health.is_healthy() && view.incarnation == Some(1)).await;
    let start = Instant::now();
    let writer = {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move {
            let mut at = member("c-0");
            for revision in 0..200 {
                at.revision = format!("r{revision}").into();
                registry.put_member(Role::Chatroom, &instance("c-0"), one.id, &at).await.unwrap();
            }
        })
    };
    let mut shown = 0u64;
    loop {
        views.changed().await.unwrap();
        shown += 1;
        let view = views.borrow_and_update().clone();
        if view.members(Role::Chatroom).get(&instance("c-0")).is_some_and(|c| &*c.member.revision == "r199") {
            break;
        }
    }
    writer.await.unwrap();
    let most = u64::try_from(start.elapsed().as_millis()).unwrap() / 50 + 2;
    assert!(shown <= most, "{shown} views in {:?}", start.elapsed());
}
