//! A placement as a value of a world: cheap to copy, hexadecimal text when written down.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use throng_core::placement::Placement;

/// A placement that many hold and nobody changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(pub Arc<Placement>);

impl From<Placement> for Document {
    fn from(placement: Placement) -> Self {
        Self(Arc::new(placement))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.encode();
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pair = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        let bytes = bytes.ok_or_else(|| D::Error::custom("a placement is hexadecimal text"))?;
        Placement::decode(&bytes).map(Self::from).map_err(D::Error::custom)
    }
}
