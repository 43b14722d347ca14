//! Every operation of the registry as one transaction, written once for etcd and memory.

mod claims;
mod numbers;

pub(crate) use numbers::parse as parse_number;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use throng_core::policy::Policy;
use throng_core::{InstanceId, Role};
use tokio::sync::watch;

use crate::api::{Call, Outcome, Registry};
use crate::error::{Conflict, Error};
use crate::keys::Keys;
use crate::kv::{Kv, Op, Record, Txn, TxnReply, When};
use crate::model::{Change, ClaimKey, ClaimsRead, Fence, Holder, Lease, LeaseId, Member, Own, Placement};
use crate::view::View;

/// A registry over some storage.
pub(crate) struct Ledger<K> {
    pub(crate) keys: Keys,
    pub(crate) kv: K,
}

impl<K: Kv> Ledger<K> {
    /// A transaction whose repetition does no harm: without an answer it is simply to be tried again.
    async fn repeatable(&self, txn: Txn) -> Result<TxnReply, Error> {
        match self.kv.txn(txn).await? {
            Outcome::Known(reply) => Ok(reply),
            Outcome::Unknown => Err(Error::unavailable("no answer in time")),
        }
    }

    async fn read(&self, key: String) -> Result<Option<Record>, Error> {
        let reply = self.repeatable(Txn { then: vec![Op::Get(key)], ..Txn::default() }).await?;
        Ok(reply.got(0).cloned())
    }

    /// Writes a document of the leader, if the fence holds.
    async fn put_led(&self, key: String, bytes: Bytes, fence: Fence) -> Result<u64, Error> {
        let Fence { leader_epoch, after } = fence;
        let leader = self.keys.leader_epoch();
        let unchanged = match after {
            Some(revision) => When::Revision(key.clone(), revision),
            None => When::Absent(key.clone()),
        };
        let txn = Txn {
            when: vec![When::Value(leader.clone(), numbers::write(leader_epoch)), unchanged],
            then: vec![Op::Put { key: key.clone(), value: bytes, lease: None }],
            otherwise: vec![Op::Get(leader), Op::Get(key)],
        };
        let reply = self.repeatable(txn).await?;
        if reply.held {
            return Ok(reply.revision);
        }
        let found = reply.got(0).and_then(numbers::read);
        if found != Some(leader_epoch) {
            return Err(Conflict::LeaderEpoch { expected: leader_epoch, found }.into());
        }
        let found = reply.got(1).map(|record| record.mod_revision);
        Err(Conflict::Document { expected: after, found }.into())
    }

    async fn forget(&self, leader_epoch: u64) -> Result<(), Error> {
        let leader = self.keys.leader_epoch();
        let txn = Txn {
            when: vec![When::Value(leader.clone(), numbers::write(leader_epoch))],
            then: vec![Op::DeleteAll(self.keys.prefix().to_owned())],
            otherwise: vec![Op::Get(leader)],
        };
        let reply = self.repeatable(txn).await?;
        match reply.got(0) {
            _ if reply.held => Ok(()),
            // Without a leader epoch there is nothing of an operator left.
            None => Ok(()),
            Some(found) => {
                let found = numbers::read(found);
                Err(Conflict::LeaderEpoch { expected: leader_epoch, found }.into())
            }
        }
    }

    async fn claims(&self, txn: Result<Txn, Error>, expected: Option<u64>) -> Result<Outcome<Vec<Change>>, Error> {
        match self.kv.txn(txn?).await? {
            Outcome::Known(reply) => claims::changes(&reply, expected).map(Outcome::Known),
            Outcome::Unknown => Ok(Outcome::Unknown),
        }
    }
}

/// A registry that is a ledger and nothing else.
pub(crate) trait Ledgered: Send + Sync + 'static {
    type Kv: Kv;
    fn ledger(&self) -> &Ledger<Self::Kv>;
}

