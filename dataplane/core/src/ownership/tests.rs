//! One machine, answered by hand: what it asks for and when. Stories of several processes are in `throng-sim`.

mod claiming;
mod moving;
mod rights;
mod take_over;

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
