//! A registry for a gateway that another process runs as its child (`throng dev` with its gateways in processes of their
//! own): the parent writes every view as one line of JSON to the child's standard input ([`feed`]), the child shows it.
//!
//! A gateway owns nothing, so nothing needs to come back: its leases are pretended, the parent registers it as a member,
//! and whatever touches claims is refused. The end of the pipe is the end of the parent: [`PipedRegistry::closed`].

mod feed;
mod wire;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::ready;
use throng_core::policy::Policy;
use throng_core::{InstanceId, Role};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::feed::feed;

use crate::api::{Call, Outcome, Registry};
use crate::error::Error;
use crate::model::{Change, ClaimKey, ClaimsRead, Fence, Holder, Lease, LeaseId, Member, Own, Placement};
use crate::view::{View, unix_now};

/// Longest line: 8,192 claims are about 250 KB.
const LINE_MOST_BYTES: u64 = 64 * 1024 * 1024;

/// A registry that is read from a pipe. Clones share it.
#[derive(Clone)]
pub struct PipedRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    views: watch::Sender<Arc<View>>,
    closed: watch::Receiver<bool>,
    last_lease: AtomicI64,
    reading: JoinHandle<()>,
}

impl PipedRegistry {
    /// Reads views from the process's standard input, which must be a pipe. On a tokio runtime, which it then lives on.
    pub fn from_stdin() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let stdin = pipe::Receiver::from_owned_fd(stdin).map_err(|error| {
            io::Error::new(error.kind(), "standard input is not a pipe; this is started by `throng dev`")
        })?;
        Ok(Self::new(stdin))
    }

    /// Reads views from the other end of [`feed`]. On a tokio runtime, which it then lives on.
    #[must_use]
    pub fn new(input: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let views = watch::Sender::new(Arc::new(View::empty(unix_now())));
        let (closing, closed) = watch::channel(false);
        let shown = views.clone();
        let reading = tokio::spawn(async move {
            read(input, &shown).await;
            go_stale(&shown);
            closing.send_replace(true);
        });
        Self { shared: Arc::new(Shared { views, closed, last_lease: AtomicI64::new(0), reading }) }
    }

    /// Ends when the pipe does: the parent is gone, and so should the child be.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.shared.closed.clone();
        async move {
            // An error means that the reader is gone, which is as closed as can be.
            let _ = closed.wait_for(|&closed| closed).await;
        }
    }

    fn refused<T: Send + 'static>() -> Call<'static, T> {
        Box::pin(ready(Err(Error::refused("a gateway that is fed by its parent owns nothing and writes nothing"))))
    }

    fn shown(&self) -> Arc<View> {
        Arc::clone(&self.shared.views.borrow())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Shows line after line until the pipe ends or breaks. A line that cannot be read leaves the last view, marked stale.
async fn read(input: impl AsyncRead + Send + Unpin, views: &watch::Sender<Arc<View>>) {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut input).take(LINE_MOST_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) if line.last() != Some(&b'\n') => return,
            Ok(_) => match wire::decode(&line) {
                Ok(view) => {
                    views.send_replace(Arc::new(view));
                }
                Err(error) => {
                    tracing::warn!(%error, "the parent sent a view that cannot be read; are both of one version?");
                    go_stale(views);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "the pipe from the parent broke");
                return;
            }
        }
    }
}

fn go_stale(views: &watch::Sender<Arc<View>>) {
    views.send_modify(|view| *view = Arc::new(view.stale(unix_now())));
}

impl Registry for PipedRegistry {
    fn grant(&self, ttl_ms: u64) -> Call<'_, Lease> {
        let id = LeaseId(self.shared.last_lease.fetch_add(1, Ordering::Relaxed) + 1);
        Box::pin(ready(Ok(Lease { id, ttl_ms })))
    }

    fn keep_alive(&self, lease: Lease, _within: Duration) -> Call<'_, u64> {
        let closed = *self.shared.closed.borrow();
        Box::pin(ready(if closed { Err(Error::unavailable("the parent is gone")) } else { Ok(lease.ttl_ms) }))
    }

    fn revoke(&self, _lease: LeaseId) -> Call<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Done by the parent.
    fn put_member(&self, _role: Role, _instance: &InstanceId, _lease: LeaseId, _member: &Member) -> Call<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn claim(&self, _: &[ClaimKey], _: &Holder, _: LeaseId, _: u64) -> Call<'_, Outcome<Vec<Change>>> {
        Self::refused()
    }

    fn give_up(&self, _own: &[Own]) -> Call<'_, Outcome<Vec<Change>>> {
        Self::refused()
    }

    fn bump(&self, _own: &[Own], _holder: &Holder, _incarnation: u64) -> Call<'_, Outcome<Vec<Change>>> {
        Self::refused()
    }

    fn move_claim(&self, _: &Own, _: &Holder, _: LeaseId, _: u64) -> Call<'_, Outcome<Change>> {
        Self::refused()
    }

    fn read_claims(&self, _keys: &[ClaimKey]) -> Call<'_, ClaimsRead> {
        Self::refused()
    }

    fn incarnation(&self) -> Call<'_, Option<u64>> {
        Box::pin(ready(Ok(self.shown().incarnation)))
    }

    fn create_incarnation(&self, _incarnation: u64) -> Call<'_, u64> {
        Self::refused()
    }

    fn raise_incarnation(&self, _from: u64, _to: u64) -> Call<'_, u64> {
        Self::refused()
    }

    fn next_leader_epoch(&self, _above: u64) -> Call<'_, u64> {
        Self::refused()
    }

    fn leader_epoch(&self) -> Call<'_, Option<u64>> {
        Box::pin(ready(Ok(self.shown().leader_epoch)))
    }

    /// Not fed: a gateway has no use for it.
    fn placement(&self, _role: Role) -> Call<'_, Option<Placement>> {
        Self::refused()
    }

    fn put_placement(&self, _role: Role, _bytes: Bytes, _fence: Fence) -> Call<'_, u64> {
        Self::refused()
    }

    fn put_target(&self, _role: Role, _bytes: Bytes, _fence: Fence) -> Call<'_, u64> {
        Self::refused()
    }

    fn put_policy(&self, _policy: &Policy, _after: Option<u64>) -> Call<'_, u64> {
        Self::refused()
    }

    fn forget_cluster(&self, _leader_epoch: u64) -> Call<'_, ()> {
        Self::refused()
    }

    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.shared.views.subscribe()
    }
}
