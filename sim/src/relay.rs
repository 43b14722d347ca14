//! A message Pod, as far as the law concerns it: what it has seen, taken and been told.

use std::collections::BTreeMap;

use throng_core::ownership::promise::{Promises, Stale};
use throng_core::ownership::sealing::End;
use throng_core::{Cursor, Epoch, InstanceId, Lane, Seqs, Slot};

/// Who ordered a message and as which of all messages: no two contents are alike.
pub type Content = u32;

/// One message Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Relay {
    promises: Promises,
    /// Takes part in gathers and receives segments. False: cut off from everybody.
    pub reachable: bool,
    /// Whose segments it takes.
    pub owner: Option<(InstanceId, Epoch)>,
    /// The last number taken of each epoch, and what was taken.
    seen: BTreeMap<Epoch, u64>,
    /// Where older epochs end, as it was told.
    told: BTreeMap<Epoch, u64>,
    /// The largest epoch that it was asked to promise, or saw: what the law goes by, whatever `promises` says.
    law: Epoch,
}

/// What a message Pod did with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It took it.
    Yes,
    /// It took it although it had seen a later epoch: the law is broken.
    Unlawfully,
    /// It answers STALE.
    Stale(Epoch),
    /// It was no longer, or not yet, subscribed there.
    Ignored,
}

/// A cursor in the lane that the model uses.
#[must_use]
pub fn cursor(epoch: Epoch, seq: u64) -> Cursor {
    let mut seqs = Seqs::ZERO;
    seqs[Lane::Normal] = seq;
    Cursor { epoch, seq: seqs }
}

impl Relay {
    /// One that is connected and knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { reachable: true, ..Self::default() }
    }

    /// A taker gathers: the promise (unless the rule is off), and what is known of older epochs.
    pub fn gather(&mut self, slot: Slot, epoch: Epoch, promise: bool) -> Result<Vec<Cursor>, Stale> {
        if promise {
            self.promises.see(slot, epoch)?;
            if self.owner.as_ref().is_some_and(|(_, of)| *of < epoch) {
                self.owner = None;
            }
        }
        self.law = self.law.max(epoch);
        Ok(self.known())
    }

    /// The largest incarnation that it knows.
    #[must_use]
    pub const fn known_incarnation(&self) -> u64 {
        self.law.0 >> 40
    }

    /// Cursors in every epoch, and every `last` that it was told.
    #[must_use]
    pub fn known(&self) -> Vec<Cursor> {
        self.seen.iter().chain(&self.told).map(|(epoch, seq)| cursor(*epoch, *seq)).collect()
    }

    /// It subscribes to an owner, which tells it the ends of older epochs.
    pub fn subscribe(&mut self, slot: Slot, owner: InstanceId, epoch: Epoch) -> Result<(), Stale> {
        self.promises.see(slot, epoch)?;
        self.law = self.law.max(epoch);
        self.owner = Some((owner, epoch));
        Ok(())
    }

    /// It is told where older epochs end.
    pub fn sealed(&mut self, ends: &[End]) {
        for end in ends {
            let told = self.told.entry(end.epoch).or_default();
            *told = (*told).max(end.last[Lane::Normal]);
        }
    }

    /// A segment arrives.
    pub fn take(&mut self, slot: Slot, from: &InstanceId, epoch: Epoch, seq: u64) -> Taken {
        if self.owner.as_ref() != Some(&(from.clone(), epoch)) {
            let seen = self.promises.seen(slot);
            return if seen > epoch { Taken::Stale(seen) } else { Taken::Ignored };
        }
        if let Err(Stale(seen)) = self.promises.see(slot, epoch) {
            return Taken::Stale(seen);
        }
        let last = self.seen.entry(epoch).or_default();
        *last = (*last).max(seq);
        if self.law > epoch {
            return Taken::Unlawfully;
        }
        self.law = epoch;
        Taken::Yes
    }

    /// Where an epoch ends, as it was told.
    #[must_use]
    pub const fn told(&self) -> &BTreeMap<Epoch, u64> {
        &self.told
    }

    /// What it has taken of each epoch.
    #[must_use]
    pub const fn seen(&self) -> &BTreeMap<Epoch, u64> {
        &self.seen
    }
}
