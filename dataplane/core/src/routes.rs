//! Who serves what, as a role sees it: the claims and the live members, read from the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ownership::Origin;
use crate::slot::SLOTS;
use crate::{Epoch, InstanceId, Slot};

/// Holder of a claim: the process that serves a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The process.
    pub instance: InstanceId,
    /// Where it answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// Epoch of its claim.
    pub epoch: Epoch,
}

/// A live process of a role.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Peer {
    /// Name of its Pod.
    pub pod: Arc<str>,
    /// Where it answers the gRPC of its role: `host:port`.
    pub address: Arc<str>,
    /// It is emptying: give it nothing new.
    pub draining: bool,
}

/// Claims of one role: the owner of each slot, none where nobody holds it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Claims(Vec<Option<Owner>>);

impl Default for Claims {
    fn default() -> Self {
        Self(vec![None; usize::from(SLOTS)])
    }
}

impl Claims {
    /// The owner of a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&Owner> {
        self.0.get(slot.index())?.as_ref()
    }

    /// Notes an owner, or that there is none.
    pub fn set(&mut self, slot: Slot, owner: Option<Owner>) {
        if let Some(entry) = self.0.get_mut(slot.index()) {
            *entry = owner;
        }
    }

    /// All claimed slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Owner)> {
        Slot::all().zip(&self.0).filter_map(|(slot, owner)| Some((slot, owner.as_ref()?)))
    }
}

/// What a role needs to find the others. A snapshot: replaced whole when the registry changes, never patched by readers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Routes {
    /// Room slots, owned by chatroom Pods.
    pub rooms: Claims,
    /// User slots, owned by message Pods.
    pub users: Claims,
    /// Live chatroom processes.
    pub chatroom: BTreeMap<InstanceId, Peer>,
    /// Live message processes: relays are chosen among them.
    pub message: BTreeMap<InstanceId, Peer>,
    /// Live gateways.
    pub gateway: BTreeMap<InstanceId, Peer>,
}

/// What happens to a slot on the Pod that owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotChange {
    /// Serve it from now on, under this epoch.
    Open {
        /// The slot.
        slot: Slot,
        /// The epoch of the claim.
        epoch: Epoch,
        /// How it came here, and so where its rooms are to be had from.
        origin: Origin,
    },
    /// The store is back after the slot was opened without it: take over what it holds.
    ReadLog {
        /// The slot.
        slot: Slot,
        /// The epoch that it is served under.
        epoch: Epoch,
    },
    /// Stop serving it, at once: take nothing more, keep connections.
    Close {
        /// The slot.
        slot: Slot,
        /// Who serves it now, where known: answer MOVED with it.
        moved_to: Option<Owner>,
    },
}
