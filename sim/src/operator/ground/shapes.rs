//! Shapes whose Pods are not well: some never start, some run and are slow, fail or end again and again.

use std::collections::{BTreeMap, BTreeSet};

use super::Ground;
use super::spec::SLOW_MS;

/// A container of a shape that ends again and again does so with this chance each second, in a thousand.
const CRASHES: u64 = 60;

/// Which shapes are ill, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ills {
    /// Their images cannot be pulled.
    pub(crate) broken: BTreeSet<String>,
    /// They run, and are never ready.
    pub(crate) stuck: BTreeSet<String>,
    /// Messages come late.
    pub(crate) slow: BTreeSet<String>,
    /// Requests fail.
    pub(crate) failing: BTreeSet<String>,
    /// Containers end again and again.
    pub(crate) crashing: BTreeSet<String>,
}

impl Ills {
    /// What Pods of a shape say beside their users.
    pub(super) fn said_by(&self, shape: &str, load: &mut BTreeMap<String, f64>) {
        if self.slow.contains(shape) {
            load.insert("p99_ms".to_owned(), f64::from(2 * SLOW_MS));
        }
        if self.failing.contains(shape) {
            load.insert("error_percent".to_owned(), 5.0);
        }
    }
}

impl Ground {
    /// Containers of some shapes end.
    pub(super) fn crash_some(&mut self) {
        if self.ills.crashing.is_empty() {
            return;
        }
        let all = self.processes.iter().filter(|(_, process)| self.ills.crashing.contains(&process.shape));
        let all: Vec<(String, String)> = all.map(|(uid, process)| (process.pod.clone(), uid.clone())).collect();
        for (name, uid) in all {
            if self.dice.permille(CRASHES) {
                self.kill(&name, &uid);
            }
        }
    }
}
