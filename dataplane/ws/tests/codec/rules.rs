//! Each rule of RFC 6455 for the frames of a client, on bytes written by hand or by the test's own client.

use throng_ws::{DecodeError, Decoder, Event, Flow, Limits};

use super::client::{Connection, Frame, Outcome, Said, decode};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn stream(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::encode).collect()
}

fn outcome(frames: &[Frame]) -> Outcome {
    decode(&stream(frames), &[], Limits::default())
}

fn refused(frames: &[Frame]) -> (u16, DecodeError) {
    let error = outcome(frames).error.expect("it breaks a rule");
    (error.close_code(), error)
}

#[test]
fn an_idle_connection_costs_sixteen_bytes_and_no_heap() {
    assert_eq!(size_of::<Decoder>(), 16);
    assert_eq!(Decoder::default().held_bytes(), 0);
}

#[test]
fn the_masked_hello_of_the_rfc_is_a_text_message() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&hello, &[], Limits::default()).said, [Said::Text("Hello".into())]);
}

#[test]
fn a_whole_frame_is_handed_out_from_the_read_buffer() {
    let mut scratch = Frame::new(true, BINARY, *b"payload").encode();
    let range = scratch.as_ptr_range();
    let mut decoder = Decoder::default();
    let mut seen = 0;
    let fed = decoder.feed(&mut scratch, &Limits::default(), &mut |event| {
        let Event::Binary(payload) = event else { unreachable!("{event:?}") };
        assert!(range.contains(&payload.as_ptr()), "no copy was made");
        seen += 1;
        Flow::Continue
    });
    assert_eq!((fed.map(|fed| fed.frames), seen), (Ok(1), 1));
}

#[test]
fn a_payload_that_comes_right_after_its_head_leaves_nothing_behind() {
    let mut connection = Connection::new(Limits::default());
    for frame in [Frame::new(true, TEXT, *b"one"), Frame::new(true, PING, *b"?"), Frame::new(true, TEXT, *b"two")] {
        let bytes = frame.encode();
        connection.read(&bytes[..6]);
        assert!(!connection.is_idle());
        connection.read(&bytes[6..]);
        assert!(connection.is_idle());
    }
    let said = vec![Said::Text("one".into()), Said::Ping(b"?".into()), Said::Text("two".into())];
    assert_eq!(connection.outcome, Outcome { said, error: None, open: true });
}

#[test]
fn fragments_become_one_message_and_control_frames_come_between() {
    let frames = [
        Frame::new(false, TEXT, *b"one "),
        Frame::new(true, PING, *b"?"),
        Frame::new(false, CONTINUATION, *b""),
        Frame::new(true, PONG, *b"!"),
        Frame::new(true, CONTINUATION, *b"message"),
        Frame::new(true, BINARY, *b""),
    ];
    let mut connection = Connection::new(Limits::default());
    connection.read(&stream(&frames));
    let expected =
        [Said::Ping(b"?".into()), Said::Pong(b"!".into()), Said::Text("one message".into()), Said::Binary(Vec::new())];
    assert_eq!(connection.outcome, Outcome { said: expected.into(), error: None, open: true });
    assert_eq!(connection.frames, 6, "fragments and control frames count");
    assert!(connection.is_idle());
}

#[test]
fn a_close_is_the_last_event_whatever_follows() {
    let frames = [Frame::new(true, CLOSE, *b"\x0f\xa0bye"), Frame::new(true, TEXT, *b"more")];
    let said = vec![Said::Close(Some((4000, "bye".into())))];
    assert_eq!(outcome(&frames), Outcome { said, error: None, open: false });
    assert_eq!(outcome(&[Frame::new(true, CLOSE, *b"")]).said, [Said::Close(None)]);
}

#[test]
fn a_close_must_be_well_formed() {
    assert_eq!(refused(&[Frame::new(true, CLOSE, *b"\x03")]), (1002, DecodeError::CloseTruncated));
    assert_eq!(refused(&[Frame::new(true, CLOSE, *b"\x03\xed")]), (1002, DecodeError::CloseCode(1005)));
    assert_eq!(refused(&[Frame::new(true, CLOSE, *b"\x03\xe8\xff")]), (1007, DecodeError::BadUtf8));
}

#[test]
fn frames_out_of_turn_are_refused() {
    let text = |fin| Frame::new(fin, TEXT, *b"a");
    let continuation = |fin| Frame::new(fin, CONTINUATION, *b"b");
    assert_eq!(refused(&[continuation(true)]), (1002, DecodeError::NothingToContinue));
    assert_eq!(refused(&[text(true), continuation(false)]), (1002, DecodeError::NothingToContinue));
    assert_eq!(refused(&[text(false), text(true)]), (1002, DecodeError::MessageInsideMessage));
    assert_eq!(refused(&[text(false), continuation(true), continuation(true)]), (1002, DecodeError::NothingToContinue));
    assert_eq!(refused(&[Frame::new(false, PING, *b"")]), (1002, DecodeError::ControlFragmented));
    assert_eq!(refused(&[Frame::new(true, PONG, [0; 126])]), (1002, DecodeError::ControlTooLong));
}

