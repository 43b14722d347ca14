//! Bytes that are no WebSocket as RFC 6455 has it, or too much of it.

use std::net::Ipv4Addr;

use throng_e2e::raw::{BINARY, CLOSE, PING, Raw, TEXT, handshake, head, masked, rest, tcp, unmasked};
use throng_e2e::talk::Talk;
use tokio::io::AsyncWriteExt as _;

use crate::{SOON, plain};

const FRAGMENT: u8 = 0x01;
const CONTINUATION: u8 = 0x00;
const LAST: u8 = 0x80;

/// What is sent after a handshake, and the close code that answers it.
fn broken() -> Vec<(&'static str, Vec<u8>, u16)> {
    let huge = |length: u64| [&[TEXT, 0xff][..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
    let split = |parts: &[&[u8]]| parts.concat();
    let half = vec![b'x'; 40 * 1024];
    let endless: Vec<u8> = (0..65).flat_map(|_| masked(CONTINUATION, b"")).collect();
    vec![
        ("an unmasked frame", unmasked(TEXT, b"{}"), 1002),
        ("an unmasked ping", unmasked(PING, b""), 1002),
        ("a reserved bit", masked(TEXT | 0x40, b"{}"), 1002),
        ("an opcode that is not defined", masked(0x83, b""), 1002),
        ("a control opcode that is not defined", masked(0x8b, b""), 1002),
        ("a ping in fragments", masked(PING & 0x7f, b""), 1002),
        ("a ping of 126 bytes", masked(PING, &[0; 126]), 1002),
        ("a length in more bytes than it needs", vec![TEXT, 0xfe, 0, 5, 1, 2, 3, 4], 1002),
        ("a length beyond 2^63", huge(1 << 63), 1009),
        ("a continuation of nothing", masked(LAST, b"x"), 1002),
        ("a message inside a message", split(&[&masked(FRAGMENT, b"{"), &masked(TEXT, b"{}")]), 1002),
        ("a close of one byte", masked(CLOSE, &[3]), 1002),
        ("a close code that may not be sent", masked(CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("a frame that announces 2^62 bytes", huge(1 << 62), 1009),
        ("a frame that announces one byte too many", head(TEXT, 0x80, 64 * 1024 + 1), 1009),
        ("too much in two fragments", split(&[&masked(FRAGMENT, &half), &masked(CONTINUATION, &half)]), 1009),
        ("fragments without end", split(&[&masked(FRAGMENT, b"{"), &endless]), 1009),
        ("text that is not UTF-8", masked(TEXT, b"{\"id\":\xff}"), 1007),
        ("text that ends inside a letter", masked(TEXT, b"\xe2\x82"), 1007),
        ("a surrogate in two fragments", split(&[&masked(FRAGMENT, b"\xed"), &masked(LAST, b"\xa0\x80")]), 1007),
        ("a reason that is not UTF-8", masked(CLOSE, b"\x03\xe8\xff"), 1007),
        ("binary on a JSON connection", masked(BINARY, b"{}"), 1003),
        ("more than 100 pings a second", masked(PING, b"x").repeat(202), 4004),
        ("ten lines that are no JSON", masked(TEXT, b"no\n").repeat(22), 4004),
        ("more than 100 objects in a message", masked(TEXT, &b"{\"id\":1,\"ping\":{}}\n".repeat(202)), 4004),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_frame_gets_its_close_code_and_disturbs_nobody() {
    let dev = plain();
    let token = dev.token("mallory").unwrap();
    let talk = Talk::start(dev).unwrap();
    for round in (0..12).cycle() {
        if round == 0 && talk.is_enough() {
            break;
        }
        for (what, bytes, code) in broken() {
            let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
            // Before hello and after it, whole and cut.
            if round % 2 == 1 {
                raw.say_hello(&token).await.unwrap();
            }
            let cut = if round < 6 { bytes.len() } else { bytes.len().min(1 + round * 3) };
            raw.write(&bytes[..cut]).await;
            raw.write(&bytes[cut..]).await;
            let (closed, reason) = raw.closed(SOON).await.unwrap();
            assert_eq!(closed, code, "{what}, round {round}: {reason}");
        }
    }
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_within_the_limits_make_a_message_with_pings_between() {
    let dev = plain();
    let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
    let text = format!(r#"{{"id":1,"hello":{{"token":"{}"}}}}"#, dev.token("ana").unwrap());
    let (first, others) = text.split_at(1);
    raw.write(&masked(FRAGMENT, first.as_bytes())).await;
    let parts: Vec<&[u8]> = others.as_bytes().chunks(others.len().div_ceil(62)).collect();
    let (last, middle) = parts.split_last().unwrap();
    for part in middle {
        raw.write(&masked(CONTINUATION, part)).await;
    }
    raw.write(&masked(PING, b"between")).await;
    assert_eq!(raw.frame(SOON).await.unwrap().unwrap().opcode, 0xa, "a ping is answered inside a message");
    raw.write(&masked(LAST, last)).await;
    assert_eq!(raw.json(SOON).await.unwrap()["ok"]["user"], "ana");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openings_that_are_no_websocket_are_told_so_and_disturb_nobody() {
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let ours = handshake("/connect", "");
    let cases: Vec<(&str, String, &str)> = vec![
        ("noise", "\u{16}\u{3}\u{1}\u{2}\u{0}".into(), "400"),
        ("another path", handshake("/chat", ""), "404"),
        ("another method", ours.replacen("GET", "POST", 1), "400"),
        ("an old version", ours.replace("Version: 13", "Version: 8"), "426"),
        ("no version", ours.replace("Sec-WebSocket-Version: 13\r\n", ""), "426"),
        ("a short key", ours.replace("AAECAwQFBgcICQoLDA0ODw==", "AAEC"), "400"),
        ("two keys", handshake("/connect", "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"), "400"),
        ("no host", ours.replace("Host: throng\r\n", ""), "400"),
        ("HTTP/1.0", ours.replace("HTTP/1.1", "HTTP/1.0"), "400"),
        ("a body", handshake("/connect", "Content-Length: 5\r\n"), "400"),
        ("a header of 8 KiB", handshake("/connect", &format!("X: {}\r\n", "x".repeat(8 * 1024))), "431"),
        ("a header without end", format!("GET /connect HTTP/1.1\r\nX: {}", "x".repeat(9 * 1024)), "431"),
        ("100 header lines", handshake("/connect", &"X: y\r\n".repeat(100)), "431"),
    ];
    for (what, request, status) in cases {
        let mut stream = tcp(&dev.ready.url, Ipv4Addr::LOCALHOST, None).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream, SOON).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{what}: {answer}");
    }
    println!("{}", talk.undisturbed().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_message_on_each_of_300_connections_costs_no_more_than_its_bytes() {
    const CONNECTIONS: usize = 300;
    const HALF: usize = 60 * 1024;
    let dev = plain();
    let talk = Talk::start(dev).unwrap();
    let token = dev.token("mallory").unwrap();
    let before = dev.rss_bytes().unwrap();
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
        if number < 20 {
            raw.say_hello(&token).await.unwrap();
        }
        let mut part = head(TEXT, 0x80, 64 * 1024);
        part.extend(vec![b'x'; 4 + HALF]);
        raw.write(&part).await;
        held.push(raw);
    }
    talk.enough().await;
    let grown = dev.rss_bytes().unwrap().saturating_sub(before);
    let bound = CONNECTIONS as u64 * 68 * 1024 + 24 * 1024 * 1024;
    assert!(grown <= bound, "grew by {grown} bytes, at most {bound}");
    drop(held);
    println!("{} KiB a connection; {}", grown / 1024 / CONNECTIONS as u64, talk.undisturbed().unwrap());
}
