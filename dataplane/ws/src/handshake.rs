//! The HTTP request that opens a connection (RFC 6455 section 4.2.1): an upgrade, a plain request, or neither.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Limits, Refusal, Status, response};

/// Header lines of one request. A browser sends about fifteen.
const MAX_HEADERS: usize = 64;

/// The longest HTTP method that is waited for; longer beginnings are no HTTP.
const MAX_METHOD_BYTES: usize = 16;

/// What the first bytes of a connection turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// The head is incomplete: come again with these bytes and more.
    NeedMore,
    /// A WebSocket client, well-formed. Whether it is welcome (path, origin, limits) is the caller's decision.
    Upgrade(Upgrade<'a>),
    /// Well-formed HTTP that asks for no WebSocket: hand the socket, with all bytes read so far, to an HTTP server.
    PlainHttp,
    /// Neither: answer with this and close.
    Bad(Refusal),
}

/// A request for WebSocket. Borrows from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// Size of the HTTP head. Bytes after it are frames of a client in a hurry: feed them to the decoder.
    pub head_bytes: usize,
    /// Path of the target, as sent: starts with `/`, percent-encoding left alone.
    pub path: &'a str,
    /// What follows the `?`, as sent.
    pub query: Option<&'a str>,
    /// Where the page came from, if the client is a browser.
    pub origin: Option<&'a str>,
    /// The host that the client meant.
    pub host: &'a str,
    key: &'a str,
    headers: Headers<'a>,
}

/// Name and value of each header line, in order.
type Headers<'a> = Vec<(&'a str, &'a [u8])>;

/// Reads the start of a connection.
///
/// `bytes` is everything since the connection (or its PROXY header) began. A head that trickles in costs one cheap scan a
/// call; it is parsed once, when its end is there. The verdict on a complete head does not depend on how it was cut.
#[must_use]
pub fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Opening<'a> {
    if !may_be_http(bytes) {
        return bad("This port speaks HTTP and WebSocket; this was neither.");
    }
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4);
    if end.unwrap_or(bytes.len()) > limits.header_bytes {
        return Opening::Bad(Refusal::new(Status::HeadersTooLarge, "The request's headers are too large."));
    }
    match end {
        None => Opening::NeedMore,
        Some(end) => parse(bytes.get(..end).unwrap_or_default()).unwrap_or_else(Opening::Bad),
    }
}

/// Whether a method and a space may be what `bytes` begins with. TLS, for one, is told at its first byte.
fn may_be_http(bytes: &[u8]) -> bool {
    let is_method = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
    let method_bytes = bytes.iter().take_while(|byte| is_method(byte)).count();
    method_bytes <= MAX_METHOD_BYTES && bytes.get(method_bytes).is_none_or(|byte| *byte == b' ' && method_bytes > 0)
}

fn parse(head: &[u8]) -> Result<Opening<'_>, Refusal> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    let complete = request.parse(head).map_err(|error| match error {
        httparse::Error::TooManyHeaders => {
            Refusal::new(Status::HeadersTooLarge, "The request has more than 64 header lines.")
        }
        _ => refusal("The request is not HTTP/1.1."),
    })?;
    if complete != httparse::Status::Complete(head.len()) {
        return Err(refusal("The lines of the request must end in CR LF."));
    }
    let headers: Headers<'_> = request.headers.iter().map(|line| (line.name, line.value)).collect();
    if !wants_websocket(&headers) {
        return Ok(Opening::PlainHttp);
    }
    let upgrade = Upgrade::parse(
        head.len(),
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
        request.version.unwrap_or_default(),
        headers,
    )?;
    Ok(Opening::Upgrade(upgrade))
}

/// A proxy that was not told to pass upgrades drops `Upgrade` and leaves the rest: such a request is refused with a word
/// about it, and not taken for plain HTTP.
fn wants_websocket(headers: &Headers<'_>) -> bool {
    has_token(headers, "Upgrade", "websocket") || values(headers, "Sec-WebSocket-Key").next().is_some()
}

