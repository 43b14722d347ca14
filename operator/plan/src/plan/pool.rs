//! A pool comes to its size: Pods come back, are made, are drained, are deleted.
//!
//! What adds capacity is decided before what takes it away, and nothing is taken away before what replaces it serves.

use throng_core::Role;

use super::census::{Census, Seat, State};
use super::leave::{Victim, victims};
use super::{Action, Because, Draft, Look, birth, size};
use crate::status::{DrainCause, DrainStatus, MAX_COUNT, MAX_DRAINS, Utc};

/// Plans all pools.
pub(super) fn plan(look: &Look<'_>, census: &mut Census<'_>, draft: &mut Draft) {
    let mut drains_left = MAX_DRAINS.saturating_sub(census.draining());
    for role in Role::ALL {
        let seats = census.pools.of_mut(role);
        let mut pool = Pool { look, role, wanted: look.wanted.of(role).pods, seats, draft };
        pool.come_back();
        pool.create();
        if look.world.registry.is_some() {
            pool.start_drains(&mut drains_left);
        }
        pool.act();
    }
}

struct Pool<'p, 'a> {
    look: &'p Look<'p>,
    role: Role,
    wanted: u32,
    seats: &'p mut Vec<Seat<'a>>,
    draft: &'p mut Draft,
}

impl<'a> Pool<'_, 'a> {
    fn count(&self, which: impl Fn(&Seat<'a>) -> bool) -> u32 {
        u32::try_from(self.seats.iter().filter(|seat| which(seat)).count()).unwrap_or(u32::MAX)
    }

    /// Pods that count towards the size.
    fn fit(&self) -> u32 {
        self.count(|seat| seat.stays() && seat.unfit.is_none())
    }

    fn say(&mut self, line: &str) {
        self.draft.why.push(format!("{}: {line}", self.role));
    }

    /// Takes drains back while Pods are missing: those first that have the most users, for they save the most moves.
    fn come_back(&mut self) {
        let missing = self.wanted.saturating_sub(self.fit());
        let mut places: Vec<usize> = (0..self.seats.len()).collect();
        places.retain(|&place| self.seats.get(place).is_some_and(may_come_back));
        places.sort_by_key(|&place| {
            let seat = self.seats.get(place);
            std::cmp::Reverse(seat.map(|seat| (seat.healthy(), seat.load.users, std::cmp::Reverse(seat.pod.index))))
        });
        for place in places.into_iter().take(missing as usize) {
            let Some(seat) = self.seats.get_mut(place) else { continue };
            seat.drain = None;
            let line = format!("{} stays: it is wanted again", seat.name);
            self.say(&line);
        }
    }

    /// Makes the Pods that are missing, as many at a time as may run beside those that they replace.
    fn create(&mut self) {
        let missing = self.wanted.saturating_sub(self.fit());
        let most = self.wanted.saturating_add(birth::surge(self.wanted));
        let count = missing.min(most.saturating_sub(self.count(Seat::stays)));
        if count == 0 {
            return;
        }
        let births = birth::create(self.look, self.role, self.seats, count);
        self.draft.gains.extend(births);
        let line = format!(
            "makes {count} Pods of revision {}, for {missing} of {} are missing",
            self.look.serving.number, self.wanted
        );
        self.say(&line);
    }

    /// Starts drains of those that must go and of those that are too many, as far as the rest can serve without them.
    fn start_drains(&mut self, drains_left: &mut usize) {
        let surplus = self.fit().saturating_sub(self.kept());
        let users = self.seats.iter().fold(0u64, |users, seat| users.saturating_add(seat.load.users));
        let needed = size::needed(self.look.world, self.role, users);
        let floor = self.wanted.max(needed);
        let mut serving = self.count(Seat::serves);
        for victim in victims(self.seats, surplus as usize) {
            let Some(seat) = self.seats.get(victim.place) else { continue };
            let after = serving - u32::from(seat.serves());
            let nobody = !seat.serves() && seat.load.is_nothing();
            if *drains_left == 0 {
                let line = format!("{}: {} waits: {MAX_DRAINS} drains are on their way", self.role, seat.name);
                self.draft.blocked.push(line);
                return;
            }
            if !nobody && after < floor {
                let line = blocked(seat, victim.cause, after, floor, needed > self.wanted);
                self.draft.blocked.push(format!("{}: {line}", self.role));
                continue;
            }
            serving = after;
            *drains_left -= 1;
            self.start(&victim);
        }
    }

    /// Pods that are not too many: those that are wanted, and all that the spec allows while too few say what they carry.
    fn kept(&self) -> u32 {
        let frozen = self.look.wanted.of(self.role).frozen();
        if frozen { self.wanted.max(self.look.world.spec.pools.of(self.role).max) } else { self.wanted }
    }

    fn start(&mut self, victim: &Victim) {
        let (now, deadline_ms) = (self.look.world.now, self.look.world.spec.drain.deadline_ms);
        let Some(seat) = self.seats.get_mut(victim.place) else { return };
        let why = because(seat, victim.cause);
        let line = format!("{} is drained: {why}", seat.name);
        seat.drain = Some(DrainStatus {
            pod: seat.name.to_owned(),
            uid: seat.pod.uid.clone(),
            cause: victim.cause,
            why,
            since: now,
            deadline: Utc(now.0 + deadline_ms),
            users_at_start: seat.load.users.min(MAX_COUNT),
            users_left: seat.load.users.min(MAX_COUNT),
            operation: None,
        });
        self.say(&line);
    }

    /// Turns what was decided for each Pod into actions: only what is not so yet.
    fn act(&mut self) {
        let world = self.look.world;
        let gateways = self.count(|seat| seat.drain.is_some()).max(1);
        let users_per_s = world.spec.drain.users_per_s.map(|users| users.div_ceil(gateways).max(1));
        for seat in self.seats.iter_mut() {
            let (name, uid) = (seat.name.to_owned(), seat.pod.uid.clone());
            match (seat.state, seat.drain.as_mut()) {
                (State::Over, _) if seat.member.is_none() && world.registry.is_some() => {
                    self.draft.why.push(format!("{}: {name} is over and makes room", self.role));
                    let because = Because::Failed;
                    self.draft.deletes.push(Action::DeletePod { name, uid, because, most_users_cut: 0 });
                }
                (State::Live, Some(drain)) => {
                    drain.deadline = Utc(drain.since.0 + world.spec.drain.deadline_ms);
                    drain.users_left = seat.load.users.min(MAX_COUNT);
                    let deadline = drain.deadline;
                    if seat.pod.serving {
                        let (name, uid) = (name.clone(), uid.clone());
                        self.draft.leaves.push(Action::LabelServing { name, uid, serving: false });
                    }
                    empty(seat, self.look, deadline, users_per_s, self.draft);
                }
                (State::Live, None) => {
                    let draining = seat.member.is_some_and(|member| member.draining);
                    if seat.serves() && !seat.pod.serving {
                        let (name, uid) = (name.clone(), uid.clone());
                        self.draft.gains.push(Action::LabelServing { name, uid, serving: true });
                    }
                    if draining {
                        self.draft.gains.push(Action::UndrainPod { name, uid });
                    }
                }
                _ => {}
            }
        }
    }
}

