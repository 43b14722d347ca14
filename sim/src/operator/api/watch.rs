//! How a client sees the server: by one watch for each kind, that may be late, have a gap, or be refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Key, Kind, Object, Refusal, Server, Shelf};

/// What a client has seen of one kind.
#[derive(Clone, Debug, Default)]
struct Watch {
    at: u64,
    shelf: Arc<Shelf>,
    /// A change that was left out: the object as it was before, and the version that was missed.
    missed: Option<(Key, Option<Arc<Object>>, Option<u64>)>,
}

/// All that a client has seen. Answers to its own writes are seen at once.
#[derive(Clone, Debug, Default)]
pub struct Informer {
    watches: BTreeMap<Kind, Watch>,
    learned: BTreeMap<Key, Arc<Object>>,
}

impl Informer {
    /// Lists a kind as it was `behind` writes ago: even before what was seen already, for another server may answer.
    pub fn list(&mut self, server: &Server, kind: Kind, behind: u64) {
        let oldest = server.history.front().map_or(server.revision, |(at, _)| *at);
        let at = server.revision.saturating_sub(behind).max(oldest);
        let then = server.at(at).map(|store| Arc::clone(store.shelf(kind))).unwrap_or_default();
        self.watches.insert(kind, Watch { at, shelf: then, missed: None });
    }

    /// Follows a kind up to `behind` writes before now, never back.
    ///
    /// # Errors
    /// [`Refusal::Gone`] if what was seen last is forgotten, or nothing was listed: list again.
    pub fn follow(&mut self, server: &Server, kind: Kind, behind: u64) -> Result<(), Refusal> {
        let watch = self.watches.get_mut(&kind).ok_or(Refusal::Gone)?;
        if server.at(watch.at).is_none() {
            return Err(Refusal::Gone);
        }
        let at = server.revision.saturating_sub(behind).max(watch.at);
        watch.shelf = server.at(at).map(|store| Arc::clone(store.shelf(kind))).unwrap_or_default();
        watch.at = at;
        self.learned.retain(|(of, _), object| *of != kind || object.version > at);
        Ok(())
    }

    /// Leaves a change of a kind out: that of one write, or any. Whether there was one to leave out.
    pub fn miss(&mut self, server: &Server, kind: Kind, write: Option<u64>) -> bool {
        let Some(watch) = self.watches.get_mut(&kind).filter(|watch| watch.missed.is_none()) else { return false };
        let now = server.store.shelf(kind);
        // A deletion leaves no object behind that could tell its write: what was there before it and not after it is meant.
        let around = write.and_then(|write| server.at(write.checked_sub(1)?).zip(server.at(write)));
        let ends = |name: &String| match (write, around) {
            (None, _) => true,
            (Some(_), Some((before, after))) => {
                before.shelf(kind).contains_key(name) && !after.shelf(kind).contains_key(name)
            }
            (Some(_), None) => false,
        };
        let changed = |(name, object): (&String, &Arc<Object>)| {
            let before = watch.shelf.get(name);
            let meant = write.is_none_or(|write| write == object.version);
            (meant && before.map(|before| before.version) != Some(object.version))
                .then(|| ((kind, name.clone()), before.cloned(), Some(object.version)))
        };
        let gone = |(name, object): (&String, &Arc<Object>)| {
            let gone = !now.contains_key(name) && ends(name);
            gone.then(|| ((kind, name.clone()), Some(Arc::clone(object)), None))
        };
        watch.missed = now.iter().find_map(changed).or_else(|| watch.shelf.iter().find_map(gone));
        watch.missed.is_some()
    }

    /// Whether no change was left out.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.watches.values().all(|watch| watch.missed.is_none())
    }

    /// Sees the answer to an own write.
    pub fn learn(&mut self, key: Key, object: Arc<Object>) {
        self.learned.insert(key, object);
    }

    /// All objects of a kind, as far as they were seen.
    #[must_use]
    pub fn view(&self, kind: Kind) -> Arc<Shelf> {
        let Some(watch) = self.watches.get(&kind) else { return Arc::default() };
        let mut view = Arc::clone(&watch.shelf);
        if let Some(((_, name), before, version)) = &watch.missed
            && view.get(name).map(|object| object.version) == *version
        {
            let view = Arc::make_mut(&mut view);
            view.remove(name);
            view.extend(before.as_ref().map(|before| (name.clone(), Arc::clone(before))));
        }
        let learned = self.learned.iter().filter(|((of, _), object)| *of == kind && object.version > watch.at);
        for ((_, name), object) in learned {
            Arc::make_mut(&mut view).insert(name.clone(), Arc::clone(object));
        }
        view
    }
}
