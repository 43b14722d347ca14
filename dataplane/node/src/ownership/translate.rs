//! Between the words of the registry and those of the machine.

use std::sync::Arc;

use throng_core::Role;
use throng_core::ownership as core;
use throng_registry as registry;

/// A view of one role.
pub(super) fn view(view: &registry::View, role: Role) -> core::View {
    core::View {
        revision: view.revision,
        incarnation: view.incarnation,
        members: view.members(role).iter().map(|(instance, entry)| (instance.clone(), member(entry))).collect(),
        claims: view.claims(role).map(|(slot, held)| (slot, claim(held))).collect(),
    }
}

fn member(entry: &registry::Registered) -> core::Member {
    let registry::Registered { lease, member } = entry;
    core::Member {
        pod: Arc::clone(&member.pod),
        uid: Arc::clone(&member.uid),
        address: Arc::clone(&member.address),
        revision: Arc::clone(&member.revision),
        lease: core::LeaseId(lease.0),
        draining: member.draining || !member.ready,
        redis_ok: member.redis_ok,
    }
}

/// A claim.
pub(super) fn claim(claim: &registry::Claim) -> core::Claim {
    core::Claim {
        instance: claim.holder.instance.clone(),
        address: Arc::clone(&claim.holder.address),
        lease: core::LeaseId(claim.lease.0),
        mod_revision: claim.mod_revision,
    }
}

fn change(change: registry::Change) -> core::Change {
    match change {
        registry::Change::Made { mod_revision } => core::Change::Made { mod_revision },
        registry::Change::Lost { now } => core::Change::Lost { now: now.as_ref().map(claim) },
    }
}

/// What became of a write of several claims.
pub(super) fn wrote(result: Result<registry::Outcome<Vec<registry::Change>>, registry::Error>) -> core::Wrote {
    match result {
        Ok(registry::Outcome::Known(changes)) => core::Wrote::Done(changes.into_iter().map(change).collect()),
        Ok(registry::Outcome::Unknown) => core::Wrote::Unknown,
        Err(error) => {
            tracing::debug!(%error, "claims were not written");
            core::Wrote::Refused
        }
    }
}
