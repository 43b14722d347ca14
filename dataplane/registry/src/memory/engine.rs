//! etcd's semantics over a map: revisions, transactions, leases. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use throng_core::Millis;

use crate::error::Error;
use crate::kv::{Op, Record, Reply, Txn, TxnReply, When};
use crate::model::{Lease, LeaseId};

/// A key that changed: its record, or none if it was deleted.
pub(crate) type Changed = (String, Option<Record>);

#[derive(Debug)]
struct Granted {
    ttl_ms: u64,
    expires: Millis,
    keys: BTreeSet<String>,
}

/// The store. Starts at revision 1, as etcd does.
#[derive(Debug)]
pub(crate) struct Engine {
    revision: u64,
    records: BTreeMap<String, Record>,
    leases: BTreeMap<LeaseId, Granted>,
    last_lease: i64,
    changes: Vec<Changed>,
}

impl Engine {
    pub(crate) const fn new() -> Self {
        Self { revision: 1, records: BTreeMap::new(), leases: BTreeMap::new(), last_lease: 0, changes: Vec::new() }
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, Record)> {
        self.records.iter().map(|(key, record)| (key.as_str(), record.clone()))
    }

    /// What changed since the last call, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changes)
    }

    /// Empties it, as an etcd whose disk was lost; lease numbers go on, as etcd's hardly recur.
    pub(crate) fn wipe(&mut self) {
        *self = Self { last_lease: self.last_lease, ..Self::new() };
    }

    pub(crate) fn grant(&mut self, ttl_ms: u64, now: Millis) -> Lease {
        self.last_lease += 1;
        let lease = Lease { id: LeaseId(self.last_lease), ttl_ms: ttl_ms.max(1) };
        let granted = Granted { ttl_ms: lease.ttl_ms, expires: now + lease.ttl_ms, keys: BTreeSet::new() };
        self.leases.insert(lease.id, granted);
        lease
    }

    /// The confirmed time to live. One that has expired is gone, even if nobody has swept it yet.
    pub(crate) fn keep_alive(&mut self, id: LeaseId, now: Millis) -> Result<u64, Error> {
        match self.leases.get_mut(&id) {
            Some(lease) if lease.expires > now => {
                lease.expires = now + lease.ttl_ms;
                Ok(lease.ttl_ms)
            }
            _ => Err(Error::LeaseGone(id)),
        }
    }

    /// Gives every lease its full time again, as etcd does when it starts.
    pub(crate) fn renew_all(&mut self, now: Millis) {
        for lease in self.leases.values_mut() {
            lease.expires = now + lease.ttl_ms;
        }
    }

    pub(crate) fn revoke(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        if lease.keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in lease.keys {
            self.records.remove(&key);
            self.changes.push((key, None));
        }
    }

    /// Removes what has expired.
    pub(crate) fn expire(&mut self, now: Millis) {
        let over: Vec<_> = self.leases.iter().filter(|(_, lease)| lease.expires <= now).map(|(&id, _)| id).collect();
        for id in over {
            self.revoke(id);
        }
    }

    /// When the next lease expires.
    pub(crate) fn next_expiry(&self) -> Option<Millis> {
        self.leases.values().map(|lease| lease.expires).min()
    }

    pub(crate) fn txn(&mut self, txn: Txn) -> Result<TxnReply, Error> {
        let steps = self.judge(txn);
        self.check_leases(&steps)?;
        let revision = self.revision + 1;
        let mut reply = self.run(steps, revision);
        if self.revision != revision {
            set_revision(&mut reply, self.revision);
        }
        Ok(reply)
    }

    /// Judges all conditions, before anything is written.
    fn judge(&self, txn: Txn) -> Judged {
        let held = txn.when.iter().all(|when| self.holds(when));
        let steps = if held { txn.then } else { txn.otherwise };
        let steps = steps.into_iter().map(|op| match op {
            Op::Branch(txn) => Step::Branch(self.judge(txn)),
            op => Step::Plain(op),
        });
        Judged { held, steps: steps.collect() }
    }

    fn holds(&self, when: &When) -> bool {
        match when {
            When::Absent(key) => !self.records.contains_key(key),
            When::Value(key, value) => self.records.get(key).is_some_and(|record| record.value == *value),
            When::Revision(key, revision) => {
                self.records.get(key).is_some_and(|record| record.mod_revision == *revision)
            }
            When::Written { key, mod_revision, lease } => self
                .records
                .get(key)
                .is_some_and(|record| record.mod_revision == *mod_revision && record.lease == Some(*lease)),
        }
    }

    fn check_leases(&self, judged: &Judged) -> Result<(), Error> {
        for step in &judged.steps {
            match step {
                Step::Branch(judged) => self.check_leases(judged)?,
                Step::Plain(Op::Put { lease: Some(lease), .. }) if !self.leases.contains_key(lease) => {
                    return Err(Error::LeaseGone(*lease));
                }
                Step::Plain(_) => {}
            }
        }
        Ok(())
    }

    fn run(&mut self, judged: Judged, revision: u64) -> TxnReply {
        let replies = judged.steps.into_iter().map(|step| match step {
            Step::Branch(judged) => Reply::Branch(self.run(judged, revision)),
            Step::Plain(Op::Get(key)) => Reply::Got(self.records.get(&key).cloned()),
            Step::Plain(Op::Put { key, value, lease }) => {
                self.put(key, value, lease, revision);
                Reply::Written
            }
            Step::Plain(Op::Delete(key)) => {
                self.delete(key, revision);
                Reply::Written
            }
            Step::Plain(Op::DeleteAll(prefix)) => {
                let keys: Vec<String> = self.records.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
                for key in keys {
                    self.delete(key, revision);
                }
                Reply::Written
            }
            // Judging turned every branch into a step of its own.
            Step::Plain(Op::Branch(_)) => Reply::Written,
        });
        TxnReply { held: judged.held, revision, replies: replies.collect() }
    }

    fn put(&mut self, key: String, value: Bytes, lease: Option<LeaseId>, revision: u64) {
        self.revision = revision;
        self.detach(&key);
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.insert(key.clone());
        }
        let record = Record { value, mod_revision: revision, lease };
        self.records.insert(key.clone(), record.clone());
        self.changes.push((key, Some(record)));
    }

    fn delete(&mut self, key: String, revision: u64) {
        if self.records.contains_key(&key) {
            self.revision = revision;
            self.detach(&key);
            self.records.remove(&key);
            self.changes.push((key, None));
        }
    }

    fn detach(&mut self, key: &str) {
        let lease = self.records.get(key).and_then(|record| record.lease);
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.remove(key);
        }
    }
}

