//! What a gateway counts: per reactor without locks, and for the whole process in atomics that metrics and pressure read.

use std::sync::atomic::{AtomicU64, Ordering};

use throng_proto::codes::CloseCode;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one reactor counted since the last time it was asked.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Connections closed by the server, by the place of the code in [`CloseCode::ALL`].
            pub closes: [u64; CloseCode::ALL.len()],
        }

        /// The same for the whole process, since it began.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// Connections closed by the server, by the place of the code in [`CloseCode::ALL`].
            pub closes: [AtomicU64; CloseCode::ALL.len()],
            /// Connections now.
            pub connections: AtomicU64,
            /// Longest time that a reactor took for one turn lately, microseconds.
            pub slowest_turn_us: AtomicU64,
        }

        impl Counters {
            /// Adds what a reactor counted.
            pub fn add(&self, counts: &Counts) {
                $(if counts.$name > 0 { self.$name.fetch_add(counts.$name, Ordering::Relaxed); })*
                for (total, count) in self.closes.iter().zip(counts.closes) {
                    if count > 0 { total.fetch_add(count, Ordering::Relaxed); }
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
    /// Commands answered with an error.
    errors,
    /// Joins begun.
    joins,
    /// Messages sent on to be ordered.
    publishes,
    /// Messages handed to subscribers.
    deliveries,
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

impl Counts {
    /// Counts a close by the server.
    pub fn closed(&mut self, code: CloseCode) {
        let at = CloseCode::ALL.iter().position(|known| *known == code);
        if let Some(count) = at.and_then(|at| self.closes.get_mut(at)) {
            *count += 1;
        }
    }
}
