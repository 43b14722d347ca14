//! The store in the memory of one process: for `throng dev`, tests and simulation.
//!
//! It says `stored` and `durable: false`: what it keeps is gone with the process. Fences, grace and marks follow the same
//! rules as in Redis, by a [`Clock`] of the caller's choice. [`state`] is the whole of it, pure; this file adds the lock.

mod log;
mod room;
mod state;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_core::{Epoch, InstanceId, Millis, RoomId, Slot};

use self::state::State;
use crate::StoreError;
use crate::image::{MemberCursor, MemberPage, RoomImage, StoredRoom};
use crate::limits::LogLimits;
use crate::ownership::{AnySlot, Birth, Fence, GraceCreated, Raised, Renewal};
use crate::store::{BoxFuture, Description, Kind, Store};
use crate::write::{Batch, Written};
use crate::{LogPage, LogRange};

/// Where a memory store takes the time from. It must not run backwards.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since any fixed origin.
    fn now(&self) -> Millis;
}

/// The clock of the runtime, which simulation and paused tests control: milliseconds since an instant, and some more.
struct Since(tokio::time::Instant, u64);

impl Clock for Since {
    fn now(&self) -> Millis {
        Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)) + self.1
    }
}

/// Age of a database that nobody had before: more than any grace.
const FOUNDED_MS: u64 = 60_000;

/// What all instances of the process share. Cloning is cheap: the content is shared.
#[derive(Clone)]
pub struct MemoryDb {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

impl Default for MemoryDb {
    fn default() -> Self {
        let clock = Arc::new(Since(tokio::time::Instant::now(), 0));
        Self::new(clock, LogLimits::default(), DEFAULT_GRACE_MS)
    }
}

/// How long grace lasts without renewal, milliseconds.
pub const DEFAULT_GRACE_MS: u64 = 1_500;

impl MemoryDb {
    /// An empty database. Grace lasts `grace_ms` after each renewal.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, limits: LogLimits, grace_ms: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(limits, grace_ms))), clock }
    }

    /// An empty database that is taken for old: for a process that holds everybody who could have had a right by it.
    /// Otherwise the first owners wait until whatever an emptied database has forgotten must have ended.
    #[must_use]
    pub fn founded() -> Self {
        let db =
            Self::new(Arc::new(Since(tokio::time::Instant::now(), FOUNDED_MS)), LogLimits::default(), DEFAULT_GRACE_MS);
        db.lock().birth(Millis::ZERO);
        db
    }

    /// The store as one instance sees it.
    #[must_use]
    pub fn store(&self, instance: InstanceId) -> MemoryStore {
        MemoryStore { db: self.clone(), instance, away: Arc::new(AtomicBool::new(false)) }
    }

    /// Forgets everything, as a Redis that restarts without its file.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One instance's handle of a [`MemoryDb`].
#[derive(Clone)]
pub struct MemoryStore {
    db: MemoryDb,
    instance: InstanceId,
    away: Arc<AtomicBool>,
}

impl MemoryStore {
    /// Cuts this instance off from the store, or ends that: every call is [`StoreError::Unavailable`] meanwhile. For tests
    /// and simulation.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        step: impl FnOnce(&mut State, Millis) -> Result<T, StoreError> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            if self.away.load(Ordering::Relaxed) {
                return Err(StoreError::unavailable("this instance was cut off from the memory store"));
            }
            let now = self.db.clock.now();
            step(&mut self.db.lock(), now)
        })
    }
}

impl Store for MemoryStore {
    fn instance(&self) -> &InstanceId {
        &self.instance
    }

    fn description(&self) -> Description {
        Description { kind: Kind::Memory, durable: false, warnings: Vec::new() }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(|_, _| Ok(()))
    }

    fn write(&self, slot: Slot, epoch: Epoch, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>> {
        self.call(move |state, now| {
            let emptied = state.write(slot, epoch, &batch.writes, now)?;
            Ok(Written { emptied, confirmed: true })
        })
    }

    fn rooms(&self, slot: Slot) -> BoxFuture<'_, Result<Vec<StoredRoom>, StoreError>> {
        self.call(move |state, _| Ok(state.rooms(slot)))
    }

    fn load(&self, room: RoomId, tail: usize) -> BoxFuture<'_, Result<Option<RoomImage>, StoreError>> {
        self.call(move |state, now| Ok(state.load(&room, tail, now)))
    }

    fn log(&self, room: RoomId, range: LogRange) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        self.call(move |state, now| Ok(state.log(&room, range, now)))
    }

    fn members(&self, room: RoomId, from: MemberCursor) -> BoxFuture<'_, Result<MemberPage, StoreError>> {
        self.call(move |state, _| Ok(state.members(&room, from)))
    }

    fn raise_fence(
        &self,
        slot: AnySlot,
        epoch: Epoch,
        expected: Option<InstanceId>,
    ) -> BoxFuture<'_, Result<Raised, StoreError>> {
        let mine = Fence { epoch, instance: self.instance.clone() };
        self.call(move |state, _| state.raise_fence(slot, mine, expected.as_ref()))
    }

    fn fence(&self, slot: AnySlot) -> BoxFuture<'_, Result<Option<Fence>, StoreError>> {
        self.call(move |state, _| Ok(state.fence(slot)))
    }

    fn create_grace(&self, mine: Vec<(AnySlot, Epoch)>) -> BoxFuture<'_, Result<GraceCreated, StoreError>> {
        self.call(move |state, now| Ok(state.create_grace(&self.instance, &mine, now)))
    }

    fn renew_grace(&self) -> BoxFuture<'_, Result<Renewal, StoreError>> {
        self.call(|state, now| Ok(state.renew_grace(&self.instance, now)))
    }

    fn grace_left_ms(&self, instance: InstanceId) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.call(move |state, now| Ok(state.grace_left_ms(&instance, now)))
    }

    fn revoke(&self, instance: InstanceId, slot: AnySlot, epoch: Epoch) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |state, _| {
            state.revoke(instance, slot, epoch);
            Ok(())
        })
    }

    fn forget_instance(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |state, _| {
            state.forget_instance(&instance);
            Ok(())
        })
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.call(|state, _| Ok(state.incarnation()))
    }

    fn raise_incarnation(&self, incarnation: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.call(move |state, _| Ok(state.raise_incarnation(incarnation)))
    }

    fn birth(&self) -> BoxFuture<'_, Result<Birth, StoreError>> {
        self.call(|state, now| Ok(state.birth(now)))
    }
}
