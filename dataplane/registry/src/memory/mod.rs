//! A registry inside one process: for `throng dev`, for simulation and for tests. It promises what etcd promises, and
//! forgets everything with the process.
//!
//! [`MemoryRegistry::new`] runs on the machine's clock: a thread of its own lets leases expire, whatever becomes of the
//! runtimes that use it. [`MemoryRegistry::driven`] has no thread and no clock: time is what [`MemoryRegistry::tick`] says,
//! so that a simulation owns it.

mod engine;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use throng_core::Millis;
use tokio::sync::watch;

use self::engine::Engine;
use crate::api::Outcome;
use crate::error::Error;
use crate::keys::Keys;
use crate::kv::{Kv, Txn, TxnReply};
use crate::ledger::{Ledger, Ledgered};
use crate::model::{Lease, LeaseId};
use crate::view::table::Table;
use crate::view::{VIEW_PAUSE_MS, View, unix_now};

/// The registry of one process. Clones share it.
#[derive(Clone)]
pub struct MemoryRegistry {
    ledger: Arc<Ledger<MemoryKv>>,
}

impl MemoryRegistry {
    /// An empty registry on the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        let kv = MemoryKv::new(Clock::Machine(Instant::now()));
        let shared = Arc::clone(&kv.shared);
        std::thread::spawn(move || keep(&shared));
        Self::over(kv)
    }

    /// An empty registry whose time stands at `now` until [`Self::tick`] moves it. Views follow every change at once.
    #[must_use]
    pub fn driven(now: Millis) -> Self {
        Self::over(MemoryKv::new(Clock::Driven(now)))
    }

    fn over(kv: MemoryKv) -> Self {
        Self { ledger: Arc::new(Ledger { keys: kv.keys.clone(), kv }) }
    }

    /// Moves the time of a driven registry forward and lets leases expire. Nothing else has a clock to move.
    pub fn tick(&self, now: Millis) {
        self.change(|state| {
            if let Clock::Driven(time) = &mut state.clock {
                *time = now.max(*time);
            }
        });
    }

    /// Puts it out of reach, or back: calls fail, leases neither renew nor expire, views say so. Back again, every lease
    /// has its full time, as after a restart of etcd.
    pub fn set_away(&self, away: bool) {
        self.change(|state| {
            state.away = away;
            let now = state.now();
            let shown_now = state.shown_now();
            if away {
                state.table.mark_stale(shown_now);
            } else {
                state.table.mark_live();
            }
            state.engine.renew_all(now);
        });
    }

    /// Empties it, as an etcd that lost its disk: leases, members, claims and the incarnation are gone and revisions begin
    /// again.
    pub fn wipe(&self) {
        self.change(|state| {
            state.engine.wipe();
            let State { engine, table, .. } = state;
            table.rebuild(engine.records(), engine.revision());
        });
    }

    fn change(&self, apply: impl FnOnce(&mut State)) {
        let shared = &self.ledger.kv.shared;
        let mut state = shared.lock();
        apply(&mut state);
        shared.settle(&mut state, true);
    }
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

enum Clock {
    /// Counts from here.
    Machine(Instant),
    Driven(Millis),
}

struct State {
    clock: Clock,
    engine: Engine,
    table: Table,
    away: bool,
    /// Changes that no view shows yet.
    dirty: bool,
    /// When the last view was shown; none before the first.
    shown: Option<Millis>,
    ended: bool,
}

impl State {
    fn now(&self) -> Millis {
        match self.clock {
            Clock::Machine(start) => Millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)),
            Clock::Driven(now) => now,
        }
    }

    /// The time that people are shown.
    fn shown_now(&self) -> Millis {
        match self.clock {
            Clock::Machine(_) => unix_now(),
            Clock::Driven(now) => now,
        }
    }

    /// When the next view is due, none if none is.
    fn view_due(&self) -> Option<Millis> {
        match self.clock {
            _ if !self.dirty => None,
            Clock::Driven(now) => Some(now),
            Clock::Machine(_) => Some(self.shown.map_or(Millis::ZERO, |shown| shown + VIEW_PAUSE_MS)),
        }
    }
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    views: watch::Sender<Arc<View>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets leases expire, carries changes into the table, and shows a view when one is due.
    fn settle(&self, state: &mut State, touched: bool) {
        let now = state.now();
        if !state.away {
            state.engine.expire(now);
        }
        let revision = state.engine.revision();
        let changes = state.engine.take_changes();
        state.dirty |= touched || !changes.is_empty();
        for (key, record) in changes {
            state.table.apply(&key, record, revision);
        }
        if state.view_due().is_some_and(|due| due <= now) {
            state.dirty = false;
            state.shown = Some(now);
            self.views.send_replace(Arc::new(state.table.view()));
        }
        self.wake.notify_one();
    }
}

/// The thread of a registry on the machine's clock: sleeps until a lease expires or a view is due.
fn keep(shared: &Shared) {
    let mut state = shared.lock();
    while !state.ended {
        shared.settle(&mut state, false);
        let expiry = if state.away { None } else { state.engine.next_expiry() };
        let due = [expiry, state.view_due()].into_iter().flatten().min();
        let pause = due.map_or(Duration::from_mins(1), |due| Duration::from_millis(due.since(state.now()).max(1)));
        state = shared.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
}

pub(crate) struct MemoryKv {
    keys: Keys,
    shared: Arc<Shared>,
}

impl MemoryKv {
    fn new(clock: Clock) -> Self {
        let keys = Keys::in_memory();
        let mut table = Table::new(keys.clone(), Millis::ZERO);
        table.rebuild(std::iter::empty(), Engine::new().revision());
        let views = watch::Sender::new(Arc::new(table.view()));
        let engine = Engine::new();
        let state = State { clock, engine, table, away: false, dirty: false, shown: None, ended: false };
        let shared = Shared { state: Mutex::new(state), wake: Condvar::new(), views };
        Self { keys, shared: Arc::new(shared) }
    }

    fn call<T>(&self, act: impl FnOnce(&mut Engine, Millis) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.shared.lock();
        if state.away {
            return Err(Error::unavailable("it was put out of reach"));
        }
        let now = state.now();
        state.engine.expire(now);
        let answer = act(&mut state.engine, now);
        self.shared.settle(&mut state, false);
        answer
    }
}

impl Drop for MemoryKv {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_one();
    }
}

impl Kv for MemoryKv {
    async fn grant(&self, ttl_ms: u64) -> Result<Lease, Error> {
        self.call(|engine, now| Ok(engine.grant(ttl_ms, now)))
    }

    async fn keep_alive(&self, lease: Lease, _within: Duration) -> Result<u64, Error> {
        self.call(|engine, now| engine.keep_alive(lease.id, now))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.call(|engine, _| {
            engine.revoke(lease);
            Ok(())
        })
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome<TxnReply>, Error> {
        self.call(|engine, _| engine.txn(txn)).map(Outcome::Known)
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.shared.views.subscribe()
    }
}

impl Ledgered for MemoryRegistry {
    type Kv = MemoryKv;

    fn ledger(&self) -> &Ledger<MemoryKv> {
        &self.ledger
    }
}
