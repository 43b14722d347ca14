//! The log of rooms on a [`throng_store::Store`]: writes go behind the traffic, a new owner reads what is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};
use throng_core::relay::{LogPage, LogRange};
use throng_core::room::{KEY_MEMORY_MS, KnownKey, ListEntry, ListName, Overrides, Record, RoomState, Write};
use throng_core::{Epoch, Lane, Millis, RoomId, Seqs, Slot, Stamp, UserId};
use throng_store::{
    Ack, BehindOptions, List, Notice, Notices, Remembered, RoomImage, Runner, Sealed, Store, StoreError,
    Write as Stored, WriteBehind,
};
use tokio::sync::{Notify, mpsc};

use crate::log::{BoxFuture, Log, LogEvent, Unreachable};

/// Events that wait for the owner of the rooms; outcomes of writes are gathered meanwhile.
const EVENTS: usize = 64;
/// Messages of each lane and epoch that a new owner reads.
const TAIL: usize = 200;

/// A [`Log`] on a store. Cheap to clone.
#[derive(Clone)]
pub struct StoredLog {
    store: Arc<dyn Store>,
    behind: WriteBehind,
    outcomes: Arc<Outcomes>,
    reads: Counter,
}

/// What has to run beside a [`StoredLog`], for as long as it is used.
pub struct StoredLogTask {
    runner: Runner,
    notices: Notices,
    outcomes: Arc<Outcomes>,
    events: mpsc::Sender<LogEvent>,
}

/// What became of writes, until the owner of the rooms hears of it: nothing is lost, and a slot says once how far it is.
#[derive(Default)]
struct Outcomes {
    slots: Mutex<BTreeMap<Slot, Outcome>>,
    news: Notify,
}

/// Of the writes of one slot under its latest epoch.
#[derive(Default)]
struct Outcome {
    epoch: Epoch,
    stored: u64,
    failed: Vec<u64>,
}

impl Outcomes {
    fn note(&self, slot: Slot, epoch: Epoch, ticket: u64, stored: bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = slots.entry(slot).or_default();
        if outcome.epoch < epoch {
            *outcome = Outcome { epoch, ..Outcome::default() };
        }
        if outcome.epoch == epoch {
            if stored {
                outcome.stored = outcome.stored.max(ticket);
            } else {
                outcome.failed.push(ticket);
            }
        }
        drop(slots);
        self.news.notify_one();
    }

    /// What there is to tell. Failures first: what is told as stored up to a ticket leaves them out.
    fn take(&self) -> Vec<LogEvent> {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        let mut events = Vec::new();
        for (slot, Outcome { epoch, stored, failed }) in slots {
            events.extend(failed.into_iter().map(|ticket| LogEvent::Failed { slot, epoch, ticket }));
            if stored > 0 {
                events.push(LogEvent::Stored { slot, epoch, ticket: stored });
            }
        }
        events
    }
}

impl StoredLog {
    /// A log on a store, what becomes of its writes, and the task that has to run.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: BehindOptions) -> (Self, mpsc::Receiver<LogEvent>, StoredLogTask) {
        let (behind, notices, runner) = WriteBehind::new(Arc::clone(&store), options);
        let (events, received) = mpsc::channel(EVENTS);
        let outcomes = Arc::new(Outcomes::default());
        let task = StoredLogTask { runner, notices, outcomes: Arc::clone(&outcomes), events };
        (Self { store, behind, outcomes, reads: Counter::default() }, received, task)
    }

    /// The queue, for metrics.
    #[must_use]
    pub fn behind(&self) -> &WriteBehind {
        &self.behind
    }

    /// Calls that read the store, for metrics: slots that are taken over, and pulls of what no memory holds.
    #[must_use]
    pub const fn reads(&self) -> &Counter {
        &self.reads
    }

    fn ack(&self, slot: Slot, epoch: Epoch, ticket: u64) -> Ack {
        let outcomes = Arc::clone(&self.outcomes);
        Box::new(move |outcome| outcomes.note(slot, epoch, ticket, outcome.is_ok()))
    }

    async fn load_all(&self, slot: Slot) -> Result<Vec<RoomState>, StoreError> {
        let mut rooms = Vec::new();
        self.reads.inc();
        for stored in self.store.rooms(slot).await? {
            self.reads.inc();
            if let Some(image) = self.store.load(stored.room.clone(), TAIL).await? {
                rooms.push(state(stored.room, &image));
            }
        }
        Ok(rooms)
    }
}

impl StoredLogTask {
    /// Carries writes out until the log is dropped.
    pub async fn run(self) {
        let Self { runner, mut notices, outcomes, events } = self;
        let telling = async {
            loop {
                let news = tokio::select! {
                    () = outcomes.news.notified() => outcomes.take(),
                    notice = notices.next() => match notice {
                        Notice::Stale { slot, epoch } => vec![LogEvent::Stale { slot, epoch }],
                        Notice::Rewrite { slot } => vec![LogEvent::Rewrite { slot }],
                        _ => continue,
                    },
                };
                for event in news {
                    // The owner of the rooms is gone only when the process ends.
                    let _ = events.send(event).await;
                }
            }
        };
        tokio::select! {
            () = runner.run() => {}
            () = telling => {}
        }
    }
}

