//! The answers to a handshake: the switch to WebSocket, or a refusal that says what to do.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// Joined to a client's key, it proves that the answer comes from a WebSocket server (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Statuses of a refusal. Browsers hide them from a page's script, other clients and proxies see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The request is malformed.
    BadRequest,
    /// The caller may not: a foreign origin.
    Forbidden,
    /// There is nothing at this path.
    NotFound,
    /// Only WebSocket version 13 is served here; the answer says so.
    UpgradeRequired,
    /// Too many from this address.
    TooManyRequests,
    /// The HTTP head is over its limit.
    HeadersTooLarge,
    /// No room now; try again later.
    Unavailable,
}

impl Status {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::UpgradeRequired => 426,
            Self::TooManyRequests => 429,
            Self::HeadersTooLarge => 431,
            Self::Unavailable => 503,
        }
    }

    const fn phrase(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::UpgradeRequired => "Upgrade Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeadersTooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
        }
    }
}

/// A refused handshake. Write [`to_bytes`](Self::to_bytes), then close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: Status,
    /// A sentence for people, which becomes the body.
    pub reason: &'static str,
    /// When to come again, in seconds, if that helps.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal that says nothing of when to come again.
    #[must_use]
    pub const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason, retry_after_s: None }
    }

    /// The same, with a time after which it may go better.
    #[must_use]
    pub const fn retry_after_s(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The whole answer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { status, reason, retry_after_s } = self;
        let mut answer = format!("HTTP/1.1 {} {}\r\n", status.number(), status.phrase());
        if *status == Status::UpgradeRequired {
            answer.push_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n");
        } else {
            answer.push_str("Connection: close\r\n");
        }
        if let Some(seconds) = retry_after_s {
            let _ = write!(answer, "Retry-After: {seconds}\r\n");
        }
        let body_bytes = reason.len() + 1;
        let _ =
            write!(answer, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {body_bytes}\r\n\r\n{reason}\n");
        answer.into_bytes()
    }
}

/// The switch to WebSocket for a client's `key`; frames may follow at once. `subprotocol` must be one that it offered.
pub(crate) fn accept(key: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let proof = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n"
    );
    if let Some(subprotocol) = subprotocol {
        let _ = write!(answer, "Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    answer.push_str("\r\n");
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_gives_the_proof_of_the_rfc() {
        let answer = accept("dGhlIHNhbXBsZSBub25jZQ==", Some("chat"));
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(String::from_utf8(answer).expect("it is text"), expected);
    }

    #[test]
    fn a_refusal_reads_as_http_with_a_plain_body() {
        let answer = Refusal::new(Status::Unavailable, "The server is full; come again.").retry_after_s(3).to_bytes();
        let expected = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 3\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Length: 32\r\n\r\nThe server is full; come again.\n";
        assert_eq!(String::from_utf8(answer).expect("it is text"), expected);
    }

    #[test]
    fn every_refusal_is_an_answer_that_an_http_client_parses() {
        for status in [
            Status::BadRequest,
            Status::Forbidden,
            Status::NotFound,
            Status::UpgradeRequired,
            Status::TooManyRequests,
            Status::HeadersTooLarge,
            Status::Unavailable,
        ] {
            let answer = Refusal::new(status, "No.").to_bytes();
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut parsed = httparse::Response::new(&mut headers);
            let body_at = parsed.parse(&answer).expect("it is HTTP").unwrap();
            assert_eq!(parsed.code, Some(status.number()));
            assert_eq!(&answer[body_at..], b"No.\n");
            let version = parsed.headers.iter().find(|header| header.name == "Sec-WebSocket-Version");
            assert_eq!(version.is_some(), status == Status::UpgradeRequired);
        }
    }
}
