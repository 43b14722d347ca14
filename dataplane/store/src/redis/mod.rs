//! The store in Redis 7.0 or later: Standalone, Sentinel or Cluster.
//!
//! [`names`] says which keys there are and which share a hash tag; [`command`] turns writes into one Function call a tag,
//! `functions.lua` carries them out under their fence; [`load`] reads rooms back; [`own`] holds the ownership keys. [`link`]
//! keeps two connections: one for ownership, one for everything that may take long. [`erase`] deletes all of it. [`failure`] and [`health`] judge what
//! Redis says.

mod command;
mod erase;
mod failure;
mod health;
mod link;
mod load;
mod names;
mod options;
mod own;
mod reply;
mod sentinel;
mod text;
mod tls;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};
use throng_core::{Epoch, InstanceId, RoomId, Slot};
use tokio::time::Instant;

use self::link::Link;
use self::names::Names;
pub use self::options::{Credentials, RedisMode, RedisOptions, Secret};
pub use self::tls::Tls;
use self::wire::{Request, Target};
use crate::StoreError;
use crate::image::{MemberCursor, MemberPage, RoomImage, StoredRoom};
use crate::ownership::{AnySlot, Birth, Fence, GraceCreated, Raised, Renewal};
use crate::store::{BoxFuture, Description, Kind, Store};
use crate::write::{Batch, Tag, Write, Written, tags};
use crate::{LogPage, LogRange};

/// After too few replicas answered, batches do not wait for them for so long: else every batch would take the full wait.
const REPLICAS_AWAY: Duration = Duration::from_secs(1);
/// How often a write that was overtaken by another call of this handle is sent again.
const OVERTAKEN_RETRIES: u32 = 3;

/// The store in Redis, as one instance sees it. One handle a process: its writes are numbered.
pub struct RedisStore {
    options: RedisOptions,
    names: Names,
    /// Ownership, pings.
    control: Link,
    /// Writes and loads.
    bulk: Link,
    /// Number of the last call of a write function.
    calls: AtomicU64,
    started: Instant,
    /// Milliseconds after `started` until which replicas are not waited for.
    replicas_away_until_ms: AtomicU64,
}

impl RedisStore {
    /// Checks the options and starts connecting, inside a tokio runtime. Fails only with [`StoreError::Refused`], if the
    /// options make no sense; a Redis that is away is waited for.
    pub fn open(options: RedisOptions) -> Result<Self, StoreError> {
        let names = Names::new(&options.namespace, &options.cluster)?;
        let target = Target::new(&options)?;
        Ok(Self {
            names,
            control: Link::start(target.clone()),
            bulk: Link::start(target),
            calls: AtomicU64::new(0),
            started: Instant::now(),
            replicas_away_until_ms: AtomicU64::new(0),
            options,
        })
    }

    /// Waits until Redis was reached and found usable. [`StoreError::Refused`] says what somebody has to change.
    pub async fn ready(&self, within: Duration) -> Result<(), StoreError> {
        self.control.ready(within).await?;
        self.bulk.ready(within).await
    }

    /// Uses these credentials from the next connection on, after a secret was changed. A connection that works goes on.
    pub fn replace_credentials(&self, credentials: &Credentials) {
        self.control.replace_credentials(credentials.clone());
        self.bulk.replace_credentials(credentials.clone());
    }

    async fn write_batch(&self, slot: Slot, epoch: Epoch, batch: Batch) -> Result<Written, StoreError> {
        let mut written = Written { emptied: false, confirmed: true };
        for tag in tags(slot, &batch.writes)? {
            let of_tag: Vec<&Write> = batch.writes.iter().filter(|write| write.tag(slot) == tag).collect();
            let done = self.write_tag(&tag, epoch, &of_tag, batch.confirm).await?;
            written.emptied |= done.emptied;
            written.confirmed &= done.confirmed;
        }
        Ok(written)
    }

    /// Writes what belongs to one tag, as one function call.
    async fn write_tag(
        &self,
        tag: &Tag,
        epoch: Epoch,
        writes: &[&Write],
        confirm: bool,
    ) -> Result<Written, StoreError> {
        let function = if writes.iter().all(|write| write.frees()) { "free" } else { "write" };
        // Each attempt has a number of its own: one that arrives after a later one is recognised and dropped.
        let make = || {
            let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
            let call =
                command::write_call(&self.names, tag, epoch, number, writes.iter().copied(), &self.options.limits);
            let mut command = own::fcall(function, &call.keys);
            for arg in &call.args {
                command.arg(arg.as_ref());
            }
            command
        };
        for _ in 0..OVERTAKEN_RETRIES {
            let (reply, confirmed) = self.call_confirmed(&self.bulk, self.options.write_ms, &make, confirm).await?;
            let mut reply = reply::array(reply)?.into_iter();
            let word = reply::text(reply::next(&mut reply)?)?;
            match word.as_str() {
                "OK" => {
                    let emptied = reply::number(reply::next(&mut reply)?)? == 1;
                    return Ok(Written { emptied, confirmed });
                }
                "STALE" => return Err(StoreError::Stale { epoch: Epoch(reply::number(reply::next(&mut reply)?)?) }),
                _ => {}
            }
        }
        Err(StoreError::unavailable("other writes of this process to the same room slot overtook this one"))
    }

