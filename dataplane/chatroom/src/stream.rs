//! One stream between Pods, as both roles' ends of it behave: beats, and an end when the other falls silent.

use std::time::{Duration, SystemTime};

use prost::Message;
use throng_core::Millis;
use throng_core::room::Now;
use throng_proto::link::Beat;
use throng_proto::{BEAT_MS, DEAD_MS};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::Streaming;

use crate::outbox::Outbox;

/// A timer that fires so late says that this process was stopped: what the other end said meanwhile has yet to be read.
const STALLED: Duration = Duration::from_millis(250);

/// The inbound half of a stream, with the queue of the outbound half for beats.
pub(crate) struct Inflow<In, Out> {
    inbound: Streaming<In>,
    outbox: Outbox<Out>,
    beats: Interval,
    to_beat: fn(Beat) -> Out,
}

impl<In, Out: Message> Inflow<In, Out> {
    pub(crate) fn new(inbound: Streaming<In>, outbox: Outbox<Out>, to_beat: fn(Beat) -> Out) -> Self {
        let mut beats = tokio::time::interval(Duration::from_millis(BEAT_MS));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { inbound, outbox, beats, to_beat }
    }

    /// What the other end says next, beats included; none: the stream is over, or the other end is dead.
    pub(crate) async fn next(&mut self) -> Option<In> {
        // Silence counts while somebody listens: what was said before is taken first.
        let mut dead_at = Instant::now() + Duration::from_millis(DEAD_MS);
        loop {
            tokio::select! {
                biased;
                () = self.outbox.closed() => return None,
                heard = self.inbound.message() => return heard.ok().flatten(),
                _ = self.beats.tick() => {
                    // A full queue is not silence: what waits in it is heard.
                    let _ = self.outbox.send_urgent((self.to_beat)(Beat { at_ms: unix_ms() }));
                }
                () = tokio::time::sleep_until(dead_at) => {
                    if dead_at.elapsed() < STALLED {
                        return None;
                    }
                    dead_at = Instant::now() + Duration::from_millis(BEAT_MS);
                }
            }
        }
    }
}

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        let mono = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Millis(mono), unix: Millis(unix_ms()) }
    }

    /// When a monotonic time comes.
    pub(crate) fn at(self, mono: Millis) -> Option<Instant> {
        self.0.checked_add(Duration::from_millis(mono.0))
    }
}

/// Unix time in milliseconds.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
