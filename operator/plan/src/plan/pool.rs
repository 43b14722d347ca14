//! A pool comes to its size: Pods come back, are made, are drained, are deleted.
//!
//! What adds capacity is decided before what takes it away, and nothing is taken away before what replaces it serves.

use throng_core::Role;

use super::census::{self, Census, Part, Seat, State};
use super::course::{canary_pods, surge, was_promoting};
use super::leave::{Victim, victims};
use super::waiting::{self, Coming, Waits};
use super::words::{self, are, pods};
use super::{Action, Because, Draft, Look, Reason, birth, size};
use crate::status::{DrainCause, DrainStatus, MAX_COUNT, MAX_DRAINS, RolloutPhase, Utc};

/// Users that a gateway sends away in a second when they are to go fast: what gateways do where no spec says otherwise.
const FAST_PER_S: u32 = 1000;

/// Plans all pools.
pub(super) fn plan(look: &Look<'_>, census: &mut Census<'_>, draft: &mut Draft) {
    let mut drains_left = MAX_DRAINS.saturating_sub(census.draining());
    for role in Role::ALL {
        let seats = census.pools.of_mut(role);
        let aims = Aims::take(look, role, seats);
        let mut pool = Pool { look, role, wanted: look.wanted.of(role).pods, aims, seats, draft };
        for aim in std::iter::once(aims.main).chain(aims.canary) {
            pool.come_back(aim);
            pool.create(aim);
        }
        if role == Role::Gateway {
            // Those that came back may take who comes: nobody need go elsewhere.
            census::route(pool.seats, &look.course);
        }
        if look.world.registry.is_some() {
            pool.start_drains(&mut drains_left);
        }
        pool.keep_open();
        pool.act();
    }
}

/// How many Pods of a revision a pool should have.
#[derive(Clone, Copy, Debug)]
struct Aim {
    revision: u64,
    pods: u32,
    /// Most Pods of all revisions that may run while these are made.
    most: u32,
}

/// What a pool should have.
#[derive(Clone, Copy, Debug)]
struct Aims {
    main: Aim,
    canary: Option<Aim>,
    /// Canary Pods are part of the size of the pool, not beside it.
    mixed: bool,
}

impl Aims {
    /// The main revision carries the pool, and a canary stands beside it. Where everybody was on the way and is held, both
    /// carry it together: no Pod is made or goes for the sake of its revision.
    fn take(look: &Look<'_>, role: Role, seats: &[Seat<'_>]) -> Self {
        let (course, spec) = (&look.course, &look.world.spec.rollout);
        let wanted = look.wanted.of(role).pods;
        let rollout = course.memory.rollout.as_ref().filter(|_| course.canary.is_some());
        let there = |part| {
            let there = seats.iter().filter(|seat| seat.part == part && seat.stays()).count();
            u32::try_from(there).unwrap_or(u32::MAX)
        };
        let (good, there) = (there(Part::Main), there(Part::Canary));
        let mixed = rollout.is_some_and(was_promoting);
        let canary = rollout.map(|rollout| match rollout.phase {
            // Of too many those go first that nobody is sure of.
            RolloutPhase::Paused | RolloutPhase::Halted if mixed => there.min(wanted.saturating_sub(good)),
            // Those that could not be made are tried again: it goes on when they can.
            RolloutPhase::Halted if rollout.missing_since.is_some() => canary_pods(spec, rollout, wanted),
            RolloutPhase::Paused | RolloutPhase::Halted => there.min(canary_pods(spec, rollout, wanted)),
            _ => canary_pods(spec, rollout, wanted),
        });
        let main = if mixed { wanted.saturating_sub(canary.unwrap_or(0)) } else { wanted };
        let beside = canary.filter(|_| !mixed).unwrap_or(0);
        let more = if course.is_fast() { wanted } else { surge(wanted) };
        let most = wanted.saturating_add(more).saturating_add(beside);
        let aim = |(revision, pods)| Aim { revision, pods, most };
        Self { main: aim((course.main, main)), canary: course.canary.zip(canary).map(aim), mixed }
    }
}

struct Pool<'p, 'a> {
    look: &'p Look<'p>,
    role: Role,
    wanted: u32,
    aims: Aims,
    seats: &'p mut Vec<Seat<'a>>,
    draft: &'p mut Draft,
}

