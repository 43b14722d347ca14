//! What is kept, by kind: a copy of all costs no more than the kinds are many, and a write copies one kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Key, Kind, Object};

/// The objects of a kind by name.
pub type Shelf = BTreeMap<String, Arc<Object>>;

/// Everything that is kept.
#[derive(Clone, Debug, Default)]
pub struct Store {
    shelves: [Arc<Shelf>; Kind::ALL.len()],
    none: Arc<Shelf>,
}

impl Store {
    /// The objects of a kind.
    #[must_use]
    pub fn shelf(&self, kind: Kind) -> &Arc<Shelf> {
        self.shelves.get(kind as usize).unwrap_or(&self.none)
    }

    /// An object.
    #[must_use]
    pub fn get(&self, (kind, name): &Key) -> Option<&Arc<Object>> {
        self.shelf(*kind).get(name)
    }

    pub(super) fn insert(&mut self, (kind, name): Key, object: Arc<Object>) {
        self.change(kind, |shelf| drop(shelf.insert(name, object)));
    }

    pub(super) fn remove(&mut self, (kind, name): &Key) {
        self.change(*kind, |shelf| drop(shelf.remove(name)));
    }

    fn change(&mut self, kind: Kind, change: impl FnOnce(&mut Shelf)) {
        if let Some(shelf) = self.shelves.get_mut(kind as usize) {
            change(Arc::make_mut(shelf));
        }
    }
}
