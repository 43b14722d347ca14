//! A view as one line of JSON. Parent and child are one program, so the form may change with any version.
//!
//! Holders are written once and claims refer to them by place, or a line of 8,192 claims would be five times as long.
//! Placement and its target are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use throng_core::{InstanceId, Millis, Role, Slot};

use crate::model::{Claim, Holder, LeaseId, Registered, StoredPolicy};
use crate::view::{Health, View};

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    revision: u64,
    incarnation: Option<u64>,
    leader_epoch: Option<u64>,
    policy: Option<StoredPolicy>,
    health: Health,
    members: Vec<(Role, InstanceId, Arc<Registered>)>,
    holders: Vec<Arc<Holder>>,
    rooms: Vec<(Slot, Entry)>,
    users: Vec<(Slot, Entry)>,
}

/// A claim: place of its holder, lease, revision.
#[derive(serde::Serialize, serde::Deserialize)]
struct Entry(usize, LeaseId, u64);

/// The holders of a view, each once.
#[derive(Default)]
struct Places {
    holders: Vec<Arc<Holder>>,
    of: HashMap<*const Holder, usize>,
}

impl Places {
    fn entry(&mut self, claim: &Claim) -> Entry {
        let holders = &mut self.holders;
        let place = *self.of.entry(Arc::as_ptr(&claim.holder)).or_insert_with(|| {
            holders.push(Arc::clone(&claim.holder));
            holders.len() - 1
        });
        Entry(place, claim.lease, claim.mod_revision)
    }
}

pub(super) fn encode(view: &View) -> serde_json::Result<Vec<u8>> {
    let mut places = Places::default();
    let rooms = view.claims(Role::Chatroom).map(|(slot, claim)| (slot, places.entry(claim))).collect();
    let users = view.claims(Role::Message).map(|(slot, claim)| (slot, places.entry(claim))).collect();
    let of_role = |role| view.members(role).iter().map(move |(name, entry)| (role, name.clone(), Arc::clone(entry)));
    let line = Line {
        revision: view.revision,
        incarnation: view.incarnation,
        leader_epoch: view.leader_epoch,
        policy: view.policy.clone(),
        health: view.health,
        members: Role::ALL.into_iter().flat_map(of_role).collect(),
        holders: places.holders,
        rooms,
        users,
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(super) fn decode(line: &[u8]) -> serde_json::Result<View> {
    let line: Line = serde_json::from_slice(line)?;
    let claim = |Entry(place, lease, mod_revision): Entry| {
        Some(Claim { holder: Arc::clone(line.holders.get(place)?), lease, mod_revision })
    };
    let mut view = View::empty(Millis::ZERO);
    for (claims, entries) in [(&mut view.rooms, line.rooms), (&mut view.users, line.users)] {
        let claims = Arc::make_mut(claims);
        for (slot, entry) in entries {
            if let Some(place) = claims.get_mut(slot.index()) {
                *place = claim(entry);
            }
        }
    }
    view.members = Role::ALL.map(|role| {
        let of_role = line.members.iter().filter(|(of, ..)| *of == role);
        Arc::new(of_role.map(|(_, name, entry)| (name.clone(), Arc::clone(entry))).collect::<BTreeMap<_, _>>())
    });
    view.revision = line.revision;
    view.incarnation = line.incarnation;
    view.leader_epoch = line.leader_epoch;
    view.policy = line.policy;
    view.health = line.health;
    Ok(view)
}
