//! Redis, as far as ownership sees it: one slot's fence, marks and log, the graces, the incarnation, the birth mark.

use std::collections::BTreeMap;

use throng_core::ownership::{Fence, GRACE_MS, Rules, StoreCall, StoreReply};
use throng_core::{Epoch, InstanceId, Millis, Slot};

/// One life of Redis after another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redis {
    /// It answers.
    pub up: bool,
    life: u64,
    /// The birth mark; none until the first call after it was emptied.
    born: Option<Millis>,
    fence: Option<Fence>,
    marks: BTreeMap<InstanceId, Epoch>,
    graces: BTreeMap<InstanceId, Millis>,
    incarnation: u64,
    /// The last number of each epoch in the log.
    log: BTreeMap<Epoch, u64>,
}

impl Default for Redis {
    /// One that has been there for long.
    fn default() -> Self {
        Self {
            up: true,
            life: 1,
            born: Some(Millis::ZERO),
            fence: None,
            marks: BTreeMap::new(),
            graces: BTreeMap::new(),
            incarnation: 0,
            log: BTreeMap::new(),
        }
    }
}

impl Redis {
    /// It comes back with nothing.
    pub fn empty(&mut self) {
        *self = Self { life: self.life + 1, born: None, up: self.up, ..Self::default() };
    }

    /// The incarnation that it remembers, 0 if none.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The log's epochs and their last numbers.
    pub fn log(&self) -> impl Iterator<Item = (Epoch, u64)> {
        self.log.iter().map(|(epoch, last)| (*epoch, *last))
    }

    /// The fence.
    #[must_use]
    pub const fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    /// A write batch: refused with the stored epoch if that is larger.
    pub fn append(&mut self, me: &InstanceId, epoch: Epoch, seq: u64) -> Result<(), Epoch> {
        if let Some(fence) = self.fence.as_ref().filter(|fence| fence.epoch > epoch) {
            return Err(fence.epoch);
        }
        if self.fence.as_ref().is_none_or(|fence| fence.epoch < epoch) {
            self.fence = Some(Fence { epoch, instance: me.clone() });
        }
        let last = self.log.entry(epoch).or_default();
        *last = (*last).max(seq);
        Ok(())
    }

    /// A call of a process, by these rules.
    pub fn call(&mut self, me: &InstanceId, slot: Slot, call: &StoreCall, now: Millis, rules: Rules) -> StoreReply {
        self.graces.retain(|_, until| *until > now);
        match call {
            StoreCall::RaiseFence { epoch, over, taking, .. } => {
                let holder = self.fence.as_ref().map(|fence| fence.instance.clone());
                let over = if rules.fences_name_their_holder { over.as_ref() } else { holder.as_ref() };
                self.raise(me, *epoch, over, *taking, now)
            }
            StoreCall::Revoke { epoch, instance, .. } => {
                let mark = self.marks.entry(instance.clone()).or_default();
                *mark = (*mark).max(*epoch);
                StoreReply::Revoked(self.graces.get(instance).map_or(0, |until| until.since(now)))
            }
            StoreCall::RenewGrace { .. } if !self.graces.contains_key(me) => StoreReply::Missing,
            StoreCall::RenewGrace { .. } => self.grace(me, slot, None, now),
            StoreCall::CreateGrace { mine, .. } => {
                self.born.get_or_insert(now);
                let mut lost = None;
                for (_, epoch) in mine {
                    match &self.fence {
                        Some(fence) if fence.epoch > *epoch => lost = Some(fence.epoch),
                        _ => self.fence = Some(Fence { epoch: *epoch, instance: me.clone() }),
                    }
                }
                self.grace(me, slot, lost, now)
            }
            StoreCall::DropGrace => {
                self.graces.remove(me);
                StoreReply::Done
            }
            StoreCall::RaiseIncarnation { to } => {
                self.incarnation = self.incarnation.max(*to);
                StoreReply::Incarnation(self.incarnation)
            }
            _ => StoreReply::Unreachable,
        }
    }

    fn grace(&mut self, me: &InstanceId, slot: Slot, lost: Option<Epoch>, now: Millis) -> StoreReply {
        self.graces.insert(me.clone(), now + GRACE_MS);
        let mark = self.marks.get(me).copied().max(lost);
        StoreReply::Grace(mark.map(|mark| (slot, mark)).into_iter().collect())
    }

    fn raise(
        &mut self,
        me: &InstanceId,
        epoch: Epoch,
        over: Option<&InstanceId>,
        taking: bool,
        now: Millis,
    ) -> StoreReply {
        let age = now.since(*self.born.get_or_insert(now));
        if taking && self.life > 1 && age < GRACE_MS {
            return StoreReply::Emptied(GRACE_MS - age);
        }
        match &self.fence {
            Some(fence) if fence.epoch > epoch => return StoreReply::Stale(fence.epoch),
            Some(fence) if fence.instance != *me && Some(&fence.instance) != over => {
                return StoreReply::Held(fence.clone());
            }
            _ => {}
        }
        self.fence = Some(Fence { epoch, instance: me.clone() });
        StoreReply::Raised
    }
}
