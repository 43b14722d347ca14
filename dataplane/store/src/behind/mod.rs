//! Writes behind the traffic: nobody who publishes waits for the store.
//!
//! Owners push writes and go on; [`Runner::run`] gathers them into batches and carries them out, again and again while the
//! store is away. All decisions are in [`queue`]; this file adds the clock, the lock and the tasks. A write may carry an
//! [`Ack`], which is called once: when the store has it, or when that is not known in time. What the owner itself has to
//! know comes as a [`Notice`].

mod metrics;
mod options;
mod queue;
mod supersede;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use throng_core::{Epoch, Millis, Slot};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub use self::metrics::Metrics;
pub use self::options::BehindOptions;
pub use self::queue::Notice;
use self::queue::{Answers, Queue, Work};
use crate::error::{NotStored, StoreError};
use crate::store::Store;
use crate::write::{Tag, Write, Written};

/// Called once with the outcome of a write, from the runner or from inside the push: it must not block, nor push.
pub type Ack = Box<dyn FnOnce(Result<(), NotStored>) + Send>;

/// How long the runner goes on for what waits when the last handle is dropped without [`WriteBehind::close`].
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Handle of a write-behind queue. Cloning is cheap. Everything that waits is lost with the process.
#[derive(Clone)]
pub struct WriteBehind {
    handle: Arc<Handle>,
}

/// Ends the runner when the last clone is dropped.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close(Instant::now() + LAST_FLUSH);
    }
}

/// What the owner has to know, one at a time.
pub struct Notices(Arc<Shared>);

/// Carries writes out.
pub struct Runner {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    in_flight: usize,
}

struct Shared {
    state: Mutex<State>,
    started: Instant,
    /// Something was pushed that may be due earlier than planned.
    wake: Notify,
    /// There is a notice.
    noticed: Notify,
    /// A batch came back.
    settled: Notify,
}

struct State {
    queue: Queue<Ack>,
    /// Set when nothing is taken any more: the runner ends then, done or not.
    close_at: Option<Instant>,
    ended: bool,
}

impl WriteBehind {
    /// A queue before a store, what it tells its owner, and the task that has to run.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: BehindOptions) -> (Self, Notices, Runner) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { queue: Queue::new(options), close_at: None, ended: false }),
            started: Instant::now(),
            wake: Notify::new(),
            noticed: Notify::new(),
            settled: Notify::new(),
        });
        let handle = Self { handle: Arc::new(Handle(Arc::clone(&shared))) };
        let runner = Runner { store, shared: Arc::clone(&shared), in_flight: options.in_flight.max(1) };
        (handle, Notices(shared), runner)
    }

    /// Leaves a write, under the epoch of the claim on its room's slot. Never blocks: if there is no place for it, `ack` is
    /// told so before this returns.
    pub fn push(&self, epoch: Epoch, write: Write, ack: Option<Ack>) {
        let shared = &self.handle.0;
        let now = shared.now();
        let mut state = shared.lock();
        if state.close_at.is_some() {
            drop(state);
            if let Some(ack) = ack {
                ack(Err(NotStored::Closed));
            }
            return;
        }
        let pushed = state.queue.push(now, epoch, write, ack);
        let noticed = state.queue.has_notice();
        drop(state);
        if let Some((ack, why)) = pushed.refused {
            ack(Err(why));
        }
        if pushed.wake {
            shared.wake.notify_one();
        }
        if noticed {
            shared.noticed.notify_one();
        }
    }

    /// Waits until nothing of a slot waits or is on its way: before a planned move. False if that takes too long.
    pub async fn settle(&self, slot: Slot, within: Duration) -> bool {
        let shared = &self.handle.0;
        let settled = async {
            loop {
                let came_back = shared.settled.notified();
                if shared.lock().queue.is_settled(slot) {
                    return;
                }
                came_back.await;
            }
        };
        timeout(within, settled).await.is_ok()
    }

    /// Drops what waits for a slot that was given up.
    pub fn discard(&self, slot: Slot) {
        let answers = self.handle.0.lock().queue.discard(slot);
        answer(answers);
        self.handle.0.settled.notify_waiters();
    }

    /// State and counters.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let now = self.handle.0.now();
        self.handle.0.lock().queue.metrics(now)
    }

    /// Takes nothing more, and waits until everything is carried out. False if that takes too long: the rest is lost, and
    /// whoever asked is told.
    pub async fn close(&self, within: Duration) -> bool {
        let shared = &self.handle.0;
        shared.close(Instant::now() + within);
        loop {
            let came_back = shared.settled.notified();
            {
                let state = shared.lock();
                if state.ended {
                    return state.queue.is_empty();
                }
            }
            came_back.await;
        }
    }
}