    /// Makes a call, and waits for replicas if asked to and configured. The wait goes down the same socket right behind the
    /// call: on another one it would say nothing about it.
    async fn call_confirmed(
        &self,
        link: &Link,
        within_ms: u64,
        make: &(dyn Fn() -> Cmd + Sync),
        confirm: bool,
    ) -> Result<(Value, bool), StoreError> {
        if !confirm || self.options.wait_replicas == 0 {
            return Ok((once(link, within_ms, make).await?, true));
        }
        if self.now_ms() < self.replicas_away_until_ms.load(Ordering::Relaxed) {
            return Ok((once(link, within_ms, make).await?, false));
        }
        let mut wait = cmd("WAIT");
        wait.arg(self.options.wait_replicas).arg(self.options.wait_ms);
        let within_ms = within_ms.max(self.options.wait_ms * 2);
        let replies = link.call(within_ms, &|| Request::InOrder(vec![make(), wait.clone()])).await?;
        let mut replies = replies.into_iter();
        let reply = reply::next(&mut replies)?;
        let confirmed = reply::number(reply::next(&mut replies)?)? >= u64::from(self.options.wait_replicas);
        if !confirmed {
            let until_ms = self.now_ms() + u64::try_from(REPLICAS_AWAY.as_millis()).unwrap_or(0);
            self.replicas_away_until_ms.store(until_ms, Ordering::Relaxed);
        }
        Ok((reply, confirmed))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn once(link: &Link, within_ms: u64, make: &(dyn Fn() -> Cmd + Sync)) -> Result<Value, StoreError> {
    reply::next(&mut link.call(within_ms, &|| Request::One(make())).await?.into_iter())
}

impl Store for RedisStore {
    fn instance(&self) -> &InstanceId {
        &self.options.instance
    }

    fn description(&self) -> Description {
        let health = self.control.health();
        Description { kind: Kind::Redis, durable: health.durable, warnings: health.warnings }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.control.everywhere(self.options.control_ms, &cmd("PING")).await })
    }

    fn write(&self, slot: Slot, epoch: Epoch, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>> {
        Box::pin(self.write_batch(slot, epoch, batch))
    }

    fn rooms(&self, slot: Slot) -> BoxFuture<'_, Result<Vec<StoredRoom>, StoreError>> {
        Box::pin(self.load_rooms(slot))
    }

    fn load(&self, room: RoomId, tail: usize) -> BoxFuture<'_, Result<Option<RoomImage>, StoreError>> {
        Box::pin(async move { self.load_room(&room, tail).await })
    }

    fn log(&self, room: RoomId, range: LogRange) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        Box::pin(async move { self.load_log(&room, range).await })
    }

    fn members(&self, room: RoomId, from: MemberCursor) -> BoxFuture<'_, Result<MemberPage, StoreError>> {
        Box::pin(async move { self.load_members(&room, from).await })
    }

    fn raise_fence(
        &self,
        slot: AnySlot,
        epoch: Epoch,
        expected: Option<InstanceId>,
    ) -> BoxFuture<'_, Result<Raised, StoreError>> {
        Box::pin(self.own_raise_fence(slot, epoch, expected))
    }

    fn fence(&self, slot: AnySlot) -> BoxFuture<'_, Result<Option<Fence>, StoreError>> {
        Box::pin(self.own_fence(slot))
    }

    fn create_grace(&self, mine: Vec<(AnySlot, Epoch)>) -> BoxFuture<'_, Result<GraceCreated, StoreError>> {
        Box::pin(async move { self.own_create_grace(&mine).await })
    }

    fn renew_grace(&self) -> BoxFuture<'_, Result<Renewal, StoreError>> {
        Box::pin(self.own_renew_grace())
    }

    fn grace_left_ms(&self, instance: InstanceId) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { self.own_grace_left_ms(&instance).await })
    }

    fn revoke(&self, instance: InstanceId, slot: AnySlot, epoch: Epoch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.own_revoke(&instance, slot, epoch).await })
    }

    fn forget_instance(&self, instance: InstanceId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.own_forget_instance(&instance).await })
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.own_incarnation())
    }

    fn raise_incarnation(&self, incarnation: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.own_raise_incarnation(incarnation))
    }

    fn birth(&self) -> BoxFuture<'_, Result<Birth, StoreError>> {
        Box::pin(self.own_birth())
    }
}
