//! How much of a room's messages the store keeps.

use throng_core::{Lane, Message};

/// Bounds of the log of one room, counted over all its epochs. Ages are measured against the newest message of the same
/// write, so that clocks of two machines never meet; a log that nobody appends to vanishes after the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Age of the oldest message of lanes 0-1, milliseconds.
    pub lossless_keep_ms: u64,
    /// Weight ([`Message::weight`]) of all messages of lanes 0-1, bytes.
    pub lossless_bytes: u64,
    /// Age of the oldest message of lane 2, milliseconds; zero: lane 2 is not kept.
    pub sampled_keep_ms: u64,
    /// Weight of all messages of lane 2, bytes.
    pub sampled_bytes: u64,
}

impl Default for LogLimits {
    /// 10 minutes or 4 MiB of lanes 0-1, one minute or 4 MiB of lane 2.
    fn default() -> Self {
        Self { lossless_keep_ms: 600_000, lossless_bytes: 4 << 20, sampled_keep_ms: 60_000, sampled_bytes: 4 << 20 }
    }
}

impl LogLimits {
    /// How long a lane is kept, milliseconds; none: not at all.
    #[must_use]
    pub fn keep_ms(&self, lane: Lane) -> Option<u64> {
        match lane {
            Lane::Control | Lane::Protected => Some(self.lossless_keep_ms),
            Lane::Normal => Some(self.sampled_keep_ms).filter(|keep_ms| *keep_ms > 0),
            Lane::Low => None,
        }
    }

    /// How much is kept of the lanes that share a bound with this one, bytes.
    #[must_use]
    pub(crate) const fn cap_bytes(&self, lane: Lane) -> u64 {
        if lane.is_lossless() { self.lossless_bytes } else { self.sampled_bytes }
    }

    /// Whether a message of this lane is kept at all.
    #[must_use]
    pub fn keeps(&self, message: &Message) -> bool {
        self.keep_ms(message.lane).is_some()
    }
}
