//! Which revision the spec asks for.

use crate::world::World;

/// The revision of the spec's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its number.
    pub(super) number: u64,
    /// It is not stored yet.
    pub(super) new: bool,
}

/// Finds the revision of the spec's shape; of several the latest. A shape that is not known gets the next number.
pub(super) fn asked(world: &World) -> Asked {
    let known = world.revisions.iter().rev().find(|(_, revision)| revision.hash == world.spec.shape);
    match known {
        Some((&number, _)) => Asked { number, new: false },
        None => Asked { number: next(world), new: true },
    }
}

/// Number that the next new revision gets. Larger than all that were ever stored, named or remembered.
pub(super) fn next(world: &World) -> u64 {
    let stored = world.revisions.keys().next_back().map_or(0, |number| number + 1);
    let running = world.pods.values().map(|pod| pod.revision + 1).max().unwrap_or(0);
    // The number of a revision that is not stored yet is remembered as the last one, not as the one to come.
    stored.max(running).max(world.status.next_revision).max(1)
}
