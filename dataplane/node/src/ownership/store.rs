//! The store, asked as the machine means it.

use std::sync::Arc;

use throng_core::ownership::{self as core, Input, StoreCall, StoreReply};
use throng_core::{Epoch, InstanceId, Slot};
use throng_store::{AnySlot, Mark, Raised, Renewal, Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::refused::Refused;

/// A store younger than this may have forgotten somebody's grace, which lasts as long.
const YOUNG_MS: u64 = core::GRACE_MS;
/// Attempts at a fence that disappears and comes back between two looks at it.
const ATTEMPTS: u32 = 3;

/// The store, with what many calls may share.
pub(super) struct Asked {
    store: Arc<dyn Store>,
    age: Latest<()>,
    grace: Latest<InstanceId>,
    refused: Refused,
}

/// The last answer about something, and when it was asked for. A take-over asks the same thousands of times at a moment,
/// and one look after all of them says as much as one after each.
struct Latest<K>(Mutex<Option<(K, Instant, u64)>>);

impl<K: PartialEq> Latest<K> {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// An answer that was asked for after `since`: the last one if it was, else that of `ask`.
    async fn after<E>(&self, since: Instant, of: K, ask: impl Future<Output = Result<u64, E>>) -> Result<u64, E> {
        let mut known = self.0.lock().await;
        if let Some((key, asked, answer)) = &*known
            && *key == of
            && *asked >= since
        {
            return Ok(*answer);
        }
        let asked = Instant::now();
        let answer = ask.await?;
        *known = Some((of, asked, answer));
        Ok(answer)
    }
}

impl Asked {
    pub(super) fn new(store: Arc<dyn Store>, refused: Refused) -> Self {
        Self { store, age: Latest::new(), grace: Latest::new(), refused }
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The age of the store as it is now, in milliseconds.
    async fn age_ms(&self) -> Result<u64, StoreError> {
        self.age.after(Instant::now(), (), async { Ok(self.store.birth().await?.age_ms) }).await
    }

    /// What is left of an instance's grace now, in milliseconds.
    async fn grace_left_ms(&self, instance: &InstanceId) -> Result<u64, StoreError> {
        self.grace.after(Instant::now(), instance.clone(), self.store.grace_left_ms(instance.clone())).await
    }
}

/// Carries a call out; whatever goes wrong is a store that cannot be reached.
pub(super) async fn call(asked: Arc<Asked>, call: StoreCall) -> Input {
    let answered = answer(&asked, &call).await;
    asked.refused.note_store(&answered);
    let reply = match answered {
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
            StoreReply::Revoked(asked.grace_left_ms(instance).await?)
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
                let age_ms = asked.age_ms().await?;
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
