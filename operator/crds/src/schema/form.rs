//! The form of schema that API servers take, from the one that derives make.
//!
//! `nullable` goes: a `null` then means what a missing field means, and no reader stumbles over it. Formats of unsigned
//! numbers go: API servers do not know them, the bounds say the same. Defaults of the status go: only the operator writes
//! it. Texts lose the line breaks of the source, and parts that are Kubernetes' own lose theirs altogether.

use serde_json::{Map, Value, json};

pub(super) fn put_in_form(schema: &mut Value) {
    rewrite(schema);
    if let Some(status) = schema.pointer_mut("/properties/status") {
        drop_defaults(status);
    }
    // The operator fills the status in; an object without one is new.
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "status");
    }
}

fn rewrite(schema: &mut Value) {
    let Value::Object(node) = schema else { return };
    node.remove("nullable");
    if node.get("default").is_some_and(says_nothing) {
        node.remove("default");
    }
    rewrite_format(node);
    for bound in ["minimum", "maximum"] {
        if node.get("type") == Some(&json!("integer"))
            && let Some(value) = node.get_mut(bound)
        {
            make_integer(value);
        }
    }
    if let Some(Value::String(text)) = node.get_mut("description") {
        *text = join_lines(text);
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        for (name, child) in properties {
            rewrite(child);
            if FOREIGN.contains(&name.as_str()) {
                below(child, drop_texts);
            }
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(inner) {
            rewrite(child);
        }
    }
}

/// Parts of a Pod: `kubectl explain pod.spec` has their texts, which are longer than all others together.
const FOREIGN: [&str; 3] = ["resources", "affinity", "tolerations"];

fn below(schema: &mut Value, each: fn(&mut Value)) {
    let Value::Object(node) = schema else { return };
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(each);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(inner) {
            each(child);
        }
    }
}

fn drop_texts(schema: &mut Value) {
    if let Value::Object(node) = schema {
        node.remove("description");
    }
    below(schema, drop_texts);
}

fn says_nothing(default: &Value) -> bool {
    match default {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn rewrite_format(node: &mut Map<String, Value>) {
    let format = match node.get("format").and_then(Value::as_str) {
        Some("uint8" | "uint16") => "int32",
        Some("uint32" | "uint64" | "uint") => "int64",
        _ => return,
    };
    node.insert("format".into(), json!(format));
    node.entry("minimum").or_insert_with(|| json!(0));
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds of integers are whole numbers below 2^53")]
fn make_integer(value: &mut Value) {
    if let Some(number) = value.as_f64() {
        *value = json!(number as i64);
    }
}

/// Paragraphs stay, lines within them are joined.
fn join_lines(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn drop_defaults(schema: &mut Value) {
    if let Value::Object(node) = schema {
        node.remove("default");
    }
    below(schema, drop_defaults);
}
