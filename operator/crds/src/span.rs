//! Spans of time as people write them: `90s`, `30m`, `1h30m`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest text of a span, in characters.
pub const MAX_LENGTH: usize = 16;

/// A span of time in hours, minutes and seconds. Holds the text as it was written; [`Span::as_ms`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(String);

impl Span {
    /// Of a text that is taken as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its length in milliseconds; none if the text is not hours, minutes and seconds in this order, each at most once and
    /// of at most five digits.
    #[must_use]
    pub fn as_ms(&self) -> Option<u64> {
        let mut rest = self.0.as_str();
        let mut ms = 0;
        for (unit, unit_ms) in [('h', 3_600_000), ('m', 60_000), ('s', 1000)] {
            if let Some((digits, after)) = rest.split_once(unit) {
                let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
                ms += digits.parse::<u64>().ok().filter(|_| plain)? * unit_ms;
                rest = after;
            }
        }
        (rest.is_empty() && !self.0.is_empty()).then_some(ms)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": MAX_LENGTH})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_minutes_and_seconds_add_up() {
        for (text, ms) in [("90s", 90_000), ("30m", 1_800_000), ("1h30m", 5_400_000), ("0s", 0), ("1h1m1s", 3_661_000)]
        {
            assert_eq!(Span::new(text).as_ms(), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_none() {
        for text in ["", "30", "m", "-1s", "+1s", "1.5h", "30m1h", "1m1m", "1d", " 1s", "123456s", "500ms"] {
            assert_eq!(Span::new(text).as_ms(), None, "{text}");
        }
    }
}
