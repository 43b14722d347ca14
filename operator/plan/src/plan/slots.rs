//! Where slots should be, and the next step there. Only Pods that live and stay get any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::placement::{PlacedPod, Placement, TooManyPods};
use throng_core::slot::SLOTS;
use throng_core::{Role, Slot};

use super::census::{Census, Part, Seat};
use super::course::share::slots_of;
use super::words::pods as pods_of;
use super::{Action, Draft, Look, Reason};
use crate::division::{divided, kept};
use crate::moves::{Held, step};
use crate::placement::{Pod, placement};
use crate::world::{Claims, Document, Documents, Registry};

/// A pool that is just starting is placed when it is complete, or when its first Pod is so old: its slots would move
/// with every Pod that comes.
const SETTLE_MS: u64 = 60_000;
/// Users whose slots may be on the way at one time where the spec says nothing, unless a single slot has more.
const USERS_AT_ONCE: u64 = 500;
/// The Pods that are silent where there is no registry.
static NOBODY: BTreeSet<Arc<str>> = BTreeSet::new();

/// Plans the slots of both roles that have some. Nothing moves while the registry is out of reach.
pub(super) fn plan(look: &Look<'_>, census: &Census<'_>, draft: &mut Draft) {
    let Some(registry) = &look.world.registry else { return };
    draft.slots_away = (
        plan_role(look, registry, Role::Chatroom, census.of(Role::Chatroom), draft),
        plan_role(look, registry, Role::Message, census.of(Role::Message), draft),
    );
}

/// Plans one role; returns how many of its slots are not where they should be, if anything says where that is.
fn plan_role(look: &Look<'_>, registry: &Registry, role: Role, seats: &[Seat<'_>], draft: &mut Draft) -> Option<u32> {
    let (documents, claims) = (registry.documents.of(role), registry.claims.of(role));
    let candidates = candidates(look, seats, documents);
    if candidates.is_empty() || is_starting(look, role, seats, documents, candidates.len()) {
        return None;
    }
    let Some(target) = target(look, &candidates, documents, claims) else {
        let line = format!("{role}: it has more Pods than a placement can name");
        draft.blocked.push((Reason::TooManyPods, line));
        return None;
    };
    if documents.target.as_ref() != Some(&target) {
        draft.documents.push(Action::WriteTarget { role, document: target.clone() });
    }
    if let Some(next) = next(look, &target.0, &candidates, documents.in_force.as_ref(), claims) {
        let named = pods_of(candidates.len() as u64);
        draft.why.push(format!("{role}: version {} of the placement names {named}", next.version));
        draft.documents.push(Action::WritePlacement { role, document: next.into() });
    }
    Some(away(seats, &target.0, claims))
}

/// Pods that get slots: those that serve, and of those that stay the ones that had some and still live. A canary that is to
/// have no users has none.
fn candidates<'s, 'a>(look: &Look<'_>, seats: &'s [Seat<'a>], documents: &Documents) -> Vec<&'s Seat<'a>> {
    let placed: BTreeSet<&str> =
        documents.target.iter().flat_map(|target| target.0.pods()).map(|placed| &*placed.pod).collect();
    let starts = look.course.split() == Some(0);
    let gets = |seat: &&Seat<'_>| {
        let may = seat.serves() || seat.stays() && seat.member.is_some() && placed.contains(seat.name);
        may && !(starts && seat.part == Part::Canary)
    };
    seats.iter().filter(gets).collect()
}

fn is_starting(look: &Look<'_>, role: Role, seats: &[Seat<'_>], documents: &Documents, pods: usize) -> bool {
    let oldest = seats.iter().map(|seat| seat.pod.created).min().unwrap_or(look.world.now);
    documents.in_force.is_none()
        && pods < look.wanted.of(role).pods as usize
        && look.world.now.0.since(oldest.0) < SETTLE_MS
}

/// The stored target if it is of these Pods, and gives the canary its share; else a new one, as near to it as can be, or
/// without regard to it if somebody asks for that.
fn target(look: &Look<'_>, candidates: &[&Seat<'_>], documents: &Documents, claims: &Claims) -> Option<Document> {
    let (epoch, anew) = (look.world.leader_epoch, look.course.operations.rebalance.is_some());
    let blocked: BTreeSet<Arc<str>> = look.course.blocked.iter().map(|number| number.to_string().into()).collect();
    let (canary, main): (Vec<&Seat<'_>>, Vec<&Seat<'_>>) =
        candidates.iter().partition(|seat| seat.part == Part::Canary && look.course.split().is_some());
    let count = look.course.split().filter(|_| !canary.is_empty() && !main.is_empty()).map(slots_of);
    let stored =
        documents.target.as_ref().filter(|stored| stored.0.leader_epoch == epoch && stored.0.blocked == blocked);
    if let Some(stored) = stored.filter(|stored| !anew && is_of(&stored.0, candidates, count, &canary)) {
        return Some(stored.clone());
    }
    let before = documents.target.as_ref().or(documents.in_force.as_ref()).map(|document| &*document.0);
    let before = before.filter(|_| !anew);
    let (main, canary) = (pods(&main), pods(&canary));
    let mut target = match count {
        Some(count) => {
            let users = claims.busy().map(|(slot, _, activity)| (slot, activity.users)).collect();
            divided((&main, &canary), count, &users, before, epoch).ok()?
        }
        None => undivided(look, [main, canary].concat(), before).ok()?,
    };
    (target.version, target.blocked) = (0, blocked);
    Some(target.into())
}

