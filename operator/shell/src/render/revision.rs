//! What a revision was made of: the shaping fields of a spec, kept so that its Pods can be made again.

use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Map, Value};
use throng_crds::{ChatroomClusterSpec, shape};
use throng_plan::spec::ShapeHash;

use super::Owner;
use crate::names;

/// Renders a revision of the spec's shape.
#[must_use]
pub fn revision(owner: &Owner<'_>, name: &str, number: u64, hash: &ShapeHash) -> ControllerRevision {
    let mut metadata = owner.meta(name);
    metadata.annotations = Some([(names::SHAPE.to_owned(), hash.as_str().to_owned())].into());
    ControllerRevision {
        metadata,
        revision: i64::try_from(number).unwrap_or(i64::MAX),
        data: Some(k8s_openapi::apimachinery::pkg::runtime::RawExtension(shaping(owner.spec))),
    }
}

/// Number and hash that a stored revision was made with. Its name has the one, what it holds the other: nobody can change
/// those. None if it is no revision of this cluster.
#[must_use]
pub fn made_as(owner: &Owner<'_>, stored: &ControllerRevision) -> Option<(u64, ShapeHash)> {
    let name = stored.metadata.name.as_deref()?;
    let number: u64 = name.strip_prefix(owner.name)?.strip_prefix('-')?.parse().ok()?;
    let held = stored.data.as_ref().and_then(|data| restored(owner.spec, &data.0));
    let hash = held.map(|spec| shape::hash(&spec)).or_else(|| noted(stored).map(ShapeHash::new))?;
    (number > 0 && name == format!("{}-{number}", owner.name)).then_some((number, hash))
}

/// Whether somebody edited a stored revision, of which [`made_as`] says what it was made with.
#[must_use]
pub fn is_edited(owner: &Owner<'_>, stored: &ControllerRevision, number: u64, hash: &ShapeHash) -> bool {
    let labels = stored.metadata.labels.as_ref();
    let labelled =
        owner.labels(None).iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
    !labelled || u64::try_from(stored.revision) != Ok(number) || noted(stored) != Some(hash.as_str())
}

/// The hash that is noted on a revision.
fn noted(stored: &ControllerRevision) -> Option<&str> {
    stored.metadata.annotations.as_ref()?.get(names::SHAPE).map(String::as_str)
}

/// The shaping fields of a spec.
#[must_use]
pub fn shaping(spec: &ChatroomClusterSpec) -> Value {
    let spec = serde_json::to_value(spec).unwrap_or_default();
    let mut kept = Value::Object(Map::new());
    for path in shape::SHAPING {
        if let Some(value) = at(&spec, path) {
            put(&mut kept, path, value.clone());
        }
    }
    kept
}

/// The spec of a revision: the shape that it keeps, and the hot fields of the present spec. None if what was kept is not
/// the shape of a spec, as in a revision that somebody else made.
#[must_use]
pub fn restored(present: &ChatroomClusterSpec, kept: &Value) -> Option<ChatroomClusterSpec> {
    let mut spec = serde_json::to_value(present).ok()?;
    for path in shape::SHAPING {
        match at(kept, path) {
            Some(value) => put(&mut spec, path, value.clone()),
            None => remove(&mut spec, path),
        }
    }
    serde_json::from_value(spec).ok()
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |at, name| at.get(name))
}

fn put(value: &mut Value, path: &str, new: Value) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Value::Object(fields) = value else { return };
    match rest {
        Some(rest) => put(fields.entry(name).or_insert_with(|| Value::Object(Map::new())), rest, new),
        None => drop(fields.insert(name.to_owned(), new)),
    }
}

fn remove(value: &mut Value, path: &str) {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Value::Object(fields) = value else { return };
    match rest {
        Some(rest) => fields.get_mut(name).into_iter().for_each(|field| remove(field, rest)),
        None => drop(fields.remove(name)),
    }
}