/// A transaction whose conditions were judged.
struct Judged {
    held: bool,
    steps: Vec<Step>,
}

enum Step {
    Plain(Op),
    Branch(Judged),
}

/// A transaction that wrote nothing answers the revision of the store.
fn set_revision(reply: &mut TxnReply, revision: u64) {
    reply.revision = revision;
    for inner in &mut reply.replies {
        if let Reply::Branch(inner) = inner {
            set_revision(inner, revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, lease: Option<LeaseId>) -> Txn {
        Txn { then: vec![Op::Put { key: key.into(), value: Bytes::from_static(b"v"), lease }], ..Txn::default() }
    }

    #[test]
    fn revisions_count_writes_and_not_reads() {
        let mut engine = Engine::new();
        assert_eq!(engine.txn(put("a", None)).unwrap().revision, 2);
        let read = Txn { then: vec![Op::Get("a".into())], ..Txn::default() };
        assert_eq!(engine.txn(read).unwrap().revision, 2);
        let delete = |key: &str| Txn { then: vec![Op::Delete(key.into())], ..Txn::default() };
        assert_eq!(engine.txn(delete("nothing")).unwrap().revision, 2);
        assert_eq!(engine.txn(delete("a")).unwrap().revision, 3);
    }

    #[test]
    fn a_lease_takes_its_keys_along_unless_they_moved_to_another() {
        let mut engine = Engine::new();
        let (one, other) = (engine.grant(1000, Millis(0)), engine.grant(5000, Millis(0)));
        engine.txn(put("stays", Some(one.id))).unwrap();
        engine.txn(put("moves", Some(one.id))).unwrap();
        engine.txn(put("moves", Some(other.id))).unwrap();
        engine.expire(Millis(999));
        assert_eq!(engine.records().count(), 2);
        assert_eq!(engine.next_expiry(), Some(Millis(1000)));
        engine.expire(Millis(1000));
        assert_eq!(engine.records().map(|(key, _)| key.to_owned()).collect::<Vec<_>>(), ["moves"]);
        assert_eq!(engine.keep_alive(one.id, Millis(1000)), Err(Error::LeaseGone(one.id)));
        assert_eq!(engine.txn(put("late", Some(one.id))).unwrap_err(), Error::LeaseGone(one.id));
    }

    #[test]
    fn conditions_are_judged_before_the_first_write() {
        let mut engine = Engine::new();
        let absent = |key: &str| Txn { when: vec![When::Absent(key.into())], ..put(key, None) };
        let twice = Txn { then: vec![Op::Branch(put("a", None)), Op::Branch(absent("a"))], ..Txn::default() };
        let reply = engine.txn(twice).unwrap();
        assert!(matches!(reply.replies.as_slice(), [Reply::Branch(_), Reply::Branch(second)] if second.held));
    }
}
