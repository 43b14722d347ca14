//! Whether an object is still as it was written: every field that the operator writes has its value.
//!
//! What others add beside it stays unseen (an API server's defaults, a load balancer's address), except where an addition
//! changes what ours means: one more label in a selector selects other Pods.

use serde::Serialize;
use serde_json::Value;

/// Fields that are ours as a whole.
const WHOLE: [&str; 4] = ["selector", "podSelector", "matchLabels", "ingress"];

/// Hash of an object's content as it is rendered.
#[must_use]
pub fn hash(rendered: &impl Serialize) -> String {
    let text = serde_json::to_string(&value(rendered)).unwrap_or_default();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// Whether `found` says everything that `rendered` does.
#[must_use]
pub fn is_as_rendered(rendered: &impl Serialize, found: &impl Serialize) -> bool {
    says(&value(found), &value(rendered))
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn says(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            let nothing = Value::Null;
            let found = found.get(name).unwrap_or(&nothing);
            if WHOLE.contains(&name.as_str()) { found == wanted } else { says(found, wanted) }
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| says(found, wanted))
        }
        _ => found == wanted,
    }
}
