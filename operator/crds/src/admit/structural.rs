//! Types, bounds, sets and unknown fields: the part of a schema without rules.

use serde_json::{Map, Value};

use super::Problem;

/// Adds everything in `value` that is not as `schema` says.
pub(super) fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        if !(value.is_string() || value.is_i64() || value.is_u64()) {
            problems.push(Problem::at(path, format!("write a whole number or a text, not {}", name_of(value))));
        }
        return;
    }
    if let Some(expected) = schema.get("type").and_then(Value::as_str)
        && !has_type(value, expected)
    {
        problems.push(Problem::at(path, format!("write {}, not {}", article(expected), name_of(value))));
        return;
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        let known: Vec<String> = choices.iter().map(plain).collect();
        problems.push(Problem::at(path, format!("{} is unknown: write one of {}", plain(value), known.join(", "))));
    }
    match value {
        Value::Object(map) => check_object(schema, map, path, problems),
        Value::Array(items) => check_list(schema, items, path, problems),
        Value::String(text) => check_size(schema, text.chars().count(), ["minLength", "maxLength"], path, problems),
        Value::Number(number) => check_number(schema, number.as_f64().unwrap_or(f64::NAN), path, problems),
        _ => {}
    }
}

fn check_object(schema: &Value, map: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            problems.push(Problem::at(&join(path, name), "is missing, and there is no default"));
        }
    }
    check_size(schema, map.len(), ["minProperties", "maxProperties"], path, problems);
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, child) in map {
        let described = properties.and_then(|properties| properties.get(name));
        match described.or_else(|| schema.get("additionalProperties")) {
            Some(described) => check(described, child, &join(path, name), problems),
            None if path.is_empty() && BY_KUBERNETES.contains(&name.as_str()) => {}
            None => problems.push(unknown(name, properties, path)),
        }
    }
}

/// Described by Kubernetes itself, in every object.
const BY_KUBERNETES: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// An unknown field is most often a known one with a typing error.
fn unknown(name: &str, properties: Option<&Map<String, Value>>, path: &str) -> Problem {
    let mut known: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    known.sort_by_key(|known| distance(name, known));
    let nearest: Vec<&str> = known.into_iter().take(3).collect();
    let hint = if nearest.is_empty() { String::new() } else { format!("; near it: {}", nearest.join(", ")) };
    Problem::at(&join(path, name), format!("is not a field{hint}"))
}

/// Letters to change, add or take away to get from one word to the other, cases not counted.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.to_lowercase().chars().enumerate() {
        let mut next = vec![above + 1];
        for (pair, there) in row.windows(2).zip(&other) {
            if let (&[diagonal, up], Some(&left)) = (pair, next.last()) {
                next.push((diagonal + usize::from(letter != *there)).min(up + 1).min(left + 1));
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

fn check_list(schema: &Value, items: &[Value], path: &str, problems: &mut Vec<Problem>) {
    check_size(schema, items.len(), ["minItems", "maxItems"], path, problems);
    for (index, item) in items.iter().enumerate() {
        if let Some(described) = schema.get("items") {
            check(described, item, &format!("{path}[{index}]"), problems);
        }
        let same = |other: &&Value| identity(schema, other) == identity(schema, item);
        if identity(schema, item).is_some() && items.iter().take(index).any(|other| same(&other)) {
            problems.push(Problem::at(&format!("{path}[{index}]"), "is there twice: remove one"));
        }
    }
}

/// What tells an item of a set or a map from the others; none in other lists.
fn identity<'a>(schema: &Value, item: &'a Value) -> Option<Vec<&'a Value>> {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str)? {
        "set" => Some(vec![item]),
        "map" => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array)?;
            keys.iter().filter_map(Value::as_str).map(|key| item.get(key)).collect()
        }
        _ => None,
    }
}

fn check_size(schema: &Value, size: usize, [least, most]: [&str; 2], path: &str, problems: &mut Vec<Problem>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
    let unit = if least == "minLength" { "characters" } else { "entries" };
    if let Some(least) = bound(least).filter(|&least| size < least) {
        problems.push(Problem::at(path, format!("write at least {least} {unit}, not {size}")));
    }
    if let Some(most) = bound(most).filter(|&most| size > most) {
        problems.push(Problem::at(path, format!("write at most {most} {unit}, not {size}")));
    }
}

fn check_number(schema: &Value, number: f64, path: &str, problems: &mut Vec<Problem>) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(least) = bound("minimum").filter(|&least| number < least) {
        problems.push(Problem::at(path, format!("write at least {least}, not {number}")));
    }
    if let Some(most) = bound("maximum").filter(|&most| number > most) {
        problems.push(Problem::at(path, format!("write at most {most}, not {number}")));
    }
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}

fn article(name: &str) -> &'static str {
    match name {
        "object" => "fields and values",
        "array" => "a list",
        "string" => "a text (in quotes if it looks like a number)",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

const fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "fields and values",
    }
}

/// Texts without their quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
