//! Places in a schema: `spec.events[].start` leads over properties and, by `[]`, the items of a list.

use serde_json::Value;

/// The schema at a place; none if it leads nowhere. The empty place is the schema itself.
#[must_use]
pub fn node<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path).try_fold(schema, |at, step| match step {
        Step::Property(name) => at.get("properties")?.get(name),
        Step::Items => at.get("items"),
    })
}

/// As [`node`], to be changed.
pub(super) fn node_mut<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    steps(path).try_fold(schema, |at, step| match step {
        Step::Property(name) => at.get_mut("properties")?.get_mut(name),
        Step::Items => at.get_mut("items"),
    })
}

/// The places below one, one step deeper, with their schemas.
pub fn children<'a>(schema: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let mut below = Vec::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, child) in properties {
            below.push((if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, child));
        }
    }
    if let Some(items) = schema.get("items") {
        below.push((format!("{path}[]"), items));
    }
    below
}

enum Step<'a> {
    Property(&'a str),
    Items,
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').filter(|part| !part.is_empty()).flat_map(|part| {
        let (name, is_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        std::iter::once(Step::Property(name)).chain(is_list.then_some(Step::Items))
    })
}