impl<'a> Pool<'_, 'a> {
    fn count(&self, which: impl Fn(&Seat<'a>) -> bool) -> u32 {
        u32::try_from(self.seats.iter().filter(|seat| which(seat)).count()).unwrap_or(u32::MAX)
    }

    /// Pods of a revision that count towards its size.
    fn fit(&self, revision: u64) -> u32 {
        self.count(|seat| seat.pod.revision == revision && seat.stays() && seat.unfit.is_none())
    }

    fn say(&mut self, line: &str) {
        self.draft.why.push(format!("{}: {line}", self.role));
    }

    /// Takes drains back while Pods are missing: those first that have the most users, for they save the most moves.
    fn come_back(&mut self, aim: Aim) {
        let missing = aim.pods.saturating_sub(self.fit(aim.revision));
        let mut places: Vec<usize> = (0..self.seats.len()).collect();
        places.retain(|&place| {
            self.seats.get(place).is_some_and(|seat| seat.pod.revision == aim.revision && may_come_back(seat))
        });
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
    fn create(&mut self, aim: Aim) {
        let missing = aim.pods.saturating_sub(self.fit(aim.revision));
        let count = missing.min(aim.most.saturating_sub(self.count(Seat::stays)));
        if count == 0 {
            return;
        }
        if !self.look.course.can_be_made(self.look.world, aim.revision) {
            let line = format!("{}: revision {} is not stored: no Pod of it can be made", self.role, aim.revision);
            self.draft.blocked.push((Reason::RevisionMissing, line));
            return;
        }
        let births = birth::create(self.look, self.role, aim.revision, self.seats, count);
        self.draft.gains.extend(births);
        let (made, are) = (pods(count), are(missing));
        let line = format!("makes {made} of revision {}, for {missing} of {} {are} missing", aim.revision, aim.pods);
        self.say(&line);
    }

    /// Starts drains of those that must go and of those that are too many, as far as the rest can serve without them.
    fn start_drains(&mut self, drains_left: &mut usize) {
        let users = self.seats.iter().fold(0u64, |users, seat| users.saturating_add(seat.load.users));
        let needed = size::needed(self.look.world, self.role, users);
        let mixed = self.aims.mixed;
        let counts = |seat: &Seat<'_>| seat.serves() && (mixed || seat.part != Part::Canary);
        let mut serving = self.count(counts);
        let mut waits = Vec::new();
        let victims = victims(self.seats, &self.surplus());
        for (place, victim) in victims.iter().enumerate() {
            let Some(seat) = self.seats.get(victim.place) else { continue };
            let after = serving - u32::from(counts(seat));
            let nobody = !seat.serves() && seat.load.is_nothing();
            let floor = match (victim.cause, seat.part) {
                // Of a revision that is blocked nobody waits for more than the users need.
                (DrainCause::Rollback, _) => needed.max(1),
                (_, Part::Canary) if !mixed => needed,
                _ => self.wanted.max(needed),
            };
            if *drains_left == 0 {
                let line = format!("{}: {} waits: {MAX_DRAINS} drains are on their way", self.role, seat.name);
                self.draft.blocked.push((Reason::TooManyDrains, line));
                self.draft.waiting.pods += victims.len() - place;
                break;
            }
            if !nobody && after < floor {
                let operation = operation(self.look, seat, victim.cause);
                let why = because(seat, victim.cause, operation.as_deref());
                let users = needed > self.wanted;
                waits.push(Waits { name: seat.name.to_owned(), why, after, floor, users });
                continue;
            }
            serving = after;
            *drains_left -= 1;
            self.start(victim);
        }
        let coming = self.coming();
        self.draft.waiting.take(self.role.as_str(), &waits, &coming);
    }

    /// What may take the place of Pods that wait, once the drains of this look are decided on.
    fn coming(&self) -> Coming {
        let world = self.look.world;
        let starts = |seat: &Seat<'a>| {
            seat.stays() && seat.unfit.is_none() && !seat.serves() && (self.aims.mixed || seat.part != Part::Canary)
        };
        let canary = self.aims.canary.filter(|_| self.aims.mixed);
        let can_be_made = |aim: &Aim| self.look.course.can_be_made(world, aim.revision);
        let missing = |aim: Aim| aim.pods.saturating_sub(self.fit(aim.revision));
        let missing: u32 = std::iter::once(self.aims.main).chain(canary).filter(can_be_made).map(missing).sum();
        let made = missing.min(self.aims.main.most.saturating_sub(self.count(Seat::stays)));
        let starting = self.count(|seat| starts(seat) && waiting::comes(world, seat));
        let late = self.seats.iter().find(|seat| starts(seat) && !waiting::comes(world, seat));
        Coming {
            pods: starting + if waiting::can_act(self.look) { made } else { 0 },
            start: made > 0 || self.seats.iter().any(starts),
            trouble: late.map(waiting::trouble),
        }
    }

    /// Pods of each revision that are too many.
    fn surplus(&self) -> Vec<(u64, usize)> {
        let of = |aim: &Aim, kept: u32| (aim.revision, self.fit(aim.revision).saturating_sub(kept) as usize);
        let mixed = self.aims.canary.filter(|_| self.aims.mixed).map_or(0, |aim| aim.pods);
        let main = std::iter::once(of(&self.aims.main, self.kept().saturating_sub(mixed)));
        let frozen = self.aims.mixed && self.look.wanted.of(self.role).frozen();
        let canary = self.aims.canary.iter().filter(|_| !frozen);
        main.chain(canary.map(|aim| of(aim, aim.pods))).collect()
    }

    /// Pods that are not too many: those that are wanted, and all that the spec allows while too few say what they carry.
    fn kept(&self) -> u32 {
        let frozen = self.look.wanted.of(self.role).frozen();
        if frozen { self.wanted.max(self.look.world.spec.pools.of(self.role).max) } else { self.wanted }
    }

    fn start(&mut self, victim: &Victim) {
        let (now, deadline_ms) = (self.look.world.now, self.look.world.spec.drain.deadline_ms);
        let Some(seat) = self.seats.get_mut(victim.place) else { return };
        let operation = operation(self.look, seat, victim.cause);
        let why = because(seat, victim.cause, operation.as_deref());
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
            operation,
        });
        self.say(&line);
    }

    /// The Service is not left without a Pod: where those go that were to take all who come, others are in it, at last one that
    /// goes as soon as somebody takes its place.
    fn keep_open(&mut self) {
        for part in [Part::Main, Part::Canary, Part::Rest] {
            if self.seats.iter().any(Seat::is_labelled) {
                return;
            }
            self.seats.iter_mut().filter(|seat| seat.part == part).for_each(|seat| seat.routed = true);
        }
    }

    /// Turns what was decided for each Pod into actions: only what is not so yet.
    fn act(&mut self) {
        let world = self.look.world;
        let gateways = self.count(|seat| seat.drain.is_some()).max(1);
        // Said to a gateway that was made with the pace of the spec, so that it does not keep to that.
        let is_fast = self.look.course.is_fast();
        let paced = |users: u32| if is_fast { FAST_PER_S } else { users.div_ceil(gateways).max(1) };
        let users_per_s = world.spec.drain.users_per_s.map(paced);
        for seat in self.seats.iter_mut() {
            if seat.keep && seat.is_told() && seat.load.is_nothing() {
                seat.drain = None;
            }
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
                    let (since, deadline) = (drain.since, drain.deadline);
                    label(seat, false, self.draft);
                    empty(seat, self.look, (since, deadline), users_per_s, self.draft);
                }
                (State::Live, None) => {
                    label(seat, seat.is_labelled(), self.draft);
                    if seat.is_told() && seat.stays() {
                        self.draft.gains.push(Action::UndrainPod { name, uid });
                    }
                }
                _ => {}
            }
        }
    }
}

