//! A number for everything that happened: two machines that ran the same seed compare it.

use std::fmt::{self, Write as _};

/// The number so far (FNV-1a; Fowler, Noll and Vo 1991).
#[derive(Clone, Debug)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds what happened at a time.
    pub(crate) fn note(&mut self, now_ms: u64, what: &impl fmt::Display) {
        let _ = write!(self, "{now_ms} {what};");
    }

    pub(crate) const fn value(&self) -> u64 {
        self.0
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = text.bytes().fold(self.0, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_known_digests() {
        for (text, is) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            let mut digest = Digest::default();
            digest.write_str(text).unwrap();
            assert_eq!(digest.value(), is, "{text}");
        }
    }
}
