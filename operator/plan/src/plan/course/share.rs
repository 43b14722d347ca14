//! The canary has its share of the users: connections by the label that the Service selects, rooms and homes by slots.
//!
//! Above its share a canary gateway leaves the Service, below it comes back. Where arrivals do not fill the share, some users
//! of the others are asked to connect anew; until they have had the time to, only canary gateways are in the Service, or most
//! of them would end where they were. It is a matter of seconds, and never begins before the canary can carry its share.

use throng_core::slot::SLOTS;
use throng_core::{Role, Slot};

use super::super::Action;
use super::super::census::{Census, Part, Seat};
use super::super::words;
use super::{Memory, steps};
use crate::status::{RolloutPhase, RolloutStatus, ShiftStatus, Utc};
use crate::world::World;

/// A share counts as reached, and is left alone, within so many points.
const POINTS: u64 = 2;
/// Users that one canary gateway takes over in a second where the spec says nothing.
const USERS_PER_S: u64 = 200;
/// Whoever was asked to connect anew has so long: until its gateway closes the connection, and five seconds to be elsewhere.
const COME_MS: u64 = throng_core::gateway::LEAVE_MS + 5_000;

/// Who may be connected to, and who is asked to connect anew.
#[derive(Debug, Default)]
pub(in super::super) struct Routes {
    /// Gateways of the main revision are out of the Service for a moment.
    pub(in super::super) main_closed: bool,
    /// Canary gateways are in the Service if they are now, or come into it.
    pub(in super::super) canary: Canary,
    /// Users who are asked to connect anew.
    pub(in super::super) sheds: Vec<Action>,
}

/// What becomes of canary gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Canary {
    /// Out of the Service.
    #[default]
    Closed,
    /// As they are.
    Stay,
    /// In the Service.
    Open,
}

/// Users on gateways: of one revision, and of all that are not over. None: somebody's are not known.
#[derive(Clone, Copy, Debug)]
struct Users {
    new: u64,
    all: u64,
    known: bool,
}

fn users(census: &Census<'_>, number: u64) -> Users {
    let mut users = Users { new: 0, all: 0, known: true };
    for seat in census.of(Role::Gateway) {
        users.all = users.all.saturating_add(seat.load.users);
        users.known &= seat.load.known;
        if seat.pod.revision == number {
            users.new = users.new.saturating_add(seat.load.users);
        }
    }
    users
}

/// Share of users on a revision, percent.
pub(super) fn percent(census: &Census<'_>, number: u64) -> u32 {
    let users = users(census, number);
    let percent = (users.new * 100 + users.all / 2).checked_div(users.all).unwrap_or(0);
    u32::try_from(percent).unwrap_or(100).min(100)
}

/// Whether the canary has its share of users, and its slots.
pub(super) fn is_reached(world: &World, census: &Census<'_>, rollout: &RolloutStatus) -> bool {
    let users = users(census, rollout.to);
    let least = u64::from(rollout.target_percent).saturating_sub(POINTS) * users.all / 100;
    let slots =
        |role| canary_slots(world, role, rollout.to).is_none_or(|slots| slots == slots_of(rollout.target_percent));
    let ready = |role| steps::are_ready(world, census, rollout, role);
    users.known
        && rollout.shift.is_none()
        && users.new.saturating_add(1) >= least
        && Role::ALL.into_iter().all(ready)
        && [Role::Chatroom, Role::Message].into_iter().all(slots)
}

/// Slots that a share means.
pub(in super::super) fn slots_of(percent: u32) -> usize {
    (usize::from(SLOTS) * percent as usize).div_ceil(100)
}

/// Slots that the placement in force gives a revision; none where there is no placement.
fn canary_slots(world: &World, role: Role, number: u64) -> Option<usize> {
    let document = world.registry.as_ref()?.documents.of(role).in_force.as_ref()?;
    let number = number.to_string();
    let own = |slot: &Slot| document.0.owner(*slot).is_some_and(|placed| *placed.revision == *number);
    Some(Slot::all().filter(own).count())
}