impl Notices {
    /// The next notice; at most one a slot is waiting.
    pub async fn next(&mut self) -> Notice {
        loop {
            let noticed = self.0.noticed.notified();
            if let Some(notice) = self.0.lock().queue.next_notice() {
                return notice;
            }
            noticed.await;
        }
    }
}

impl Runner {
    /// Carries out what is pushed, until the queue is closed.
    pub async fn run(self) {
        let shared = Arc::clone(&self.shared);
        let mut batches: JoinSet<(Tag, Result<Written, StoreError>)> = JoinSet::new();
        loop {
            let (due, close_at) = self.start_due(&mut batches);
            let now = Instant::now();
            if close_at.is_some_and(|at| at <= now || (batches.is_empty() && shared.lock().queue.is_empty())) {
                break;
            }
            let until = due.into_iter().chain(close_at).min();
            let pause = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = batches.join_next() => {
                    if let Ok((tag, outcome)) = done {
                        self.finish(&tag, &outcome);
                    }
                }
                () = shared.wake.notified() => {}
                () = pause => {}
            }
        }
        let answers = {
            let mut state = shared.lock();
            state.ended = true;
            state.queue.abandon()
        };
        answer(answers);
        shared.settled.notify_waiters();
    }

    /// Starts every batch that is due and fits; says when to look again.
    fn start_due(
        &self,
        batches: &mut JoinSet<(Tag, Result<Written, StoreError>)>,
    ) -> (Option<Instant>, Option<Instant>) {
        let now = self.shared.now();
        let mut answers: Answers<Ack> = Vec::new();
        let (due, close_at) = {
            let mut state = self.shared.lock();
            answers.extend(state.queue.expire(now));
            let mut full = true;
            while batches.len() < self.in_flight {
                let (work, outdated) = state.queue.take(now);
                let nothing = work.is_none() && outdated.is_empty();
                answers.extend(outdated);
                if let Some(work) = work {
                    batches.spawn(carry_out(Arc::clone(&self.store), work));
                } else if nothing {
                    full = false;
                    break;
                }
            }
            // With every place taken the next look is when one comes back.
            let due = if full { None } else { state.queue.next_due() };
            (due.map(|due| self.shared.at(due)), state.close_at)
        };
        answer(answers);
        (due, close_at)
    }

    fn finish(&self, tag: &Tag, outcome: &Result<Written, StoreError>) {
        if let Err(error) = outcome {
            tracing::debug!(target: "throng::store", %error, "a batch was not stored");
        }
        let now = self.shared.now();
        let cut = rand::random_range(0..=500);
        let (answers, noticed) = {
            let mut state = self.shared.lock();
            (state.queue.done(now, tag, outcome, cut), state.queue.has_notice())
        };
        answer(answers);
        if noticed {
            self.shared.noticed.notify_one();
        }
        self.shared.settled.notify_waiters();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn at(&self, at: Millis) -> Instant {
        self.started + Duration::from_millis(at.0)
    }

    fn close(&self, at: Instant) {
        let mut state = self.lock();
        state.close_at = Some(state.close_at.map_or(at, |earlier| earlier.min(at)));
        state.queue.close();
        drop(state);
        self.wake.notify_one();
    }
}

async fn carry_out(store: Arc<dyn Store>, work: Work) -> (Tag, Result<Written, StoreError>) {
    let outcome = store.write(work.slot, work.epoch, work.batch).await;
    (work.tag, outcome)
}

fn answer(answers: Answers<Ack>) {
    for (ack, outcome) in answers {
        ack(outcome);
    }
}
