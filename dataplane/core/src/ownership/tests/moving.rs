//! Planned moves, drains and ends.

use super::*;

#[test]
fn a_planned_move_stops_only_when_the_claim_has_moved() {
    let mut bench = Bench::open(Duty::Rooms, false);
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims.insert(slot(0), claim("a", LEASE, 11));
    bench.view.revision = 11;
    bench.renew(50);
    bench.view(100);
    let out = bench.put(101, Input::Move { slot: slot(0), to: id("b") });
    assert!(out.contains(&Output::WarmUp { slot: slot(0), to: id("b") }));
    let out = bench.put(150, Input::Warm { slot: slot(0), to: id("b") });
    let write = writes(&out).remove(0);
    assert!(closed(&out).is_empty() && bench.machine.serves(slot(0), Millis(151)).is_some());
    let out = bench.made(160, &write, 12);
    assert_eq!(closed(&out), [(0, E11)]);
    let moved_to =
        out.iter().find_map(|o| if let Output::Close { moved_to, .. } = o { moved_to.clone() } else { None });
    assert_eq!(moved_to.map(|owner| (owner.instance, owner.epoch)), Some((id("b"), E12)));
    assert!(out.contains(&Output::HandOver { slot: slot(0), epoch: E11, next: E12, to: id("b") }));
}

#[test]
fn a_move_of_unknown_outcome_leaves_the_lease_for_a_second_and_ends_in_a_new_epoch() {
    let mut bench = Bench::open(Duty::Rooms, false);
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims.insert(slot(0), claim("a", LEASE, 11));
    bench.view.revision = 11;
    bench.renew(50);
    bench.view(100);
    bench.put(101, Input::Move { slot: slot(0), to: id("b") });
    let write = writes(&bench.put(150, Input::Warm { slot: slot(0), to: id("b") })).remove(0);
    assert_eq!(bench.machine.right_until(slot(0)), Some(Millis(1150)));
    let out = bench.put(200, Input::Wrote { write, outcome: Wrote::Unknown });
    assert!(out.contains(&Output::ReadClaim(slot(0))));
    let read = Some((1, 20, Some(claim("a", LEASE, 11))));
    let out = bench.put(210, Input::ClaimRead { slot: slot(0), read });
    let bump = writes(&out).remove(0);
    assert!(matches!(&bump, Write::Bump { .. }));
    let out = bench.made(220, &bump, 21);
    assert_eq!(opened(&out), [(0, Epoch::of_claim(1, 21), Origin::Own)]);
}

#[test]
fn a_new_owner_waits_for_the_hand_over_and_opens_with_it() {
    let mut bench = Bench::new(Duty::Rooms, true, 1);
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims.insert(slot(0), claim("b", LeaseId(8), 11));
    bench.view.revision = 11;
    bench.view(1);
    bench.view.claims.insert(slot(0), claim("a", LEASE, 12));
    bench.view.revision = 12;
    let out = bench.view(2);
    assert!(store_calls(&out).iter().all(|call| !matches!(call, StoreCall::RaiseFence { .. })));
    let out = bench.put(3, Input::HandedOver { slot: slot(0), epoch: E12 });
    assert_eq!(opened(&out), [(0, E12, Origin::HandedOver)]);
    // Its fence follows, over whoever holds it, without a wait.
    let call = store_call(&out);
    let held = StoreReply::Held(Fence { epoch: E11, instance: id("b") });
    let revoke = store_call(&bench.put(4, Input::Store { call, reply: held }));
    let call = store_call(&bench.put(5, Input::Store { call: revoke, reply: StoreReply::Revoked(1400) }));
    assert!(matches!(call, StoreCall::RaiseFence { over: Some(_), .. }));
}

#[test]
fn a_hand_over_that_is_faster_than_the_watch_is_believed_after_a_read() {
    let mut bench = Bench::new(Duty::Rooms, false, 1);
    bench.view.claims.insert(slot(0), claim("b", LeaseId(8), 11));
    bench.view.revision = 11;
    bench.view(1);
    let out = bench.put(2, Input::HandedOver { slot: slot(0), epoch: E12 });
    assert_eq!(out.iter().filter(|o| **o == Output::ReadClaim(slot(0))).count(), 1);
    let out = bench.put(3, Input::ClaimRead { slot: slot(0), read: Some((1, 12, Some(claim("a", LEASE, 12)))) });
    assert_eq!(opened(&out), [(0, E12, Origin::HandedOver)]);
}

#[test]
fn a_new_owner_without_a_hand_over_takes_the_crash_path() {
    let mut bench = Bench::new(Duty::Rooms, false, 1);
    bench.view.claims.insert(slot(0), claim("a", LEASE, 12));
    bench.view.revision = 12;
    assert!(gathers(&bench.view(1)).is_empty());
    bench.renew(1000);
    assert_eq!(gathers(&bench.put(1501, Input::Timer)), [E12]);
}

#[test]
fn a_stopping_process_closes_gives_up_and_ends_its_lease() {
    let mut bench = Bench::open(Duty::Rooms, true);
    let out = bench.put(100, Input::Stop);
    assert_eq!(closed(&out), [(0, E11)]);
    let write = writes(&out).remove(0);
    let out = bench.made(110, &write, 12);
    assert!(store_calls(&out).contains(&StoreCall::DropGrace));
    assert!(out.contains(&Output::RevokeLease(LEASE)));
    assert!(bench.put(120, Input::LeaseGone(LEASE)).contains(&Output::Stopped));
    assert!(bench.put(5000, Input::Timer).is_empty());
}

#[test]
fn a_draining_process_moves_its_slots_away_and_says_when_it_is_empty() {
    let mut bench = Bench::open(Duty::Users, false);
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims.insert(slot(0), claim("a", LEASE, 11));
    bench.view.revision = 11;
    bench.renew(50);
    assert!(writes(&bench.view(100)).is_empty(), "nobody says that it should be elsewhere");
    let out = bench.put(101, Input::Drain { by: None });
    let write = writes(&out).remove(0);
    assert!(matches!(&write, Write::Move { to, .. } if *to == id("b")));
    assert!(out.contains(&Output::Announce { draining: true, redis_ok: true }));
    assert!(bench.made(110, &write, 12).contains(&Output::Drained));
}

#[test]
fn a_drain_with_a_near_deadline_moves_more_at_once_and_the_nearest_deadline_counts() {
    let mut bench = Bench::new(Duty::Users, false, 40);
    let out = bench.view(1);
    let claims = writes(&out).remove(0);
    assert_eq!(opened(&bench.made(2, &claims, 11)).len(), 40);
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims = (0..40).map(|number| (slot(number), claim("a", LEASE, 11))).collect();
    bench.view.revision = 11;
    bench.renew(50);
    bench.view(100);
    let mut moves = |at, input| {
        let writes = writes(&bench.put(at, input));
        writes.iter().filter(|write| matches!(write, Write::Move { .. })).count()
    };
    assert_eq!(moves(101, Input::Drain { by: None }), 8);
    assert_eq!(moves(101, Input::Drain { by: Some(Millis(1101)) }), 4, "40 slots in a second: 12 at once");
    assert_eq!(moves(101, Input::Drain { by: Some(Millis(60_000)) }), 0);
    assert_eq!(moves(601, Input::Timer), 12, "half of the time is over and nothing has moved: 24 at once");
    assert_eq!(moves(602, Input::Undrain), 0);
    assert_eq!(moves(603, Input::Drain { by: None }), 0, "a drain that was taken back leaves no deadline");
}
