//! Which stored revisions are forgotten: the oldest beyond those that are to be remembered, except what somebody may still
//! need or go back to.

use super::census::Census;
use super::course::memory::last_good;
use super::{Action, Draft, Look, revision};

/// Plans the end of revisions.
pub(super) fn plan(look: &Look<'_>, census: &Census<'_>, draft: &mut Draft) {
    let world = look.world;
    let history = world.spec.rollout.history;
    let beyond = world.revisions.len().saturating_sub(history as usize);
    let free = world.revisions.keys().filter(|number| !is_needed(look, census, **number));
    for &number in free.take(beyond) {
        draft.why.push(format!("revision {number} is forgotten: {history} are remembered"));
        draft.deletes.push(Action::DeleteRevision { name: revision::name(world, number), number });
    }
}

/// Whether a revision is what the spec asks for, has users or Pods, may get some, or is the way back.
fn is_needed(look: &Look<'_>, census: &Census<'_>, number: u64) -> bool {
    let (course, memory) = (&look.course, &look.course.memory);
    let rollout = memory.rollout.as_ref();
    // A rollout and a rollback have their way back in them.
    let is_settled = rollout.is_none() && memory.rollback.is_none();
    let last_good = is_settled.then(|| last_good(look.world, memory.current)).flatten();
    let named = [
        Some(course.asked.number),
        Some(memory.current),
        Some(course.main),
        course.canary,
        course.warm,
        course.blocked,
        rollout.map(|rollout| rollout.from),
        rollout.map(|rollout| rollout.to),
        memory.rollback.as_ref().map(|rollback| rollback.to),
        last_good,
    ];
    named.contains(&Some(number)) || census.all().any(|seat| seat.pod.revision == number)
}
