//! Nulls and defaults, as API servers treat them where a schema is not nullable.

use serde_json::Value;

/// Takes away every property that is null: it means what a missing one means.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, child| !child.is_null());
    }
    below(schema, value, drop_nulls);
}

/// Puts in the default of every missing property that has one, also into what came in as a default.
pub(super) fn fill_in(schema: &Value, value: &mut Value) {
    if let (Value::Object(map), Some(properties)) = (&mut *value, schema.get("properties").and_then(Value::as_object)) {
        for (name, child) in properties {
            if let Some(default) = child.get("default")
                && !map.contains_key(name)
            {
                map.insert(name.clone(), default.clone());
            }
        }
    }
    below(schema, value, fill_in);
}

/// Does the same to each value below one that the schema describes.
fn below(schema: &Value, value: &mut Value, each: fn(&Value, &mut Value)) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                let described = schema.get("properties").and_then(|properties| properties.get(name));
                if let Some(described) = described.or_else(|| schema.get("additionalProperties")) {
                    each(described, child);
                }
            }
        }
        Value::Array(items) => {
            if let Some(described) = schema.get("items") {
                for item in items {
                    each(described, item);
                }
            }
        }
        _ => {}
    }
}
