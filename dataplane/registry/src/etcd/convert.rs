//! The registry's transactions in etcd's words, and its answers back.

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, DeleteOptions, KeyValue, PutOptions, TxnOp, TxnOpResponse, TxnResponse};

use crate::kv::{Op, Record, Reply, Txn, TxnReply, When};
use crate::model::LeaseId;

pub(super) fn txn(txn: Txn) -> etcd_client::Txn {
    let when: Vec<Compare> = txn.when.into_iter().flat_map(compare).collect();
    etcd_client::Txn::new().when(when).and_then(ops(txn.then)).or_else(ops(txn.otherwise))
}

fn ops(ops: Vec<Op>) -> Vec<TxnOp> {
    ops.into_iter().map(op).collect()
}

fn op(step: Op) -> TxnOp {
    match step {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key, value, options)
        }
        Op::Delete(key) => TxnOp::delete(key, None),
        Op::DeleteAll(prefix) => TxnOp::delete(prefix, Some(DeleteOptions::new().with_prefix())),
        Op::Get(key) => TxnOp::get(key, None),
        Op::Branch(inner) => TxnOp::txn(txn(inner)),
    }
}

fn compare(when: When) -> Vec<Compare> {
    match when {
        When::Absent(key) => vec![Compare::create_revision(key, CompareOp::Equal, 0)],
        When::Value(key, value) => vec![Compare::value(key, CompareOp::Equal, value)],
        When::Revision(key, revision) => {
            vec![Compare::mod_revision(key, CompareOp::Equal, revision.cast_signed())]
        }
        When::Written { key, mod_revision, lease } => vec![
            Compare::mod_revision(key.clone(), CompareOp::Equal, mod_revision.cast_signed()),
            Compare::lease(key, CompareOp::Equal, lease.0),
        ],
    }
}

/// Nested answers have no revision of their own: they were given at that of the whole.
pub(super) fn reply(response: &TxnResponse) -> TxnReply {
    nested(response, revision(response.header()))
}

fn nested(response: &TxnResponse, revision: u64) -> TxnReply {
    let replies = response.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) => Reply::Written,
        TxnOpResponse::Get(found) => Reply::Got(found.kvs().first().map(record)),
        TxnOpResponse::Txn(inner) => Reply::Branch(nested(&inner, revision)),
    });
    TxnReply { held: response.succeeded(), revision, replies: replies.collect() }
}

/// Revision of the store in a header, zero without one.
pub(super) fn revision(header: Option<&etcd_client::ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.revision().cast_unsigned())
}

pub(super) fn record(kv: &KeyValue) -> Record {
    Record {
        value: Bytes::copy_from_slice(kv.value()),
        mod_revision: kv.mod_revision().cast_unsigned(),
        lease: (kv.lease() != 0).then(|| LeaseId(kv.lease())),
    }
}
