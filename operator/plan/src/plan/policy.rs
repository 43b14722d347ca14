//! Hot policy: what running Pods follow without a restart. It is written when it is not what the spec says, whatever else
//! the look decides: no Pod is touched for it.

use throng_core::policy::Policy;

use super::{Action, Draft, Look};

/// Plans the policy document. Nothing while the registry is out of reach.
pub(super) fn plan(look: &Look<'_>, draft: &mut Draft) {
    let Some(registry) = &look.world.registry else { return };
    let (stored, rooms) = (registry.policy.as_ref(), &look.world.spec.rooms);
    if stored.is_some_and(|stored| stored.rooms == *rooms) {
        return;
    }
    let version = stored.map_or(0, |stored| stored.version).saturating_add(1);
    draft.why.push(format!("version {version} of the policy is written: the spec says something else of rooms"));
    let policy = Policy { leader_epoch: look.world.leader_epoch, version, rooms: rooms.clone() };
    draft.documents.push(Action::WritePolicy { policy });
}
