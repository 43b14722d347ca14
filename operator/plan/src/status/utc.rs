//! Instants as people and Kubernetes read them.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use throng_core::Millis;

/// An instant: milliseconds since the Unix epoch; RFC 3339 in UTC in JSON, such as `2026-12-31T12:00:00Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub Millis);

impl Utc {
    /// Of an instant as jiff has it; one before 1970 becomes the epoch.
    #[must_use]
    pub fn of(timestamp: Timestamp) -> Self {
        Self(Millis(u64::try_from(timestamp.as_millisecond()).unwrap_or(0)))
    }

    /// To the second, for people: the time of the day such as `12:02:00Z`, with the day if that is another than that of `since`.
    #[must_use]
    pub fn clock(self, since: Self) -> String {
        let of = |utc: Self| i64::try_from(utc.0.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let (Some(at), Some(since)) = (of(self), of(since)) else { return format!("{} ms", self.0.0) };
        let day = |at: Timestamp| at.strftime("%F").to_string();
        at.strftime(if day(at) == day(since) { "%TZ" } else { "%FT%TZ" }).to_string()
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = i64::try_from(self.0.0).map_err(S::Error::custom)?;
        serializer.collect_str(&Timestamp::from_millisecond(ms).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Utc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self::of).map_err(|_| D::Error::custom(format!("{text:?} is not an RFC 3339 instant")))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Utc {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Utc".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time", "maxLength": 40})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_rfc_3339_and_comes_back() {
        let noon = Utc(Millis(1_798_718_400_000));
        assert_eq!(serde_json::to_string(&noon).unwrap(), r#""2026-12-31T12:00:00Z""#);
        for utc in [noon, Utc(Millis(1_798_718_400_250)), Utc::default()] {
            let text = serde_json::to_string(&utc).unwrap();
            assert_eq!(serde_json::from_str::<Utc>(&text).unwrap(), utc, "{text}");
        }
    }

    #[test]
    fn people_read_the_time_of_the_day_and_the_day_where_it_is_another() {
        let at = |text: &str| serde_json::from_str::<Utc>(&format!("{text:?}")).unwrap();
        let noon = at("2026-12-31T12:00:00.250Z");
        assert_eq!(noon.clock(at("2026-12-31T11:57:00Z")), "12:00:00Z");
        assert_eq!(at("2027-01-01T00:03:00Z").clock(noon), "2027-01-01T00:03:00Z");
        assert_eq!(Utc(Millis(u64::MAX)).clock(noon), format!("{} ms", u64::MAX));
    }

    #[test]
    fn what_is_no_instant_is_an_error_and_no_panic() {
        for text in [r#""yesterday""#, "7", "null", r#""2026-13-01T00:00:00Z""#] {
            assert!(serde_json::from_str::<Utc>(text).is_err(), "{text}");
        }
        assert!(serde_json::to_string(&Utc(Millis(u64::MAX))).is_err());
    }
}
