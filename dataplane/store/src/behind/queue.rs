//! Which writes wait, which go next, and what becomes of those who asked. Pure: the time is an argument.
//!
//! Writes wait by [`Tag`]. Of each tag at most one batch is on its way, so that order is kept whatever fails; tags do not
//! wait for each other, so that one slow node of a cluster holds up nobody else. A later write replaces an earlier one of
//! the same thing where nothing is lost by that ([`supersede`](super::supersede)).

use std::collections::{BTreeMap, HashMap};

use throng_core::{Epoch, Lane, Millis, Slot};

use super::metrics::Metrics;
use super::options::BehindOptions;
use super::supersede::{Key, key_of, merged};
use crate::error::{NotStored, StoreError};
use crate::write::{Batch, Tag, Write, Written};

/// First and longest wait after a failed batch.
const RETRY_FIRST_MS: u64 = 50;
const RETRY_LONGEST_MS: u64 = 2_000;

/// What the owner of a slot has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The slot has a later owner: stop. Writes of smaller epochs were dropped.
    Stale {
        /// The slot.
        slot: Slot,
        /// Epoch of the later owner.
        epoch: Epoch,
    },
    /// The store lacks what it should hold of this slot (it came back empty, or the queue had to drop something): write the
    /// rooms of the slot again.
    Rewrite {
        /// The slot.
        slot: Slot,
    },
}

/// A batch to carry out. Its outcome comes back with [`Queue::done`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) tag: Tag,
    pub(super) slot: Slot,
    pub(super) epoch: Epoch,
    pub(super) batch: Batch,
}

/// What a push did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed<A> {
    /// The runner may have to look earlier than it planned.
    pub(super) wake: bool,
    /// The write was not taken; this is who asked, and why.
    pub(super) refused: Option<(A, NotStored)>,
}

/// Answers that are due.
pub(super) type Answers<A> = Vec<(A, Result<(), NotStored>)>;

struct Entry {
    epoch: Epoch,
    write: Write,
    /// Who asked, as places in `Queue::acks`.
    acks: Vec<u64>,
    since: Millis,
}

struct Pending {
    slot: Slot,
    /// By number, which is the order of arrival.
    entries: BTreeMap<u64, Entry>,
    /// Where the write of a thing waits.
    places: HashMap<Key, u64>,
    on_its_way: Vec<(u64, Entry)>,
    failures: u32,
    retry_at: Millis,
}

/// The queue. `A` is whom to answer.
pub(super) struct Queue<A> {
    options: BehindOptions,
    tags: BTreeMap<Tag, Pending>,
    /// Who waits for an answer until when, by the order of asking, which is that of the deadlines.
    acks: BTreeMap<u64, (Millis, A)>,
    notices: BTreeMap<Slot, Notice>,
    next_number: u64,
    /// Where the search for the next batch goes on, so that every tag gets its turn.
    turn: Option<Tag>,
    /// When the runner will look again, as far as it was told.
    planned: Option<Millis>,
    metrics: Metrics,
    closing: bool,
}

impl<A> Queue<A> {
    pub(super) fn new(options: BehindOptions) -> Self {
        Self {
            options,
            tags: BTreeMap::new(),
            acks: BTreeMap::new(),
            notices: BTreeMap::new(),
            next_number: 0,
            turn: None,
            planned: None,
            metrics: Metrics::default(),
            closing: false,
        }
    }

