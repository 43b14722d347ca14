//! Between the messages of a link and the words of a room.

use std::sync::Arc;

use prost::Message as _;
use throng_core::relay::read::MAX_MESSAGES;
use throng_core::relay::{LogPage, LogRange};
use throng_core::room::{
    Ack, Change, ChangeKind, Described, KnownKey, ListChange, ListEntry, MemberPage, MessageKey, Moved, Now, Overrides,
    Publish, Receipt, Refusal, RoomApplied, RoomChanges, RoomEvent, RoomState, Sealed, Settings, Subscription,
};
use throng_core::{Epoch, Millis, RoomId, Segment, SessionId, Stamp};
use throng_proto::codes::ErrorCode;
use throng_proto::convert::{self as base, BadFrame};
use throng_proto::link;

/// A publish of a user. Whatever it says of its session, it is held to the lists and limits of users.
pub(crate) fn publish(from: link::Publish) -> Result<(RoomId, Publish), BadFrame> {
    let publish = Publish {
        user: base::user(&from.user)?,
        session: Some(SessionId(from.session)),
        wish: base::lane(from.lane)?,
        best: base::lane(from.best_lane)?,
        kind: from.kind.into(),
        data: from.data,
        key: (!from.key.is_empty()).then(|| Arc::from(from.key)),
        ack: if from.stored { Ack::Stored } else { Ack::Accepted },
    };
    Ok((base::room(&from.room)?, publish))
}

pub(crate) fn published(request: u64, result: &Result<Receipt, Refusal>) -> link::PublishReply {
    match result {
        Ok(receipt) => link::PublishReply {
            request,
            epoch: receipt.stamp.epoch.0,
            lane: u32::from(receipt.stamp.lane.number()),
            seq: receipt.stamp.seq,
            stored: receipt.stored,
            ..link::PublishReply::default()
        },
        Err(refusal) => {
            let (code, retry_ms) = code_of(refusal);
            let stamp = match refusal {
                Refusal::NotStored { stamp } => Some(*stamp),
                _ => None,
            };
            link::PublishReply {
                request,
                code: code.as_str().to_owned(),
                message: refusal.to_string(),
                retry_ms,
                epoch: stamp.map_or(0, |stamp| stamp.epoch.0),
                lane: stamp.map_or(0, |stamp| u32::from(stamp.lane.number())),
                seq: stamp.map_or(0, |stamp| stamp.seq),
                stored: false,
                untaken: matches!(refusal, Refusal::Elsewhere(_)),
            }
        }
    }
}

pub(crate) fn published_to_server(result: &Result<Receipt, Refusal>) -> link::AdminReply {
    match result {
        Ok(_) => link::AdminReply { published: Some(published(0, result)), ..link::AdminReply::default() },
        Err(refusal) => link::AdminReply { published: Some(published(0, result)), ..refused("", refusal) },
    }
}

/// When to try a room again that is on its way to another Pod.
const MOVING_RETRY_MS: u64 = 100;

/// The code of the client protocol for a refusal, and when to try again.
pub(crate) fn code_of(refusal: &Refusal) -> (ErrorCode, u64) {
    match refusal {
        Refusal::RoomLimited { retry_ms } | Refusal::UserLimited { retry_ms } => (ErrorCode::Limited, *retry_ms),
        Refusal::Muted => (ErrorCode::Muted, 0),
        Refusal::Blocked => (ErrorCode::Blocked, 0),
        Refusal::NotJoined => (ErrorCode::NotJoined, 0),
        Refusal::TooManySessions => (ErrorCode::TooManyRooms, 0),
        Refusal::TooLarge { .. } => (ErrorCode::TooLarge, 0),
        Refusal::Elsewhere(_) => (ErrorCode::Unavailable, MOVING_RETRY_MS),
        Refusal::NotStored { .. } => (ErrorCode::NotStored, 0),
        Refusal::NotFound(_) => (ErrorCode::NotFound, 0),
        Refusal::List(_) => (ErrorCode::BadRequest, 0),
        _ => (ErrorCode::Internal, 0),
    }
}

