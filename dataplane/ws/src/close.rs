//! What a close frame says (RFC 6455 sections 5.5.1 and 7.4).

use crate::DecodeError;

/// Why the client closes. Its words are the client's: show them to nobody as the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// A code that may stand in a frame: 1000-1003, 1007-1014 or 3000-4999.
    pub code: u16,
    /// At most 123 bytes; often empty.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Reads the payload of a close frame; an empty one gives no reason at all.
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(DecodeError::CloseTruncated) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(DecodeError::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| DecodeError::BadUtf8)?;
        Ok(Some(Self { code, reason }))
    }
}

/// 1004 is undefined, 1005, 1006 and 1015 are for APIs only; 1012-1014 were registered with IANA after the RFC.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(code: u16, reason: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes()[..], reason].concat()
    }

    #[test]
    fn an_empty_close_has_no_code_and_one_byte_is_too_few() {
        assert_eq!(Close::parse(b""), Ok(None));
        assert_eq!(Close::parse(b"\x03"), Err(DecodeError::CloseTruncated));
    }

    #[test]
    fn codes_that_may_be_sent_pass_with_their_reason() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(Close::parse(&payload(code, b"bye")), Ok(Some(Close { code, reason: "bye" })));
        }
    }

    #[test]
    fn reserved_and_undefined_codes_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(Close::parse(&payload(code, b"")), Err(DecodeError::CloseCode(code)));
        }
    }

    #[test]
    fn a_reason_must_be_utf8() {
        assert_eq!(Close::parse(&payload(1000, b"\xff")), Err(DecodeError::BadUtf8));
    }
}