/// All Pods alike, but for blocked ones that must wait for others in their place: those get nothing more.
fn undivided(look: &Look<'_>, all: Vec<Pod>, before: Option<&Placement>) -> Result<Placement, TooManyPods> {
    let (epoch, number) = (look.world.leader_epoch, look.course.blocked.map(|number| number.to_string()));
    let is_blocked = |pod: &Pod| number.as_deref() == Some(&*pod.revision);
    let (leaving, stay): (Vec<Pod>, Vec<Pod>) = all.into_iter().partition(is_blocked);
    match (stay.is_empty(), leaving.is_empty()) {
        (false, false) => kept((&stay, &leaving), before, epoch),
        (false, true) => placement(&stay, before, epoch),
        (true, _) => placement(&leaving, before, epoch),
    }
}

fn pods(seats: &[&Seat<'_>]) -> Vec<Pod> {
    let pod = |seat: &&Seat<'_>| Pod { name: seat.name.into(), revision: revision(seat).into(), weight: 1 };
    seats.iter().map(pod).collect()
}

fn revision(seat: &Seat<'_>) -> String {
    seat.pod.revision.to_string()
}

/// Whether a target is of these Pods, and gives so many slots to the canary.
fn is_of(target: &Placement, candidates: &[&Seat<'_>], count: Option<usize>, canary: &[&Seat<'_>]) -> bool {
    let same =
        |(placed, seat): (&PlacedPod, &&Seat<'_>)| *placed.pod == *seat.name && *placed.revision == *revision(seat);
    let table = target.pods();
    let names: BTreeSet<&str> = canary.iter().map(|seat| seat.name).collect();
    let canarys: Vec<bool> = table.iter().map(|placed| names.contains(&*placed.pod)).collect();
    let own = |slot: &Slot| target.place(*slot).and_then(|place| canarys.get(place).copied()).unwrap_or(false);
    table.len() == candidates.len()
        && table.iter().zip(candidates).all(same)
        && count.is_none_or(|count| Slot::all().filter(own).count() == count)
}

/// The document to write, if another is in force than the next step towards the target.
fn next(
    look: &Look<'_>,
    target: &Placement,
    candidates: &[&Seat<'_>],
    in_force: Option<&Document>,
    claims: &Claims,
) -> Option<Placement> {
    let in_force = in_force.map(|document| &*document.0);
    if in_force.is_some_and(|document| document.says_the_same(target)) {
        return None;
    }
    let names = candidates.iter().map(|seat| (seat.pod.uid.as_str(), seat.name)).collect();
    let places = places(&names, target, claims);
    let silent = look.world.registry.as_ref().map_or(&NOBODY, |registry| &registry.silent);
    let silent: Vec<bool> = claims.uids().iter().map(|uid| silent.contains(uid)).collect();
    let held = claims.owned().filter_map(|(slot, owner)| {
        let by = places.get(owner).copied().flatten()?;
        let known = silent.get(owner) == Some(&false);
        Some((slot, Held { by, activity: known.then(|| claims.activity(slot)) }))
    });
    let users_at_once = look.world.spec.drain.users_per_s.map_or(USERS_AT_ONCE, u64::from);
    let next = step(in_force, target, held, users_at_once).placement;
    (in_force != Some(&next)).then_some(next)
}

/// Slots that are not owned by the Pod that the target names.
fn away(seats: &[Seat<'_>], target: &Placement, claims: &Claims) -> u32 {
    let names: BTreeMap<&str, &str> = seats.iter().map(|seat| (seat.pod.uid.as_str(), seat.name)).collect();
    let places = places(&names, target, claims);
    let place = |owner: usize| places.get(owner).copied().flatten();
    let there = claims.owned().filter(|&(slot, owner)| place(owner).is_some_and(|to| target.place(slot) == Some(to)));
    let there = there.count();
    u32::from(SLOTS).saturating_sub(u32::try_from(there).unwrap_or(u32::MAX))
}

/// Places in the table of a placement, by the places of owners; `names` of Pods by their uid.
fn places(names: &BTreeMap<&str, &str>, target: &Placement, claims: &Claims) -> Vec<Option<usize>> {
    let table: BTreeMap<&str, usize> = target.pods().iter().map(|placed| &*placed.pod).zip(0..).collect();
    claims.uids().iter().map(|uid| table.get(names.get(&**uid)?).copied()).collect()
}
