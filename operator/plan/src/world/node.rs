//! Where Pods run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::pools::Pools;
use crate::status::Utc;

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its failure domain; empty where nodes have none.
    pub zone: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// It takes no new Pods.
    pub cordoned: bool,
    /// Keys of its taints.
    pub taints: BTreeSet<String>,
    /// Pods of which pools it does not take as the spec makes them: it has a taint that they do not tolerate, or lacks a label
    /// that they select.
    #[serde(default)]
    pub refuses: Pools<bool>,
    /// Its kubelet answers.
    pub ready: bool,
    /// Since when `ready` is what it is.
    pub since: Utc,
}

impl Node {
    /// Whether it has a taint with one of these keys.
    #[must_use]
    pub fn is_tainted(&self, keys: &[String]) -> bool {
        keys.iter().any(|key| self.taints.contains(key))
    }

    /// Whether it has all these labels.
    #[must_use]
    pub fn has(&self, labels: &[(String, String)]) -> bool {
        labels.iter().all(|(key, is)| self.labels.get(key) == Some(is))
    }
}
