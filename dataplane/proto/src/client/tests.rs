use super::*;
use proptest::prelude::*;
use prost::Message as _;
use throng_core::{Stamp, UserId};

fn read(format: Format, message: &[u8]) -> Vec<Result<Request, ReadError>> {
    let mut all = Vec::new();
    format.read(message, |frame| all.push(frame));
    all
}

fn json(text: &str) -> Result<Request, ReadError> {
    let mut all = read(Format::Json, text.as_bytes());
    assert_eq!(all.len(), 1);
    all.pop().unwrap()
}

fn written(body: Body) -> String {
    let mut out = Vec::new();
    Format::Json.write(&Reply { id: 3, body }, &mut out);
    serde_json::from_slice::<serde_json::Value>(&out).expect("what is written is JSON");
    String::from_utf8(out).unwrap()
}

fn message(seq: u64) -> Message {
    Message {
        lane: Lane::Normal,
        seq,
        from: UserId::new("ana").unwrap(),
        kind: "text".into(),
        data: Bytes::from_static(br#"{"text":"hi"}"#),
        at_ms: Millis(1_795_289_705_306),
    }
}

#[test]
fn every_command_of_the_documents_reads() {
    let hello = json(r#"{"id":1,"hello":{"token":"t","max_rate":20}}"#).unwrap();
    let expected = Hello { token: Some("t".into()), max_rate: Some(20), ..Hello::default() };
    assert_eq!(hello, Request { id: 1, command: Command::Hello(expected) });

    let resume = json(r#"{"id":1,"hello":{"resume":"r","rooms":{"final":{"epoch":7,"seq":[0,3,118,9]}}}}"#).unwrap();
    let Command::Hello(Hello { rooms, .. }) = resume.command else { panic!("not a hello") };
    assert_eq!(rooms["final"], Cursor { epoch: Epoch(7), seq: Seqs([0, 3, 118, 9]) });

    let publish =
        r#"{"id":3,"publish":{"room":"final","lane":2,"type":"text","data":{"text":"hi"},"key":"c-1","ack":"stored"}}"#;
    let Command::Publish(publish) = json(publish).unwrap().command else { panic!("not a publish") };
    assert_eq!(publish.data, r#"{"text":"hi"}"#);
    assert!(publish.stored);

    let Command::Join(join) = json(r#"{"id":2,"join":{"room":"final","history":20}}"#).unwrap().command else {
        panic!("not a join")
    };
    assert_eq!(join.history, 20);
    assert!(matches!(json(r#"{"leave":{"room":"final"}}"#).unwrap().command, Command::Leave { .. }));
    assert!(matches!(json(r#"{"ping":{}}"#).unwrap().command, Command::Ping));
    assert!(matches!(json(r#"{"id":9,"refresh":{"token":"t"}}"#).unwrap().command, Command::Refresh { .. }));
    let pull = json(r#"{"id":6,"pull":{"room":"final","epoch":7,"lane":2,"after":100,"limit":50}}"#).unwrap();
    assert!(matches!(pull.command, Command::Pull(Pull { limit: 50, after: 100, .. })));
}

#[test]
fn what_does_not_read_says_why_and_keeps_its_id() {
    for (text, id) in [
        ("", 0),
        ("nonsense", 0),
        ("[]", 0),
        (r#"{"id":7}"#, 7),
        (r#"{"id":7,"dance":{}}"#, 7),
        (r#"{"id":7,"join":{"room":"a","shoes":1}}"#, 7),
        (r#"{"id":7,"join":{"room":5}}"#, 7),
        (r#"{"id":7,"join":{}}"#, 7),
        (r#"{"id":7,"join":{"room":"a"},"leave":{"room":"a"}}"#, 7),
        (r#"{"id":7,"hello":{}}"#, 7),
        (r#"{"id":7,"hello":{"token":"a","resume":"b"}}"#, 7),
        (r#"{"id":7,"hello":{"token":"a","rooms":{"r":{"epoch":1,"seq":[0,0,0,0]}}}}"#, 7),
        (r#"{"id":7,"publish":{"room":"a","lane":4,"data":1}}"#, 7),
        (r#"{"id":7,"publish":{"room":"a","type":"","data":1}}"#, 7),
        (r#"{"id":7,"publish":{"room":"a","key":"","data":1}}"#, 7),
        (r#"{"id":7,"join":{"room":"a","since":{"epoch":1,"seq":[0,0]}}}"#, 7),
        (r#"{"id":-1,"ping":{}}"#, 0),
    ] {
        let error = json(text).expect_err(text);
        assert_eq!((error.id, error.code), (id, ErrorCode::BadRequest), "{text}");
        assert!(!error.message.is_empty());
    }
    let big = format!(r#"{{"id":7,"publish":{{"room":"a","data":"{}"}}}}"#, "x".repeat(40_000));
    assert_eq!(json(&big).unwrap_err().code, ErrorCode::TooLarge);
}

/// What serde derives reads a list as the fields in their order; here are all of them, as long as they are.
#[test]
fn a_list_is_no_object_wherever_an_object_belongs() {
    for text in [
        "[7,null,null,null,null,null,null,{}]",
        r#"[7,{"token":"t"},null,null,null,null,null,null]"#,
        r#"{"id":7,"hello":["t",null,{},20]}"#,
        r#"{"id":7,"hello":{"resume":"t","rooms":{"r":[1,[0,0,0,0]]}}}"#,
        r#"{"id":7,"hello":{"resume":"t","rooms":[]}}"#,
        r#"{"id":7,"join":["r1",0,null]}"#,
        r#"{"id":7,"join":{"room":"r1","since":[1,[0,0,0,0]]}}"#,
        r#"{"id":7,"leave":["final"]}"#,
        r#"{"id":7,"publish":["r1",2,"text",{"a":1},"k","accepted"]}"#,
        r#"{"id":7,"publish":{"room":"r1","ack":{"stored":null}}}"#,
        r#"{"id":7,"publish":{"room":"r1","ack":""}}"#,
        r#"{"id":7,"publish":{"room":"r1","lane":[2]}}"#,
        r#"{"id":7,"pull":["r1",7,2,0,100]}"#,
        r#"{"id":7,"refresh":["t"]}"#,
        r#"{"id":7,"ping":[]}"#,
    ] {
        let error = json(text).expect_err(text);
        let id = if text.starts_with('[') { 0 } else { 7 };
        assert_eq!((error.id, error.code), (id, ErrorCode::BadRequest), "{text}");
        assert!(!error.message.contains("struct"), "{text}: {error}");
        assert!(!["expected u", "a sequence"].iter().any(|word| error.message.contains(word)), "{text}: {error}");
    }
}

#[test]
fn several_objects_in_one_message_are_several_commands() {
    let all = read(Format::Json, b"{\"id\":1,\"ping\":{}}\n{\"id\":2,\"pang\":{}}\n{\"id\":3,\"ping\":{}}\n");
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].as_ref().map(|request| request.id), Ok(1));
    assert_eq!(all[1].as_ref().map_err(|error| error.id), Err(2));
    assert_eq!(all[2].as_ref().map(|request| request.id), Ok(3));
}

#[test]
fn data_never_breaks_the_line() {
    let all = read(Format::Json, b"{\"publish\":{\"room\":\"a\",\"data\":{\n \"text\": \"a\\nb\"\r\n}}}");
    let Ok(Request { command: Command::Publish(publish), .. }) = &all[0] else { panic!("{all:?}") };
    assert!(!publish.data.contains(&b'\n') && !publish.data.contains(&b'\r'));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&publish.data).unwrap()["text"], "a\nb");
}

#[test]
fn replies_are_written_as_documented() {
    let ok = Ok { user: Some("ana".into()), resume: Some("r".into()), ping_ms: Some(25_000), ..Ok::default() };
    assert_eq!(written(Body::Ok(Box::new(ok))), r#"{"id":3,"ok":{"user":"ana","resume":"r","ping_ms":25000}}"#);

    let joined = Ok {
        room: Some("final".into()),
        epoch: Some(Epoch(7)),
        seq: Some(Seqs([0, 3, 120, 9])),
        members: Some(1042),
        ..Ok::default()
    };
    let text = r#"{"id":3,"ok":{"room":"final","epoch":7,"seq":[0,3,120,9],"members":1042}}"#;
    assert_eq!(written(Body::Ok(Box::new(joined))), text);

    let published = Ok {
        state: Some(PublishState::Stored),
        epoch: Some(Epoch(7)),
        lane: Some(Lane::Normal),
        number: Some(121),
        ..Ok::default()
    };
    let text = r#"{"id":3,"ok":{"state":"stored","epoch":7,"lane":2,"seq":121}}"#;
    assert_eq!(written(Body::Ok(Box::new(published))), text);

    let limited = Error { code: ErrorCode::Limited, message: "slow \"down\"".into(), retry_ms: Some(180) };
    let text = r#"{"id":3,"error":{"code":"limited","message":"slow \"down\"","retry_ms":180}}"#;
    assert_eq!(written(Body::Error(limited)), text);

    let stamp = Some(Stamp { epoch: Epoch(7), lane: Lane::Normal, seq: 4 });
    let deleted = Event { room: RoomId::new("final").ok(), kind: "deleted", stamp, ..Event::default() };
    let text = r#"{"id":3,"event":{"room":"final","kind":"deleted","epoch":7,"lane":2,"seq":4}}"#;
    assert_eq!(written(Body::Event(Box::new(deleted))), text);
}

#[test]
fn a_segment_frame_is_the_same_written_either_way_and_several_share_a_message() {
    let room = RoomId::new("final").unwrap();
    let messages = vec![message(121), message(122)];
    let gaps = vec![Gap { epoch: Epoch(7), lane: Lane::Low, from: 9, to: 14 }];
    for format in Format::ALL {
        let mut one = Vec::new();
        format.write_segment(&room, Epoch(7), messages.iter(), &gaps, &mut one);
        let mut other = Vec::new();
        let frame =
            SegmentFrame { room: room.clone(), epoch: Epoch(7), messages: messages.clone(), gaps: gaps.clone() };
        format.write(&Reply { id: 0, body: Body::Segment(frame) }, &mut other);
        assert_eq!(one, other);
        let length = one.len();
        format.write_segment(&room, Epoch(7), messages.iter(), &gaps, &mut one);
        assert!(one.len() >= 2 * length);
    }
    let mut text = Vec::new();
    Format::Json.write_segment(&room, Epoch(7), messages.iter().take(1), &gaps, &mut text);
    assert_eq!(
        String::from_utf8(text).unwrap(),
        r#"{"segment":{"room":"final","epoch":7,"messages":[{"lane":2,"seq":121,"from":"ana","type":"text","data":{"text":"hi"},"at_ms":1795289705306}],"gaps":[{"epoch":7,"lane":3,"from":9,"to":14}]}}"#
    );
}

#[test]
fn protobuf_says_the_same_as_json() {
    use crate::wire::{ClientFrame, Publish as WirePublish, client_frame::Command as Wire};
    let publish = WirePublish {
        room: "final".into(),
        lane: Some(1),
        r#type: "gift".into(),
        data: Bytes::from_static(b"{\"text\":\"hi\"}"),
        key: "c-1".into(),
        ack: "stored".into(),
    };
    let mut bytes = ClientFrame { id: 3, command: Some(Wire::Publish(publish)) }.encode_length_delimited_to_vec();
    bytes.extend(ClientFrame { id: 4, command: Some(Wire::Ping(wire_ping())) }.encode_length_delimited_to_vec());
    let all = read(Format::Protobuf, &bytes);
    let text =
        r#"{"id":3,"publish":{"room":"final","lane":1,"type":"gift","data":{"text":"hi"},"key":"c-1","ack":"stored"}}"#;
    assert_eq!(all[0], json(text));
    assert_eq!(all[1], Result::Ok(Request { id: 4, command: Command::Ping }));
}

fn wire_ping() -> crate::wire::Ping {
    crate::wire::Ping {}
}

#[test]
fn protobuf_that_does_not_read_says_why() {
    use crate::wire::{ClientFrame, Publish as WirePublish, client_frame::Command as Wire};
    assert!(read(Format::Protobuf, b"")[0].is_err());
    assert!(read(Format::Protobuf, b"\xff\xff\xff\xff\xff")[0].is_err());
    let data = Bytes::from_static(b"{not json");
    let publish = WirePublish { room: "a".into(), data, ..WirePublish::default() };
    let frame = ClientFrame { id: 3, command: Some(Wire::Publish(publish)) };
    let error = read(Format::Protobuf, &frame.encode_length_delimited_to_vec()).pop().unwrap().unwrap_err();
    assert_eq!((error.id, error.code), (3, ErrorCode::BadRequest));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in Format::ALL {
            prop_assert!(!read(format, &bytes).is_empty());
        }
    }

    /// Any text and any JSON value come out as they went in, on one line.
    #[test]
    fn what_is_published_is_what_is_pushed(text in ".{0,60}", from in "[^\\p{Cc}]{1,20}") {
        let command = serde_json::json!({"id": 5, "publish": {"room": "r", "data": {"text": text}}}).to_string();
        let Result::Ok(Request { command: Command::Publish(publish), .. }) = json(&command) else { panic!("unread") };
        let pushed = Message { data: publish.data, from: UserId::new(&from).unwrap(), ..message(1) };
        let mut out = Vec::new();
        Format::Json.write_segment(&RoomId::new("r").unwrap(), Epoch(1), [&pushed].into_iter(), &[], &mut out);
        prop_assert!(!out.contains(&b'\n'));
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(&read["segment"]["messages"][0]["data"]["text"], &serde_json::Value::String(text));
        prop_assert_eq!(&read["segment"]["messages"][0]["from"], &serde_json::Value::String(from));
    }
}
