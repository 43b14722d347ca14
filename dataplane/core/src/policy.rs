//! Policy that running Pods follow without a restart: what a cluster says of all its rooms.
//!
//! One small document in the registry, written by the leader of the operator when the spec says something else, followed by
//! every Pod within the time that a watch takes. A Pod that has seen none goes by its own configuration; one that has seen
//! one keeps it, whatever becomes of the registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::room::Settings;

/// The policy document. Fields that a newer version adds are ignored by an older one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The leader that wrote it.
    pub leader_epoch: u64,
    /// Grows by one with every change; for people and for waiting until a change has arrived.
    pub version: u64,
    /// What holds for every room.
    pub rooms: Rooms,
}

/// What holds for every room. A single room may have limits of its own, set by the server API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rooms {
    /// Messages a second that a room takes in on lanes 2-3.
    pub messages_per_s: u32,
    /// Messages a second of one user in one room; 0: no limit.
    pub user_messages_per_s: u32,
    /// Messages a second that a client gets on lanes 2-3 if it asks for nothing else.
    pub downstream_per_s: u32,
    /// The most that a client may ask for.
    pub max_downstream_per_s: u32,
    /// Who is offline leaves after so long ...
    pub offline_after_ms: u64,
    /// ... or after so many missed messages.
    pub offline_after_messages: u32,
    /// A room without members and messages ends after so long; 0: never.
    pub idle_ms: u64,
    /// Message types that travel on lane 1.
    pub protected_types: Vec<String>,
}

impl Default for Rooms {
    /// The defaults of a room's [`Settings`], and 20 messages/s for a client that may ask for up to 400.
    fn default() -> Self {
        let Settings { messages_per_s, user_messages_per_s, idle_ms, .. } = Settings::default();
        let Settings { offline_after_ms, offline_after_messages, .. } = Settings::default();
        Self {
            messages_per_s,
            user_messages_per_s,
            downstream_per_s: 20,
            max_downstream_per_s: 400,
            offline_after_ms,
            offline_after_messages,
            idle_ms,
            protected_types: Vec::new(),
        }
    }
}

impl Rooms {
    /// The part of it that the owner of a room follows: its defaults.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            messages_per_s: self.messages_per_s,
            user_messages_per_s: self.user_messages_per_s,
            idle_ms: self.idle_ms,
            protected_types: self.protected_types.iter().map(|kind| Arc::from(kind.as_str())).collect::<BTreeSet<_>>(),
            offline_after_ms: self.offline_after_ms,
            offline_after_messages: self.offline_after_messages,
            ..Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_a_word_says_the_defaults_of_a_room() {
        assert_eq!(Rooms::default().settings(), Settings::default());
        let read: Policy = serde_json::from_str(r#"{"leader_epoch":1,"version":2,"rooms":{"of_later":true}}"#).unwrap();
        assert_eq!(read, Policy { leader_epoch: 1, version: 2, rooms: Rooms::default() });
    }

    #[test]
    fn what_is_written_reads_back() {
        let rooms = Rooms { messages_per_s: 7, protected_types: vec!["gift".into()], idle_ms: 0, ..Rooms::default() };
        let policy = Policy { leader_epoch: 3, version: 9, rooms };
        assert_eq!(serde_json::from_str::<Policy>(&serde_json::to_string(&policy).unwrap()).unwrap(), policy);
        assert!(policy.rooms.settings().protected_types.contains("gift"));
    }
}
