//! What etcd says, as the planner sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::placement::Placement;
use throng_core::{Role, Slot};
use throng_plan::moves::Activity;
use throng_plan::pools::Pools;
use throng_plan::world::{Claim, Claims, Document, Documents, Member, Registry};
use throng_registry::View;

/// What slots carry, as their owners said lately.
#[derive(Clone, Debug, Default)]
pub struct Activities {
    /// Slots that somebody is in, by role.
    pub slots: Pools<BTreeMap<Slot, Activity>>,
    /// Uids of the Pods that said so: what such a Pod owns and did not name is idle. Of the slots of others nothing is known.
    pub pods: BTreeSet<String>,
}

/// The registry of a view that is current.
#[must_use]
pub fn registry(view: &View, activities: &Activities) -> Registry {
    let mut members = BTreeMap::new();
    for role in Role::ALL {
        // Of two containers of one Pod the later one counts.
        let mut of_role: Vec<_> = view.members(role).values().map(|entry| &entry.member).collect();
        of_role.sort_by_key(|member| member.started_ms);
        members.extend(of_role.into_iter().map(|member| {
            let converted =
                Member { pod: member.pod.to_string(), role, ready: member.ready, draining: member.draining };
            (member.uid.to_string(), converted)
        }));
    }
    let owners = [Role::Chatroom, Role::Message].into_iter().flat_map(|role| view.members(role).values());
    let owners = owners.map(|entry| Arc::clone(&entry.member.uid));
    Registry {
        silent: owners.filter(|uid| !activities.pods.contains(&**uid)).collect(),
        members,
        claims: Pools::from_fn(|role| claims(view, role, activities)),
        documents: Pools::from_fn(|role| Documents {
            in_force: view.placement(role).and_then(|stored| document(&stored.bytes)),
            target: view.target(role).and_then(|stored| document(&stored.bytes)),
        }),
        policy: view.policy().and_then(|stored| stored.policy.as_deref().cloned()),
    }
}

/// The largest leader epoch that the documents of a view name: the next one is to be larger, in an emptied etcd too.
#[must_use]
pub fn known_epoch(view: &View) -> u64 {
    let documents = Role::ALL.into_iter().flat_map(|role| [view.placement(role), view.target(role)]).flatten();
    let epochs = documents.filter_map(|stored| Some(document(&stored.bytes)?.0.leader_epoch));
    let of_policy = view.policy().and_then(|stored| stored.policy.as_ref()).map(|policy| policy.leader_epoch);
    epochs.chain(of_policy).max().unwrap_or(0)
}

/// Slots whose owner lives, with its Pod. A claim of a dead process is nobody's.
fn claims(view: &View, role: Role, activities: &Activities) -> Claims {
    let claim = |(slot, claim): (Slot, &throng_registry::Claim)| {
        let owner = &view.members(role).get(&claim.holder.instance)?.member;
        let said = activities.slots.of(role).get(&slot).copied();
        let Activity { rooms, users } = said.unwrap_or_default();
        Some((slot, Claim { uid: Arc::clone(&owner.uid), rooms, users }))
    };
    view.claims(role).filter_map(claim).collect()
}

/// A document that can be read; one of a later version of the operator cannot.
fn document(bytes: &[u8]) -> Option<Document> {
    Placement::decode(bytes).ok().map(Document::from)
}
