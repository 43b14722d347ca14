//! Configuration of the role.

use serde::{Deserialize, Serialize};
use throng_core::room::{Overrides, Retention, RoomOptions, Settings};

/// Options of a chatroom process. Unknown keys are errors. `rooms` may change without a restart, see
/// [`crate::Handle::set_rooms`]; the rest counts from the start of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Defaults of every room; a room overrides parts of them.
    pub rooms: Rooms,
    /// Bytes waiting for one relay at which its stream pauses and goes on from its cursor later.
    pub relay_queue_bytes: usize,
    /// Bytes waiting for one gateway at which it is cut off; it links again and lists its members.
    pub gateway_queue_bytes: usize,
    /// Messages of lanes 0-1 are kept for so long ...
    pub keep_lossless_ms: u64,
    /// ... or so much of a room, for relays that resume.
    pub keep_lossless_bytes: usize,
    /// Messages of lanes 2-3 are kept for so long ...
    pub keep_sampled_ms: u64,
    /// ... or so much of a room.
    pub keep_sampled_bytes: usize,
    /// A publish that asked for `stored` waits at most so long for the store.
    pub stored_within_ms: u64,
    /// Until so long after a slot was opened its owner may not know all rooms and members of it; it waits six times as long
    /// for a gateway that is linked and does not list its members.
    pub lists_within_ms: u64,
    /// A slot whose rooms the store did not deliver within so long is opened without them.
    pub load_within_ms: u64,
    /// Slots whose rooms are loaded at the same time.
    pub loads: usize,
}

impl Default for Options {
    fn default() -> Self {
        let Retention { lossless_ms, lossless_bytes, sampled_ms, sampled_bytes } = Retention::default();
        let room = RoomOptions::default();
        Self {
            rooms: Rooms::default(),
            relay_queue_bytes: 8 * 1024 * 1024,
            gateway_queue_bytes: 8 * 1024 * 1024,
            keep_lossless_ms: lossless_ms,
            keep_lossless_bytes: lossless_bytes,
            keep_sampled_ms: sampled_ms,
            keep_sampled_bytes: sampled_bytes,
            stored_within_ms: room.stored_within_ms,
            lists_within_ms: room.lists_within_ms,
            load_within_ms: 5_000,
            loads: 64,
        }
    }
}

impl Options {
    pub(crate) fn room_options(&self) -> RoomOptions {
        RoomOptions {
            defaults: self.rooms.settings(),
            retention: Retention {
                lossless_ms: self.keep_lossless_ms,
                lossless_bytes: self.keep_lossless_bytes,
                sampled_ms: self.keep_sampled_ms,
                sampled_bytes: self.keep_sampled_bytes,
            },
            stored_within_ms: self.stored_within_ms,
            lists_within_ms: self.lists_within_ms,
        }
    }
}

/// Defaults of every room of the cluster. What is not named keeps its built-in default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rooms {
    /// Upstream quota of a room, messages a second of lanes 2-3 (200).
    pub messages_per_second: Option<u32>,
    /// Messages a second of one user in one room; 0: no limit (10).
    pub user_messages_per_second: Option<u32>,
    /// A room without members and messages ends after so long; 0: never (one hour).
    pub idle_ms: Option<u64>,
    /// Message types that travel on lane 1 (none).
    pub protected_types: Vec<String>,
    /// Who is offline leaves after so long (30 s).
    pub offline_after_ms: Option<u64>,
    /// Or after so many missed messages, but not before half that time (30).
    pub offline_after_messages: Option<u32>,
}

impl Rooms {
    pub(crate) fn settings(&self) -> Settings {
        let overrides = Overrides {
            messages_per_s: self.messages_per_second,
            user_messages_per_s: self.user_messages_per_second,
            idle_ms: self.idle_ms,
            protected_types: Some(self.protected_types.iter().map(|kind| kind.as_str().into()).collect()),
            offline_after_ms: self.offline_after_ms,
            offline_after_messages: self.offline_after_messages,
            ..Overrides::default()
        };
        overrides.over(&Settings::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_and_the_rest_has_defaults() {
        assert!(serde_json::from_str::<Options>(r#"{"relay_queue":1}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"rooms":{"messages_per_second":1000}}"#).unwrap();
        let settings = options.rooms.settings();
        assert_eq!((settings.messages_per_s, settings.user_messages_per_s), (1000, 10));
        assert_eq!(options.loads, Options::default().loads);
    }
}
