//! Slots on their way to being open: their rooms are handed over by the owner before, or read from the store, those with
//! waiting traffic first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use throng_core::ownership::Origin;
use throng_core::room::RoomState;
use throng_core::{Epoch, Slot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use crate::log::Log;

const RETRY: Duration = Duration::from_millis(200);
/// What was handed over for a slot that is not claimed yet, or kept of one that was closed, stays so long.
const KEEP: Duration = Duration::from_secs(30);

/// A slot whose rooms are here.
pub(crate) struct Loaded {
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
    /// The slot is open: its rooms were read late.
    pub(crate) late: bool,
    /// The store did not deliver in time: what it holds is still to be read.
    pub(crate) owed: bool,
    pub(crate) rooms: Vec<RoomState>,
}

/// Rooms of a slot that is not open, and since when they are held.
type Held = BTreeMap<Slot, (Instant, Vec<RoomState>)>;

/// Slots that wait for their rooms.
pub(crate) struct Loading {
    log: Arc<dyn Log>,
    within: Duration,
    at_once: usize,
    opening: BTreeMap<Slot, Epoch>,
    /// With the epoch, and whether the slot is open already.
    queue: VecDeque<(Slot, Epoch, bool)>,
    running: JoinSet<Loaded>,
    /// From the owner before, or gathered.
    handed: Held,
    /// Of this owner, from before it lost the slot, with the epoch that it served it under.
    kept: BTreeMap<Slot, (Instant, Epoch, Vec<RoomState>)>,
}

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
            kept: BTreeMap::new(),
        }
    }

    /// A slot was claimed. Its rooms, if nothing needs to be read.
    pub(crate) fn open(&mut self, slot: Slot, epoch: Epoch, origin: Origin) -> Option<Vec<RoomState>> {
        let rooms = match origin {
            Origin::HandedOver => self.handed.remove(&slot).map(|(_, rooms)| rooms),
            Origin::Own => self.take_kept(slot).map(|(_, rooms)| rooms),
            _ => None,
        };
        if rooms.is_some() {
            self.opening.remove(&slot);
            return rooms;
        }
        self.read(slot, epoch)
    }

    fn read(&mut self, slot: Slot, epoch: Epoch) -> Option<Vec<RoomState>> {
        self.opening.insert(slot, epoch);
        self.queue.push_back((slot, epoch, false));
        self.start();
        None
    }

    /// A slot was opened without what the store holds of it: that is read now, behind those that wait to be opened.
    pub(crate) fn read_late(&mut self, slot: Slot, epoch: Epoch) {
        self.queue.push_back((slot, epoch, true));
        self.start();
    }

    /// Whether a slot is on its way to being open.
    pub(crate) fn is_opening(&self, slot: Slot) -> bool {
        self.opening.contains_key(&slot) || self.handed.contains_key(&slot)
    }

    /// A slot was lost before it opened, or closed.
    pub(crate) fn close(&mut self, slot: Slot) {
        self.opening.remove(&slot);
        self.handed.remove(&slot);
    }

    /// This owner may serve a slot no longer: it may come back, or the next owner may ask for it.
    pub(crate) fn keep(&mut self, slot: Slot, epoch: Epoch, rooms: Vec<RoomState>) {
        self.kept.insert(slot, (Instant::now(), epoch, rooms));
    }

    /// What was kept of a slot, with the epoch that it was served under.
    pub(crate) fn take_kept(&mut self, slot: Slot) -> Option<(Epoch, Vec<RoomState>)> {
        self.kept.remove(&slot).map(|(_, epoch, rooms)| (epoch, rooms))
    }

    /// Forgets what was held for too long.
    pub(crate) fn tidy(&mut self) {
        self.handed.retain(|_, (since, _)| since.elapsed() < KEEP);
        self.kept.retain(|_, (since, ..)| since.elapsed() < KEEP);
    }

    /// Somebody waits for a room of this slot.
    pub(crate) fn hurry(&mut self, slot: Slot) {
        if self.opening.contains_key(&slot)
            && let Some(at) = self.queue.iter().position(|(other, _, late)| *other == slot && !late)
        {
            let entry = self.queue.remove(at);
            self.queue.extend(entry);
            self.queue.rotate_right(1);
        }
    }

    /// Others tell what they know of the rooms of a slot that is not open yet.
    pub(crate) fn hand_over(&mut self, slot: Slot, rooms: Vec<RoomState>) {
        self.handed.entry(slot).or_insert_with(|| (Instant::now(), Vec::new())).1.extend(rooms);
    }

    /// The next slot whose rooms are here; waits for ever if none is on its way.
    pub(crate) async fn next(&mut self) -> Loaded {
        loop {
            let Some(done) = self.running.join_next().await else { std::future::pending().await };
            self.start();
            let Ok(mut loaded) = done else { continue };
            if loaded.late {
                return loaded;
            }
            if self.opening.get(&loaded.slot) == Some(&loaded.epoch) {
                self.opening.remove(&loaded.slot);
                let kept = self.take_kept(loaded.slot).map_or_else(Vec::new, |(_, rooms)| rooms);
                let handed = self.handed.remove(&loaded.slot).map_or_else(Vec::new, |(_, rooms)| rooms);
                // Of settings and lists the last one counts: what the store has is newer than what was kept.
                let read = std::mem::replace(&mut loaded.rooms, kept);
                loaded.rooms.extend(read);
                loaded.rooms.extend(handed);
                return loaded;
            }
        }
    }

    fn start(&mut self) {
        while self.running.len() < self.at_once
            && let Some((slot, epoch, late)) = self.queue.pop_front()
        {
            if late || self.opening.get(&slot) == Some(&epoch) {
                self.running.spawn(load(self.log.clone(), slot, epoch, late, Instant::now() + self.within));
            }
        }
    }
}

async fn load(log: Arc<dyn Log>, slot: Slot, epoch: Epoch, late: bool, deadline: Instant) -> Loaded {
    let loaded = |rooms, owed| Loaded { slot, epoch, late, owed, rooms };
    loop {
        let problem = match tokio::time::timeout_at(deadline, log.load(slot)).await {
            Ok(Ok(rooms)) => return loaded(rooms, false),
            Ok(Err(problem)) => problem.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + RETRY >= deadline {
            warn!(%slot, %epoch, problem, "the slot is open without its stored rooms: they are read when the store delivers");
            return loaded(Vec::new(), true);
        }
        tokio::time::sleep(RETRY).await;
    }
}
