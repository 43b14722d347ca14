//! Objects of one kind as a watch tells of them, and as this process's own writes answered. Pure.
//!
//! An object that cannot be read is kept as its error: one bad object must not blind the operator to the others. What a
//! write answered is known at once, though the watch tells of it later; an older tale never replaces a newer one.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

/// Namespace and name of an object; nodes have an empty namespace.
pub type Key = (String, String);

/// The objects.
#[derive(Debug)]
pub struct Table<K> {
    objects: BTreeMap<Key, Kept<K>>,
    /// What a listing that is under way has told so far.
    listing: Option<BTreeMap<Key, Kept<K>>>,
    /// The largest version that the watch has told of.
    told: u64,
    synced: bool,
}

#[derive(Debug)]
struct Kept<K> {
    version: u64,
    object: Result<Arc<K>, Unreadable>,
}

/// An object that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreadable {
    /// What was wrong.
    pub error: String,
    /// What can be read of it.
    pub metadata: Box<ObjectMeta>,
}

/// What an event changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed<K> {
    /// Nothing that anybody would see.
    Nothing,
    /// One object: as it is, or as it was.
    One(Arc<K>),
    /// One that cannot be read.
    Unreadable(Key),
    /// Perhaps all.
    All,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: None, told: 0, synced: false }
    }
}

impl<K: Resource> Table<K> {
    /// Notes what a watch tells.
    pub fn note(&mut self, event: Event<DeserializeGuard<K>>) -> Changed<K> {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let (key, kept) = keep(object);
                self.told = self.told.max(kept.version);
                self.listing.get_or_insert_default().insert(key, kept);
            }
            Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                self.synced = true;
                return Changed::All;
            }
            Event::Apply(object) => {
                let (key, kept) = keep(object);
                self.told = self.told.max(kept.version);
                if self.objects.get(&key).is_none_or(|known| known.version <= kept.version) {
                    return self.put(key, kept);
                }
            }
            Event::Delete(object) => {
                let (key, kept) = keep(object);
                self.told = self.told.max(kept.version);
                return match self.objects.remove(&key).map(|known| known.object) {
                    Some(Ok(known)) => Changed::One(known),
                    Some(Err(_)) => Changed::Unreadable(key),
                    None => Changed::Nothing,
                };
            }
        }
        Changed::Nothing
    }

    /// Notes what a write of this process answered. What the watch has passed already is known better.
    pub fn learn(&mut self, object: K) {
        let (key, kept) = keep(DeserializeGuard(Ok(object)));
        let newer = self.objects.get(&key).is_none_or(|known| known.version < kept.version);
        if kept.version > self.told && newer {
            self.objects.insert(key, kept);
        }
    }

    fn put(&mut self, key: Key, kept: Kept<K>) -> Changed<K> {
        let changed = match &kept.object {
            Ok(object) => Changed::One(Arc::clone(object)),
            Err(_) => Changed::Unreadable(key.clone()),
        };
        self.objects.insert(key, kept);
        changed
    }

    /// Whether it was listed once.
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        self.synced
    }

    /// All objects that can be read, by key.
    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values().filter_map(|kept| kept.object.as_ref().ok())
    }

    /// One object.
    #[must_use]
    pub fn one(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)?.object.as_ref().ok()
    }

    /// Those that cannot be read.
    pub fn unreadable(&self) -> impl Iterator<Item = (&Key, &Unreadable)> {
        self.objects.iter().filter_map(|(key, kept)| Some((key, kept.object.as_ref().err()?)))
    }
}

