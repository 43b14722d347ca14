//! Signs that a new revision is not healthy. One is enough to hold its rollout.

use throng_core::Role;

use super::super::census::{Census, Seat, State};
use super::canary_pods;
use crate::status::{HaltCause, RolloutPhase, RolloutStatus};
use crate::world::World;

/// Share of requests that failed lately on a Pod, percent: name of the load in its samples.
pub(in super::super) const ERRORS: &str = throng_core::gateway::ERROR_PERCENT;
/// Time from the order of a message to its delivery lately, p99, milliseconds: name of the load in samples.
pub(in super::super) const P99: &str = throng_core::gateway::P99_MS;

/// Samples that are bad for so long halt a rollout: two spans that a Pod tells of, for slots that move delay a few messages.
const SICK_MS: u64 = 2 * throng_core::gateway::HEALTH_SPAN_MS;

/// What keeps a container from starting for good: only another spec helps, or another hand.
const TROUBLES: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// The first sign, for people. Notes since when samples are bad, and Pods missing.
pub(super) fn sign(world: &World, census: &Census<'_>, rollout: &mut RolloutStatus) -> Option<(HaltCause, String)> {
    let seats: Vec<&Seat<'_>> =
        census.all().filter(|seat| seat.pod.revision == rollout.to && seat.state == State::Live).collect();
    let missing = missing(world, census, rollout);
    let trouble = seats.iter().find_map(|seat| Some((seat, seat.pod.trouble.as_deref()?, is_trouble(seat))));
    if let Some((seat, trouble, true)) = trouble {
        return Some((HaltCause::NotStarting, format!("{}: {trouble}", seat.name)));
    }
    if let Some(seat) = seats.iter().find(|seat| is_late(world, rollout, seat)) {
        let seconds = world.spec.rollout.progress_deadline_ms / 1000;
        let why = unready(world, seat);
        return Some((HaltCause::NotStarting, format!("{} was not ready within {seconds} s{why}", seat.name)));
    }
    if let Some(missing) = missing {
        return Some((HaltCause::NotStarting, missing));
    }
    let sick = samples(world, &seats);
    rollout.sick_since = sick.as_ref().map(|_| rollout.sick_since.unwrap_or(world.now));
    let long = rollout.sick_since.is_some_and(|since| world.now.0.since(since.0) >= SICK_MS);
    restarts(world, &seats, rollout).or(sick.filter(|_| long))
}

/// Restarts of the containers of a revision.
pub(in super::super) fn restarts_of(census: &Census<'_>, number: u64) -> u32 {
    let seats = census.all().filter(|seat| seat.pod.revision == number);
    seats.fold(0, |sum, seat| sum.saturating_add(seat.pod.restarts))
}

fn is_trouble(seat: &Seat<'_>) -> bool {
    let trouble = seat.pod.trouble.as_deref().unwrap_or_default();
    TROUBLES.contains(&trouble.split_once(':').map_or(trouble, |(reason, _)| reason))
}

/// A Pod that is to serve and does not, long after it was made and the step began.
fn is_late(world: &World, rollout: &RolloutStatus, seat: &Seat<'_>) -> bool {
    let since = seat.pod.created.max(rollout.step_since);
    let told = seat.is_told();
    seat.stays()
        && !told
        && !seat.healthy()
        && world.registry.is_some()
        && world.now.0.since(since.0) >= world.spec.rollout.progress_deadline_ms
}

/// Pods that cannot be made, for a quota, a class or a policy that the API server goes by: nothing of them could be late.
fn missing(world: &World, census: &Census<'_>, rollout: &mut RolloutStatus) -> Option<String> {
    let makes = match rollout.phase {
        RolloutPhase::Starting | RolloutPhase::Canary | RolloutPhase::Promoting => true,
        RolloutPhase::Halted => rollout.halted_for == Some(HaltCause::NotStarting),
        RolloutPhase::Paused => false,
    };
    let lacking = Role::ALL.into_iter().find_map(|role| {
        let needed = canary_pods(&world.spec.rollout, rollout, world.status.pools.of(role).wanted.max(1));
        let lives = |seat: &&Seat<'_>| seat.pod.revision == rollout.to && seat.state == State::Live;
        let living = census.of(role).iter().filter(lives).count();
        (living < needed as usize).then_some((role, living, needed))
    });
    let lacking = lacking.filter(|_| makes);
    rollout.missing_since = lacking.map(|_| rollout.missing_since.unwrap_or(world.now));
    let (role, living, needed) = lacking?;
    let since = rollout.missing_since.unwrap_or(world.now).max(rollout.step_since);
    let deadline_ms = world.spec.rollout.progress_deadline_ms;
    (world.now.0.since(since.0) >= deadline_ms).then(|| {
        let seconds = deadline_ms / 1000;
        let number = rollout.to;
        format!("{role}: {living} of {needed} Pods of revision {number} were made within {seconds} s; Applied says why")
    })
}

/// Why a Pod is not ready, as Kubernetes says or as it says itself.
fn unready(world: &World, seat: &Seat<'_>) -> String {
    let said = || world.samples.get(&seat.pod.uid).filter(|sample| sample.is_fresh(world.now));
    let own = || said().map(|sample| sample.unready.join("; ")).filter(|reasons| !reasons.is_empty());
    seat.pod.trouble.clone().or_else(own).map_or_else(String::new, |why| format!(": {why}"))
}

fn restarts(world: &World, seats: &[&Seat<'_>], rollout: &RolloutStatus) -> Option<(HaltCause, String)> {
    let most = world.spec.rollout.halt.restarts?;
    let all = seats.iter().fold(0u32, |sum, seat| sum.saturating_add(seat.pod.restarts));
    let new = all.saturating_sub(rollout.restarts_forgiven);
    let worst = seats.iter().max_by_key(|seat| seat.pod.restarts)?;
    (new >= most)
        .then(|| (HaltCause::Restarts, format!("{new} restarts of its containers, the most of {}", worst.name)))
}

fn samples(world: &World, seats: &[&Seat<'_>]) -> Option<(HaltCause, String)> {
    let halt = &world.spec.rollout.halt;
    let above = |load: &str, bound: f64| {
        let of = |seat: &&Seat<'_>| {
            let sample = world.samples.get(&seat.pod.uid).filter(|sample| sample.is_fresh(world.now))?;
            let value = *sample.load.get(load)?;
            (value >= bound).then(|| (seat.name.to_owned(), value))
        };
        seats.iter().find_map(of)
    };
    let errors = halt.error_percent.and_then(|bound| Some((bound, above(ERRORS, f64::from(bound))?)));
    if let Some((bound, (name, value))) = errors {
        return Some((HaltCause::Errors, format!("{value:.1} % of requests fail on {name}, {bound} % are too many")));
    }
    let slow = halt.p99_ms.and_then(|bound| Some((bound, above(P99, f64::from(bound))?)));
    slow.map(|(bound, (name, value))| {
        (HaltCause::Slow, format!("messages take {value:.0} ms on {name} (p99), {bound} ms are too many"))
    })
}
