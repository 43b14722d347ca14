//! Between the frames of the gRPC and the language of the machines. What does not read ends its stream.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use throng_core::relay::{
    CaughtUp, Codec, Content, Downstream, GatheredRoom, LogPage, LogRange, OfflineMember, Packed, Page, Read,
    ReadError, Sealed, SessionChange, Subscription, Upstream,
};
use throng_core::{Cursor, Epoch, Lane, Millis, RoomId, SessionId};
use throng_proto::codes::ErrorCode;
use throng_proto::convert::{self, BadFrame};
use throng_proto::link::{self, chatroom_to_relay, gateway_to_message, message_to_gateway, relay_to_chatroom};

/// Segment bodies as `SegmentBody` of `link.proto`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body;

impl Codec for Body {
    fn open(&self, body: &Bytes) -> Option<Content> {
        let mut wire = link::SegmentBody::decode(body.clone()).ok()?;
        let keys = std::mem::take(&mut wire.keys).into_iter();
        let keys = keys.map(|key| Some((convert::lane(key.lane).ok()?, key.seq, key.key))).collect::<Option<_>>()?;
        let (messages, gaps) = convert::body(wire).ok()?;
        Some(Content { messages, gaps, keys })
    }

    fn close(&self, content: &Content) -> Bytes {
        let mut wire = convert::to_body(&content.messages, &content.gaps);
        let keys = content.keys.iter();
        let key =
            |lane: Lane, seq, key: &String| link::MessageKey { lane: lane.number().into(), seq, key: key.clone() };
        wire.keys = keys.map(|(lane, seq, text)| key(*lane, *seq, text)).collect();
        Bytes::from(wire.encode_to_vec())
    }
}

/// What a gateway says, beats aside.
pub(crate) enum GatewaySays {
    Subscribe(Subscription),
    Unsubscribe(RoomId),
    Read(RoomId, Read),
    Audit(Vec<RoomId>),
    Sessions { number: u64, full: bool, sent: Option<Millis>, changes: Vec<SessionChange> },
    Publish(RoomId, link::Publish),
}

/// What the owner of rooms says, beats aside.
pub(crate) enum OwnerSays {
    Subscribed(RoomId, Cursor, Vec<Sealed>),
    Segment(Packed),
    Sealed(RoomId, Sealed),
    Moved(RoomId, Epoch, String),
    Closed(RoomId, Arc<str>),
    Deleted(RoomId, Epoch, Lane, u64),
    Published(link::PublishReply),
    LogPage(RoomId, LogRange, LogPage),
}

/// Reads what a gateway says; none: a beat, a second Open, or something of a later version.
pub(crate) fn from_gateway(frame: link::GatewayToMessage) -> Result<Option<GatewaySays>, BadFrame> {
    use gateway_to_message::Kind;
    Ok(Some(match frame.kind {
        Some(Kind::Subscribe(wish)) => GatewaySays::Subscribe(Subscription {
            room: convert::room(&wish.room)?,
            // Epoch zero is none: no past to go on from.
            cursor: wish.cursor.as_ref().filter(|cursor| cursor.epoch > 0).map(convert::cursor).transpose()?,
            older: wish.older.iter().map(convert::cursor).collect::<Result<_, _>>()?,
            told: wish.told.iter().map(sealed).collect::<Result<_, _>>()?,
        }),
        Some(Kind::Unsubscribe(room)) => GatewaySays::Unsubscribe(convert::room(&room)?),
        Some(Kind::Pull(pull)) => {
            let read = Read::Pull {
                request: pull.request,
                epoch: Epoch(pull.epoch),
                lane: convert::lane(pull.lane)?,
                after: pull.after,
                limit: count(pull.limit),
            };
            GatewaySays::Read(convert::room(&pull.room)?, read)
        }
        Some(Kind::CatchUp(ask)) => {
            let request = ask.request;
            let until = ask.until.as_ref().map(convert::cursor).transpose()?;
            let read = match &ask.since {
                Some(since) => Read::CatchUp { request, since: convert::cursor(since)?, until },
                None => Read::History { request, limit: count(ask.limit), until },
            };
            GatewaySays::Read(convert::room(&ask.room)?, read)
        }
        Some(Kind::Sessions(batch)) => GatewaySays::Sessions {
            number: batch.number,
            full: batch.full,
            sent: (batch.sent_ms > 0).then_some(Millis(batch.sent_ms)),
            changes: batch.changes.iter().map(|change| session(change, batch.sent_ms)).collect::<Result<_, _>>()?,
        },
        Some(Kind::Publish(publish)) => GatewaySays::Publish(convert::room(&publish.room)?, publish),
        Some(Kind::Audit(list)) => GatewaySays::Audit(rooms(&list.rooms)?),
        Some(Kind::Open(_) | Kind::Beat(_)) | None => return Ok(None),
    }))
}