    /// Takes a write, or refuses it because too much is waiting. Never blocks.
    pub(super) fn push(&mut self, now: Millis, epoch: Epoch, write: Write, ack: Option<A>) -> Pushed<A> {
        let slot = Slot::of(write.room().as_str());
        let key = key_of(&write);
        let tag = write.tag(slot);
        let replaces = key.as_ref().is_some_and(|key| self.waits(&tag, key));
        if !replaces && self.is_full_for(&write) {
            self.metrics.dropped += 1;
            if !is_log(&write) {
                self.notice(Notice::Rewrite { slot });
            }
            self.metrics.acks_failed += u64::from(ack.is_some());
            return Pushed { wake: false, refused: ack.map(|ack| (ack, NotStored::QueueFull)) };
        }
        self.next_number += 1;
        let number = self.next_number;
        let mut entry = Entry { epoch, write, acks: Vec::new(), since: now };
        if let Some(ack) = ack {
            self.acks.insert(number, (now + self.options.ack_wait_ms, ack));
            entry.acks.push(number);
        }
        let pending = self.tags.entry(tag).or_insert_with(|| Pending::of(slot));
        if let Some(key) = key
            && let Some(earlier) = pending.places.insert(key, number).and_then(|place| pending.entries.remove(&place))
        {
            self.metrics.leave(&earlier.write);
            self.metrics.superseded += 1;
            entry.write = merged(&earlier.write, entry.write);
            // Waiting no longer than the first of them.
            entry.since = earlier.since;
            entry.acks.splice(0..0, earlier.acks);
        }
        self.metrics.enter(&entry.write);
        pending.entries.insert(number, entry);
        let everything = self.metrics.depth >= self.options.flush_commands as u64;
        let due = pending.due(&self.options, everything);
        let wake = due.is_some_and(|due| self.planned.is_none_or(|planned| due < planned));
        Pushed { wake, refused: None }
    }

    fn waits(&self, tag: &Tag, key: &Key) -> bool {
        self.tags.get(tag).is_some_and(|pending| pending.places.contains_key(key))
    }

    /// Messages that may be sampled have the first half of the queue only.
    fn is_full_for(&self, write: &Write) -> bool {
        let share = if matches!(write, Write::Append { message, .. } if !message.lane.is_lossless()) { 2 } else { 1 };
        self.metrics.depth >= self.options.max_commands as u64 / share
            || self.metrics.weight_bytes + write.weight() as u64 > self.options.max_bytes as u64 / share
    }

    /// The next batch that is due.
    pub(super) fn take(&mut self, now: Millis) -> (Option<Work>, Answers<A>) {
        let tag = self.next_ready(now);
        let Some(tag) = tag else { return (None, Vec::new()) };
        self.turn = Some(tag.clone());
        let mut answers = Vec::new();
        let Some(pending) = self.tags.get_mut(&tag) else { return (None, answers) };
        let epoch = pending.entries.values().next().map_or(Epoch::NONE, |entry| entry.epoch);
        let mut batch = Batch::default();
        let mut weight = 0;
        while let Some(first) = pending.entries.first_entry() {
            let entry = first.get();
            let fits = batch.writes.len() < self.options.flush_commands && weight < self.options.batch_bytes;
            if entry.epoch != epoch || !fits {
                break;
            }
            let (number, entry) = first.remove_entry();
            if let Some(key) = key_of(&entry.write) {
                pending.places.remove(&key);
            }
            if is_outdated(&entry, &self.options, now) {
                self.metrics.leave(&entry.write);
                self.metrics.dropped += 1;
                fail(&mut self.acks, entry.acks, NotStored::TooLate, &mut self.metrics, &mut answers);
                continue;
            }
            weight += entry.write.weight();
            batch.confirm |= entry.acks.iter().any(|ack| self.acks.contains_key(ack));
            batch.writes.push(entry.write.clone());
            pending.on_its_way.push((number, entry));
        }
        let slot = pending.slot;
        if batch.writes.is_empty() {
            self.forget_if_idle(&tag);
            return (None, answers);
        }
        self.metrics.in_flight += 1;
        (Some(Work { tag, slot, epoch, batch }), answers)
    }

    #[cfg(test)]
    pub(super) fn has_ready(&self, now: Millis) -> bool {
        self.next_ready(now).is_some()
    }

    fn next_ready(&self, now: Millis) -> Option<Tag> {
        let everything = self.closing || self.metrics.depth >= self.options.flush_commands as u64;
        let ready =
            |(_, pending): &(&Tag, &Pending)| pending.due(&self.options, everything).is_some_and(|due| due <= now);
        let after = self.turn.as_ref().and_then(|turn| {
            use std::ops::Bound::{Excluded, Unbounded};
            self.tags.range((Excluded(turn), Unbounded)).find(ready)
        });
        after.or_else(|| self.tags.iter().find(ready)).map(|(tag, _)| tag.clone())
    }

