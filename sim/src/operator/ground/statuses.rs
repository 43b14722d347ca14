//! Statuses that were written: an object holds the number of one, because reading a long text again at every look would cost
//! more than all the rest. One in sixteen goes through JSON on its way, so what a text cannot hold is found out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::api::{Fields, Object};

/// The field of an object that holds the number.
const FIELD: &str = "written";
/// One of so many goes through JSON.
const THROUGH_JSON: u64 = 16;

/// All that a view may still see.
#[derive(Clone, Debug)]
pub(crate) struct Statuses<S> {
    written: u64,
    kept: BTreeMap<u64, Arc<S>>,
    remembered: usize,
}

impl<S: Serialize + DeserializeOwned + Default> Statuses<S> {
    /// Keeps so many, the latest.
    pub(crate) const fn keep(remembered: usize) -> Self {
        Self { written: 0, kept: BTreeMap::new(), remembered }
    }

    /// Keeps a status; what an object should hold for it.
    pub(crate) fn write(&mut self, status: &Arc<S>) -> Fields {
        self.written += 1;
        let kept = if self.written.is_multiple_of(THROUGH_JSON) {
            let read = serde_json::to_string(&**status).and_then(|json| serde_json::from_str(&json));
            Arc::new(read.unwrap_or_default())
        } else {
            Arc::clone(status)
        };
        self.kept.insert(self.written, kept);
        if self.kept.len() > self.remembered {
            self.kept.pop_first();
        }
        [(FIELD.to_owned(), self.written.to_string())].into()
    }

    /// The status that an object holds; the empty one if it holds none.
    pub(crate) fn of(&self, object: &Object) -> Arc<S> {
        let number = object.state(FIELD).parse().ok();
        number.and_then(|number: u64| self.kept.get(&number).cloned()).unwrap_or_default()
    }
}
