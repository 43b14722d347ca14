//! Settings of a room, and when and why it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::members::OfflineRule;
use crate::Millis;

/// Settings in force in a room. The cluster's defaults are one of these; a room overrides parts of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Upstream quota of lanes 2-3 together, messages a second.
    pub messages_per_s: u32,
    /// Messages a second of one user; 0: no limit.
    pub user_messages_per_s: u32,
    /// Unix time at which the room is destroyed; none: never.
    pub destroy_at: Option<Millis>,
    /// Destroyed after so long without members and messages; 0: never.
    pub idle_ms: u64,
    /// Nobody writes but exceptions, roles and the allow list.
    pub mute_all: bool,
    /// Message types that travel on lane 1.
    pub protected_types: BTreeSet<Arc<str>>,
    /// Who is offline leaves after so long.
    pub offline_after_ms: u64,
    /// Or after so many missed messages, but not before half the time.
    pub offline_after_messages: u32,
}

impl Default for Settings {
    /// 200 messages/s a room, 10 a user, destroyed after an idle hour, offline rule 30 s or 30 messages.
    fn default() -> Self {
        Self {
            messages_per_s: 200,
            user_messages_per_s: 10,
            destroy_at: None,
            idle_ms: 3_600_000,
            mute_all: false,
            protected_types: BTreeSet::new(),
            offline_after_ms: 30_000,
            offline_after_messages: 30,
        }
    }
}

impl Settings {
    /// The offline rule of these settings.
    #[must_use]
    pub fn offline_rule(&self) -> OfflineRule {
        OfflineRule {
            after_ms: self.offline_after_ms,
            missed: u64::from(self.offline_after_messages),
            missed_not_before_ms: self.offline_after_ms / 2,
        }
    }
}

/// What a room has of its own, beside the cluster's defaults; none: as the default says. Written to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See [`Settings::messages_per_s`].
    pub messages_per_s: Option<u32>,
    /// See [`Settings::user_messages_per_s`].
    pub user_messages_per_s: Option<u32>,
    /// See [`Settings::destroy_at`]; zero: never.
    pub destroy_at: Option<Millis>,
    /// See [`Settings::idle_ms`].
    pub idle_ms: Option<u64>,
    /// See [`Settings::mute_all`].
    pub mute_all: Option<bool>,
    /// See [`Settings::protected_types`]; these come on top of the default.
    pub protected_types: Option<BTreeSet<Arc<str>>>,
    /// See [`Settings::offline_after_ms`].
    pub offline_after_ms: Option<u64>,
    /// See [`Settings::offline_after_messages`].
    pub offline_after_messages: Option<u32>,
}

impl Overrides {
    /// Takes over what `change` sets.
    pub fn update(&mut self, change: Self) {
        self.messages_per_s = change.messages_per_s.or(self.messages_per_s);
        self.user_messages_per_s = change.user_messages_per_s.or(self.user_messages_per_s);
        self.destroy_at = change.destroy_at.or(self.destroy_at);
        self.idle_ms = change.idle_ms.or(self.idle_ms);
        self.mute_all = change.mute_all.or(self.mute_all);
        self.protected_types = change.protected_types.or_else(|| self.protected_types.take());
        self.offline_after_ms = change.offline_after_ms.or(self.offline_after_ms);
        self.offline_after_messages = change.offline_after_messages.or(self.offline_after_messages);
    }

    /// The settings in force over `defaults`.
    #[must_use]
    pub fn over(&self, defaults: &Settings) -> Settings {
        let own_types = self.protected_types.iter().flatten();
        Settings {
            messages_per_s: self.messages_per_s.unwrap_or(defaults.messages_per_s),
            user_messages_per_s: self.user_messages_per_s.unwrap_or(defaults.user_messages_per_s),
            destroy_at: self.destroy_at.or(defaults.destroy_at).filter(|at| *at > Millis::ZERO),
            idle_ms: self.idle_ms.unwrap_or(defaults.idle_ms),
            mute_all: self.mute_all.unwrap_or(defaults.mute_all),
            protected_types: defaults.protected_types.iter().chain(own_types).cloned().collect(),
            offline_after_ms: self.offline_after_ms.unwrap_or(defaults.offline_after_ms),
            offline_after_messages: self.offline_after_messages.unwrap_or(defaults.offline_after_messages),
        }
    }
}

/// Why a room ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Somebody asked for it, and said why; `destroyed` if not.
    Destroyed(Arc<str>),
    /// Nobody was in it and nothing was said for long enough.
    Idle,
    /// Its time had come.
    Expired,
}

impl EndReason {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Destroyed(why) => why,
            Self::Idle => "idle",
            Self::Expired => "expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_overrides_what_it_names_and_follows_the_cluster_in_the_rest() {
        let mut own = Overrides { messages_per_s: Some(50), destroy_at: Some(Millis(9)), ..Overrides::default() };
        own.update(Overrides { mute_all: Some(true), destroy_at: Some(Millis::ZERO), ..Overrides::default() });
        let defaults = Settings { idle_ms: 7, destroy_at: Some(Millis(5)), ..Settings::default() };
        let settings = own.over(&defaults);
        assert_eq!((settings.messages_per_s, settings.mute_all, settings.idle_ms), (50, true, 7));
        assert_eq!(settings.destroy_at, None);
        assert_eq!(settings.user_messages_per_s, 10);
    }

    #[test]
    fn protected_types_of_the_room_come_on_top() {
        let types = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<BTreeSet<Arc<str>>>();
        let defaults = Settings { protected_types: types(&["gift"]), ..Settings::default() };
        let own = Overrides { protected_types: Some(types(&["vote"])), ..Overrides::default() };
        assert_eq!(own.over(&defaults).protected_types, types(&["gift", "vote"]));
    }
}
