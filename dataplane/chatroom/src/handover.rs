//! A slot on its way to its next owner: its rooms as bytes, in pieces.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prost::Message as _;
use throng_core::room::{KnownKey, ListEntry, RoomState};
use throng_core::{Epoch, Millis, Seqs, Slot};
use throng_proto::convert::{self as base, BadFrame};
use throng_proto::key::PodKey;
use throng_proto::link;
use throng_proto::link::chatroom_client::ChatroomClient;
use tonic::transport::{Channel, Endpoint};
use tracing::warn;

use crate::convert;

/// A piece of a room is cut at this weight.
const PIECE_BYTES: usize = 1024 * 1024;
/// A hand-over that takes longer is given up: the next owner has the store.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two lines about slots that were not handed over.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// Connections to next owners that are kept.
const MAX_CHANNELS: usize = 64;

#[derive(Clone, PartialEq, prost::Message)]
struct SavedRoom {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(uint64, optional, tag = "2")]
    created_ms: Option<u64>,
    #[prost(message, optional, tag = "3")]
    settings: Option<link::RoomSettings>,
    #[prost(message, repeated, tag = "4")]
    lists: Vec<link::ListChange>,
    #[prost(message, repeated, tag = "5")]
    ends: Vec<link::Cursor>,
    #[prost(message, repeated, tag = "6")]
    messages: Vec<SavedMessage>,
    #[prost(message, repeated, tag = "7")]
    keys: Vec<SavedKey>,
    #[prost(message, repeated, tag = "8")]
    stored: Vec<link::Cursor>,
    /// Owners of earlier versions neither say nor read it: the room stays then.
    #[prost(bool, tag = "9")]
    fleeting: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SavedMessage {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(message, optional, tag = "2")]
    message: Option<link::Message>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SavedKey {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    key: String,
    #[prost(message, optional, tag = "3")]
    stamp: Option<link::DeleteMessage>,
    /// When its message was ordered, Unix time.
    #[prost(uint64, tag = "4")]
    at_ms: u64,
}