impl Log for StoredLog {
    fn push(&self, slot: Slot, epoch: Epoch, ticket: u64, write: Write) {
        let mut writes = writes(write, unix_now());
        let last = writes.pop();
        for write in writes {
            self.behind.push(epoch, write, None);
        }
        let ack = self.ack(slot, epoch, ticket);
        match last {
            Some(last) => self.behind.push(epoch, last, Some(ack)),
            None => ack(Ok(())),
        }
    }

    fn load(&self, slot: Slot) -> BoxFuture<'_, Result<Vec<RoomState>, Unreachable>> {
        Box::pin(async move { self.load_all(slot).await.map_err(|error| Unreachable(error.to_string())) })
    }

    fn read(&self, room: RoomId, range: LogRange) -> BoxFuture<'_, Result<LogPage, Unreachable>> {
        self.reads.inc();
        Box::pin(async move { self.store.log(room, range).await.map_err(|error| Unreachable(error.to_string())) })
    }
}

fn unix_now() -> Millis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// What is written for one record. The order counts: a message comes before the key that stands for it.
fn writes(write: Write, now: Millis) -> Vec<Stored> {
    let room = write.room;
    match write.record {
        Record::Meta { created, fleeting, overrides } => {
            vec![Stored::PutRoom { room, meta: meta(created, fleeting, &overrides) }]
        }
        Record::List(change) => {
            let Some(list) = list_of(change.list) else { return Vec::new() };
            let add = change.add.into_iter().map(|entry| Stored::SetEntry {
                room: room.clone(),
                list,
                user: entry.user,
                until_ms: entry.until.unwrap_or_default(),
            });
            let remove = change.remove.into_iter().map(|user| Stored::RemoveEntry { room: room.clone(), list, user });
            add.chain(remove).collect()
        }
        Record::Message { epoch, message, key } => {
            let stamp = Stamp { epoch, lane: message.lane, seq: message.seq };
            // Written again later, it is not remembered for longer.
            let (user, until_ms) = (message.from.clone(), message.at_ms + KEY_MEMORY_MS);
            let append = if message.lane == Lane::Low {
                Stored::End { room: room.clone(), epoch, lane: message.lane, seq: message.seq }
            } else {
                Stored::Append { room: room.clone(), epoch, message }
            };
            let remember = key.map(|key| Stored::Remember {
                room,
                remembered: Remembered { user, key, stamp, until_ms },
                at_ms: now,
            });
            std::iter::once(append).chain(remember).collect()
        }
        Record::Deleted(stamp) => vec![Stored::DeleteMessage { room, stamp }],
        Record::Sealed { epoch, last, next_epoch } => {
            vec![Stored::Seal { room, sealed: Sealed { epoch, last, next: next_epoch } }]
        }
        Record::Forgotten { before } => vec![Stored::ForgetEpochs { room, before }],
        Record::Ended(_) => vec![Stored::DeleteRoom { room }],
    }
}

/// A room as a new owner finds it.
fn state(room: RoomId, image: &RoomImage) -> RoomState {
    let (created, fleeting, overrides) = read_meta(&image.meta);
    let mut ends: BTreeMap<Epoch, Seqs> = image.ends.clone();
    for sealed in &image.sealed {
        let end = ends.entry(sealed.epoch).or_default();
        *end = end.max(sealed.last);
    }
    let entry = |(list, user): &(List, UserId), until: &Millis| {
        let until = (*until != Millis::ZERO).then_some(*until);
        Some((list.as_str().parse().ok()?, ListEntry { user: user.clone(), until }))
    };
    RoomState {
        created,
        fleeting,
        overrides,
        lists: image.lists.iter().filter_map(|(key, until)| entry(key, until)).collect(),
        ends: ends.into_iter().collect(),
        stored: image.ends.iter().map(|(epoch, last)| (*epoch, *last)).collect(),
        messages: image.tail.clone(),
        keys: image.remembered.iter().map(known).collect(),
        ..RoomState::new(room)
    }
}

fn known(remembered: &Remembered) -> KnownKey {
    let Remembered { user, key, stamp, until_ms } = remembered;
    KnownKey { user: user.clone(), key: Arc::clone(key), stamp: *stamp, at: *until_ms - KEY_MEMORY_MS }
}

fn list_of(name: ListName) -> Option<List> {
    List::from_name(name.as_str())
}

/// Settings of a room as they are stored. Fields that a later version adds are left alone by an earlier one.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Meta {
    created: Millis,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fleeting: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_messages_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destroy_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mute_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protected_types: Option<Vec<Arc<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offline_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offline_after_messages: Option<u32>,
}

fn meta(created: Millis, fleeting: bool, overrides: &Overrides) -> Bytes {
    let meta = Meta {
        created,
        fleeting,
        messages_per_s: overrides.messages_per_s,
        user_messages_per_s: overrides.user_messages_per_s,
        destroy_at: overrides.destroy_at,
        idle_ms: overrides.idle_ms,
        mute_all: overrides.mute_all,
        protected_types: overrides.protected_types.as_ref().map(|types| types.iter().cloned().collect()),
        offline_after_ms: overrides.offline_after_ms,
        offline_after_messages: overrides.offline_after_messages,
    };
    serde_json::to_vec(&meta).unwrap_or_default().into()
}