fn keep<K: Resource>(object: DeserializeGuard<K>) -> (Key, Kept<K>) {
    let metadata = object.meta();
    let key = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
    // Versions of one kind are numbers that grow, as conformance of Kubernetes demands.
    let version = metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0);
    let object = object
        .0
        .map(Arc::new)
        .map_err(|invalid| Unreadable { error: invalid.error, metadata: Box::new(invalid.metadata) });
    (key, Kept { version, object })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, version: u64) -> DeserializeGuard<Pod> {
        read(json!({"metadata": {"namespace": "show", "name": name, "resourceVersion": version.to_string()}}))
    }

    fn read(value: Value) -> DeserializeGuard<Pod> {
        serde_json::from_value(value).unwrap()
    }

    fn bad(name: &str, version: u64) -> DeserializeGuard<Pod> {
        read(json!({"metadata": {"namespace": "show", "name": name, "resourceVersion": version.to_string(),
            "labels": {"throng.dev/cluster": "live"}}, "spec": {"containers": "no list"}}))
    }

    fn versions(table: &Table<Pod>) -> Vec<(String, String)> {
        let one = |pod: &Arc<Pod>| (pod.metadata.name.clone().unwrap(), pod.metadata.resource_version.clone().unwrap());
        table.all().map(one).collect()
    }

    fn known(pairs: &[(&str, u64)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, version)| ((*name).to_owned(), version.to_string())).collect()
    }

    fn listed(pods: Vec<DeserializeGuard<Pod>>) -> Table<Pod> {
        let mut table = Table::default();
        table.note(Event::Init);
        assert!(!table.is_synced());
        for pod in pods {
            table.note(Event::InitApply(pod));
        }
        assert_eq!(table.note(Event::InitDone), Changed::All);
        table
    }

    #[test]
    fn a_listing_replaces_what_was_known_at_its_end_and_not_before() {
        let mut table = listed(vec![pod("a", 1), pod("b", 2)]);
        table.note(Event::Init);
        table.note(Event::InitApply(pod("b", 5)));
        assert_eq!(versions(&table), known(&[("a", 1), ("b", 2)]));
        table.note(Event::InitDone);
        assert_eq!(versions(&table), known(&[("b", 5)]));
    }

    #[test]
    fn changes_are_told_one_by_one() {
        let mut table = listed(vec![pod("a", 1)]);
        assert!(matches!(table.note(Event::Apply(pod("b", 2))), Changed::One(_)));
        assert!(matches!(table.note(Event::Delete(pod("a", 3))), Changed::One(_)));
        assert_eq!(table.note(Event::Delete(pod("a", 4))), Changed::Nothing);
        assert_eq!(versions(&table), known(&[("b", 2)]));
    }

    #[test]
    fn an_object_that_cannot_be_read_hides_nobody_else_and_comes_back() {
        let mut table = listed(vec![pod("a", 1), bad("b", 2)]);
        assert_eq!(versions(&table), known(&[("a", 1)]));
        let (key, unreadable) = table.unreadable().next().unwrap();
        assert_eq!((key.1.as_str(), unreadable.metadata.labels.as_ref().unwrap().len()), ("b", 1));
        table.note(Event::Apply(pod("b", 3)));
        assert_eq!(table.unreadable().count(), 0);
        assert!(matches!(table.note(Event::Apply(bad("a", 4))), Changed::Unreadable(_)));
        assert_eq!(versions(&table), known(&[("b", 3)]), "an old state is not taken for the new one");
    }

    #[test]
    fn an_own_write_is_known_at_once_and_an_older_tale_does_not_undo_it() {
        let mut table = listed(vec![pod("a", 1)]);
        table.learn(pod("a", 7).0.unwrap());
        table.learn(pod("new", 8).0.unwrap());
        assert_eq!(versions(&table), known(&[("a", 7), ("new", 8)]));
        assert_eq!(table.note(Event::Apply(pod("a", 3))), Changed::Nothing);
        assert_eq!(versions(&table), known(&[("a", 7), ("new", 8)]));
        table.note(Event::Apply(pod("a", 9)));
        assert_eq!(versions(&table), known(&[("a", 9), ("new", 8)]));
    }

    #[test]
    fn an_answer_that_comes_after_the_watch_has_passed_it_brings_nothing_back() {
        let mut table = listed(vec![pod("a", 1)]);
        table.note(Event::Apply(pod("a", 5)));
        table.note(Event::Delete(pod("a", 6)));
        table.learn(pod("a", 5).0.unwrap());
        assert_eq!(versions(&table), []);
    }
}
