//! What a message says: who, what kind, and one JSON value that is carried as it was written.

use bytes::Bytes;
use serde_json::value::RawValue;
use throng_core::message::{MAX_DATA_BYTES, MAX_DATA_DEPTH, depth};
use throng_proto::codes::ErrorCode;
use throng_proto::convert::MAX_KIND_BYTES;

use super::error::ApiError;
use super::input;

/// Who a message is from when the caller names nobody.
const DEFAULT_FROM: &str = "system";
/// What kind it is when the caller names none.
const DEFAULT_KIND: &str = "text";

/// Checked content, ready for the wire between Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) from: String,
    pub(super) kind: String,
    pub(super) data: Bytes,
}

impl Content {
    /// Checks what a caller gave; `data` that is missing is `null`, as in the client protocol.
    pub(super) fn new(from: Option<&str>, kind: Option<&str>, data: Option<&RawValue>) -> Result<Self, ApiError> {
        let from = input::user("from", from.unwrap_or(DEFAULT_FROM))?.as_str().to_owned();
        let kind = kind.unwrap_or(DEFAULT_KIND).to_owned();
        if !is_kind(&kind) {
            let message = format!("type has 1 to {MAX_KIND_BYTES} bytes and no control characters");
            return Err(ApiError::bad_request(message));
        }
        let data = compact(data.map_or("null", RawValue::get));
        if data.len() > MAX_DATA_BYTES {
            let message = format!("data has {} bytes, {MAX_DATA_BYTES} are allowed", data.len());
            return Err(ApiError::new(ErrorCode::TooLarge, message));
        }
        if depth(data.as_bytes()) > MAX_DATA_DEPTH {
            return Err(ApiError::bad_request(format!("data is nested more than {MAX_DATA_DEPTH} levels deep")));
        }
        Ok(Self { from, kind, data: data.into() })
    }
}

/// Whether a message may be of this kind: the client protocol refuses the same.
pub(super) fn is_kind(kind: &str) -> bool {
    !kind.is_empty() && kind.len() <= MAX_KIND_BYTES && !kind.chars().any(char::is_control)
}

/// A JSON text without white space between its parts: frames to clients are lines, so a line break must not travel.
/// Everything else stays as written, long numbers too.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let mut keep = |c: &char| {
        if in_text {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            in_text = !ends;
            return true;
        }
        in_text = *c == '"';
        !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    json.chars().filter(|c| keep(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            "[ \"\\\\\n\r\ta-c\u{7f}é]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let keys = "[ \"\\\\\na]{0,3}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(keys, inner, 0..4).prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn content_travels_on_one_line_and_means_the_same(value in any_json()) {
            let compacted = compact(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(serde_json::from_str::<Value>(&compacted).unwrap(), value.clone());
            prop_assert_eq!(compacted, value.to_string());
        }
    }

    #[test]
    fn a_number_longer_than_any_integer_is_carried_as_written() {
        assert_eq!(compact("[ 123456789012345678901234567890.10 ]"), "[123456789012345678901234567890.10]");
    }

    #[test]
    fn sender_and_kind_have_defaults_and_limits() {
        let content = Content::new(None, None, None).unwrap();
        assert_eq!((content.from.as_str(), content.kind.as_str(), &*content.data), ("system", "text", &b"null"[..]));
        let code = |result: Result<Content, ApiError>| result.unwrap_err().text().0;
        assert_eq!(code(Content::new(Some(""), None, None)), ErrorCode::BadId);
        assert_eq!(code(Content::new(None, Some(""), None)), ErrorCode::BadRequest);
        assert_eq!(code(Content::new(None, Some(&"k".repeat(65)), None)), ErrorCode::BadRequest);
        for kind in ["a\nb", "\t", "a\u{85}"] {
            assert_eq!(code(Content::new(None, Some(kind), None)), ErrorCode::BadRequest, "{kind:?}");
        }
        let large = raw(&format!("\"{}\"", "x".repeat(MAX_DATA_BYTES - 1)));
        assert_eq!(code(Content::new(None, None, Some(&large))), ErrorCode::TooLarge);
    }
}
