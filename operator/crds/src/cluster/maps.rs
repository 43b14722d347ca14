//! Schemas of maps of texts: derives bound the number of their entries and the length of their values only by hand.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Labels, and selectors of them: values as Kubernetes allows them.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    map(0, 64, 63)
}

/// Annotations: values of 4 KiB at most.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    map(0, 64, 4096)
}

/// Settings of a role.
pub(super) fn settings(_: &mut SchemaGenerator) -> Schema {
    map(0, 64, 512)
}

/// A selector that must not select everything.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    map(1, 16, 63)
}

fn map(least: u32, most: u32, value: u32) -> Schema {
    let values = json_schema!({"type": "string", "maxLength": value});
    let mut schema = json_schema!({"type": "object", "maxProperties": most, "additionalProperties": values});
    if least > 0 {
        schema.insert("minProperties".to_owned(), least.into());
    }
    schema
}
