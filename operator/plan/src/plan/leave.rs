//! Which Pods go, and in which order: first those that must, then those whose users are cheapest to move, as long as zones
//! stay balanced.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::census::Seat;
use crate::status::DrainCause;

/// A Pod that should be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    /// Its place among the seats of its pool.
    pub(super) place: usize,
    /// What for.
    pub(super) cause: DrainCause,
}

/// Victims in the order in which they should go: of each revision its surplus of those that could stay comes last.
pub(super) fn victims(seats: &[Seat<'_>], surplus: &[(u64, usize)]) -> Vec<Victim> {
    let staying = || seats.iter().enumerate().filter(|(_, seat)| seat.stays());
    let mut must: Vec<(usize, DrainCause)> = staying().filter_map(|(place, seat)| Some((place, seat.unfit?))).collect();
    must.sort_by_key(|&(place, cause)| seats.get(place).map(|seat| (seat.serves(), rank(cause), preference(seat))));
    let mut all: Vec<Victim> = must.into_iter().map(|(place, cause)| Victim { place, cause }).collect();
    for &(revision, surplus) in surplus.iter().filter(|(_, surplus)| *surplus > 0) {
        let of = staying().filter(|(_, seat)| seat.unfit.is_none() && seat.pod.revision == revision);
        let rest = cheapest(of.collect(), surplus).into_iter();
        all.extend(rest.map(|place| Victim { place, cause: DrainCause::ScaleIn }));
    }
    all
}

/// A node that goes is more urgent than a revision, unless nobody should be on that.
const fn rank(cause: DrainCause) -> u8 {
    match cause {
        DrainCause::Rollback | DrainCause::Cordoned | DrainCause::Tainted | DrainCause::Operation => 0,
        _ => 1,
    }
}

/// Cheapest first; among equals the largest index, as people expect of a scale-in.
fn preference(seat: &Seat<'_>) -> (u64, u64, Reverse<u32>) {
    (seat.load.users, seat.load.left, Reverse(seat.pod.index))
}

/// Places of `count` Pods: first those that do not serve and have nobody, then, one after the other, the cheapest of the
/// fullest zones, which keeps their sizes within one of each other. O(Pods log Pods + count x zones).
fn cheapest(mut fit: Vec<(usize, &Seat<'_>)>, count: usize) -> Vec<usize> {
    fit.sort_by_key(|(_, seat)| (seat.serves() || !seat.load.is_nothing(), preference(seat)));
    let idle = fit.partition_point(|(_, seat)| !seat.serves() && seat.load.is_nothing());
    let mut chosen: Vec<usize> = fit.iter().take(idle.min(count)).map(|(place, _)| *place).collect();
    let mut zones: BTreeMap<&str, Vec<(usize, &Seat<'_>)>> = BTreeMap::new();
    for (place, seat) in fit.into_iter().skip(chosen.len()).rev() {
        zones.entry(&seat.pod.zone).or_default().push((place, seat));
    }
    while chosen.len() < count {
        let fullest = zones.values().map(Vec::len).max().unwrap_or(0);
        let full = zones.values_mut().filter(|zone| zone.len() == fullest);
        let zone = full.min_by_key(|zone| zone.last().map(|(_, seat)| preference(seat)));
        let Some((place, _)) = zone.and_then(Vec::pop) else { break };
        chosen.push(place);
    }
    chosen
}
