//! What a gateway counts: per reactor without locks, and for the whole process in atomics that metrics and pressure read.

use std::sync::atomic::{AtomicU64, Ordering};

use throng_core::{Gap, Lane};
use throng_proto::codes::{CloseCode, ErrorCode};

/// Why a subscriber was not sent a message; it was declared as a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "every reason has its place in the counters")]
pub enum Withheld {
    /// Over the subscriber's budget.
    Budget,
    /// The subscriber reads too slowly.
    Slow,
    /// It did not reach this gateway.
    Lost,
}

impl Withheld {
    /// All reasons, by their place in the counters.
    pub const ALL: [Self; 3] = [Self::Budget, Self::Slow, Self::Lost];

    /// The label of the metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Slow => "slow",
            Self::Lost => "lost",
        }
    }
}

/// From how many milliseconds on a message counts as that late: its delay is at least this and less than the next.
pub const DELAYS_MS: [u64; 32] = [
    0, 2, 5, 10, 20, 35, 50, 75, 100, 125, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 1000, 1250, 1500,
    2000, 3000, 4000, 5000, 10_000, 20_000, 30_000, 60_000,
];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one reactor counted since the last time it was asked.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Connections closed by the server, by the place of the code in [`CloseCode::ALL`].
            pub closes: [u64; CloseCode::ALL.len()],
            /// Commands answered with an error, by the place of the code in [`ErrorCode::ALL`].
            pub errors: [u64; ErrorCode::ALL.len()],
            /// Messages of rooms handed to subscribers, by lane.
            pub delivered: [u64; Lane::COUNT],
            /// Messages of rooms that subscribers were not sent, by [`Withheld`] and lane.
            pub withheld: [[u64; Lane::COUNT]; Withheld::ALL.len()],
            /// Messages of rooms handed to subscribers, by the time since they were ordered, see [`DELAYS_MS`].
            pub delays: [u64; DELAYS_MS.len()],
        }

        /// The same for the whole process, since it began.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// Connections closed by the server, by the place of the code in [`CloseCode::ALL`].
            pub closes: [AtomicU64; CloseCode::ALL.len()],
            /// Commands answered with an error, by the place of the code in [`ErrorCode::ALL`].
            pub errors: [AtomicU64; ErrorCode::ALL.len()],
            /// Messages of rooms handed to subscribers, by lane.
            pub delivered: [AtomicU64; Lane::COUNT],
            /// Messages of rooms that subscribers were not sent, by [`Withheld`] and lane.
            pub withheld: [[AtomicU64; Lane::COUNT]; Withheld::ALL.len()],
            /// Messages of rooms handed to subscribers, by the time since they were ordered, see [`DELAYS_MS`].
            pub delays: [AtomicU64; DELAYS_MS.len()],
            /// Connections now.
            pub connections: AtomicU64,
            /// Connections that something waits for because they read slowly, every two seconds.
            pub waiting_connections: AtomicU64,
            /// Bytes that wait for them.
            pub waiting_bytes: AtomicU64,
            /// Longest time that a reactor took for one turn lately, microseconds.
            pub slowest_turn_us: AtomicU64,
        }

        impl Counters {
            /// Adds what a reactor counted.
            pub fn add(&self, counts: &Counts) {
                $(if counts.$name > 0 { self.$name.fetch_add(counts.$name, Ordering::Relaxed); })*
                add_all(&self.closes, &counts.closes);
                add_all(&self.errors, &counts.errors);
                add_all(&self.delivered, &counts.delivered);
                add_all(&self.delays, &counts.delays);
                for (totals, counts) in self.withheld.iter().zip(&counts.withheld) {
                    add_all(totals, counts);
                }
            }

            /// Names and values, for metrics.
            pub fn each(&self, mut each: impl FnMut(&'static str, u64)) {
                $(each(stringify!($name), self.$name.load(Ordering::Relaxed));)*
            }
        }
    };
}

counters! {
    /// Sockets accepted.
    opened,
    /// Sockets forgotten.
    dropped,
    /// Plain HTTP requests handed over.
    http,
    /// Handshakes refused.
    refused,
    /// Handshakes that took too long.
    head_timeouts,
    /// Tokens refused.
    unauthorized,
    /// Sessions opened or resumed.
    hellos,
    /// Sessions resumed.
    resumes,
    /// Sessions closed.
    sessions_closed,
    /// Rooms that a resume could not bring back whole.
    unrecovered,
    /// Connections closed by their clients.
    closed_by_client,
    /// Commands.
    commands,
    /// Joins begun.
    joins,
    /// Messages sent on to be ordered.
    publishes,
    /// Messages handed to subscribers, directed ones included.
    deliveries,
    /// Messages handed to the user that they were directed to.
    directed,
    /// Writes to sockets.
    writes,
    /// Bytes written.
    egress_bytes,
    /// Gaps declared to slow clients or after a loss.
    gaps,
    /// Pings sent.
    pings,
    /// Goaways sent.
    goaways,
}

fn add_all(totals: &[AtomicU64], counts: &[u64]) {
    for (total, count) in totals.iter().zip(counts) {
        if *count > 0 {
            total.fetch_add(*count, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// Counts an error that a command is answered with.
    pub fn failed(&mut self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.errors.get_mut(at)) {
            *count += 1;
        }
    }

    /// Counts messages of a room that so many subscribers got.
    pub fn deliver(&mut self, by_lane: &[u32; Lane::COUNT], subscribers: u64) {
        for (total, count) in self.delivered.iter_mut().zip(by_lane) {
            *total += u64::from(*count) * subscribers;
            self.deliveries += u64::from(*count) * subscribers;
        }
    }

    /// Counts messages that so many subscribers got so long after they were ordered.
    pub fn delayed(&mut self, ms: u64, messages: u64) {
        let at = DELAYS_MS.partition_point(|from| *from <= ms).saturating_sub(1);
        if let Some(count) = self.delays.get_mut(at) {
            *count += messages;
        }
    }

    /// Counts messages that so many subscribers did not get.
    pub fn withhold(&mut self, why: Withheld, by_lane: &[u32; Lane::COUNT], subscribers: u64) {
        let totals = self.withheld.get_mut(why as usize).into_iter().flatten();
        for (total, count) in totals.zip(by_lane) {
            *total += u64::from(*count) * subscribers;
        }
    }

    /// Counts gaps that so many subscribers are told of.
    pub fn declare(&mut self, why: Withheld, gaps: &[Gap], subscribers: u64) {
        self.gaps += gaps.len() as u64 * subscribers;
        for gap in gaps {
            let totals = self.withheld.get_mut(why as usize);
            if let Some(total) = totals.and_then(|totals| totals.get_mut(gap.lane.index())) {
                *total += (gap.to + 1).saturating_sub(gap.from) * subscribers;
            }
        }
    }

    /// Counts a close by the server.
    pub fn closed(&mut self, code: CloseCode) {
        let at = CloseCode::ALL.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.closes.get_mut(at)) {
            *count += 1;
        }
    }
}
