//! The JSON form: text messages, one object a line.

mod object;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use throng_core::message::MAX_DATA_BYTES;
use throng_core::{Cursor, Epoch, Gap, Lane, Message, RoomId};

use self::object::Object;
use crate::by_name::ByName;

use super::{
    Body, Command, Error, Event, GoAway, Hello, Join, Ok, Publish, PublishState, Pull, ReadError, Reply, Request,
    Sealed,
};
use crate::codes::ErrorCode;
use crate::words::for_people;

// ---- reading

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest<'a> {
    #[serde(default)]
    id: u64,
    #[serde(borrow)]
    hello: Option<ByName<RawHello<'a>>>,
    #[serde(borrow)]
    join: Option<ByName<RawJoin<'a>>>,
    #[serde(borrow)]
    leave: Option<ByName<RawLeave<'a>>>,
    #[serde(borrow)]
    publish: Option<ByName<RawPublish<'a>>>,
    #[serde(borrow)]
    pull: Option<ByName<RawPull<'a>>>,
    #[serde(borrow)]
    refresh: Option<ByName<RawRefresh<'a>>>,
    ping: Option<ByName<RawPing>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHello<'a> {
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resume: Option<Cow<'a, str>>,
    #[serde(default)]
    rooms: BTreeMap<String, ByName<Cursor>>,
    max_rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJoin<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
    #[serde(default)]
    history: u32,
    since: Option<ByName<Cursor>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLeave<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPublish<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
    lane: Option<Lane>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ack: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPull<'a> {
    #[serde(borrow)]
    room: Cow<'a, str>,
    epoch: Option<Epoch>,
    lane: Lane,
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRefresh<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPing {}

/// Messages that a pull gives where it asks for no number.
pub const DEFAULT_PULL_LIMIT: u32 = 100;
/// Longest `key` of a publish, in bytes.
pub const MAX_KEY_BYTES: usize = 128;

/// Reads all objects of a text message.
pub fn read(message: &[u8], each: &mut impl FnMut(Result<Request, ReadError>)) {
    if memchr_newline(message) {
        read_many(message, each);
    } else {
        each(read_one(message));
    }
}

fn memchr_newline(message: &[u8]) -> bool {
    message.contains(&b'\n')
}

/// Several objects: first as raw values, so that one with a wrong field does not hide the next.
fn read_many(message: &[u8], each: &mut impl FnMut(Result<Request, ReadError>)) {
    let mut none = true;
    for raw in serde_json::Deserializer::from_slice(message).into_iter::<&RawValue>() {
        none = false;
        match raw {
            Ok(raw) => each(read_one(raw.get().as_bytes())),
            Err(error) => return each(Err(ReadError::bad(0, format!("not JSON: {}", for_people(&error))))),
        }
    }
    if none {
        each(Err(ReadError::bad(0, "the message holds no object")));
    }
}

fn read_one(object: &[u8]) -> Result<Request, ReadError> {
    let ByName(raw): ByName<RawRequest<'_>> = serde_json::from_slice(object)
        .map_err(|error| ReadError::bad(id_of(object), format!("not a command: {}", for_people(&error))))?;
    let id = raw.id;
    let mut commands = Vec::with_capacity(1);
    commands.extend(raw.hello.map(|ByName(hello)| hello.check()));
    commands.extend(raw.join.map(|ByName(join)| Result::Ok(join.into_command())));
    commands.extend(raw.leave.map(|ByName(leave)| Result::Ok(Command::Leave { room: leave.room.into_owned() })));
    commands.extend(raw.publish.map(|ByName(publish)| publish.check()));
    commands.extend(raw.pull.map(|ByName(pull)| Result::Ok(pull.into_command())));
    commands
        .extend(raw.refresh.map(|ByName(refresh)| Result::Ok(Command::Refresh { token: refresh.token.into_owned() })));
    commands.extend(raw.ping.map(|ByName(RawPing {})| Result::Ok(Command::Ping)));
    match (commands.pop(), commands.is_empty()) {
        (Some(command), true) => {
            let command = command.map_err(|(code, message)| ReadError { id, code, message })?;
            Result::Ok(Request { id, command })
        }
        (None, _) => {
            Err(ReadError::bad(id, "no command: give one of hello, join, leave, publish, pull, refresh, ping"))
        }
        _ => Err(ReadError::bad(id, "several commands in one object: send an object for each")),
    }
}

/// The id of an object that does not read as a command, so that the error still finds its way; else 0.
fn id_of(object: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Id {
        #[serde(default)]
        id: u64,
    }
    serde_json::from_slice::<ByName<Id>>(object).map_or(0, |ByName(Id { id })| id)
}

type Checked = Result<Command, (ErrorCode, String)>;

impl RawHello<'_> {
    fn check(self) -> Checked {
        super::check_hello(Hello {
            token: self.token.map(Cow::into_owned),
            resume: self.resume.map(Cow::into_owned),
            rooms: self.rooms.into_iter().map(|(room, ByName(cursor))| (room, cursor)).collect(),
            max_rate: self.max_rate,
        })
    }
}

impl RawJoin<'_> {
    fn into_command(self) -> Command {
        let since = self.since.map(|ByName(since)| since);
        Command::Join(Join { room: self.room.into_owned(), history: self.history, since })
    }
}

impl RawPublish<'_> {
    fn check(self) -> Checked {
        let data = self.data.map_or("null", RawValue::get);
        super::check_publish(Publish {
            room: self.room.into_owned(),
            lane: self.lane.unwrap_or(Lane::Normal),
            kind: self.kind.map_or_else(|| "text".to_owned(), Cow::into_owned),
            data: one_line(data.as_bytes()),
            key: self.key.map(Cow::into_owned),
            stored: super::read_ack(self.ack.as_deref())?,
        })
    }
}

