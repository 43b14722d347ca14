//! The connection to etcd: made when first needed, made anew when it is no good, and every use of it under a deadline.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::failure::Failure;
use super::options::EtcdOptions;
use crate::error::Error;

/// Calls without an answer, one after the other, after which the connection is made anew: its other end may be gone without
/// a word. Not at the first: an etcd that is merely slow is not helped by new connections, and authentication is costly.
const UNANSWERED_MOST: u32 = 3;
/// Pause before another endpoint is tried.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Link {
    pub(super) options: EtcdOptions,
    client: Mutex<Option<Client>>,
    unanswered: AtomicU32,
}

impl Link {
    pub(super) const fn new(options: EtcdOptions) -> Self {
        Self { options, client: Mutex::const_new(None), unanswered: AtomicU32::new(0) }
    }

    /// The deadline of a call that is not given one.
    pub(super) const fn usual(&self) -> Duration {
        Duration::from_millis(self.options.call_ms)
    }

    /// Makes a request, within a deadline. What could not be sent is tried again while there are other endpoints.
    pub(super) async fn call<T, F>(&self, within: Duration, request: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + within;
        let mut tries = self.options.endpoints.len();
        loop {
            let client = self.client(deadline).await?;
            let failure = match timeout_at(deadline, request(client)).await {
                Ok(Ok(answer)) => {
                    self.unanswered.store(0, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(error)) => Failure::from(error),
                Err(_) => Failure::Unanswered(format!("no answer within {} ms", within.as_millis())),
            };
            tries -= 1;
            if tries > 0 && matches!(failure, Failure::Unsent(_)) && Instant::now() + RETRY_PAUSE < deadline {
                sleep(RETRY_PAUSE).await;
                continue;
            }
            self.note(&failure).await;
            return Err(failure);
        }
    }

    /// Drops the connection: the next call makes another.
    pub(super) async fn forget(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
        *self.client.lock().await = None;
    }

    async fn note(&self, failure: &Failure) {
        let silent = matches!(failure, Failure::Unanswered(_))
            && self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_MOST;
        if silent || failure.spoils_the_client() {
            self.forget().await;
        }
    }

    /// The client; nothing of the caller's was sent if there is none.
    async fn client(&self, deadline: Instant) -> Result<Client, Failure> {
        let late = |_| Failure::Unsent("no connection in time".to_owned());
        let mut slot = timeout_at(deadline, self.client.lock()).await.map_err(late)?;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let options = self.options.connect().map_err(Failure::Answered)?;
        let connecting = Client::connect(&self.options.endpoints, Some(options));
        let client = timeout_at(deadline, connecting).await.map_err(late)?.map_err(not_connected)?;
        *slot = Some(client.clone());
        Ok(client)
    }
}

/// Only credentials were sent so far.
fn not_connected(error: etcd_client::Error) -> Failure {
    match Failure::from(error) {
        Failure::Unanswered(reason) => Failure::Unsent(reason),
        Failure::NoLease => Failure::Answered(Error::unavailable("etcd answered something else")),
        failure => failure,
    }
}
