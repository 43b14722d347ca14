//! The protobuf form: binary messages, length-delimited frames.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use serde_json::value::RawValue;
use throng_core::{Cursor, Epoch, Gap, Lane, Message, RoomId, Seqs};

use super::{Body, Command, Event, Hello, Join, Ok, Publish, PublishState, Pull, ReadError, Reply, Request, Sealed};
use crate::codes::ErrorCode;
use crate::wire;

// ---- reading

/// Reads all frames of a binary message. A frame that is no protobuf ends the reading: what follows has no bounds.
pub fn read(message: &[u8], each: &mut impl FnMut(Result<Request, ReadError>)) {
    let mut rest = message;
    if rest.is_empty() {
        return each(Err(ReadError::bad(0, "the message holds no frame")));
    }
    while !rest.is_empty() {
        match wire::ClientFrame::decode_length_delimited(&mut rest) {
            Result::Ok(frame) => each(read_one(frame)),
            Err(error) => {
                return each(Err(ReadError::bad(0, format!("not a length-delimited ClientFrame: {error}"))));
            }
        }
    }
}

fn read_one(frame: wire::ClientFrame) -> Result<Request, ReadError> {
    use wire::client_frame::Command as Wire;
    let id = frame.id;
    let command = match frame.command {
        None => Err((ErrorCode::BadRequest, "no command".to_owned())),
        Some(Wire::Hello(hello)) => read_hello(hello),
        Some(Wire::Join(join)) => read_join(join),
        Some(Wire::Leave(leave)) => Result::Ok(Command::Leave { room: leave.room }),
        Some(Wire::Publish(publish)) => read_publish(publish),
        Some(Wire::Pull(pull)) => read_pull(pull),
        Some(Wire::Refresh(refresh)) => Result::Ok(Command::Refresh { token: refresh.token }),
        Some(Wire::Ping(wire::Ping {})) => Result::Ok(Command::Ping),
    };
    match command {
        Result::Ok(command) => Result::Ok(Request { id, command }),
        Err((code, message)) => Err(ReadError { id, code, message }),
    }
}

type Checked = Result<Command, (ErrorCode, String)>;

fn read_hello(hello: wire::Hello) -> Checked {
    let mut rooms = BTreeMap::new();
    for (room, cursor) in hello.rooms {
        rooms.insert(room, read_cursor(&cursor)?);
    }
    super::check_hello(Hello {
        token: some_text(hello.token),
        resume: some_text(hello.resume),
        rooms,
        max_rate: hello.max_rate,
    })
}

fn read_join(join: wire::Join) -> Checked {
    let since = join.since.as_ref().map(read_cursor).transpose()?;
    Result::Ok(Command::Join(Join { room: join.room, history: join.history, since }))
}

fn read_publish(publish: wire::Publish) -> Checked {
    let data = if publish.data.is_empty() {
        Bytes::from_static(b"null")
    } else {
        serde_json::from_slice::<&RawValue>(&publish.data)
            .map_err(|error| (ErrorCode::BadRequest, format!("data is not one JSON value: {error}")))?;
        super::json::one_line(&publish.data)
    };
    super::check_publish(Publish {
        room: publish.room,
        lane: publish.lane.map_or(Result::Ok(Lane::Normal), read_lane)?,
        kind: some_text(publish.r#type).unwrap_or_else(|| "text".to_owned()),
        data,
        key: some_text(publish.key),
        stored: super::read_ack(some_text(publish.ack).as_deref())?,
    })
}

fn read_pull(pull: wire::Pull) -> Checked {
    Result::Ok(Command::Pull(Pull {
        room: pull.room,
        epoch: (pull.epoch != 0).then_some(Epoch(pull.epoch)),
        lane: read_lane(pull.lane)?,
        after: pull.after,
        limit: if pull.limit == 0 { super::json::DEFAULT_PULL_LIMIT } else { pull.limit },
    }))
}

fn read_lane(number: u32) -> Result<Lane, (ErrorCode, String)> {
    u8::try_from(number)
        .ok()
        .and_then(Lane::from_number)
        .ok_or_else(|| (ErrorCode::BadRequest, "a lane is 0, 1, 2 or 3".into()))
}

fn read_cursor(cursor: &wire::Cursor) -> Result<Cursor, (ErrorCode, String)> {
    let seq = cursor
        .seq
        .as_slice()
        .try_into()
        .map_err(|_| (ErrorCode::BadRequest, "seq holds four numbers, one a lane".to_owned()))?;
    Result::Ok(Cursor { epoch: Epoch(cursor.epoch), seq: Seqs(seq) })
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

// ---- writing

/// Appends one frame after its length.
pub fn write(reply: &Reply, message: &mut Vec<u8>) {
    use wire::server_frame::Body as Wire;
    let body = match &reply.body {
        Body::Ok(ok) => Wire::Ok(to_ok(ok)),
        Body::Error(error) => Wire::Error(wire::Error {
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            retry_ms: error.retry_ms.unwrap_or(0),
        }),
        Body::Segment(s) => Wire::Segment(to_segment(&s.room, s.epoch, s.messages.iter(), &s.gaps)),
        Body::Sealed(sealed) => Wire::Sealed(to_sealed(sealed)),
        Body::Event(event) => Wire::Event(to_event(event)),
        Body::GoAway(goaway) => Wire::Goaway(wire::GoAway {
            after_ms: goaway.after_ms,
            resume: goaway.resume.clone(),
            reason: goaway.reason.clone(),
        }),
    };
    append(&wire::ServerFrame { id: reply.id, body: Some(body) }, message);
}

/// Appends a segment frame.
pub fn write_segment<'m>(
    room: &RoomId,
    epoch: Epoch,
    messages: impl Iterator<Item = &'m Message>,
    gaps: &[Gap],
    out: &mut Vec<u8>,
) {
    let body = wire::server_frame::Body::Segment(to_segment(room, epoch, messages, gaps));
    append(&wire::ServerFrame { id: 0, body: Some(body) }, out);
}

fn append(frame: &wire::ServerFrame, message: &mut Vec<u8>) {
    let bytes = frame.encode_length_delimited_to_vec();
    message.extend_from_slice(&bytes);
}

fn to_segment<'m>(
    room: &RoomId,
    epoch: Epoch,
    messages: impl Iterator<Item = &'m Message>,
    gaps: &[Gap],
) -> wire::Segment {
    wire::Segment {
        room: room.as_str().to_owned(),
        epoch: epoch.0,
        messages: messages.map(to_message).collect(),
        gaps: gaps.iter().map(to_gap).collect(),
    }
}

