//! What etcd says, as the planner sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use throng_core::placement::Placement;
use throng_core::{Role, Slot};
use throng_plan::moves::Activity;
use throng_plan::pools::Pools;
use throng_plan::world::{Claim, Document, Documents, Member, Registry};
use throng_registry::View;

/// What slots carry, by role: as their owners said last.
pub type Activities = Pools<BTreeMap<Slot, Activity>>;

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
    Registry {
        members,
        claims: Pools::from_fn(|role| claims(view, role, activities.of(role))),
        documents: Pools::from_fn(|role| Documents {
            in_force: view.placement(role).and_then(|stored| document(&stored.bytes)),
            target: view.target(role).and_then(|stored| document(&stored.bytes)),
        }),
    }
}

/// The largest leader epoch that the documents of a view name: the next one is to be larger, in an emptied etcd too.
#[must_use]
pub fn known_epoch(view: &View) -> u64 {
    let documents = Role::ALL.into_iter().flat_map(|role| [view.placement(role), view.target(role)]).flatten();
    let epochs = documents.filter_map(|stored| Some(document(&stored.bytes)?.0.leader_epoch));
    epochs.max().unwrap_or(0)
}

/// Slots whose owner lives, with its Pod. A claim of a dead process is nobody's.
fn claims(view: &View, role: Role, activity: &BTreeMap<Slot, Activity>) -> BTreeMap<Slot, Claim> {
    let claim = |(slot, claim): (Slot, &throng_registry::Claim)| {
        let owner = &view.members(role).get(&claim.holder.instance)?.member;
        let carries = activity.get(&slot).copied().unwrap_or_default();
        Some((slot, Claim { uid: Arc::clone(&owner.uid), rooms: carries.rooms, users: carries.users }))
    };
    view.claims(role).filter_map(claim).collect()
}

/// A document that can be read; one of a later version of the operator cannot.
fn document(bytes: &[u8]) -> Option<Document> {
    Placement::decode(bytes).ok().map(Document::from)
}
