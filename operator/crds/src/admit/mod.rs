//! What an API server does with an object before it stores it, offline: [`admit`].
//!
//! Nulls go, defaults come ([`defaults`]), unknown fields are errors as `kubectl` makes them, types and bounds are checked
//! ([`structural`]), then the rules. So `throng dev` and `throng plan` say what the cluster would say, and tests need no
//! cluster.

mod defaults;
mod structural;

use std::fmt;
use std::sync::OnceLock;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use crate::rules::Kind;
use crate::{GROUP, VERSION, schema};

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `spec.events[0].start`; empty for the object itself.
    pub path: String,
    /// What, and what to write instead.
    pub message: String,
}

impl Problem {
    fn at(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// Which kind an object says it is; none if it is neither.
#[must_use]
pub fn kind_of(object: &Value) -> Option<Kind> {
    let api_version = object.get("apiVersion")?.as_str()?;
    let kind = object.get("kind")?.as_str()?;
    Kind::ALL.into_iter().find(|known| known.as_str() == kind && api_version == format!("{GROUP}/{VERSION}"))
}

/// The object as it would be stored: without nulls, with defaults. `old` is the stored one if this is an update.
///
/// # Errors
/// Everything that is wrong with it. Rules are looked at only if types and bounds hold.
pub fn admit(mut object: Value, old: Option<&Value>) -> Result<Value, Vec<Problem>> {
    let Some(kind) = kind_of(&object) else {
        let kinds = Kind::ALL.map(Kind::as_str).join(" or kind: ");
        let message = format!("write apiVersion: {GROUP}/{VERSION} and kind: {kinds}");
        return Err(vec![Problem::at("", message)]);
    };
    let schema = schema::schema(kind);
    defaults::drop_nulls(schema, &mut object);
    defaults::fill_in(schema, &mut object);
    let mut problems = Vec::new();
    if object.pointer("/metadata/name").and_then(Value::as_str).is_none() {
        problems.push(Problem::at("metadata.name", "write a name"));
    }
    structural::check(schema, &object, "", &mut problems);
    if problems.is_empty()
        && let Err(errors) = Validator::new().validate_compiled(compiled(kind), &object, old)
    {
        problems.extend(errors.iter().map(|error| Problem::at(&error.field_path, error.message.clone())));
    }
    if problems.is_empty() { Ok(object) } else { Err(problems) }
}

/// The rules of a kind, compiled once in a process.
fn compiled(kind: Kind) -> &'static CompiledSchema {
    static CLUSTER: OnceLock<CompiledSchema> = OnceLock::new();
    static OPERATION: OnceLock<CompiledSchema> = OnceLock::new();
    let cell = match kind {
        Kind::Cluster => &CLUSTER,
        Kind::Operation => &OPERATION,
    };
    cell.get_or_init(|| compile_schema(schema::schema(kind)))
}

#[cfg(test)]
mod tests;
