//! Which revision the spec asks for.

use crate::status::RevisionStatus;
use crate::world::World;

/// Name of the object that holds a revision.
pub(super) fn name(world: &World, number: u64) -> String {
    format!("{}-{number}", world.cluster.name)
}

/// The revision of the spec's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its number.
    pub(super) number: u64,
    /// It is not stored yet.
    pub(super) new: bool,
}

/// Finds the revision of the spec's shape; of several the latest. One that was deleted is remembered by the status, and stored
/// again under its number: its Pods run, and are what the spec asks for. A shape that is not known gets the next number.
pub(super) fn asked(world: &World) -> Asked {
    let known = world.revisions.iter().rev().find(|(_, revision)| revision.hash == world.spec.shape);
    if let Some((&number, _)) = known {
        return Asked { number, new: false };
    }
    let of_shape = |revision: &&RevisionStatus| revision.hash == world.spec.shape.as_str();
    let unused = |revision: &&RevisionStatus| !world.revisions.contains_key(&revision.number);
    let remembered =
        world.status.revisions.iter().filter(of_shape).filter(unused).map(|revision| revision.number).max();
    Asked { number: remembered.unwrap_or_else(|| next(world)), new: true }
}

/// Number that the next new revision gets. Larger than all that were ever stored, named or remembered.
pub(super) fn next(world: &World) -> u64 {
    let stored = world.revisions.keys().next_back().map_or(0, |number| number + 1);
    let running = world.pods.values().map(|pod| pod.revision + 1).max().unwrap_or(0);
    let remembered = world.status.revisions.iter().map(|revision| revision.number + 1).max().unwrap_or(0);
    stored.max(running).max(remembered).max(world.status.next_revision).max(1)
}
