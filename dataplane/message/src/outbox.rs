//! The way out of the actor into a stream: a queue bounded by bytes that the stream empties at its own speed.
//!
//! The actor never waits for it. What it holds of segments is bounded by the window that the relay machine keeps for the
//! gateway; the freed bytes go back to that machine. What does not fit at all closes the stream: the other side comes again
//! and asks from its cursors.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use throng_proto::BEAT_MS;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::Stream;

/// What every message costs at least, in bytes.
const MESSAGE_BYTES: usize = 128;

struct Item<T> {
    message: T,
    bytes: usize,
    credit: usize,
}

struct State<T> {
    queue: VecDeque<Item<T>>,
    bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

/// A bounded queue of one stream; the actor's end.
pub(crate) struct Outbox<T> {
    state: Mutex<State<T>>,
    max_bytes: usize,
    freed: AtomicUsize,
    /// Something waits for freed bytes: the actor wants to hear of them at once.
    starving: AtomicBool,
    actor: Arc<Notify>,
}

impl<T> Outbox<T> {
    /// A queue and the stream that empties it.
    pub(crate) fn new(max_bytes: usize, actor: Arc<Notify>, beat: fn() -> T) -> (Arc<Self>, Outgoing<T>) {
        let state = State { queue: VecDeque::new(), bytes: 0, waker: None, closed: false };
        let outbox = Arc::new(Self {
            state: Mutex::new(state),
            max_bytes,
            freed: AtomicUsize::new(0),
            starving: AtomicBool::new(false),
            actor,
        });
        let mut beats = interval(Duration::from_millis(BEAT_MS));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (outbox.clone(), Outgoing { outbox, beats, beat })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message of about `bytes`, of which `credit` go back to the relay machine once it has left. False: it did not
    /// fit, and the stream is closed.
    pub(crate) fn push(&self, message: T, bytes: usize, credit: usize) -> bool {
        let mut state = self.state();
        let bytes = bytes.max(MESSAGE_BYTES);
        if state.closed || state.bytes + bytes > self.max_bytes {
            drop(state);
            self.close();
            return false;
        }
        state.bytes += bytes;
        state.queue.push_back(Item { message, bytes, credit });
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Ends the stream; what is queued is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the stream has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Credit of what has left since the last call.
    pub(crate) fn take_freed(&self) -> usize {
        self.freed.swap(0, Ordering::SeqCst)
    }

    /// Whether there is such credit.
    pub(crate) fn has_freed(&self) -> bool {
        self.freed.load(Ordering::SeqCst) > 0
    }

    /// Says whether something waits for freed bytes. Look at them again afterwards: the last may have left just before, and
    /// only the total order of both marks tells.
    pub(crate) fn set_starving(&self, starving: bool) {
        self.starving.store(starving, Ordering::SeqCst);
    }
}

/// The stream's end: what was queued, and a beat every half second.
pub(crate) struct Outgoing<T> {
    outbox: Arc<Outbox<T>>,
    beats: Interval,
    beat: fn() -> T,
}

impl<T> Unpin for Outgoing<T> {}

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.outbox.state();
        if state.closed {
            return Poll::Ready(None);
        }
        if let Some(item) = state.queue.pop_front() {
            state.bytes -= item.bytes;
            drop(state);
            self.outbox.freed.fetch_add(item.credit, Ordering::SeqCst);
            if item.credit > 0 && self.outbox.starving.load(Ordering::SeqCst) {
                self.outbox.actor.notify_one();
            }
            return Poll::Ready(Some(item.message));
        }
        state.waker = Some(context.waker().clone());
        drop(state);
        let beat = self.beat;
        self.beats.poll_tick(context).map(|_| Some(beat()))
    }
}

impl<T> Drop for Outgoing<T> {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt as _;

    fn outbox(max_bytes: usize) -> (Arc<Outbox<u32>>, Outgoing<u32>, Arc<Notify>) {
        let actor = Arc::new(Notify::new());
        let (outbox, outgoing) = Outbox::new(max_bytes, actor.clone(), || 0);
        (outbox, outgoing, actor)
    }

    #[tokio::test]
    async fn what_is_queued_comes_out_in_order_and_frees_its_credit() {
        let (outbox, mut outgoing, actor) = outbox(1_000);
        assert!(outbox.push(1, 200, 150) && outbox.push(2, 200, 0));
        assert_eq!((outgoing.next().await, outgoing.next().await), (Some(1), Some(2)));
        assert_eq!((outbox.take_freed(), outbox.take_freed()), (150, 0));
        outbox.set_starving(true);
        outbox.push(3, 10, 10);
        assert_eq!(outgoing.next().await, Some(3));
        actor.notified().await;
    }

    #[tokio::test]
    async fn an_idle_stream_beats() {
        let (_outbox, mut outgoing, _) = outbox(1_000);
        let start = std::time::Instant::now();
        assert_eq!((outgoing.next().await, outgoing.next().await), (Some(0), Some(0)));
        assert!(start.elapsed() >= Duration::from_millis(400));
    }

    #[tokio::test]
    async fn what_does_not_fit_closes_the_stream() {
        let (outbox, mut outgoing, _) = outbox(300);
        assert!(outbox.push(1, 200, 0));
        assert!(!outbox.push(2, 200, 0));
        assert_eq!(outgoing.next().await, None);
        assert!(!outbox.push(3, 1, 0));
    }
}
