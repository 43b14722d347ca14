//! Deleting all that a cluster has in Redis: for whoever made a cluster to throw it away.

use std::time::Duration;

use ::redis::cmd;
use tokio::time::Instant;

use super::{RedisMode, RedisStore, reply};
use crate::StoreError;

/// Keys a step looks at: a few milliseconds of Redis's time at most.
const STEP: u32 = 1_000;

impl RedisStore {
    /// Deletes every key of the cluster; returns how many there were. Nothing may write to it any more: what is written
    /// meanwhile may stay. The library of Functions stays, as other clusters of the same version call it.
    ///
    /// Goes through all keys of the Redis, those of others too, a step at a time. [`StoreError::Unavailable`] if it did not
    /// get through within that time: repeat it, what is gone stays gone. Needs the right to `SCAN` and `UNLINK`. A Redis
    /// Cluster is refused: its keys are on several nodes.
    pub async fn erase(&self, within: Duration) -> Result<u64, StoreError> {
        if matches!(self.options.mode, RedisMode::Cluster) {
            return Err(StoreError::refused("keys of a Redis Cluster are on several nodes: delete them on each"));
        }
        let until = Instant::now() + within;
        let left_ms = || u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX);
        let pattern = self.names.pattern();
        let (mut position, mut erased) = (0, 0);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(position).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            let mut step = reply::array(self.bulk.one(left_ms(), &scan).await?)?.into_iter();
            position = reply::number(reply::next(&mut step)?)?;
            let found = reply::array(reply::next(&mut step)?)?.into_iter().map(reply::bytes);
            let keys: Vec<Vec<u8>> = found.collect::<Result<_, _>>()?;
            if !keys.is_empty() {
                let mut unlink = cmd("UNLINK");
                unlink.arg(&keys);
                erased += reply::number(self.bulk.one(left_ms(), &unlink).await?)?;
            }
            if position == 0 {
                return Ok(erased);
            }
        }
    }
}