/// A room in pieces, each the `state` of one message of the hand-over.
pub(crate) fn encode(state: &RoomState) -> Vec<Vec<u8>> {
    let room = state.room.as_str().to_owned();
    let list = |(list, entry): &(throng_core::room::ListName, ListEntry)| link::ListChange {
        list: list.as_str().to_owned(),
        add: vec![link::ListEntry {
            user: entry.user.as_str().to_owned(),
            until_ms: entry.until.map_or(0, |until| until.0),
        }],
        remove: vec![],
    };
    let cursor = |(epoch, last): &(Epoch, Seqs)| link::Cursor { epoch: epoch.0, seq: last.0.to_vec() };
    let key = |known: &KnownKey| SavedKey {
        user: known.user.as_str().to_owned(),
        key: known.key.as_ref().to_owned(),
        stamp: Some(convert::delete(&state.room, known.stamp)),
        at_ms: known.at.0,
    };
    let head = SavedRoom {
        room: room.clone(),
        created_ms: state.created.map(|created| created.0),
        fleeting: state.fleeting,
        settings: Some(convert::to_overrides(&state.overrides)),
        lists: state.lists.iter().map(list).collect(),
        ends: state.ends.iter().map(cursor).collect(),
        stored: state.stored.iter().map(cursor).collect(),
        keys: state.keys.iter().map(key).collect(),
        messages: vec![],
    };
    let mut pieces = vec![head.encode_to_vec()];
    let mut rest = state.messages.as_slice();
    while !rest.is_empty() {
        let mut weight = 0;
        let fits = rest.iter().take_while(|(_, message)| {
            weight += message.weight();
            weight <= PIECE_BYTES
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let saved = |(epoch, message): &(Epoch, throng_core::Message)| SavedMessage {
            epoch: epoch.0,
            message: Some(base::to_message(message)),
        };
        let messages = now.iter().map(saved).collect();
        pieces.push(SavedRoom { room: room.clone(), messages, ..SavedRoom::default() }.encode_to_vec());
        rest = later;
    }
    pieces
}

/// Reads a piece.
pub(crate) fn decode(bytes: &[u8]) -> Result<RoomState, BadFrame> {
    let saved = SavedRoom::decode(bytes)?;
    let mut state = RoomState::new(base::room(&saved.room)?);
    state.created = saved.created_ms.map(Millis);
    state.fleeting = saved.fleeting;
    state.overrides = convert::overrides(saved.settings.unwrap_or_default());
    for list in saved.lists {
        let change = convert::list_change(list)?.map_err(|_| BadFrame::Missing("a known list"))?;
        state.lists.extend(change.add.into_iter().map(|entry| (change.list, entry)));
    }
    for end in &saved.ends {
        state.ends.push((Epoch(end.epoch), base::seqs(&end.seq)?));
    }
    for end in &saved.stored {
        state.stored.push((Epoch(end.epoch), base::seqs(&end.seq)?));
    }
    for message in saved.messages {
        let content = message.message.ok_or(BadFrame::Missing("message"))?;
        state.messages.push((Epoch(message.epoch), base::message(content)?));
    }
    for key in saved.keys {
        let stamp = convert::stamp(&key.stamp.ok_or(BadFrame::Missing("stamp"))?)?;
        let user = base::user(&key.user)?;
        state.keys.push(KnownKey { user, key: key.key.into(), stamp, at: Millis(key.at_ms) });
    }
    Ok(state)
}

/// Hands slots over, on one connection for each next owner.
pub(crate) struct Sender {
    key: PodKey,
    channels: HashMap<Arc<str>, Channel>,
    complaints: Arc<Mutex<Complaints>>,
}

/// One line a second at most, however many slots it is about.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// How many slots a line is to speak of, if it is time for one.
    fn due(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < COMPLAIN_EVERY) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Sender {
    pub(crate) fn new(key: PodKey) -> Self {
        Self { key, channels: HashMap::new(), complaints: Arc::default() }
    }

    /// Starts to hand a slot to its next owner.
    pub(crate) fn send(&mut self, address: &Arc<str>, slot: Slot, epoch: Epoch, next: Epoch, rooms: Vec<RoomState>) {
        let Some(channel) = self.channel(address) else {
            return warn!(%slot, %address, "the next owner of the slot has no address to hand it over to");
        };
        let (key, complaints) = (self.key.clone(), Arc::clone(&self.complaints));
        tokio::spawn(async move {
            let Err(problem) = hand_over(channel, key, slot, epoch, next, rooms).await else { return };
            let due = complaints.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now());
            if let Some(slots) = due {
                warn!(%slot, slots, problem, "slots were not handed over: their next owners have what is stored");
            }
        });
    }

    fn channel(&mut self, address: &Arc<str>) -> Option<Channel> {
        if let Some(channel) = self.channels.get(address) {
            return Some(channel.clone());
        }
        if self.channels.len() >= MAX_CHANNELS {
            self.channels.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let channel = endpoint.connect_timeout(WITHIN).tcp_nodelay(true).connect_lazy();
        self.channels.insert(Arc::clone(address), channel.clone());
        Some(channel)
    }
}

async fn hand_over(
    channel: Channel,
    key: PodKey,
    slot: Slot,
    epoch: Epoch,
    next_epoch: Epoch,
    rooms: Vec<RoomState>,
) -> Result<(), String> {
    let pieces = rooms.into_iter().flat_map(|room| encode(&room));
    let piece = move |state: Vec<u8>| link::HandOver {
        slot: u32::from(slot.number()),
        epoch: epoch.0,
        state: state.into(),
        ..link::HandOver::default()
    };
    let last = link::HandOver {
        slot: u32::from(slot.number()),
        epoch: epoch.0,
        last: true,
        next_epoch: next_epoch.0,
        ..link::HandOver::default()
    };
    let stream = tokio_stream::iter(pieces.map(piece).chain([last]).collect::<Vec<_>>());
    let call = async {
        let mut client = ChatroomClient::with_interceptor(channel, key.attach());
        client.hand_over(stream).await.map_err(|e| e.message().to_owned())
    };
    let reply = tokio::time::timeout(WITHIN, call).await.map_err(|_| "no answer".to_owned())??.into_inner();
    if reply.accepted { Ok(()) } else { Err(reply.message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use throng_core::room::{ListName, Overrides};
    use throng_core::{Lane, Message, RoomId, Seqs, Stamp, UserId};

    #[test]
    fn a_room_arrives_as_it_left_in_pieces_that_fit() {
        let user = UserId::new("ana").unwrap();
        let message = |seq| Message {
            lane: Lane::Normal,
            seq,
            from: user.clone(),
            kind: "text".into(),
            data: Bytes::from(vec![b'1'; 30_000]),
            at_ms: Millis(seq),
        };
        let state = RoomState {
            room: RoomId::new("final").unwrap(),
            created: Some(Millis(5)),
            fleeting: true,
            overrides: Overrides { mute_all: Some(true), ..Overrides::default() },
            lists: vec![(ListName::Block, ListEntry { user: user.clone(), until: Some(Millis(9)) })],
            ends: vec![(Epoch(7), Seqs([0, 0, 100, 0]))],
            messages: (1..=100).map(|seq| (Epoch(7), message(seq))).collect(),
            stored: vec![(Epoch(7), Seqs([0, 0, 90, 0]))],
            keys: vec![KnownKey {
                user: user.clone(),
                key: "k".into(),
                stamp: Stamp { epoch: Epoch(7), lane: Lane::Normal, seq: 3 },
                at: Millis(77),
            }],
        };
        let pieces = encode(&state);
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        let mut read = RoomState::new(state.room.clone());
        for piece in pieces {
            read.merge(decode(&piece).unwrap());
        }
        assert_eq!(read, state);
    }
}
