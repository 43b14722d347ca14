//! What a taker does before it serves.

use super::*;

#[test]
fn a_taker_revokes_whom_the_fence_names_waits_and_asks_again() {
    let mut bench = Bench::new(Duty::Rooms, true, 1);
    let write = writes(&bench.view(1)).remove(0);
    let call = store_call(&bench.made(2, &write, 11));
    let fence = |name: &str| StoreReply::Held(Fence { epoch: Epoch(5), instance: id(name) });
    let revoke = store_call(&bench.put(3, Input::Store { call, reply: fence("x") }));
    assert_eq!(revoke, StoreCall::Revoke { slot: slot(0), epoch: E11, instance: id("x") });
    let out = bench.put(4, Input::Store { call: revoke, reply: StoreReply::Revoked(900) });
    assert!(store_calls(&out).iter().all(|call| !matches!(call, StoreCall::RaiseFence { .. })));
    assert_eq!(bench.machine.wake_at().map(|at| at <= Millis(904)), Some(true));
    bench.renew(500);
    let call = store_call(&bench.put(904, Input::Timer));
    assert!(matches!(&call, StoreCall::RaiseFence { over: Some(over), .. } if *over == id("x")));
    // Somebody else holds it by now: that one is revoked too, and waited for.
    let revoke = store_call(&bench.put(905, Input::Store { call, reply: fence("y") }));
    let call = store_call(&bench.put(906, Input::Store { call: revoke, reply: StoreReply::Revoked(0) }));
    assert!(matches!(&call, StoreCall::RaiseFence { over: Some(over), .. } if *over == id("y")));
    let out = bench.put(907, Input::Store { call, reply: StoreReply::Raised });
    assert_eq!(gathers(&out), [E11]);
}

#[test]
fn without_the_store_a_taker_leaves_the_slot_to_one_that_reaches_it() {
    let mut bench = Bench::new(Duty::Rooms, true, 1);
    bench.view.members.insert(id("b"), Member { redis_ok: false, ..member("b", LeaseId(8)) });
    bench.put(0, Input::Wanted(slot(0)));
    let mut out = bench.view(1);
    if writes(&out).is_empty() {
        out = bench.put(400, Input::Timer);
    }
    let write = writes(&out).remove(0);
    let call = store_call(&bench.made(401, &write, 11));
    bench.renew(402);
    let out = bench.put(403, Input::Store { call, reply: StoreReply::Unreachable });
    assert!(writes(&out).is_empty(), "nobody is known to reach it");
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims.insert(slot(0), claim("a", LEASE, 11));
    bench.view.revision = 12;
    bench.view(500);
    let call = store_call(&bench.put(800, Input::Timer));
    let out = bench.put(801, Input::Store { call, reply: StoreReply::Unreachable });
    assert!(matches!(&writes(&out)[..], [Write::GiveUp { own }] if own[0].mod_revision == 11));
}

#[test]
fn without_the_store_anywhere_a_taker_goes_on_after_five_seconds() {
    let mut bench = Bench::new(Duty::Rooms, true, 1);
    let write = writes(&bench.view(1)).remove(0);
    let mut out = bench.made(2, &write, 11);
    let mut at = 2;
    while gathers(&out).is_empty() {
        bench.renew(at);
        for call in store_calls(&out) {
            let more = bench.put(at, Input::Store { call, reply: StoreReply::Unreachable });
            out.extend(more);
        }
        if !gathers(&out).is_empty() {
            break;
        }
        at += 100;
        assert!(at < 9000, "never went on");
        out = bench.put(at, Input::Timer);
    }
    assert!((5000..5500).contains(&at), "{at}");
    let out = bench.put(at + 1, Input::Gathered { slot: slot(0), epoch: E11, stale: None });
    assert_eq!(opened(&out).len(), 1);
    // The store is back: the fence is written, and the log is read.
    let call = store_call(&out);
    assert!(matches!(call, StoreCall::RaiseFence { taking: false, .. }));
    let out = bench.put(at + 401, Input::Store { call, reply: StoreReply::Raised });
    assert!(out.contains(&Output::ReadLog { slot: slot(0), epoch: E11 }));
}
