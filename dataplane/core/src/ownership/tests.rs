//! One machine, answered by hand: what it asks for and when. Stories of several processes are in `throng-sim`.

use std::collections::BTreeMap;

use super::*;

const LEASE: LeaseId = LeaseId(7);

/// A machine, and everything that it put out and nobody took.
struct Bench {
    machine: Ownership,
    out: Vec<Output>,
    view: View,
}

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn me(name: &str) -> Me {
    Me {
        instance: id(name),
        pod: format!("pod-{name}").into(),
        uid: format!("uid-{name}").into(),
        address: format!("{name}:1").into(),
        revision: "r1".into(),
    }
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn member(name: &str, lease: LeaseId) -> Member {
    let me = me(name);
    Member {
        pod: me.pod,
        uid: me.uid,
        address: me.address,
        revision: me.revision,
        lease,
        draining: false,
        redis_ok: true,
    }
}

fn claim(name: &str, lease: LeaseId, mod_revision: u64) -> Claim {
    Claim { instance: id(name), address: format!("{name}:1").into(), lease, mod_revision }
}

impl Bench {
    /// A machine with some slots, its lease granted at time 0 and confirmed, listed as a member at revision 10.
    fn new(duty: Duty, store: bool, slots: u16) -> Self {
        let slots = (0..slots).map(slot).collect();
        let config = Config { slots, ..Config::new(me("a"), duty, store) };
        let mut bench = Self {
            machine: Ownership::new(config, Millis(0)),
            out: Vec::new(),
            view: View { revision: 10, incarnation: Some(1), ..View::default() },
        };
        bench.view.members.insert(id("a"), member("a", LEASE));
        bench.put(0, Input::LeaseGranted { lease: LEASE, ttl_ms: 3000, asked: Millis(0) });
        bench.out.clear();
        bench
    }

    fn put(&mut self, at: u64, input: Input) -> Vec<Output> {
        self.machine.handle(input, Millis(at), &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn view(&mut self, at: u64) -> Vec<Output> {
        let view = Box::new(self.view.clone());
        self.put(at, Input::View(view))
    }

    fn made(&mut self, at: u64, write: &Write, revision: u64) -> Vec<Output> {
        let count = match write {
            Write::Claim { slots, .. } => slots.len(),
            Write::Bump { own, .. } | Write::GiveUp { own } => own.len(),
            Write::Move { .. } => 1,
        };
        let outcome = Wrote::Done(vec![Change::Made { mod_revision: revision }; count]);
        self.put(at, Input::Wrote { write: write.clone(), outcome })
    }

    /// Keeps the lease, without looking.
    fn renew(&mut self, at: u64) {
        self.put(at, Input::Reactors(Millis(at)));
        self.put(at, Input::LeaseRenewed { lease: LEASE, ttl_ms: 3000, asked: Millis(at) });
    }

    /// Serves slot 0 under revision 11.
    fn open(duty: Duty, store: bool) -> Self {
        let mut bench = Self::new(duty, store, 1);
        let out = bench.view(1);
        let claim = writes(&out).remove(0);
        let mut out = bench.made(2, &claim, 11);
        if store && duty == Duty::Rooms {
            let fence = store_call(&out);
            out = bench.put(3, Input::Store { call: fence, reply: StoreReply::Raised });
        }
        if duty == Duty::Rooms {
            assert_eq!(gathers(&out), [E11]);
            out = bench.put(4, Input::Gathered { slot: slot(0), epoch: E11, stale: None });
        }
        assert_eq!(opened(&out), [(0, E11, Origin::Gathered)]);
        bench
    }
}

const E11: Epoch = Epoch::of_claim(1, 11);
const E12: Epoch = Epoch::of_claim(1, 12);

fn writes(out: &[Output]) -> Vec<Write> {
    out.iter().filter_map(|o| if let Output::Write(write) = o { Some(write.clone()) } else { None }).collect()
}

fn opened(out: &[Output]) -> Vec<(u16, Epoch, Origin)> {
    let open = |o: &Output| match o {
        Output::Open { slot, epoch, origin } => Some((slot.number(), *epoch, *origin)),
        _ => None,
    };
    out.iter().filter_map(open).collect()
}

fn closed(out: &[Output]) -> Vec<(u16, Epoch)> {
    let close = |o: &Output| match o {
        Output::Close { slot, epoch, .. } => Some((slot.number(), *epoch)),
        _ => None,
    };
    out.iter().filter_map(close).collect()
}

fn gathers(out: &[Output]) -> Vec<Epoch> {
    out.iter().filter_map(|o| if let Output::Gather { epoch, .. } = o { Some(*epoch) } else { None }).collect()
}

fn store_calls(out: &[Output]) -> Vec<StoreCall> {
    out.iter().filter_map(|o| if let Output::Store(call) = o { Some(call.clone()) } else { None }).collect()
}

/// The call about a slot.
fn store_call(out: &[Output]) -> StoreCall {
    let about = |call: &StoreCall| matches!(call, StoreCall::RaiseFence { .. } | StoreCall::Revoke { .. });
    store_calls(out).into_iter().find(about).unwrap()
}

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
fn a_larger_mark_revokes_and_a_smaller_one_does_not() {
    for (mark, ends) in [(E12, true), (E11, false), (Epoch::of_claim(1, 5), false)] {
        let mut bench = Bench::open(Duty::Rooms, true);
        let call = StoreCall::CreateGrace { asked: Millis(10), mine: vec![(slot(0), E11)] };
        let out = bench.put(12, Input::Store { call, reply: StoreReply::Grace(vec![(slot(0), mark)]) });
        assert_eq!(!closed(&out).is_empty(), ends, "{mark}");
    }
}

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
fn whoever_learns_of_a_later_epoch_stops_and_gives_up() {
    let mut bench = Bench::open(Duty::Rooms, false);
    let out = bench.put(100, Input::Stale { slot: slot(0), epoch: Epoch::of_claim(1, 99) });
    assert_eq!(closed(&out), [(0, E11)]);
    assert!(matches!(&writes(&out)[..], [Write::GiveUp { .. }]));
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
    let out = bench.put(101, Input::Drain(true));
    let write = writes(&out).remove(0);
    assert!(matches!(&write, Write::Move { to, .. } if *to == id("b")));
    assert!(out.contains(&Output::Announce { draining: true, redis_ok: true }));
    assert!(bench.made(110, &write, 12).contains(&Output::Drained));
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