/// Reads what an owner says; none: a beat, its Open, or something of a later version.
pub(crate) fn from_owner(frame: link::ChatroomToRelay) -> Result<Option<OwnerSays>, BadFrame> {
    use chatroom_to_relay::Kind;
    Ok(Some(match frame.kind {
        Some(Kind::Segment(segment)) => OwnerSays::Segment(packed(segment)?),
        Some(Kind::Subscribed(subscribed)) => OwnerSays::Subscribed(
            convert::room(&subscribed.room)?,
            convert::cursor(subscribed.cursor.as_ref().ok_or(BadFrame::Missing("cursor"))?)?,
            subscribed.sealed.iter().map(sealed).collect::<Result<_, _>>()?,
        ),
        Some(Kind::Sealed(end)) => OwnerSays::Sealed(convert::room(&end.room)?, sealed(&end)?),
        Some(Kind::Moved(moved)) => OwnerSays::Moved(convert::room(&moved.room)?, Epoch(moved.epoch), moved.address),
        Some(Kind::Closed(closed)) => OwnerSays::Closed(convert::room(&closed.room)?, closed.reason.into()),
        Some(Kind::Delete(delete)) => OwnerSays::Deleted(
            convert::room(&delete.room)?,
            Epoch(delete.epoch),
            convert::lane(delete.lane)?,
            delete.seq,
        ),
        Some(Kind::Published(reply)) => OwnerSays::Published(reply),
        Some(Kind::LogPage(page)) => log_page(page)?,
        Some(Kind::Open(_) | Kind::Beat(_)) | None => return Ok(None),
    }))
}

fn log_page(page: link::LogPage) -> Result<OwnerSays, BadFrame> {
    let of = page.of.ok_or(BadFrame::Missing("of"))?;
    let (messages, _) = convert::body(page.body.unwrap_or_default())?;
    let range =
        LogRange { epoch: Epoch(of.epoch), lane: convert::lane(of.lane)?, after: of.after, limit: count(of.limit) };
    Ok(OwnerSays::LogPage(convert::room(&of.room)?, range, LogPage { messages, last: page.last }))
}

fn packed(segment: link::Segment) -> Result<Packed, BadFrame> {
    let (after, last) = (convert::seqs(&segment.after)?, convert::seqs(&segment.last)?);
    Ok(Packed {
        room: convert::room(&segment.room)?,
        epoch: Epoch(segment.epoch),
        after,
        last: after.max(last),
        body: segment.body,
    })
}

fn sealed(end: &link::Sealed) -> Result<Sealed, BadFrame> {
    Ok(Sealed { epoch: Epoch(end.epoch), last: convert::seqs(&end.last)?, next: Epoch(end.next_epoch) })
}

fn session(change: &link::SessionChange, sent_ms: u64) -> Result<SessionChange, BadFrame> {
    Ok(SessionChange {
        user: convert::user(&change.user)?,
        session: SessionId(change.session),
        conn_epoch: change.conn_epoch,
        online: change.online,
        joined: rooms(&change.joined)?,
        left: rooms(&change.left)?,
        ended: change.ended,
        connected: change.age_ms.map(|age_ms| Millis(sent_ms) - age_ms),
    })
}

