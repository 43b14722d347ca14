//! What an operator sees of the queue.

use crate::write::Write;

/// State and counters of a write-behind queue. Counters start at zero with the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Writes that wait or are on their way.
    pub depth: u64,
    /// What they weigh, bytes.
    pub weight_bytes: u64,
    /// Batches on their way.
    pub in_flight: u64,
    /// How long the oldest has waited, milliseconds. Above a few hundred the store is slow or away.
    pub oldest_age_ms: u64,
    /// Writes carried out.
    pub written: u64,
    /// Batches carried out.
    pub flushes: u64,
    /// Batches that failed and are tried again.
    pub errors: u64,
    /// Writes dropped: no place, too old, or another owner.
    pub dropped: u64,
    /// Writes that a later one replaced before they were sent.
    pub superseded: u64,
    /// Publishers who were told that their message is not known to be stored.
    pub acks_failed: u64,
}

impl Metrics {
    pub(super) fn enter(&mut self, write: &Write) {
        self.depth += 1;
        self.weight_bytes += write.weight() as u64;
    }

    pub(super) fn leave(&mut self, write: &Write) {
        self.depth = self.depth.saturating_sub(1);
        self.weight_bytes = self.weight_bytes.saturating_sub(write.weight() as u64);
    }
}
