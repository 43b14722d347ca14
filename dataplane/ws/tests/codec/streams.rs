//! Properties of whole streams, shaped as a fuzzer would: structured ones, ones with bytes changed, and plain noise.

use bytes::Bytes;
use proptest::prelude::*;
use throng_ws::{DecodeError, Decoder, Flow, Limits, frame};

use super::client::{Connection, Frame, Outcome, Said, decode, masked};

const LIMITS: Limits = Limits { message_bytes: 400, fragments: 6, header_bytes: 0 };

/// What a well-behaved client does, and what the server must hear of it.
#[derive(Clone, Debug)]
struct Act {
    frames: Vec<Frame>,
    heard: Vec<Said>,
}

fn key() -> impl Strategy<Value = [u8; 4]> {
    prop_oneof![1 => Just([0; 4]), 4 => any::<[u8; 4]>()]
}

fn control() -> impl Strategy<Value = Act> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 0..=125), key()).prop_map(|(is_ping, payload, key)| {
        let (opcode, said) = if is_ping { (9, Said::Ping(payload.clone())) } else { (10, Said::Pong(payload.clone())) };
        Act { frames: vec![Frame { fin: true, opcode, payload, key }], heard: vec![said] }
    })
}

fn message() -> impl Strategy<Value = Act> {
    let body = prop_oneof![
        "\\PC{0,60}".prop_map(Said::Text),
        prop::collection::vec(any::<u8>(), 0..=400).prop_map(Said::Binary),
    ];
    let between = prop::collection::vec(control(), 0..3);
    (body, prop::collection::vec((any::<prop::sample::Index>(), between, key()), 0..5), key()).prop_map(
        |(body, pieces, last_key)| {
            let (opcode, payload) = match &body {
                Said::Text(text) => (1, text.clone().into_bytes()),
                Said::Binary(bytes) => (2, bytes.clone()),
                other => unreachable!("{other:?}"),
            };
            let mut act = Act { frames: Vec::new(), heard: Vec::new() };
            let mut rest = payload;
            let mut opcode = opcode;
            for (at, between, key) in pieces {
                let tail = rest.split_off(at.index(rest.len() + 1));
                act.frames.push(Frame { fin: false, opcode, payload: rest, key });
                (rest, opcode) = (tail, 0);
                for control in between {
                    act.frames.extend(control.frames);
                    act.heard.extend(control.heard);
                }
            }
            act.frames.push(Frame { fin: true, opcode, payload: rest, key: last_key });
            act.heard.push(body);
            act
        },
    )
}

fn conversation() -> impl Strategy<Value = Act> {
    let acts = prop::collection::vec(prop_oneof![2 => message(), 1 => control()], 0..6);
    let close = prop::option::of(prop_oneof![
        Just((Vec::new(), Said::Close(None))),
        (3000u16..5000, "[a-zé]{0,40}").prop_map(|(code, reason)| {
            ([&code.to_be_bytes()[..], reason.as_bytes()].concat(), Said::Close(Some((code, reason))))
        }),
    ]);
    (acts, close).prop_map(|(acts, close)| {
        let mut all = Act { frames: Vec::new(), heard: Vec::new() };
        for act in acts {
            all.frames.extend(act.frames);
            all.heard.extend(act.heard);
        }
        if let Some((payload, said)) = close {
            all.frames.push(Frame::new(true, 8, payload));
            all.heard.push(said);
        }
        all
    })
}

fn encode(act: &Act) -> Vec<u8> {
    act.frames.iter().flat_map(Frame::encode).collect()
}

/// The places right behind each head and each frame, where a decoder changes its mind about what it reads.
fn borders(act: &Act) -> Vec<usize> {
    let mut at = 0;
    let mut borders = Vec::new();
    for frame in &act.frames {
        at += frame.encode().len();
        borders.extend([at - frame.payload.len(), at]);
    }
    borders
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..20)
}

