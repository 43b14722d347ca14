//! Sees the Lease, does what [`super::decide`] says, and tells the process whether it leads.
//!
//! Its client retries nothing: a renewal that is repeated behind its back could outlive the Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use throng_core::Millis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::decide::{MAY_WRITE, RELEASED, Record, Sighting, VALID, Verdict, evaluate, pause};
use crate::names;

/// Longest wait for an answer about the Lease.
const CALL: Duration = Duration::from_secs(3);

/// A time during which this process leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// How often the Lease has changed hands: it grows with every leader.
    pub number: u32,
    /// When this process must have stopped to write, unless it renews.
    pub until: Instant,
}

impl Term {
    /// How long a call may take that wants `most`: never beyond the term. None: the term is over.
    #[must_use]
    pub fn within(&self, most: Duration) -> Option<Duration> {
        let left = self.until.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then(|| left.min(most))
    }
}

/// Whether this process leads. Cheap to copy and to ask.
#[derive(Clone, Debug)]
pub struct Leadership {
    terms: watch::Receiver<Option<Term>>,
    leads: watch::Receiver<bool>,
}

impl Leadership {
    /// The term, if this process leads now.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        let term = *self.terms.borrow();
        term.filter(|term| term.until > Instant::now())
    }

    /// Waits until the process begins or ceases to lead.
    pub async fn changed(&mut self) {
        if self.leads.changed().await.is_err() {
            // The keeper is gone, and with it the process, in a moment.
            std::future::pending::<()>().await;
        }
    }
}

/// Why a look at the Lease failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server did not answer about the Lease within {} s", CALL.as_secs())]
    Late,
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// Keeps the Lease. One for each process.
pub struct Keeper {
    api: Api<Lease>,
    name: String,
    me: String,
    terms: watch::Sender<Option<Term>>,
    leads: watch::Sender<bool>,
    seen: Option<Sighting>,
    origin: Instant,
}

impl Keeper {
    /// A keeper of the Lease `name`, in the name of `me`, which no other process ever has.
    #[must_use]
    pub fn new(api: Api<Lease>, name: &str, me: &str) -> (Self, Leadership) {
        let (terms, watched_terms) = watch::channel(None);
        let (leads, watched_leads) = watch::channel(false);
        let keeper = Self { api, name: name.into(), me: me.into(), terms, leads, seen: None, origin: Instant::now() };
        (keeper, Leadership { terms: watched_terms, leads: watched_leads })
    }

    /// Keeps it until stopped, and gives it back then.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let began = Instant::now();
            if let Err(error) = self.look().await {
                warn!(%error, "the Lease could not be looked after");
            }
            self.notice_the_end();
            let leads = self.terms.borrow().is_some();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(began + pause(leads)) => {}
            }
        }
        self.leads.send_replace(false);
        if self.terms.send_replace(None).is_some() {
            match self.release().await {
                Ok(()) => info!("gave the lead back"),
                Err(error) => warn!(%error, "could not give the lead back: another takes it in {} s", VALID.as_secs()),
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let stored = in_time(self.api.get_opt(&self.name)).await?;
        let now = self.now();
        let seen = Sighting::next(self.seen.as_ref(), stored.as_ref().map(record), now);
        let verdict = evaluate(&seen, &self.me, now);
        self.seen = Some(seen);
        // A renewal counts from when it is sent.
        let sent = Instant::now();
        let number = match verdict {
            Verdict::Yield => {
                self.lose("another process has the Lease");
                return Ok(());
            }
            Verdict::Acquire { transitions } => transitions,
            Verdict::Renew => stored.as_ref().map_or(1, |lease| record(lease).transitions),
        };
        match in_time(self.write(stored.as_ref(), &self.me, number, VALID)).await {
            Ok(written) => {
                self.seen = Some(Sighting::next(None, Some(record(&written)), now));
                let before = self.terms.send_replace(Some(Term { number, until: sent + MAY_WRITE }));
                if before.is_none() {
                    self.leads.send_replace(true);
                    info!(term = number, "leads");
                }
                Ok(())
            }
            // Somebody else was faster: the next look shows who.
            Err(Error::Kube(kube::Error::Api(status))) if status.is_conflict() || status.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, stored: Option<&Lease>, holder: &str, number: u32, valid: Duration) -> kube::Result<Lease> {
        let now = MicroTime(Timestamp::now());
        let mut spec = stored.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(holder) {
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(holder.to_owned());
        spec.lease_transitions = i32::try_from(number).ok();
        spec.lease_duration_seconds = i32::try_from(valid.as_secs()).ok();
        spec.renew_time = Some(now);
        let params = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
        match stored {
            // The version that was read goes with it: two who write at once cannot both succeed.
            Some(lease) => self.api.replace(&self.name, &params, &Lease { spec: Some(spec), ..lease.clone() }).await,
            None => self.api.create(&params, &self.fresh(spec)).await,
        }
    }

    fn fresh(&self, spec: LeaseSpec) -> Lease {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    /// Says that nobody has it, if it is still one's own.
    async fn release(&self) -> Result<(), Error> {
        let Some(stored) = in_time(self.api.get_opt(&self.name)).await? else { return Ok(()) };
        let found = record(&stored);
        if found.holder == self.me {
            in_time(self.write(Some(&stored), "", found.transitions, RELEASED)).await?;
        }
        Ok(())
    }

    fn notice_the_end(&self) {
        let over = self.terms.borrow().is_some_and(|term| term.until <= Instant::now());
        if over {
            self.lose("it could not be renewed");
        }
    }

    fn lose(&self, why: &str) {
        if self.terms.send_replace(None).is_some() {
            self.leads.send_replace(false);
            warn!(why, "leads no more");
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    Ok(timeout(CALL, call).await.map_err(|_| Error::Late)??)
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
    let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        transitions: u32::try_from(transitions).unwrap_or(0),
        valid_ms: u64::try_from(seconds).unwrap_or(0) * 1000,
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
