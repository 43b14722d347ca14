//! Slots on their way to being open: their rooms are read from the store, those with waiting traffic first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use throng_core::room::RoomState;
use throng_core::{Epoch, Slot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use crate::log::{Log, LogError};

const RETRY: Duration = Duration::from_millis(200);

/// A slot whose rooms are here.
pub(crate) struct Loaded {
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
    /// None: a later owner has the slot.
    pub(crate) rooms: Option<Vec<RoomState>>,
}

/// Slots that wait for their rooms.
pub(crate) struct Loading {
    log: Arc<dyn Log>,
    within: Duration,
    at_once: usize,
    opening: BTreeMap<Slot, Epoch>,
    queue: VecDeque<Slot>,
    running: JoinSet<Loaded>,
    handed: BTreeMap<Slot, (Instant, Vec<RoomState>)>,
}

/// What was handed over for a slot that is not claimed yet is kept so long.
const KEEP_HANDED: Duration = Duration::from_secs(30);

impl Loading {
    pub(crate) fn new(log: Arc<dyn Log>, within_ms: u64, at_once: usize) -> Self {
        Self {
            log,
            within: Duration::from_millis(within_ms),
            at_once: at_once.max(1),
            opening: BTreeMap::new(),
            queue: VecDeque::new(),
            running: JoinSet::new(),
            handed: BTreeMap::new(),
        }
    }

    /// A slot was claimed.
    pub(crate) fn open(&mut self, slot: Slot, epoch: Epoch) {
        self.opening.insert(slot, epoch);
        self.queue.push_back(slot);
        self.start();
    }

    /// A slot was lost before it opened.
    pub(crate) fn close(&mut self, slot: Slot) {
        self.opening.remove(&slot);
        self.handed.remove(&slot);
    }

    /// Somebody waits for a room of this slot.
    pub(crate) fn hurry(&mut self, slot: Slot) {
        if self.opening.contains_key(&slot)
            && let Some(at) = self.queue.iter().position(|other| *other == slot)
        {
            self.queue.remove(at);
            self.queue.push_front(slot);
        }
    }

    /// The owner before hands a slot over that is not open yet.
    pub(crate) fn hand_over(&mut self, slot: Slot, rooms: Vec<RoomState>) {
        self.handed.retain(|_, (since, _)| since.elapsed() < KEEP_HANDED);
        self.handed.entry(slot).or_insert_with(|| (Instant::now(), Vec::new())).1.extend(rooms);
    }

    /// The next slot whose rooms are here; waits for ever if none is on its way.
    pub(crate) async fn next(&mut self) -> Loaded {
        loop {
            let Some(done) = self.running.join_next().await else { std::future::pending().await };
            self.start();
            let Ok(mut loaded) = done else { continue };
            if self.opening.get(&loaded.slot) == Some(&loaded.epoch) {
                self.opening.remove(&loaded.slot);
                if let (Some(rooms), Some((_, handed))) = (&mut loaded.rooms, self.handed.remove(&loaded.slot)) {
                    rooms.extend(handed);
                }
                return loaded;
            }
        }
    }

    fn start(&mut self) {
        while self.running.len() < self.at_once
            && let Some(slot) = self.queue.pop_front()
        {
            if let Some(&epoch) = self.opening.get(&slot) {
                self.running.spawn(load(self.log.clone(), slot, epoch, Instant::now() + self.within));
            }
        }
    }
}

async fn load(log: Arc<dyn Log>, slot: Slot, epoch: Epoch, deadline: Instant) -> Loaded {
    loop {
        let problem = match tokio::time::timeout_at(deadline, log.load(slot, epoch)).await {
            Ok(Ok(rooms)) => return Loaded { slot, epoch, rooms: Some(rooms) },
            Ok(Err(LogError::Stale(later))) => {
                warn!(%slot, %epoch, %later, "a later owner has the slot");
                return Loaded { slot, epoch, rooms: None };
            }
            Ok(Err(problem)) => problem.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + RETRY >= deadline {
            warn!(%slot, %epoch, problem, "the slot opens without its stored rooms");
            return Loaded { slot, epoch, rooms: Some(Vec::new()) };
        }
        tokio::time::sleep(RETRY).await;
    }
}