/// A Pod that is drained: told so, or deleted once nobody is on it or it has lasted too long. Nothing is deleted while
/// the registry is out of reach, for then nobody could take over what it has.
fn empty(seat: &Seat<'_>, look: &Look<'_>, deadline: Utc, users_per_s: Option<u32>, draft: &mut Draft) {
    let (name, uid) = (seat.name.to_owned(), seat.pod.uid.clone());
    let told = seat.member.is_some_and(|member| member.draining);
    let delete =
        |because, most_users_cut| Action::DeletePod { name: name.clone(), uid: uid.clone(), because, most_users_cut };
    if look.world.registry.is_none() {
        return;
    }
    // A count from before it was told is no proof: somebody may have come between the two.
    if seat.load.is_nothing() && (told && seat.load.closed || !seat.healthy()) {
        let because = if told { Because::Emptied } else { Because::Unused };
        draft.why.push(format!("{}: {name} is empty and goes", seat.pod.role));
        draft.deletes.push(delete(because, 0));
    } else if look.world.now >= deadline {
        let users = if seat.load.known { seat.load.users } else { MAX_COUNT };
        draft.why.push(format!(
            "{}: {name} goes with {} users: its drain is at its deadline",
            seat.pod.role, seat.load.users
        ));
        draft.deletes.push(delete(Because::Deadline, users));
    } else if seat.member.is_some() && !told {
        draft.leaves.push(Action::DrainPod { name, uid, deadline, users_per_s });
    }
}

/// Whether a drain may be taken back: what it was for is no more.
fn may_come_back(seat: &Seat<'_>) -> bool {
    let reversible = |drain: &DrainStatus| !matches!(drain.cause, DrainCause::Eviction | DrainCause::Operation);
    seat.state == State::Live && seat.unfit.is_none() && seat.drain.as_ref().is_some_and(reversible)
}

fn because(seat: &Seat<'_>, cause: DrainCause) -> String {
    let node = seat.pod.node.as_deref().unwrap_or_default();
    match cause {
        DrainCause::Cordoned => format!("its node {node} takes no new Pods"),
        DrainCause::Tainted => format!("its node {node} has a taint that starts drains"),
        DrainCause::ScaleIn => format!("the pool is too large, and its {} users are cheapest to move", seat.load.users),
        _ => format!("its revision {} goes", seat.pod.revision),
    }
}

fn blocked(seat: &Seat<'_>, cause: DrainCause, after: u32, floor: u32, users: bool) -> String {
    let what = if cause == DrainCause::ScaleIn { "is too many" } else { "should go" };
    let why = if users { "for the users that are there" } else { "before others take its place" };
    format!("{} {what} but stays: {after} Pods would serve without it, {floor} are needed {why}", seat.name)
}
