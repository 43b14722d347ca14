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