impl RawPull<'_> {
    fn into_command(self) -> Command {
        Command::Pull(Pull {
            room: self.room.into_owned(),
            epoch: self.epoch,
            lane: self.lane,
            after: self.after,
            limit: self.limit.unwrap_or(DEFAULT_PULL_LIMIT),
        })
    }
}

/// A JSON value on one line: line breaks in it are white space only, because strings must escape theirs.
pub(super) fn one_line(value: &[u8]) -> Bytes {
    if value.len() <= MAX_DATA_BYTES && value.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        value.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect()
    } else {
        Bytes::copy_from_slice(value)
    }
}

// ---- writing

/// Appends one object; a line break before it if it is not the first.
pub fn write(reply: &Reply, message: &mut Vec<u8>) {
    separate(message);
    let mut object = Object::open(message);
    if reply.id != 0 {
        object.number("id", reply.id);
    }
    match &reply.body {
        Body::Ok(ok) => object.nested("ok", |o| write_ok(ok, o)),
        Body::Error(error) => object.nested("error", |o| write_error(error, o)),
        Body::Segment(s) => {
            object.nested("segment", |o| segment_fields(&s.room, s.epoch, s.messages.iter(), &s.gaps, o));
        }
        Body::Sealed(sealed) => object.nested("sealed", |o| write_sealed(sealed, o)),
        Body::Event(event) => object.nested("event", |o| write_event(event, o)),
        Body::GoAway(goaway) => object.nested("goaway", |o| write_goaway(goaway, o)),
    }
    object.close();
}

/// Appends a segment object.
pub fn write_segment<'m>(
    room: &RoomId,
    epoch: Epoch,
    messages: impl Iterator<Item = &'m Message>,
    gaps: &[Gap],
    out: &mut Vec<u8>,
) {
    separate(out);
    let mut object = Object::open(out);
    object.nested("segment", |o| segment_fields(room, epoch, messages, gaps, o));
    object.close();
}

fn separate(message: &mut Vec<u8>) {
    if !message.is_empty() {
        message.push(b'\n');
    }
}

fn write_ok(ok: &Ok, o: &mut Object<'_>) {
    o.text_if("user", ok.user.as_deref());
    o.text_if("resume", ok.resume.as_deref());
    o.number_if("ping_ms", ok.ping_ms.map(u64::from));
    if !ok.rooms.is_empty() {
        o.nested("rooms", |o| {
            for (room, recovered) in &ok.rooms {
                o.nested(room, |o| {
                    o.number("epoch", recovered.cursor.epoch.0);
                    o.seqs("seq", recovered.cursor.seq);
                    o.flag("recovered", recovered.recovered);
                    o.text_if("code", recovered.error.map(ErrorCode::as_str));
                });
            }
        });
    }
    o.text_if("room", ok.room.as_deref());
    o.text_if("state", ok.state.map(PublishState::as_str));
    o.number_if("epoch", ok.epoch.map(|epoch| epoch.0));
    o.number_if("lane", ok.lane.map(|lane| u64::from(lane.number())));
    if let Some(seq) = ok.seq {
        o.seqs("seq", seq);
    }
    o.number_if("seq", ok.number);
    o.number_if("members", ok.members);
    if let Some(recovered) = ok.recovered {
        o.flag("recovered", recovered);
    }
    if let Some(messages) = &ok.messages {
        o.messages(messages.iter());
    }
    o.gaps(&ok.gaps);
}

fn write_error(error: &Error, o: &mut Object<'_>) {
    o.text("code", error.code.as_str());
    o.text("message", &error.message);
    o.number_if("retry_ms", error.retry_ms);
}

fn segment_fields<'m>(
    room: &RoomId,
    epoch: Epoch,
    messages: impl Iterator<Item = &'m Message>,
    gaps: &[Gap],
    o: &mut Object<'_>,
) {
    o.text("room", room.as_str());
    o.number("epoch", epoch.0);
    o.messages(messages);
    o.gaps(gaps);
}

fn write_sealed(sealed: &Sealed, o: &mut Object<'_>) {
    o.text("room", sealed.room.as_str());
    o.number("epoch", sealed.epoch.0);
    o.seqs("last", sealed.last);
    o.number("next_epoch", sealed.next_epoch.0);
}

fn write_event(event: &Event, o: &mut Object<'_>) {
    o.text_if("room", event.room.as_ref().map(RoomId::as_str));
    o.text("kind", event.kind);
    o.number_if("members", event.members);
    if event.provisional {
        o.flag("provisional", true);
    }
    o.texts("joined", &event.joined);
    o.number_unless_zero("joined_others", event.joined_others);
    o.texts("left", &event.left);
    o.number_unless_zero("left_others", event.left_others);
    o.text_if("reason", event.reason.as_deref());
    if let Some(stamp) = event.stamp {
        o.number("epoch", stamp.epoch.0);
        o.number("lane", u64::from(stamp.lane.number()));
        o.number("seq", stamp.seq);
    }
    o.text_if("from", event.from.as_deref());
    o.text_if("type", event.message_type.as_deref());
    if let Some(data) = &event.data {
        o.raw("data", data);
    }
    o.number_if("at_ms", event.at_ms.map(|at| at.0));
}

fn write_goaway(goaway: &GoAway, o: &mut Object<'_>) {
    o.number("after_ms", goaway.after_ms);
    o.text("resume", &goaway.resume);
    o.text("reason", &goaway.reason);
}

impl PublishState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
        }
    }
}
