//! What a process claims, and when a claim is opened.

use super::*;

#[test]
fn a_lone_process_claims_everything_in_batches_of_64_and_serves_it() {
    let mut bench = Bench::new(Duty::Users, false, 200);
    let mut batches = writes(&bench.view(1));
    let mut served = 0;
    let mut revision = 20;
    while let Some(batch) = batches.pop() {
        let Write::Claim { slots, lease, incarnation } = &batch else { panic!("{batch:?}") };
        assert!(slots.len() <= 64 && *lease == LEASE && *incarnation == 1);
        revision += 1;
        let out = bench.made(2, &batch, revision);
        served += opened(&out).len();
        batches.extend(writes(&out));
    }
    assert_eq!(served, 200);
    assert_eq!(bench.machine.serves(slot(199), Millis(3)).map(|epoch| epoch.0 >> 40), Some(1));
}

#[test]
fn slots_with_waiting_rooms_are_claimed_first() {
    let mut bench = Bench::new(Duty::Users, false, 400);
    bench.put(1, Input::Wanted(slot(399)));
    let Write::Claim { slots, .. } = writes(&bench.view(1)).remove(0) else { panic!() };
    assert_eq!((slots[0], slots.len()), (slot(399), 64));
}

#[test]
fn a_claim_that_another_won_is_left_alone() {
    let mut bench = Bench::new(Duty::Users, false, 1);
    let write = writes(&bench.view(1)).remove(0);
    let outcome = Wrote::Done(vec![Change::Lost { now: Some(claim("b", LeaseId(8), 11)) }]);
    let out = bench.put(2, Input::Wrote { write, outcome });
    assert!(opened(&out).is_empty() && writes(&out).is_empty());
    assert_eq!(bench.machine.owner(slot(0)).map(|owner| owner.instance), Some(id("b")));
}

#[test]
fn an_epoch_is_never_opened_twice_the_claim_is_written_again_first() {
    let mut bench = Bench::open(Duty::Users, false);
    // Stopped for 2.4 s; etcd still has the lease. The late answer revives nothing.
    let out = bench.put(2400, Input::LeaseRenewed { lease: LEASE, ttl_ms: 3000, asked: Millis(2390) });
    assert_eq!(closed(&out), [(0, E11)]);
    assert!(opened(&out).is_empty());
    let bump = writes(&out).remove(0);
    assert!(matches!(&bump, Write::Bump { own, .. } if own[0].mod_revision == 11));
    assert_eq!(opened(&bench.made(2410, &bump, 12)), [(0, E12, Origin::Gathered)]);
}

#[test]
fn slots_follow_the_placement_idle_ones_first() {
    use crate::placement::PlacedPod;
    let mut bench = Bench::new(Duty::Users, false, 12);
    let write = writes(&bench.view(1)).remove(0);
    bench.made(2, &write, 11);
    bench.view.members.insert(id("b"), member("b", LeaseId(8)));
    bench.view.claims = (0..12).map(|n| (slot(n), claim("a", LEASE, 11))).collect();
    bench.view.revision = 11;
    bench.renew(50);
    bench.view(60);
    bench.put(61, Input::Heat(BTreeMap::from([(slot(0), 500), (slot(1), 3)])));
    let mut placement = Placement::over(vec![PlacedPod { pod: "pod-b".into(), revision: "r1".into() }]).unwrap();
    placement.version = 1;
    for slot in Slot::all() {
        placement.set(slot, [0]);
    }
    let moving = |write: &Write| if let Write::Move { own, .. } = write { Some(own.slot.number()) } else { None };
    let mut moves = writes(&bench.put(70, Input::Placement(Arc::new(placement))));
    assert_eq!(moves.iter().filter_map(moving).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    let mut order = Vec::new();
    while !moves.is_empty() {
        let write = moves.remove(0);
        order.extend(moving(&write));
        bench.made(80, &write, 12);
        moves.extend(writes(&bench.put(81, Input::Timer)));
    }
    assert_eq!(order[8..], [10, 11, 1, 0]);
}

#[test]
fn an_empty_etcd_gets_the_next_incarnation_and_the_store_remembers_it_first() {
    let mut bench = Bench::new(Duty::Rooms, true, 1);
    bench.view.incarnation = None;
    let out = bench.view(1);
    assert!(out.contains(&Output::AskIncarnations));
    assert!(bench.put(2, Input::Incarnations { store: None, pods: 4 }).is_empty(), "the store must know it first");
    bench.renew(200);
    assert!(bench.put(500, Input::Timer).contains(&Output::AskIncarnations));
    let out = bench.put(501, Input::Incarnations { store: Some(2), pods: 4 });
    assert!(out.is_empty(), "what is news may be of somebody who writes it to etcd at this moment");
    bench.renew(700);
    assert!(bench.put(801, Input::Timer).contains(&Output::AskIncarnations));
    let out = bench.put(802, Input::Incarnations { store: Some(2), pods: 4 });
    let call = StoreCall::RaiseIncarnation { to: 5 };
    assert!(store_calls(&out).contains(&call));
    let out = bench.put(803, Input::Store { call, reply: StoreReply::Incarnation(5) });
    assert!(out.contains(&Output::CreateIncarnation(5)));
    bench.put(804, Input::IncarnationWritten);
    bench.view.incarnation = Some(5);
    bench.view.revision = 3;
    assert!(writes(&bench.view(805)).is_empty(), "who served it before has five seconds");
    for at in [1000, 2000, 3000, 4000, 5000] {
        bench.renew(at);
    }
    assert_eq!(writes(&bench.put(5805, Input::Timer)).len(), 1);
}

#[test]
fn a_new_container_ends_its_predecessors_lease_before_it_claims() {
    let mut bench = Bench::new(Duty::Users, false, 1);
    let old = Member { uid: me("a").uid, ..member("old", LeaseId(3)) };
    bench.view.members.insert(id("old"), old);
    let out = bench.view(1);
    assert!(out.contains(&Output::RevokeLease(LeaseId(3))) && writes(&out).is_empty());
    assert_eq!(writes(&bench.put(2, Input::LeaseGone(LeaseId(3)))).len(), 1);
}

#[test]
fn old_news_is_ignored() {
    let mut bench = Bench::open(Duty::Users, false);
    // Revision 10, from before the claim of revision 11.
    let out = bench.view(100);
    assert!(closed(&out).is_empty() && writes(&out).is_empty());
    bench.view.revision = 12;
    let out = bench.view(101);
    assert_eq!(closed(&out), [(0, E11)], "the claim is gone, and with it the right by the lease");
}
