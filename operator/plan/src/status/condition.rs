//! Conditions, letter by letter as `metav1.Condition`, so that `kubectl wait` and other tools read them.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::MAX_COUNT;
use super::Utc;

/// One aspect of an object's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Condition {
    /// What is stated, such as Ready.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 316)))]
    pub kind: String,
    /// Whether it holds: True, False or Unknown.
    pub status: Holds,
    /// The generation of the spec that this statement is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = MAX_COUNT)))]
    pub observed_generation: Option<i64>,
    /// When `status` changed last.
    pub last_transition_time: Utc,
    /// Why, as one CamelCase word that programs may rely on.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 1024)))]
    pub reason: String,
    /// Why, for people; may be empty.
    #[cfg_attr(feature = "schema", schemars(length(max = 32768)))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

/// Writes `condition` into the list: in place of one of its type, whose time of transition stays if the status is the same.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition) {
    match conditions.iter_mut().find(|known| known.kind == condition.kind) {
        Some(known) => {
            if known.status == condition.status {
                condition.last_transition_time = known.last_transition_time;
            }
            *known = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::*;

    fn ready(status: Holds, at: u64, reason: &str) -> Condition {
        Condition {
            kind: "Ready".into(),
            status,
            observed_generation: Some(1),
            last_transition_time: Utc(Millis(at)),
            reason: reason.into(),
            message: String::new(),
        }
    }

    #[test]
    fn the_time_of_a_transition_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, ready(Holds::False, 1000, "Starting"));
        set_condition(&mut conditions, ready(Holds::False, 2000, "PodsPending"));
        assert_eq!(conditions, [ready(Holds::False, 1000, "PodsPending")]);
        set_condition(&mut conditions, ready(Holds::True, 3000, "AllReady"));
        assert_eq!(conditions, [ready(Holds::True, 3000, "AllReady")]);
    }
}
