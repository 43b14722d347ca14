//! The log over a [`Store`]: writes go behind the traffic, rooms are read back by a new owner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_core::room::{KEY_MEMORY_MS, ListName, Record, RoomState, Write};
use throng_core::{Epoch, Lane, Millis, RoomId, Slot};
use throng_store::{
    Ack, BehindOptions, List, Notice, Notices, Remembered, RoomImage, Runner, Sealed, Store, StoreError, Write as Put,
    WriteBehind,
};
use tokio::sync::{Notify, mpsc};

use crate::handover;
use crate::log::{BoxFuture, Log, LogError, LogEvent};

/// Messages of each lane and epoch that a new owner reads; the rest stays pullable.
const TAIL: usize = 500;
/// Events that wait for the owner of the rooms; what became of writes is gathered meanwhile.
const EVENTS: usize = 64;

/// A log over a store. What waits in it is lost with the process; whoever asked for `stored` has not been told so then.
pub struct StoreLog {
    store: Arc<dyn Store>,
    behind: WriteBehind,
    told: Arc<Told>,
}

/// What became of writes, until the owner of the rooms hears of it.
#[derive(Default)]
struct Told {
    slots: Mutex<BTreeMap<Slot, Outcome>>,
    news: Notify,
}

#[derive(Default)]
struct Outcome {
    epoch: Epoch,
    stored: u64,
    failed: Vec<u64>,
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Slot, Outcome>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, slot: Slot, epoch: Epoch, ticket: u64, stored: bool) {
        let mut slots = self.lock();
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
}

/// Moves writes and news; ends when its log is dropped.
pub struct StoreLogTask {
    runner: Runner,
    notices: Notices,
    told: Arc<Told>,
    events: mpsc::Sender<LogEvent>,
}

impl StoreLogTask {
    /// Runs until the log is dropped and everything that waited is written or given up.
    pub async fn run(self) {
        let Self { runner, mut notices, told, events } = self;
        let forward = async {
            loop {
                tokio::select! {
                    () = told.news.notified() => forward(&told, &events).await,
                    notice = notices.next() => {
                        let event = match notice {
                            Notice::Stale { slot, epoch } => LogEvent::Stale { slot, epoch },
                            Notice::Rewrite { slot } => LogEvent::Rewrite { slot },
                        };
                        // The owner of the rooms is gone only when the process ends.
                        let _ = events.send(event).await;
                    }
                }
            }
        };
        tokio::select! {
            () = runner.run() => {}
            () = forward => {}
        }
    }
}

/// Failures first: what is told as stored up to a ticket leaves them out.
async fn forward(told: &Told, events: &mpsc::Sender<LogEvent>) {
    let news = std::mem::take(&mut *told.lock());
    for (slot, Outcome { epoch, stored, failed }) in news {
        for ticket in failed {
            let _ = events.send(LogEvent::Failed { slot, epoch, ticket }).await;
        }
        if stored > 0 {
            let _ = events.send(LogEvent::Stored { slot, epoch, ticket: stored }).await;
        }
    }
}

