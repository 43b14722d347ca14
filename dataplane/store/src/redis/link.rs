//! A connection that comes back: every call has a deadline, and waits for a connection no longer than that.
//!
//! One task a link connects, checks the server ([`super::health`]), loads the functions, and starts over when a call says
//! that the connection is broken. What an operator has to mend is answered at once, everything else is waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, RedisResult, Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::failure::{self, Remedy};
use super::health::{self, Health};
use super::options::Credentials;
use super::sentinel::Sentinels;
use super::wire::{Request, Target, Wire};
use super::{command, reply, sentinel};
use crate::StoreError;

/// First and longest wait between two attempts to connect; each is cut by a random half, so that a fleet does not knock
/// in step.
const BACKOFF_FIRST_MS: u64 = 50;
const BACKOFF_LONGEST_MS: u64 = 2_000;
/// Connecting, checking and loading together.
const PREPARE: Duration = Duration::from_secs(3);
/// A connection on which calls ran into their deadlines and nothing was answered for so long is given up.
const SILENT: Duration = Duration::from_secs(3);

/// A connection that comes back.
pub(super) struct Link {
    state: watch::Receiver<State>,
    broken: watch::Sender<u64>,
    target: Arc<Mutex<Target>>,
    /// The newest connection that was made with other credentials than those of now; 0: none.
    outdated: AtomicU64,
    /// Milliseconds from `started` to the last answer.
    answered_ms: AtomicU64,
    started: Instant,
    /// Cuts the wait for the next attempt to connect.
    hurry: Arc<Notify>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct State {
    generation: u64,
    wire: Result<Wire, StoreError>,
    health: Health,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Starts connecting.
    pub(super) fn start(target: Target) -> Self {
        let first = State {
            generation: 0,
            wire: Err(StoreError::unavailable("not connected to Redis yet")),
            health: Health::default(),
        };
        let (state_sender, state) = watch::channel(first);
        let (broken, broken_receiver) = watch::channel(0);
        let target = Arc::new(Mutex::new(target));
        let hurry = Arc::new(Notify::new());
        let task = tokio::spawn(keep_connected(Arc::clone(&target), state_sender, broken_receiver, Arc::clone(&hurry)));
        let (outdated, answered_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { state, broken, target, outdated, answered_ms, started: Instant::now(), hurry, task }
    }

    /// What the server promised when last connected.
    pub(super) fn health(&self) -> Health {
        self.state.borrow().health.clone()
    }

    /// Waits until it is connected, or refused.
    pub(super) async fn ready(&self, within: Duration) -> Result<(), StoreError> {
        self.wire(Instant::now() + within).await.map(|_| ())
    }

    /// Uses these credentials from the next connection on. One that works goes on: the new ones may be wrong, or not known
    /// to Redis yet. One that Redis refuses from now on is made anew.
    pub(super) fn replace_credentials(&self, credentials: Credentials) {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).replace_credentials(credentials);
        self.outdated.store(self.state.borrow().generation, Ordering::Relaxed);
        self.hurry.notify_one();
    }

    /// Sends one command.
    pub(super) async fn one(&self, within_ms: u64, command: &Cmd) -> Result<Value, StoreError> {
        only(self.call(within_ms, &|| Request::One(command.clone())).await?)
    }

    /// Sends commands of one hash tag.
    pub(super) async fn in_order(&self, within_ms: u64, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        self.call(within_ms, &|| Request::InOrder(commands.to_vec())).await
    }

    /// Asks every primary.
    pub(super) async fn everywhere(&self, within_ms: u64, command: &Cmd) -> Result<(), StoreError> {
        self.call(within_ms, &|| Request::Everywhere(command.clone())).await.map(|_| ())
    }

    /// Makes a call that may be repeated, again on a new connection if need be, until its deadline. Each attempt is made
    /// anew.
    pub(super) async fn call(
        &self,
        within_ms: u64,
        make: &(dyn Fn() -> Request + Sync),
    ) -> Result<Vec<Value>, StoreError> {
        let deadline = Instant::now() + Duration::from_millis(within_ms);
        let mut remedied = false;
        loop {
            let (generation, mut wire) = self.wire(deadline).await?;
            let failure = match timeout_at(deadline, wire.send(make())).await {
                Ok(Ok(values)) => {
                    self.note_answer();
                    return Ok(values);
                }
                Ok(Err(error)) => failure::of(&error),
                Err(_) => {
                    if self.silent_for() >= SILENT {
                        self.give_up(generation);
                    }
                    return Err(StoreError::unavailable(format!("Redis did not answer within {within_ms} ms")));
                }
            };
            match failure.remedy {
                // A cluster client mends its own connections; a new one would only disturb the other nodes.
                Remedy::Reconnect if wire.is_cluster() && self.silent_for() < SILENT => return Err(failure.error),
                Remedy::Reconnect => self.give_up(generation),
                Remedy::None
                    if matches!(failure.error, StoreError::Refused { .. })
                        && self.outdated.load(Ordering::Relaxed) >= generation =>
                {
                    self.give_up(generation);
                }
                Remedy::Load if !remedied => {
                    remedied = true;
                    // In a cluster the node that lacks them may have them now though another one is down.
                    if let Ok(Err(error)) = timeout_at(deadline, load(&mut wire)).await
                        && !wire.is_cluster()
                    {
                        return Err(failure::of(&error).error);
                    }
                }
                Remedy::Follow if !remedied => {
                    remedied = true;
                    let _ = timeout_at(deadline, follow(&mut wire, make())).await;
                }
                Remedy::None | Remedy::Load | Remedy::Follow => {
                    self.note_answer();
                    return Err(failure.error);
                }
            }
        }
    }

    /// A connection, as soon as there is one.
    async fn wire(&self, deadline: Instant) -> Result<(u64, Wire), StoreError> {
        let mut state = self.state.clone();
        // A connection that was given up is shown until the task has seen that.
        let usable = |state: &State| match &state.wire {
            Ok(_) => state.generation > *self.broken.borrow(),
            Err(error) => matches!(error, StoreError::Refused { .. }),
        };
        if let Ok(Ok(state)) = timeout_at(deadline, state.wait_for(usable)).await {
            return state.wire.clone().map(|wire| (state.generation, wire));
        }
        let why = self.state.borrow().wire.as_ref().err().cloned();
        Err(why.unwrap_or_else(|| StoreError::unavailable("not connected to Redis")))
    }

    fn give_up(&self, generation: u64) {
        self.broken.send_if_modified(|broken| {
            let newer = generation > *broken;
            *broken = generation.max(*broken);
            newer
        });
    }

    fn note_answer(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered_ms.store(now, Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.answered_ms.load(Ordering::Relaxed)))
    }
}