    /// What became of a batch. `cut` shortens the wait for the next attempt: 0 to 500 thousandths, drawn by the caller.
    pub(super) fn done(
        &mut self,
        now: Millis,
        tag: &Tag,
        outcome: &Result<Written, StoreError>,
        cut: u64,
    ) -> Answers<A> {
        let mut answers = Vec::new();
        let Some(pending) = self.tags.get_mut(tag) else { return answers };
        let slot = pending.slot;
        let batch = std::mem::take(&mut pending.on_its_way);
        self.metrics.in_flight -= 1;
        match outcome {
            Ok(written) => {
                pending.failures = 0;
                pending.retry_at = Millis::ZERO;
                self.metrics.flushes += 1;
                self.metrics.written += batch.len() as u64;
                for (_, entry) in batch {
                    self.metrics.leave(&entry.write);
                    if written.confirmed {
                        let asked = entry.acks.iter().filter_map(|ack| self.acks.remove(ack));
                        answers.extend(asked.map(|(_, ack)| (ack, Ok(()))));
                    } else {
                        fail(&mut self.acks, entry.acks, NotStored::Replicas, &mut self.metrics, &mut answers);
                    }
                }
                if written.emptied && matches!(tag, Tag::Slot(_)) {
                    self.notice(Notice::Rewrite { slot });
                }
            }
            Err(StoreError::Stale { epoch }) => {
                let epoch = *epoch;
                let waiting = pending.take_older_than(epoch);
                for entry in batch.into_iter().map(|(_, entry)| entry).chain(waiting) {
                    self.metrics.leave(&entry.write);
                    self.metrics.dropped += 1;
                    fail(&mut self.acks, entry.acks, NotStored::Stale(epoch), &mut self.metrics, &mut answers);
                }
                self.notice(Notice::Stale { slot, epoch });
            }
            Err(_) => {
                self.metrics.errors += 1;
                let wait_ms = (RETRY_FIRST_MS << pending.failures.min(16)).min(RETRY_LONGEST_MS);
                pending.failures = pending.failures.saturating_add(1);
                pending.retry_at = now + (wait_ms - wait_ms * cut.min(500) / 1_000);
                for (number, entry) in batch {
                    self.metrics.superseded += u64::from(!pending.put_back(number, entry, &mut self.metrics));
                }
            }
        }
        self.forget_if_idle(tag);
        answers
    }

    /// Answers those who waited too long. Their writes go on waiting: "not known to be stored" is all that is said.
    pub(super) fn expire(&mut self, now: Millis) -> Answers<A> {
        let mut answers = Vec::new();
        while let Some(first) = self.acks.first_entry() {
            if first.get().0 > now {
                break;
            }
            let (_, ack) = first.remove();
            self.metrics.acks_failed += 1;
            answers.push((ack, Err(NotStored::TooLate)));
        }
        answers
    }

    /// When to look again; none: when something is pushed or done.
    pub(super) fn next_due(&mut self) -> Option<Millis> {
        let everything = self.closing || self.metrics.depth >= self.options.flush_commands as u64;
        let batch = self.tags.values().filter_map(|pending| pending.due(&self.options, everything)).min();
        let answer = self.acks.values().next().map(|(deadline, _)| *deadline);
        self.planned = batch.into_iter().chain(answer).min();
        self.planned
    }

    /// Drops what waits for a slot that was given up; what is on its way goes on.
    pub(super) fn discard(&mut self, slot: Slot) -> Answers<A> {
        let mut answers = Vec::new();
        let tags: Vec<Tag> =
            self.tags.iter().filter(|(_, pending)| pending.slot == slot).map(|(tag, _)| tag.clone()).collect();
        for tag in tags {
            let Some(pending) = self.tags.get_mut(&tag) else { continue };
            for entry in pending.take_older_than(Epoch(u64::MAX)) {
                self.metrics.leave(&entry.write);
                self.metrics.dropped += 1;
                fail(&mut self.acks, entry.acks, NotStored::Closed, &mut self.metrics, &mut answers);
            }
            self.forget_if_idle(&tag);
        }
        answers
    }

    /// Whether nothing of a slot waits or is on its way.
    pub(super) fn is_settled(&self, slot: Slot) -> bool {
        self.tags.values().all(|pending| pending.slot != slot)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// From now on nothing waits for company.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Everybody who still waits, at the end.
    pub(super) fn abandon(&mut self) -> Answers<A> {
        let abandoned = std::mem::take(&mut self.acks);
        abandoned.into_values().map(|(_, ack)| (ack, Err(NotStored::Closed))).collect()
    }

    /// The next thing to tell the owner.
    pub(super) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_first().map(|(_, notice)| notice)
    }

