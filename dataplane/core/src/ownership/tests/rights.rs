//! By which right a slot is served, and when it ends.

use super::*;

#[test]
fn two_thirds_of_the_lease_after_the_last_confirmation_was_sent_the_right_ends() {
    let mut bench = Bench::open(Duty::Users, false);
    bench.put(500, Input::Reactors(Millis(500)));
    // Sent at 500, answered at 1900: it counts from 500.
    bench.put(1900, Input::LeaseRenewed { lease: LEASE, ttl_ms: 3000, asked: Millis(500) });
    assert_eq!(bench.machine.serves(slot(0), Millis(2499)), Some(E11));
    assert_eq!(bench.machine.serves(slot(0), Millis(2500)), None);
    assert_eq!(closed(&bench.put(2500, Input::Timer)), [(0, E11)]);
}

#[test]
fn a_reactor_that_hangs_stops_the_renewals() {
    let mut bench = Bench::open(Duty::Users, false);
    let renews = |out: &[Output]| out.iter().any(|o| matches!(o, Output::RenewLease { .. }));
    assert!(renews(&bench.put(600, Input::Timer)));
    bench.put(610, Input::LeaseRenewed { lease: LEASE, ttl_ms: 3000, asked: Millis(600) });
    assert!(!renews(&bench.put(1300, Input::Timer)), "the reactors last answered at 0");
    assert!(renews(&bench.put(1301, Input::Reactors(Millis(1301)))));
}

#[test]
fn grace_carries_on_when_the_lease_lapses_and_ends_when_it_breaks() {
    let mut bench = Bench::open(Duty::Rooms, true);
    bench.renew(400);
    let grace = StoreCall::CreateGrace { asked: Millis(400), mine: vec![(slot(0), E11)] };
    bench.put(410, Input::Store { call: grace, reply: StoreReply::Grace(vec![]) });
    for at in [900, 1400, 1900, 2400] {
        let out = bench.put(at, Input::Timer);
        let call = StoreCall::RenewGrace { asked: Millis(at) };
        assert!(store_calls(&out).contains(&call), "{at}: {out:?}");
        bench.put(at + 5, Input::Store { call, reply: StoreReply::Grace(vec![]) });
    }
    // The lease was a right until 2,400; grace holds until 2,400 + 1,450.
    assert_eq!(bench.machine.serves(slot(0), Millis(3849)), Some(E11));
    assert_eq!(bench.machine.serves(slot(0), Millis(3850)), None);
    let call = StoreCall::RenewGrace { asked: Millis(2900) };
    let out = bench.put(3900, Input::Store { call, reply: StoreReply::Grace(vec![]) });
    assert_eq!(closed(&out), [(0, E11)], "an answer after the deadline saves nothing");
}

#[test]
fn a_store_that_was_never_heard_does_not_answer() {
    // Its lease is there, and with it the grace was asked for; it has no slot.
    let mut bench = Bench::new(Duty::Rooms, true, 0);
    let call = |at| StoreCall::CreateGrace { asked: Millis(at), mine: vec![] };
    assert!(!bench.machine.status(Millis(10)).store, "it is being asked");
    bench.put(500, Input::Store { call: call(0), reply: StoreReply::Unreachable });
    assert!(!bench.machine.status(Millis(500)).store);
    let out = bench.put(750, Input::Timer);
    assert_eq!(store_calls(&out), [call(750)], "and again");
    bench.put(760, Input::Store { call: call(750), reply: StoreReply::Grace(vec![]) });
    assert!(bench.machine.status(Millis(760)).store);

    for (duty, shared) in [(Duty::Rooms, false), (Duty::Users, true)] {
        let bench = Bench::new(duty, shared, 0);
        assert!(bench.machine.status(Millis(0)).store, "{duty:?} does not need it");
    }
}

#[test]
fn a_larger_mark_revokes_and_a_smaller_one_does_not() {
    for (mark, ends) in [(E12, true), (E11, false), (Epoch::of_claim(1, 5), false)] {
        let mut bench = Bench::open(Duty::Rooms, true);
        let call = StoreCall::CreateGrace { asked: Millis(10), mine: vec![(slot(0), E11)] };
        let out = bench.put(12, Input::Store { call, reply: StoreReply::Grace(vec![(slot(0), mark)]) });
        assert_eq!(!closed(&out).is_empty(), ends, "{mark}");
    }
}

#[test]
fn whoever_learns_of_a_later_epoch_stops_and_gives_up() {
    let mut bench = Bench::open(Duty::Rooms, false);
    let out = bench.put(100, Input::Stale { slot: slot(0), epoch: Epoch::of_claim(1, 99) });
    assert_eq!(closed(&out), [(0, E11)]);
    assert!(matches!(&writes(&out)[..], [Write::GiveUp { .. }]));
}
