//! UTF-8 that arrives in pieces, refused at the first byte that no text can continue with.

use crate::DecodeError;

/// The text so far: whole characters, and the first bytes of one that is still arriving (at most three).
#[derive(Debug, Default)]
pub(crate) struct Text {
    whole: String,
    torn: [u8; 4],
    torn_len: u8,
}

impl Text {
    /// Takes the next piece. At most `may_follow_bytes` come after it, which bounds what is reserved ahead.
    pub(crate) fn push(&mut self, mut piece: &[u8], may_follow_bytes: usize) -> Result<(), DecodeError> {
        let grow = piece.len() + usize::from(self.torn_len);
        let ahead = reserve_ahead(self.whole.len(), self.whole.capacity(), grow, may_follow_bytes);
        self.whole.reserve_exact(ahead);
        while self.torn_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.mend(byte)?;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(text) => self.whole.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(DecodeError::BadUtf8),
            Err(error) => {
                let (whole, torn) = piece.split_at(error.valid_up_to());
                self.whole.push_str(simdutf8::basic::from_utf8(whole).map_err(|_| DecodeError::BadUtf8)?);
                for &byte in torn {
                    self.mend(byte)?;
                }
            }
        }
        Ok(())
    }

    /// The text, once all of it has come.
    pub(crate) fn finish(&self) -> Result<&str, DecodeError> {
        if self.torn_len > 0 { Err(DecodeError::BadUtf8) } else { Ok(&self.whole) }
    }

    /// Bytes taken so far.
    pub(crate) fn len(&self) -> usize {
        self.whole.len() + usize::from(self.torn_len)
    }

    /// Heap held, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.whole.capacity()
    }

    /// Adds one byte to the torn character and moves it over when it is whole.
    fn mend(&mut self, byte: u8) -> Result<(), DecodeError> {
        let end = usize::from(self.torn_len) + 1;
        let Some(torn) = self.torn.get_mut(..end) else { return Err(DecodeError::BadUtf8) };
        if let Some(last) = torn.last_mut() {
            *last = byte;
        }
        match std::str::from_utf8(torn) {
            Ok(character) => {
                self.whole.push_str(character);
                self.torn_len = 0;
            }
            Err(error) if error.error_len().is_some() => return Err(DecodeError::BadUtf8),
            Err(_) => self.torn_len += 1,
        }
        Ok(())
    }
}

/// How much to reserve beyond `len` so that `grow` bytes fit: doubling, so that many small pieces stay cheap, but never
/// beyond what may still follow. So a peer makes the server hold at most twice what it sent, and never over the limit.
pub(crate) fn reserve_ahead(len: usize, capacity: usize, grow: usize, may_follow: usize) -> usize {
    if capacity - len >= grow { 0 } else { grow.max(len).min(grow.saturating_add(may_follow)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(pieces: &[&[u8]]) -> Result<String, DecodeError> {
        let mut text = Text::default();
        for piece in pieces {
            text.push(piece, 0)?;
        }
        text.finish().map(Into::into)
    }

    #[test]
    fn a_character_may_be_torn_anywhere() {
        let euro = "€".as_bytes();
        assert_eq!(feed(&[&euro[..1], &euro[1..2], b"", &euro[2..]]), Ok("€".into()));
        assert_eq!(feed(&[b"a\xf0\x9f", b"\x98\x80b"]), Ok("a😀b".into()));
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused_at_its_end() {
        assert_eq!(feed(&[b"abc\xe2\x82"]), Err(DecodeError::BadUtf8));
    }

    #[test]
    fn surrogates_overlong_forms_and_what_lies_beyond_unicode_fail_at_their_second_byte() {
        for bad in [&b"\xed\xa0"[..], b"\xe0\x9f", b"\xf0\x8f", b"\xf4\x90", b"\xc3\x28"] {
            let mut text = Text::default();
            assert_eq!(text.push(&bad[..1], 0), Ok(()), "{bad:x?}");
            assert_eq!(text.push(&bad[1..], 0), Err(DecodeError::BadUtf8), "{bad:x?}");
        }
        for never in [b"\xc0", b"\xc1", b"\xf5", b"\xff", b"\x80"] {
            assert_eq!(Text::default().push(never, 0), Err(DecodeError::BadUtf8), "{never:x?}");
        }
    }

    /// Text with bytes thrown in that may break it.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => ".{0,8}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// However the bytes are cut, the first piece that contains a byte no text can have there is the one refused.
        #[test]
        fn the_first_impossible_byte_is_the_one_refused(bytes in nearly_text(), size in 1usize..9) {
            let mut text = Text::default();
            for (i, piece) in bytes.chunks(size).enumerate() {
                let so_far = &bytes[..i * size + piece.len()];
                let hopeless = std::str::from_utf8(so_far).is_err_and(|error| error.error_len().is_some());
                let taken = text.push(piece, bytes.len() - so_far.len());
                prop_assert_eq!(taken.is_err(), hopeless);
                if hopeless {
                    return Ok(());
                }
                prop_assert_eq!(text.len(), so_far.len());
                prop_assert!(text.capacity() <= bytes.len());
            }
            prop_assert_eq!(text.finish().ok(), std::str::from_utf8(&bytes).ok());
        }
    }
}