/// Streams that break rules: a conversation with bytes changed, a run of heads with small lengths, or plain noise.
fn unruly() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let edited = (conversation(), edits).prop_map(|(act, edits)| {
        let mut bytes = encode(&act);
        for (at, byte) in edits {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    });
    let first = prop::sample::select(vec![0x00u8, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a]);
    let heads = prop::collection::vec((first, 0x80u8..=0xff, prop::collection::vec(any::<u8>(), 4..20)), 0..20)
        .prop_map(|frames| {
            frames.into_iter().flat_map(|(first, second, rest)| [vec![first, second], rest].concat()).collect()
        });
    prop_oneof![3 => edited, 2 => heads, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    /// Whatever a client says within the rules is heard, in order, however its bytes are cut into reads.
    #[test]
    fn every_message_arrives_whatever_the_cuts(act in conversation(), cuts in cuts()) {
        let stream = encode(&act);
        let closes = matches!(act.heard.last(), Some(Said::Close(_)));
        let expected = Outcome { said: act.heard.clone(), error: None, open: !closes };
        prop_assert_eq!(&decode(&stream, &cuts, LIMITS), &expected);
        prop_assert_eq!(&decode(&stream, &[], LIMITS), &expected);
        prop_assert_eq!(&decode(&stream, &borders(&act), LIMITS), &expected);
        let mut slow = Connection::new(LIMITS);
        for byte in &stream {
            slow.read(std::slice::from_ref(byte));
        }
        prop_assert!(slow.is_idle());
        prop_assert_eq!(slow.frames as usize, act.frames.len());
        prop_assert_eq!(&slow.outcome, &expected);
    }

    /// Any bytes at all: no panic, no memory over the limits, and the same events and error however they are cut.
    #[test]
    fn cuts_change_nothing_about_broken_streams(stream in unruly(), cuts in cuts()) {
        let whole = decode(&stream, &[], LIMITS);
        prop_assert_eq!(&decode(&stream, &cuts, LIMITS), &whole);
        let everywhere: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&decode(&stream, &everywhere, LIMITS), &whole);
    }

    /// A text message is refused at the first byte that no text can have there, and not before.
    #[test]
    fn bad_text_fails_at_once(parts in prop::collection::vec(prop_oneof![
        3 => ".{0,6}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ], 0..6), cut in any::<prop::sample::Index>()) {
        let mut head = parts.concat();
        let text = head.clone();
        let tail = head.split_off(cut.index(head.len() + 1));
        let split = head.len();
        let mut connection = Connection::new(LIMITS);
        let hopeless = std::str::from_utf8(&text).err().filter(|error| error.error_len().is_some());
        // The byte that settles it is the first one whose prefix is no beginning of any text.
        let settled = hopeless.map(|_| (0..=text.len()).find(|&len| {
            std::str::from_utf8(&text[..len]).is_err_and(|error| error.error_len().is_some())
        }).unwrap_or_default());
        let mut taken = 0;
        for frame in [Frame::new(false, 1, head), Frame::new(true, 0, tail)] {
            let bytes = frame.encode();
            let head_bytes = bytes.len() - frame.payload.len();
            connection.read(&bytes[..head_bytes]);
            for byte in &bytes[head_bytes..] {
                connection.read(std::slice::from_ref(byte));
                taken += 1;
                let broken = connection.outcome.error.is_some();
                let ends_torn = taken == text.len() && std::str::from_utf8(&text).is_err();
                let expected = settled.is_some_and(|settled| taken >= settled) || ends_torn && frame.fin;
                prop_assert_eq!(broken, expected, "after {} bytes, split at {}", taken, split);
            }
        }
        let ok = std::str::from_utf8(&text).is_ok();
        prop_assert_eq!(connection.outcome.error, if ok { None } else { Some(DecodeError::BadUtf8) });
    }

    /// What the server encodes says the same when a client sends it back under a mask.
    #[test]
    fn frames_survive_the_round_trip(
        text in "\\PC{0,100}",
        binary in prop::collection::vec(any::<u8>(), 0..400),
        ping in prop::collection::vec(any::<u8>(), 0..=125),
        code in 3000u16..5000,
        reason in "[ -~]{0,123}",
        key: [u8; 4],
    ) {
        let frames: [Bytes; 5] = [
            frame::text(&text),
            frame::binary(&binary),
            frame::ping(&ping),
            frame::pong(&ping),
            frame::close(code, &reason),
        ];
        let stream: Vec<u8> = frames.iter().flat_map(|frame| masked(frame, key)).collect();
        let said = vec![
            Said::Text(text),
            Said::Binary(binary),
            Said::Ping(ping.clone()),
            Said::Pong(ping),
            Said::Close(Some((code, reason))),
        ];
        prop_assert_eq!(decode(&stream, &[], LIMITS), Outcome { said, error: None, open: false });
    }

    /// A sink that stops at its n-th event heard exactly the first n.
    #[test]
    fn a_stop_cuts_the_events_there(act in conversation(), stop_at in 1usize..6, cut in any::<prop::sample::Index>()) {
        let mut stream = encode(&act);
        let at = cut.index(stream.len() + 1);
        let (left, right) = stream.split_at_mut(at);
        let mut decoder = Decoder::default();
        let mut said: Vec<Said> = Vec::new();
        for input in [left, right] {
            let fed = decoder.feed(input, &LIMITS, &mut |event| {
                said.push(event.into());
                if said.len() >= stop_at { Flow::Stop } else { Flow::Continue }
            });
            prop_assert!(fed.is_ok());
        }
        let heard = act.heard.len().min(stop_at);
        prop_assert_eq!(&said, &act.heard[..heard]);
    }
}

#[test]
fn a_large_message_in_many_small_reads_is_kept_once() {
    let limits = Limits { message_bytes: 1 << 20, ..Limits::default() };
    let payload: Vec<u8> = (0u32..1 << 20).map(|i| (i % 251) as u8).collect();
    let stream = Frame::new(true, 2, payload.clone()).encode();
    let mut connection = Connection::new(limits);
    for read in stream.chunks(1000) {
        connection.read(read);
    }
    assert_eq!(connection.outcome.said, [Said::Binary(payload)]);
    assert!(connection.is_idle());
}