impl StoreLog {
    /// A log over `store`, what [`crate::Start::log_events`] takes, and the task that has to run.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: BehindOptions) -> (Self, mpsc::Receiver<LogEvent>, StoreLogTask) {
        let (behind, notices, runner) = WriteBehind::new(store.clone(), options);
        let (events, received) = mpsc::channel(EVENTS);
        let told = Arc::new(Told::default());
        let task = StoreLogTask { runner, notices, told: told.clone(), events };
        (Self { store, behind, told }, received, task)
    }

    /// The queue before the store, for its metrics and for a last flush.
    #[must_use]
    pub fn behind(&self) -> &WriteBehind {
        &self.behind
    }

    fn put(&self, epoch: Epoch, put: Put) {
        self.behind.push(epoch, put, None);
    }

    /// Writes a message, and its key behind it in the same order: whoever waits, waits for both.
    fn put_message(&self, slot: Slot, epoch: Epoch, ticket: u64, room: RoomId, record: Record) {
        let Record::Message { epoch: ordered_in, message, key } = record else { return };
        let told = self.told.clone();
        let ack: Ack = Box::new(move |outcome| told.note(slot, epoch, ticket, outcome.is_ok()));
        let remembered = key.map(|key| Remembered {
            user: message.from.clone(),
            key,
            stamp: throng_core::Stamp { epoch: ordered_in, lane: message.lane, seq: message.seq },
            until_ms: message.at_ms + KEY_MEMORY_MS,
        });
        let at_ms = message.at_ms;
        let append = Put::Append { room: room.clone(), epoch: ordered_in, message };
        match remembered {
            None => self.behind.push(epoch, append, Some(ack)),
            Some(remembered) => {
                self.put(epoch, append);
                self.behind.push(epoch, Put::Remember { room, remembered, at_ms }, Some(ack));
            }
        }
    }

    async fn read(&self, slot: Slot) -> Result<Vec<RoomState>, StoreError> {
        let mut states = Vec::new();
        for stored in self.store.rooms(slot).await? {
            if let Some(image) = self.store.load(stored.room.clone(), TAIL).await? {
                states.push(state_of(stored.room, image));
            }
        }
        Ok(states)
    }
}

impl Log for StoreLog {
    fn push(&self, slot: Slot, epoch: Epoch, ticket: u64, write: Write) {
        let Write { room, record } = write;
        match record {
            Record::Meta { created, overrides } => {
                let meta = handover::meta(&room, created, &overrides).into();
                self.put(epoch, Put::PutRoom { room, meta });
            }
            Record::List(change) => {
                let list = list_of(change.list);
                for entry in change.add {
                    let until_ms = entry.until.unwrap_or(Millis::ZERO);
                    self.put(epoch, Put::SetEntry { room: room.clone(), list, user: entry.user, until_ms });
                }
                for user in change.remove {
                    self.put(epoch, Put::RemoveEntry { room: room.clone(), list, user });
                }
            }
            Record::Message { .. } => self.put_message(slot, epoch, ticket, room, record),
            Record::Deleted(stamp) => self.put(epoch, Put::DeleteMessage { room, stamp }),
            Record::Sealed { epoch: ended, last, next_epoch } => {
                let sealed = Sealed { epoch: ended, last, next: next_epoch };
                self.put(epoch, Put::Seal { room, sealed });
            }
            Record::Ended(_) => self.put(epoch, Put::DeleteRoom { room }),
        }
    }

    fn load(&self, slot: Slot, _: Epoch) -> BoxFuture<'_, Result<Vec<RoomState>, LogError>> {
        Box::pin(async move {
            self.read(slot).await.map_err(|error| match error {
                StoreError::Stale { epoch } => LogError::Stale(epoch),
                other => LogError::Unreachable(other.to_string()),
            })
        })
    }
}

fn state_of(room: RoomId, image: RoomImage) -> RoomState {
    // A description that does not read is that of a later version: the room exists, with the cluster's defaults.
    let mut state = handover::decode(&image.meta).unwrap_or_else(|_| RoomState::new(room.clone()));
    state.room = room;
    for ((list, user), until) in image.lists {
        let until = Some(until).filter(|until| *until > Millis::ZERO);
        if let Ok(list) = list.as_str().parse() {
            state.lists.push((list, throng_core::room::ListEntry { user, until }));
        }
    }
    state.ends.extend(image.ends);
    state.ends.extend(image.sealed.into_iter().map(|sealed| (sealed.epoch, sealed.last)));
    state.keys.extend(image.remembered.into_iter().map(|known| (known.user, known.key, known.stamp)));
    state.messages.extend(image.tail);
    state
}

fn list_of(list: ListName) -> List {
    use throng_core::room::Role;
    match list {
        ListName::Mute => List::Mute,
        ListName::Block => List::Block,
        ListName::Allow => List::Allow,
        ListName::Except => List::Except,
        ListName::Role(Role::Owner) => List::Role(throng_store::Role::Owner),
        ListName::Role(Role::Admin) => List::Role(throng_store::Role::Admin),
        ListName::Role(Role::Speaker) => List::Role(throng_store::Role::Speaker),
    }
}
