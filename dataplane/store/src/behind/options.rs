//! Bounds of the queue.

use crate::limits::LogLimits;

/// How writes are gathered and how many may wait. The defaults hold some 30 seconds of a busy Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BehindOptions {
    /// A batch goes when so many commands wait.
    pub flush_commands: usize,
    /// Or when the first of a tag has waited so long, milliseconds.
    pub flush_ms: u64,
    /// A batch is closed beyond this weight, bytes.
    pub batch_bytes: usize,
    /// How many writes may wait at most. Lanes 2-3 may fill half of it.
    pub max_commands: usize,
    /// What they may weigh at most, bytes. Lanes 2-3 may fill half of it.
    pub max_bytes: usize,
    /// How long an acknowledgement waits before it fails, milliseconds.
    pub ack_wait_ms: u64,
    /// How many batches may be on their way at once, each of another tag.
    pub in_flight: usize,
    /// Messages that waited beyond these ages are not worth storing.
    pub limits: LogLimits,
}

impl Default for BehindOptions {
    fn default() -> Self {
        Self {
            flush_commands: 512,
            flush_ms: 5,
            batch_bytes: 1 << 20,
            max_commands: 262_144,
            max_bytes: 64 << 20,
            ack_wait_ms: 5_000,
            in_flight: 64,
            limits: LogLimits::default(),
        }
    }
}
