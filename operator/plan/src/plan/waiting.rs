//! Pods that should go and stay for now, because the others could not carry the users without them.
//!
//! Most of them wait in the ordinary way: the Pods that take their place are made and start. Blocked is a Pod only if that
//! would not do, counted with all that are on their way: nothing more can be made, or what was made does not come up. All of
//! it is read from the world and from the status, so a planner that starts anew says the same.

use super::census::Seat;
use super::words::pods;
use super::{Look, Reason};
use crate::status::{Condition, Holds, Utc};
use crate::world::World;

/// A Pod that was made to take the place of another serves within so long, or is counted on no more. What cannot be made at all
/// has as long.
const COMES_MS: u64 = 120_000;

/// Pods that should go and stay for now.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// How many.
    pub(super) pods: usize,
    /// Others are to start before they go.
    pub(super) start: bool,
    /// Which wait for what, one line for each pool.
    pub(super) lines: Vec<String>,
    /// Those that wait for what does not come, one line for each pool, with the reason.
    pub(super) blocked: Vec<(Reason, String)>,
}

/// A Pod that should go and may not yet.
#[derive(Debug)]
pub(super) struct Waits {
    /// Its name.
    pub(super) name: String,
    /// Why it should go.
    pub(super) why: String,
    /// So many others serve.
    pub(super) after: u32,
    /// So many are needed.
    pub(super) floor: u32,
    /// They are needed for the users that are there, not only for the size of the pool.
    pub(super) users: bool,
}

/// What may take the place of Pods that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Coming {
    /// Pods that start, and Pods that are made now or at the next look.
    pub(super) pods: u32,
    /// Pods that start or should, whether they come or not.
    pub(super) start: bool,
    /// What is wrong with the first that does not come.
    pub(super) trouble: Option<String>,
}

impl Waiting {
    /// Takes up who waits in a pool.
    pub(super) fn take(&mut self, pool: &str, waits: &[Waits], coming: &Coming) {
        let is_blocked = |waits: &&Waits| waits.after.saturating_add(coming.pods) < waits.floor;
        let (blocked, ordinary): (Vec<&Waits>, Vec<&Waits>) = waits.iter().partition(is_blocked);
        self.pods += waits.len();
        self.start |= !waits.is_empty() && coming.start;
        if let Some((first, others)) = ordinary.split_first() {
            let Waits { name, why, after, floor, .. } = first;
            let more = more(others.len());
            self.lines.push(format!("{pool}: {name} goes when {floor} others serve, {after} do now: {why}{more}"));
        }
        if let Some((first, others)) = blocked.split_first() {
            let Waits { name, why, after, floor, users } = first;
            let what_for = if *users { " for the users that are there" } else { "" };
            let trouble = coming.trouble.as_ref().map_or_else(String::new, |trouble| format!("; {trouble}"));
            let line = format!(
                "{pool}: {name} should go ({why}) but stays: {} would serve without it, {floor} are needed{what_for}{trouble}{}",
                pods(*after),
                more(others.len())
            );
            self.blocked.push((Reason::CapacityNeeded, line));
        }
    }
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => "; 1 more waits".to_owned(),
        others => format!("; {others} more wait"),
    }
}

/// Whether a Pod that does not serve may be counted on to do so soon: it comes back, has just been made, or served a moment ago.
pub(super) fn comes(world: &World, seat: &Seat<'_>) -> bool {
    // Of one that has served nobody wrote down since when it does not; its pool is short since then at the earliest.
    let since = if seat.pod.serving { short_since(world) } else { seat.pod.created };
    seat.is_told() || seat.pod.trouble.is_none() && world.now.0.since(since.0) < COMES_MS
}

/// What is wrong with a Pod that does not come.
pub(super) fn trouble(seat: &Seat<'_>) -> String {
    let minutes = COMES_MS / 60_000;
    let said = seat.pod.trouble.clone().unwrap_or_else(|| format!("it does not serve after {minutes} minutes"));
    format!("{}: {said}", seat.name)
}

/// Whether Pods can be made: of the last two minutes one look could do all that it was asked for.
pub(super) fn can_act(look: &Look<'_>) -> bool {
    let failed = stored(look.world, "Applied").filter(|applied| applied.status == Holds::False);
    failed.is_none_or(|failed| look.world.now.0.since(failed.last_transition_time.0) < COMES_MS)
}

/// Since when a pool has fewer serving Pods than it wants; now, if the status says nothing of that yet.
fn short_since(world: &World) -> Utc {
    let short = stored(world, "Ready").filter(|ready| ready.status == Holds::False);
    short.map_or(world.now, |short| short.last_transition_time)
}

fn stored<'w>(world: &'w World, kind: &str) -> Option<&'w Condition> {
    world.status.conditions.iter().find(|condition| condition.kind == kind)
}
