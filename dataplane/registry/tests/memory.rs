//! What only the registry in memory can do: time by hand, and faults at a word.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{holder, instance, known, made, member, rooms, seen, take};
use throng_core::{Millis, Role};
use throng_registry::{Error, Health, MemoryRegistry, Own, Registry};

#[tokio::test]
async fn in_a_driven_registry_time_stands_until_it_is_moved() {
    let registry = MemoryRegistry::driven(Millis(1000));
    let views = registry.watch();
    let lease = registry.grant(3000).await.unwrap();
    registry.put_member(Role::Gateway, &instance("g-0"), lease.id, &member("g-0")).await.unwrap();
    assert_eq!(views.borrow().members(Role::Gateway).len(), 1, "views follow at once");

    registry.tick(Millis(3999));
    assert_eq!(views.borrow().members(Role::Gateway).len(), 1);
    assert_eq!(registry.keep_alive(lease, Duration::from_secs(1)).await, Ok(3000));
    registry.tick(Millis(6998));
    assert_eq!(views.borrow().members(Role::Gateway).len(), 1);
    registry.tick(Millis(6999));
    assert_eq!(views.borrow().members(Role::Gateway).len(), 0);
    assert_eq!(registry.keep_alive(lease, Duration::from_secs(1)).await, Err(Error::LeaseGone(lease.id)));
}

#[tokio::test]
async fn out_of_reach_calls_fail_the_last_view_stays_and_leases_outlive_it() {
    let registry = MemoryRegistry::driven(Millis(0));
    let views = registry.watch();
    registry.create_incarnation(1).await.unwrap();
    let lease = registry.grant(3000).await.unwrap();
    let own = take(&registry, rooms(1), "c-0", lease.id, 1).await;

    registry.tick(Millis(2000));
    registry.set_away(true);
    assert_eq!(views.borrow().health, Health::Stale { since_ms: Millis(2000) });
    assert!(registry.keep_alive(lease, Duration::from_secs(1)).await.unwrap_err().is_temporary());
    assert!(registry.read_claims(&[rooms(1)]).await.unwrap_err().is_temporary());
    registry.tick(Millis(60_000));
    assert!(views.borrow().claim(rooms(1)).is_some());

    registry.set_away(false);
    assert!(views.borrow().health.is_healthy());
    registry.tick(Millis(62_999));
    let claim = registry.read_claims(&[rooms(1)]).await.unwrap().claims[0].clone().unwrap();
    assert_eq!(claim.mod_revision, own.mod_revision);
    registry.tick(Millis(63_000));
    assert_eq!(registry.read_claims(&[rooms(1)]).await.unwrap().claims, [None]);
}

#[tokio::test]
async fn emptied_it_knows_nothing_and_counts_from_the_beginning() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let memory = MemoryRegistry::new();
    let mut views = memory.watch();
    assert_eq!(registry.incarnation().await, Ok(None), "two registries are two");
    memory.create_incarnation(1).await.unwrap();
    let lease = memory.grant(60_000).await.unwrap();
    let own = take(&memory, rooms(1), "c-0", lease.id, 1).await;
    seen(&mut views, "the claim", |view| view.claim(rooms(1)).is_some()).await;

    memory.wipe();
    let view = seen(&mut views, "nothing", |view| view.incarnation.is_none()).await;
    assert!(view.claim(rooms(1)).is_none() && view.revision < own.mod_revision);
    assert_eq!(memory.keep_alive(lease, Duration::from_secs(1)).await, Err(Error::LeaseGone(lease.id)));

    memory.create_incarnation(2).await.unwrap();
    let new = memory.grant(60_000).await.unwrap();
    let taken = take(&memory, rooms(1), "c-1", new.id, 2).await;
    let impostor = Own { lease: lease.id, ..taken.clone() };
    let refused = known(memory.bump(&[impostor], &holder("c-0"), 2).await.unwrap());
    assert!(matches!(refused[0], throng_registry::Change::Lost { now: Some(_) }));
    made(&known(memory.bump(&[taken], &holder("c-1"), 2).await.unwrap())[0]);
}

#[test]
fn it_outlives_the_runtime_that_used_it_first() {
    let registry = MemoryRegistry::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async {
        let lease = registry.grant(100).await.unwrap();
        registry.put_member(Role::Gateway, &instance("g-0"), lease.id, &member("g-0")).await.unwrap();
    });
    runtime().block_on(async {
        let mut views = registry.watch();
        seen(&mut views, "the end of the lease", |view| view.members(Role::Gateway).is_empty()).await;
    });
}