impl<T: Ledgered> Registry for T {
    fn grant(&self, ttl_ms: u64) -> Call<'_, Lease> {
        Box::pin(self.ledger().kv.grant(ttl_ms))
    }

    fn keep_alive(&self, lease: Lease, within: Duration) -> Call<'_, u64> {
        Box::pin(self.ledger().kv.keep_alive(lease, within))
    }

    fn revoke(&self, lease: LeaseId) -> Call<'_, ()> {
        Box::pin(self.ledger().kv.revoke(lease))
    }

    fn put_member(&self, role: Role, instance: &InstanceId, lease: LeaseId, member: &Member) -> Call<'_, ()> {
        let put = encode(member).map(|value| Op::Put {
            key: self.ledger().keys.member(role, instance),
            value,
            lease: Some(lease),
        });
        Box::pin(async move {
            self.ledger().repeatable(Txn { then: vec![put?], ..Txn::default() }).await?;
            Ok(())
        })
    }

    fn claim(
        &self,
        keys: &[ClaimKey],
        holder: &Holder,
        lease: LeaseId,
        incarnation: u64,
    ) -> Call<'_, Outcome<Vec<Change>>> {
        let txn = claims::claim(&self.ledger().keys, keys, holder, lease, incarnation);
        Box::pin(self.ledger().claims(txn, Some(incarnation)))
    }

    fn give_up(&self, own: &[Own]) -> Call<'_, Outcome<Vec<Change>>> {
        Box::pin(self.ledger().claims(claims::give_up(&self.ledger().keys, own), None))
    }

    fn bump(&self, own: &[Own], holder: &Holder, incarnation: u64) -> Call<'_, Outcome<Vec<Change>>> {
        Box::pin(
            self.ledger()
                .claims(claims::rewrite(&self.ledger().keys, own, holder, None, incarnation), Some(incarnation)),
        )
    }

    fn move_claim(&self, own: &Own, to: &Holder, to_lease: LeaseId, incarnation: u64) -> Call<'_, Outcome<Change>> {
        let txn = claims::rewrite(&self.ledger().keys, std::slice::from_ref(own), to, Some(to_lease), incarnation);
        Box::pin(async move {
            Ok(match self.ledger().claims(txn, Some(incarnation)).await? {
                Outcome::Known(changes) => {
                    Outcome::Known(changes.into_iter().next().unwrap_or(Change::Lost { now: None }))
                }
                Outcome::Unknown => Outcome::Unknown,
            })
        })
    }

    fn read_claims(&self, keys: &[ClaimKey]) -> Call<'_, ClaimsRead> {
        let txn = claims::read(&self.ledger().keys, keys);
        let asked = keys.len();
        Box::pin(async move { Ok(claims::found(&self.ledger().repeatable(txn?).await?, asked)) })
    }

    fn incarnation(&self) -> Call<'_, Option<u64>> {
        Box::pin(async move {
            Ok(self.ledger().read(self.ledger().keys.incarnation()).await?.as_ref().and_then(numbers::read))
        })
    }

    fn create_incarnation(&self, incarnation: u64) -> Call<'_, u64> {
        let key = self.ledger().keys.incarnation();
        Box::pin(self.ledger().settle(When::Absent(key.clone()), key, incarnation))
    }

    fn raise_incarnation(&self, from: u64, to: u64) -> Call<'_, u64> {
        Box::pin(async move {
            if to <= from {
                return Err(Error::refused(format!("an incarnation only grows, and {to} is not more than {from}")));
            }
            let key = self.ledger().keys.incarnation();
            self.ledger().settle(When::Value(key.clone(), numbers::write(from)), key, to).await
        })
    }

    fn next_leader_epoch(&self, above: u64) -> Call<'_, u64> {
        Box::pin(self.ledger().next_leader(above))
    }

    fn leader_epoch(&self) -> Call<'_, Option<u64>> {
        Box::pin(async move {
            Ok(self.ledger().read(self.ledger().keys.leader_epoch()).await?.as_ref().and_then(numbers::read))
        })
    }

    fn placement(&self, role: Role) -> Call<'_, Option<Placement>> {
        Box::pin(async move {
            let record = self.ledger().read(self.ledger().keys.placement(role)).await?;
            Ok(record.map(|record| Placement { bytes: record.value, mod_revision: record.mod_revision }))
        })
    }

    fn put_placement(&self, role: Role, bytes: Bytes, fence: Fence) -> Call<'_, u64> {
        Box::pin(self.ledger().put_led(self.ledger().keys.placement(role), bytes, fence))
    }

    fn put_target(&self, role: Role, bytes: Bytes, fence: Fence) -> Call<'_, u64> {
        Box::pin(self.ledger().put_led(self.ledger().keys.target(role), bytes, fence))
    }

    fn put_policy(&self, policy: &Policy, after: Option<u64>) -> Call<'_, u64> {
        let (fence, encoded) = (Fence { leader_epoch: policy.leader_epoch, after }, encode(policy));
        Box::pin(async move { self.ledger().put_led(self.ledger().keys.policy(), encoded?, fence).await })
    }

    fn forget_cluster(&self, leader_epoch: u64) -> Call<'_, ()> {
        Box::pin(self.ledger().forget(leader_epoch))
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.ledger().kv.watch()
    }
}

fn encode(value: &impl serde::Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::refused(format!("it cannot be written: {error}")))
}
