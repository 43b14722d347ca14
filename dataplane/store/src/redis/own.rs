//! Fences, grace, marks, incarnation and birth: one Function call each, on a connection of their own, so that neither a big
//! load nor a wait for replicas ever delays a renewal.

use redis::{Cmd, Value, cmd};
use throng_core::{Epoch, InstanceId};

use super::{RedisStore, command, reply};
use crate::StoreError;
use crate::ownership::{AnySlot, Birth, Fence, GraceCreated, Mark, Raised, Renewal};
use crate::write::{Tag, Written};

impl RedisStore {
    pub(super) async fn own_raise_fence(
        &self,
        slot: AnySlot,
        epoch: Epoch,
        expected: Option<InstanceId>,
    ) -> Result<Raised, StoreError> {
        let expected = expected.as_ref().map_or("", InstanceId::as_str);
        let args = [slot.to_string(), epoch.to_string(), self.options.instance.to_string(), expected.to_owned()];
        let reply = self.own("raise_fence", &[self.names.fences()], &args, true).await?;
        let mut reply = reply::array(reply)?.into_iter();
        let word = reply::text(reply::next(&mut reply)?)?;
        let epoch_there = reply.next().map(reply::number).transpose()?.map(Epoch);
        let instance = reply.next().map(reply::text).transpose()?.and_then(|name| InstanceId::new(&name).ok());
        let there = epoch_there.zip(instance).map(|(epoch, instance)| Fence { epoch, instance });
        match word.as_str() {
            "MINE" => {
                // From here on no smaller epoch writes, whoever loads next.
                if let AnySlot::Room(slot) = slot {
                    let _: Written = self.write_tag(&Tag::Slot(slot), epoch, &[], false).await?;
                }
                Ok(Raised::Mine { previous: there })
            }
            "HELD" => Ok(Raised::Held { by: there }),
            _ => Err(StoreError::Stale { epoch: epoch_there.unwrap_or(Epoch::NONE) }),
        }
    }

    pub(super) async fn own_fence(&self, slot: AnySlot) -> Result<Option<Fence>, StoreError> {
        let mut command = cmd("HGET");
        command.arg(self.names.fences()).arg(slot.to_string());
        match self.control.one(self.options.control_ms, &command).await? {
            Value::Nil => Ok(None),
            value => Ok(parse_fence(&reply::text(value)?)),
        }
    }

    pub(super) async fn own_create_grace(&self, mine: &[(AnySlot, Epoch)]) -> Result<GraceCreated, StoreError> {
        let instance = &self.options.instance;
        let keys = [self.names.fences(), self.names.grace(instance), self.names.marks(instance)];
        let mut args = vec![instance.to_string(), self.options.grace_ms.to_string()];
        for (slot, epoch) in mine {
            args.push(slot.to_string());
            args.push(epoch.to_string());
        }
        let mut reply = reply::array(self.own("create_grace", &keys, &args, false).await?)?.into_iter();
        let stale = marks(reply::next(&mut reply)?)?;
        Ok(GraceCreated { stale, revoked: marks(reply::next(&mut reply)?)? })
    }

    pub(super) async fn own_renew_grace(&self) -> Result<Renewal, StoreError> {
        let instance = &self.options.instance;
        let keys = [self.names.grace(instance), self.names.marks(instance)];
        let reply = self.own("renew_grace", &keys, &[self.options.grace_ms.to_string()], false).await?;
        let mut reply = reply::array(reply)?.into_iter();
        match reply::number(reply::next(&mut reply)?)? {
            0 => Ok(Renewal::Missing),
            _ => Ok(Renewal::Renewed { revoked: marks(reply::next(&mut reply)?)? }),
        }
    }

    pub(super) async fn own_grace_left_ms(&self, instance: &InstanceId) -> Result<u64, StoreError> {
        let mut command = cmd("PTTL");
        command.arg(self.names.grace(instance));
        // -2: no key. A grace always expires.
        reply::number(self.control.one(self.options.control_ms, &command).await?)
    }

    pub(super) async fn own_revoke(
        &self,
        instance: &InstanceId,
        slot: AnySlot,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let args = [slot.to_string(), epoch.to_string()];
        self.own("revoke", &[self.names.marks(instance)], &args, true).await.map(|_| ())
    }

    pub(super) async fn own_forget_instance(&self, instance: &InstanceId) -> Result<(), StoreError> {
        let mut command = cmd("DEL");
        command.arg(self.names.marks(instance)).arg(self.names.grace(instance));
        self.control.one(self.options.control_ms, &command).await.map(|_| ())
    }

    pub(super) async fn own_incarnation(&self) -> Result<u64, StoreError> {
        let mut command = cmd("GET");
        command.arg(self.names.incarnation());
        reply::number(self.control.one(self.options.control_ms, &command).await?)
    }

    pub(super) async fn own_raise_incarnation(&self, incarnation: u64) -> Result<u64, StoreError> {
        let keys = [self.names.incarnation()];
        reply::number(self.own("raise_incarnation", &keys, &[incarnation.to_string()], true).await?)
    }

    pub(super) async fn own_birth(&self) -> Result<Birth, StoreError> {
        let age_ms = reply::number(self.own("birth", &[self.names.birth()], &[], false).await?)?;
        Ok(Birth { age_ms })
    }

    /// Calls a function of ownership. With `replicate`, waits for the configured replicas: a fence or a mark that a failover
    /// forgets would let two owners live. Too few replicas change nothing: ownership must go on without them.
    async fn own(&self, name: &str, keys: &[String], args: &[String], replicate: bool) -> Result<Value, StoreError> {
        let mut call = fcall(name, keys);
        for arg in args {
            call.arg(arg);
        }
        let (reply, _) =
            self.call_confirmed(&self.control, self.options.control_ms, &|| call.clone(), replicate).await?;
        Ok(reply)
    }
}

/// The start of a function call: its name and keys.
pub(super) fn fcall(name: &str, keys: &[String]) -> Cmd {
    let mut call = cmd("FCALL");
    call.arg(command::function(name)).arg(keys.len()).arg(keys);
    call
}

fn parse_fence(text: &str) -> Option<Fence> {
    let (epoch, instance) = text.split_once(' ')?;
    Some(Fence { epoch: Epoch(epoch.parse().ok()?), instance: InstanceId::new(instance).ok()? })
}

fn marks(value: Value) -> Result<Vec<Mark>, StoreError> {
    let pairs = reply::pairs(value)?;
    let mark = |(slot, epoch): (String, String)| {
        Some(Mark { slot: AnySlot::parse(&slot)?, epoch: Epoch(epoch.parse().ok()?) })
    };
    let mut marks: Vec<Mark> = pairs.into_iter().filter_map(mark).collect();
    marks.sort_unstable();
    Ok(marks)
}