fn to_message(message: &Message) -> wire::Message {
    wire::Message {
        lane: u32::from(message.lane.number()),
        seq: message.seq,
        from: message.from.as_str().to_owned(),
        r#type: message.kind.as_ref().to_owned(),
        data: message.data.clone(),
        at_ms: message.at_ms.0,
    }
}

fn to_gap(gap: &Gap) -> wire::Gap {
    wire::Gap { epoch: gap.epoch.0, lane: u32::from(gap.lane.number()), from: gap.from, to: gap.to }
}

fn to_ok(ok: &Ok) -> wire::Ok {
    let rooms = ok.rooms.iter().map(|(room, recovered)| {
        let code = recovered.error.map_or_else(String::new, |code| code.as_str().to_owned());
        let seq = recovered.cursor.seq.0.to_vec();
        let recovered = wire::Recovered { epoch: recovered.cursor.epoch.0, seq, recovered: recovered.recovered, code };
        (room.clone(), recovered)
    });
    wire::Ok {
        user: ok.user.clone().unwrap_or_default(),
        resume: ok.resume.clone().unwrap_or_default(),
        ping_ms: ok.ping_ms,
        rooms: rooms.collect(),
        room: ok.room.clone().unwrap_or_default(),
        epoch: ok.epoch.map(|epoch| epoch.0),
        seq: ok.seq.map_or_else(Vec::new, |seq| seq.0.to_vec()),
        members: ok.members,
        recovered: ok.recovered,
        state: ok.state.map_or_else(String::new, |state| PublishState::as_str(state).to_owned()),
        lane: ok.lane.map(|lane| u32::from(lane.number())),
        number: ok.number,
        messages: ok.messages.iter().flatten().map(to_message).collect(),
        gaps: ok.gaps.iter().map(to_gap).collect(),
    }
}

fn to_sealed(sealed: &Sealed) -> wire::Sealed {
    wire::Sealed {
        room: sealed.room.as_str().to_owned(),
        epoch: sealed.epoch.0,
        last: sealed.last.0.to_vec(),
        next_epoch: sealed.next_epoch.0,
    }
}

fn to_event(event: &Event) -> wire::Event {
    wire::Event {
        room: event.room.as_ref().map_or_else(String::new, ToString::to_string),
        kind: event.kind.to_owned(),
        members: event.members,
        provisional: event.provisional,
        joined: event.joined.clone(),
        joined_others: event.joined_others,
        left: event.left.clone(),
        left_others: event.left_others,
        reason: event.reason.clone().unwrap_or_default(),
        epoch: event.stamp.map(|stamp| stamp.epoch.0),
        lane: event.stamp.map(|stamp| u32::from(stamp.lane.number())),
        seq: event.stamp.map(|stamp| stamp.seq),
        from: event.from.clone().unwrap_or_default(),
        r#type: event.message_type.as_deref().unwrap_or_default().to_owned(),
        data: event.data.clone().unwrap_or_default(),
        at_ms: event.at_ms.map(|at| at.0),
    }
}
