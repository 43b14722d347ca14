//! What the operator owns beside Pods: written when it is not as it should be, whoever changed it.

use throng_core::Role;

use super::census::{Census, Seat, State};
use super::{Action, Draft, Look, revision};
use crate::world::Object;

/// Plans that what somebody edited is as it was made. It counts as what it is all the time, so nothing else follows from it.
pub(super) fn restore(look: &Look<'_>, draft: &mut Draft) {
    let world = look.world;
    for edited in world.edited.iter().filter(|_| world.cluster.finalizer && !world.cluster.let_go) {
        draft.why.push(format!("{} gets back what it was made with: somebody edited it", edited.name()));
        draft.first.push(Action::Restore(edited.clone()));
    }
}

/// Plans all objects.
pub(super) fn plan(look: &Look<'_>, census: &Census<'_>, draft: &mut Draft) {
    let (world, cluster) = (look.world, &look.world.cluster.name);
    let mut wanted = vec![Object::PodKeySecret { name: format!("{cluster}-pod-key") }];
    let number = look.course.asked.number;
    if look.course.asked.new {
        let name = revision::name(world, number);
        wanted.push(Object::ControllerRevision { name, number, hash: world.spec.shape.clone() });
    }
    let named = |(name, hash): (&String, &String)| (name.clone(), hash.clone());
    let policies = world.rendered.network_policies.iter().map(named);
    wanted.extend(policies.map(|(name, hash)| Object::NetworkPolicy { name, hash }));
    let services = world.rendered.services.iter().map(named);
    wanted.extend(services.map(|(name, hash)| Object::Service { name, hash }));
    for object in wanted.into_iter().filter(|object| !world.owned.contains(object)) {
        let (kind, name) = (object.kind(), object.name());
        let is_there = world.owned.iter().any(|owned| owned.kind() == kind && owned.name() == name);
        draft.why.push(if is_there {
            format!("the {kind} {name} is written: it was not as it should be")
        } else {
            format!("the {kind} {name} is made")
        });
        draft.first.push(Action::Apply(object));
    }
    for role in Role::ALL {
        budget(look, role, census.of(role), draft);
    }
}

/// The budget of a pool: evictions may take one of its serving Pods at a time. It grows before labels come and shrinks
/// after they go, so that at no time it allows more. A Pod that went without our doing counts until another serves in its
/// place, or as long as the pool has fewer Pods than it should: whoever drains one node after the other waits for that before
/// the next one goes. Once such a Pod is gone, only the budget itself still tells of it.
fn budget(look: &Look<'_>, role: Role, seats: &[Seat<'_>], draft: &mut Draft) {
    let name = format!("{}-{role}", look.world.cluster.name);
    let before = look.world.owned.iter().find_map(|object| match object {
        Object::PodDisruptionBudget { role: of, min_available, .. } if *of == role => Some(*min_available),
        _ => None,
    });
    let standing = labelled(seats);
    let stood = before.map_or(0, |before| before.saturating_add(1));
    let replaced = standing.saturating_add(evicted(seats)).max(stood).min(look.wanted.of(role).pods);
    let min_available = standing.max(replaced).saturating_sub(1);
    let budget = Object::PodDisruptionBudget { name, role, min_available };
    if look.world.owned.contains(&budget) {
        return;
    }
    let shrinks = before.is_some_and(|before| min_available < before);
    let part = if shrinks { &mut draft.budgets } else { &mut draft.first };
    part.push(Action::Apply(budget));
}

/// Pods in service that somebody deleted or evicted: they empty themselves, and their capacity is gone already.
fn evicted(seats: &[Seat<'_>]) -> u32 {
    let evicted = |seat: &&Seat<'_>| seat.state == State::Going && seat.pod.serving;
    u32::try_from(seats.iter().filter(evicted).count()).unwrap_or(u32::MAX)
}

/// Pods that have the label of serving once the plan is done.
fn labelled(seats: &[Seat<'_>]) -> u32 {
    u32::try_from(seats.iter().filter(|seat| seat.is_labelled()).count()).unwrap_or(u32::MAX)
}