impl<'a> Upgrade<'a> {
    fn parse(
        head_bytes: usize,
        method: &str,
        target: &'a str,
        minor_version: u8,
        headers: Headers<'a>,
    ) -> Result<Self, Refusal> {
        if method != "GET" {
            return Err(refusal("WebSocket begins with GET."));
        }
        if minor_version != 1 {
            return Err(refusal("WebSocket begins with HTTP/1.1."));
        }
        if !has_token(&headers, "Upgrade", "websocket") || !has_token(&headers, "Connection", "upgrade") {
            return Err(refusal(
                "The headers Upgrade: websocket and Connection: Upgrade must both be there; a proxy may have dropped one.",
            ));
        }
        if only(&headers, "Sec-WebSocket-Version")? != Some("13") {
            return Err(Refusal::new(Status::UpgradeRequired, "Only version 13 of WebSocket is spoken here."));
        }
        let key = only(&headers, "Sec-WebSocket-Key")?
            .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
            .ok_or(refusal("Sec-WebSocket-Key must be 16 bytes in base64."))?;
        let host = only(&headers, "Host")?.ok_or(refusal("The header Host is missing."))?;
        let origin = only(&headers, "Origin")?;
        let has_body = values(&headers, "Transfer-Encoding").next().is_some()
            || values(&headers, "Content-Length").any(|length| length != b"0");
        if has_body {
            return Err(refusal("A WebSocket handshake has no body."));
        }
        let (path, query) = split_target(target).ok_or(refusal("The request's target must be a path."))?;
        Ok(Self { head_bytes, path, query, origin, host, key, headers })
    }

    /// The value of a header by its name, in any case. The first one if there are several; none if it is not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        values(&self.headers, name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Subprotocols that the client offers, the preferred one first.
    #[must_use]
    pub fn subprotocols(&self) -> impl DoubleEndedIterator<Item = &'a str> {
        list(&self.headers, "Sec-WebSocket-Protocol")
    }

    /// The client's favourite among those that the server knows; names are compared exactly.
    #[must_use]
    pub fn choose_subprotocol<'b>(&self, known: &[&'b str]) -> Option<&'b str> {
        self.subprotocols().find_map(|offered| known.iter().find(|known| **known == offered).copied())
    }

    /// The addresses of `X-Forwarded-For`, the client's first and the nearest proxy's last. Anybody can send anything
    /// here: believe as many from the end as there are proxies of your own.
    #[must_use]
    pub fn forwarded_for(&self) -> impl DoubleEndedIterator<Item = &'a str> {
        list(&self.headers, "X-Forwarded-For")
    }

    /// The answer that switches to WebSocket. `subprotocol` comes from [`choose_subprotocol`](Self::choose_subprotocol);
    /// a browser closes the connection if it offered some and got another.
    #[must_use]
    pub fn accept(&self, subprotocol: Option<&str>) -> Vec<u8> {
        response::accept(self.key, subprotocol)
    }
}

/// Path and query of an origin-form or absolute-form target. A fragment has no place in either.
fn split_target(target: &str) -> Option<(&str, Option<&str>)> {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            rest.find('/').and_then(|at| rest.get(at..))?
        }
        _ => target,
    };
    if !path.starts_with('/') || path.contains('#') {
        return None;
    }
    Some(path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query))))
}

fn bad<'a>(reason: &'static str) -> Opening<'a> {
    Opening::Bad(refusal(reason))
}

const fn refusal(reason: &'static str) -> Refusal {
    Refusal::new(Status::BadRequest, reason)
}

/// The values of all headers of a name, without the blanks around them.
fn values<'a, 'h>(headers: &'h Headers<'a>, name: &'h str) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'h {
    headers.iter().filter(move |(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_ascii())
}

/// The value of a header that may come once at most: two of them could be read differently by a proxy and by us.
fn only<'a>(headers: &Headers<'a>, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut all = values(headers, name);
    let first = all.next();
    if all.next().is_some() {
        return Err(refusal("A header that must come once came twice: Host, Origin or one of Sec-WebSocket-*."));
    }
    first.map(std::str::from_utf8).transpose().map_err(|_| refusal("A header's value is not text."))
}

/// The items of a comma-separated header, which may be spread over several lines; what is not UTF-8 is left out.
fn list<'a, 'h>(headers: &'h Headers<'a>, name: &'h str) -> impl DoubleEndedIterator<Item = &'a str> + use<'a, 'h> {
    values(headers, name)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn has_token(headers: &Headers<'_>, name: &str, token: &str) -> bool {
    list(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