async fn keep_connected(
    target: Arc<Mutex<Target>>,
    state: watch::Sender<State>,
    mut broken: watch::Receiver<u64>,
    hurry: Arc<Notify>,
) {
    let mut generation = 0;
    let mut backoff_ms = BACKOFF_FIRST_MS;
    loop {
        let target = target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sentinels = target.sentinels();
        // Asked before connecting: a failover in between is then seen as one.
        let primary = primary(&mut sentinels).await;
        let prepared = match timeout(PREPARE, prepare(&target)).await {
            Ok(prepared) => prepared,
            Err(_) => Err(StoreError::unavailable("Redis did not answer while connecting")),
        };
        match prepared {
            Ok((wire, health)) => {
                generation += 1;
                backoff_ms = BACKOFF_FIRST_MS;
                for warning in &health.warnings {
                    tracing::warn!(target: "throng::store", "{warning}");
                }
                state.send_replace(State { generation, wire: Ok(wire), health });
                tokio::select! {
                    given_up = broken.wait_for(|broken| *broken >= generation) => {
                        if given_up.is_err() {
                            return;
                        }
                        tracing::warn!(target: "throng::store", "connection to Redis lost");
                    }
                    () = replaced(&mut sentinels, primary) => {
                        tracing::warn!(target: "throng::store", "the Sentinels name another primary");
                    }
                }
                state.send_modify(|state| state.wire = Err(StoreError::unavailable("connection to Redis lost")));
            }
            Err(error) => {
                tracing::warn!(target: "throng::store", %error, "cannot connect to Redis");
                state.send_modify(|state| state.wire = Err(error));
            }
        }
        let _ = timeout(Duration::from_millis(jittered(backoff_ms)), hurry.notified()).await;
        backoff_ms = (backoff_ms * 2).min(BACKOFF_LONGEST_MS);
    }
}

async fn primary(sentinels: &mut Option<Sentinels>) -> Option<(String, u16)> {
    match sentinels {
        Some(sentinels) => sentinels.primary().await,
        None => None,
    }
}

/// Waits until the Sentinels, if there are any, name another primary than this one.
async fn replaced(sentinels: &mut Option<Sentinels>, mut known: Option<(String, u16)>) {
    loop {
        sleep(if sentinels.is_some() { sentinel::EVERY } else { Duration::MAX }).await;
        let named = primary(sentinels).await;
        if named.is_some() && known.is_some() && named != known {
            return;
        }
        known = known.or(named);
    }
}

fn only(values: Vec<Value>) -> Result<Value, StoreError> {
    reply::next(&mut values.into_iter())
}

fn jittered(ms: u64) -> u64 {
    ms - rand::random_range(0..=ms / 2)
}

/// Connects, judges the server and loads the functions.
async fn prepare(target: &Target) -> Result<(Wire, Health), StoreError> {
    let sort = |error: redis::RedisError| failure::of(&error).error;
    let mut wire = target.connect().await.map_err(sort)?;
    let health = match wire.everywhere(&cmd("INFO")).await {
        Ok(replies) => {
            let texts = replies.into_iter().map(|info| reply::text(info.map_err(sort)?));
            let healths = texts.map(|info| health::assess(&info?)).collect::<Result<Vec<_>, _>>()?;
            health::together(healths)
        }
        // The rest of a cluster must stay usable while one primary is down.
        Err(_) if wire.is_cluster() => Health {
            durable: false,
            warnings: vec!["a primary of the Redis Cluster did not answer and could not be checked".to_owned()],
        },
        Err(error) => return Err(sort(error)),
    };
    match load(&mut wire).await {
        Ok(()) => {}
        Err(error) => match failure::of(&error).error {
            refused @ StoreError::Refused { .. } => return Err(refused),
            // A full Redis refuses to load, but may have the functions; a call that misses them loads them again.
            other => {
                tracing::warn!(target: "throng::store", error = %other, "cannot load the functions into Redis now");
            }
        },
    }
    Ok((wire, health))
}

/// Loads the functions on every primary. Loading them again changes nothing.
async fn load(wire: &mut Wire) -> RedisResult<()> {
    let mut load = cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(&command::library().1);
    wire.everywhere(&load).await?.into_iter().collect::<RedisResult<Vec<Value>>>()?;
    Ok(())
}

/// Makes a cluster client look again where a key is: a pipeline does not follow a moved key, a single command does.
async fn follow(wire: &mut Wire, request: Request) -> RedisResult<()> {
    if let Request::InOrder(commands) = request
        && let Some(first) = commands.into_iter().next()
    {
        wire.send(Request::One(first)).await?;
    }
    Ok(())
}
