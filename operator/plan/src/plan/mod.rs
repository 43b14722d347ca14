//! From a world to a plan: what to do, what to remember, and why.
//!
//! A look goes through the same steps each time. [`census`] tells Pods that count from those that do not; [`course`] says
//! which revision has the users and which gets some, by the spec, by what [`operations`] ask for and by what it remembers;
//! [`size`] says how many Pods each pool wants; [`pool`] brings the two together, with [`birth`] for
//! new Pods and [`leave`] for those that go; [`slots`] writes placements, [`policy`] what Pods
//! follow while they run, [`objects`] what else is owned, [`prune`] forgets old revisions, [`report`] writes the
//! status with its [`conditions`]; [`telling`] and [`waiting`] find the words. [`farewell`] is the other way: a cluster that is to be deleted.

pub mod action;
mod birth;
mod census;
mod conditions;
mod course;
mod draft;
mod farewell;
mod leave;
mod objects;
mod operations;
mod policy;
mod pool;
mod prune;
pub mod reason;
mod report;
mod revision;
mod size;
mod slots;
mod telling;
mod waiting;
mod words;

pub use action::{Action, Because};
use census::Census;
use course::Course;
use draft::Draft;
pub use operations::{ENDS, End, refused, stray};
pub use reason::Reason;
use serde::{Deserialize, Serialize};
use size::Wanted;

use crate::pools::Pools;
use crate::status::{ClusterStatus, Condition};
use crate::world::World;

/// Longest time until the next look: what a watch missed is found then.
pub const LOOK_AGAIN_MS: u64 = 30_000;
/// Time until the next look at a pool that pressure may change: samples come without a word.
pub const SCALING_LOOK_MS: u64 = 5_000;
/// Time until the next look while something is under way that no watch tells of.
pub const BUSY_LOOK_MS: u64 = 1_000;

/// What to do about a world.
///
/// Write the status first, then do the actions in order, and look again at the first that fails. All of them may be done
/// twice, and any number of them may be missing: the next plan goes on from what is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What to do, in this order. Empty: the world is as it should be, or must be left alone.
    pub actions: Vec<Action>,
    /// What to remember and to show. Within the bounds of its schema.
    pub status: ClusterStatus,
    /// One line for each decision, the most important first. The status holds the first of them.
    pub why: Vec<String>,
    /// The conditions, as the status holds them.
    pub conditions: Vec<Condition>,
    /// When to look again if nothing happens, in milliseconds.
    pub look_again_ms: u64,
}

/// All that the steps of one look share.
struct Look<'a> {
    world: &'a World,
    course: Course,
    wanted: Pools<Wanted>,
}

/// Plans. O(Pods log Pods), and O(slots x Pods) when Pods come or go.
#[must_use]
pub fn plan(world: &World) -> Plan {
    let mut census = Census::take(world);
    let course = Course::take(world, &mut census);
    let mut look = Look { world, wanted: size::wanted(world, &census), course };
    let mut draft = Draft::default();
    objects::restore(&look, &mut draft);
    if world.cluster.deleted_at.is_some() {
        farewell::plan(&look, &mut census, &mut draft);
    } else {
        live(&look, &mut census, &mut draft);
    }
    let (rooms, users) = draft.slots_away;
    look.course.operations.settle_rebalance(rooms.zip(users).map(|(rooms, users)| rooms.saturating_add(users)));
    draft.operations = look.course.operations.actions(world);
    report::report(&look, &census, draft)
}

/// Plans for a cluster that is to be.
fn live<'a>(look: &Look<'a>, census: &mut Census<'a>, draft: &mut Draft) {
    if !look.world.cluster.finalizer {
        draft.first.push(Action::SetFinalizer);
    }
    draft.why.extend(look.course.memory.why.iter().cloned());
    pool::plan(look, census, draft);
    draft.leaves.extend(look.course.routes.sheds.iter().cloned());
    policy::plan(look, draft);
    slots::plan(look, census, draft);
    objects::plan(look, census, draft);
    prune::plan(look, census, draft);
    if look.world.spec.paused {
        draft.forget();
        *census = Census::take(look.world);
        census.assign(look.world, &look.course);
        census.route(&look.course);
    }
}
