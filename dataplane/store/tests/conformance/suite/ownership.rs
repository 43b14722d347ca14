//! Fences, grace and marks.

use super::*;

pub(super) async fn a_fence_is_raised_only_against_the_expected_holder(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    for slot in [AnySlot::Room(slot()), AnySlot::User(slot())] {
        assert_eq!(a.fence(slot).await, Ok(None));
        assert_eq!(a.raise_fence(slot, Epoch(5), Some(instance("z"))).await, Ok(Raised::Held { by: None }));
        assert_eq!(a.raise_fence(slot, Epoch(5), None).await, Ok(Raised::Mine { previous: None }));
        let of_a = Fence { epoch: Epoch(5), instance: instance("a") };
        assert_eq!(b.fence(slot).await, Ok(Some(of_a.clone())));
        for wrong in [None, Some(instance("z"))] {
            let held = b.raise_fence(slot, Epoch(6), wrong).await;
            assert_eq!(held, Ok(Raised::Held { by: Some(of_a.clone()) }));
        }
        assert_eq!(b.fence(slot).await, Ok(Some(of_a.clone())), "nothing was changed");
        let too_small = b.raise_fence(slot, Epoch(4), Some(instance("a"))).await;
        assert_eq!(too_small, Err(StoreError::Stale { epoch: Epoch(5) }));
        let raised = b.raise_fence(slot, Epoch(6), Some(instance("a"))).await;
        assert_eq!(raised, Ok(Raised::Mine { previous: Some(of_a) }));
        // Once more, as if the answer had been lost.
        let of_b = Fence { epoch: Epoch(6), instance: instance("b") };
        let again = b.raise_fence(slot, Epoch(6), Some(instance("a"))).await;
        assert_eq!(again, Ok(Raised::Mine { previous: Some(of_b) }));
    }
}

pub(super) async fn two_instances_that_fight_over_a_fence_have_one_winner(world: &World) {
    let (dead, a, b) = (world.store("dead").await, world.store("a").await, world.store("b").await);
    for round in 0..20 {
        let slot = AnySlot::Room(Slot::new(round).unwrap());
        dead.raise_fence(slot, Epoch(1), None).await.unwrap();
        let (of_a, of_b) = tokio::join!(
            a.raise_fence(slot, Epoch(2), Some(instance("dead"))),
            b.raise_fence(slot, Epoch(3), Some(instance("dead"))),
        );
        let won = |raised: &Result<Raised, StoreError>| matches!(raised, Ok(Raised::Mine { .. }));
        assert!(won(&of_a) != won(&of_b), "{of_a:?} {of_b:?}");
        let winner = if won(&of_a) { "a" } else { "b" };
        assert_eq!(a.fence(slot).await.unwrap().unwrap().instance, instance(winner));
    }
}

pub(super) async fn grace_lasts_while_it_is_renewed(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    assert_eq!(b.grace_left_ms(instance("a")).await, Ok(0));
    assert_eq!(a.create_grace(vec![]).await, Ok(GraceCreated::default()));
    for _ in 0..4 {
        world.pass(GRACE_MS / 2).await;
        assert_eq!(a.renew_grace().await, Ok(Renewal::Renewed { revoked: vec![] }));
    }
    let left_ms = b.grace_left_ms(instance("a")).await.unwrap();
    assert!((1..=GRACE_MS).contains(&left_ms), "{left_ms}");
    world.pass(GRACE_MS + 50).await;
    assert_eq!(b.grace_left_ms(instance("a")).await, Ok(0));
    assert_eq!(a.renew_grace().await, Ok(Renewal::Missing));
}

pub(super) async fn a_renewal_never_creates_grace(world: &World) {
    let a = world.store("a").await;
    assert_eq!(a.renew_grace().await, Ok(Renewal::Missing));
    assert_eq!(a.renew_grace().await, Ok(Renewal::Missing));
    assert_eq!(a.grace_left_ms(instance("a")).await, Ok(0));
}

pub(super) async fn marks_stay_and_only_grow(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    let (one, two) = (AnySlot::Room(Slot::new(1).unwrap()), AnySlot::User(Slot::new(2).unwrap()));
    a.create_grace(vec![]).await.unwrap();
    b.revoke(instance("a"), one, Epoch(8)).await.unwrap();
    b.revoke(instance("a"), one, Epoch(7)).await.unwrap();
    b.revoke(instance("a"), two, Epoch(9)).await.unwrap();
    let marks = vec![Mark { slot: one, epoch: Epoch(8) }, Mark { slot: two, epoch: Epoch(9) }];
    assert_eq!(a.renew_grace().await, Ok(Renewal::Renewed { revoked: marks.clone() }));
    world.pass(GRACE_MS + 50).await;
    // Longer than any grace: the mark is still there when the next one begins.
    assert_eq!(a.create_grace(vec![]).await.unwrap().revoked, marks);
    assert_eq!(b.renew_grace().await, Ok(Renewal::Missing), "marks are those of one instance");
    b.forget_instance(instance("a")).await.unwrap();
    assert_eq!(a.create_grace(vec![]).await.unwrap().revoked, []);
}

pub(super) async fn creating_grace_rewrites_the_fences_that_are_still_mine(world: &World) {
    let (a, b) = (world.store("a").await, world.store("b").await);
    let slots: Vec<AnySlot> = (0..3).map(|n| AnySlot::Room(Slot::new(n).unwrap())).collect();
    a.raise_fence(slots[0], Epoch(4), None).await.unwrap();
    b.raise_fence(slots[1], Epoch(9), None).await.unwrap();
    let created = a.create_grace(slots.iter().map(|slot| (*slot, Epoch(5))).collect()).await.unwrap();
    assert_eq!(created.stale, [Mark { slot: slots[1], epoch: Epoch(9) }]);
    for (slot, epoch, holder) in [(slots[0], 5, "a"), (slots[1], 9, "b"), (slots[2], 5, "a")] {
        let fence = Fence { epoch: Epoch(epoch), instance: instance(holder) };
        assert_eq!(a.fence(slot).await, Ok(Some(fence)));
    }
}

pub(super) async fn the_incarnation_only_grows(world: &World) {
    let store = world.store("a").await;
    assert_eq!(store.incarnation().await, Ok(0));
    assert_eq!(store.raise_incarnation(3).await, Ok(3));
    assert_eq!(store.raise_incarnation(2).await, Ok(3));
    assert_eq!(world.store("b").await.incarnation().await, Ok(3));
}

pub(super) async fn a_database_has_an_age(world: &World) {
    let store = world.store("a").await;
    assert_eq!(store.birth().await.unwrap().age_ms, 0);
    world.pass(60).await;
    let age_ms = store.birth().await.unwrap().age_ms;
    assert!((50..5_000).contains(&age_ms), "{age_ms}");
}