    pub(super) fn has_notice(&self) -> bool {
        !self.notices.is_empty()
    }

    pub(super) fn metrics(&self, now: Millis) -> Metrics {
        let oldest = self.tags.values().filter_map(Pending::since).min();
        Metrics { oldest_age_ms: oldest.map_or(0, |since| now.since(since)), ..self.metrics }
    }

    /// One notice a slot is enough: to stop outweighs to rewrite.
    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Stale { slot, .. } => {
                self.notices.insert(slot, notice);
            }
            Notice::Rewrite { slot } => {
                self.notices.entry(slot).or_insert(notice);
            }
        }
    }

    fn forget_if_idle(&mut self, tag: &Tag) {
        if self.tags.get(tag).is_some_and(|pending| pending.entries.is_empty() && pending.on_its_way.is_empty()) {
            self.tags.remove(tag);
        }
    }
}

impl Pending {
    fn of(slot: Slot) -> Self {
        Self {
            slot,
            entries: BTreeMap::new(),
            places: HashMap::new(),
            on_its_way: Vec::new(),
            failures: 0,
            retry_at: Millis::ZERO,
        }
    }

    /// When its next batch may go; none while one is on its way.
    fn due(&self, options: &BehindOptions, everything: bool) -> Option<Millis> {
        let (_, first) = self.entries.first_key_value()?;
        if !self.on_its_way.is_empty() {
            return None;
        }
        let full = everything || self.entries.len() >= options.flush_commands;
        let gathered = if full { first.since } else { first.since + options.flush_ms };
        Some(gathered.max(self.retry_at))
    }

    /// Puts a write back that was not carried out; false if a later one has replaced it.
    fn put_back(&mut self, number: u64, mut entry: Entry, metrics: &mut Metrics) -> bool {
        let key = key_of(&entry.write);
        if let Some(place) = key.as_ref().and_then(|key| self.places.get(key))
            && let Some(later) = self.entries.get_mut(place)
        {
            metrics.leave(&entry.write);
            metrics.leave(&later.write);
            later.write = merged(&entry.write, later.write.clone());
            metrics.enter(&later.write);
            later.acks.append(&mut entry.acks);
            return false;
        }
        if let Some(key) = key {
            self.places.insert(key, number);
        }
        self.entries.insert(number, entry);
        true
    }

    fn take_older_than(&mut self, epoch: Epoch) -> Vec<Entry> {
        let older: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| entry.epoch < epoch).map(|(number, _)| *number).collect();
        let taken: Vec<Entry> = older.iter().filter_map(|number| self.entries.remove(number)).collect();
        for entry in &taken {
            if let Some(key) = key_of(&entry.write) {
                self.places.remove(&key);
            }
        }
        taken
    }

    fn since(&self) -> Option<Millis> {
        let waiting = self.entries.values().map(|entry| entry.since).min();
        self.on_its_way.iter().map(|(_, entry)| entry.since).chain(waiting).min()
    }
}

fn fail<A>(
    acks: &mut BTreeMap<u64, (Millis, A)>,
    whom: Vec<u64>,
    why: NotStored,
    metrics: &mut Metrics,
    answers: &mut Answers<A>,
) {
    for (_, ack) in whom.into_iter().filter_map(|ack| acks.remove(&ack)) {
        metrics.acks_failed += 1;
        answers.push((ack, Err(why)));
    }
}

const fn is_log(write: &Write) -> bool {
    matches!(write, Write::Append { .. } | Write::End { .. } | Write::DeleteMessage { .. } | Write::Remember { .. })
}

/// A message that the store would drop at once, for its age.
fn is_outdated(entry: &Entry, options: &BehindOptions, now: Millis) -> bool {
    let Write::Append { message, .. } = &entry.write else { return false };
    let keep_ms = match message.lane {
        Lane::Control | Lane::Protected => options.limits.lossless_keep_ms,
        Lane::Normal | Lane::Low => options.limits.sampled_keep_ms,
    };
    now.since(entry.since) > keep_ms
}