/// Puts a Pod into its Service, or takes it out.
fn label(seat: &Seat<'_>, serving: bool, draft: &mut Draft) {
    if seat.pod.serving == serving {
        return;
    }
    let part = if serving { &mut draft.gains } else { &mut draft.leaves };
    part.push(Action::LabelServing { name: seat.name.to_owned(), uid: seat.pod.uid.clone(), serving });
}

/// A Pod that is drained: told so, or deleted once nobody is on it or it has lasted too long. Nothing is deleted while
/// the registry is out of reach, for then nobody could take over what it has.
fn empty(seat: &Seat<'_>, look: &Look<'_>, (since, deadline): (Utc, Utc), users_per_s: Option<u32>, draft: &mut Draft) {
    let (name, uid) = (seat.name.to_owned(), seat.pod.uid.clone());
    let told = seat.is_told();
    let delete =
        |because, most_users_cut| Action::DeletePod { name: name.clone(), uid: uid.clone(), because, most_users_cut };
    if look.world.registry.is_none() {
        return;
    }
    // A count from before it was told is no proof: somebody may have come between the two.
    let warm = told && seat.keep;
    let sample = look.world.samples.get(seat.pod.uid.as_str());
    // One that is not well cannot be told everything, and a process that lives may have got somebody until it was to go.
    let counted = seat.member.is_none() || sample.is_none_or(|sample| sample.at >= since);
    if seat.load.is_nothing() && !warm && (told && seat.load.closed || !seat.healthy() && counted) {
        let because = if told { Because::Emptied } else { Because::Unused };
        draft.why.push(format!("{}: {name} is empty and goes", seat.pod.role));
        draft.deletes.push(delete(because, 0));
    } else if look.world.now >= deadline {
        let users = if seat.load.known { seat.load.users } else { MAX_COUNT };
        draft.why.push(format!(
            "{}: {name} goes with {}: its drain is at its deadline",
            seat.pod.role,
            words::users(seat.load.users)
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

/// The operation that a drain is for.
fn operation(look: &Look<'_>, seat: &Seat<'_>, cause: DrainCause) -> Option<String> {
    match cause {
        DrainCause::Operation => look.course.operations.drains.get(seat.name).cloned(),
        DrainCause::Rollback => look.course.memory.rollback.as_ref().map(|rollback| rollback.operation.clone()),
        _ => None,
    }
}

fn because(seat: &Seat<'_>, cause: DrainCause, operation: Option<&str>) -> String {
    let operation = operation.unwrap_or_default();
    let node = seat.pod.node.as_deref().unwrap_or_default();
    match cause {
        DrainCause::Cordoned => format!("its node {node} takes no new Pods"),
        DrainCause::Tainted => format!("its node {node} has a taint that starts drains"),
        DrainCause::ScaleIn => {
            format!("the pool is too large, and its {} cost least to move", words::users(seat.load.users))
        }
        DrainCause::Operation => format!("operation {operation} asks for it"),
        DrainCause::Rollback => format!("its revision {} is blocked by operation {operation}", seat.pod.revision),
        _ => format!("its revision {} goes", seat.pod.revision),
    }
}