/// A batch of membership changes.
pub(crate) fn changes(from: Vec<link::RoomChanges>, now: Now) -> Result<Vec<RoomChanges>, BadFrame> {
    let change = |change: link::MemberChange| {
        let kind = match (change.join, change.offline_since_ms) {
            (false, _) => ChangeKind::Leave,
            (true, 0) => ChangeKind::Join,
            (true, since) => ChangeKind::Away(now.mono_of(Millis(since))),
        };
        let user = base::user(&change.user)?;
        Ok(Change { user, session: SessionId(change.session), conn_epoch: change.conn_epoch, kind })
    };
    let room = |room: link::RoomChanges| {
        let changes = room.changes.into_iter().map(change).collect::<Result<_, BadFrame>>()?;
        Ok(RoomChanges { room: base::room(&room.room)?, full: room.full, changes })
    };
    from.into_iter().map(room).collect()
}

pub(crate) fn applied(number: u64, rooms: &[RoomApplied]) -> link::MembersApplied {
    let refused = |refused: &throng_core::room::Refused| link::Refused {
        session: refused.session.0,
        code: code_of(&refused.why).0.as_str().to_owned(),
        message: refused.why.to_string(),
    };
    let room = |room: &RoomApplied| link::RoomApplied {
        room: room.room.as_str().to_owned(),
        epoch: room.epoch.0,
        members: room.members,
        refused: room.refused.iter().map(refused).collect(),
        moved: room.moved.as_ref().map(|to| moved(&room.room, to)),
    };
    link::MembersApplied { number, rooms: rooms.iter().map(room).collect() }
}

/// A segment with the keys of its messages; its body is encoded once here.
pub(crate) fn segment(segment: &Segment, keys: Vec<MessageKey>) -> link::Segment {
    let key = |key: MessageKey| link::MessageKey {
        lane: u32::from(key.lane.number()),
        seq: key.seq,
        key: key.key.as_ref().to_owned(),
    };
    let body = link::SegmentBody {
        keys: keys.into_iter().map(key).collect(),
        ..base::to_body(&segment.messages, &segment.gaps)
    };
    link::Segment {
        room: segment.room.as_str().to_owned(),
        epoch: segment.epoch.0,
        after: segment.after.0.to_vec(),
        last: segment.last().0.to_vec(),
        body: body.encode_to_vec().into(),
    }
}

/// What a message Pod knows of a room, for the owner that gathers it.
pub(crate) fn gathered(from: link::GatheredRoom) -> Result<RoomState, BadFrame> {
    let mut state = RoomState::new(base::room(&from.room)?);
    for seen in &from.seen {
        let seen = base::cursor(seen)?;
        state.ends.push((seen.epoch, seen.seq));
    }
    for sealed in &from.sealed {
        let sealed = base::sealed(sealed)?;
        state.ends.push((sealed.epoch, sealed.last));
    }
    for segment in from.tail {
        let epoch = Epoch(segment.epoch);
        let body = link::SegmentBody::decode(segment.body)?;
        for message in body.messages {
            let message = base::message(message)?;
            let is = |key: &&link::MessageKey| (key.lane, key.seq) == (u32::from(message.lane.number()), message.seq);
            if let Some(key) = body.keys.iter().find(is) {
                let stamp = Stamp { epoch, lane: message.lane, seq: message.seq };
                let (user, key) = (message.from.clone(), Arc::from(key.key.as_str()));
                state.keys.push(KnownKey { user, key, stamp, at: message.at_ms });
            }
            state.messages.push((epoch, message));
        }
    }
    Ok(state)
}

pub(crate) fn moved(room: &RoomId, moved: &Moved) -> link::Moved {
    link::Moved {
        room: room.as_str().to_owned(),
        epoch: moved.epoch().0,
        address: moved.owner.as_ref().map_or_else(String::new, |owner| owner.address.as_ref().to_owned()),
    }
}

