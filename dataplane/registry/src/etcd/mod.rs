//! The registry in etcd (3.4 or later).
//!
//! [`EtcdOptions`] say where; [`link`] is the connection, [`failure`] tells what its failures mean, [`convert`] speaks its
//! language, and [`watcher`] keeps the view. What the operations mean is in [`crate::ledger`].

mod convert;
mod failure;
mod link;
mod options;
mod watcher;

#[cfg(test)]
#[path = "../../tests/support/etcd_server.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests")]
mod etcd_server;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::options::{Credentials, EtcdOptions, Pem, Tls};

use self::failure::Failure;
use self::link::Link;
use self::watcher::Watcher;
use crate::api::Outcome;
use crate::error::Error;
use crate::keys::Keys;
use crate::kv::{Kv, Op, Txn, TxnReply};
use crate::ledger::{Ledger, Ledgered};
use crate::model::{Lease, LeaseId};
use crate::view::View;

/// The registry of a cluster, kept in etcd. Clones share one connection and one watch.
#[derive(Clone)]
pub struct EtcdRegistry {
    ledger: Arc<Ledger<EtcdKv>>,
}

impl EtcdRegistry {
    /// A registry that connects by itself, now and whenever it must; it fails only on options that can never work. It lives
    /// on the runtime that it is made on, which must have time and I/O enabled.
    pub fn new(options: EtcdOptions) -> Result<Self, Error> {
        options.check()?;
        let keys = Keys::new(&options.namespace, &options.cluster)?;
        let link = Arc::new(Link::new(options));
        let watcher = Watcher::new(Arc::clone(&link), keys.clone());
        let views = watcher.views();
        let kv = EtcdKv { link, views, watching: tokio::spawn(watcher.run()) };
        Ok(Self { ledger: Arc::new(Ledger { keys, kv }) })
    }

    /// Deletes every key of the cluster, for whoever made one to throw it away; returns how many there were. Nobody may
    /// use it any more: what is written afterwards stays. [`Error::Unavailable`] may mean that it was done: repeat it.
    pub async fn erase(&self, within: Duration) -> Result<u64, Error> {
        let Ledger { keys, kv } = &*self.ledger;
        let delete = |client: etcd_client::Client| async move {
            let all = etcd_client::DeleteOptions::new().with_prefix();
            client.kv_client().delete(keys.prefix(), Some(all)).await
        };
        let deleted = kv.link.call(within, delete).await.map_err(Failure::repeatable)?;
        Ok(u64::try_from(deleted.deleted()).unwrap_or(0))
    }
}

impl Ledgered for EtcdRegistry {
    type Kv = EtcdKv;

    fn ledger(&self) -> &Ledger<EtcdKv> {
        &self.ledger
    }
}

pub(crate) struct EtcdKv {
    link: Arc<Link>,
    views: watch::Sender<Arc<View>>,
    watching: JoinHandle<()>,
}

impl Drop for EtcdKv {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Kv for EtcdKv {
    async fn grant(&self, ttl_ms: u64) -> Result<Lease, Error> {
        let seconds = i64::try_from(ttl_ms.div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        let grant = |mut client: etcd_client::Client| async move { client.lease_grant(seconds, None).await };
        let granted = self.link.call(self.link.usual(), grant).await.map_err(Failure::repeatable)?;
        let ttl_ms = u64::try_from(granted.ttl()).unwrap_or(0).saturating_mul(1000);
        Ok(Lease { id: LeaseId(granted.id()), ttl_ms })
    }

    /// etcd renews for the time that was granted, always; the client confirms the renewal and keeps the number to itself.
    async fn keep_alive(&self, lease: Lease, within: Duration) -> Result<u64, Error> {
        let renew = |mut client: etcd_client::Client| async move { client.lease_keep_alive(lease.id.0).await };
        match self.link.call(within, renew).await {
            Ok(_) => Ok(lease.ttl_ms),
            Err(Failure::NoLease) => Err(Error::LeaseGone(lease.id)),
            Err(failure) => Err(failure.repeatable()),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let revoke = |mut client: etcd_client::Client| async move { client.lease_revoke(lease.0).await };
        match self.link.call(self.link.usual(), revoke).await {
            Ok(_) | Err(Failure::NoLease) => Ok(()),
            Err(failure) => Err(failure.repeatable()),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome<TxnReply>, Error> {
        let (writes, lease) = (txn.writes(), named_lease(&txn));
        let request = &convert::txn(txn);
        let send = |client: etcd_client::Client| async move { client.kv_client().txn(request.clone()).await };
        match self.link.call(self.link.usual(), send).await {
            Ok(response) => Ok(Outcome::Known(convert::reply(&response))),
            Err(Failure::Unanswered(reason)) if writes => {
                tracing::debug!(reason, "a write has an unknown outcome");
                Ok(Outcome::Unknown)
            }
            Err(Failure::NoLease) => Err(lease.map_or_else(|| Failure::NoLease.repeatable(), Error::LeaseGone)),
            Err(failure) => Err(failure.repeatable()),
        }
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }
}

/// The lease that a transaction attaches keys to; the registry's never name two.
fn named_lease(txn: &Txn) -> Option<LeaseId> {
    txn.then.iter().find_map(|op| match op {
        Op::Put { lease, .. } => *lease,
        Op::Branch(txn) => named_lease(txn),
        Op::Delete(_) | Op::DeleteAll(_) | Op::Get(_) => None,
    })
}
