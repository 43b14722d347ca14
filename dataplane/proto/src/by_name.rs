//! Objects that are written as objects.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A `T` whose fields go by their names: read from an object and from nothing else.
///
/// What `serde` derives also takes a list, as the fields in the order in which the code declares them. Nobody means that,
/// and whoever used it would break when a field is added. The fields are read as they come, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a wrapper and nothing else")]
pub struct ByName<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_core::Cursor;

    #[test]
    fn an_object_reads_and_a_list_of_the_same_does_not() {
        let read = serde_json::from_str::<ByName<Cursor>>;
        assert_eq!(read(r#"{"epoch":7,"seq":[1,2,3,4]}"#).unwrap().0.seq.0, [1, 2, 3, 4]);
        for other in ["[7,[1,2,3,4]]", "[]", "7", "null", r#""epoch""#] {
            let error = read(other).unwrap_err().to_string();
            assert!(error.contains("expected an object"), "{other}: {error}");
        }
        assert!(read(r#"{"epoch":7}"#).unwrap_err().to_string().contains("missing field `seq`"));
    }
}
