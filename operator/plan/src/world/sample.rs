//! What a Pod carries, as it said last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use throng_core::Role;

use crate::status::Utc;

/// A sample is believed for so long: Pods give one a second.
pub const FRESH_MS: u64 = 15_000;

/// A sample of a Pod's pressure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was taken.
    pub at: Utc,
    /// What it carries, by the names of [`crate::spec::pool::LOADS`].
    pub load: BTreeMap<String, f64>,
    /// Connections, sessions or occupied slots that it would have to give away.
    pub left: u64,
    /// It was emptying itself: who was not counted cannot have come since.
    #[serde(default)]
    pub draining: bool,
    /// Why it is not ready, in its own words; empty: it is, or nobody asked it.
    #[serde(default)]
    pub unready: Vec<String>,
}

/// Name of the load that counts the users of a role.
#[must_use]
pub const fn users_load(role: Role) -> &'static str {
    match role {
        Role::Gateway => "connections",
        Role::Chatroom => "members",
        Role::Message => "users",
    }
}

impl Sample {
    /// Users on the Pod. A load that is no count is none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "such a cast saturates, and what is no number is nobody"
    )]
    pub fn users(&self, role: Role) -> u64 {
        self.load.get(users_load(role)).map_or(0, |users| users.ceil() as u64)
    }

    /// Whether it is believed at `now`.
    #[must_use]
    pub const fn is_fresh(&self, now: Utc) -> bool {
        now.0.since(self.at.0) <= FRESH_MS
    }
}
