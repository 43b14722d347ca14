use super::*;
use proptest::prelude::*;

const GOOD: &[&str] = &[
    "Host: chat.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn request(line: &str, headers: &[&str]) -> Vec<u8> {
    format!("{line}\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
}

/// The good request with `headers` in place of those of the same names, and those that name nothing left out.
fn with(headers: &[&str]) -> Vec<u8> {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let kept = GOOD.iter().filter(|good| !headers.iter().any(|new| name(new) == name(good)));
    let new = headers.iter().filter(|new| !new.ends_with(": -"));
    request("GET /connect?x=1 HTTP/1.1", &kept.chain(new).copied().collect::<Vec<_>>())
}

fn status(bytes: &[u8]) -> u16 {
    match read(bytes, &Limits::default()) {
        Opening::NeedMore => 100,
        Opening::Upgrade(_) => 101,
        Opening::PlainHttp => 200,
        Opening::Bad(refusal) => refusal.status.number(),
    }
}

fn upgrade(bytes: &[u8]) -> Upgrade<'_> {
    match read(bytes, &Limits::default()) {
        Opening::Upgrade(upgrade) => upgrade,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_browsers_request_is_understood() {
    let bytes = [
        &with(&["Origin: https://example.com", "X-Forwarded-For: 1.2.3.4, 10.0.0.1", "x-forwarded-for: 10.0.0.2"])[..],
        b"\x81\x80early",
    ]
    .concat();
    let upgrade = upgrade(&bytes);
    assert_eq!((upgrade.path, upgrade.query), ("/connect", Some("x=1")));
    assert_eq!((upgrade.host, upgrade.origin), ("chat.example.com", Some("https://example.com")));
    assert_eq!(upgrade.forwarded_for().collect::<Vec<_>>(), ["1.2.3.4", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(upgrade.forwarded_for().next_back(), Some("10.0.0.2"));
    assert_eq!(upgrade.header("sec-websocket-VERSION"), Some("13"));
    assert_eq!(upgrade.header("Cookie"), None);
    assert_eq!(&bytes[upgrade.head_bytes..], b"\x81\x80early");
    assert!(upgrade.accept(None).ends_with(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
}

#[test]
fn names_and_tokens_are_compared_in_any_case_and_inside_lists() {
    assert_eq!(status(&with(&["UPGRADE: WebSocket", "connection: keep-alive, UPGRADE"])), 101);
    assert_eq!(status(&with(&["Upgrade: h2c, websocket", "Connection: keep-alive", "Connection: upgrade"])), 101);
    assert_eq!(status(&with(&["Connection: upgraded"])), 400);
}

#[test]
fn the_clients_preference_decides_among_the_subprotocols_that_the_server_knows() {
    let bytes = with(&["Sec-WebSocket-Protocol: other, throng.v1.proto", "sec-websocket-protocol: throng.v1.json"]);
    let upgrade = upgrade(&bytes);
    assert_eq!(upgrade.subprotocols().collect::<Vec<_>>(), ["other", "throng.v1.proto", "throng.v1.json"]);
    assert_eq!(upgrade.choose_subprotocol(&["throng.v1.json", "throng.v1.proto"]), Some("throng.v1.proto"));
    assert_eq!(upgrade.choose_subprotocol(&["Other"]), None, "names are exact");
    let answer = upgrade.accept(upgrade.choose_subprotocol(&["throng.v1.json"]));
    assert!(answer.ends_with(b"\r\nSec-WebSocket-Protocol: throng.v1.json\r\n\r\n"));
}

#[test]
fn targets_may_be_paths_or_whole_addresses() {
    for (target, path, query) in [
        ("/connect", "/connect", None),
        ("/connect?", "/connect", Some("")),
        ("/a%20b?c=/d?e", "/a%20b", Some("c=/d?e")),
        ("/x?to=http://example.com/", "/x", Some("to=http://example.com/")),
        ("http://example.com/connect?x", "/connect", Some("x")),
        ("HTTPS://example.com/", "/", None),
    ] {
        let bytes = request(&format!("GET {target} HTTP/1.1"), GOOD);
        let upgrade = upgrade(&bytes);
        assert_eq!((upgrade.path, upgrade.query), (path, query), "{target}");
    }
    for target in ["*", "connect", "/a#b", "ftp://example.com/", "http://example.com"] {
        assert_eq!(status(&request(&format!("GET {target} HTTP/1.1"), GOOD)), 400, "{target}");
    }
}

#[test]
fn requests_that_ask_for_no_websocket_are_left_to_the_http_server() {
    assert_eq!(status(&request("GET / HTTP/1.1", &["Host: a"])), 200);
    assert_eq!(status(&request("POST /v1/rooms HTTP/1.1", &["Host: a", "Content-Length: 2"])), 200);
    assert_eq!(status(&request("GET /healthz HTTP/1.0", &["Accept: */*"])), 200);
    assert_eq!(status(&request("GET / HTTP/1.1", &["Host: a", "Upgrade: h2c", "Connection: Upgrade"])), 200);
}

#[test]
fn each_rule_of_the_handshake_is_enforced() {
    for (why, bytes, expected) in [
        ("method", request("POST / HTTP/1.1", GOOD), 400),
        ("version of HTTP", request("GET / HTTP/1.0", GOOD), 400),
        ("upgrade dropped by a proxy", with(&["Upgrade: -"]), 400),
        ("connection dropped by a proxy", with(&["Connection: -"]), 400),
        ("old version", with(&["Sec-WebSocket-Version: 8"]), 426),
        ("no version", with(&["Sec-WebSocket-Version: -"]), 426),
        ("two versions", with(&["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"]), 400),
        ("no key", with(&["Sec-WebSocket-Key: -"]), 400),
        ("short key", with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="]), 400),
        ("long key", with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSAgIA=="]), 400),
        ("key in no base64", with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ!!"]), 400),
        (
            "two keys",
            with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
            400,
        ),
        ("no host", with(&["Host: -"]), 400),
        ("two hosts", with(&["Host: a", "Host: b"]), 400),
        ("two origins", with(&["Origin: https://a", "Origin: https://b"]), 400),
        ("a body", with(&["Content-Length: 5"]), 400),
        ("a chunked body", with(&["Transfer-Encoding: chunked"]), 400),
        ("an empty body is none", with(&["Content-Length: 0"]), 101),
    ] {
        assert_eq!(status(&bytes), expected, "{why}");
    }
}

#[test]
fn what_is_no_http_is_refused_without_waiting_for_its_end() {
    assert_eq!(status(b""), 100);
    assert_eq!(status(b"GE"), 100);
    assert_eq!(status(b"\x16\x03\x01"), 400, "a TLS hello");
    assert_eq!(status(b" GET"), 400);
    assert_eq!(status(b"\r\n"), 400);
    assert_eq!(status(&[b'A'; 17]), 400);
    assert_eq!(status(b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n\r\n"), 400, "PROXY protocol version 1");
}

#[test]
fn lines_must_end_in_cr_lf() {
    assert_eq!(status(b"GET / HTTP/1.1\nHost: a\n\nGET /admin HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\nHost: a\n\n"), 100, "its end has not come");
}

#[test]
fn a_head_over_its_limit_is_refused_whether_it_ends_or_not() {
    let long = format!("X-Long: {}", "x".repeat(8 * 1024));
    assert_eq!(status(&with(&[&long])), 431);
    assert_eq!(status(&[&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 8 * 1024]].concat()), 431);
    let many = "A: b\r\n".repeat(65);
    assert_eq!(status(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), 431);
    let bytes = with(&[]);
    let exact = Limits { header_bytes: bytes.len(), ..Limits::default() };
    assert!(matches!(read(&bytes, &exact), Opening::Upgrade(_)));
    let short = Limits { header_bytes: bytes.len() - 1, ..Limits::default() };
    assert!(matches!(read(&bytes, &short), Opening::Bad(Refusal { status: Status::HeadersTooLarge, .. })));
}

#[test]
fn bytes_that_are_no_text_harm_only_their_own_header() {
    let mut bytes = with(&["Cookie: ?", "X-Forwarded-For: 1.2.3.4"]);
    let at = bytes.iter().position(|byte| *byte == b'?').map(|first| first + 1).expect("the query comes first");
    let at = at + bytes[at..].iter().position(|byte| *byte == b'?').expect("then the cookie");
    bytes[at] = 0xff;
    let upgrade = upgrade(&bytes);
    assert_eq!(upgrade.header("Cookie"), None);
    assert_eq!(upgrade.forwarded_for().next(), Some("1.2.3.4"));
}

/// Requests that are nearly right: known lines, lines of noise, and a byte changed here and there.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => prop::sample::select(GOOD).prop_map(String::from),
        1 => "[ -~]{0,40}",
        1 => "[A-Za-z-]{1,20}: [ -~]{0,40}",
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (prop::collection::vec(line, 0..9), edits).prop_map(|(lines, edits)| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut bytes = request("GET /connect HTTP/1.1", &lines);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    /// A head is incomplete until its last byte, and what was decided stays decided when more arrives.
    #[test]
    fn a_verdict_is_final(bytes in nearly_a_request(), tail in prop::collection::vec(any::<u8>(), 0..20)) {
        let limits = Limits::default();
        let all = [bytes, tail].concat();
        let first = (0..=all.len()).find(|&cut| read(&all[..cut], &limits) != Opening::NeedMore);
        if let Some(first) = first {
            let verdict = read(&all[..first], &limits);
            for cut in first..=all.len() {
                prop_assert_eq!(&read(&all[..cut], &limits), &verdict);
            }
        }
    }

    /// Arbitrary bytes never panic, and never wait beyond the limit.
    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), header_bytes in 0usize..200) {
        let limits = Limits { header_bytes, ..Limits::default() };
        if read(&bytes, &limits) == Opening::NeedMore {
            prop_assert!(bytes.len() <= header_bytes);
        }
    }
}
