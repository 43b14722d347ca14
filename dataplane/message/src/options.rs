//! What can be set.

use serde::{Deserialize, Serialize};
use throng_core::relay::{self, HomeOptions, Limits, SessionPolicy};

/// Options of the message role. Every field has a default; an unknown one is an error. Read at start only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How long lanes 0-1 of a room are kept, in seconds. Default 600.
    pub lossless_seconds: u32,
    /// Bytes of a room older than `sampled_seconds` at most. Default 4 MiB.
    pub lossless_bytes: usize,
    /// How long lanes 2-3 of a room are kept, in seconds. Default 60.
    pub sampled_seconds: u32,
    /// Bytes of a room at most, whatever its age. Default 16 MiB.
    pub room_bytes: usize,
    /// Below so many bytes a room keeps lanes 2-3 as long as lanes 0-1. Default 64 KiB.
    pub quiet_room_bytes: usize,
    /// Bytes of all rooms at most. Default 512 MiB.
    pub ring_bytes: usize,
    /// Bytes of lanes 2-3 that a client which comes back is given at most; the rest is declared. Default 256 KiB.
    pub catch_up_bytes: usize,
    /// Bytes of segments with lanes 0-1 that it is given at most, the newest; older ones are declared, `recovered` is false, and
    /// it may pull them. Default 1 MiB.
    pub catch_up_lossless_bytes: usize,
    /// Bytes on the way to one gateway; beyond that it waits and goes on from its cursor. Default 8 MiB.
    pub gateway_bytes: usize,
    /// How long a room that no gateway takes stays subscribed, in milliseconds. Default 5,000.
    pub linger_ms: u64,
    /// How many sessions a user may have: `many` or `newest_wins`. Default `many`.
    pub sessions: SessionPolicy,
    /// How long a gateway may be away before its sessions are offline, since it was last heard, in milliseconds. Default
    /// 5,000.
    pub gateway_lost_ms: u64,
    /// How long a session without a connection is remembered, in seconds. Default 120.
    pub session_keep_seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        let (limits, relay, homes) = (Limits::default(), relay::Options::default(), HomeOptions::default());
        Self {
            lossless_seconds: 600,
            lossless_bytes: limits.lossless_bytes,
            sampled_seconds: 60,
            room_bytes: limits.room_bytes,
            quiet_room_bytes: limits.quiet_bytes,
            ring_bytes: relay.ring_bytes,
            catch_up_bytes: limits.catch_up_bytes,
            catch_up_lossless_bytes: limits.catch_up_lossless_bytes,
            gateway_bytes: relay.window_bytes,
            linger_ms: relay.linger_ms,
            sessions: homes.sessions,
            gateway_lost_ms: homes.lost_ms,
            session_keep_seconds: 120,
        }
    }
}

impl Options {
    pub(crate) fn relay(&self) -> relay::Options {
        relay::Options {
            limits: Limits {
                lossless_ms: u64::from(self.lossless_seconds) * 1_000,
                lossless_bytes: self.lossless_bytes,
                sampled_ms: u64::from(self.sampled_seconds) * 1_000,
                room_bytes: self.room_bytes,
                quiet_bytes: self.quiet_room_bytes,
                catch_up_bytes: self.catch_up_bytes,
                catch_up_lossless_bytes: self.catch_up_lossless_bytes,
            },
            ring_bytes: self.ring_bytes,
            window_bytes: self.gateway_bytes,
            linger_ms: self.linger_ms,
            ..relay::Options::default()
        }
    }

    pub(crate) fn homes(&self) -> HomeOptions {
        HomeOptions {
            sessions: self.sessions,
            lost_ms: self.gateway_lost_ms,
            keep_ms: u64::from(self.session_keep_seconds) * 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_machines() {
        assert_eq!(Options::default().relay(), relay::Options::default());
        assert_eq!(Options::default().homes(), HomeOptions::default());
    }

    #[test]
    fn an_unknown_option_is_an_error() {
        assert!(serde_json::from_str::<Options>(r#"{"sessions":"newest_wins","linger_ms":1}"#).is_ok());
        assert!(serde_json::from_str::<Options>(r#"{"linger":1}"#).is_err());
    }
}