fn rooms(names: &[String]) -> Result<Vec<RoomId>, BadFrame> {
    names.iter().map(|name| convert::room(name)).collect()
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

// ---- out

/// Writes what goes to a gateway.
pub(crate) fn to_gateway(message: Downstream) -> link::MessageToGateway {
    use message_to_gateway::Kind;
    frame(match message {
        Downstream::Segment(packed) => Kind::Segment(to_segment(packed)),
        Downstream::Subscribed { room, cursor, gaps, sealed } => Kind::Subscribed(link::Subscribed {
            room: room.as_str().to_owned(),
            cursor: Some(convert::to_cursor(cursor)),
            gaps: gaps.into_iter().map(convert::to_gap).collect(),
            sealed: sealed.iter().map(|sealed| to_sealed(&room, sealed)).collect(),
        }),
        Downstream::Sealed(room, sealed) => Kind::Sealed(to_sealed(&room, &sealed)),
        Downstream::Closed { room, reason } => {
            Kind::Closed(link::RoomClosed { room: room.as_str().to_owned(), reason: reason.as_ref().to_owned() })
        }
        Downstream::Lost(room) => Kind::Lost(room.as_str().to_owned()),
        Downstream::Deleted { room, epoch, lane, seq } => Kind::Delete(link::DeleteMessage {
            room: room.as_str().to_owned(),
            epoch: epoch.0,
            lane: u32::from(lane.number()),
            seq,
        }),
        Downstream::Pulled { request, answer } => Kind::Pulled(to_pulled(request, answer)),
        Downstream::CaughtUp { room, request, answer } => Kind::CaughtUp(to_caught_up(&room, request, answer)),
    })
}

/// Wraps one kind of message to a gateway.
pub(crate) fn frame(kind: message_to_gateway::Kind) -> link::MessageToGateway {
    link::MessageToGateway { kind: Some(kind) }
}

fn to_segment(packed: Packed) -> link::Segment {
    link::Segment {
        room: packed.room.as_str().to_owned(),
        epoch: packed.epoch.0,
        after: packed.after.0.to_vec(),
        last: packed.last.0.to_vec(),
        body: packed.body,
    }
}

fn to_sealed(room: &RoomId, sealed: &Sealed) -> link::Sealed {
    link::Sealed {
        room: room.as_str().to_owned(),
        epoch: sealed.epoch.0,
        last: sealed.last.0.to_vec(),
        next_epoch: sealed.next.0,
    }
}

fn to_pulled(request: u64, answer: Result<Page, ReadError>) -> link::Pulled {
    match answer {
        Ok(Page { epoch, content }) => link::Pulled {
            request,
            epoch: epoch.0,
            body: Some(convert::to_body(&content.messages, &content.gaps)),
            ..link::Pulled::default()
        },
        Err(error) => {
            let (code, message) = pull_failure(error);
            let code = code.as_str().to_owned();
            link::Pulled { request, code, message, ..link::Pulled::default() }
        }
    }
}

fn to_caught_up(room: &RoomId, request: u64, answer: Result<CaughtUp, ReadError>) -> link::CaughtUp {
    match answer {
        Ok(found) => link::CaughtUp {
            request,
            segments: found.segments.into_iter().map(to_segment).collect(),
            sealed: found.sealed.iter().map(|sealed| to_sealed(room, sealed)).collect(),
            recovered: found.recovered,
            gaps: found.gaps.into_iter().map(convert::to_gap).collect(),
            cursor: Some(convert::to_cursor(found.cursor)),
            ..link::CaughtUp::default()
        },
        Err(error) => {
            link::CaughtUp { request, code: code(error), message: error.to_string(), ..link::CaughtUp::default() }
        }
    }
}

/// A pull names its epoch, so that one which never was is not found; it has no cursor of which `join` would rid it.
fn pull_failure(error: ReadError) -> (ErrorCode, String) {
    match error {
        ReadError::UnknownEpoch | ReadError::NoEpoch => (ErrorCode::NotFound, ReadError::NoEpoch.to_string()),
        ReadError::Future => (ErrorCode::BadCursor, "`after` is ahead of the room's last number".to_owned()),
        _ => (ErrorCode::Unavailable, error.to_string()),
    }
}

fn code(error: ReadError) -> String {
    let code = match error {
        ReadError::Future | ReadError::UnknownEpoch | ReadError::NoEpoch => ErrorCode::BadCursor,
        _ => ErrorCode::Unavailable,
    };
    code.as_str().to_owned()
}

/// Writes what goes to the owner of rooms.
pub(crate) fn to_owner(message: Upstream) -> link::RelayToChatroom {
    use relay_to_chatroom::Kind;
    let kind = match message {
        Upstream::Subscribe(Subscription { room, cursor, older, told }) => Kind::Subscribe(link::SubscribeRoom {
            room: room.as_str().to_owned(),
            cursor: cursor.map(convert::to_cursor),
            older: older.into_iter().map(convert::to_cursor).collect(),
            told: told.iter().map(|sealed| to_sealed(&room, sealed)).collect(),
        }),
        Upstream::Unsubscribe(room) => Kind::Unsubscribe(room.as_str().to_owned()),
        Upstream::Audit(rooms) => {
            Kind::Audit(link::RoomList { rooms: rooms.iter().map(|room| room.as_str().to_owned()).collect() })
        }
        Upstream::ReadLog(room, LogRange { epoch, lane, after, limit }) => Kind::ReadLog(link::ReadLog {
            room: room.as_str().to_owned(),
            epoch: epoch.0,
            lane: u32::from(lane.number()),
            after,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        }),
        Upstream::Stale { slot, epoch } => Kind::Stale(link::Stale { slot: u32::from(slot.number()), epoch: epoch.0 }),
    };
    link::RelayToChatroom { kind: Some(kind) }
}

/// Writes the report of members whose gateway is gone.
pub(crate) fn to_offline(room: &RoomId, members: &[OfflineMember]) -> link::RelayToChatroom {
    let changes = members.iter().map(|member| link::MemberChange {
        user: member.user.as_str().to_owned(),
        session: member.session.0,
        conn_epoch: member.conn_epoch,
        join: true,
        offline_since_ms: member.since_ms.0,
    });
    let room = link::RoomChanges { room: room.as_str().to_owned(), full: false, changes: changes.collect() };
    let batch = link::MemberBatch { number: 0, rooms: vec![room] };
    link::RelayToChatroom { kind: Some(relay_to_chatroom::Kind::Offline(batch)) }
}

/// Writes what a promised relay knows.
pub(crate) fn to_gathered(room: GatheredRoom) -> link::GatheredRoom {
    link::GatheredRoom {
        seen: room.seen.into_iter().map(convert::to_cursor).collect(),
        sealed: room.sealed.iter().map(|sealed| to_sealed(&room.room, sealed)).collect(),
        tail: room.tail.into_iter().map(to_segment).collect(),
        room: room.room.as_str().to_owned(),
    }
}

/// A beat to a gateway.
pub(crate) fn beat_to_gateway() -> link::MessageToGateway {
    frame(message_to_gateway::Kind::Beat(link::Beat { at_ms: unix_ms().0 }))
}

/// A beat to an owner.
pub(crate) fn beat_to_owner() -> link::RelayToChatroom {
    let beat = link::Beat { at_ms: unix_ms().0 };
    link::RelayToChatroom { kind: Some(relay_to_chatroom::Kind::Beat(beat)) }
}

/// Unix time now.
pub(crate) fn unix_ms() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
