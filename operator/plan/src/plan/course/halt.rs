//! Signs that a new revision is not healthy. One is enough to hold its rollout.

use super::super::census::{Census, Seat, State};
use crate::status::{HaltCause, RolloutStatus};
use crate::world::World;

/// Share of requests that failed lately on a Pod, percent: name of the load in its samples.
pub(in super::super) const ERRORS: &str = "error_percent";
/// Time from the order of a message to its delivery lately, p99, milliseconds: name of the load in samples.
pub(in super::super) const P99: &str = "p99_ms";

/// Samples that are bad for so long halt a rollout: a Pod tells of the last five seconds, and slots that move delay a few
/// messages.
const SICK_MS: u64 = 10_000;

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

/// The first sign, for people. Notes since when samples are bad.
pub(super) fn sign(world: &World, census: &Census<'_>, rollout: &mut RolloutStatus) -> Option<(HaltCause, String)> {
    let seats: Vec<&Seat<'_>> =
        census.all().filter(|seat| seat.pod.revision == rollout.to && seat.state == State::Live).collect();
    let trouble = seats.iter().find_map(|seat| Some((seat, seat.pod.trouble.as_deref()?, is_trouble(seat))));
    if let Some((seat, trouble, true)) = trouble {
        return Some((HaltCause::NotStarting, format!("{}: {trouble}", seat.name)));
    }
    if let Some(seat) = seats.iter().find(|seat| is_late(world, rollout, seat)) {
        let seconds = world.spec.rollout.progress_deadline_ms / 1000;
        let why = seat.pod.trouble.as_deref().map_or_else(String::new, |trouble| format!(": {trouble}"));
        return Some((HaltCause::NotStarting, format!("{} was not ready within {seconds} s{why}", seat.name)));
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
    seat.pod.trouble.as_deref().is_some_and(|trouble| TROUBLES.contains(&trouble))
}

/// A Pod that is to serve and does not, long after it was made and the step began.
fn is_late(world: &World, rollout: &RolloutStatus, seat: &Seat<'_>) -> bool {
    let since = seat.pod.created.max(rollout.step_since);
    let told = seat.member.is_some_and(|member| member.draining);
    seat.stays()
        && !told
        && !seat.healthy()
        && world.registry.is_some()
        && world.now.0.since(since.0) >= world.spec.rollout.progress_deadline_ms
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