pub(crate) fn event(event: &RoomEvent) -> link::RoomEvent {
    let names = |users: &[throng_core::UserId]| users.iter().map(|user| user.as_str().to_owned()).collect();
    link::RoomEvent {
        room: event.room.as_str().to_owned(),
        members: event.members,
        provisional: event.provisional,
        joined: names(&event.joined),
        joined_others: event.joined_others,
        left: names(&event.left),
        left_others: event.left_others,
    }
}

pub(crate) fn sealed(sealed: &Sealed) -> link::Sealed {
    link::Sealed {
        room: sealed.room.as_str().to_owned(),
        epoch: sealed.epoch.0,
        last: sealed.last.0.to_vec(),
        next_epoch: sealed.next_epoch.0,
    }
}

fn read_sealed(from: &link::Sealed) -> Result<Sealed, BadFrame> {
    let base = base::sealed(from)?;
    Ok(Sealed { room: base.room, epoch: base.epoch, last: base.last, next_epoch: base.next_epoch })
}

pub(crate) fn subscription(from: &link::SubscribeRoom) -> Result<Subscription, BadFrame> {
    Ok(Subscription {
        room: base::room(&from.room)?,
        cursor: from.cursor.as_ref().map(base::cursor).transpose()?,
        older: from.older.iter().map(base::cursor).collect::<Result<_, _>>()?,
        told: from.told.iter().map(read_sealed).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn log_range(from: &link::ReadLog) -> Result<(RoomId, LogRange), BadFrame> {
    let limit = usize::try_from(from.limit).unwrap_or(usize::MAX).min(MAX_MESSAGES);
    let (epoch, lane) = (Epoch(from.epoch), base::lane(from.lane)?);
    Ok((base::room(&from.room)?, LogRange { epoch, lane, after: from.after, limit }))
}

pub(crate) fn log_page(room: &RoomId, range: LogRange, page: &LogPage) -> link::LogPage {
    let of = link::ReadLog {
        room: room.as_str().to_owned(),
        epoch: range.epoch.0,
        lane: u32::from(range.lane.number()),
        after: range.after,
        limit: u32::try_from(range.limit).unwrap_or(u32::MAX),
    };
    link::LogPage { of: Some(of), body: Some(base::to_body(&page.messages, &[])), last: page.last }
}

pub(crate) fn delete(room: &RoomId, stamp: Stamp) -> link::DeleteMessage {
    link::DeleteMessage {
        room: room.as_str().to_owned(),
        epoch: stamp.epoch.0,
        lane: u32::from(stamp.lane.number()),
        seq: stamp.seq,
    }
}

pub(crate) fn stamp(from: &link::DeleteMessage) -> Result<Stamp, BadFrame> {
    Ok(Stamp { epoch: Epoch(from.epoch), lane: base::lane(from.lane)?, seq: from.seq })
}

pub(crate) fn overrides(from: link::RoomSettings) -> Overrides {
    let types = from.protected_types;
    Overrides {
        messages_per_s: from.messages_per_second,
        user_messages_per_s: from.user_messages_per_second,
        destroy_at: from.destroy_at_ms.map(Millis),
        idle_ms: from.idle_ms,
        mute_all: from.mute_all,
        protected_types: (!types.is_empty()).then(|| types.into_iter().map(Arc::from).collect()),
        offline_after_ms: from.offline_after_ms,
        offline_after_messages: from.offline_after_messages,
    }
}

/// What a room has of its own, for its next owner.
pub(crate) fn to_overrides(own: &Overrides) -> link::RoomSettings {
    let types = own.protected_types.iter().flatten();
    link::RoomSettings {
        messages_per_second: own.messages_per_s,
        user_messages_per_second: own.user_messages_per_s,
        destroy_at_ms: own.destroy_at.map(|at| at.0),
        idle_ms: own.idle_ms,
        mute_all: own.mute_all,
        protected_types: types.map(|kind| kind.as_ref().to_owned()).collect(),
        offline_after_ms: own.offline_after_ms,
        offline_after_messages: own.offline_after_messages,
    }
}

fn settings(settings: &Settings) -> link::RoomSettings {
    link::RoomSettings {
        messages_per_second: Some(settings.messages_per_s),
        user_messages_per_second: Some(settings.user_messages_per_s),
        destroy_at_ms: settings.destroy_at.map(|at| at.0),
        idle_ms: Some(settings.idle_ms),
        mute_all: Some(settings.mute_all),
        protected_types: settings.protected_types.iter().map(|kind| kind.as_ref().to_owned()).collect(),
        offline_after_ms: Some(settings.offline_after_ms),
        offline_after_messages: Some(settings.offline_after_messages),
    }
}

pub(crate) fn described(room: &Described, owner: &str) -> link::RoomDescription {
    link::RoomDescription {
        room: room.room.as_str().to_owned(),
        epoch: room.epoch.0,
        seq: room.last.0.to_vec(),
        members: room.members,
        provisional: room.provisional,
        created_ms: room.created.0,
        settings: Some(settings(&room.settings)),
        messages_per_second: room.messages_per_s,
        tick_ms: u32::try_from(room.tick_ms).unwrap_or(u32::MAX),
        owner: owner.to_owned(),
    }
}

pub(crate) fn page(page: MemberPage) -> link::MembersReply {
    let members = page.rows.into_iter().map(|(row, role)| link::MemberEntry {
        user: row.user.as_str().to_owned(),
        sessions: u32::try_from(row.sessions).unwrap_or(u32::MAX),
        joined_ms: row.joined.0,
        role: role.to_owned(),
    });
    link::MembersReply {
        members: members.collect(),
        next: page.next.map_or_else(String::new, |next| next.as_str().to_owned()),
        total: page.total,
    }
}

/// A change of a list; the inner error is for the caller, the outer for a frame that does not read.
pub(crate) fn list_change(from: link::ListChange) -> Result<Result<ListChange, Refusal>, BadFrame> {
    let list = match from.list.parse() {
        Ok(list) => list,
        Err(unknown) => return Ok(Err(Refusal::List(unknown))),
    };
    let entry = |entry: link::ListEntry| {
        let until = (entry.until_ms != 0).then_some(Millis(entry.until_ms));
        Ok(ListEntry { user: base::user(&entry.user)?, until })
    };
    let add = from.add.into_iter().map(entry).collect::<Result<_, BadFrame>>()?;
    let remove = from.remove.iter().map(|user| base::user(user)).collect::<Result<_, _>>()?;
    Ok(Ok(ListChange { list, add, remove }))
}

pub(crate) fn list(entries: Vec<ListEntry>) -> link::ListReply {
    let entry = |entry: ListEntry| link::ListEntry {
        user: entry.user.as_str().to_owned(),
        until_ms: entry.until.map_or(0, |until| until.0),
    };
    link::ListReply { entries: entries.into_iter().map(entry).collect() }
}

pub(crate) fn refused(room: &str, refusal: &Refusal) -> link::AdminReply {
    let to = match refusal {
        Refusal::Elsewhere(moved) => Some(link::Moved {
            room: room.to_owned(),
            epoch: moved.epoch().0,
            address: moved.owner.as_ref().map_or_else(String::new, |owner| owner.address.as_ref().to_owned()),
        }),
        _ => None,
    };
    link::AdminReply {
        code: code_of(refusal).0.as_str().to_owned(),
        message: refusal.to_string(),
        moved: to,
        ..link::AdminReply::default()
    }
}

/// How long a page is wanted; unsaid: 100.
pub(crate) fn page_limit(limit: u32) -> usize {
    let limit = if limit == 0 { 100 } else { limit };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A request that does not read.
pub(crate) fn bad_request(bad: &BadFrame) -> link::AdminReply {
    let code = match bad {
        BadFrame::Id(_) => ErrorCode::BadId,
        _ => ErrorCode::BadRequest,
    };
    link::AdminReply { code: code.as_str().to_owned(), message: bad.to_string(), ..link::AdminReply::default() }
}
