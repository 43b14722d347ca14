//! Replies of Redis as plain values. Wrong shapes are [`StoreError::Unavailable`]: something answers that is not what we
//! spoke to before, and asking again is the only thing to do.

use redis::Value;

use crate::StoreError;

fn wrong(value: &Value) -> StoreError {
    let shape = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list",
        _ => "another kind of value",
    };
    StoreError::unavailable(format!("Redis answered with {shape} where the library does not expect it"))
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        other => Err(wrong(&other)),
    }
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => Err(wrong(&other)),
    }
}

pub(super) fn text(value: Value) -> Result<String, StoreError> {
    String::from_utf8(bytes(value)?)
        .map_err(|_| StoreError::unavailable("Redis answered with a text that is not UTF-8"))
}

pub(super) fn number(value: Value) -> Result<u64, StoreError> {
    match value {
        Value::Int(number) => Ok(u64::try_from(number).unwrap_or(0)),
        Value::Nil => Ok(0),
        other => text(other)?
            .parse()
            .map_err(|_| StoreError::unavailable("Redis answered with a text where a number belongs")),
    }
}

/// Texts two by two.
pub(super) fn pairs(value: Value) -> Result<Vec<(String, String)>, StoreError> {
    byte_pairs(value)?.into_iter().map(|(key, value)| Ok((key, text(Value::BulkString(value))?))).collect()
}

/// Texts and bytes two by two.
pub(super) fn byte_pairs(value: Value) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut values = array(value)?.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        pairs.push((text(key)?, bytes(value)?));
    }
    Ok(pairs)
}

/// Takes the next value of a list, or says that the list is too short.
pub(super) fn next(values: &mut impl Iterator<Item = Value>) -> Result<Value, StoreError> {
    values.next().ok_or_else(|| StoreError::unavailable("Redis answered with too few values"))
}
