//! Every field is either shaping or hot, and the hash follows exactly the shaping ones.

use serde_json::json;

use super::*;
use crate::schema::children;

fn spec(object: Value) -> ChatroomClusterSpec {
    serde_json::from_value(object).unwrap()
}

fn minimal() -> Value {
    json!({
        "image": "throng:0.1.0",
        "redis": {"url": "redis://redis:6379"},
        "etcd": {"endpoints": ["http://etcd:2379"]},
        "auth": {"jwt": {"secretRef": {"name": "live-auth"}}},
    })
}

/// Places below `spec`, as deep as needed to be told shaping from hot.
fn unclassified(path: &str, node: &Value, left: &mut Vec<String>) {
    let name = path.trim_start_matches("spec").trim_start_matches('.');
    if SHAPING.contains(&name) || HOT.contains(&name) {
        return;
    }
    let below = children(node, path);
    if below.is_empty() || path.ends_with("[]") {
        left.push(name.to_owned());
    }
    for (path, child) in below {
        unclassified(&path, child, left);
    }
}

#[test]
fn every_field_is_either_shaping_or_hot() {
    let spec = node(schema::schema(Kind::Cluster), "spec").unwrap();
    let mut left = Vec::new();
    unclassified("spec", spec, &mut left);
    assert!(left.is_empty(), "add these fields to SHAPING or to HOT: {left:?}");
    for path in SHAPING.iter().chain(HOT) {
        assert!(node(spec, path).is_some(), "{path} is no field any more");
        let other = if SHAPING.contains(path) { HOT } else { SHAPING };
        assert!(!other.contains(path), "{path} cannot be both");
    }
}

/// A value for a field that differs from its default.
fn other_value(node: &Value) -> Value {
    match node["type"].as_str() {
        Some("string") if node.get("enum").is_some() => node["enum"].as_array().unwrap().last().unwrap().clone(),
        Some("string") => json!("other"),
        Some("integer") => json!(7),
        Some("number") => json!(0.5),
        Some("boolean") => json!(true),
        Some("array") => json!([other_object(&node["items"])]),
        Some("object") if node.get("properties").is_some() => other_object(node),
        Some("object") => json!({"other": "other"}),
        _ => json!("7"),
    }
}

fn other_object(node: &Value) -> Value {
    let Some(properties) = node["properties"].as_object() else { return other_value(node) };
    let required = node["required"].as_array().cloned().unwrap_or_default();
    let named = properties.iter().filter(|(name, _)| required.contains(&json!(name)));
    Value::Object(named.map(|(name, child)| (name.clone(), other_value(child))).collect())
}

/// Puts another value at each leaf in turn and hands the spec on.
fn each_leaf(path: &str, node: &Value, mut visit: impl FnMut(&str, Value) + Copy) {
    let foreign = [".resources", ".affinity", ".tolerations"].iter().any(|foreign| path.ends_with(foreign));
    if node.get("properties").is_some() && !foreign {
        for (path, child) in children(node, path) {
            each_leaf(&path, child, visit);
        }
        return;
    }
    let mut object = minimal();
    let mut schema = schema::schema(Kind::Cluster).pointer("/properties/spec").unwrap();
    let mut at = &mut object;
    for name in path.trim_start_matches("spec.").split('.') {
        if at.is_null() {
            *at = other_object(schema);
        }
        schema = &schema["properties"][name];
        at = &mut at[name];
    }
    *at = match path {
        path if path.ends_with(".resources") => json!({"limits": {"cpu": "7"}}),
        path if path.ends_with(".affinity") => {
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}})
        }
        path if path.ends_with(".tolerations") => json!([{"key": "other"}]),
        _ => other_value(node),
    };
    visit(path, object);
}

#[test]
fn each_shaping_field_changes_the_hash_and_no_hot_one_does() {
    let unchanged = hash(&spec(minimal()));
    let schema = node(schema::schema(Kind::Cluster), "spec").unwrap();
    let leaves = std::cell::Cell::new((0, 0));
    each_leaf("spec", schema, |path, object| {
        let name = path.trim_start_matches("spec.");
        let shaping = SHAPING.iter().any(|known| name == *known || name.starts_with(&format!("{known}.")));
        let changed = hash(&spec(object.clone())) != unchanged;
        assert_eq!(changed, shaping, "{path}: {object}");
        let (shapes, hot) = leaves.get();
        leaves.set(if shaping { (shapes + 1, hot) } else { (shapes, hot + 1) });
    });
    let (shapes, hot) = leaves.get();
    assert!(shapes > 40 && hot > 50, "{shapes} shaping and {hot} hot leaves were tried");
}

#[test]
fn a_default_written_out_is_the_same_shape() {
    let unchanged = hash(&spec(minimal()));
    let mut object = json!({"metadata": {"name": "live"}, "spec": minimal()});
    object["apiVersion"] = json!("throng.dev/v1alpha1");
    object["kind"] = json!("ChatroomCluster");
    let stored = crate::admit::admit(object, None).unwrap();
    assert_eq!(hash(&spec(stored["spec"].clone())), unchanged);
}

/// As an API server stored it when Pods were spread over zones alone.
fn first() -> Value {
    let mut object = minimal();
    let zones =
        json!([{"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}]);
    for pool in ["gateway", "chatroom", "message"] {
        object[pool] = json!({"template": {"topologySpread": zones}});
    }
    object
}

#[test]
fn a_default_that_has_changed_is_another_shape_and_the_first_one_is_none() {
    let (first, now) = (spec(first()), spec(minimal()));
    assert_ne!(first.chatroom.template, now.chatroom.template);
    assert_ne!(hash(&first), hash(&now), "its Pods are others");
    let keys = |spec: &ChatroomClusterSpec| -> Vec<String> {
        spec.chatroom.template.topology_spread.iter().map(|spread| spread.topology_key.clone()).collect()
    };
    assert_eq!(keys(&now), ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
}

/// Changing this value gives every running cluster a new revision when the operator is upgraded.
#[test]
fn hashes_stay_what_they_are_from_one_version_to_the_next() {
    let mut object = first();
    assert_eq!(hash(&spec(object.clone())).as_str(), GOLDEN_MINIMAL);
    object["gateway"] =
        json!({"template": {"labels": {"team": "live"}, "topologySpread": []}, "settings": {"reactors": "2"}});
    assert_eq!(hash(&spec(object)).as_str(), GOLDEN_LARGER);
    assert_eq!(hash(&spec(minimal())).as_str(), GOLDEN_SPREAD);
}

const GOLDEN_MINIMAL: &str = "1b6c17cff634aedbf6c38d8eab1cea2d";
const GOLDEN_SPREAD: &str = "7055d426abba7baa5cee32b1772eef3b";
const GOLDEN_LARGER: &str = "3fddaeaff7a49ae497ba46166c41a170";
