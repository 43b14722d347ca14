//! An API server in the small: what a controller can rely on, and nothing more.
//!
//! Every write is checked against what its sender expects, gets the next revision, and is remembered for a while.
//! [`object`] is what is kept, [`apply`] how fields are written by several, [`eviction`] how budgets hold evictions up, [`watch`]
//! how others learn of changes: late, with gaps, and refused when they ask for what is forgotten.

pub mod apply;
pub mod eviction;
pub mod object;
mod store;
pub mod watch;

use std::collections::VecDeque;
use std::sync::Arc;

pub use object::{Fields, Key, Kind, Object};
pub use store::{Shelf, Store};
use throng_core::Millis;

/// Writes that are remembered: a watch from before is refused.
const REMEMBERED: usize = 64;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404.
    #[error("it is not there")]
    NotFound,
    /// 409 on a creation.
    #[error("there is one of this name")]
    AlreadyExists,
    /// 409: it is not the object that the sender knows, or a field has another manager.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 429: the budget is used up.
    #[error("too many requests")]
    TooManyRequests,
    /// 410: the watch asks for what is forgotten.
    #[error("gone")]
    Gone,
}

/// What the sender of a write expects of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// It has this uid.
    pub uid: Option<String>,
    /// It has this version.
    pub version: Option<u64>,
}

impl Expected {
    fn check(&self, object: &Object) -> Result<(), Refusal> {
        if self.uid.as_ref().is_some_and(|uid| *uid != object.uid) {
            return Err(Refusal::Conflict("another uid".to_owned()));
        }
        if self.version.is_some_and(|version| version != object.version) {
            return Err(Refusal::Conflict("it has been written since".to_owned()));
        }
        Ok(())
    }
}

/// The object as it is after a write; none if it is gone.
pub type Answer = Result<Option<Arc<Object>>, Refusal>;

/// The server.
#[derive(Clone, Debug, Default)]
pub struct Server {
    store: Store,
    revision: u64,
    history: VecDeque<(u64, Store)>,
}

impl Server {
    /// The revision of the last write.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// An object as it is.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Object>> {
        self.store.shelf(kind).get(name)
    }

    /// All objects of a kind with their names.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = (&str, &Arc<Object>)> {
        self.store.shelf(kind).iter().map(|(name, object)| (name.as_str(), object))
    }

    /// Makes an object.
    ///
    /// # Errors
    /// There is one of its name.
    pub fn create(&mut self, now: Millis, key: Key, mut object: Object) -> Answer {
        if self.store.get(&key).is_some() {
            return Err(Refusal::AlreadyExists);
        }
        object.uid = format!("{:?}-{}", key.0, self.revision + 1).to_lowercase();
        (object.created, object.generation) = (now, 1);
        Ok(Some(self.commit(key, object)))
    }

    /// Changes an object.
    ///
    /// # Errors
    /// It is not there, or not as expected.
    pub fn edit(&mut self, key: &Key, expected: &Expected, change: impl FnOnce(&mut Object)) -> Answer {
        let before = self.store.get(key).ok_or(Refusal::NotFound)?;
        expected.check(before)?;
        let mut object = Object::clone(before);
        change(&mut object);
        let spec = |object: &Object| object.fields.iter().filter(|(path, _)| path.starts_with("spec.")).count();
        let same_spec = spec(&object) == spec(before)
            && object.fields.iter().all(|(path, value)| !path.starts_with("spec.") || before.field(path) == value);
        object.generation += i64::from(!same_spec);
        if object == **before {
            return Ok(Some(Arc::clone(before)));
        }
        if object.deleted_at.is_some() && object.finalizers.is_empty() && key.0 != Kind::Pod {
            self.remove(key);
            return Ok(None);
        }
        Ok(Some(self.commit(key.clone(), object)))
    }

    /// Deletes an object. One with finalizers and a Pod that runs somewhere are only marked, unless `force`.
    ///
    /// # Errors
    /// It is not there, or not as expected.
    pub fn delete(&mut self, now: Millis, key: &Key, expected: &Expected, force: bool) -> Answer {
        let object = self.store.get(key).ok_or(Refusal::NotFound)?;
        expected.check(object)?;
        let runs = key.0 == Kind::Pod && !object.field("spec.node").is_empty();
        if !force && (runs || !object.finalizers.is_empty()) {
            return self.edit(key, expected, |object| {
                object.deleted_at.get_or_insert(now);
            });
        }
        self.remove(key);
        Ok(None)
    }

    /// Takes objects away whose owner is gone: Pods get their time to end.
    pub fn collect_garbage(&mut self, now: Millis) {
        let alive = |uid: &String| self.list(Kind::Cluster).any(|(_, cluster)| cluster.uid == *uid);
        let stray = |object: &Object| object.owner.as_ref().is_some_and(|uid| !alive(uid));
        let strays = Kind::ALL.into_iter().flat_map(|kind| {
            let strays = self.list(kind).filter(|(_, object)| stray(object));
            strays.map(move |(name, _)| (kind, name.to_owned()))
        });
        for key in strays.collect::<Vec<_>>() {
            let _ = self.delete(now, &key, &Expected::default(), false);
        }
    }

    fn commit(&mut self, key: Key, mut object: Object) -> Arc<Object> {
        self.remember();
        object.version = self.revision;
        let object = Arc::new(object);
        self.store.insert(key, Arc::clone(&object));
        object
    }

    fn remove(&mut self, key: &Key) {
        self.remember();
        self.store.remove(key);
    }

    /// Keeps the store as it is, and begins the next revision.
    fn remember(&mut self) {
        self.history.push_back((self.revision, self.store.clone()));
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
        self.revision += 1;
    }

    /// The store as it was after the write of a revision.
    fn at(&self, revision: u64) -> Option<&Store> {
        if revision == self.revision {
            return Some(&self.store);
        }
        // One write, one entry: the place is known.
        let ago = usize::try_from(self.revision.checked_sub(revision)?).ok()?;
        let (at, store) = self.history.get(self.history.len().checked_sub(ago)?)?;
        (*at == revision).then_some(store)
    }
}

#[cfg(test)]
mod tests;