/// Decides who may be connected to.
pub(super) fn routes(world: &World, census: &Census<'_>, memory: &mut Memory, canary: Option<u64>) -> Routes {
    let (Some(rollout), Some(number)) = (memory.rollout.as_mut(), canary) else { return Routes::default() };
    let users = users(census, number);
    let goal = users.all * u64::from(rollout.target_percent);
    let canary = match rollout.phase {
        RolloutPhase::Halted if !can_carry(census) => Canary::Stay,
        RolloutPhase::Halted | RolloutPhase::Starting | RolloutPhase::Promoting => Canary::Closed,
        RolloutPhase::Paused if super::was_promoting(rollout) => Canary::Open,
        _ if users.new * 100 < goal => Canary::Open,
        _ if users.new * 100 < goal + users.all => Canary::Stay,
        _ => Canary::Closed,
    };
    let mut routes = Routes { main_closed: false, canary, sheds: Vec::new() };
    let fills =
        rollout.phase == RolloutPhase::Canary && canary == Canary::Open && users.known && world.registry.is_some();
    rollout.shift = rollout.shift.filter(|shift| fills && world.now < shift.until);
    let open = |seat: &&Seat<'_>| seat.part == Part::Canary && seat.serves() && seat.pod.serving;
    let open = census.of(Role::Gateway).iter().filter(open).count() as u64;
    if !fills || open == 0 || !steps::are_ready(world, census, rollout, Role::Gateway) {
        rollout.shift = None;
        return routes;
    }
    if rollout.shift.is_none() && (users.new + 1) * 100 < goal.saturating_sub(users.all) {
        let missing = (goal / 100).saturating_sub(users.new);
        let per_s = world.spec.drain.users_per_s.map_or(USERS_PER_S * open, u64::from).max(1);
        routes.sheds = sheds(census, missing, per_s);
        let until = Utc(world.now.0 + missing * 1000 / per_s + COME_MS);
        rollout.shift = Some(ShiftStatus { since: world.now, until, users: missing });
        let asked = format!("{} {} asked", words::users(missing), words::are(missing));
        memory.why.push(format!("{asked} to connect anew, to revision {number}"));
    }
    routes.main_closed = memory.rollout.as_ref().is_some_and(|rollout| rollout.shift.is_some());
    routes
}

/// Whether Pods of the main revision serve in every pool.
fn can_carry(census: &Census<'_>) -> bool {
    let serves = |role| census.of(role).iter().any(|seat| seat.part == Part::Main && seat.serves());
    Role::ALL.into_iter().all(serves)
}

/// Each gateway of the main revision gives by what it has.
fn sheds(census: &Census<'_>, missing: u64, per_s: u64) -> Vec<Action> {
    let has_users = |seat: &&Seat<'_>| seat.part == Part::Main && seat.serves() && seat.load.users > 0;
    let givers: Vec<&Seat<'_>> = census.of(Role::Gateway).iter().filter(has_users).collect();
    let (mut left, mut rest) = (missing, givers.iter().fold(0u64, |sum, seat| sum.saturating_add(seat.load.users)));
    let mut sheds = Vec::new();
    for seat in &givers {
        // Of what is left its part of the users that are left: rounding loses nobody.
        let users = (left * seat.load.users).div_ceil(rest.max(1)).min(left).min(seat.load.users);
        rest -= seat.load.users;
        left -= users;
        let users_per_s = u32::try_from((per_s / givers.len().max(1) as u64).max(1)).unwrap_or(u32::MAX);
        let (name, uid) = (seat.name.to_owned(), seat.pod.uid.clone());
        sheds.extend((users > 0).then_some(Action::ShedUsers { name, uid, users, users_per_s }));
    }
    sheds
}
