//! The store, asked as the machine means it.

use std::sync::Arc;

use throng_core::ownership::{self as core, Input, StoreCall, StoreReply};
use throng_core::{Epoch, InstanceId, Slot};
use throng_store::{AnySlot, Mark, Raised, Renewal, Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// A store younger than this may have forgotten somebody's grace, which lasts as long.
const YOUNG_MS: u64 = core::GRACE_MS;
/// Attempts at a fence that disappears and comes back between two looks at it.
const ATTEMPTS: u32 = 3;

/// The store, with what many calls may share.
pub(super) struct Asked {
    store: Arc<dyn Store>,
    /// The last age that was asked for, and when.
    age: Mutex<Option<(Instant, u64)>>,
    /// The same of what is left of an instance's grace.
    grace: Mutex<Option<(InstanceId, Instant, u64)>>,
}

impl Asked {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, age: Mutex::default(), grace: Mutex::default() }
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The age of the store, in milliseconds, asked for after `since`. Thousands of fences are raised at a time, and one
    /// look after all of them says as much as one after each.
    async fn age_ms(&self, since: Instant) -> Result<u64, StoreError> {
        let mut known = self.age.lock().await;
        if let Some((asked, age_ms)) = *known
            && asked >= since
        {
            return Ok(age_ms);
        }
        let asked = Instant::now();
        let age_ms = self.store.birth().await?.age_ms;
        *known = Some((asked, age_ms));
        Ok(age_ms)
    }

    /// What is left of an instance's grace, asked for after `since`: a Pod that is taken over is asked for thousands of
    /// times at once.
    async fn grace_left_ms(&self, instance: &InstanceId, since: Instant) -> Result<u64, StoreError> {
        let mut known = self.grace.lock().await;
        if let Some((of, asked, left_ms)) = &*known
            && of == instance
            && *asked >= since
        {
            return Ok(*left_ms);
        }
        let asked = Instant::now();
        let left_ms = self.store.grace_left_ms(instance.clone()).await?;
        *known = Some((instance.clone(), asked, left_ms));
        Ok(left_ms)
    }
}

/// Carries a call out; whatever goes wrong is a store that cannot be reached.
pub(super) async fn call(asked: Arc<Asked>, call: StoreCall) -> Input {
    let reply = match answer(&asked, &call).await {
        Ok(reply) => reply,
        Err(StoreError::Stale { epoch }) => StoreReply::Stale(epoch),
        Err(error) => {
            debug!(%error, "the store did not do what ownership needs");
            StoreReply::Unreachable
        }
    };
    Input::Store { call, reply }
}

async fn answer(asked: &Asked, call: &StoreCall) -> Result<StoreReply, StoreError> {
    let store = &*asked.store;
    Ok(match call {
        StoreCall::RaiseFence { slot, epoch, over, taking } => {
            raise_fence(asked, *slot, *epoch, over.clone(), *taking).await?
        }
        StoreCall::Revoke { slot, epoch, instance } => {
            store.revoke(instance.clone(), AnySlot::Room(*slot), *epoch).await?;
            StoreReply::Revoked(asked.grace_left_ms(instance, Instant::now()).await?)
        }
        StoreCall::RenewGrace { .. } => match store.renew_grace().await? {
            Renewal::Renewed { revoked } => StoreReply::Grace(rooms(revoked)),
            Renewal::Missing => StoreReply::Missing,
        },
        StoreCall::CreateGrace { mine, .. } => {
            let mine = mine.iter().map(|&(slot, epoch)| (AnySlot::Room(slot), epoch)).collect();
            let created = store.create_grace(mine).await?;
            StoreReply::Grace(rooms(created.revoked.into_iter().chain(created.stale)))
        }
        StoreCall::DropGrace => {
            store.forget_instance(store.instance().clone()).await?;
            StoreReply::Done
        }
        StoreCall::RaiseIncarnation { to } => StoreReply::Incarnation(store.raise_incarnation(*to).await?),
        // A call that a later version of the machine makes.
        _ => StoreReply::Unreachable,
    })
}

/// The fence first, then the age of the store: one that is emptied between the two is seen to be young.
async fn raise_fence(
    asked: &Asked,
    slot: Slot,
    epoch: Epoch,
    mut over: Option<InstanceId>,
    taking: bool,
) -> Result<StoreReply, StoreError> {
    for _ in 0..ATTEMPTS {
        match asked.store.raise_fence(AnySlot::Room(slot), epoch, over.clone()).await? {
            Raised::Mine { .. } if taking => {
                let age_ms = asked.age_ms(Instant::now()).await?;
                let young = age_ms < YOUNG_MS;
                return Ok(if young { StoreReply::Emptied(YOUNG_MS - age_ms) } else { StoreReply::Raised });
            }
            Raised::Mine { .. } => return Ok(StoreReply::Raised),
            Raised::Held { by: Some(fence) } => {
                return Ok(StoreReply::Held(core::Fence { epoch: fence.epoch, instance: fence.instance }));
            }
            // The one that was revoked is not there any more, nor is another.
            Raised::Held { by: None } => over = None,
        }
    }
    Err(StoreError::Unavailable { reason: "a fence that comes and goes".into() })
}

fn rooms(marks: impl IntoIterator<Item = Mark>) -> Vec<(Slot, Epoch)> {
    let room = |mark: Mark| match mark.slot {
        AnySlot::Room(slot) => Some((slot, mark.epoch)),
        AnySlot::User(_) => None,
    };
    marks.into_iter().filter_map(room).collect()
}
