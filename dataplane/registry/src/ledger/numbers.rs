//! Keys that hold one number, as decimal text: the incarnation and the leader epoch.

use bytes::Bytes;

use super::Ledger;
use crate::error::Error;
use crate::kv::{Kv, Op, Record, Txn, When};

/// Tries before a race for the next leader epoch is given up: more would mean that leaders fight.
const TRIES: usize = 5;

pub(super) fn write(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

/// None if it is not a number, which is as bad as none at all.
pub(super) fn read(record: &Record) -> Option<u64> {
    parse(&record.value)
}

pub(crate) fn parse(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl<K: Kv> Ledger<K> {
    /// Writes a number if a condition on its key holds; answers the one in force.
    pub(super) async fn settle(&self, when: When, key: String, number: u64) -> Result<u64, Error> {
        let txn = Txn {
            when: vec![when],
            then: vec![Op::Put { key: key.clone(), value: write(number), lease: None }],
            otherwise: vec![Op::Get(key.clone())],
        };
        let reply = self.repeatable(txn).await?;
        if reply.held {
            return Ok(number);
        }
        reply.got(0).and_then(read).ok_or_else(|| Error::refused(format!("{key} is missing or not a number; set it")))
    }

    pub(super) async fn next_leader(&self, above: u64) -> Result<u64, Error> {
        let key = self.keys.leader_epoch();
        for _ in 0..TRIES {
            let stored = self.read(key.clone()).await?;
            let next = stored.as_ref().and_then(read).unwrap_or(0).max(above).saturating_add(1);
            let unchanged = match stored {
                Some(record) => When::Value(key.clone(), record.value),
                None => When::Absent(key.clone()),
            };
            let put = Op::Put { key: key.clone(), value: write(next), lease: None };
            if self.repeatable(Txn { when: vec![unchanged], then: vec![put], otherwise: vec![] }).await?.held {
                return Ok(next);
            }
        }
        Err(Error::unavailable("several operators take the leader epoch at once"))
    }
}
