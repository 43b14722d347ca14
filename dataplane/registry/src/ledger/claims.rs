//! Claims as transactions: an outer one compares the incarnation, an inner one for each key compares the key.

use std::sync::Arc;

use crate::error::{Conflict, Error};
use crate::keys::Keys;
use crate::kv::{Op, Record, Reply, Txn, TxnReply, When};
use crate::model::{Change, Claim, ClaimKey, ClaimsRead, Holder, LeaseId, MAX_BATCH, Own};

use super::{encode, numbers};

pub(super) fn claim(
    keys: &Keys,
    wanted: &[ClaimKey],
    holder: &Holder,
    lease: LeaseId,
    incarnation: u64,
) -> Result<Txn, Error> {
    check(wanted.iter())?;
    let value = encode(holder)?;
    let branches = wanted.iter().map(|wanted| {
        let key = keys.claim(*wanted);
        branch(When::Absent(key.clone()), Op::Put { key: key.clone(), value: value.clone(), lease: Some(lease) }, key)
    });
    Ok(under(keys, incarnation, branches.collect()))
}

/// Rewrites claims of the caller, under the lease that they have or under another's.
pub(super) fn rewrite(
    keys: &Keys,
    own: &[Own],
    holder: &Holder,
    to: Option<LeaseId>,
    incarnation: u64,
) -> Result<Txn, Error> {
    check(own.iter().map(|own| &own.key))?;
    let value = encode(holder)?;
    let branches = own.iter().map(|own| {
        let key = keys.claim(own.key);
        let put = Op::Put { key: key.clone(), value: value.clone(), lease: Some(to.unwrap_or(own.lease)) };
        branch(mine(own, &key), put, key)
    });
    Ok(under(keys, incarnation, branches.collect()))
}

/// The incarnation is not compared: giving up what is one's own harms nobody.
pub(super) fn give_up(keys: &Keys, own: &[Own]) -> Result<Txn, Error> {
    check(own.iter().map(|own| &own.key))?;
    let branches = own.iter().map(|own| {
        let key = keys.claim(own.key);
        branch(mine(own, &key), Op::Delete(key.clone()), key)
    });
    Ok(Txn { then: branches.collect(), ..Txn::default() })
}

/// The incarnation first, then the claims.
pub(super) fn read(keys: &Keys, wanted: &[ClaimKey]) -> Result<Txn, Error> {
    check(wanted.iter())?;
    let gets = wanted.iter().map(|wanted| Op::Get(keys.claim(*wanted)));
    Ok(Txn { then: std::iter::once(Op::Get(keys.incarnation())).chain(gets).collect(), ..Txn::default() })
}

/// What was read, in the order asked.
pub(super) fn found(reply: &TxnReply, asked: usize) -> ClaimsRead {
    ClaimsRead {
        revision: reply.revision,
        incarnation: reply.got(0).and_then(numbers::read),
        claims: (1..=asked).map(|step| reply.got(step).and_then(decode)).collect(),
    }
}

/// What became of each key; `expected` is the incarnation that the transaction compared, if it did.
pub(super) fn changes(reply: &TxnReply, expected: Option<u64>) -> Result<Vec<Change>, Error> {
    if let (false, Some(expected)) = (reply.held, expected) {
        let found = reply.got(0).and_then(numbers::read);
        return Err(Conflict::Incarnation { expected, found }.into());
    }
    Ok(reply.replies.iter().map(|step| change(step, reply.revision)).collect())
}

fn change(step: &Reply, revision: u64) -> Change {
    match step {
        Reply::Branch(inner) if inner.held => Change::Made { mod_revision: revision },
        Reply::Branch(inner) => Change::Lost { now: inner.got(0).and_then(decode) },
        Reply::Written | Reply::Got(_) => Change::Lost { now: None },
    }
}

fn decode(record: &Record) -> Option<Claim> {
    Some(Claim {
        holder: Arc::new(serde_json::from_slice(&record.value).ok()?),
        lease: record.lease?,
        mod_revision: record.mod_revision,
    })
}

/// A revision alone is not enough: in an etcd that came back empty another's claim may have reached the same one.
fn mine(own: &Own, key: &str) -> When {
    When::Written { key: key.to_owned(), mod_revision: own.mod_revision, lease: own.lease }
}

fn branch(when: When, then: Op, key: String) -> Op {
    Op::Branch(Txn { when: vec![when], then: vec![then], otherwise: vec![Op::Get(key)] })
}

fn under(keys: &Keys, incarnation: u64, then: Vec<Op>) -> Txn {
    let key = keys.incarnation();
    Txn { when: vec![When::Value(key.clone(), numbers::write(incarnation))], then, otherwise: vec![Op::Get(key)] }
}

/// etcd refuses large transactions and those that write a key twice, in words that help nobody.
fn check<'a>(keys: impl ExactSizeIterator<Item = &'a ClaimKey>) -> Result<(), Error> {
    let count = keys.len();
    let different = keys.collect::<std::collections::BTreeSet<_>>().len();
    if (1..=MAX_BATCH).contains(&count) && different == count { Ok(()) } else { Err(Error::Batch(count)) }
}
