//! Which fields shape Pods, and their hash: what makes a revision.
//!
//! A change of a shaping field makes new Pods; a hot field is followed by those that run. A rollback blocks a shape, so hot
//! fields keep following the spec while it is in force.

use serde_json::{Map, Value};
use throng_plan::spec::ShapeHash;

use crate::ChatroomClusterSpec;
use crate::cluster::template::Spread;
use crate::rules::Kind;
use crate::schema::{self, node};

/// Places below `spec` whose change makes a new revision.
pub const SHAPING: &[&str] = &[
    "image",
    "imagePullPolicy",
    "redis",
    "etcd",
    "auth",
    "gateway.template",
    "gateway.settings",
    "chatroom.template",
    "chatroom.settings",
    "message.template",
    "message.settings",
];

/// Places below `spec` that are followed without new Pods.
pub const HOT: &[&str] = &[
    "gateway.replicas",
    "gateway.pressure",
    "gateway.behavior",
    "gateway.service",
    "chatroom.replicas",
    "chatroom.pressure",
    "chatroom.behavior",
    "message.replicas",
    "message.pressure",
    "message.behavior",
    "rooms",
    "drain",
    "rollout",
    "events",
    "paused",
];

/// Hash of the fields that shape Pods.
///
/// Values that equal their default do not count, so that a field that a later version adds, with a default, makes no new
/// revision of clusters that do not use it: upgrading the operator changes no Pod. Where a default has changed, what does not
/// count is the first one: API servers have stored it in the clusters of that time, and Pods were made by it.
#[must_use]
pub fn hash(spec: &ChatroomClusterSpec) -> ShapeHash {
    let spec = serde_json::to_value(spec).unwrap_or_default();
    ShapeHash::new(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(canonical_text(&spec).as_bytes())))
}

fn canonical_text(spec: &Value) -> String {
    let mut text = String::new();
    for path in SHAPING {
        let value = path.split('.').try_fold(spec, |at, name| at.get(name));
        let described = node(schema::schema(Kind::Cluster), &format!("spec.{path}"));
        if let Some(value) = value.and_then(|value| essence(value, described, None)) {
            text.push_str(path);
            text.push('=');
            write(&value, &mut text);
            text.push('\n');
        }
    }
    text
}

/// The first default of a field of this name, if it was another than now.
fn first_default(name: &str) -> Option<Value> {
    (name == "topologySpread").then(|| {
        let zones = Spread::over("topology.kubernetes.io/zone");
        serde_json::to_value([zones]).unwrap_or_default()
    })
}

/// Whether a default of a described object holds another than the first one of a field.
fn has_changed(default: &Value) -> bool {
    default.as_object().is_some_and(|fields| fields.keys().any(|name| first_default(name).is_some()))
}

/// The value without what says nothing: nulls, defaults, and what is empty where empty is the default.
fn essence(value: &Value, schema: Option<&Value>, first: Option<&Value>) -> Option<Value> {
    let default = schema.and_then(|schema| schema.get("default")).filter(|default| !has_changed(default));
    let default = first.or(default);
    if value.is_null() || default == Some(value) {
        return None;
    }
    match value {
        Value::Object(map) => {
            let mut left = Map::new();
            for (name, child) in map {
                let properties = schema.and_then(|schema| schema.get("properties"));
                let described = properties.and_then(|properties| properties.get(name));
                if let Some(child) = essence(child, described, first_default(name).as_ref()) {
                    left.insert(name.clone(), child);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(items) if items.is_empty() && default.is_none() => None,
        Value::Array(items) => {
            let described = schema.and_then(|schema| schema.get("items"));
            let items = items.iter().map(|item| essence(item, described, None).unwrap_or_else(|| item.clone()));
            Some(Value::Array(items.collect()))
        }
        other => Some(other.clone()),
    }
}

/// JSON with sorted keys, whatever order the maps of this build keep.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            text.push('{');
            for name in names {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                map.get(name).into_iter().for_each(|child| write(child, text));
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests;
