//! The CRDs of both kinds: schemas from the types, put into the form that API servers take, with the rules in place.

mod form;
mod place;

use std::sync::OnceLock;

use kube::CustomResourceExt as _;
pub use place::{children, node};
use serde_json::{Map, Value, json};

use crate::rules::{self, Kind};
use crate::{ChatroomCluster, ChatroomOperation};

/// The `CustomResourceDefinition` of a kind. Made once in a process.
#[must_use]
pub fn crd(kind: Kind) -> &'static Value {
    static CLUSTER: OnceLock<Value> = OnceLock::new();
    static OPERATION: OnceLock<Value> = OnceLock::new();
    match kind {
        Kind::Cluster => CLUSTER.get_or_init(|| build(kind)),
        Kind::Operation => OPERATION.get_or_init(|| build(kind)),
    }
}

/// The schema of a kind: that of whole objects.
#[must_use]
pub fn schema(kind: Kind) -> &'static Value {
    crd(kind).pointer(SCHEMA).unwrap_or(&Value::Null)
}

const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema";

fn build(kind: Kind) -> Value {
    let crd = match kind {
        Kind::Cluster => ChatroomCluster::crd(),
        Kind::Operation => ChatroomOperation::crd(),
    };
    let mut crd = serde_json::to_value(crd).unwrap_or_default();
    if let Some(schema) = crd.pointer_mut(SCHEMA) {
        form::put_in_form(schema);
        complete(kind, schema);
    }
    crd
}

/// What the types do not say: the rules, how conditions merge, and that an object without a spec means nothing.
fn complete(kind: Kind, schema: &mut Value) {
    for rule in rules::of(kind) {
        for path in rule.paths {
            if let Some(Value::Object(node)) = place::node_mut(schema, path) {
                let list = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
                if let Value::Array(list) = list {
                    list.push(json!({"rule": rule.rule, "message": rule.message}));
                }
            }
        }
    }
    if let Some(Value::Object(conditions)) = place::node_mut(schema, "status.conditions") {
        merge_by_type(conditions);
    }
}

fn merge_by_type(list: &mut Map<String, Value>) {
    list.insert("x-kubernetes-list-type".into(), json!("map"));
    list.insert("x-kubernetes-list-map-keys".into(), json!(["type"]));
}

#[cfg(test)]
mod tests;