#[test]
fn what_came_before_an_error_was_told_and_nothing_after_it_is() {
    let frames = [Frame::new(true, TEXT, *b"good"), Frame::new(true, 3, *b""), Frame::new(true, TEXT, *b"late")];
    let mut connection = Connection::new(Limits::default());
    connection.read(&stream(&frames));
    connection.read(&stream(&frames));
    let said = vec![Said::Text("good".into())];
    assert_eq!(connection.outcome, Outcome { said, error: Some(DecodeError::UnknownOpcode(3)), open: false });
}

#[test]
fn a_message_at_its_limit_passes_and_one_byte_more_does_not() {
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let too_big = Some(DecodeError::TooBig { limit_bytes: 1000 });
    for (first, second, error) in [(1000, 0, None), (600, 400, None), (1001, 0, too_big), (600, 401, too_big)] {
        let frames = [Frame::new(false, BINARY, vec![1; first]), Frame::new(true, CONTINUATION, vec![2; second])];
        assert_eq!(decode(&stream(&frames), &[500], limits).error, error, "{first} + {second}");
    }
    assert_eq!(too_big.map(DecodeError::close_code), Some(1009));
}

#[test]
fn a_message_in_too_many_fragments_is_refused_even_if_they_are_empty() {
    let endless = |count| {
        let mut frames = vec![Frame::new(false, TEXT, *b"")];
        frames.resize(count, Frame::new(false, CONTINUATION, *b""));
        frames
    };
    assert_eq!(outcome(&endless(64)).error, None);
    assert_eq!(refused(&endless(65)), (1009, DecodeError::TooManyFragments { limit: 64 }));
}

#[test]
fn an_announced_length_alone_reserves_nothing() {
    let mut connection = Connection::new(Limits::default());
    let head = [0x82, 0x80 + 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
    connection.read(&head);
    let mut decoder = Decoder::default();
    let fed = decoder.feed(&mut head.to_vec(), &Limits::default(), &mut |_| Flow::Continue);
    assert_eq!(fed.map(|fed| fed.open), Ok(true));
    assert!(decoder.held_bytes() < 256, "{} bytes for a promise", decoder.held_bytes());
}

#[test]
fn bad_text_is_refused_at_its_first_bad_byte_inside_a_frame_that_is_not_complete() {
    let bytes = Frame::new(true, TEXT, b"\xce\xba\xed\xa0\x80edited".to_vec()).encode();
    let mut connection = Connection::new(Limits::default());
    connection.read(&bytes[..6 + 3]);
    assert_eq!(connection.outcome.error, None, "a surrogate's first byte could become another character");
    connection.read(&bytes[6 + 3..6 + 4]);
    assert_eq!(connection.outcome.error, Some(DecodeError::BadUtf8));
}

#[test]
fn a_character_may_be_torn_by_fragments_but_not_by_the_end() {
    let torn = |end: &[u8]| [Frame::new(false, TEXT, b"\xe2\x82".to_vec()), Frame::new(true, CONTINUATION, end)];
    assert_eq!(outcome(&torn(b"\xac")).said, [Said::Text("€".into())]);
    assert_eq!(refused(&torn(b"")), (1007, DecodeError::BadUtf8));
}

#[test]
fn a_sink_that_stops_hears_no_more() {
    let mut bytes = stream(&[Frame::new(true, TEXT, *b"one"), Frame::new(true, TEXT, *b"two")]);
    let mut decoder = Decoder::default();
    let mut heard = 0;
    for _ in 0..2 {
        let fed = decoder.feed(&mut bytes, &Limits::default(), &mut |_| {
            heard += 1;
            Flow::Stop
        });
        assert_eq!(fed.map(|fed| fed.open), Ok(false));
    }
    assert_eq!(heard, 1);
}

#[test]
fn the_words_of_every_error_fit_into_a_close_frame() {
    let errors = [
        DecodeError::ReservedBits,
        DecodeError::UnknownOpcode(15),
        DecodeError::Unmasked,
        DecodeError::ControlFragmented,
        DecodeError::ControlTooLong,
        DecodeError::LengthNotShortest,
        DecodeError::NothingToContinue,
        DecodeError::MessageInsideMessage,
        DecodeError::CloseTruncated,
        DecodeError::CloseCode(u16::MAX),
        DecodeError::BadUtf8,
        DecodeError::TooBig { limit_bytes: usize::MAX },
        DecodeError::TooManyFragments { limit: u32::MAX },
    ];
    for error in errors {
        let words = error.to_string();
        let frame = throng_ws::frame::close(error.close_code(), &words);
        assert!(frame.ends_with(words.as_bytes()), "{words} is cut");
    }
}