/// None for a room of which only messages were written.
fn read_meta(bytes: &[u8]) -> (Option<Millis>, bool, Overrides) {
    let Ok(meta) = serde_json::from_slice::<Meta>(bytes) else { return (None, false, Overrides::default()) };
    let overrides = Overrides {
        messages_per_s: meta.messages_per_s,
        user_messages_per_s: meta.user_messages_per_s,
        destroy_at: meta.destroy_at,
        idle_ms: meta.idle_ms,
        mute_all: meta.mute_all,
        protected_types: meta.protected_types.map(|types| types.into_iter().collect()),
        offline_after_ms: meta.offline_after_ms,
        offline_after_messages: meta.offline_after_messages,
    };
    (Some(meta.created), meta.fleeting, overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use throng_core::room::ListChange;
    use throng_core::{InstanceId, Message};
    use throng_store::{AnySlot, MemoryDb, Raised};

    const NEW: Epoch = Epoch(9);

    fn room() -> RoomId {
        RoomId::new("final").unwrap()
    }

    fn user() -> UserId {
        UserId::new("ana").unwrap()
    }

    fn message(lane: Lane, seq: u64) -> Record {
        let data = Bytes::from_static(b"1");
        let message = Message { lane, seq, from: user(), kind: "text".into(), data, at_ms: unix_now() };
        Record::Message { epoch: Epoch(7), message, key: Some(format!("{lane:?}").into()) }
    }

    async fn next(events: &mut mpsc::Receiver<LogEvent>) -> LogEvent {
        tokio::time::timeout(Duration::from_secs(5), events.recv()).await.expect("in time").expect("an event")
    }

    #[test]
    fn settings_of_earlier_versions_are_those_of_a_room_that_stays() {
        let written = meta(Millis(5), false, &Overrides::default());
        assert_eq!(written, &br#"{"created":5}"#[..]);
        assert_eq!(read_meta(&written), (Some(Millis(5)), false, Overrides::default()));
    }

    #[tokio::test]
    async fn what_an_owner_writes_the_next_one_finds() {
        let db = MemoryDb::default();
        let instance = |name: &str| InstanceId::new(name).unwrap();
        let slot = Slot::of("final");
        let (log, mut events, task) = StoredLog::new(Arc::new(db.store(instance("a"))), BehindOptions::default());
        tokio::spawn(task.run());
        let fence = async |name, epoch, over| {
            let raised = db.store(instance(name)).raise_fence(AnySlot::Room(slot), epoch, over).await.unwrap();
            assert!(matches!(raised, Raised::Mine { .. }));
        };
        fence("a", Epoch(7), None).await;
        assert_eq!(log.load(slot).await.unwrap(), []);

        let overrides = Overrides { messages_per_s: Some(50), mute_all: Some(true), ..Overrides::default() };
        let muted = ListEntry { user: user(), until: Some(Millis(99)) };
        let records = [
            Record::Meta { created: Millis(5), fleeting: true, overrides: overrides.clone() },
            Record::List(ListChange { list: ListName::Mute, add: vec![muted.clone()], remove: vec![] }),
            message(Lane::Protected, 1),
            message(Lane::Low, 4),
            Record::Sealed { epoch: Epoch(3), last: Seqs([1, 2, 3, 4]), next_epoch: Epoch(7) },
        ];
        for (ticket, record) in (1..).zip(records) {
            log.push(slot, Epoch(7), ticket, Write { room: room(), record });
        }
        let mut last = 0;
        while last < 5 {
            let LogEvent::Stored { ticket, .. } = next(&mut events).await else { panic!("all of it is stored") };
            last = last.max(ticket);
        }

        let (successor, _, task) = StoredLog::new(Arc::new(db.store(instance("b"))), BehindOptions::default());
        tokio::spawn(task.run());
        let rooms = successor.load(slot).await.unwrap();
        assert_eq!((log.reads().get(), successor.reads().get()), (1, 2), "the slot, and each of its rooms");
        let [found] = rooms.as_slice() else { panic!("one room") };
        assert_eq!((found.created, found.fleeting, &found.overrides), (Some(Millis(5)), true, &overrides));
        assert_eq!(found.lists, [(ListName::Mute, muted)]);
        assert_eq!(found.ends, [(Epoch(3), Seqs([1, 2, 3, 4])), (Epoch(7), Seqs([0, 1, 0, 4]))]);
        assert_eq!(found.messages.iter().map(|(_, message)| message.lane).collect::<Vec<_>>(), [Lane::Protected]);
        assert_eq!(found.keys.len(), 2);

        fence("b", NEW, Some(instance("a"))).await;
        log.push(slot, Epoch(7), 6, Write { room: room(), record: message(Lane::Protected, 2) });
        let mut stale = false;
        while !stale {
            stale = next(&mut events).await == LogEvent::Stale { slot, epoch: NEW };
        }
    }
}
